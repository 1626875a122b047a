"""Index lines: pointers to records, which state payloads and queue messages carry in the records' place."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from bulk_inference.core import names
from bulk_inference.core.keys import Places


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
    def from_json(cls, line: Any) -> Self:
        """An index line or a whole record. Anything else is a record with an empty body, which the model refuses: in a
        ready corpus a malformed line costs itself, not its batch."""
        line = line if isinstance(line, Mapping) else {"line": line}
        given, body = line.get("recordId"), line.get("modelInput")
        if not isinstance(given, str) or not all(isinstance(line.get(name), int) for name in ("offset", "length")):
            return cls(
                record_id=given if isinstance(given, str) and given else names.content_id(canonical(line)),
                body=body if isinstance(body, Mapping) else {},
            )
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


def fetch(
    pointer: Pointer,
    places: Places,
    input_range: Callable[[str, int, int], bytes],
    output_range: Callable[[str, int, int], bytes],
) -> Mapping[str, Any]:
    """The record's modelInput, read by a range (key, offset, length) of the bucket in which it lies.

    Raises ValueError if what lies there is not the record.
    """
    if pointer.body is not None:
        return pointer.body
    if pointer.parked is not None:
        raw = output_range(pointer.parked, pointer.offset, pointer.length)
    else:
        raw = input_range(places.shard(pointer.shard or ""), pointer.offset, pointer.length)
    line = json.loads(raw)
    if not isinstance(line, dict) or line.get("recordId") != pointer.record_id:
        raise ValueError(f"the bytes at {pointer.offset} of {pointer.parked or pointer.shard} are another record")
    body: Mapping[str, Any] = line["modelInput"]
    return body


def canonical(value: Any) -> bytes:
    """JSON that is the same for equal values: what digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
