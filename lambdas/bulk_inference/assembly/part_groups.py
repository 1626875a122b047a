"""Parts of a run's results shared out into groups, each small enough for one invocation, whatever the parts' sizes.

Two hundred thousand parts of fifty lines and two parts of a gigabyte make groups of the same size. A group is named
once and for all: parts that are new since make new groups, and a part that was written anew has its groups done again
under their names.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.json_document import Document
from bulk_inference.core.result_line import split

GROUP_BYTES: Final = 48 * 1024 * 1024
GROUP_PARTS: Final = 400
"""A group is one item of a map, of 256 KiB at most."""


@dataclass(frozen=True)
class PartSlice(Document):
    """Lines that begin in bytes [start, end) of one object."""

    key: str
    start: int
    end: int
    size: int
    """Bytes of the whole object, and its ETag, when it was looked at."""
    etag: str
    kind: str
    """What its lines are: a key of the reader that a group is for."""


@dataclass(frozen=True)
class Group(Document):
    name: str
    slices: list[PartSlice] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(one.end - one.start for one in self.slices)


def whole(key: str, size: int, etag: str, kind: str) -> PartSlice:
    return PartSlice(key, 0, size, size, etag, kind)


def due(found: Iterable[PartSlice], before: Iterable[Group], done: Collection[str], name: str) -> Iterator[Group]:
    """Groups that are to be done: those of `before` that are not `done` (names) or of which an object has changed, and
    new ones, named `{name}-00001` and so on, of what is in none of them. `found` are whole objects."""
    now = {one.key: one for one in found}
    covered = set()
    for group in before:
        covered |= {one.key for one in group.slices}
        renewed = replace(group, slices=[_renewed(one, now) for one in group.slices])
        if renewed != group or group.name not in done:
            yield renewed
    for number, slices in enumerate(_packed(one for key, one in now.items() if key not in covered and one.size), 1):
        yield Group(names.group(name, number), slices)


def _renewed(one: PartSlice, now: Mapping[str, PartSlice]) -> PartSlice:
    found = now.get(one.key)
    if found is None or (found.etag, found.size) == (one.etag, one.size):
        return one
    return replace(one, end=found.size if one.end == one.size else one.end, size=found.size, etag=found.etag)


def _packed(objects: Iterable[PartSlice]) -> Iterator[list[PartSlice]]:
    gathered: list[PartSlice] = []
    size = 0
    for one in objects:
        for start in range(0, one.size, GROUP_BYTES):
            piece = replace(one, start=start, end=min(start + GROUP_BYTES, one.size))
            if gathered and (size + piece.end - piece.start > GROUP_BYTES or len(gathered) == GROUP_PARTS):
                yield gathered
                gathered, size = [], 0
            gathered.append(piece)
            size += piece.end - piece.start
    if gathered:
        yield gathered


def group_line(group: Group) -> bytes:
    return json.dumps(group.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_groups(blocks: Iterable[bytes]) -> Iterator[Group]:
    for raw, _ in split(blocks):
        yield Group.from_json(json.loads(raw))


def group_of(event: Mapping[str, Any]) -> Group:
    return Group.from_json(event["group"])
