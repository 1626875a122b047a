"""Task tokens: what a worker sends back to end, fail or keep alive a task that waits for it.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token and the errors
of SendTaskSuccess, SendTaskFailure and SendTaskHeartbeat in the API reference.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, StateError


@dataclass(eq=False)
class Waiting:
    """A task that waits for its token."""

    machine_arn: str
    answer: asyncio.Future[Any] = field(default_factory=asyncio.Future)
    heartbeat: float | None = None
    limit: asyncio.Timeout | None = None


_waiting: dict[str, Waiting] = {}
_closed: dict[str, str] = {}


def issue(machine_arn: str) -> tuple[str, Waiting]:
    """A new token, and the place where its answer arrives."""
    body = secrets.token_bytes(90)
    token = base64.b64encode(b"\x01" + body + _check(body)).decode()
    _waiting[token] = Waiting(machine_arn)
    return token, _waiting[token]


def close(token: str) -> None:
    """The task ended, whatever the way: from now on its token is timed out."""
    waiting = _waiting.pop(token, None)
    if waiting is not None:
        _closed[token] = waiting.machine_arn


def machine_of(token: str) -> str | None:
    """ARN of the state machine whose task got this token; None for a token that was never issued."""
    waiting = _waiting.get(token)
    return waiting.machine_arn if waiting else _closed.get(token)


def succeed(token: str, output: Any) -> None:
    """SendTaskSuccess. Raises ApiError TaskTimedOut, TaskDoesNotExist, InvalidToken."""
    _find(token).answer.set_result(output)


def fail(token: str, error: str, cause: str) -> None:
    """SendTaskFailure. Raises as `succeed`."""
    _find(token).answer.set_exception(StateError(error, cause))


def beat(token: str) -> None:
    """SendTaskHeartbeat: start the heartbeat's time anew. Raises as `succeed`."""
    waiting = _find(token)
    if waiting.limit is not None and waiting.heartbeat is not None:
        waiting.limit.reschedule(asyncio.get_running_loop().time() + waiting.heartbeat)


def _find(token: str) -> Waiting:
    waiting = _waiting.get(token)
    if waiting is not None and not waiting.answer.done():
        return waiting
    if waiting is not None or token in _closed:
        raise ApiError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    try:
        raw = base64.b64decode(token, validate=True)
    except ValueError:
        raw = b""
    if len(raw) < 10 or _check(raw[1:-8]) != raw[-8:]:
        raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'")
    raise ApiError("TaskDoesNotExist", "Task Does Not Exist: 'Provided task does not exist'")


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"task token" + body).digest()[:8]
