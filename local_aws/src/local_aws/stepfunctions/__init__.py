"""Step Functions for the local AWS: an interpreter of our own behind ministack's API.

Ministack keeps the state machines, their versions, aliases, tags and activities. Executions, Map Runs, task tokens and
definitions' checks are ours: `service` answers the API, `engine` runs states, `distributed` runs Distributed Maps.
Left out: JSONata, activities as tasks, TestState and Express workflows by StartSyncExecution on our engine, readers of
PARQUET, MANIFEST and ZSTD, log delivery.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_aws import seams

from . import definitions, roles, runtime, service, store
from .errors import ApiError

_MODULE = "ministack.services.stepfunctions"

Answer = tuple[int, dict[str, str], bytes]


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()


def _refusal(error: ApiError) -> Answer:
    status, headers, body = _json(error.status, {"__type": error.code, "message": error.message})
    return status, {**headers, "x-amzn-errortype": error.code}, body


async def _handle_request(
    method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]
) -> Answer:
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        request = json.loads(body) if body else {}
        if action in service.ACTIONS:
            return _json(200, await runtime.within(service.answer(action, request)))
        if action == "ValidateStateMachineDefinition":
            found = definitions.problems(request.get("definition", ""))
            shapes = [each.shape() for each in found]
            return _json(200, {"result": "FAIL" if shapes else "OK", "diagnostics": shapes, "truncated": False})
        if action == "CreateStateMachine":
            _check_new(request)
        elif action == "UpdateStateMachine":
            _check_update(request)
    except ApiError as error:
        return _refusal(error)
    except ValueError as error:
        return _refusal(ApiError("SerializationException", str(error)))
    answer: Answer = await seams.original(_MODULE, "handle_request")(method, path, headers, body, query_params)
    if answer[0] == 200 and action in {"CreateStateMachine", "UpdateStateMachine", "DescribeStateMachine"}:
        return _with_tracing(action, request, answer)
    if answer[0] == 200 and action == "DeleteStateMachine":
        await runtime.within(_forget(request["stateMachineArn"]))
    return answer


def _check_new(request: Mapping[str, Any]) -> None:
    name = request.get("name", "")
    service.check_name(name)
    definition = definitions.require_valid(request.get("definition", ""))
    role = request.get("roleArn", "")
    account = next(iter(role.split(":")[4:5]), "")
    machine = f"arn:aws:states:{_region()}:{account}:stateMachine:{name}"
    definitions.require_role(definition, role, request.get("loggingConfiguration", {}), machine)


def _check_update(request: Mapping[str, Any]) -> None:
    from ministack.services import stepfunctions as stock

    record = stock._state_machines.get(request.get("stateMachineArn")) or {}
    if not request.keys() & {"definition", "roleArn", "loggingConfiguration", "tracingConfiguration"}:
        raise ApiError("MissingRequiredParameter", "Either the definition, the role ARN, or both must be specified")
    merged = {**record, **request}
    definition = definitions.require_valid(merged.get("definition", ""))
    if record:
        machine = merged["stateMachineArn"]
        definitions.require_role(definition, merged["roleArn"], merged.get("loggingConfiguration", {}), machine)


def _region() -> str:
    from ministack.core.responses import get_region

    region: str = get_region()
    return region


def _with_tracing(action: str, request: Mapping[str, Any], answer: Answer) -> Answer:
    """Ministack keeps no tracing configuration: keep it in the machine's record, and read it back from there."""
    from ministack.services import stepfunctions as stock

    status, headers, content = answer
    body = json.loads(content)
    record = stock._state_machines.get(body.get("stateMachineArn") or request.get("stateMachineArn"))
    if record is None:
        return answer
    if "tracingConfiguration" in request:
        record["tracingConfiguration"] = request["tracingConfiguration"]
    if action == "DescribeStateMachine":
        body["tracingConfiguration"] = record.get("tracingConfiguration", {"enabled": False})
    elif action == "UpdateStateMachine":
        body["revisionId"] = record["revisionId"]
    return status, headers, json.dumps(body).encode()


async def _forget(arn: str) -> None:
    for execution in list(store.of_machine(arn)):
        if execution.status == "RUNNING":
            service.stop(execution, None, None)
    store.forget_machine(arn)


def _start_execution(data: Mapping[str, Any]) -> Answer:
    """StartExecution as other services of ministack call it: rules, schedules, pipes."""
    try:
        return _json(200, runtime.wait_for(service.answer("StartExecution", data)))
    except ApiError as error:
        return _refusal(error)


def _reset() -> None:
    async def clear() -> None:
        for execution in list(store.executions.values()):
            if execution.runner is not None:
                execution.runner.cancel()
        store.clear()
        # The sessions of the roles are gone with everything else.
        roles.client.cache_clear()

    runtime.wait_for(clear())
    seams.original(_MODULE, "reset")()


def install() -> None:
    """Register what replaces functions of ministack, and start the engine's thread."""
    runtime.loop()
    for name, replacement, sha256 in (
        ("handle_request", _handle_request, "efa6e8c4532a9e05de1d5c451ba1609388c4cb6662e72df46f3fb9158a84e9c4"),
        ("_start_execution", _start_execution, "9923282fc76c57b9d2541cc83863bfb69f2472b29aec9a9fc3454f3d19d045b4"),
        ("reset", _reset, "80aa7bd9644d082a4fd69f82382dff81c86cd64de227c19687602065276d7125"),
    ):
        seams.replaces(_MODULE, name, sha256=sha256)(replacement)
