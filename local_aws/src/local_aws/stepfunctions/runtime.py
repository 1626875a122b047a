"""Where executions run: one thread with an event loop of its own, and bounded pools for what blocks.

Everything an execution is and does is touched by that one thread, so nothing needs a lock. A waiting execution is a
coroutine and costs no thread: ten thousand of them may wait for their tokens.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from local_aws import knobs

T = TypeVar("T")

LAMBDA_CALLS = 16
"""Lambda invocations of executions under way at once; more wait, and their time limits wait with them. AWS runs a
thousand, but here each is a process on this machine."""

_service_pool = ThreadPoolExecutor(16, thread_name_prefix="states-call")
_lambda_pool = ThreadPoolExecutor(LAMBDA_CALLS, thread_name_prefix="states-lambda")
# One thread: the events of an execution leave in the order of its statuses.
_event_pool = ThreadPoolExecutor(1, thread_name_prefix="states-event")
_lambda_places = asyncio.Semaphore(LAMBDA_CALLS)


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    """The engine's event loop, started on first use."""
    engine = asyncio.new_event_loop()
    threading.Thread(target=engine.run_forever, name="states-engine", daemon=True).start()
    return engine


async def within(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the engine's loop and await it from another loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop()))


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the engine's loop and block until it is done. Never from the engine's own thread."""
    return asyncio.run_coroutine_threadsafe(work, loop()).result(timeout=60)


def later(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a coroutine on the running loop and keep it alive until it ends."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


_running: set[asyncio.Task[None]] = set()


async def call(function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking call of a service in the pool, in this account's and region's scope."""
    return await _in_pool(_service_pool, function, *arguments)


async def invoke(function: Callable[..., T], *arguments: Any) -> T:
    """Run a Lambda invocation in its own pool. Await `lambda_place` first."""
    return await _in_pool(_lambda_pool, function, *arguments)


def lambda_place() -> asyncio.Semaphore:
    """Room for one Lambda invocation."""
    return _lambda_places


def emit(function: Callable[[], object]) -> None:
    """Run a delivery of an event, after those before it."""
    _event_pool.submit(contextvars.copy_context().run, function)


async def _in_pool(pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(context.run, function, *arguments))


async def sleep(seconds: float) -> None:
    """Wait as a Wait state or a retry does: in seconds of the state machine, scaled by the knob `time_scale`."""
    await asyncio.sleep(max(0.0, seconds * knobs.current.time_scale))
