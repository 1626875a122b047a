"""Runs executions: the states of the Amazon States Language with JSONPath.

Source: https://states-language.net/ and https://docs.aws.amazon.com/step-functions/latest/dg/concepts-states.html.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws import knobs

from . import choices, distributed, integrations, paths, runtime, tokens
from .errors import PathError, StateError, check_size, matches
from .records import Branch, Execution, Frame, iso

Outcome = tuple[str | None, Any]
"""The next state, None at the end, and the output."""

LONGEST_SECONDS = 99_999_999
_LONGEST_DELAY = 31_622_400


@dataclass(slots=True)
class Scope:
    """One line of execution: the whole of an execution, or one branch of it."""

    execution: Execution
    caller: integrations.Caller
    context: dict[str, Any]
    last: int = 0

    def event(self, kind: str, details: dict[str, Any] | None = None) -> int:
        self.last = self.execution.event(kind, details, self.last)
        return self.last

    def branch(self, **context: Any) -> Scope:
        """A line that runs beside others; `context` is added to its context object."""
        return Scope(self.execution, self.caller, {**self.context, **context}, self.last)

    def state_context(self, frame: Frame, retries: int = 0) -> None:
        self.context["State"] = {"EnteredTime": iso(frame.entered or 0), "Name": frame.state, "RetryCount": retries}


async def execute(execution: Execution, caller: integrations.Caller) -> None:
    """Run an execution from its frame to its end and record how it ended. Never raises, but for a bug."""
    machine = execution.machine
    if execution.frame is None:
        value = json.loads(execution.input)
        execution.frame = Frame(machine.start_at, value, execution.input)
        execution.event("ExecutionStarted", {"input": execution.input, "roleArn": machine.role})
        given = value
    else:
        given = json.loads(execution.load()[0])
    about: dict[str, Any] = {
        "Id": execution.arn,
        "Input": given,
        "Name": execution.name,
        "RoleArn": machine.role,
        "StartTime": iso(execution.start),
        "RedriveCount": execution.redrives,
    }
    if execution.redriven is not None:
        about["RedriveTime"] = iso(execution.redriven)
    context = {"Execution": about, "StateMachine": {"Id": machine.arn, "Name": machine.name}}
    scope = Scope(execution, caller, context, len(execution.history))
    limit = None if machine.timeout is None else machine.timeout * knobs.current.timeout_scale
    try:
        async with asyncio.timeout(limit) as timer:
            output = await run_states(scope, machine.states, execution.frame)
    except StateError as error:
        _close(execution, "FAILED", error.error, error.cause)
    except TimeoutError:
        if not timer.expired():
            raise
        _close(execution, "TIMED_OUT", "States.Timeout", None)
    except asyncio.CancelledError:
        _close(execution, "ABORTED", execution.error, execution.cause)
    else:
        execution.output = output
        _close(execution, "SUCCEEDED", None, None)


def abort_unstarted(execution: Execution) -> None:
    """Close an execution that was stopped before its first state."""
    _close(execution, "ABORTED", execution.error, execution.cause)


def _close(execution: Execution, status: str, error: str | None, cause: str | None) -> None:
    execution.status, execution.error, execution.cause = status, error, cause
    execution.stop = time.time()
    kind = {
        "SUCCEEDED": "ExecutionSucceeded",
        "FAILED": "ExecutionFailed",
        "TIMED_OUT": "ExecutionTimedOut",
        "ABORTED": "ExecutionAborted",
    }[status]
    if status == "SUCCEEDED":
        details: dict[str, Any] = {"output": execution.output}
    else:
        details = {key: value for key, value in (("error", error), ("cause", cause)) if value is not None}
    execution.event(kind, details, len(execution.history))


async def run_states(scope: Scope, states: Mapping[str, Any], frame: Frame) -> str:
    """Run states from the frame on; the last one's output as JSON text. Raises StateError."""
    while True:
        state = states[frame.state]
        kind = state["Type"]
        if frame.entered is None:
            frame.entered = time.time()
            scope.event(f"{kind}StateEntered", {"name": frame.state, "input": frame.text})
        entered = scope.last
        scope.state_context(frame)
        scope.context.pop("Task", None)
        try:
            following, output = await _STATES[kind](scope, state, frame)
            text = frame.text if output is frame.value else paths.dumps(output)
            check_size(text, f"The state/task '{frame.state}' returned a result")
        except PathError as error:
            raise StateError("States.Runtime", _located(frame, entered, f"Invalid path '{error}'")) from error
        except StateError as error:
            if error.error == "States.Runtime" and not error.cause.startswith("An error occurred"):
                error.cause = _located(frame, entered, error.cause)
            raise
        except asyncio.CancelledError:
            if kind in {"Task", "Wait", "Map", "Parallel"}:
                scope.event(f"{kind}StateAborted")
            raise
        scope.event(f"{kind}StateExited", {"name": frame.state, "output": text})
        frame.inner = None
        if following is None:
            return text
        frame.state, frame.value, frame.text, frame.entered = following, output, text, None


