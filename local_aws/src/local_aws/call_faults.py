"""Faults of targets `call` and `worker`: API calls that fail, wait or lose their answer, and functions that die of one.

Facts of a call: `service` (ministack's name: s3, dynamodb, sqs, lambda, states, events, bedrock, bedrock-runtime,
servicequotas), `operation` as in the API reference, `caller` (ARN of the principal), `resource` (ARN), for
bedrock-runtime also `modelId` and `prompt` (the request's body). `request` is path and body as text. A call of a Python
function is also one of its worker, with the facts `function` (its name) and `call` (the operation). Where the request
does not name its operation (S3), `operation` is the action that IAM asks for: CompleteMultipartUpload is a PutObject.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import unquote

from local_aws import faults, gate, lambda_workers, seams

_APP = "ministack.app"
_RUNTIME = re.compile(r"/model/(?P<model>.+)/(?P<call>converse-stream|converse|invoke-with-response-stream|invoke)")
_RUNTIME_OPERATIONS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
}

#: service → code and HTTP status of its throttling; each from the "Common errors" page of the service.
_THROTTLING = {
    "bedrock": ("ThrottlingException", 429),
    "bedrock-runtime": ("ThrottlingException", 429),
    "dynamodb": ("ThrottlingException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "servicequotas": ("TooManyRequestsException", 400),
    "sqs": ("RequestThrottled", 403),
}


@seams.replaces(
    _APP,
    "_dispatch_service_request",
    sha256="17e5ef6dcfa0d4e6f646c075a4396cd5a0d306b5bcc1ecc48285855a57f92cc7",
)
async def dispatch_service_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any], request_id: str
) -> Any:
    """Every call to a service: as ever, unless a rule of the fault plan strikes it or the function that makes it."""
    proceed = seams.original(_APP, "_dispatch_service_request")
    worker = lambda_workers.caller(headers) if faults.active("worker") else None
    if worker is None and not faults.active("call"):
        return await proceed(method, path, headers, body, query_params, request_id)
    facts = _facts(method, path, headers, body, query_params)
    blow = worker and faults.strike(
        "worker",
        function=worker.func_name,
        service=facts["service"],
        call=facts["operation"],
        resource=facts.get("resource"),
        request=facts["request"],
    )
    if worker and blow and blow.options.get("at") == "before":
        await _strike(worker, blow)
        if blow.do == "kill":
            # Nobody is there any more to read it.
            gone = ("InternalFailure", 500, "The caller is gone.")
            return gate.error(str(facts["service"]), *gone, headers=headers, request_id=request_id)
    rule = faults.strike("call", None, **facts)
    if rule is not None and rule.do in ("error", "throttle"):
        return _refusal(rule, str(facts["service"]), request_id, headers, body)
    if rule is not None and rule.do == "delay":
        await asyncio.sleep(float(rule.options["seconds"]))
    answer = await proceed(method, path, headers, body, query_params, request_id)
    if worker and blow and blow.options.get("at") == "after":
        await _strike(worker, blow)
    if rule is not None and rule.do == "lose_reply":
        return _refusal(rule, str(facts["service"]), request_id, headers, body)
    return answer


async def _strike(worker: lambda_workers.PythonWorker, rule: faults.Rule) -> None:
    if rule.do == "kill":
        await asyncio.to_thread(worker.die)
    elif rule.do == "pause":
        await asyncio.sleep(float(rule.options["seconds"]))


def _facts(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> dict[str, object]:
    from ministack import app
    from ministack.core import iam_actions, iam_evaluator, responses, router

    params = app._routing_params(method, path, headers, body, query_params)
    service = router.detect_service(method, path, headers, params)
    prompt = body.decode("utf-8", "replace")
    facts: dict[str, object] = {
        "service": service,
        "caller": iam_evaluator.request_caller_arn(headers, query_params),
        "request": f"{unquote(path)}\n{prompt}",
    }
    if service == "bedrock-runtime" and (match := _RUNTIME.fullmatch(path)):
        return {
            **facts,
            "operation": _RUNTIME_OPERATIONS[match["call"]],
            "modelId": unquote(match["model"]),
            "prompt": prompt,
        }
    if target := headers.get("x-amz-target"):
        facts["operation"] = target.rpartition(".")[2]
    else:
        action = iam_actions.extract_iam_action(service, method, path, headers, body, params) or ""
        facts["operation"] = action.partition(":")[2]
    facts["resource"] = iam_actions.extract_resource_arn(
        service, method, path, headers, body, params, router.extract_region(headers), responses.get_account_id()
    )
    return facts


def _refusal(rule: faults.Rule, service: str, request_id: str, headers: dict[str, str], body: bytes) -> Any:
    """The rule's error, in the protocol of the service."""
    code, status = _THROTTLING.get(service, ("ThrottlingException", 400))
    code, status = rule.options.get("code", code), rule.options.get("status", status)
    message = str(rule.options["message"])
    if code == "TransactionCanceledException":
        return 400, {"Content-Type": "application/x-amz-json-1.0"}, _cancelled(body)
    return gate.error(service, str(code), int(status), message, headers=headers, request_id=request_id)


def _cancelled(request: bytes) -> bytes:
    """A transaction that met another one: its first item conflicts, in the words of TransactWriteItems' reference.

    (A single write that meets a transaction answers TransactionConflictException: that needs no more than its code.)"""
    asked = json.loads(request or b"{}")
    items = len(asked.get("TransactItems") or asked.get("TransactStatements") or [None])
    reasons = [{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}]
    reasons += [{"Code": "None"}] * (items - 1)
    codes = ", ".join(reason["Code"] for reason in reasons)
    answer = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        "CancellationReasons": reasons,
    }
    return json.dumps(answer).encode()
