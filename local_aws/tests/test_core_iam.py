"""Authorisation in the local AWS.

Pages: "Policy evaluation logic", "Troubleshoot access denied error messages", Service Authorization Reference
(DynamoDB, Bedrock, SQS, Step Functions), "IAM security policies with PartiQL for DynamoDB", "Prerequisites for
inference profiles", "Required permissions for batch inference".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws

Make = Callable[..., str]

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = f"us.{HAIKU}"
NOVA = "amazon.nova-lite-v1:0"
HELLO = [{"role": "user", "content": [{"text": "A first sentence. A second one."}]}]


@pytest.fixture
def acting(aws: LocalAws, make_role: Make) -> Callable[..., Any]:
    """`acting("s3", {"s3:GetObject": arn}, …)`: a client under a role with these permissions only."""

    def client(service: str, *statements: dict[str, Any]) -> Any:
        return aws.client(service, credentials=aws.assume(make_role(*statements)))

    return client


@pytest.fixture
def table(aws: LocalAws, unique: str) -> str:
    """Name of a table with the hash key `pk`."""
    aws.client("dynamodb").create_table(
        TableName=unique,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return unique


def table_arn(aws: LocalAws, name: str) -> str:
    return f"arn:aws:dynamodb:{aws.region}:{aws.account}:table/{name}"


def denial(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Code and message of a call that must be denied."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def reason(action: str, resource: str) -> str:
    return f"is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"  # noqa: E501


INSERT = "INSERT INTO \"{}\" VALUE {{'pk': 'a'}}"
STATEMENTS = {
    "dynamodb:PartiQLInsert": INSERT,
    "dynamodb:PartiQLSelect": "SELECT * FROM \"{}\" WHERE pk = 'a'",
    "dynamodb:PartiQLUpdate": "UPDATE \"{}\" SET n = 1 WHERE pk = 'a'",
    "dynamodb:PartiQLDelete": "DELETE FROM \"{}\" WHERE pk = 'a'",
}


@pytest.mark.parametrize("action", STATEMENTS)
def test_partiql_statement_needs_its_own_action(
    aws: LocalAws, acting: Callable[..., Any], table: str, action: str
) -> None:
    """IAM security policies with PartiQL: one action per kind of statement, on the table."""
    aws.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": "a" if "Insert" not in action else "b"}})
    statement = STATEMENTS[action].format(table)
    allowed = acting("dynamodb", {action: table_arn(aws, table)})
    allowed.execute_statement(Statement=statement)
    others = {other: table_arn(aws, table) for other in STATEMENTS if other != action}
    code, message = denial(acting("dynamodb", others, {"dynamodb:PutItem": "*"}).execute_statement, Statement=statement)
    assert code == "AccessDeniedException"
    assert message.endswith(reason(action, table_arn(aws, table)))


def test_every_statement_of_a_batch_is_authorised(aws: LocalAws, acting: Callable[..., Any], table: str) -> None:
    """BatchExecuteStatement is no action: each statement needs its own on its own table."""
    client = acting("dynamodb", {"dynamodb:PartiQLInsert": table_arn(aws, table)})
    entries = [{"Statement": INSERT.format(table)}, {"Statement": INSERT.format("other")}]
    assert client.batch_execute_statement(Statements=entries[:1])["Responses"]
    _, message = denial(client.batch_execute_statement, Statements=entries)
    assert message.endswith(reason("dynamodb:PartiQLInsert", table_arn(aws, "other")))


def test_converse_is_authorised_as_invoke_model(aws: LocalAws, acting: Callable[..., Any]) -> None:
    """Service Authorization Reference of Bedrock: Converse has no action of its own."""
    model = f"arn:aws:bedrock:{aws.region}::foundation-model/{NOVA}"
    acting("bedrock-runtime", {"bedrock:InvokeModel": model}).converse(modelId=NOVA, messages=HELLO)
    client = acting("bedrock-runtime", {"bedrock:Converse": "*"})
    code, message = denial(client.converse, modelId=NOVA, messages=HELLO)
    assert code == "AccessDeniedException"
    assert message.endswith(reason("bedrock:InvokeModel", model))


@pytest.mark.parametrize("missing", ["profile", "model"])
def test_inference_profile_needs_profile_and_every_model(
    aws: LocalAws, acting: Callable[..., Any], missing: str
) -> None:
    """Prerequisites for inference profiles: InvokeModel on the profile and on the model in each of its Regions."""
    profile = f"arn:aws:bedrock:{aws.region}:{aws.account}:inference-profile/{PROFILE}"
    models = [
        f"arn:aws:bedrock:{region}::foundation-model/{HAIKU}" for region in ("us-east-1", "us-east-2", "us-west-2")
    ]
    through = {"StringLike": {"bedrock:InferenceProfileArn": profile}}
    on_models = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": models, "Condition": through}
    on_profile = {"bedrock:InvokeModel": profile}
    acting("bedrock-runtime", on_profile, on_models).converse(modelId=PROFILE, messages=HELLO)
    given, needed = (on_models, profile) if missing == "profile" else (on_profile, models[0])
    _, message = denial(acting("bedrock-runtime", given).converse, modelId=PROFILE, messages=HELLO)
    assert message.endswith(reason("bedrock:InvokeModel", needed))


def test_creating_a_job_needs_model_job_and_passed_role(
    aws: LocalAws, acting: Callable[..., Any], make_role: Make
) -> None:
    """Permissions for batch inference: Create on the model and on model-invocation-job/*, PassRole to Bedrock."""
    model = f"arn:aws:bedrock:{aws.region}::foundation-model/{NOVA}"
    jobs = f"arn:aws:bedrock:{aws.region}:{aws.account}:model-invocation-job/*"
    batch_role = make_role(service="bedrock.amazonaws.com")
    create = {"bedrock:CreateModelInvocationJob": [model, jobs]}
    passed = {"StringEquals": {"iam:PassedToService": "bedrock.amazonaws.com"}}
    pass_role = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": batch_role, "Condition": passed}
    request = {
        "jobName": "job",
        "roleArn": batch_role,
        "modelId": NOVA,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://no-such-bucket-here/in.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://no-such-bucket-here/out/"}},
    }
    for given, action, resource in (
        ([{"bedrock:CreateModelInvocationJob": jobs}, pass_role], "bedrock:CreateModelInvocationJob", model),
        ([{"bedrock:CreateModelInvocationJob": model}, pass_role], "bedrock:CreateModelInvocationJob", jobs),
        ([create], "iam:PassRole", batch_role),
    ):
        _, message = denial(acting("bedrock", *given).create_model_invocation_job, **request)
        assert message.endswith(reason(action, resource))
    code, _ = denial(acting("bedrock", create, pass_role).create_model_invocation_job, **request)
    assert code == "ValidationException"


@pytest.mark.parametrize("identifier", ["abcdefghijkl", "arn"])
def test_reading_a_job_is_authorised_on_the_job(aws: LocalAws, acting: Callable[..., Any], identifier: str) -> None:
    """Service Authorization Reference: GetModelInvocationJob on the job, named by id or ARN."""
    jobs = f"arn:aws:bedrock:{aws.region}:{aws.account}:model-invocation-job/"
    named = f"{jobs}abcdefghijkl" if identifier == "arn" else identifier
    client = acting("bedrock", {"bedrock:GetModelInvocationJob": f"{jobs}*"})
    assert denial(client.get_model_invocation_job, jobIdentifier=named)[0] == "ResourceNotFoundException"
    other = acting("bedrock", {"bedrock:GetModelInvocationJob": f"{jobs}zzzzzzzzzzzz"})
    _, message = denial(other.get_model_invocation_job, jobIdentifier=named)
    assert message.endswith(reason("bedrock:GetModelInvocationJob", f"{jobs}abcdefghijkl"))


def test_batch_calls_of_sqs_need_the_single_calls_action(
    aws: LocalAws, acting: Callable[..., Any], unique: str
) -> None:
    """Service Authorization Reference of SQS: there is no sqs:SendMessageBatch."""
    url = aws.client("sqs").create_queue(QueueName=unique)["QueueUrl"]
    arn = f"arn:aws:sqs:{aws.region}:{aws.account}:{unique}"
    entries = [{"Id": "a", "MessageBody": "x"}]
    assert acting("sqs", {"sqs:SendMessage": arn}).send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
    client = acting("sqs", {"sqs:SendMessageBatch": arn})
    _, message = denial(client.send_message_batch, QueueUrl=url, Entries=entries)
    assert message.endswith(reason("sqs:SendMessage", arn))


def test_policy_that_refuses_plain_http_lets_loopback_in(
    aws: LocalAws, acting: Callable[..., Any], unique: str
) -> None:
    """S3 security best practices: a policy that denies when aws:SecureTransport is false; loopback counts as TLS."""
    bucket = aws.client("s3")
    bucket.create_bucket(Bucket=unique)
    refuse = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{unique}", f"arn:aws:s3:::{unique}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    bucket.put_bucket_policy(Bucket=unique, Policy=json.dumps({"Version": "2012-10-17", "Statement": [refuse]}))
    client = acting("s3", {"s3:PutObject": f"arn:aws:s3:::{unique}/in/*"})
    client.put_object(Bucket=unique, Key="in/a", Body=b"x")
    code, message = denial(client.put_object, Bucket=unique, Key="out/a", Body=b"x")
    assert code == "AccessDenied"
    assert message.endswith(reason("s3:PutObject", f'"arn:aws:s3:::{unique}/out/a"'))


def test_listing_is_held_to_the_prefix_condition(aws: LocalAws, acting: Callable[..., Any], unique: str) -> None:
    """Condition keys of S3: s3:prefix on ListBucket."""
    aws.client("s3").create_bucket(Bucket=unique)
    only = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{unique}",
        "Condition": {"StringLike": {"s3:prefix": "tenant/*"}},
    }
    client = acting("s3", only)
    assert client.list_objects_v2(Bucket=unique, Prefix="tenant/runs/")["KeyCount"] == 0
    assert denial(client.list_objects_v2, Bucket=unique, Prefix="other/")[0] == "AccessDenied"


def test_object_that_is_not_there_is_hidden_from_who_may_not_list(
    aws: LocalAws, acting: Callable[..., Any], unique: str
) -> None:
    """GetObject, Permissions: without s3:ListBucket a missing object answers 403, with it 404."""
    aws.client("s3").create_bucket(Bucket=unique)
    read = {"s3:GetObject": f"arn:aws:s3:::{unique}/*"}
    code, message = denial(acting("s3", read).get_object, Bucket=unique, Key="none")
    assert code == "AccessDenied"
    assert message.endswith(reason("s3:ListBucket", f'"arn:aws:s3:::{unique}"'))
    listing = acting("s3", read, {"s3:ListBucket": f"arn:aws:s3:::{unique}"})
    assert denial(listing.get_object, Bucket=unique, Key="none")[0] == "NoSuchKey"
    aws.client("s3").put_object(Bucket=unique, Key="there", Body=b"x")
    assert acting("s3", read).get_object(Bucket=unique, Key="there")["ContentLength"] == 1


def test_explicit_deny_is_named(aws: LocalAws, acting: Callable[..., Any], table: str) -> None:
    """Troubleshoot access denied error messages: `with an explicit deny in an identity-based policy`."""
    refuse = {"Effect": "Deny", "Action": "dynamodb:GetItem", "Resource": table_arn(aws, table)}
    client = acting("dynamodb", {"dynamodb:*": "*"}, refuse)
    _, message = denial(client.get_item, TableName=table, Key={"pk": {"S": "a"}})
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_permissions_boundary_is_named(aws: LocalAws, make_role: Make, table: str, unique: str) -> None:
    """Troubleshoot access denied error messages: `because no permissions boundary allows the … action`."""
    iam = aws.client("iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    )
    boundary = iam.create_policy(PolicyName=unique, PolicyDocument=document)["Policy"]["Arn"]
    role = make_role({"dynamodb:*": "*"})
    iam.put_role_permissions_boundary(RoleName=role.rsplit("/", 1)[-1], PermissionsBoundary=boundary)
    client = aws.client("dynamodb", credentials=aws.assume(role))
    _, message = denial(client.get_item, TableName=table, Key={"pk": {"S": "a"}})
    assert message.endswith("because no permissions boundary allows the dynamodb:GetItem action")


def test_answering_a_task_token_needs_the_action(acting: Callable[..., Any]) -> None:
    """Service Authorization Reference of Step Functions: SendTaskSuccess."""
    client = acting("stepfunctions", {"states:SendTaskFailure": "*"})
    code, message = denial(client.send_task_success, taskToken="none", output="{}")
    assert code == "AccessDeniedException"
    assert message.endswith(reason("states:SendTaskSuccess", "*"))


def test_a_look_at_a_map_run_is_authorised_on_that_map_run(aws: LocalAws, acting: Callable[..., Any]) -> None:
    """Service Authorization Reference of Step Functions: DescribeMapRun and ListExecutions know the type mapRun."""
    own = f"arn:aws:states:{aws.region}:{aws.account}:mapRun:machine/Label:1"
    client = acting("stepfunctions", {"states:DescribeMapRun": own, "states:ListExecutions": own})
    other = own.replace("machine", "another")
    for call in (client.describe_map_run, client.list_executions):
        assert denial(call, mapRunArn=own)[0] != "AccessDeniedException"
        assert denial(call, mapRunArn=other)[0] == "AccessDeniedException"


def test_operator_is_root_of_the_account(aws: LocalAws) -> None:
    """The tests act as the account's root user; its access key is the account's id."""
    assert aws.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{aws.account}:root"


def test_unknown_credentials_are_refused(aws: LocalAws) -> None:
    keys = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}
    code, _ = denial(aws.client("dynamodb", credentials=keys).list_tables)
    assert code == "UnrecognizedClientException"


def test_extensions_ask_for_a_role_that_acts_inside(aws: LocalAws, make_role: Make) -> None:
    """`authorize`: the same evaluation for a role that makes no request of its own, conditions included."""
    only = {"StringEquals": {"s3:prefix": "in/"}}
    role = make_role({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b", "Condition": only})

    def ask(prefix: str) -> dict[str, Any]:
        asked = {
            "role": role,
            "action": "s3:ListBucket",
            "resource": "arn:aws:s3:::b",
            "context": {"S3:prefix": prefix},
        }
        return dict(aws.local("POST", "/_local/iam/authorize", asked))

    assert ask("in/") == {"allowed": True}
    refused = ask("out/")
    assert refused["allowed"] is False
    assert f"assumed-role/{role.rsplit('/', 1)[-1]}/" in refused["message"]
    assert refused["message"].endswith(reason("s3:ListBucket", "arn:aws:s3:::b"))


def test_role_that_is_not_there_may_do_nothing(aws: LocalAws) -> None:
    asked = {"role": f"arn:aws:iam::{aws.account}:role/nobody", "action": "s3:GetObject"}
    assert aws.local("POST", "/_local/iam/authorize", asked)["allowed"] is False


@pytest.mark.parametrize(
    ("service", "account", "allowed"),
    [
        ("bedrock.amazonaws.com", None, True),
        ("states.amazonaws.com", None, False),
        ("bedrock.amazonaws.com", "1", False),
    ],
)
def test_service_assumes_a_role_that_trusts_it(
    aws: LocalAws, unique: str, service: str, account: str | None, allowed: bool
) -> None:
    """Create a custom service role for batch inference: trust in the service, held to aws:SourceAccount."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "bedrock.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": aws.account}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName=unique, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    asked = {"role": role, "service": service, "context": {"aws:SourceAccount": account or aws.account}}
    assert aws.local("POST", "/_local/iam/assume", asked)["allowed"] is allowed
