"""Executions, Map Runs and their histories, as kept in memory, and their shapes in the API's answers.

All of it is touched by the engine's thread only. Shapes: botocore's service model `stepfunctions` 2016-11-23.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import paths
from .errors import StateError

HISTORY_LIMIT = 25_000
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

_REDRIVE_SECONDS = 14 * 24 * 3600

Event = tuple[str, float, int, dict[str, Any] | None]


def iso(moment: float) -> str:
    """A moment in epoch seconds as the context object shows it."""
    text = dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@dataclass(frozen=True, eq=False)
class Machine:
    """One revision of a state machine, or of a Distributed Map's item processor, that executions run."""

    arn: str
    name: str
    role: str
    start_at: str
    states: dict[str, Any]
    timeout: float | None = None
    express: bool = False


@dataclass(slots=True, eq=False)
class Frame:
    """Where a sequence of states stands: enough to go on from an unsuccessful state when it is redriven.

    `inner` is what the state at hand has running below it: the branches of a Parallel or an inline Map, or a Map Run.
    """

    state: str
    value: Any
    text: str
    entered: float | None = None
    inner: Any = None


@dataclass(slots=True, eq=False)
class Branch:
    """One branch of a Parallel state or one iteration of an inline Map."""

    frame: Frame
    done: bool = False
    output: Any = None


@dataclass(slots=True, eq=False)
class Execution:
    arn: str
    name: str
    machine: Machine
    input: str
    start: float = field(default_factory=time.time)
    status: str = "RUNNING"
    stop: float | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    history: list[Event] = field(default_factory=list)
    frame: Frame | None = None
    redrives: int = 0
    redriven: float | None = None
    map_run: MapRun | None = None
    items: int = 0
    number: int = 0
    runner: asyncio.Task[None] | None = None
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    # A closed child of a Map Run keeps input, output and history in its run's file: (offset, length) of each.
    filed: tuple[int, int, int, int] | None = None

    def event(self, kind: str, details: dict[str, Any] | None = None, previous: int = 0) -> int:
        """Append to the history; the new event's id. Raises StateError when the history is full."""
        if len(self.history) >= HISTORY_LIMIT - 1 and not kind.startswith("Execution"):
            raise StateError(
                "States.Runtime", f"The execution reached the maximum number of history events ({HISTORY_LIMIT})."
            )
        self.history.append((kind, time.time(), previous, details))
        return len(self.history)

    def redrive_status(self) -> tuple[str, str | None]:
        """redriveStatus and redriveStatusReason of DescribeExecution."""
        if self.status in {"RUNNING", "SUCCEEDED"}:
            return "NOT_REDRIVABLE", f"Execution is {self.status} and cannot be redriven"
        if len(self.history) >= HISTORY_LIMIT - 1:
            return "NOT_REDRIVABLE", "Execution history event limit exceeded"
        if self.stop is not None and time.time() - self.stop > _REDRIVE_SECONDS:
            return "NOT_REDRIVABLE", "Execution redrivable period exceeded"
        return ("REDRIVABLE_BY_MAP_RUN" if self.map_run else "REDRIVABLE"), None

    def load(self) -> tuple[str, str | None, list[Event]]:
        """Input, output and history, from the Map Run's file when the execution was filed there."""
        if self.filed is None or self.map_run is None:
            return self.input, self.output, self.history
        offset, length, input_offset, input_length = self.filed
        kept = json.loads(self.map_run.file.read(offset, length))
        text = self.map_run.file.read(input_offset, input_length).decode()
        return text, kept["output"], [tuple(each) for each in kept["history"]]

    def describe(self) -> dict[str, Any]:
        """Body of DescribeExecution."""
        text, output, _ = self.load()
        status, reason = self.redrive_status()
        return _present(
            executionArn=self.arn,
            stateMachineArn=self.machine.arn,
            name=self.name,
            status=self.status,
            startDate=self.start,
            stopDate=self.stop,
            input=text,
            inputDetails={"included": True},
            output=output,
            outputDetails={"included": True} if output is not None else None,
            mapRunArn=self.map_run.arn if self.map_run else None,
            error=self.error,
            cause=self.cause,
            redriveCount=self.redrives,
            redriveDate=self.redriven,
            redriveStatus=status,
            redriveStatusReason=reason,
        )

    def summary(self) -> dict[str, Any]:
        """Entry of ListExecutions."""
        return _present(
            executionArn=self.arn,
            stateMachineArn=self.machine.arn,
            name=self.name,
            status=self.status,
            startDate=self.start,
            stopDate=self.stop,
            mapRunArn=self.map_run.arn if self.map_run else None,
            itemCount=self.items if self.map_run else None,
            redriveCount=self.redrives,
            redriveDate=self.redriven,
        )

    def events(self, *, with_data: bool = True) -> list[dict[str, Any]]:
        """Events of GetExecutionHistory, oldest first."""
        return [_event(number, event, with_data) for number, event in enumerate(self.load()[2], start=1)]


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _event(number: int, event: Event, with_data: bool) -> dict[str, Any]:
    kind, moment, previous, details = event
    shown: dict[str, Any] = {"id": number, "type": kind, "timestamp": moment, "previousEventId": previous}
    if details is not None:
        shape = kind[0].lower() + kind[1:]
        for suffix in ("StateEntered", "StateExited"):
            if kind.endswith(suffix):
                shape = suffix[0].lower() + suffix[1:]
        if not with_data:
            details = {key: value for key, value in details.items() if key not in {"input", "output", "parameters"}}
        shown[shape + "EventDetails"] = details
    return shown


