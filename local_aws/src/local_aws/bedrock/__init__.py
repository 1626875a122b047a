"""Amazon Bedrock and its Service Quotas in the local AWS: batch inference jobs, on demand inference, quotas, models.

`install` registers handlers with ministack and takes over the operations listed in `_control` and `_runtime`; every
other Bedrock operation stays ministack's. Routes: `/_local/quotas` (see `quotas.py`), `/_local/bodies` (`journal.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from local_aws.bedrock import batch, catalogue, jobs, journal, place, quotas, runtime
from local_aws.bedrock.bodies import Api
from local_aws.bedrock.place import Place
from local_aws.bedrock.wire import Answer, AwsError, ok, refused

Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Answer]]

ROUTES = {**quotas.ROUTES, **journal.ROUTES}

_QUOTA_TARGET = "ServiceQuotasV20190624"
_QUOTA_OPERATIONS = {
    "GetServiceQuota", "ListServiceQuotas", "GetAWSDefaultServiceQuota", "ListAWSDefaultServiceQuotas",
}  # fmt: skip

_JOB = re.compile(r"/model-invocation-job/(.+?)(/stop)?")
_MODEL = re.compile(r"/foundation-models/(.+)")
_PROFILE = re.compile(r"/inference-profiles/(.+)")
_INFER = re.compile(r"/model/(.+)/(converse|invoke)")
_APIS: dict[str, Api] = {"converse": "Converse", "invoke": "InvokeModel"}


def install() -> None:
    """Register the handlers."""
    from ministack import app
    from ministack.core import router

    for service, answer in (("bedrock", _control), ("bedrock-runtime", _runtime)):
        app.SERVICE_HANDLERS[service] = _handler(answer, app.SERVICE_HANDLERS[service])
    router.SERVICE_PATTERNS["servicequotas"] = {
        "target_prefixes": [_QUOTA_TARGET],
        "host_patterns": [r"servicequotas\."],
        "credential_scope": "servicequotas",
    }
    app.SERVICE_HANDLERS["servicequotas"] = _service_quotas


_CALLER = "\0caller"  # beside the query's parameters, whose names are never empty of letters


def _role_of(headers: dict[str, str], query: dict[str, list[str]]) -> str:
    """ARN of the caller's role; empty for a user."""
    from ministack.core import iam_evaluator

    principal = iam_evaluator.request_caller_arn(headers, query) or ""
    match = re.fullmatch(r"arn:aws:sts::([0-9]{12}):assumed-role/([^/]+)/.*", principal)
    return f"arn:aws:iam::{match[1]}:role/{match[2]}" if match else ""


_Answering = Callable[[Place, str, str, bytes, dict[str, str]], Awaitable[Answer | None]]


def _handler(answer: _Answering, ministacks: Handler) -> Handler:
    """A ministack handler that tries ours, and hands on what is not ours."""

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Answer:
        single = {name: values[0] for name, values in query.items()}
        try:
            if answer is _runtime:
                single[_CALLER] = _role_of(headers, query)
            ours = await answer(place.of_request(), method, path, body, single)
        except AwsError as error:
            return refused(error)
        return ours if ours is not None else await ministacks(method, path, headers, body, query)

    return handle


async def _control(here: Place, method: str, path: str, body: bytes, query: dict[str, str]) -> Answer | None:
    if path == "/model-invocation-job" and method == "POST":
        return ok(jobs.create(here, _parsed(body), batch.start))
    if path == "/model-invocation-jobs" and method == "GET":
        return ok(jobs.list_jobs(here, query))
    if match := _JOB.fullmatch(path):
        identifier = unquote(match[1])
        if match[2] and method == "POST":
            return ok(jobs.stop(here, identifier))
        return ok(jobs.get(here, identifier)) if method == "GET" else None
    if method != "GET":
        return None
    if path == "/foundation-models":
        return ok(catalogue.list_models(here, query))
    if path == "/inference-profiles":
        return ok(catalogue.list_profiles(here, query))
    if match := _MODEL.fullmatch(path):
        return ok(catalogue.get_model(here, unquote(match[1])))
    if match := _PROFILE.fullmatch(path):
        return ok(catalogue.get_profile(here, unquote(match[1])))
    return None


async def _runtime(here: Place, method: str, path: str, body: bytes, query: dict[str, str]) -> Answer | None:
    match = _INFER.fullmatch(path)
    if match is None or method != "POST":
        return None
    return await runtime.infer(here, _APIS[match[2]], unquote(match[1]), body, query[_CALLER] or None)


async def _service_quotas(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Answer:
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    here = place.of_request()
    try:
        if operation not in _QUOTA_OPERATIONS:
            raise AwsError(
                "UnknownOperationException", f"The local AWS has no operation {operation} of Service Quotas."
            )
        return quotas.json_answer(quotas.call(operation, _parsed(body), here.region, here.account))
    except AwsError as error:
        return quotas.json_error(error)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise AwsError("ValidationException", "The request body is not a JSON object.")
    return request
