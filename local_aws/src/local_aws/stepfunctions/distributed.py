"""Distributed Map: items into batches, batches into child executions, their results into S3 or the state's output.

Sources: https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html,
input-output-itembatcher.html, input-output-resultwriter.html, concepts-examine-map-run.html, redrive-map-run.html.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import choices, engine, paths, readers, roles, runtime, store, writers
from .errors import PAYLOAD_LIMIT, PathError, StateError
from .records import COUNTER, Execution, Frame, Machine, MapRun

CHILDREN_AT_ONCE = 10_000
"""Parallel children of a Map Run, also the meaning of MaxConcurrency 0
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

# After these a redrive starts a new Map Run, because this one has no children to go on with.
_NOT_RESUMED = {
    "States.ItemReaderFailed",
    "States.ResultWriterFailed",
    "States.DataLimitExceeded",
    "States.Runtime",
    "States.Permissions",
}


async def run(
    scope: engine.Scope, state: Mapping[str, Any], processor: Mapping[str, Any], frame: Frame, value: Any
) -> Any:
    """The Map state's result: the children's outputs, or where they were exported. Raises StateError."""
    machine = scope.execution.machine
    if reason := roles.denial(machine.role, "states:StartExecution", machine.arn):
        raise StateError("States.Permissions", reason)
    map_run: MapRun | None = frame.inner
    resumed = map_run is not None and map_run.error not in _NOT_RESUMED
    if map_run is None or not resumed:
        map_run = frame.inner = _open(scope, state, processor, value)
        scope.event("MapStateStarted", {"length": 0})
        scope.event("MapRunStarted", {"mapRunArn": map_run.arn})
    else:
        _require_redrive(map_run)
        map_run.redrives += 1
        map_run.redriven = time.time()
        map_run.status, map_run.stop, map_run.error = "RUNNING", None, None
        scope.event("MapRunRedriven", {"mapRunArn": map_run.arn, "redriveCount": map_run.redrives})
    try:
        result = await _run_children(scope, state, value, map_run, resumed=resumed)
    except PathError as error:
        problem = StateError("States.Runtime", f"Invalid path '{error}'")
        _failed(scope, map_run, problem)
        raise problem from error
    except StateError as error:
        _failed(scope, map_run, error)
        raise
    except asyncio.CancelledError:
        _close(map_run, "ABORTED", None)
        scope.event("MapRunAborted")
        if "Resource" in state.get("ResultWriter", {}):
            runtime.later(_export_rest(scope, state, value, map_run))
        raise
    _close(map_run, "SUCCEEDED", None)
    scope.event("MapRunSucceeded")
    scope.event("MapStateSucceeded")
    return result


