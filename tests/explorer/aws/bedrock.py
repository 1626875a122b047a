"""Amazon Bedrock in memory: batch jobs, which somebody ends by `complete`, and a model that answers by a table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import md5
from typing import Any

import boto3

from tests.explorer.aws.objects import Objects
from tests.explorer.aws.service import Pages, Service, error

TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")

ANSWER, REFUSED, FAILED, THROTTLED, SKIPPED = "answer", "refused", "failed", "throttled", "skipped"
"""What the model makes of a record; a job leaves no line of those that it skips."""

_ERRORS = {
    REFUSED: ("ValidationException", 400),
    FAILED: ("ModelErrorException", 424),
    THROTTLED: ("ThrottlingException", 429),
    SKIPPED: ("ModelErrorException", 424),
}


def text_of(body: Mapping[str, Any]) -> str:
    """The user's text of a Converse request."""
    return str(body["messages"][-1]["content"][0]["text"])


class Model:
    """What becomes of a record, by words of its prompt: the first of a list at the first call, the last for good."""

    def __init__(self, outcomes: Mapping[str, list[str]] | None = None) -> None:
        self.outcomes = dict(outcomes or {})
        self.calls: dict[str, int] = {}

    def copy(self) -> "Model":
        new = Model(self.outcomes)
        new.calls = dict(self.calls)
        return new

    def outcome(self, text: str) -> str:
        number = self.calls.get(text, 0)
        self.calls[text] = number + 1
        for words, outcomes in self.outcomes.items():
            if words in text.split():
                return outcomes[min(number, len(outcomes) - 1)]
        return ANSWER


def converse(text: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": f"said {text}"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    }


@cache
def _meta() -> Any:
    """The real client's, which knows the shape of requests."""
    return boto3.client("bedrock-runtime", region_name="us-east-1").meta


class Runtime(Service):
    name = "bedrock-runtime"

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def meta(self) -> Any:
        return _meta()

    def converse(self, modelId: str, **body: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            if not body.get("messages"):
                raise error("ValidationException", "Converse", "messages: must not be empty")
            text = text_of(body)
            outcome = self.model.outcome(text)
            if outcome in _ERRORS:
                code, status = _ERRORS[outcome]
                raise error(code, "Converse", status=status)
            return converse(text)

        return self.write("Converse", text_of(body) if body.get("messages") else "nothing", apply)


@dataclass(frozen=True)
class Job:
    arn: str
    name: str
    token: str
    model: str
    input_uri: str
    output_uri: str
    status: str = "Submitted"
    message: str = ""
    ended_at: float | None = None
    submitted_at: float = 0.0
    processed: int | None = None

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


class Jobs(Service):
    name = "bedrock"

    def __init__(self, objects: Objects, model: Model, now: Callable[[], float]) -> None:
        self.objects, self.model, self.now = objects, model, now
        self.jobs: dict[str, Job] = {}

    def copy(self, objects: Objects, model: Model, now: Callable[[], float]) -> "Jobs":
        new = Jobs(objects, model, now)
        new.jobs = dict(self.jobs)
        return new

    # What the service does by itself.

    def complete(self, arn: str, status: str = "Completed") -> None:
        """The job ends: it has answered its records in another order, and left none of those that it skips."""
        job = self.jobs[arn]
        if job.status in TERMINAL:
            return
        bucket, _, key = job.input_uri.removeprefix("s3://").partition("/")
        lines = [json.loads(raw) for raw in self.objects.buckets[bucket][key].split(b"\n") if raw]
        found = [line for one in reversed(lines) if (line := self._line(one)) is not None]
        target, _, prefix = job.output_uri.removeprefix("s3://").partition("/")
        where = f"{prefix}{job.id}/"
        if status != "Failed":
            out = b"".join(json.dumps(line).encode() + b"\n" for line in found)
            self.objects.buckets[target][f"{where}{key.rpartition('/')[2]}.out"] = out
            errors = sum("error" in line for line in found)
            told = {
                "totalRecordCount": len(lines),
                "processedRecordCount": len(found),
                "successRecordCount": len(found) - errors,
                "errorRecordCount": errors,
            }
            self.objects.buckets[target][f"{where}manifest.json.out"] = json.dumps(told).encode()
        processed = 0 if status == "Failed" else len(found)
        self.jobs[arn] = replace(job, status=status, ended_at=self.now(), processed=processed)

    def _line(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        text = text_of(record["modelInput"])
        outcome = self.model.outcome(text)
        if outcome == SKIPPED:
            return None
        if outcome in _ERRORS:
            code, status = _ERRORS[outcome]
            return {**record, "error": {"errorCode": status, "errorMessage": code}}
        return {**record, "modelOutput": converse(text)}

    # The client.

    def create_model_invocation_job(self, **given: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            name, token = given["jobName"], given["clientRequestToken"]
            for job in self.jobs.values():
                if job.token == token:
                    return {"jobArn": job.arn}
                if job.name == name:
                    raise error("ConflictException", "CreateModelInvocationJob", "The job name is already in use")
            number = md5(name.encode()).hexdigest()[:12]
            arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{number}"
            self.jobs[arn] = Job(
                arn,
                name,
                token,
                given["modelId"],
                given["inputDataConfig"]["s3InputDataConfig"]["s3Uri"],
                given["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
                submitted_at=self.now(),
            )
            return {"jobArn": arn}

        return self.write("CreateModelInvocationJob", given["jobName"], apply)

    def get_model_invocation_job(self, jobIdentifier: str) -> dict[str, Any]:
        self.read()
        if jobIdentifier not in self.jobs:
            raise error("ResourceNotFoundException", "GetModelInvocationJob")
        return self._told(self.jobs[jobIdentifier])

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_model_invocation_jobs", operation
        return Pages(self._list)

    def _list(
        self,
        statusEquals: str | None = None,
        nameContains: str | None = None,
        submitTimeAfter: datetime | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        self.read()
        after = submitTimeAfter.timestamp() if submitTimeAfter else 0
        found = [
            self._told(job)
            for job in self.jobs.values()
            if statusEquals in (None, job.status) and (nameContains or "") in job.name and job.submitted_at >= after
        ]
        return {"invocationJobSummaries": found}

    def stop_model_invocation_job(self, jobIdentifier: str) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            job = self.jobs.get(jobIdentifier)
            if job is None or job.status in TERMINAL:
                raise error("ConflictException", "StopModelInvocationJob")
            self.jobs[jobIdentifier] = replace(job, status="Stopping")
            return {}

        return self.write("StopModelInvocationJob", jobIdentifier, apply)

    def _told(self, job: Job) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "jobArn": job.arn,
            "jobName": job.name,
            "modelId": job.model,
            "status": job.status,
            "message": job.message,
        }
        if job.processed is not None:
            answer["processedRecordCount"] = job.processed
        if job.ended_at is not None:
            answer["endTime"] = datetime.fromtimestamp(job.ended_at, UTC)
        return answer
