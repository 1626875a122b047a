"""Regular expressions that match in time linear in the text, whatever the pattern: for patterns from outside.

Python's `re` tries one way after the other, which takes exponential time for patterns such as `^((a+)+b|[b-z]+)$`. Here
all ways are followed at once (Thompson's construction, https://swtch.com/~rsc/regexp/regexp1.html), so that a character
costs at most one step for each state of the pattern; sets of states that were met before are remembered.

The language is that of `re` without what cannot be matched so, or has no place in a pattern of data: back references,
look-around, flags, possessive and atomic groups. `$` is the end of the text, as in JSON Schema, and not the place
before a last line feed.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from re import _constants as ops
from re import _parser as parser
from typing import Any, Final, Protocol

MAX_STATES: Final = 2_000
"""Of one pattern, its counted repetitions written out: `.{1,5000}` is better said by maxLength."""

_REMEMBERED: Final = 20_000
"""Transitions of one pattern that are kept."""

_EDGE, _WORD, _OTHER = "edge", "word", "other"


class PatternError(ValueError):
    """A pattern that is not taken; the text says why."""


class Cost(Protocol):
    def __call__(self, steps: int, /) -> None:
        """Is told what a match takes; raises to end it."""
        ...


def free(steps: int) -> None:
    """Nobody counts."""


@dataclass(frozen=True)
class _Take:
    fits: Callable[[str], bool]
    to: int


@dataclass(frozen=True)
class _Split:
    to: tuple[int, ...]


@dataclass(frozen=True)
class _At:
    holds: Callable[[str, str], bool]
    to: int


_States = frozenset[int]


@dataclass
class LinearPattern:
    """A compiled pattern. Threads may share it: what they remember twice is the same."""

    text: str
    _nodes: list[Any] = field(default_factory=list)
    _start: int = 0
    _accept: int = 0
    _known: dict[tuple[_States, str, str], tuple[bool, _States]] = field(default_factory=dict)

    def search(self, text: str, cost: Cost = free) -> bool:
        """Whether the pattern matches anywhere in the text."""
        return self._run(text, cost, anywhere=True)

    def fullmatch(self, text: str, cost: Cost = free) -> bool:
        return self._run(text, cost, anywhere=False)

    def _run(self, text: str, cost: Cost, *, anywhere: bool) -> bool:
        states: _States = frozenset((self._start,))
        before = _EDGE
        for character in text:
            key = (states, before, character)
            known = self._known.get(key)
            if known is None:
                known = self._step(states, before, character, cost)
                if len(self._known) >= _REMEMBERED:
                    self._known = {}
                self._known[key] = known
            cost(1)
            accepted, states = known
            if accepted and anywhere:
                return True
            if anywhere:
                states |= {self._start}
            elif not states:
                return False
            before = _kind(character)
        return self._accept in self._closure(states, before, _EDGE, cost)

    def _step(self, states: _States, before: str, character: str, cost: Cost) -> tuple[bool, _States]:
        """Whether the pattern ends before the character, and the states after it."""
        reached = self._closure(states, before, _kind(character), cost)
        nodes = self._nodes
        following = {node.to for one in reached if isinstance(node := nodes[one], _Take) and node.fits(character)}
        return self._accept in reached, frozenset(following)

    def _closure(self, states: Iterable[int], before: str, after: str, cost: Cost) -> set[int]:
        """All states that are reached without a character."""
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in reached:
                continue
            reached.add(state)
            node = self._nodes[state]
            if isinstance(node, _Split):
                waiting.extend(node.to)
            elif isinstance(node, _At) and node.holds(before, after):
                waiting.append(node.to)
        cost(len(reached))
        return reached


def linear(pattern: str) -> LinearPattern:
    """Raises PatternError: no regular expression, or one that is not taken."""
    try:
        parsed = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise PatternError(f"is no regular expression: {error}") from None
    if parsed.state.flags & ~re.UNICODE:
        raise PatternError("holds flags, which are not supported: write what they mean")
    try:
        made = _Builder().build(list(parsed))
    except RecursionError:
        raise PatternError("is nested too deeply") from None
    return LinearPattern(pattern, made.nodes, made.start, made.accept)


class _Builder:
    """Makes states of a parsed pattern, from its end to its beginning."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.accept = self._add("accept")
        self.start = self.accept

    def build(self, items: list[Any]) -> "_Builder":
        self.start = self._sequence(items, self.accept)
        return self

    def _add(self, node: Any) -> int:
        if len(self.nodes) >= MAX_STATES:
            raise PatternError(f"has more than {MAX_STATES} states once its repetitions are written out")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _sequence(self, items: Iterable[Any], to: int) -> int:
        for op, argument in reversed(list(items)):
            to = self._item(op, argument, to)
        return to

    def _item(self, op: Any, argument: Any, to: int) -> int:
        if op in (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN):
            return self._add(_Take(_fits(op, argument), to))
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            least, most, inner = argument
            return self._repeat(least, most, inner, to)
        if op is ops.BRANCH:
            return self._add(_Split(tuple(self._sequence(branch, to) for branch in argument[1])))
        if op is ops.SUBPATTERN:
            _, added, removed, inner = argument
            if added or removed:
                raise PatternError("holds flags, which are not supported: write what they mean")
            return self._sequence(inner, to)
        if op is ops.AT and argument in _AT:
            return self._add(_At(_AT[argument], to))
        raise PatternError(f"holds {_NAMES.get(op, 'something')}, which cannot be matched in bounded time")

    def _repeat(self, least: int, most: Any, inner: Any, to: int) -> int:
        unbounded = most is ops.MAXREPEAT
        if (least if unbounded else int(most)) > MAX_STATES:
            raise PatternError(f"repeats more than {MAX_STATES} times: use maxLength or minLength")
        if unbounded:
            loop = self._add(None)
            self.nodes[loop] = _Split((self._sequence(inner, loop), to))
            to = loop
        else:
            end = to
            for _ in range(int(most) - least):
                to = self._add(_Split((self._sequence(inner, to), end)))
        for _ in range(least):
            to = self._sequence(inner, to)
        return to


