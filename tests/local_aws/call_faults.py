"""Faults of target `call`: API calls of any service that fail, wait or lose their answer, by the fault plan.

Facts of a call: `service` (ministack's name: s3, dynamodb, sqs, lambda, states, events, bedrock, bedrock-runtime,
servicequotas), `operation` as in the API reference, `caller` (ARN of the principal), `resource` (ARN), for
bedrock-runtime also `modelId` and `prompt` (the request's body).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote

from tests.local_aws import faults, seams

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
    """Every call to a service: as ever, unless a rule of the fault plan strikes it."""
    proceed = seams.original(_APP, "_dispatch_service_request")
    if not faults.active("call"):
        return await proceed(method, path, headers, body, query_params, request_id)
    facts = _facts(method, path, headers, body, query_params)
    rule = faults.strike("call", None, **facts)
    if rule is not None and rule.do in ("error", "throttle"):
        return _refusal(rule, str(facts["service"]), request_id, headers)
    if rule is not None and rule.do == "delay":
        await asyncio.sleep(float(rule.options["seconds"]))
    answer = await proceed(method, path, headers, body, query_params, request_id)
    if rule is not None and rule.do == "lose_reply":
        return _refusal(rule, str(facts["service"]), request_id, headers)
    return answer


def _facts(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> dict[str, object]:
    from ministack import app
    from ministack.core import iam_actions, iam_evaluator, responses, router

    params = app._routing_params(method, path, headers, body, query_params)
    service = router.detect_service(method, path, headers, params)
    facts: dict[str, object] = {"service": service, "caller": iam_evaluator.request_caller_arn(headers, query_params)}
    if service == "bedrock-runtime" and (match := _RUNTIME.fullmatch(path)):
        prompt = body.decode("utf-8", "replace")
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


def _refusal(rule: faults.Rule, service: str, request_id: str, headers: dict[str, str]) -> Any:
    """The rule's error, in the protocol of the service."""
    from ministack.core import iam_actions

    code, status = _THROTTLING.get(service, ("ThrottlingException", 400))
    code, status = rule.options.get("code", code), rule.options.get("status", status)
    message = str(rule.options["message"])
    _, answer_headers, body = iam_actions.access_denied_response(
        service, "", "", request_id, error_code=code, message=message, headers=headers
    )
    return status, answer_headers, body
