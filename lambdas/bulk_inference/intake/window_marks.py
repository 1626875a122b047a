"""What a window knows of its documents: which are being inferred, and how many have come to which end.

A mark is set in the transaction in which its document begins, and goes in the one in which it ends, which counts it as
well (docs/decisions/0017-pools-close-by-transaction.md). So no mark outlives its document, and none is counted twice or
not at all, whoever dies when. The counts of a window lie in several items: its documents end at the same time, and a
transaction that meets another on one item is refused.

| pk | sk | attributes |
| --- | --- | --- |
| `POOL#{run}` | `BUSY#{unit}` | `unit`, `document` (partition key of its item), `sentAt`, `at` (of its last try) |
| `POOL#{run}` | `TALLY#{00…15}` | `done`, `failed`; `TALLY`, in an older bundle |
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Final

from bulk_inference.core import names
from bulk_inference.core.index_line import canonical
from bulk_inference.core.ports import Increment, Intake, Put, Remove, Write
from bulk_inference.core.runs_table import TALLY, Item, pool_pk
from bulk_inference.intake.message import DONE, FAILED, INFERRING

PRIORITY: Final = "high"

BUSY: Final = "BUSY#"
"""Sort keys of documents that are being inferred, by their unit."""

_TALLIES: Final = 16


def unit_of(item: Item) -> str:
    """Name of the cut and the unit of work that a try at a document is."""
    return f"{names.DOCUMENT}{hashlib.sha256(canonical([item['pk'], item['take']])).hexdigest()[:20]}"


def in_window(item: Item) -> bool:
    """Whether the document's run is a window."""
    return names.is_pool_run(str(item.get("run")), PRIORITY)


def began(item: Item) -> Put:
    """To be written with the document's item when it begins to be inferred."""
    unit = unit_of(item)
    return Put(
        {
            "pk": pool_pk(item["run"]),
            "sk": f"{BUSY}{unit}",
            "unit": unit,
            "document": item["pk"],
            "sentAt": item["sentAt"],
            "at": item["at"],
            "expires_at": item["expires_at"],
        }
    )


def gone(item: Item) -> Remove:
    """Takes its mark away."""
    return Remove(pool_pk(item["run"]), f"{BUSY}{unit_of(item)}")


def tallied(item: Item | None) -> str | None:
    """As which end the document is counted in the window that its item names."""
    if item is None or not in_window(item):
        return None
    if "tallied" in item:
        return None if item["tallied"] is None else str(item["tallied"])
    # An older bundle counted each end that came of a run, and said so nowhere.
    return str(item["state"]) if item["state"] in (DONE, FAILED) and item.get("place") is not None else None


def ended(before: Item, after: Item) -> list[Write]:
    """To be written with the document's item when it comes to an end, or to a better one."""
    if not in_window(after):
        return []
    counted, state = tallied(before), str(after["state"])
    writes: list[Write] = [gone(before)] if before["state"] == INFERRING else []
    if counted != state:
        sk = f"{TALLY}#{zlib.crc32(after['pk'].encode()) % _TALLIES}"
        numbers = {state: 1} if counted is None else {state: 1, counted: -1}
        writes.append(Increment(pool_pk(after["run"]), sk, numbers, {"expires_at": after["expires_at"]}))
    return writes


def counts(run: str, runs: Intake) -> tuple[int, int]:
    """Documents of a window that are done, and that have failed."""
    items = list(runs.query(pool_pk(run), TALLY))
    return sum(int(one.get(DONE, 0)) for one in items), sum(int(one.get(FAILED, 0)) for one in items)


def busy(run: str, runs: Intake) -> Iterator[Item]:
    """Marks of documents that are being inferred."""
    yield from runs.query(pool_pk(run), BUSY)
