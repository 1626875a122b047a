"""What the answers to a document's chunks become together: one text, one JSON value, or the parts of further prompts.

Pure, and the same for the same answers: what is made of them can be made again.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.render.chunking import size_of

MAX_ROUNDS: Final = 12
"""Of reduce. Each at least halves the parts of a document, of which there are fewer than 2 ** 14."""

_SHOWN_CONFLICTS: Final = 20


@dataclass(frozen=True)
class MergedValue:
    value: Any
    conflicts: list[str] = field(default_factory=list)
    """Paths, such as `$.author.born`, at which answers differ; the first answer counts."""


def merge(values: Iterable[Any], keys: Sequence[str]) -> MergedValue:
    """Merges JSON values, in their order.

    * Objects: field by field.
    * Lists: joined. Objects in them that agree in one of `keys`, and in no surer one differ, are one entity and are
      merged. Of equal texts the first stays. Names and texts are compared without letter case and runs of white space.
      Numbers all stay: equal measurements are no repetition.
    * null and an empty text give way to anything.
    * Anything else that differs is a conflict: the first value stays, its path is told.
    """
    merger = _Merger(keys)
    merged: Any = None
    for value in values:
        merged = merger.merge(merged, value, "$")
    return MergedValue(merged, list(merger.conflicts)[:_SHOWN_CONFLICTS])


class _Merger:
    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self.conflicts: dict[str, None] = {}
        """Paths, in their order."""

    def merge(self, one: Any, other: Any, path: str) -> Any:
        if other is None or other == "":
            return other if one is None else one
        if one is None or one == "":
            # Into an empty one: a list on its own may name the same entity twice, too.
            one = {} if isinstance(other, Mapping) else [] if isinstance(other, list) else other
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return self._fields(one, other, path)
        if isinstance(one, list) and isinstance(other, list):
            return self._joined(one, other, path)
        if not _alike(one, other) and path not in self.conflicts:
            self.conflicts[path] = None
        return one

    def _fields(self, one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> dict[str, Any]:
        merged = dict(one)
        for name, value in other.items():
            merged[name] = self.merge(merged.get(name), value, f"{path}.{name}")
        return merged

    def _joined(self, one: Sequence[Any], other: Sequence[Any], path: str) -> list[Any]:
        joined: list[Any] = []
        known: dict[Hashable, int] = {}
        for item in [*one, *other]:
            names = self._names(item)
            at = self._found(names, joined, known)
            if at is None:
                at = len(joined)
                joined.append(self.merge(None, item, f"{path}[]"))
            elif isinstance(item, Mapping):
                joined[at] = self.merge(joined[at], item, f"{path}[]")
            for pair in names.items():
                known.setdefault(pair, at)
        return joined

    def _names(self, item: Any) -> dict[str, Hashable]:
        """What an item of a list is known by, the surest name first."""
        if isinstance(item, str):
            return {"": _folded(item)}
        if not isinstance(item, Mapping):
            return {}
        found = {key: item.get(key) for key in self._keys}
        return {
            key: _folded(value) if isinstance(value, str) else value
            for key, value in found.items()
            if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
        }

    def _found(self, names: Mapping[str, Hashable], joined: list[Any], known: Mapping[Hashable, int]) -> int | None:
        for key, name in names.items():
            at = known.get((key, name))
            if at is not None and not self._contradict(names, self._names(joined[at]), key):
                return at
        return None

    @staticmethod
    def _contradict(names: Mapping[str, Hashable], others: Mapping[str, Hashable], by: str) -> bool:
        """Two of one name, but each with an id of its own, are two."""
        surer = list(names)[: list(names).index(by)]
        return any(key in others and others[key] != names[key] for key in surer)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return _folded(one) == _folded(other)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def pack(parts: Sequence[str], size: int, by: str, separator: str) -> list[list[str]]:
    """Parts in order, as many together as `size` takes, but never a part alone that has a neighbour: two answers are
    shorter than what they answer, and a round that left each part alone would not come to an end."""
    packed: list[list[str]] = []
    room = 0
    between = size_of(separator, by)
    for part in parts:
        length = size_of(part, by)
        if packed and (len(packed[-1]) < 2 or between + length <= room):
            packed[-1].append(part)
            room -= between + length
        else:
            packed.append([part])
            room = size - length
    if len(packed) > 1 and len(packed[-1]) == 1:
        last = packed.pop()
        if len(packed[-1]) > 2:
            # The one before has three at least: one of them goes to the lonely one.
            packed.append([packed[-1].pop(), *last])
        else:
            packed[-1] += last
    return packed
