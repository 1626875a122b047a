"""Amazon Bedrock control plane: batch inference jobs.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock.html (…ModelInvocationJob…).
Refusals that a state machine decides about become errors of ours; AccessDeniedException propagates as it is, because
it names the action and the role.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from bulk_inference.aws import refusals
from bulk_inference.aws.refusals import throttled
from bulk_inference.core.errors import JobRejectedError, JobSlotsFullError
from bulk_inference.core.jobs import Job, JobNameTakenError, JobRequest

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import CreateModelInvocationJobRequestTypeDef

_NAME_TAKEN: Final = re.compile(r"\bname\b.*\b(?:in use|already|exists|taken)\b|\balready\b.*\bname\b", re.I | re.S)
"""Which error a used name gives is not documented; ConflictException and ValidationException have both been seen."""
_LASTING: Final = re.compile(
    r"\b(?:records?|sizes?|bytes|[kmg]i?b|gigabytes|files?|lines?|tokens?|characters|length)\b", re.I
)
"""Quotas that waiting does not heal: of a job's input. A message that names none is taken for one of jobs in flight."""
_IN_FLIGHT: Final = re.compile(r"\bin[- ]progress\b|\bconcurren|\bin[- ]flight\b|\brunning\b|\bactive\b", re.I)
_SURROUNDINGS: Final = re.compile(r"\b(?:roles?|permissions?|access|authori[sz]ed|assume|kms)\b", re.I)
"""A refusal that speaks of these is about roles, buckets or keys: mended outside, the same job goes through."""


@cache
def connect() -> "BedrockClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client("bedrock", config=Config(retries={"mode": "standard", "max_attempts": 5}, tcp_keepalive=True))


class ModelInvocationJobs:
    """Batch jobs of this account and Region (ports.BatchJobs)."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def create(self, request: JobRequest) -> str:
        """The new job's ARN. Raises JobNameTakenError, JobSlotsFullError, JobRejectedError, ThrottledError.

        A repeated clientRequestToken starts nothing, by AWS's word; whether it answers with the first job's ARN or
        with a refusal of the name is not documented, and both end with that job.
        """
        try:
            with throttled("Bedrock", "CreateModelInvocationJob"):
                return self._client.create_model_invocation_job(**_parameters(request))["jobArn"]
        except ParamValidationError as error:
            raise JobRejectedError(str(error)) from error
        except ClientError as error:
            code, message = refusals.code(error), error.response.get("Error", {}).get("Message", "")
            if code == "ConflictException" or (code == "ValidationException" and _NAME_TAKEN.search(message)):
                raise JobNameTakenError(message) from error
            if code == "ServiceQuotaExceededException":
                if _LASTING.search(message) and not _IN_FLIGHT.search(message):
                    raise JobRejectedError(f"{code}: {message}") from error
                raise JobSlotsFullError(message) from error
            if code in ("ValidationException", "ResourceNotFoundException") and not _SURROUNDINGS.search(message):
                raise JobRejectedError(f"{code}: {message}") from error
            raise

    def get(self, arn: str) -> Job | None:
        try:
            with throttled("Bedrock", "GetModelInvocationJob"):
                return _job(self._client.get_model_invocation_job(jobIdentifier=arn))
        except ClientError as error:
            if refusals.code(error) == "ResourceNotFoundException":
                return None
            raise

    def find(self, name: str) -> Job | None:
        """The job of exactly this name, or None."""
        return next((job for job in self.list(name_contains=name) if job.name == name), None)

    def list(
        self, *, status: str | None = None, name_contains: str | None = None, submitted_after: float | None = None
    ) -> Iterator[Job]:
        """Jobs, whoever submitted them, page by page. There is no filter by model. `submitted_after`: epoch seconds."""
        filters: dict[str, Any] = {"PaginationConfig": {"PageSize": 1000}}
        if status is not None:
            filters["statusEquals"] = status
        if name_contains is not None:
            filters["nameContains"] = name_contains
        if submitted_after is not None:
            filters["submitTimeAfter"] = datetime.fromtimestamp(submitted_after, UTC)
        with throttled("Bedrock", "ListModelInvocationJobs"):
            for page in self._client.get_paginator("list_model_invocation_jobs").paginate(**filters):
                for summary in page.get("invocationJobSummaries", []):
                    yield _job(summary)

    def stop(self, arn: str) -> bool:
        """False if the job had ended already: Bedrock then answers with ConflictException or ValidationException."""
        try:
            with throttled("Bedrock", "StopModelInvocationJob"):
                self._client.stop_model_invocation_job(jobIdentifier=arn)
        except ClientError as error:
            if refusals.code(error) in ("ConflictException", "ValidationException", "ResourceNotFoundException"):
                return False
            raise
        return True


def _parameters(request: JobRequest) -> "CreateModelInvocationJobRequestTypeDef":
    output: dict[str, Any] = {"s3Uri": request.output_uri}
    if request.kms_key_arn is not None:
        output["s3EncryptionKeyId"] = request.kms_key_arn
    parameters: CreateModelInvocationJobRequestTypeDef = {
        "jobName": request.name,
        "roleArn": request.role_arn,
        "clientRequestToken": request.token,
        "modelId": request.model_id,
        "modelInvocationType": request.invocation_type,  # type: ignore[typeddict-item]
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": request.input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {"s3OutputDataConfig": output},  # type: ignore[typeddict-item]
        "timeoutDurationInHours": request.timeout_hours,
        "tags": [{"key": key, "value": value} for key, value in request.tags.items()],
    }
    if request.vpc is not None:
        parameters["vpcConfig"] = {
            "subnetIds": request.vpc.subnet_ids,
            "securityGroupIds": request.vpc.security_group_ids,
        }
    return parameters


def _job(answer: Mapping[str, Any]) -> Job:
    return Job(
        arn=answer["jobArn"],
        name=answer.get("jobName") or "",
        status=answer.get("status") or "",
        model_id=answer["modelId"],
        message=answer.get("message") or "",
        processed=answer.get("processedRecordCount"),
        ended_at=answer["endTime"].timestamp() if answer.get("endTime") else None,
    )
