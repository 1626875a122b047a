"""The cut plan: which worker reads which bytes of the corpus.

Large objects are cut in even ranges where their format allows it, small ones are read together, and an object that only
one worker can read is one cut, however large it is.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.json_document import Document

MAX_CUTS: Final = 99_999
_MAX_CUT_JSON: Final = 100_000
"""Characters of one cut's line: it becomes part of a state input, which holds 256 KiB."""
_MAX_PARTS: Final = 500
_MAX_INTERVALS: Final = 2_000
"""Of selected rows in one part, for the same reason."""


class ObjectInfo(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...


@dataclass(frozen=True)
class CutRange(Document):
    """Bytes [start, end) of one corpus object, as it was when the run was planned."""

    key: str
    start: int
    end: int
    size: int
    """Bytes of the whole object."""
    etag: str
    rows: list[list[int]] | None = None
    """Of these bytes, only these rows: (first, last) by their number, or (row group, first, last) in Parquet."""

    @property
    def json_characters(self) -> int:
        """At most, of its part in a cut's line."""
        return len(self.key.encode()) * 2 + 120 + 28 * len(self.rows or ())


@dataclass(frozen=True)
class Cut(Document):
    """What one invocation of cut_shards reads."""

    cut: str
    """Five digits."""
    parts: list[CutRange]

    @property
    def bytes(self) -> int:
        return sum(part.end - part.start for part in self.parts)


@dataclass(frozen=True)
class Handling:
    """How one object is to be cut."""

    in_ranges: bool = True
    weight: int | None = None
    """Bytes that a worker reads of it; None: its own."""
    even_empty: bool = False
    """An empty object is a (bad) record, and not nothing."""


def plan_cuts(
    objects: Iterable[ObjectInfo], cut_bytes: int, handling: Callable[[ObjectInfo], Handling] = lambda _: Handling()
) -> Iterator[Cut]:
    """Objects to cuts of about `cut_bytes`; empty ones are left out where they hold no record.

    Raises InvalidRequestError when there would be more cuts than names for them.
    """
    gathered: list[CutRange] = []
    weights = 0
    named = _Numbers(cut_bytes)
    for found in objects:
        how = handling(found)
        if found.size == 0 and not how.even_empty:
            continue
        if how.in_ranges and found.size > cut_bytes:
            if gathered:
                yield named(gathered)
                gathered, weights = [], 0
            for part in _ranges(found, cut_bytes):
                yield named([part])
            continue
        part = CutRange(found.key, 0, found.size, found.size, found.etag)
        weight = found.size if how.weight is None else how.weight
        if gathered and not _fits([*gathered, part], weights + weight, cut_bytes):
            yield named(gathered)
            gathered, weights = [], 0
        gathered.append(part)
        weights += weight
    if gathered:
        yield named(gathered)


def pack_ranges(parts: Iterable[CutRange], cut_bytes: int) -> Iterator[Cut]:
    """Ranges that are given, such as single lines, to cuts; in their order. Raises InvalidRequestError as above."""
    gathered: list[CutRange] = []
    weights = 0
    named = _Numbers(cut_bytes)
    for part in parts:
        weight = part.end - part.start
        if gathered and not _fits([*gathered, part], weights + weight, cut_bytes):
            yield named(gathered)
            gathered, weights = [], 0
        gathered.append(part)
        weights += weight
    if gathered:
        yield named(gathered)


def select(part: CutRange, rows: Iterable[Sequence[int]]) -> Iterator[CutRange]:
    """Parts that read only these rows of `part`; a row is its place, the last of whose numbers counts rows.

    `rows` are sorted and distinct. Neighbours are read together; a part holds as many intervals as a state input can.
    """
    intervals: list[list[int]] = []
    for row in rows:
        *before, number = row
        last = intervals[-1] if intervals else None
        if last is not None and last[:-2] == before and last[-1] + 1 == number:
            last[-1] = number
            continue
        if len(intervals) == _MAX_INTERVALS:
            yield _selected(part, intervals)
            intervals = []
        intervals.append([*before, number, number])
    if intervals:
        yield _selected(part, intervals)


def _selected(part: CutRange, intervals: list[list[int]]) -> CutRange:
    return CutRange(part.key, part.start, part.end, part.size, part.etag, intervals)


class _Numbers:
    """Names cuts in their order."""

    def __init__(self, cut_bytes: int) -> None:
        self._cut_bytes = cut_bytes
        self._count = 0

    def __call__(self, parts: list[CutRange]) -> Cut:
        self._count += 1
        if self._count > MAX_CUTS:
            raise InvalidRequestError(
                f"limits.cut_bytes: {self._cut_bytes} bytes make more than {MAX_CUTS} cuts of this corpus: raise it"
            )
        return Cut(names.cut(self._count), parts)


def _ranges(found: ObjectInfo, cut_bytes: int) -> Iterator[CutRange]:
    count = -(-found.size // cut_bytes)
    for n in range(count):
        yield CutRange(found.key, found.size * n // count, found.size * (n + 1) // count, found.size, found.etag)


def _fits(parts: list[CutRange], weight: int, cut_bytes: int) -> bool:
    return (
        len(parts) <= _MAX_PARTS
        and weight <= cut_bytes
        and sum(part.json_characters for part in parts) <= _MAX_CUT_JSON
    )


def cut_line(cut: Cut) -> bytes:
    value = cut.to_json()
    for part in value["parts"]:
        if part["rows"] is None:
            del part["rows"]
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
