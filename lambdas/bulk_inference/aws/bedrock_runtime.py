"""Amazon Bedrock runtime: one on-demand inference by Converse or InvokeModel, its outcome as data.

A request body is the same JSON that a batch job's `modelInput` holds. Refusals are outcomes, not exceptions, because
one record's failure is that record's alone.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from bulk_inference.core.json_text import JsonError, is_too_deep, loads
from bulk_inference.core.reach import Reach
from bulk_inference.core.result_line import INVOCATION_METRICS, usage_of

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

READ_TIMEOUT_SECONDS: Final = 300
"""Long generations take minutes; the SDK's default of 60 s would cut them off and pay for them twice."""

THROTTLED: Final = "throttled"
MODEL_TIMEOUT: Final = "model_timeout"
MODEL_ERROR: Final = "model_error"
UNAVAILABLE: Final = "unavailable"
INVALID_REQUEST: Final = "invalid_request"
ACCESS_DENIED: Final = "access_denied"
MODEL_NOT_FOUND: Final = "model_not_found"

MISPLACED: Final = "IllegalMedia"
"""errorCode of a body that was not sent, because it points where its tenant may not."""

RETRYABLE: Final = frozenset({THROTTLED, MODEL_TIMEOUT, MODEL_ERROR, UNAVAILABLE})
"""Error classes that another try may cure."""

# Errors of Converse and InvokeModel as the API reference lists them.
_CLASSES: Final = {
    "ThrottlingException": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    "ServiceQuotaExceededException": THROTTLED,
    "ModelNotReadyException": UNAVAILABLE,
    "ModelTimeoutException": MODEL_TIMEOUT,
    "ModelErrorException": MODEL_ERROR,
    "ServiceUnavailableException": UNAVAILABLE,
    "InternalServerException": UNAVAILABLE,
    "ValidationException": INVALID_REQUEST,
    "AccessDeniedException": ACCESS_DENIED,
    "ResourceNotFoundException": MODEL_NOT_FOUND,
}


@dataclass(frozen=True)
class ModelOutcome:
    """Either `output` (the response body as JSON, as a batch job's `modelOutput` would hold it) or an error."""

    output: dict[str, Any] | None = None
    error_class: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    """The service's words. They may quote the request: store them beside the record, never log or queue them."""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def retryable(self) -> bool:
        return self.error_class in RETRYABLE


_TOO_DEEP: Final = ModelOutcome(
    error_class=MODEL_ERROR, error_code="TooDeep", error_message="the answer is nested too deeply"
)


@cache
def connect(
    max_connections: int = 32, sdk_attempts: int = 2, read_timeout: int = READ_TIMEOUT_SECONDS
) -> "BedrockRuntimeClient":
    """The process's client. `sdk_attempts` counts all tries of one call: waiting out throttles is the caller's part.
    A call takes up to `sdk_attempts` times `read_timeout` seconds.

    Keep-alive, because NAT gateways and interface endpoints drop connections that are silent for 350 s.
    """
    return boto3.client(
        "bedrock-runtime",
        config=Config(
            read_timeout=read_timeout,
            connect_timeout=10,
            tcp_keepalive=True,
            max_pool_connections=max_connections,
            retries={"mode": "standard", "total_max_attempts": sdk_attempts},
        ),
    )


