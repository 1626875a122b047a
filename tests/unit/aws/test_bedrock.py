"""Batch jobs on the control plane, by the answers and errors of botocore's model of bedrock."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from bulk_inference.aws.bedrock import ModelInvocationJobs
from bulk_inference.core.errors import JobRejectedError, JobSlotsFullError, ThrottledError
from bulk_inference.core.jobs import Job, JobNameTakenError
from bulk_inference.core.settings import JobVpc
from tests.worlds.job_requests import GOOD

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"
SUMMARY: dict[str, Any] = {
    "jobArn": ARN,
    "jobName": GOOD.name,
    "modelId": "m",
    "roleArn": GOOD.role_arn,
    "status": "InProgress",
    "submitTime": datetime(2026, 11, 1, tzinfo=UTC),
    "inputDataConfig": {"s3InputDataConfig": {"s3Uri": GOOD.input_uri}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": GOOD.output_uri}},
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> "BedrockClient":
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    made: BedrockClient = boto3.client("bedrock", region_name="us-east-1")
    return made


@pytest.fixture
def stub(client: "BedrockClient") -> Iterator[Stubber]:
    with Stubber(client) as made:
        yield made
        made.assert_no_pending_responses()


def test_a_request_says_everything_and_nothing_else(client: "BedrockClient", stub: Stubber) -> None:
    expected = {
        "jobName": GOOD.name,
        "roleArn": GOOD.role_arn,
        "clientRequestToken": GOOD.token,
        "modelId": "m",
        "modelInvocationType": "Converse",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": GOOD.input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": GOOD.output_uri}},
        "timeoutDurationInHours": 24,
        "tags": [{"key": "bulk-inference:run", "value": "run_1"}],
    }
    stub.add_response("create_model_invocation_job", {"jobArn": ARN}, expected)
    assert ModelInvocationJobs(client).create(GOOD) == ARN


def test_a_jobs_network_goes_to_the_service(client: "BedrockClient", stub: Stubber) -> None:
    network = {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1", "sg-2"]}
    given = replace(GOOD, vpc=JobVpc(network["subnetIds"], network["securityGroupIds"]))
    answer = {"jobArn": ARN}
    asked = {
        "jobName": ANY, "roleArn": ANY, "clientRequestToken": ANY, "modelId": ANY, "modelInvocationType": ANY,
        "inputDataConfig": ANY, "outputDataConfig": ANY, "timeoutDurationInHours": ANY, "tags": ANY,
    }  # fmt: skip
    stub.add_response("create_model_invocation_job", answer, {**asked, "vpcConfig": network})
    assert ModelInvocationJobs(client).create(given) == ARN


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ConflictException", "whatever", JobNameTakenError),
        ("ValidationException", "The provided job name is currently in use.", JobNameTakenError),
        ("ValidationException", "A job with that name already exists", JobNameTakenError),
        ("ValidationException", "The input data has 3 records, minimum 100", JobRejectedError),
        ("ResourceNotFoundException", "no such model", JobRejectedError),
        ("ValidationException", "The role has no permission s3:GetObject on the input", ClientError),
        ("ServiceQuotaExceededException", "too many jobs", JobSlotsFullError),
        (
            "ServiceQuotaExceededException",
            "Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 4.5 is 100",
            JobSlotsFullError,
        ),
        (
            "ServiceQuotaExceededException",
            "Records per batch inference job for Nova Lite is 100000",
            JobRejectedError,
        ),
        ("ServiceQuotaExceededException", "Batch inference input file size of Nova is 1 GB", JobRejectedError),
        ("ServiceQuotaExceededException", "Batch inference job size exceeds 5 GB", JobRejectedError),
        ("ThrottlingException", "slow", ThrottledError),
        ("InternalServerException", "oops", ThrottledError),
        ("AccessDeniedException", "is not authorized to perform: bedrock:CreateModelInvocationJob", ClientError),
    ],
)
def test_every_refusal_has_its_error(
    client: "BedrockClient", stub: Stubber, code: str, message: str, expected: type[Exception]
) -> None:
    stub.add_client_error("create_model_invocation_job", code, message)
    with pytest.raises(expected, match=message):
        ModelInvocationJobs(client).create(GOOD)


def test_a_job_is_read_with_and_without_its_optional_members(client: "BedrockClient", stub: Stubber) -> None:
    stub.add_response("get_model_invocation_job", SUMMARY)
    assert ModelInvocationJobs(client).get(ARN) == Job(ARN, GOOD.name, "InProgress", "m", "", None)
    stub.add_response(
        "get_model_invocation_job", {**SUMMARY, "status": "Failed", "message": "why", "processedRecordCount": 0}
    )
    assert ModelInvocationJobs(client).get(ARN) == Job(ARN, GOOD.name, "Failed", "m", "why", 0)


def test_a_job_that_does_not_exist_is_none(client: "BedrockClient", stub: Stubber) -> None:
    stub.add_client_error("get_model_invocation_job", "ResourceNotFoundException")
    assert ModelInvocationJobs(client).get(ARN) is None


def test_a_job_is_found_by_its_whole_name_over_all_pages(client: "BedrockClient", stub: Stubber) -> None:
    """nameContains matches parts of names, too."""
    longer = {**SUMMARY, "jobName": f"x{GOOD.name}"}
    asked = {"nameContains": GOOD.name, "maxResults": 1000}
    stub.add_response("list_model_invocation_jobs", {"invocationJobSummaries": [longer], "nextToken": "n"}, asked)
    page = {"invocationJobSummaries": [SUMMARY]}
    stub.add_response("list_model_invocation_jobs", page, {**asked, "nextToken": "n"})
    found = ModelInvocationJobs(client).find(GOOD.name)
    assert found is not None
    assert found.name == GOOD.name


def test_filters_go_to_the_service(client: "BedrockClient", stub: Stubber) -> None:
    asked = {"statusEquals": "Completed", "submitTimeAfter": datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "maxResults": 1000}
    stub.add_response("list_model_invocation_jobs", {}, asked)
    assert list(ModelInvocationJobs(client).list(status="Completed", submitted_after=60.0)) == []


def test_stopping_what_has_ended_is_no_error(client: "BedrockClient", stub: Stubber) -> None:
    jobs = ModelInvocationJobs(client)
    stub.add_response("stop_model_invocation_job", {})
    assert jobs.stop(ARN) is True
    stub.add_client_error("stop_model_invocation_job", "ConflictException")
    assert jobs.stop(ARN) is False