def _require_redrive(map_run: MapRun) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html"""
    for child in map_run.children[:1]:
        if reason := roles.denial(map_run.machine.role, "states:RedriveExecution", child.arn):
            raise StateError("States.Permissions", reason)


def _open(scope: engine.Scope, state: Mapping[str, Any], processor: Mapping[str, Any], value: Any) -> MapRun:
    parent = scope.execution.machine
    number = str(uuid.uuid4())
    # Without a Label, AWS makes one up.
    label = state.get("Label") or uuid.uuid5(uuid.NAMESPACE_OID, paths.dumps(processor)).hex
    child_machine = Machine(
        arn=f"{parent.arn}/{label}",
        name=f"{parent.name}/{label}",
        role=parent.role,
        start_at=processor["StartAt"],
        states=processor["States"],
        timeout=300.0 if processor["ProcessorConfig"]["ExecutionType"] == "EXPRESS" else None,
        express=processor["ProcessorConfig"]["ExecutionType"] == "EXPRESS",
    )
    map_run = MapRun(
        arn=f"{parent.arn.replace(':stateMachine:', ':mapRun:')}/{label}:{number}",
        uuid=number,
        execution=scope.execution,
        machine=child_machine,
        max_concurrency=engine.number_of(scope, state, value, "MaxConcurrency", low=0) or 0,
        tolerated_percentage=_percentage(scope, state, value),
        tolerated_count=engine.number_of(scope, state, value, "ToleratedFailureCount", low=0),
    )
    store.add_map_run(map_run)
    return map_run


def _percentage(scope: engine.Scope, state: Mapping[str, Any], value: Any) -> float | None:
    given = state.get("ToleratedFailurePercentage")
    if "ToleratedFailurePercentagePath" in state:
        given = paths.evaluate(state["ToleratedFailurePercentagePath"], value, scope.context)
        if not choices.is_number(given) or not 0 <= given <= 100:
            raise StateError(
                "States.Runtime",
                "The value of 'ToleratedFailurePercentagePath' must be a number between 0 and 100, but was: "
                f"{paths.dumps(given)}",
            )
    return None if given is None else float(given)


def _failed(scope: engine.Scope, map_run: MapRun, error: StateError) -> None:
    _close(map_run, "FAILED", error.error)
    scope.event("MapRunFailed", {"error": error.error, "cause": error.cause})
    scope.event("MapStateFailed")


def _close(map_run: MapRun, status: str, error: str | None) -> None:
    map_run.status, map_run.error, map_run.stop = status, error, time.time()
    if status != "SUCCEEDED":
        lost = [child for child in map_run.children if child.status != "SUCCEEDED" and not _redrivable(child)]
        map_run.executions.failures_not_redrivable = len(lost)
        map_run.items.failures_not_redrivable = sum(child.items for child in lost)


def _redrivable(child: Execution) -> bool:
    return child.redrive_status()[0] != "NOT_REDRIVABLE"


async def _run_children(
    scope: engine.Scope, state: Mapping[str, Any], value: Any, map_run: MapRun, *, resumed: bool
) -> Any:
    if resumed:
        unsuccessful = [child for child in map_run.children if child.status not in {"RUNNING", "SUCCEEDED"}]
    else:
        unsuccessful = []
        s3 = await _s3(scope) if "ItemReader" in state else None
        items = _items(scope, state, value, s3)
        await runtime.call(_prepare, map_run, _inputs(scope, state, value, items))
        map_run.ready()
    exceeded = await _drive(scope, map_run, unsuccessful)
    writer = state.get("ResultWriter", {})
    result: Any = None
    if "Resource" in writer:
        result = await _export(scope, state, value, map_run)
    if exceeded:
        raise StateError(
            "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded"
        )
    if "Resource" in writer:
        return result
    return await runtime.call(writers.state_output, map_run, writer.get("WriterConfig", {}))


async def _s3(scope: engine.Scope) -> Any:
    # Making a client takes long enough to be noticed by whatever else runs.
    return await runtime.call(roles.client, "s3", scope.caller.role, scope.caller.region)


def _items(scope: engine.Scope, state: Mapping[str, Any], value: Any, s3: Any) -> Iterator[readers.Item]:
    reader = state.get("ItemReader")
    if reader is None:
        return ((item, None) for item in engine.items_of(scope, state, value))
    config = reader.get("ReaderConfig", {})
    parameters = paths.resolve(reader.get("Parameters", {}), value, scope.context)
    limit = engine.number_of(scope, config, value, "MaxItems", low=1, high=100_000_000)
    action = reader["Resource"].rsplit(":", 1)[-1]
    return itertools.islice(readers.read(s3, action, config, parameters), limit)


def _prepare(map_run: MapRun, inputs: Iterable[tuple[str, int]]) -> None:
    """Read everything into the run's file: how many items there are decides what failures are tolerated."""
    for text, items in inputs:
        map_run.add_input(text, items)


def _inputs(
    scope: engine.Scope, state: Mapping[str, Any], value: Any, items: Iterator[readers.Item]
) -> Iterator[tuple[str, int]]:
    """Inputs of the children as JSON text, with the number of items in each."""
    texts = (
        paths.dumps(engine.selected(scope, state, value, index, item, source))
        for index, (item, source) in enumerate(items)
    )
    batcher = state.get("ItemBatcher")
    if batcher is None:
        return ((_checked(text), 1) for text in texts)
    most_items = engine.number_of(scope, batcher, value, "MaxItemsPerBatch", low=1)
    most_bytes = engine.number_of(scope, batcher, value, "MaxInputBytesPerBatch", low=1, high=PAYLOAD_LIMIT)
    head = "{"
    if "BatchInput" in batcher:
        head += f'"BatchInput":{paths.dumps(paths.resolve(batcher["BatchInput"], value, scope.context))},'
    return _batches(texts, head + '"Items":[', most_items, most_bytes or PAYLOAD_LIMIT)


def _batches(texts: Iterable[str], head: str, most_items: int | None, most_bytes: int) -> Iterator[tuple[str, int]]:
    """Fill batches up to both limits; the limit of bytes covers the whole input of the child."""
    frame = len(head.encode()) + len("]}")
    batch: list[str] = []
    size = frame
    for text in texts:
        length = len(text.encode()) + (1 if batch else 0)
        if batch and (len(batch) == most_items or size + length > most_bytes):
            yield head + ",".join(batch) + "]}", len(batch)
            batch, size = [], frame
            length -= 1
        if size + length > most_bytes:
            raise StateError(
                "States.ItemReaderFailed",
                f"An item of {length} bytes does not fit into a batch of at most {most_bytes} bytes.",
            )
        batch.append(text)
        size += length
    if batch:
        yield head + ",".join(batch) + "]}", len(batch)


