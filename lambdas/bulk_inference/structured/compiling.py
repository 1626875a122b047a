"""A schema as fastjsonschema can compile it."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import fastjsonschema
from fastjsonschema.draft07 import CodeGeneratorDraft07

from bulk_inference.core.linear_patterns import linear

MAX_COST: Final = 500_000
"""Steps of judging one value: a character of a pattern that is matched is one, and what a reference leads to is as many
as it holds. That is a second or two. An answer of a hundred thousand tokens stays below, unless its schema is written
to cost."""

_FORMAT_CHARACTERS: Final = {"email": 320, "idn-email": 320, "hostname": 255}
_MOST_CHARACTERS: Final = 4_096
"""Of a text in one of the formats, whose patterns are not ours: beyond, it is none."""

_FORMAT_SUFFIX: Final = "_re_pattern"


class CostlyError(Exception):
    """Judging a value took more than MAX_COST steps."""


class _Meter(threading.local):
    """Steps that are left to the value that this thread judges."""

    left = MAX_COST

    def __call__(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise CostlyError


_METER: Final = _Meter()


def compile_schema(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The check of a value: fastjsonschema's, but bounded. It raises CostlyError besides.

    fastjsonschema matches patterns by `re` and follows every reference as often as it is met, which both can take
    exponential time in a small schema; so its patterns and its functions are replaced by counting ones. Defaults are
    for readers of a schema: they must not be written into what the model said.
    """
    check: Callable[[Any], Any] = fastjsonschema.compile(_compilable(schema), use_default=False)
    scope: dict[str, Any] = check.__globals__
    scope["REGEX_PATTERNS"] = {name: _bounded(name, regex) for name, regex in scope["REGEX_PATTERNS"].items()}
    weight = max(1, len(json.dumps(schema)) // _CHARACTERS_PER_STEP)
    for name in [name for name in scope if name.startswith("validate")]:
        scope[name] = _counted(scope[name], weight)

    def judged(value: Any) -> Any:
        _METER.left = MAX_COST
        return check(value)

    return judged


_BEGIN: Final = 4
"""Steps of beginning to match."""

_CHARACTERS_PER_STEP: Final = 20
"""Of a schema's JSON: about one keyword."""


def _counted(function: Callable[..., Any], weight: int) -> Callable[..., Any]:
    def counted(*given: Any, **named: Any) -> Any:
        _METER(weight)
        return function(*given, **named)

    return counted


class _Pattern:
    """A pattern of the schema's author."""

    def __init__(self, pattern: str) -> None:
        self._pattern = linear(pattern)

    def search(self, text: str) -> bool:
        _METER(_BEGIN)
        return self._pattern.search(text, _METER)


class _Format:
    """A pattern of fastjsonschema's."""

    def __init__(self, regex: re.Pattern[str], most: int) -> None:
        self._regex = regex
        self._most = most

    def match(self, text: str) -> bool:
        _METER(len(text))
        return len(text) <= self._most and self._regex.match(text) is not None


def _bounded(name: str, regex: re.Pattern[str]) -> _Pattern | _Format:
    """fastjsonschema names a format's pattern after it, and an author's pattern by its own text."""
    form = name.removesuffix(_FORMAT_SUFFIX)
    if name.endswith(_FORMAT_SUFFIX) and CodeGeneratorDraft07.FORMAT_REGEXS.get(form) == regex.pattern:
        return _Format(regex, _FORMAT_CHARACTERS.get(form, _MOST_CHARACTERS))
    return _Pattern(name)


def _compilable(schema: Any, *, named: bool = False) -> Any:
    """A copy, because fastjsonschema resolves references in place; without what it would trip over: text that nobody
    checks, and `const`, which it does not escape."""
    if isinstance(schema, list):
        return [_compilable(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    if named:
        return {name: _compilable(one) for name, one in schema.items()}
    made: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ("const", "enum"):
            # Python holds True to be 1, JSON does not: hence the types.
            choices = value if keyword == "enum" else [value]
            types = sorted({_json_type(one) for one in choices})
            made.setdefault("allOf", []).append({"type": types, "enum": choices})
        elif keyword == "allOf":
            made.setdefault("allOf", []).extend(_compilable(value))
        elif keyword not in ANNOTATIONS:
            made[keyword] = _compilable(value, named=keyword in NAMED)
    return made


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    kinds = ((str, "string"), ((int, float), "number"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


ANNOTATIONS: Final = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)


NAMED: Final = frozenset({"$defs", "definitions", "dependencies", "patternProperties", "properties"})
"""Keywords whose members are named by the schema's author."""
