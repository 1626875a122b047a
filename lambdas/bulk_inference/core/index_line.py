"""Index lines: pointers to records, which state payloads and queue messages carry in the records' place."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from bulk_inference.core import names
from bulk_inference.core.json_text import JsonError, loads
from bulk_inference.core.keys import Places

_PIECE: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")

MAX_ID_BYTES: Final = 1024
"""Of a recordId as it travels. A partition key of DynamoDB holds 2,048 bytes, and tenant and scope stand before it."""


@dataclass(frozen=True)
class Pointer:
    """One record. It lies in a piece in the input bucket, in a parked file in the output bucket, or came along whole.

    JSON: `{"recordId", "shard", "offset", "length", "id"?, "sequence"?, "carry"?, "source"?, "document"?}`, with
    `parked` (a key) instead of `shard`, or `{"recordId", "modelInput"}`.
    """

    record_id: str
    """As sent to Bedrock."""
    shard: str | None = None
    """Name of the piece."""
    offset: int = 0
    length: int = 0
    original_id: str | None = None
    """The caller's id where it is not the recordId."""
    sequence: Any = None
    carry: Mapping[str, Any] | None = None
    """Fields of the row that go through to the result."""
    source: Mapping[str, Any] | None = None
    """`{"key", …}`: which row of the corpus it was (rows.py)."""
    document: Mapping[str, Any] | None = None
    """`{"id", "chunk", "chunks"}` of a record that is a part of a document."""
    parked: str | None = None
    body: Mapping[str, Any] | None = None
    """The modelInput, when the record came along whole."""

    @classmethod
    def of_record(cls, line: Any) -> Self:
        """A whole record, of a ready corpus. Anything else is a record with an empty body, which the model refuses: a
        malformed line costs itself, not its batch. An id that is longer than a key of the ledger goes under an alias.
        """
        line = line if isinstance(line, Mapping) else {"line": line}
        given, body = line.get("recordId"), line.get("modelInput")
        body = body if isinstance(body, Mapping) else {}
        if not isinstance(given, str) or not given:
            return cls(record_id=names.content_id(canonical(line)), body=body)
        if len(given.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
            return cls(record_id=names.alias(given), body=body, original_id=given)
        return cls(record_id=given, body=body)

    @classmethod
    def of_item(cls, item: Any) -> Self:
        """What came along in an event: a record, or a pointer into a piece of the run. Nothing else that a line of a
        ready corpus says is a place from which the function would read."""
        if isinstance(item, Mapping) and isinstance(item.get("shard"), str) and _PIECE.fullmatch(item["shard"]):
            return cls.from_json({name: value for name, value in item.items() if name != "parked"})
        return cls.of_record(item)

    @classmethod
    def from_json(cls, line: Any) -> Self:
        """An index line that the pipeline has written, or a whole record."""
        if not isinstance(line, Mapping) or isinstance(line.get("modelInput"), Mapping):
            return cls.of_record(line)
        given = line.get("recordId")
        if not isinstance(given, str) or not all(isinstance(line.get(name), int) for name in ("offset", "length")):
            return cls.of_record(line)
        return cls(
            record_id=given,
            shard=line.get("shard"),
            offset=line["offset"],
            length=line["length"],
            original_id=line.get("id"),
            sequence=line.get("sequence"),
            carry=line.get("carry"),
            source=line.get("source"),
            document=line.get("document"),
            parked=line.get("parked"),
        )

    def to_json(self) -> dict[str, Any]:
        """The pointer without any text of the record."""
        members = {
            "recordId": self.record_id,
            "shard": self.shard,
            "offset": self.offset,
            "length": self.length,
            "id": self.original_id,
            "sequence": self.sequence,
            "carry": self.carry,
            "source": self.source,
            "document": self.document,
            "parked": self.parked,
        }
        return {key: value for key, value in members.items() if value is not None}

    @property
    def caller_id(self) -> str:
        return self.record_id if self.original_id is None else self.original_id

    def at(self, shard: str, offset: int) -> Self:
        """The same record in another piece."""
        return replace(self, shard=shard, offset=offset)

    def where(self, bucket: str) -> dict[str, Any] | None:
        """`source` as results and failures carry it."""
        return None if self.source is None else {"bucket": bucket, **self.source}


class StrayPointerError(ValueError):
    """A pointer that leads to no record of its run."""


def fetch(
    pointer: Pointer,
    places: Places,
    input_range: Callable[[str, int, int], bytes],
    output_range: Callable[[str, int, int], bytes],
) -> Mapping[str, Any]:
    """The record's modelInput, read by a range (key, offset, length) of the bucket in which it lies.

    Raises StrayPointerError if what lies there is not the record, or if it lies where this run keeps none: pointers
    come in messages and state inputs, and the functions may read what is another run's.
    """
    if pointer.body is not None:
        return pointer.body
    if pointer.parked is not None:
        if not pointer.parked.startswith(places.parked_prefix):
            raise StrayPointerError(f"a record is said to be parked outside of {places.parked_prefix}")
        raw = output_range(pointer.parked, pointer.offset, pointer.length)
    else:
        if pointer.shard is None or not names.PIECE.fullmatch(pointer.shard):
            raise StrayPointerError("a record is said to lie in a piece whose name is none")
        raw = input_range(places.shard(pointer.shard), pointer.offset, pointer.length)
    try:
        line = loads(raw)
    except JsonError:
        line = None
    body = line.get("modelInput") if isinstance(line, dict) and line.get("recordId") == pointer.record_id else None
    if not isinstance(body, dict):
        raise StrayPointerError(f"the bytes at {pointer.offset} of piece {pointer.shard} are another record")
    return body


def canonical(value: Any) -> bytes:
    """JSON that is the same for equal values: what digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
