"""What AWS refuses and ministack takes: checks between a caller's authorisation and the service's own code.

    @refuses("sqs", "SendMessage")
    def _late(call: Call) -> Refusal | None: ...

A check answers with the refusal, or None. It runs after IAM, as most services check, and before anything is changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from local_aws.calls import Call

Check = Callable[[Call], "Refusal | None"]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[tuple[int, dict[str, str], Any]]]


@dataclass(frozen=True)
class Refusal:
    """An error as AWS answers it: its code, its message, its HTTP status."""

    code: str
    message: str
    status: int = 400


#: service → (operations or none for all of them, check)
_checks: dict[str, list[tuple[frozenset[str], Check]]] = {}
_guarded: set[str] = set()


def refuses(service: str, *operations: str) -> Callable[[Check], Check]:
    """Register the decorated check for a service; `operations` as the header x-amz-target names them, none for all."""

    def register(check: Check) -> Check:
        _checks.setdefault(service, []).append((frozenset(operations), check))
        return check

    return register


def install() -> None:
    """Put the checks before the handlers of their services."""
    from ministack import app

    for service in _checks.keys() - _guarded:
        app.SERVICE_HANDLERS[service] = _behind(service, app.SERVICE_HANDLERS[service])
        _guarded.add(service)


def error(
    service: str, code: str, status: int, message: str, *, headers: dict[str, str], request_id: str = ""
) -> tuple[int, dict[str, str], Any]:
    """An error in the protocol of the service."""
    from ministack.core import iam_actions

    _, answer_headers, body = iam_actions.access_denied_response(
        service, "", "", request_id or str(uuid.uuid4()), error_code=code, message=message, headers=headers
    )
    return status, answer_headers, body


def _behind(service: str, handler: Handler) -> Handler:
    async def guarded(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> tuple[int, dict[str, str], Any]:
        from ministack.core import responses

        call = Call(
            service, method, path, headers, body, query_params, responses.get_region(), responses.get_account_id()
        )
        operation = call.operation()
        for operations, check in _checks[service]:
            if operations and operation not in operations:
                continue
            refusal = check(call)
            if refusal is not None:
                return error(service, refusal.code, refusal.status, refusal.message, headers=headers)
        return await handler(method, path, headers, body, query_params)

    return guarded
