"""On-demand inference of many records: a bounded pool whose width follows what Bedrock lets through.

On-demand limits are tokens per minute, taken at a request's start, so that nobody can say beforehand how many requests
fit. The pace is found out: each success widens the pool a little, each throttle halves it and makes all wait.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from bulk_inference.core.ports import Clock, Outcome
from bulk_inference.land.landing import LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE

WIDTH: Final = 16
"""Requests in flight at most. Many executions run side by side, so a single one need not be wide."""

_TRIES: Final = 4
"""Tries of one record against a model that errs. Throttles do not count: the record is not to blame."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

START_RESERVE_SECONDS: Final = 180.0
START_RESERVE_SHARE: Final = 0.25
"""What must be left of the function's time, at most and as a share of it, for a new request to be started."""


class AdaptiveLimiter:
    """How many requests may run, and until when nobody may start one. Thread-safe."""

    def __init__(self, width: int, clock: Clock, jitter: Callable[[], float] = random.random) -> None:
        self._width = width
        self._clock = clock
        self._jitter = jitter
        self._limit = float(width)
        self._running = 0
        self._throttled_in_a_row = 0
        self._not_before = 0.0
        self._free = threading.Condition()
        self._reserve = min(START_RESERVE_SECONDS, START_RESERVE_SHARE * clock.remaining())
        self._closed = False

    def enter(self) -> bool:
        """Waits for a place; False when there is no time left to start anything."""
        while True:
            with self._free:
                if self._closed or self._clock.remaining() < self._reserve:
                    return False
                pause = self._not_before - self._clock.now()
                if pause <= 0 and self._running < int(self._limit):
                    self._running += 1
                    return True
                if pause <= 0:
                    self._free.wait(0.5)
                    continue
            # Jitter spreads those that wait for the same moment.
            self._clock.sleep(min(pause, _LONGEST_PAUSE) + 0.1 * self._jitter())

    def leave(self, *, throttled: bool) -> None:
        with self._free:
            self._running -= 1
            if throttled:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._throttled_in_a_row)
                # A pool's worth of throttles that come at once are one event.
                if self._clock.now() >= self._not_before:
                    self._throttled_in_a_row += 1
                    self._limit = max(1.0, self._limit / 2)
                    self._not_before = self._clock.now() + pause * (0.5 + 0.5 * self._jitter())
            else:
                self._throttled_in_a_row = 0
                self._limit = min(float(self._width), self._limit + 1 / self._limit)
            self._free.notify_all()

    def close(self) -> None:
        """Nobody may start any more."""
        with self._free:
            self._closed = True
            self._free.notify_all()

    @property
    def limit(self) -> int:
        return int(self._limit)


def infer_one(call: Callable[[], Outcome], pace: AdaptiveLimiter, clock: Clock) -> Outcome | None:
    """One record, tried until it is settled; None when time ran out before."""
    errors = 0
    while pace.enter():
        throttled = False
        try:
            outcome = call()
            throttled = outcome.error_class == "throttled"
        finally:
            pace.leave(throttled=throttled)
        if throttled:
            continue
        errors += 1
        if not outcome.retryable or errors == _TRIES:
            return outcome
        clock.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (errors - 1)))
    return None


def infer_all(
    positions: Sequence[int],
    call_of: Callable[[int], Callable[[], Outcome]],
    clock: Clock,
    *,
    width: int = WIDTH,
) -> Iterator[tuple[int, Outcome]]:
    """Infers the records at `positions`, yielding each as it is settled. What is not yielded had no time left.

    `call_of` reads a record, what it returns sends it. An exception of one of them ends the iteration, after those that
    run have been given up.
    """
    pace = AdaptiveLimiter(width, clock)
    keep = min(LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE * clock.remaining())
    pool = ThreadPoolExecutor(min(width, max(1, len(positions))), "infer")

    def work(position: int) -> Outcome | None:
        return infer_one(call_of(position), pace, clock)

    try:
        futures: dict[Future[Outcome | None], int] = {pool.submit(work, position): position for position in positions}
        waiting = set(futures)
        while waiting and (left := clock.remaining() - keep) > 0:
            done, waiting = wait(waiting, timeout=min(left, 5.0), return_when=FIRST_COMPLETED)
            for future in sorted(done, key=futures.__getitem__):
                outcome = future.result()
                if outcome is not None:
                    yield futures[future], outcome
    finally:
        pace.close()
        # A request cannot be interrupted. Its thread ends by itself; nobody reads what it brings.
        pool.shutdown(wait=False, cancel_futures=True)
