"""Which parts a unit of work writes next: what it commits names of, and what a dead worker of it may have left."""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core import names

CHUNK: Final = 50
"""Records of an item batch that are landed together: two requests of claims, one part."""

OPEN: Final = "."
"""Of a record, in a unit's outcomes."""


def chunk_of(position: int) -> int:
    """The chunk in which a record of an item batch lands, by its position there."""
    return position // CHUNK


def next_parts(unit: str, item: Mapping[str, Any] | None) -> list[str]:
    """Under which names (bare) a worker of the unit may write before it commits again. `item`: the unit's, as stored;
    None: nothing has been committed."""
    if item is not None and (item.get("drained") or item.get("settled")):
        return []
    if unit.startswith(names.REPROCESSED):
        return [unit]
    if (attempt := names.parse_attempt(unit)) is not None:
        return [attempt.part(1 if item is None else int(item.get("segment", 1)))]
    if item is None:
        # An item batch writes its item before its first part.
        return []
    flushes = item.get("flushes", {})
    chunks = {chunk_of(at) for at, outcome in enumerate(item.get("outcomes", "")) if outcome == OPEN}
    return [names.block_part(unit, chunk, int(flushes.get(f"{chunk}", 0)) + 1) for chunk in sorted(chunks)]
