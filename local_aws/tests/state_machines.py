"""What the tests of state machines share: machines with a role, executions, their end and their history."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local_aws import LocalAws

_numbers = itertools.count(1)


class StateMachines:
    """State machines of one test."""

    def __init__(self, aws: LocalAws, unique: str, make_role: Callable[..., str]) -> None:
        self.aws = aws
        self.client = aws.client("stepfunctions")
        self._unique = unique
        self._make_role = make_role

    def role(self, *statements: Mapping[str, Any], service: str = "states.amazonaws.com") -> str:
        return self._make_role(*statements, service=service)

    def create(self, definition: Mapping[str, Any], *statements: Mapping[str, Any], **members: Any) -> str:
        """A machine's ARN; its role may start executions and do what `statements` say."""
        role = members.pop("roleArn", None) or self.role({"states:*": "*"}, *statements)
        name = members.pop("name", f"{self._unique}-{next(_numbers)}")
        answer = self.client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role, **members)
        arn: str = answer["stateMachineArn"]
        return arn

    def start(self, machine: str, value: Any = None, **members: Any) -> str:
        answer = self.client.start_execution(stateMachineArn=machine, input=json.dumps(value or {}), **members)
        arn: str = answer["executionArn"]
        return arn

    def end(self, execution: str, seconds: float = 30) -> dict[str, Any]:
        """DescribeExecution once it is closed."""
        described: dict[str, Any] = until(
            lambda: _closed(self.client.describe_execution(executionArn=execution)), f"{execution} to end", seconds
        )
        return described

    def run(self, definition: Mapping[str, Any], value: Any = None, *statements: Mapping[str, Any]) -> dict[str, Any]:
        """Create a machine, run it once, and describe how it ended."""
        return self.end(self.start(self.create(definition, *statements), value))

    def history(self, execution: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def events(self, execution: str) -> list[str]:
        """Types of the history's events, in order."""
        return [event["type"] for event in self.history(execution)]

    def map_run(self, execution: str) -> dict[str, Any]:
        """DescribeMapRun of an execution's only Map Run."""
        (run,) = self.client.list_map_runs(executionArn=execution)["mapRuns"]
        described: dict[str, Any] = self.client.describe_map_run(mapRunArn=run["mapRunArn"])
        return described

    def children(self, map_run: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_executions").paginate(mapRunArn=map_run)
        return [self.client.describe_execution(executionArn=e["executionArn"]) for p in pages for e in p["executions"]]

    def put(self, bucket: str, key: str, body: bytes | str) -> None:
        s3 = self.aws.client("s3")
        if bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    def read(self, bucket: str, key: str) -> bytes:
        content: bytes = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return content


def until(found: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Ask again until `found` gives something true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
    return value


def _closed(description: dict[str, Any]) -> dict[str, Any] | None:
    return None if description["status"] == "RUNNING" else description


def output(description: Mapping[str, Any]) -> Any:
    """The output of an execution that succeeded."""
    assert description["status"] == "SUCCEEDED", description
    return json.loads(description["output"])


def single(state: Mapping[str, Any]) -> dict[str, Any]:
    """A machine of one state."""
    return {"StartAt": "Only", "States": {"Only": {**state, **({} if "Next" in state else {"End": True})}}}


def jsonl(values: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def distributed(states: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A machine of one Distributed Map; its children pass their input through unless `states` says otherwise."""
    states = states or {"Keep": {"Type": "Pass", "End": True}}
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": next(iter(states)),
        "States": states,
    }
    return single({"Type": "Map", "Label": "Items", "ItemProcessor": processor, **fields})


def s3_rights(bucket: str) -> dict[str, Any]:
    """Statements that let a role read and write a bucket."""
    return {"s3:*": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