def _checked(text: str) -> str:
    if len(text) * 4 > PAYLOAD_LIMIT and len(text.encode()) > PAYLOAD_LIMIT:
        raise StateError(
            "States.DataLimitExceeded",
            "The input of a child workflow execution has a size exceeding the maximum number of bytes service limit.",
        )
    return text


async def _drive(scope: engine.Scope, map_run: MapRun, unsuccessful: list[Execution]) -> bool:
    """Run what is pending, as many children at once as allowed; whether too many items failed.

    When they did, children that still run are aborted and those pending are never started.
    """
    again = iter(_to_redrive(map_run, unsuccessful))
    running: dict[asyncio.Task[None], Execution] = {}
    exceeded = False
    try:
        while not exceeded:
            room = (map_run.max_concurrency or CHILDREN_AT_ONCE) - len(running)
            started = 0
            # A few at a time, so that children that end are seen while others start.
            while started < min(room, 64) and (child := next(again, None) or _next_child(map_run)):
                child.status = "RUNNING"
                map_run.moved(child, "pending")
                task = asyncio.ensure_future(_run_child(scope, map_run, child))
                running[task] = child
                task.add_done_callback(functools.partial(_ended, running, map_run))
                started += 1
            if not running:
                break
            if started == 64:
                await asyncio.sleep(0)
            else:
                map_run.wake.clear()
                await map_run.wake.wait()
            exceeded = map_run.over_threshold()
    finally:
        left = dict(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for child in left.values():
            if child.status == "RUNNING":
                engine.abort_unstarted(child)
                map_run.moved(child, "running")
    return exceeded


def _ended(running: dict[asyncio.Task[None], Execution], map_run: MapRun, task: asyncio.Task[None]) -> None:
    running.pop(task, None)
    map_run.wake.set()
    if not task.cancelled() and (problem := task.exception()):
        raise problem


def _to_redrive(map_run: MapRun, unsuccessful: list[Execution]) -> list[Execution]:
    """Make unsuccessful children ready to go on from where each failed; Express ones start anew."""
    ready = [child for child in unsuccessful if _redrivable(child)]
    for child in ready:
        counter = COUNTER[child.status]
        child.redrives += 1
        child.redriven = time.time()
        if map_run.machine.express:
            child.frame, child.history = None, []
        else:
            child.event("ExecutionRedriven", {"redriveCount": child.redrives}, len(child.history))
        child.error = child.cause = child.stop = None
        map_run.executions.move(counter, "pending", 1)
        map_run.items.move(counter, "pending", child.items)
    return ready


def _next_child(map_run: MapRun) -> Execution | None:
    if map_run.position >= len(map_run.inputs):
        return None
    offset, length, items = map_run.inputs[map_run.position]
    name = str(uuid.uuid4())
    child = Execution(
        arn=f"{map_run.machine.arn.replace(':stateMachine:', ':execution:')}:{name}",
        name=name,
        machine=map_run.machine,
        input=map_run.file.read(offset, length).decode(),
        map_run=map_run,
        items=items,
        number=map_run.position,
    )
    map_run.position += 1
    map_run.children.append(child)
    store.add_execution(child)
    return child


async def _run_child(scope: engine.Scope, map_run: MapRun, child: Execution) -> None:
    await engine.execute(child, scope.caller)
    map_run.moved(child, "running")
    if child.status == "SUCCEEDED":
        map_run.put_away(child)


async def _export(scope: engine.Scope, state: Mapping[str, Any], value: Any, map_run: MapRun) -> dict[str, Any]:
    writer = state["ResultWriter"]
    parameters = paths.resolve(writer.get("Parameters", {}), value, scope.context)
    details = await runtime.call(writers.export, await _s3(scope), map_run, parameters, writer.get("WriterConfig", {}))
    map_run.executions.results_written = len(map_run.children)
    map_run.items.results_written = sum(child.items for child in map_run.children)
    return {"MapRunArn": map_run.arn, "ResultWriterDetails": details}


async def _export_rest(scope: engine.Scope, state: Mapping[str, Any], value: Any, map_run: MapRun) -> None:
    """Results of an aborted run; that they cannot be written changes nothing any more."""
    try:
        await _export(scope, state, value, map_run)
    except (StateError, PathError):
        return