def _located(frame: Frame, event: int, cause: str) -> str:
    return f"An error occurred while executing the state '{frame.state}' (entered at the event id #{event}). {cause}"


def _following(state: Mapping[str, Any]) -> str | None:
    following: str | None = state.get("Next")
    return following


def _input(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Any:
    path = state.get("InputPath", "$")
    if path is None:
        return {}
    return frame.value if path == "$" else paths.read(path, frame.value, scope.context)


def _output(scope: Scope, state: Mapping[str, Any], value: Any) -> Any:
    path = state.get("OutputPath", "$")
    if path is None:
        return {}
    return value if path == "$" else paths.read(path, value, scope.context)


def _effective(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Any:
    value = _input(scope, state, frame)
    return paths.resolve(state["Parameters"], value, scope.context) if "Parameters" in state else value


def _with_result(scope: Scope, state: Mapping[str, Any], frame: Frame, result: Any) -> Any:
    """ResultSelector, ResultPath and OutputPath."""
    if "ResultSelector" in state:
        result = paths.resolve(state["ResultSelector"], result, scope.context)
    return _output(scope, state, paths.write(state.get("ResultPath", "$"), frame.value, result))


async def _pass(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    result = copy.deepcopy(state["Result"]) if "Result" in state else _effective(scope, state, frame)
    return _following(state), _with_result(scope, state, frame, result)


async def _succeed(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    return None, _output(scope, state, _input(scope, state, frame))


async def _fail(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    raise StateError(_text_of(scope, state, frame, "Error"), _text_of(scope, state, frame, "Cause"))


def _text_of(scope: Scope, state: Mapping[str, Any], frame: Frame, name: str) -> str:
    if f"{name}Path" not in state:
        return str(state.get(name, ""))
    value = paths.evaluate(state[f"{name}Path"], frame.value, scope.context)
    if not isinstance(value, str):
        raise StateError("States.Runtime", f"The value of '{name}Path' must be a string, but was: {paths.dumps(value)}")
    return value


async def _choice(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    value = _input(scope, state, frame)
    for rule in state["Choices"]:
        if choices.holds(rule, value, scope.context):
            return rule["Next"], _output(scope, state, value)
    if "Default" not in state:
        raise StateError("States.NoChoiceMatched", "No choice rule matched and there is no default.")
    return state["Default"], _output(scope, state, value)


async def _wait(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    value = _input(scope, state, frame)
    if "Seconds" in state or "SecondsPath" in state:
        seconds = number_of(scope, state, value, "Seconds", low=0, high=LONGEST_SECONDS)
        await runtime.sleep(seconds or 0)
    else:
        given = state.get("Timestamp")
        if given is None:
            given = paths.read(state["TimestampPath"], value, scope.context)
        moment = choices.timestamp(given)
        if moment is None:
            raise StateError("States.Runtime", f"The value of 'TimestampPath' is not a timestamp: {paths.dumps(given)}")
        await runtime.sleep(moment.timestamp() - time.time())
    return _following(state), _output(scope, state, value)


def number_of(
    scope: Scope, state: Mapping[str, Any], value: Any, name: str, *, low: int, high: int = LONGEST_SECONDS
) -> int | None:
    """A whole number given as the field `name` or found at `namePath`; None when the state has neither."""
    if f"{name}Path" not in state:
        given = state.get(name)
        return None if given is None else int(given)
    found = paths.evaluate(state[f"{name}Path"], value, scope.context)
    if not choices.is_number(found) or found != int(found) or not low <= found <= high:
        raise StateError(
            "States.Runtime",
            f"The value of '{name}Path' must be an integer between {low} and {high}, but was: {paths.dumps(found)}",
        )
    return int(found)


async def _guarded(
    scope: Scope, state: Mapping[str, Any], frame: Frame, attempt: Callable[[], Awaitable[Any]]
) -> Outcome:
    """Run `attempt`, the work of a Task, Parallel or Map, under the state's Retry and Catch."""
    retriers = state.get("Retry", [])
    used = [0] * len(retriers)
    while True:
        scope.state_context(frame, sum(used))
        try:
            return _following(state), await attempt()
        except PathError as error:
            raise StateError("States.Runtime", f"Invalid path '{error}'") from error
        except StateError as error:
            index = next((i for i, each in enumerate(retriers) if matches(each["ErrorEquals"], error.error)), None)
            if index is not None and used[index] < retriers[index].get("MaxAttempts", 3):
                delay = retry_delay(retriers[index], used[index])
                used[index] += 1
                frame.inner = None
                await runtime.sleep(delay)
                continue
            for catcher in state.get("Catch", []):
                if matches(catcher["ErrorEquals"], error.error):
                    return catcher["Next"], paths.write(catcher.get("ResultPath", "$"), frame.value, error.output())
            raise


def retry_delay(retrier: Mapping[str, Any], earlier: int) -> float:
    """Seconds before the next attempt after `earlier` retries of this retrier."""
    interval, rate = retrier.get("IntervalSeconds", 1), retrier.get("BackoffRate", 2.0)
    longest = retrier.get("MaxDelaySeconds", _LONGEST_DELAY)
    # Powers of thousands of attempts overflow: the longest delay is reached long before.
    grown = interval * rate**earlier if earlier * math.log(max(rate, 1)) < 40 else longest
    delay = min(grown, longest)
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


async def _task(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    async def attempt() -> Any:
        result = await _run_task(scope, state, frame)
        return _with_result(scope, state, frame, result)

    return await _guarded(scope, state, frame, attempt)


async def _run_task(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Any:
    resource = integrations.parse(state["Resource"])
    value = _input(scope, state, frame)
    timeout = number_of(scope, state, value, "TimeoutSeconds", low=1)
    heartbeat = number_of(scope, state, value, "HeartbeatSeconds", low=1)
    waiting, token = None, ""
    if resource.pattern == "waitForTaskToken":
        # Every attempt has a token of its own: an answer to an earlier one finds it timed out.
        token, waiting = tokens.issue(scope.execution.machine.arn)
        scope.context["Task"] = {"Token": token}
    about = {"resourceType": resource.event_type, "resource": resource.event_resource}
    try:
        payload = _effective(scope, state, frame)
        text = paths.dumps(payload)
        check_size(text, f"The state/task '{frame.state}' has an input")
        limits = {"timeoutInSeconds": timeout, "heartbeatInSeconds": heartbeat}
        scheduled = {**about, "region": scope.caller.region, "parameters": text}
        scope.event("TaskScheduled", scheduled | {key: each for key, each in limits.items() if each is not None})
        return await _called(scope, resource, payload, about, waiting, (timeout, heartbeat))
    except StateError as error:
        kind = "TaskTimedOut" if error.error in {"States.Timeout", "States.HeartbeatTimeout"} else "TaskFailed"
        scope.event(kind, {**about, "error": error.error, "cause": error.cause})
        raise
    finally:
        tokens.close(token)


async def _called(
    scope: Scope,
    resource: integrations.Resource,
    payload: Any,
    about: dict[str, Any],
    waiting: tokens.Waiting | None,
    limits: tuple[int | None, int | None],
) -> Any:
    """Make the call within `limits` (TimeoutSeconds, HeartbeatSeconds), which begin with it, and record its result."""
    timeout, heartbeat = limits
    if resource.service in {"lambda", "function"} and waiting is None:
        async with runtime.lambda_place():
            scope.event("TaskStarted", about)
            async with _limited(timeout, "States.Timeout"):
                result = await integrations.call(resource, payload, scope.caller)
    else:
        scope.event("TaskStarted", about)
        scale = knobs.current.timeout_scale if resource.pattern else 1.0
        async with _limited(timeout and timeout * scale, "States.Timeout"):
            if waiting is None:
                result = await integrations.call(resource, payload, scope.caller)
            else:
                result = await _answered(scope, resource, payload, about, waiting, heartbeat and heartbeat * scale)
    text = paths.dumps(result)
    check_size(text, f"The state/task '{scope.context['State']['Name']}' returned a result")
    scope.event("TaskSucceeded", {**about, "output": text})
    return result


async def _answered(
    scope: Scope,
    resource: integrations.Resource,
    payload: Any,
    about: dict[str, Any],
    waiting: tokens.Waiting,
    heartbeat: float | None,
) -> Any:
    """Make the call that hands out the token, then wait for its answer, which may come before the call returns."""

    async def submit() -> None:
        if resource.service == "lambda":
            async with runtime.lambda_place():
                result = await integrations.call(resource, payload, scope.caller)
        else:
            result = await integrations.call(resource, payload, scope.caller)
        if not waiting.answer.done():
            scope.event("TaskSubmitted", {**about, "output": paths.dumps(result)})

    submission = asyncio.ensure_future(submit())
    try:
        async with _limited(heartbeat, "States.HeartbeatTimeout") as timer:
            waiting.heartbeat, waiting.limit = heartbeat, timer
            await asyncio.wait({submission, waiting.answer}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.answer.done():
                submission.result()
            return await waiting.answer
    finally:
        submission.cancel()
        # Whoever answered first decided; what the other says is of no interest.
        submission.add_done_callback(lambda task: task.cancelled() or task.exception())


class _limited:  # noqa: N801 - used as a function
    """`async with`: raise StateError(`error`) when the body takes longer than `seconds`; None = no limit."""

    def __init__(self, seconds: float | None, error: str) -> None:
        self._timer = asyncio.timeout(seconds if seconds and seconds < LONGEST_SECONDS else None)
        self._error = error

    async def __aenter__(self) -> asyncio.Timeout:
        return await self._timer.__aenter__()

    async def __aexit__(self, *problem: Any) -> None:
        try:
            await self._timer.__aexit__(*problem)
        except TimeoutError:
            raise StateError(self._error, "") from None


async def _parallel(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    async def attempt() -> Any:
        value = _effective(scope, state, frame)
        text = paths.dumps(value)
        if frame.inner is None:
            scope.event("ParallelStateStarted")
            frame.inner = [Branch(Frame(each["StartAt"], copy.deepcopy(value), text)) for each in state["Branches"]]
        branches: list[Branch] = frame.inner

        async def run(index: int) -> None:
            branch = branches[index]
            if not branch.done:
                text = await run_states(scope.branch(), state["Branches"][index]["States"], branch.frame)
                branch.output, branch.done = json.loads(text), True

        try:
            await together([functools.partial(run, i) for i in range(len(branches))], 0)
        except StateError:
            scope.event("ParallelStateFailed")
            raise
        scope.last = len(scope.execution.history)
        scope.event("ParallelStateSucceeded")
        return _with_result(scope, state, frame, [branch.output for branch in branches])

    return await _guarded(scope, state, frame, attempt)


async def together(jobs: list[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Run jobs, at most `at_once` at a time (0 = all); the first failure cancels the others and is raised."""
    room = asyncio.Semaphore(at_once or max(1, len(jobs)))

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await job()

    tasks = [asyncio.ensure_future(one(job)) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _map(scope: Scope, state: Mapping[str, Any], frame: Frame) -> Outcome:
    processor = state.get("ItemProcessor") or state["Iterator"]
    is_distributed = processor.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED"

    async def attempt() -> Any:
        value = _input(scope, state, frame)
        if is_distributed:
            result = await distributed.run(scope, state, processor, frame, value)
        else:
            result = await _inline_map(scope, state, processor, frame, value)
        return _with_result(scope, state, frame, result)

    return await _guarded(scope, state, frame, attempt)


def items_of(scope: Scope, state: Mapping[str, Any], value: Any) -> list[Any]:
    """The array at ItemsPath."""
    items = paths.read(state.get("ItemsPath", "$"), value, scope.context)
    if not isinstance(items, list):
        raise StateError(
            "States.Runtime",
            f'Reference path "{state.get("ItemsPath", "$")}" must point to array.',
        )
    return items


def selected(
    scope: Scope, state: Mapping[str, Any], value: Any, index: int, item: Any, source: str | None = None
) -> Any:
    """An item after ItemSelector (or the older Parameters)."""
    template = state.get("ItemSelector", state.get("Parameters"))
    if template is None:
        return item
    about = {"Index": index, "Value": item} | ({"Source": source} if source else {})
    return paths.resolve(template, value, {**scope.context, "Map": {"Item": about}})


async def _inline_map(
    scope: Scope, state: Mapping[str, Any], processor: Mapping[str, Any], frame: Frame, value: Any
) -> list[Any]:
    at_once = number_of(scope, state, value, "MaxConcurrency", low=0) or 0
    items = items_of(scope, state, value)
    if frame.inner is None:
        scope.event("MapStateStarted", {"length": len(items)})
        frame.inner = []
        for index, item in enumerate(items):
            given = selected(scope, state, value, index, item)
            frame.inner.append(Branch(Frame(processor["StartAt"], given, paths.dumps(given))))
    branches: list[Branch] = frame.inner

    async def run(index: int) -> None:
        branch = branches[index]
        if branch.done:
            return
        about = {"name": frame.state, "index": index}
        line = scope.branch(Map={"Item": {"Index": index, "Value": items[index]}})
        line.event("MapIterationStarted", about)
        try:
            text = await run_states(line, processor["States"], branch.frame)
        except StateError:
            line.event("MapIterationFailed", about)
            raise
        except asyncio.CancelledError:
            line.event("MapIterationAborted", about)
            raise
        branch.output, branch.done = json.loads(text), True
        line.event("MapIterationSucceeded", about)

    try:
        await together([functools.partial(run, i) for i in range(len(branches))], at_once)
    except StateError:
        scope.event("MapStateFailed")
        raise
    scope.last = len(scope.execution.history)
    scope.event("MapStateSucceeded")
    return [branch.output for branch in branches]


_STATES: dict[str, Callable[[Scope, Mapping[str, Any], Frame], Awaitable[Outcome]]] = {
    "Choice": _choice,
    "Fail": _fail,
    "Map": _map,
    "Parallel": _parallel,
    "Pass": _pass,
    "Succeed": _succeed,
    "Task": _task,
    "Wait": _wait,
}
