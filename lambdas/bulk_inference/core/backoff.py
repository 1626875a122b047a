"""How long to wait before the next attempt."""

from typing import Final

FIRST_PAUSE: Final = 15


LONGEST_PAUSE: Final = 900
"""Seconds; SQS delays a message no longer."""


MOST_POSTPONEMENTS: Final = 100
"""About a day of throttling."""
