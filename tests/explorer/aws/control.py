"""Step Functions, EventBridge and Service Quotas in memory."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tests.explorer.aws.service import Pages, Service, error


@dataclass(frozen=True)
class Execution:
    machine: str
    name: str
    input: str
    status: str = "RUNNING"
    stopped_at: float | None = None
    redrives: int = 0


class StepFunctions(Service):
    name = "states"

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.executions: dict[str, Execution] = {}
        self.waiting: set[str] = set()
        """Task tokens that somebody waits on."""
        self.answers: dict[str, Any] = {}

    def copy(self, now: Callable[[], float]) -> "StepFunctions":
        new = StepFunctions(now)
        new.executions, new.waiting, new.answers = dict(self.executions), set(self.waiting), dict(self.answers)
        return new

    # What the service does by itself.

    def begin(self, machine_arn: str, name: str, given: Any) -> str:
        arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        self.executions[arn] = Execution(machine_arn, name, json.dumps(given))
        return arn

    def end(self, arn: str, status: str) -> None:
        self.executions[arn] = replace(self.executions[arn], status=status, stopped_at=self.now())

    def redrive(self, arn: str) -> None:
        known = self.executions[arn]
        self.executions[arn] = replace(known, status="RUNNING", stopped_at=None, redrives=known.redrives + 1)

    # The client.

    def send_task_success(self, taskToken: str, output: str) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            if taskToken not in self.waiting:
                raise error("TaskTimedOut", "SendTaskSuccess")
            self.waiting.discard(taskToken)
            self.answers[taskToken] = json.loads(output)
            return {}

        return self.write("SendTaskSuccess", taskToken, apply)

    def start_execution(self, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002
        def apply(part: bool) -> dict[str, Any]:
            arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
            known = self.executions.get(arn)
            if known is not None and (known.status, json.loads(known.input)) != ("RUNNING", json.loads(input)):
                raise error("ExecutionAlreadyExists", "StartExecution")
            if known is None:
                self.begin(stateMachineArn, name, json.loads(input))
            return {"executionArn": arn}

        return self.write("StartExecution", name, apply)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        self.read()
        known = self.executions.get(executionArn)
        if known is None:
            raise error("ExecutionDoesNotExist", "DescribeExecution")
        answer: dict[str, Any] = {"status": known.status, "redriveCount": known.redrives, "input": known.input}
        if known.stopped_at is not None:
            answer["stopDate"] = datetime.fromtimestamp(known.stopped_at, UTC)
        return answer

    def stop_execution(self, executionArn: str, **_: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            self.end(executionArn, "ABORTED")
            return {}

        return self.write("StopExecution", executionArn, apply)

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_map_runs", operation
        return Pages(lambda executionArn: {"mapRuns": []})


class Events(Service):
    name = "events"

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def copy(self) -> "Events":
        new = Events()
        new.events = list(self.events)
        return new

    def put_events(self, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            if part:
                return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
            self.events += [(one["DetailType"], json.loads(one["Detail"])) for one in Entries]
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}

        return self.write("PutEvents", Entries[0]["DetailType"], apply)


class _NoSuchResourceError(Exception):
    pass


class _Exceptions:
    NoSuchResourceException = _NoSuchResourceError


class Quotas(Service):
    """Knows no quota: the module's settings give all of them."""

    name = "servicequotas"
    exceptions = _Exceptions

    def get_service_quota(self, **_: Any) -> dict[str, Any]:
        raise _NoSuchResourceError

    get_aws_default_service_quota = get_service_quota

    def get_paginator(self, operation: str) -> Pages:
        return Pages(lambda **_: {"Quotas": []})