class Runtime:
    """Thread-safe, as its client is."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client
        self._converse_shape = client.meta.service_model.operation_model("Converse").input_shape

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> ModelOutcome:
        """One inference. `api` is `converse` or `invoke_model`; `body` the record's modelInput. What it points to,
        Bedrock reads with this function's rights: hence `reach`. Never raises for what service or network answer."""
        if (why := reach.misplaced(body)) is not None:
            return ModelOutcome(error_class=INVALID_REQUEST, error_code=MISPLACED, error_message=why)
        try:
            if api == "converse":
                return self._converse(model_id, body)
            return self._invoke(model_id, body)
        except ParamValidationError as error:
            return ModelOutcome(
                error_class=INVALID_REQUEST, error_code="ParamValidationError", error_message=_without_values(error)
            )
        except ClientError as error:
            return _refusal(error)
        except (ReadTimeoutError, ConnectTimeoutError) as error:
            return ModelOutcome(error_class=MODEL_TIMEOUT, error_code=type(error).__name__, error_message=str(error))
        except (HTTPClientError, NoConnectionError) as error:
            return ModelOutcome(error_class=UNAVAILABLE, error_code=type(error).__name__, error_message=str(error))
        except RecursionError:
            # The SDK's parser, over an answer of a thousand levels.
            return _TOO_DEEP
        except BotoCoreError as error:
            return ModelOutcome(error_class=INVALID_REQUEST, error_code=type(error).__name__, error_message=str(error))

    def _converse(self, model_id: str, body: Mapping[str, Any]) -> ModelOutcome:
        members = _members(self._converse_shape, {key: value for key, value in body.items() if key != "modelId"})
        answer: dict[str, Any] = dict(self._client.converse(modelId=model_id, **members))
        answer.pop("ResponseMetadata", None)
        if is_too_deep(answer):
            return _TOO_DEEP
        usage = answer.get("usage") or {}
        return ModelOutcome(
            output=_plain(answer),
            input_tokens=usage.get("inputTokens") or 0,
            output_tokens=usage.get("outputTokens") or 0,
        )

    def _invoke(self, model_id: str, body: Mapping[str, Any]) -> ModelOutcome:
        answer = self._client.invoke_model(
            modelId=model_id,
            # Byte for byte what a job finds in its shard.
            body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            contentType="application/json",
            accept="application/json",
        )
        text = answer["body"].read()
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        try:
            output = loads(text)
        except JsonError:
            output = None
        if not isinstance(output, dict):
            return ModelOutcome(
                error_class=MODEL_ERROR, error_code="NotJson", error_message="the model's answer is not a JSON object"
            )
        read = _count(headers.get("x-amzn-bedrock-input-token-count"))
        written = _count(headers.get("x-amzn-bedrock-output-token-count"))
        if (read or written) and usage_of(output).unknown:
            # Bodies of Mistral, Cohere, Nova's embeddings and others say nothing of tokens; the headers always do.
            output = {**output, INVOCATION_METRICS: {"inputTokenCount": read, "outputTokenCount": written}}
        return ModelOutcome(output=output, input_tokens=read, output_tokens=written)


def _refusal(error: ClientError) -> ModelOutcome:
    detail = error.response.get("Error", {})
    code = detail.get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    by_status = THROTTLED if status == 429 else UNAVAILABLE if status >= 500 else INVALID_REQUEST
    kind = _CLASSES.get(code, by_status)
    if by_status in RETRYABLE and kind not in RETRYABLE:
        # The status decides: no name makes a throttle the record's fault.
        kind = by_status
    return ModelOutcome(error_class=kind, error_code=code, error_message=detail.get("Message") or str(error))


def _members(shape: Any, value: Any) -> Any:
    """A JSON body as the SDK takes it: base64 text becomes bytes where the API has a blob, nulls are left out."""
    if shape.type_name == "structure" and isinstance(value, Mapping) and not getattr(shape, "is_document_type", False):
        return {
            key: _members(shape.members[key], item) if key in shape.members else item
            for key, item in value.items()
            if item is not None
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_members(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: _members(shape.value, item) for key, item in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            # No base64: botocore takes the text's own bytes, and the service judges them.
            return value
    return value


def _plain(value: Any) -> Any:
    """A response as JSON: blobs in base64, as the API's JSON itself has them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _without_values(error: ParamValidationError) -> str:
    """botocore quotes the offending value, which is prompt text; the parameter's name says enough."""
    return re.sub(r", value: .*?(?=\n(?:Invalid|Missing|Unknown) |\Z)", "", str(error), flags=re.DOTALL)


def _count(header: str | None) -> int:
    return int(header) if header and header.isdigit() else 0