_AT: Final[dict[Any, Callable[[str, str], bool]]] = {
    ops.AT_BEGINNING: lambda before, after: before == _EDGE,
    ops.AT_BEGINNING_STRING: lambda before, after: before == _EDGE,
    ops.AT_END: lambda before, after: after == _EDGE,
    ops.AT_END_STRING: lambda before, after: after == _EDGE,
    ops.AT_BOUNDARY: lambda before, after: (before == _WORD) != (after == _WORD),
    ops.AT_NON_BOUNDARY: lambda before, after: (before == _WORD) == (after == _WORD),
}

_NAMES: Final = {
    ops.GROUPREF: "a back reference",
    ops.GROUPREF_EXISTS: "a condition on a group",
    ops.ASSERT: "a look-ahead or look-behind",
    ops.ASSERT_NOT: "a look-ahead or look-behind",
    ops.ATOMIC_GROUP: "an atomic group",
    ops.POSSESSIVE_REPEAT: "a possessive repetition",
}


def _kind(character: str) -> str:
    return _WORD if _is_word(character) else _OTHER


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


_CATEGORIES: Final[dict[Any, Callable[[str], bool]]] = {
    ops.CATEGORY_DIGIT: str.isdecimal,
    ops.CATEGORY_NOT_DIGIT: lambda one: not one.isdecimal(),
    ops.CATEGORY_SPACE: str.isspace,
    ops.CATEGORY_NOT_SPACE: lambda one: not one.isspace(),
    ops.CATEGORY_WORD: _is_word,
    ops.CATEGORY_NOT_WORD: lambda one: not _is_word(one),
}


def _fits(op: Any, argument: Any) -> Callable[[str], bool]:
    if op is ops.ANY:
        return lambda one: one != "\n"
    if op is ops.LITERAL:
        return chr(argument).__eq__
    if op is ops.NOT_LITERAL:
        return chr(argument).__ne__
    negated = bool(argument) and argument[0][0] is ops.NEGATE
    members = list(_members(argument[1:] if negated else argument))
    return lambda one: any(fits(one) for fits in members) != negated


def _members(items: Iterable[Any]) -> Iterator[Callable[[str], bool]]:
    for op, argument in items:
        if op is ops.LITERAL:
            yield chr(argument).__eq__
        elif op is ops.RANGE:
            low, high = argument
            yield lambda one, low=low, high=high: low <= ord(one) <= high  # type: ignore[misc]
        elif op is ops.CATEGORY and argument in _CATEGORIES:
            yield _CATEGORIES[argument]
        else:
            raise PatternError("holds a set of characters that is not supported")