class ChildFile:
    """What a Map Run keeps of its children on disk: inputs before they start, outputs and histories when they end.

    An unlinked temporary file: a hundred thousand children cost no memory, and nothing outlives the process.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="map-run-")  # noqa: SIM115 - lives as long as the Map Run
        self._end = 0

    @property
    def end(self) -> int:
        return self._end

    def append(self, content: bytes) -> int:
        """Write at the end; the offset of what was written."""
        offset = self._end
        os.pwrite(self._file.fileno(), content, offset)
        self._end += len(content)
        return offset

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)


@dataclass(slots=True)
class Counts:
    """itemCounts or executionCounts of a Map Run."""

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    aborted: int = 0
    results_written: int = 0
    failures_not_redrivable: int = 0
    pending_redrive: int = 0

    @property
    def total(self) -> int:
        return self.pending + self.running + self.succeeded + self.failed + self.timed_out + self.aborted

    @property
    def unsuccessful(self) -> int:
        """What counts against the tolerated failures."""
        return self.failed + self.timed_out

    def move(self, source: str, target: str, number: int) -> None:
        setattr(self, source, getattr(self, source) - number)
        setattr(self, target, getattr(self, target) + number)

    def shape(self) -> dict[str, int]:
        return {
            "pending": self.pending,
            "running": self.running,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "timedOut": self.timed_out,
            "aborted": self.aborted,
            "total": self.total,
            "resultsWritten": self.results_written,
            "failuresNotRedrivable": self.failures_not_redrivable,
            "pendingRedrive": self.pending_redrive,
        }


COUNTER = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed_out",
    "ABORTED": "aborted",
}


@dataclass(slots=True, eq=False)
class MapRun:
    """One run of a Distributed Map state."""

    arn: str
    uuid: str
    execution: Execution
    machine: Machine
    """What the children run."""
    max_concurrency: int
    tolerated_percentage: float | None
    tolerated_count: int | None
    start: float = field(default_factory=time.time)
    status: str = "RUNNING"
    stop: float | None = None
    error: str | None = None
    redrives: int = 0
    redriven: float | None = None
    file: ChildFile = field(default_factory=ChildFile)
    # (offset, length, items) of the inputs, in order; those before `position` were started.
    inputs: list[tuple[int, int, int]] = field(default_factory=list)
    position: int = 0
    children: list[Execution] = field(default_factory=list)
    items: Counts = field(default_factory=Counts)
    executions: Counts = field(default_factory=Counts)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add_input(self, text: str, items: int) -> None:
        content = text.encode()
        self.inputs.append((self.file.append(content), len(content), items))

    def ready(self) -> None:
        """All inputs are known: count them as pending."""
        self.executions.pending = len(self.inputs)
        self.items.pending = sum(items for _, _, items in self.inputs)

    def pending_inputs(self) -> Iterator[str]:
        """Inputs of the children that were never started."""
        for offset, length, _ in self.inputs[self.position :]:
            yield self.file.read(offset, length).decode()

    def moved(self, child: Execution, source: str) -> None:
        """Count a child's change from the counter `source` to that of its status."""
        target = COUNTER[child.status]
        self.executions.move(source, target, 1)
        self.items.move(source, target, child.items)

    def over_threshold(self) -> bool:
        """Whether more items failed than tolerated; without any tolerance, whether one did."""
        failed = self.items.unsuccessful
        if self.tolerated_percentage is None and self.tolerated_count is None:
            return failed > 0
        over_percentage = (
            self.tolerated_percentage is not None and failed * 100 > self.tolerated_percentage * self.items.total
        )
        return over_percentage or (self.tolerated_count is not None and failed > self.tolerated_count)

    def put_away(self, child: Execution) -> None:
        """Move a successful child's payloads and history to the file."""
        content = paths.dumps({"output": child.output, "history": child.history}).encode()
        offset, length, _ = self.inputs[child.number]
        child.filed = (self.file.append(content), len(content), offset, length)
        child.input, child.output, child.history, child.frame = "", None, [], None

    def describe(self) -> dict[str, Any]:
        """Body of DescribeMapRun."""
        return _present(
            mapRunArn=self.arn,
            executionArn=self.execution.arn,
            status=self.status,
            startDate=self.start,
            stopDate=self.stop,
            maxConcurrency=self.max_concurrency,
            toleratedFailurePercentage=self.tolerated_percentage or 0,
            toleratedFailureCount=self.tolerated_count or 0,
            itemCounts=self.items.shape(),
            executionCounts=self.executions.shape(),
            redriveCount=self.redrives,
            redriveDate=self.redriven,
        )

    def summary(self) -> dict[str, Any]:
        """Entry of ListMapRuns."""
        return _present(
            executionArn=self.execution.arn,
            mapRunArn=self.arn,
            stateMachineArn=self.machine.arn,
            startDate=self.start,
            stopDate=self.stop,
        )
