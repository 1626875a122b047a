"""AWS Step Functions: answers to task tokens, and what became of executions.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_Operations.html
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bulk_inference.aws.refusals import code, throttled
from bulk_inference.core.ports import Execution, MapRun

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_NOBODY_WAITS: Final = frozenset({"TaskTimedOut", "TaskDoesNotExist"})
"""TaskTimedOut also says that the task was answered before."""

_UNKNOWN: Final = frozenset({"ExecutionDoesNotExist", "ResourceNotFound"})

_SAMPLED_FAILURES: Final = 25
"""Children of a Map Run whose errors are read: DescribeExecution is throttled at some ten calls a second."""


@cache
def connect() -> "SFNClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client("stepfunctions", config=Config(retries={"mode": "standard", "max_attempts": 8}))


class TaskTokens:
    """Tasks that wait (ports.Tasks)."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        """False if nobody waits on the token any more. Raises ThrottledError."""
        try:
            with throttled("Step Functions", "SendTaskSuccess"):
                self._client.send_task_success(taskToken=token, output=json.dumps(output))
        except ClientError as error:
            if code(error) in _NOBODY_WAITS:
                return False
            raise
        return True


class Pipeline:
    """The state machine whose executions are runs (ports.Pipeline)."""

    def __init__(self, arn: str, client: "SFNClient") -> None:
        self._arn = arn
        self._client = client

    def start(self, run: str, request: Mapping[str, Any]) -> bool:
        """The same name and input as an execution that runs: StartExecution answers that one. Raises ThrottledError.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
        """
        try:
            with throttled("Step Functions", "StartExecution"):
                self._client.start_execution(stateMachineArn=self._arn, name=run, input=json.dumps(request))
        except ClientError as error:
            if code(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True


class Executions:
    """Executions of the state machines and their Map Runs (ports.Executions). Every call may raise ThrottledError."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    def describe(self, arn: str) -> Execution | None:
        try:
            with throttled("Step Functions", "DescribeExecution"):
                answer = self._client.describe_execution(executionArn=arn)
        except ClientError as error:
            if code(error) in _UNKNOWN:
                return None
            raise
        stopped = answer.get("stopDate")
        return Execution(
            arn=arn,
            status=answer["status"],
            ended_at=stopped.timestamp() if stopped is not None and answer["status"] != "RUNNING" else None,
            error=answer.get("error") or "",
            cause=answer.get("cause") or "",
            redrives=int(answer.get("redriveCount") or 0),
        )

    def ended(self, arn: str) -> float | None:
        found = self.describe(arn)
        return 0.0 if found is None else found.ended_at

    def stop(self, arn: str, cause: str) -> bool:
        found = self.describe(arn)
        if found is None or found.status != "RUNNING":
            return False
        try:
            with throttled("Step Functions", "StopExecution"):
                self._client.stop_execution(executionArn=arn, cause=cause)
        except ClientError as error:
            if code(error) in _UNKNOWN:
                return False
            raise
        return True

    def map_runs(self, arn: str) -> list[MapRun]:
        try:
            with throttled("Step Functions", "ListMapRuns"):
                pages = self._client.get_paginator("list_map_runs").paginate(executionArn=arn)
                arns = [one["mapRunArn"] for page in pages for one in page["mapRuns"]]
        except ClientError as error:
            if code(error) in _UNKNOWN:
                return []
            raise
        return [self._map_run(one) for one in arns]

    def _map_run(self, arn: str) -> MapRun:
        with throttled("Step Functions", "DescribeMapRun"):
            told = self._client.describe_map_run(mapRunArn=arn)
        items = told["itemCounts"]
        failed = items["failed"] + items["timedOut"]
        return MapRun(
            # arn:…:mapRun:<machine>/<label>:<id>
            label=arn.split("/", 1)[1].split(":", 1)[0],
            status=told["status"],
            total=items["total"],
            failed=failed,
            tolerated_percentage=float(told["toleratedFailurePercentage"]),
            failures=self._failures(arn) if failed else (),
        )

    def _failures(self, map_run_arn: str) -> list[tuple[str, str]]:
        with throttled("Step Functions", "ListExecutions"):
            listed = self._client.list_executions(
                mapRunArn=map_run_arn, statusFilter="FAILED", maxResults=_SAMPLED_FAILURES
            )["executions"]
        children = (self.describe(one["executionArn"]) for one in listed)
        return [(child.error, child.cause) for child in children if child is not None]
