"""Answers on the wire: rest-json bodies, errors with AWS's names and HTTP statuses, times.

Statuses are those of the botocore service models (`bedrock`, `bedrock-runtime`): `ConflictException` and
`ServiceQuotaExceededException` are 400 there, `ModelErrorException` 424, `ModelTimeoutException` 408.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

Answer = tuple[int, dict[str, str], bytes]

STATUS_OF = {
    "AccessDeniedException": 403,
    "ConflictException": 400,
    "InternalServerException": 500,
    "ModelErrorException": 424,
    "ModelNotReadyException": 429,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 400,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "ValidationException": 400,
}


class AwsError(Exception):
    """An error that the caller gets: `code` is the exception's name in the service model, the text its message."""

    def __init__(self, code: str, message: str, *, status: int | None = None, **members: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status if status is not None else STATUS_OF.get(code, 400)
        self.members = members


def ok(value: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Answer:
    """A success with a JSON body; members that are None are left out, as AWS leaves out what is not set."""
    body = {name: each for name, each in value.items() if each is not None}
    return 200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode()


def refused(error: AwsError) -> Answer:
    """An error in the form of rest-json: its name in a header, its message in the body."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps({"message": error.message, **error.members}).encode()


def iso(seconds: float) -> str:
    """`timestampFormat: iso8601`: UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
