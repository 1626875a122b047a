"""The API of executions and Map Runs: StartExecution, StopExecution, RedriveExecution, the Describe and List calls,
histories and task tokens.

Source: https://docs.aws.amazon.com/step-functions/latest/apireference/. Runs on the engine's thread.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import engine, integrations, runtime, store, tokens
from .errors import PAYLOAD_LIMIT, ApiError
from .records import Execution, Machine, MapRun

_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]{1,80}")
_EVENT_PAYLOAD_LIMIT = 248 * 1024
_log = logging.getLogger(__name__)


def check_name(name: str) -> None:
    """Raise InvalidName for a name that the API refuses."""
    if not _NAME.fullmatch(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")


def start_execution(request: Mapping[str, Any]) -> Execution:
    """Start an execution, or find the one that runs with the same name and input. Raises ApiError."""
    given_arn = request.get("stateMachineArn", "")
    machine, kind = _machine(given_arn)
    name = request.get("name") or str(uuid.uuid4())
    check_name(name)
    text = request.get("input") or "{}"
    _check_input(text)
    arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
    if kind == "EXPRESS":
        arn = f"{machine.arn.replace(':stateMachine:', ':express:')}:{name}:{uuid.uuid4()}"
    known = store.executions.get(arn)
    if known is not None:
        if known.status == "RUNNING" and known.input == text:
            return known
        raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
    execution = Execution(arn, name, machine, text)
    store.add_execution(execution)
    _launch(execution)
    return execution


def _check_input(text: str) -> None:
    if len(text.encode()) > PAYLOAD_LIMIT:
        raise ApiError(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less "
            f"than or equal to {PAYLOAD_LIMIT}",
        )
    try:
        json.loads(text)
    except ValueError as error:
        raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error


def _machine(arn: str) -> tuple[Machine, str]:
    from ministack.services import stepfunctions as stock

    base = stock._resolve_state_machine_arn(arn)
    record = stock._state_machines.get(base) if base else None
    if record is None:
        raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
    revision = stock._state_machine_versions.get(stock._execution_version_arn(arn)) or record
    machine = _parsed(record["stateMachineArn"], record["name"], revision["roleArn"], revision["definition"])
    return machine, record["type"]


@functools.lru_cache(maxsize=256)
def _parsed(arn: str, name: str, role: str, text: str) -> Machine:
    definition = json.loads(text)
    return Machine(arn, name, role, definition["StartAt"], definition["States"], definition.get("TimeoutSeconds"))


def _launch(execution: Execution) -> None:
    _announce(execution)
    execution.runner = runtime.later(_run(execution))


async def _run(execution: Execution) -> None:
    region, account = execution.arn.split(":")[3:5]
    caller = integrations.Caller(execution.machine.role, region, account, start_execution, _stop_nested)
    await engine.execute(execution, caller)
    _ended(execution)


def _ended(execution: Execution) -> None:
    execution.runner = None
    for waiter in execution.waiters:
        if not waiter.done():
            waiter.set_result(None)
    execution.waiters.clear()
    _announce(execution)


def _stop_nested(execution: Execution) -> None:
    if execution.status == "RUNNING":
        stop(execution, None, None)


def stop(execution: Execution, error: str | None, cause: str | None) -> None:
    """Abort a running execution and everything it runs; it closes as soon as those have closed."""
    execution.error, execution.cause = error, cause
    if execution.runner is not None:
        execution.runner.cancel()
    if execution.frame is None:
        engine.abort_unstarted(execution)
        _ended(execution)


def redrive(execution: Execution) -> None:
    """Go on with an unsuccessful execution from its unsuccessful states. Raises ApiError."""
    status, reason = execution.redrive_status()
    if status != "REDRIVABLE":
        why = reason or "Child workflow executions are redriven with their Map Run"
        raise ApiError("ExecutionNotRedrivable", f"Execution Not Redrivable: '{why}'")
    execution.redrives += 1
    execution.redriven = time.time()
    execution.status, execution.stop, execution.error, execution.cause = "RUNNING", None, None, None
    execution.event("ExecutionRedriven", {"redriveCount": execution.redrives}, len(execution.history))
    _launch(execution)


def _announce(execution: Execution) -> None:
    """Emit "Step Functions Execution Status Change"
    (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html)."""
    if ":express:" in execution.arn:
        return
    status, reason = execution.redrive_status()
    detail: dict[str, Any] = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": round(execution.start * 1000),
        "stopDate": round(execution.stop * 1000) if execution.stop is not None else None,
        "input": execution.input,
        "output": execution.output,
        "inputDetails": {"included": True},
        "outputDetails": {"included": True} if execution.output is not None else None,
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrives,
        "redriveDate": round(execution.redriven * 1000) if execution.redriven is not None else None,
        "redriveStatus": status,
        "redriveStatusReason": reason,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
    }
    for name in ("input", "output"):
        if detail[name] is not None and len(json.dumps(detail[name])) > _EVENT_PAYLOAD_LIMIT:
            detail[name], detail[f"{name}Details"] = None, {"included": False}
    runtime.emit(functools.partial(_put_event, execution.arn, json.dumps(detail)))


def _put_event(arn: str, detail: str) -> None:
    from ministack.services import eventbridge

    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": detail,
        "Resources": [arn],
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        # Best effort, as on AWS: an execution does not depend on its events.
        _log.warning("the status event of %s was not delivered", arn, exc_info=True)


def _execution(request: Mapping[str, Any]) -> Execution:
    arn = request.get("executionArn", "")
    execution = store.executions.get(arn)
    if execution is None:
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    return execution


def _map_run(request: Mapping[str, Any]) -> MapRun:
    arn = request.get("mapRunArn", "")
    if arn not in store.map_runs:
        raise ApiError("ResourceNotFound", f"Resource not found: '{arn}'")
    return store.map_runs[arn]


def _start(request: Mapping[str, Any]) -> dict[str, Any]:
    execution = start_execution(request)
    return {"executionArn": execution.arn, "startDate": execution.start}


def _stop(request: Mapping[str, Any]) -> dict[str, Any]:
    execution = _execution(request)
    if execution.status == "RUNNING" and execution.map_run is None:
        stop(execution, request.get("error"), request.get("cause"))
    return {"stopDate": execution.stop or time.time()}


def _redrive(request: Mapping[str, Any]) -> dict[str, Any]:
    execution = _execution(request)
    redrive(execution)
    return {"redriveDate": execution.redriven}


def _list(request: Mapping[str, Any]) -> dict[str, Any]:
    if "mapRunArn" in request:
        executions: Sequence[Execution] = _map_run(request).children
    else:
        machine, kind = _machine(request.get("stateMachineArn", ""))
        if kind == "EXPRESS":
            raise ApiError("StateMachineTypeNotSupported", "This operation is not supported by Express state machines")
        executions = store.of_machine(machine.arn)
    wanted = request.get("statusFilter")
    redriven = request.get("redriveFilter")
    found = [
        each
        for each in reversed(executions)
        if (wanted is None or each.status == wanted)
        and (redriven is None or (redriven == "REDRIVEN") == (each.redrives > 0))
    ]
    page, token = _page(found, request, 100)
    return {"executions": [each.summary() for each in page]} | token


def _list_map_runs(request: Mapping[str, Any]) -> dict[str, Any]:
    execution = _execution(request)
    found = [each for each in store.map_runs.values() if each.execution is execution]
    page, token = _page(found[::-1], request, 100)
    return {"mapRuns": [each.summary() for each in page]} | token


def _update_map_run(request: Mapping[str, Any]) -> dict[str, Any]:
    map_run = _map_run(request)
    if map_run.status != "RUNNING":
        raise ApiError("ValidationException", f"Map Run is {map_run.status} and cannot be updated")
    map_run.max_concurrency = request.get("maxConcurrency", map_run.max_concurrency)
    map_run.tolerated_percentage = request.get("toleratedFailurePercentage", map_run.tolerated_percentage)
    map_run.tolerated_count = request.get("toleratedFailureCount", map_run.tolerated_count)
    map_run.wake.set()
    return {}


def _history(request: Mapping[str, Any]) -> dict[str, Any]:
    events = _execution(request).events(with_data=request.get("includeExecutionData", True))
    if request.get("reverseOrder"):
        events.reverse()
    page, token = _page(events, request, 100)
    return {"events": page} | token


def _page(found: Sequence[Any], request: Mapping[str, Any], default: int) -> tuple[Sequence[Any], dict[str, str]]:
    size = request.get("maxResults") or default
    if not 0 < size <= 1000:
        raise ApiError("ValidationException", f"maxResults must be between 0 and 1000, not {size}")
    start = 0
    if request.get("nextToken"):
        try:
            start = int(base64.urlsafe_b64decode(request["nextToken"]))
        except ValueError as error:
            raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'") from error
    end = start + size
    token = {"nextToken": base64.urlsafe_b64encode(str(end).encode()).decode()} if end < len(found) else {}
    return found[start:end], token


def _task_success(request: Mapping[str, Any]) -> dict[str, Any]:
    text = request.get("output", "")
    try:
        output = json.loads(text)
    except ValueError as error:
        raise ApiError("InvalidOutput", f"Invalid Output: '{error}'") from error
    if len(text.encode()) > PAYLOAD_LIMIT:
        raise ApiError("InvalidOutput", f"Invalid Output: 'longer than {PAYLOAD_LIMIT} bytes'")
    tokens.succeed(request.get("taskToken", ""), output)
    return {}


def _task_failure(request: Mapping[str, Any]) -> dict[str, Any]:
    tokens.fail(request.get("taskToken", ""), request.get("error") or "", request.get("cause") or "")
    return {}


def _task_heartbeat(request: Mapping[str, Any]) -> dict[str, Any]:
    tokens.beat(request.get("taskToken", ""))
    return {}


def _machine_of_execution(request: Mapping[str, Any]) -> dict[str, Any]:
    execution = _execution(request)
    machine = execution.machine
    definition: dict[str, Any] = {"StartAt": machine.start_at, "States": machine.states}
    if machine.timeout is not None:
        definition["TimeoutSeconds"] = machine.timeout
    run = {"mapRunArn": execution.map_run.arn} if execution.map_run else {}
    return {
        "stateMachineArn": machine.arn,
        "name": machine.name,
        "definition": json.dumps(definition),
        "roleArn": machine.role,
        "updateDate": execution.start,
    } | run


async def answer(action: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one of `ACTIONS`. Raises ApiError."""
    return ACTIONS[action](request)


ACTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "DescribeExecution": lambda request: _execution(request).describe(),
    "DescribeMapRun": lambda request: _map_run(request).describe(),
    "DescribeStateMachineForExecution": _machine_of_execution,
    "GetExecutionHistory": _history,
    "ListExecutions": _list,
    "ListMapRuns": _list_map_runs,
    "RedriveExecution": _redrive,
    "SendTaskFailure": _task_failure,
    "SendTaskHeartbeat": _task_heartbeat,
    "SendTaskSuccess": _task_success,
    "StartExecution": _start,
    "StopExecution": _stop,
    "UpdateMapRun": _update_map_run,
}
