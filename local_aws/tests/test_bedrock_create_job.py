"""CreateModelInvocationJob: what is accepted, what is refused and how.

Shapes and errors: botocore model `bedrock`, operation CreateModelInvocationJob (the API reference page of the same
name). Roles: user guide, "Required permissions for batch inference" and "Create a custom service role for batch
inference".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bedrock_jobs import HAIKU, NO_BATCH, NOVA, Batch, converse_line, settled, unique
from local_aws import LocalAws

LINES = [converse_line(f"r{number}", f"Some words, number {number}.") for number in range(3)]


@pytest.fixture
def batch(aws: LocalAws) -> Iterator[Batch]:
    with settled(aws) as ready:
        ready.upload("in/a.jsonl", LINES)
        yield ready


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_the_answer_is_the_arn_of_a_job_that_can_be_read(batch: Batch) -> None:
    arn = batch.create(jobName="a-job.with+all", timeoutDurationInHours=24)
    assert arn.startswith(f"arn:aws:bedrock:us-east-1:{batch.aws.account}:model-invocation-job/")
    job = batch.get(arn)
    assert (job["jobName"], job["modelId"], job["roleArn"]) == ("a-job.with+all", HAIKU, batch.role_arn)
    assert job["timeoutDurationInHours"] == 24
    assert (job["jobExpirationTime"] - job["submitTime"]).total_seconds() == pytest.approx(24 * 3600, abs=1)
    assert batch.get(arn.rsplit("/", 1)[-1])["jobArn"] == arn


@pytest.mark.parametrize(
    ("member", "value", "rule"),
    [
        ("jobName", "under_score", "Member must satisfy regular expression pattern: [a-zA-Z0-9]{1,63}"),
        ("jobName", "-leading", "Member must satisfy regular expression pattern"),
        ("jobName", "x" * 64, "Member must have length less than or equal to 63"),
        # Takes a naive use of AWS's pattern for ever.
        ("jobName", "a" + "-" * 61 + "_", "Member must satisfy regular expression pattern"),
        ("clientRequestToken", "ends-with-", "Member must satisfy regular expression pattern"),
        ("clientRequestToken", "a_b", "Member must satisfy regular expression pattern"),
        ("clientRequestToken", "x" * 257, "Member must have length less than or equal to 256"),
        ("roleArn", "arn:aws:iam::123456789012:user/x", "Member must satisfy regular expression pattern"),
        ("modelId", "not a model", "Member must satisfy regular expression pattern"),
        ("modelInvocationType", "converse", "Member must satisfy enum value set: [InvokeModel, Converse]"),
        ("timeoutDurationInHours", 23, "Member must have value greater than or equal to 24"),
        ("timeoutDurationInHours", 169, "Member must have value less than or equal to 168"),
        ("tags", [{"key": "ключ", "value": ""}], "Member must satisfy regular expression pattern"),
        ("vpcConfig", {"subnetIds": [], "securityGroupIds": ["sg-1"]}, "'vpcConfig.subnetIds' failed to satisfy"),
    ],
)
def test_every_constraint_of_the_shape_is_checked(batch: Batch, member: str, value: object, rule: str) -> None:
    # botocore checks some of them itself; this client lets all through to the service.
    unchecked = batch.aws.client("bedrock", config=Config(parameter_validation=False))
    code, status, message = refusal(unchecked.create_model_invocation_job, **batch.request(**{member: value}))
    assert (code, status) == ("ValidationException", 400)
    assert message.startswith("1 validation error detected: Value ")
    assert f"at '{member}" in message
    assert rule in message


@pytest.mark.parametrize("key", ["dt=2026-06-27/a.jsonl", "a b.jsonl", "a//b.jsonl", "a+b.jsonl", "a:b.jsonl"])
@pytest.mark.parametrize("side", ["inputDataConfig", "outputDataConfig"])
def test_uris_outside_the_pattern_are_refused(batch: Batch, side: str, key: str) -> None:
    member = {"inputDataConfig": "s3InputDataConfig", "outputDataConfig": "s3OutputDataConfig"}[side]
    uri = f"s3://{batch.bucket}/{key}"
    code, _, message = refusal(batch.create, **{side: {member: {"s3Uri": uri}}})
    assert code == "ValidationException"
    assert f"Value '{uri}' at '{side}.{member}.s3Uri' failed to satisfy constraint" in message


def test_all_problems_are_told_at_once(batch: Batch) -> None:
    unchecked = batch.aws.client("bedrock", config=Config(parameter_validation=False))
    request = batch.request(jobName="a_b", clientRequestToken="c_d", outputDataConfig=None)
    _, _, message = refusal(unchecked.create_model_invocation_job, **request)
    assert message.startswith("3 validation errors detected: ")
    assert "Value null at 'outputDataConfig' failed to satisfy constraint: Member must not be null" in message


def test_the_same_token_answers_the_same_job_and_starts_nothing(batch: Batch) -> None:
    token = unique("token")
    first = batch.create(clientRequestToken=token)
    assert batch.create(clientRequestToken=token, jobName=unique("other")) == first
    assert batch.create(clientRequestToken=unique("token")) != first


def test_a_job_name_is_used_up_for_ever(batch: Batch) -> None:
    job = batch.ended(batch.create(jobName=(name := unique("once"))))
    assert job["status"] == "Completed"
    code, status, message = refusal(batch.create, jobName=name)
    assert (code, status) == ("ConflictException", 400)
    assert "already in use" in message
    batch.aws.local("PUT", "/_local/knobs", {"job_name_used_error": "ValidationException"})
    assert refusal(batch.create, jobName=name)[0] == "ValidationException"


@pytest.mark.parametrize("model_id", [NO_BATCH, "anthropic.claude-haiku-4-5-20251001-v1:0"])
def test_a_model_without_batch_inference_is_refused(batch: Batch, model_id: str) -> None:
    answer = refusal(batch.create, modelId=model_id)
    assert answer == ("ValidationException", 400, "Batch inference is not supported for the requested model.")


def test_a_model_that_does_not_exist_is_refused(batch: Batch) -> None:
    answer = refusal(batch.create, modelId="nobody.knows-v1:0")
    assert answer == ("ValidationException", 400, "The provided model identifier is invalid.")


@pytest.mark.parametrize(
    "model_id",
    [
        NOVA,
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:{account}:inference-profile/us.amazon.nova-lite-v1:0",
    ],
)
def test_a_model_can_be_named_in_every_way(batch: Batch, model_id: str) -> None:
    assert batch.ended(batch.create(modelId=model_id.format(account=batch.aws.account)))["status"] == "Completed"


def test_an_application_profile_leads_to_its_model(batch: Batch) -> None:
    arn = batch.bedrock.create_inference_profile(
        inferenceProfileName=unique("app"),
        modelSource={"copyFrom": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"},
    )["inferenceProfileArn"]
    assert batch.ended(batch.create(modelId=arn))["status"] == "Completed"
    assert batch.bedrock.get_inference_profile(inferenceProfileIdentifier=arn)["type"] == "APPLICATION"


def test_a_role_of_another_account_cannot_be_passed(batch: Batch) -> None:
    code, status, message = refusal(batch.create, roleArn="arn:aws:iam::999999999999:role/batch")
    assert (code, status) == ("AccessDeniedException", 403)
    assert message == "Cross-account pass role is not allowed."


@pytest.mark.parametrize(
    ("service", "source"),
    [
        ("lambda.amazonaws.com", "model-invocation-job/*"),
        ("bedrock.amazonaws.com", "model-customization-job/*"),
    ],
)
def test_the_role_must_trust_bedrock_for_this_job(batch: Batch, service: str, source: str) -> None:
    role_arn = batch.role(trust=batch.trust(service, source))
    code, _, message = refusal(batch.create, roleArn=role_arn)
    assert code == "ValidationException"
    assert message.startswith("Could not assume provided IAM role.")


def test_a_role_that_does_not_exist_is_refused(batch: Batch) -> None:
    code, _, message = refusal(batch.create, roleArn=f"arn:aws:iam::{batch.aws.account}:role/nobody")
    assert code == "ValidationException"
    assert message.startswith("Could not assume provided IAM role.")


@pytest.mark.parametrize(
    ("missing", "validated"),
    [("s3:GetObject", "GetObject"), ("s3:ListBucket", "GetObject"), ("s3:PutObject", "PutObject")],
)
def test_the_role_must_reach_input_and_output(batch: Batch, missing: str, validated: str) -> None:
    role_arn = batch.role(statements=batch.statements(missing))
    code, _, message = refusal(batch.create, roleArn=role_arn)
    assert code == "ValidationException"
    assert f"validate {validated} permission" in message
    assert f"is not authorized to perform: {missing}" in message


def test_a_bucket_that_is_not_there_is_refused(batch: Batch) -> None:
    code, _, message = refusal(
        batch.create, inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://no-such-bucket-here/a.jsonl"}}
    )
    assert code == "ValidationException"
    assert "no-such-bucket-here" in message


def _submitter(batch: Batch, *, without: str = "") -> Any:
    """A client of a role that holds what a submitter needs, except for one thing."""
    account = batch.aws.account
    profile = f"arn:aws:bedrock:us-east-1:{account}:inference-profile/{HAIKU}"
    models = [f"arn:aws:bedrock:{r}::foundation-model/{HAIKU[3:]}" for r in ("us-east-1", "us-east-2", "us-west-2")]
    create = [profile, *models, f"arn:aws:bedrock:us-east-1:{account}:model-invocation-job/*"]
    statements = [
        {
            "Effect": "Allow",
            "Action": "bedrock:CreateModelInvocationJob",
            "Resource": [arn for arn in create if not without or without not in arn],
        },
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": batch.role_arn,
            "Condition": {"StringEquals": {"iam:PassedToService": f"{without}bedrock.amazonaws.com"}},
        },
    ]
    name = unique("submitter")
    arn = batch.iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}],
            }
        ),
    )["Role"]["Arn"]
    batch.iam.put_role_policy(
        RoleName=name,
        PolicyName="submit",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    return batch.aws.client("bedrock", credentials=batch.aws.assume(arn))


def test_a_submitter_needs_no_more_than_the_documented_rights(batch: Batch) -> None:
    assert _submitter(batch).create_model_invocation_job(**batch.request())["jobArn"]


@pytest.mark.parametrize(
    ("without", "action"),
    [
        ("inference-profile", "bedrock:CreateModelInvocationJob"),
        ("us-west-2", "bedrock:CreateModelInvocationJob"),
        ("model-invocation-job", "bedrock:CreateModelInvocationJob"),
        ("not-", "iam:PassRole"),
    ],
)
def test_a_submitter_without_one_right_is_told_which(batch: Batch, without: str, action: str) -> None:
    client = _submitter(batch, without=without)
    code, status, message = refusal(client.create_model_invocation_job, **batch.request())
    assert (code, status) == ("AccessDeniedException", 403)
    assert f"is not authorized to perform: {action} on resource: " in message


def test_above_the_slots_create_is_refused_when_the_knob_says_so(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"job_slots": 1, "job_slots_full": "refuse", "seconds_scheduled": 60})
    first = batch.create()
    code, status, message = refusal(batch.create)
    assert (code, status) == ("ServiceQuotaExceededException", 400)
    assert "Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 4.5" in message
    # The slots are counted per model.
    assert batch.create(modelId=NOVA)
    batch.bedrock.stop_model_invocation_job(jobIdentifier=first)
    batch.until(first, "Stopped")
    assert batch.create()


def test_tags_can_be_read_and_changed(batch: Batch) -> None:
    arn = batch.create(tags=[{"key": "run", "value": "r1"}])
    assert batch.bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "run", "value": "r1"}]
    batch.bedrock.untag_resource(resourceARN=arn, tagKeys=["run"])
    assert batch.bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == []
