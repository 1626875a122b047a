"""Item batches of our own: which lines of an index one child of Infer Batches infers.

A batch is cut once, when its run is sealed, and has a name. So whoever starts the map again, over the same files or
after a redrive, meets the same units of work; AWS does not promise that ItemBatcher cuts the same batches twice. And an
event holds one line, however many records the batch has: what is left of it is told by its unit's item.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from bulk_inference.core import names
from bulk_inference.core.index_line import canonical

_KEYS: Final = frozenset({"batch", "index", "offset", "length", "records"})


@dataclass(frozen=True)
class ItemBatch:
    """Neighbouring lines of one index file. JSON: `{"batch", "index", "offset", "length", "records"}`."""

    batch: str
    """Its name; the unit of work is `sync-{batch}`."""
    index: str
    """The piece whose index it is."""
    offset: int
    length: int
    """Bytes, the last line's newline included."""
    records: int

    @classmethod
    def from_items(cls, items: Any) -> Self | None:
        """The slice that a child was given; None where its items are records or pointers."""
        if len(items) != 1 or not isinstance(items[0], Mapping) or not items[0].keys() >= _KEYS:
            return None
        (line,) = items
        numbers = [line[name] for name in ("offset", "length", "records")]
        if not all(isinstance(one, int) and one >= 0 for one in numbers):
            return None
        if not all(isinstance(line[name], str) and names.PIECE.fullmatch(line[name]) for name in ("batch", "index")):
            return None
        return cls(line["batch"], line["index"], *numbers)

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "index": self.index,
            "offset": self.offset,
            "length": self.length,
            "records": self.records,
        }

    def line(self) -> bytes:
        """One item of the map Infer Batches."""
        return canonical(self.to_json()) + b"\n"

    def items(self, raw: bytes) -> list[dict[str, Any]]:
        """The pointers in the slice's bytes. Raises ValueError if these are not its bytes."""
        lines = raw.split(b"\n")
        if len(raw) != self.length or lines[-1] or len(lines) != self.records + 1:
            raise ValueError(f"the index of {self.index} does not hold batch {self.batch} at {self.offset}")
        return [json.loads(line) for line in lines[:-1]]


def cut(piece: str, lengths: Iterable[int], *, items: int, size: int) -> Iterator[ItemBatch]:
    """Cuts an index into batches of at most `items` lines and `size` bytes; a line that is longer has one for itself.

    `lengths`: bytes of the index's lines, newlines included. The same index gives the same batches.
    """
    number, offset, length, records = 1, 0, 0, 0
    for line in lengths:
        if records and (records == items or length + line > size):
            yield ItemBatch(names.item_batch(piece, number), piece, offset, length, records)
            number, offset, length, records = number + 1, offset + length, 0, 0
        length, records = length + line, records + 1
    if records:
        yield ItemBatch(names.item_batch(piece, number), piece, offset, length, records)
