"""A second try of Terraform gets the answer of the first one; nobody else's does, and no error is repeated."""

import asyncio
from collections.abc import Iterator
from typing import Any

from local_aws.second_tries import answered

PROVIDER = b"APN/1.0 HashiCorp/1.0 Terraform/1.11.4 terraform-provider-aws/5.100.0 aws-sdk-go-v2/1.36.3"


class Service:
    """Makes one thing; a second time it is there already. `statuses` come first."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [200]
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        await self.gate.wait()
        status = self.statuses.pop(0) if self.statuses else 409
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": str(status).encode()})


async def ask(app: Any, attempt: int, agent: bytes = PROVIDER, *, lost: bool = False) -> int:
    headers = [
        (b"amz-sdk-invocation-id", b"call-1"),
        (b"amz-sdk-request", f"attempt={attempt}; max=25".encode()),
        (b"user-agent", agent),
    ]
    parts: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"make", "more_body": True}, {"type": "http.request", "body": b" it"}]
    )
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(message: dict[str, Any]) -> None:
        if lost:
            raise ConnectionError
        said.append(message)

    try:
        await app({"type": "http", "headers": headers}, receive, send)
    except ConnectionError:
        return 0
    return int(said[0]["status"])


def test_a_lost_answer_is_given_again() -> None:
    async def play() -> None:
        service = Service()
        app = answered(service)
        assert await ask(app, 1, lost=True) == 0
        assert await ask(app, 2) == 200
        assert service.bodies == [b"make it"]

    asyncio.run(play())


def test_a_try_that_is_still_served_is_waited_for() -> None:
    async def play() -> None:
        service = Service()
        service.gate.clear()
        app = answered(service)
        first = asyncio.create_task(ask(app, 1))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(ask(app, 2))
        await asyncio.sleep(0)
        service.gate.set()
        assert await second == 200
        assert len(service.bodies) == 1

    asyncio.run(play())


def test_an_error_is_tried_again() -> None:
    async def play() -> None:
        app = answered(Service(429, 200))
        assert [await ask(app, n) for n in (1, 2, 3)] == [429, 200, 200]

    asyncio.run(play())


def test_others_live_with_what_is_lost() -> None:
    async def play() -> None:
        app = answered(Service())
        assert [await ask(app, n, b"Boto3/1.43") for n in (1, 2)] == [200, 409]

    asyncio.run(play())
