"""How long to wait before the next attempt."""

import random
from collections.abc import Callable
from typing import Final, TypeVar

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import Clock

T = TypeVar("T")

FIRST_PAUSE: Final = 15


LONGEST_PAUSE: Final = 900
"""Seconds; SQS delays a message no longer."""


MOST_POSTPONEMENTS: Final = 100
"""About a day of throttling."""

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 5.0
"""Seconds, within one invocation."""


class DeadlineBackoff:
    """How long a throttled ledger is waited for: until `reserve` seconds of the function's time are left.

    A table that has been warm for long can be throttled for minutes when a large run begins: whoever gave up at once
    would have the records inferred, or the job's output read, once more.
    """

    def __init__(self, clock: Clock, reserve: float, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._reserve = reserve
        self._jitter = jitter

    def pause(self, tries: int, what: str) -> None:
        """After the nth attempt. Raises ThrottledError when there is no time left to wait."""
        # Jitter: many units of work are throttled at the same moment. The power is bounded for those who wait long.
        pause = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries, 16)) * (0.5 + 0.5 * self._jitter())
        if self._clock.remaining() - pause <= self._reserve:
            raise ThrottledError(f"the ledger throttled {what} {tries} times in a row")
        self._clock.sleep(pause)

    def of(self, call: Callable[[], T], what: str) -> T:
        """The call's answer. Raises ThrottledError."""
        tries = 0
        while True:
            try:
                return call()
            except ThrottledError:
                tries += 1
                self.pause(tries, what)
