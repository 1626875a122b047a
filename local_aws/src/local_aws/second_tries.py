"""Terraform's second tries are answered with the answer of the first one.

Now and then the connection to this server is lost when a request has been served and its answer has not arrived (seen
in about one apply of three: the SDK's log has attempt 2 of a CreateRole and no answer to attempt 1). The SDK then sends
the request again under the same invocation id, and a create that is not idempotent finds what it has made itself:
EntityAlreadyExists. So the last answers are kept by invocation id, and a second attempt gets what the first one got.

Only for the provider's requests: functions and tests have to live with answers that are lost, see faults.py.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_KEPT: Final = 500
_PROVIDER: Final = b"terraform-provider-aws"


def answered(application: Application) -> Application:
    """The application, with the answers to Terraform kept for its second tries."""
    calls: OrderedDict[bytes, asyncio.Task[list[dict[str, Any]]]] = OrderedDict()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        call = headers.get(b"amz-sdk-invocation-id")
        if call is None or _PROVIDER not in headers.get(b"user-agent", b""):
            await application(scope, receive, send)
            return
        body = await _body(receive)
        first = calls.get(call)
        said = await asyncio.shield(first) if first is not None else []
        # An error, such as a throttle, is worth another try.
        if not said or said[0]["status"] >= 400:
            # A task of its own: a connection that is lost does not end what it has asked for.
            calls[call] = asyncio.create_task(_serve(application, scope, body))
            while len(calls) > _KEPT:
                calls.popitem(last=False)
            said = await asyncio.shield(calls[call])
        for message in said:
            await send(message)

    return app


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(parts)


async def _serve(application: Application, scope: dict[str, Any], body: bytes) -> list[dict[str, Any]]:
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(asked, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await application(scope, receive, send)
    return said
