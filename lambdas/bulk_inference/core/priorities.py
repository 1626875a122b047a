"""Priorities of runs: high work is not stuck behind low work.

Each priority has a lane of its own in the failure lane: a queue with its own consumers, so that a million messages of a
low run delay no message of a high one. Of the batch-job slots of a model, a priority may fill its share and no more:
what is left over is there for the ones above it.

Not promised: the tokens per minute of on-demand calls are the account's, and nobody divides them; a job that runs is
not stopped for one that matters more.
"""

from typing import Final

PRIORITIES: Final = ("high", "normal", "low")

SLOT_SHARES: Final = {"high": 1.0, "normal": 0.9, "low": 0.6}
"""Of the jobs in flight that the account's quota allows."""


def slots_for(priority: str, quota: int) -> int:
    """How many jobs of a model may be in flight, whoever submitted them, for a run of this priority to add one.

    At least one: a small quota makes all priorities equal, it shuts none out.
    """
    return max(1, int(quota * SLOT_SHARES.get(priority, 1.0)))


def lane(name_or_url: str, priority: str) -> str:
    """Name or URL of a priority's reprocess queue, by that of priority normal, which has no suffix."""
    return name_or_url if priority not in ("high", "low") else f"{name_or_url}-{priority}"
