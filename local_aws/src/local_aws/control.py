"""Routes under `/_local/`: what the local AWS offers that AWS does not have (health, knobs, faults, what it saw).

A route is `(method, path) → async handler(query, body) -> (status, JSON value)`. Extensions list theirs in `ROUTES`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

PREFIX = "/_local/"

Handler = Callable[[dict[str, str], bytes], Awaitable[tuple[int, object]]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class BadRequestError(ValueError):
    """The caller's query or body cannot be used; the text says what to send instead. Answered with status 400."""


_routes: dict[tuple[str, str], Handler] = {}
_identity: dict[str, object] = {}


def register(routes: Mapping[tuple[str, str], Handler]) -> None:
    """Add routes. Raises ValueError for a path outside `/_local/` or one that another extension already has."""
    for (method, path), handler in routes.items():
        if not path.startswith(PREFIX):
            raise ValueError(f"{method} {path}: routes of the local AWS start with {PREFIX}")
        known = _routes.get((method, path))
        if known is not None and known is not handler:
            raise ValueError(f"{method} {path} is registered twice")
        _routes[method, path] = handler


def identify(**facts: object) -> None:
    """Facts that `GET /_local/health` answers, among them the token by which a starter knows its own process."""
    _identity.update(facts)


def owns(scope: Mapping[str, Any]) -> bool:
    """Whether an ASGI scope is a request to us rather than to an AWS service."""
    return scope["type"] == "http" and (str(scope["path"]) + "/").startswith(PREFIX)


async def serve(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request under `/_local/`."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    query = dict(parse_qsl(scope.get("query_string", b"").decode(), keep_blank_values=True))
    status, value = await call(str(scope["method"]), str(scope["path"]).rstrip("/"), query, body)
    payload = json.dumps(value, default=str).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def call(method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, object]:
    """Run the handler of a route, as a request would: (status, JSON value), errors of the caller as 400."""
    handler = _routes.get((method, path))
    if handler is None:
        methods = [known for known, known_path in _routes if known_path == path]
        if methods:
            return 405, {"error": f"{path} answers {', '.join(methods)}, not {method}"}
        return 404, {"error": f"no route {path}", "routes": sorted(f"{m} {p}" for m, p in _routes)}
    try:
        return await handler(query, body)
    except BadRequestError as error:
        return 400, {"error": str(error)}
    except (ValueError, KeyError, TypeError) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}


async def _health(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return 200, {"status": "ok", "pid": os.getpid(), **_identity}


register({("GET", "/_local/health"): _health})
