"""Rows of a corpus that became no records: how many, of which kind, where; and when they are too many.

A rejected row costs itself alone. But a run that reads mostly rows which are no records has the wrong request or the
wrong files, and must not end as a success: hence a tolerance, of rows and of bytes. Bytes count because a single row
may be most of a file (a quote that nothing closes), and rows because a file of many short ones may hold little.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.json_document import Document

MAX_SAMPLES: Final = 3
"""Places shown of each kind."""
MAX_KINDS: Final = 30
"""Of one cut. There are fewer classes than that."""


@dataclass(frozen=True)
class Rejection(Document):
    """Rows of one error class. It holds places and numbers, and no word of any row."""

    error_class: str
    rows: int = 0
    lines: int = 0
    """Physical lines that the rows cover: a row of CSV whose quote nothing closes goes on over many."""
    bytes: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Some of their places: `{"key", "offset", "length", …}`, as `source` of their failure lines."""

    def __add__(self, other: Self) -> "Rejection":
        return Rejection(
            self.error_class,
            self.rows + other.rows,
            self.lines + other.lines,
            self.bytes + other.bytes,
            (self.samples + other.samples)[:MAX_SAMPLES],
        )


@dataclass(frozen=True)
class RowCount(Document):
    """Rows that were read, blank ones aside: with chunking they are fewer than the records."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Self) -> "RowCount":
        return RowCount(self.rows + other.rows, self.bytes + other.bytes)


def merged(kinds: Iterable[Rejection]) -> list[Rejection]:
    """One entry for each class, the commonest first."""
    found: dict[str, Rejection] = {}
    for one in kinds:
        found[one.error_class] = found.get(one.error_class, Rejection(one.error_class)) + one
    return sorted(found.values(), key=lambda one: (-one.rows, one.error_class))


def of_item(item: Mapping[str, Any]) -> tuple[RowCount, list[Rejection]]:
    """What a cut's item says. One of an older bundle knows numbers of rows alone."""
    if "rowCount" not in item:
        kinds = [Rejection("unknown", item["rejected"], item["rejected"])] if item["rejected"] else []
        return RowCount(item["read"]), kinds
    return RowCount.from_json(item["rowCount"]), [Rejection.from_json(one) for one in item["rejections"]]


def by_class(kinds: Iterable[Rejection]) -> dict[str, int]:
    """Rows by error class."""
    return {one.error_class: one.rows for one in kinds}


def excess(read: RowCount, kinds: Iterable[Rejection], tolerated_percentage: float) -> str | None:
    """In words, what is above the tolerance; None if nothing is. A single line is never too much: it costs itself."""
    found = list(kinds)
    rows, lines, size = (sum(getattr(one, name) for one in found) for name in ("rows", "lines", "bytes"))
    if lines <= 1:
        return None
    passed = [
        f"{number:,} of {of:,} {what} ({100 * number / of:.1f} %)"
        for what, number, of in (("rows", rows, read.rows), ("bytes", size, read.bytes))
        if of and number * 100 > tolerated_percentage * of
    ]
    if not passed:
        return None
    return f"{' and '.join(passed)} are rejected, more than the {tolerated_percentage:g} % tolerated"


def described(kinds: Iterable[Rejection]) -> str:
    """`missing_field: 990 rows, 990 lines, 36000 bytes, such as a.jsonl at byte 27; …`."""
    return "; ".join(
        f"{one.error_class}: {counted(one.rows, 'row')}, {counted(one.lines, 'line')}, {counted(one.bytes, 'byte')}"
        + (f", such as {place_of(one.samples[0])}" if one.samples else "")
        for one in merged(kinds)
    )


def refuse_excess(read: RowCount, kinds: Iterable[Rejection], accepted: int, tolerated: float, basis: str) -> None:
    """Raises InvalidRequestError if more is rejected than is tolerated, or if rows were read and none of them is a
    record. `accepted`: records and duplicates. `basis`: where the numbers are from."""
    found = list(kinds)
    if not any(one.rows for one in found):
        return
    why = excess(read, found, tolerated)
    if why is None and not accepted:
        why = f"none of {counted(read.rows, 'row')} is a record"
    if why is not None:
        raise InvalidRequestError(
            f"the corpus ({basis}): {why}: {described(found)}. Correct the request or the files, or raise "
            "limits.tolerated_rejected_percentage"
        )


def place_of(sample: Mapping[str, Any]) -> str:
    """A sample in words."""
    if "rowGroup" in sample:
        return f"{sample['key']}, row {sample['row']} of row group {sample['rowGroup']}"
    if "row" in sample:
        return f"{sample['key']}, row {sample['row']}"
    return f"{sample['key']} at byte {sample['offset']}"


def counted(number: int, what: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
