"""Messages of failed records follow commits: an object holds them before the unit says that their records failed, and
the unit is open until the queue has accepted them (docs/decisions/0024-leases-and-fences.md).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.result_line import split
from bulk_inference.land.unit_context import UnitContext

_TOGETHER: Final = 1000
"""Messages handed to the queue at once, so that memory does not grow with a unit's failures."""

Written = Callable[[str], Iterable[Mapping[str, Any]]]
"""Messages of a part for which a bundle of before has written none down."""


def deliver(parts: Sequence[str], unit_context: UnitContext, otherwise: Written) -> bool:
    """Sends the messages of these parts; False if the queue refused some for now. Then some may have been sent: they
    come twice, and their records are settled once."""
    try:
        for part in parts:
            messages = iter(_of(part, unit_context, otherwise))
            while some := list(islice(messages, _TOGETHER)):
                unit_context.queue.send(some)
    except ThrottledError:
        return False
    return True


def _of(part: str, unit_context: UnitContext, otherwise: Written) -> Iterable[Mapping[str, Any]]:
    key = unit_context.places.outbox(part)
    if unit_context.output.find(key) is None:
        return otherwise(part)
    return (json.loads(raw) for raw, _ in split(unit_context.output.read(key)))
