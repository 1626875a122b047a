"""IAM at run time: each role of the pipeline is assumed and tries what is another's, and AWS refuses."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.harness.stack import Stack
from tests.iam import duties

REFUSALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}

Call = Callable[[Any], Any]


@pytest.fixture(scope="module")
def roles(stack: Stack) -> dict[str, str]:
    """Every role of the stack: its name in tests/iam/duties.py → its own."""
    pages = stack.aws.client("iam").get_paginator("list_roles").paginate()
    names = [role["RoleName"] for page in pages for role in page["Roles"] if role["RoleName"].startswith("demo-")]
    return {name.removeprefix("demo-").removesuffix(f"-{stack.aws.region}"): name for name in names}


@contextmanager
def assumable(stack: Stack, role: str) -> Iterator[dict[str, str]]:
    """Credentials of a role, which for a moment trusts the account besides its service."""
    iam = stack.aws.client("iam")
    found = iam.get_role(RoleName=role)["Role"]
    trust = found["AssumeRolePolicyDocument"]
    account = {
        "Sid": "Test", "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": f"arn:aws:iam::{stack.aws.account}:root"},
    }  # fmt: skip
    opened = {**trust, "Statement": [*trust["Statement"], account]}
    try:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(opened))
        yield stack.aws.assume(found["Arn"])
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))


def attempts(stack: Stack) -> list[tuple[str, str, str, str, Call]]:
    """(service, action, resource, what is asked) of one real call each, which may change something only if allowed."""
    out, at = (
        stack.outputs,
        duties.places("demo", stack.outputs["input_bucket"], stack.outputs["output_bucket"], "demo"),
    )
    tenant, theirs = "default", "default/runs/another/"
    queue = f"{out['reprocess_queue_url'].rsplit('/', 1)[0]}/demo"
    other_model = "amazon.nova-pro-v1:0"

    def s3(action: str, key: str, place: str = "output_bucket") -> tuple[str, str, str, str, Call]:
        method, more = {
            "GetObject": ("get_object", {}),
            "PutObject": ("put_object", {"Body": b"x"}),
            "DeleteObject": ("delete_object", {}),
        }[action]
        arguments = {"Bucket": out[place], "Key": key, **more}
        return (
            "s3", f"s3:{action}", f"{at[place.split('_')[0]]}/{key}", f"{action} {key}",
            lambda client: getattr(client, method)(**arguments),
        )  # fmt: skip

    def sqs(action: str, method: str, suffix: str, **more: Any) -> tuple[str, str, str, str, Call]:
        return (
            "sqs", f"sqs:{action}", f"{at['queue']}{suffix}", f"{action} {suffix}",
            lambda client: getattr(client, method)(QueueUrl=f"{queue}{suffix}", **more),
        )  # fmt: skip

    def table(action: str, method: str, name: str, **more: Any) -> tuple[str, str, str, str, Call]:
        return (
            "dynamodb", f"dynamodb:{action}", at[name], f"{action} {name}",
            lambda client: getattr(client, method)(TableName=out[f"{name}_table"], **more),
        )  # fmt: skip

    body = {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
    key = {"pk": {"S": "nobody"}, "sk": {"S": "nothing"}}
    return [
        s3("PutObject", f"{tenant}/corpus/planted.jsonl", "input_bucket"),
        s3("PutObject", "config/settings.json", "input_bucket"),
        s3("PutObject", f"{theirs}shards/00001.jsonl", "input_bucket"),
        s3("PutObject", f"{theirs}results/part-1.jsonl"),
        s3("PutObject", f"{theirs}manifest.json"),
        s3("DeleteObject", f"{theirs}results/part-1.jsonl"),
        s3("GetObject", "config/settings.json", "input_bucket"),
        s3("GetObject", f"{theirs}results/part-1.jsonl"),
        table("Scan", "scan", "ledger"),
        table("GetItem", "get_item", "ledger", Key={"pk": {"S": "nobody"}}),
        table("PutItem", "put_item", "runs", Item=key),
        table("DeleteTable", "delete_table", "ledger"),
        sqs("ReceiveMessage", "receive_message", "-reprocess-dead-letter", VisibilityTimeout=0),
        sqs("SendMessage", "send_message", "-reprocess", MessageBody="{}"),
        sqs("PurgeQueue", "purge_queue", "-reprocess-dead-letter"),
        (
            "bedrock-runtime", "bedrock:InvokeModel",
            f"arn:aws:bedrock:{stack.aws.region}::foundation-model/{other_model}", "InvokeModel of another model",
            lambda client: client.converse(modelId=other_model, **body),
        ),
        (
            "bedrock", "bedrock:StopModelInvocationJob", f"{at['jobs']}/abcdefghijkl", "StopModelInvocationJob",
            lambda client: client.stop_model_invocation_job(jobIdentifier="abcdefghijkl"),
        ),
        (
            "stepfunctions", "states:StartExecution", out["pipeline_arn"], "StartExecution of the pipeline",
            lambda client: client.start_execution(stateMachineArn=out["pipeline_arn"], input="{}"),
        ),
        (
            "stepfunctions", "states:StopExecution", f"{at['execution']}-pipeline:another", "StopExecution of a run",
            lambda client: client.stop_execution(executionArn=f"{at['execution']}-pipeline:another"),
        ),
        (
            "events", "events:PutEvents", at["bus"], "PutEvents",
            lambda client: client.put_events(Entries=[{
                "EventBusName": "demo", "Source": "bulk-inference", "DetailType": "Forged", "Detail": "{}",
            }]),
        ),
        (
            "lambda", "lambda:InvokeFunction", f"{at['function']}-redrive_failures", "Invoke of redrive_failures",
            lambda client: client.invoke(FunctionName="demo-redrive_failures", Payload=b"{}"),
        ),
        (
            "iam", "iam:CreateRole", f"arn:aws:iam::{stack.aws.account}:role/another", "CreateRole",
            lambda client: client.create_role(RoleName="another", AssumeRolePolicyDocument="{}"),
        ),
    ]  # fmt: skip


def refused(call: Call, client: Any) -> bool:
    try:
        answer = call(client)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return True
    # PutEvents answers for each entry.
    return any(entry.get("ErrorCode") in REFUSALS for entry in answer.get("Entries", []) if isinstance(entry, dict))


def test_every_role_is_refused_what_is_anothers(stack: Stack, roles: dict[str, str]) -> None:
    functions = sorted(stack.outputs["function_names"])
    at = duties.places("demo", stack.outputs["input_bucket"], stack.outputs["output_bucket"], "demo")
    slipped, tried = [], 0
    for role, name in sorted(roles.items()):
        with assumable(stack, name) as credentials:
            clients: dict[str, Any] = {}
            for service, action, resource, asked, call in attempts(stack):
                if not duties.strangers([(role, action, resource)], functions, at):
                    continue  # its duty
                if service not in clients:
                    clients[service] = stack.aws.client(service, credentials=credentials)
                tried += 1
                if not refused(call, clients[service]):
                    slipped.append(f"{role}: {asked}")
    assert slipped == []
    assert tried > 15 * len(roles) / 2


@pytest.mark.parametrize(("tenant", "other"), [("default", "other"), ("other", "default")])
def test_a_batch_role_does_not_reach_another_tenant(
    stack: Stack, roles: dict[str, str], tenant: str, other: str
) -> None:
    inside, outside = stack.outputs["input_bucket"], stack.outputs["output_bucket"]
    for owner in (tenant, other):
        stack.upload(f"{owner}/runs/r/shards/00001.jsonl", b"{}\n")
    with assumable(stack, roles[f"batch-{tenant}"]) as credentials:
        s3 = stack.aws.client("s3", credentials=credentials)
        assert s3.get_object(Bucket=inside, Key=f"{tenant}/runs/r/shards/00001.jsonl")["Body"].read() == b"{}\n"
        s3.put_object(Bucket=outside, Key=f"{tenant}/jobs/r/00001-a1/x/00001.jsonl.out", Body=b"")
        s3.list_objects_v2(Bucket=inside, Prefix=f"{tenant}/runs/r/")
        for call in (
            lambda client: client.get_object(Bucket=inside, Key=f"{other}/runs/r/shards/00001.jsonl"),
            lambda client: client.put_object(
                Bucket=outside, Key=f"{other}/jobs/r/00001-a1/x/00001.jsonl.out", Body=b""
            ),
            lambda client: client.list_objects_v2(Bucket=inside, Prefix=f"{other}/runs/r/"),
            lambda client: client.list_objects_v2(Bucket=inside),
        ):
            assert refused(call, s3)


def test_an_administrator_does_not_write_under_another_key(stack: Stack) -> None:
    """Whom no policy of their own holds back, the bucket's does."""
    iam, bucket, key = stack.aws.client("iam"), stack.outputs["input_bucket"], "default/corpus/keys/a.jsonl"
    trust = {
        "Principal": {"AWS": f"arn:aws:iam::{stack.aws.account}:root"},
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
    }
    role = iam.create_role(RoleName="administrator", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))[
        "Role"
    ]
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="administrator", PolicyName="all", PolicyDocument=json.dumps(everything))
    s3 = stack.aws.client("s3", credentials=stack.aws.assume(role["Arn"]))
    right = stack.outputs["kms_key_arn"]
    s3.put_object(Bucket=bucket, Key=key, Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=right)
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    wrong: list[dict[str, str]] = [
        {"ServerSideEncryption": "AES256"},
        {"ServerSideEncryption": "aws:kms"},
        {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": f"{right.rsplit('/', 1)[0]}/0000abcd-0000-0000-0000-000000000000",
        },
    ]
    for encryption in wrong:
        assert refused(functools.partial(_put, bucket, key, encryption), s3)


def test_roles_have_done_nothing_but_their_duties(stack: Stack) -> None:
    """Of all that ran on this stack so far."""
    places = duties.places("demo", stack.outputs["input_bucket"], stack.outputs["output_bucket"], "demo")
    used = [
        (
            role.removeprefix("demo-").removesuffix(f"-{stack.aws.region}"),
            action,
            # The table has one model that is called by its id; this stack has two.
            resource.replace("amazon.titan-embed-text-v2:0", "amazon.nova-lite-v1:0"),
        )
        for role, action, resource in stack.aws.local("GET", "/_local/iam/used")
        if role.startswith("demo-")
    ]
    assert used
    strangers = duties.strangers(used, sorted(stack.outputs["function_names"]), places)
    assert not strangers, "\n".join(strangers)


def _put(bucket: str, key: str, encryption: dict[str, str], client: Any) -> object:
    return client.put_object(Bucket=bucket, Key=key, Body=b"", **encryption)
