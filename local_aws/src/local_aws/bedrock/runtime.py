"""Converse and InvokeModel on demand (`bedrock-runtime`).

API reference: operations Converse and InvokeModel, with their errors. Streaming and the other operations stay
ministack's.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

from local_aws import knobs
from local_aws.bedrock import bodies, evaluation, media, models
from local_aws.bedrock.bodies import Api, Prompt
from local_aws.bedrock.models import Route
from local_aws.bedrock.place import Place
from local_aws.bedrock.standin import tokens
from local_aws.bedrock.throttle import Limiter
from local_aws.bedrock.wire import Answer, AwsError, ok

_limiter = Limiter()


async def infer(place: Place, api: Api, identifier: str, body: bytes, role_arn: str | None = None) -> Answer:
    """Answer one call; `role_arn` is the caller's role, by whose rights objects in S3 are read. Raises AwsError."""
    began = time.monotonic()
    route = models.resolve(identifier, place.region, place.account)
    models.usable_on_demand(route)
    request = _parsed(body)
    prompt = bodies.read(api, route.model, request)
    scope = (place.account, place.region)
    reserved = tokens(prompt.length) + prompt.max_tokens
    _limiter.reserve(scope, route, reserved)
    used = reserved
    try:
        done = await _answered(api, route, request, prompt, media.Reader(place.account, role_arn))
        used = done.input_tokens + done.output_tokens * route.model.burndown
        await asyncio.sleep(_latency())
    except AwsError:
        used = 0
        raise
    finally:
        _limiter.settle(scope, route, reserved, used)
    milliseconds = int((time.monotonic() - began) * 1000)
    if api == "Converse":
        done.response["metrics"]["latencyMs"] = milliseconds
        return ok(done.response)
    headers = {
        "X-Amzn-Bedrock-Invocation-Latency": str(milliseconds),
        "X-Amzn-Bedrock-Input-Token-Count": str(done.input_tokens),
        "X-Amzn-Bedrock-Output-Token-Count": str(done.output_tokens),
    }
    return ok(done.response, headers) if route.model.family != "claude" else _kept_nulls(done.response, headers)


async def _answered(
    api: Api, route: Route, request: dict[str, Any], prompt: Prompt, reader: media.Reader
) -> evaluation.Evaluated:
    # Only Converse has a member by which a caller can name the record on demand.
    metadata = request.get("requestMetadata")
    record_id = metadata.get("recordId") if isinstance(metadata, dict) else None
    arguments = (api, route.model, request, prompt, "sync", reader)
    if evaluation.may_wait():
        return await asyncio.to_thread(evaluation.answer, *arguments, recordId=record_id)
    return evaluation.answer(*arguments, recordId=record_id)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        raise AwsError(
            "ValidationException", "Malformed input request, please reformat your input and try again."
        ) from None
    if not isinstance(request, dict):
        raise AwsError("ValidationException", "Malformed input request: expected type: JSONObject")
    return request


def _kept_nulls(response: dict[str, Any], headers: dict[str, str]) -> Answer:
    # The native Claude body always holds stop_sequence, null when no sequence stopped it.
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(response).encode()


def _latency() -> float:
    jitter = random.random() * knobs.current.jitter_ms
    return (knobs.current.latency_ms + jitter) / 1000
