"""The first half of bringing documents together: lines of a group of parts, laid out by where their document belongs.

Chunks of one document lie anywhere: in the parts of a batch shard and of the sync remainder, of a further attempt, of
the failure lane, of a run over this one's failures. So every line goes to the partition of its document, and a
partition is small enough for one invocation. A group's lines make one object: a table of fixed width, from which a
reader learns in one ranged request where its partition lies, and behind it the partitions, one after the other.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bulk_inference.assembly.part_groups import Group, PartSlice
from bulk_inference.core import names
from bulk_inference.core.result_line import encode
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.rows import Row

SENT: Final = "sent"
LANDED: Final = "landed"
REDUCED: Final = "reduced"
"""Kind of a slice: index lines of the run, result lines of it, the same of its reductions (`reduced-…`)."""
KINDS: Final = (SENT, LANDED, f"{REDUCED}-{SENT}", f"{REDUCED}-{LANDED}")

_CELL: Final = 16
"""Bytes of a table's cell: fifteen digits and a line end."""
_READERS: Final = 8
_SMALL_BYTES: Final = 1024 * 1024
_NO_LIMIT: Final = 1 << 62

_TOLD: Final = ("ended", "text", "value", "usage", "sequence", "carry", "source")
"""Members of a result line that documents are made of."""

MAX_PARTITIONS: Final = 5_000


def sort_group(group: Group, partitions: int, read: Callable[[PartSlice], Iterable[bytes]]) -> bytes:
    """The group's object. Lines that are no part of a document, or cannot be read, are left out.

    Memory: the group's lines without the models' own bodies.
    """
    shelves: dict[int, list[bytes]] = {}
    for slice_, lines in _read_all(group.slices, read):
        for key, entry in _entries(slice_.kind, lines):
            shelves.setdefault(names.partition_of(key, partitions), []).append(encode(entry))
    bodies = {number: b"".join(lines) for number, lines in shelves.items()}
    position = (partitions + 1) * _CELL
    table = []
    for number in range(partitions):
        table.append(position)
        position += len(bodies.get(number, b""))
    table.append(position)
    header = b"".join(b"%015d\n" % cell for cell in table)
    return header + b"".join(bodies[number] for number in sorted(bodies))


def read_partition(partition: int, get_range: Callable[[int, int], bytes]) -> list[dict[str, Any]]:
    """The entries of one partition of a group's object; `get_range` reads (offset, length) of it."""
    start, end = (int(cell) for cell in get_range(partition * _CELL, 2 * _CELL).split())
    if start == end:
        return []
    return [json.loads(line) for line in get_range(start, end - start).split(b"\n")[:-1]]


def _read_all(
    slices: Sequence[PartSlice], read: Callable[[PartSlice], Iterable[bytes]]
) -> Iterator[tuple[PartSlice, Iterable[Row]]]:
    """Small parts are many: they are read ahead of their use, a few at once. Large ones are streamed."""

    def fetch(one: PartSlice) -> Iterable[bytes]:
        return list(read(one)) if one.size <= _SMALL_BYTES else read(one)

    with ThreadPoolExecutor(_READERS, "parts") as pool:
        for at in range(0, len(slices), _READERS):
            ahead = slices[at : at + _READERS]
            for one, blocks in zip(ahead, pool.map(fetch, ahead), strict=True):
                yield one, lines_of_range(blocks, one.start, one.end, _NO_LIMIT)


def _entries(kind: str, lines: Iterable[Row]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key of the document's text, entry). Sent chunks of one document that follow each other make one entry."""
    reduced, what = kind.startswith(REDUCED), kind.rpartition("-")[2]
    sent: dict[str, Any] | None = None
    for line in lines:
        value = _parsed(line)
        record_id = value.get("recordId")
        document = value.get("document")
        chunk = names.parse_chunk(record_id) if isinstance(record_id, str) else None
        if chunk is None or not isinstance(document, Mapping):
            continue
        key, _ = chunk
        entry = {"key": key, "id": document["id"], "of": document["chunks"]}
        if reduced:
            entry["reduced"] = True
        if what == SENT:
            if sent is None or sent["key"] != key:
                if sent is not None:
                    yield sent["key"], sent
                sent = {**entry, "sent": [], "source": value.get("source")}
            sent["sent"].append(document["chunk"])
        else:
            told = {name: value[name] for name in _TOLD if name in value}
            yield key, {**entry, "chunk": document["chunk"], **told}
    if sent is not None:
        yield sent["key"], sent


def _parsed(line: Row) -> Mapping[str, Any]:
    try:
        value = json.loads(line.data or b"")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
