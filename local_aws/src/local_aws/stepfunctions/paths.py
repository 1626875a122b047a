"""Paths, reference paths, payload templates and intrinsic functions of the JSONPath query language.

Sources: https://states-language.net/#path, #payload-template, #appendix-b and
https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html.
"""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import PathError, StateError

Step = tuple[str, Any]

_NAME = re.compile(r"[^.\[\]()'\",\s]+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?$")
_INTRINSIC_INPUT_LIMIT = 10_000


def dumps(value: Any) -> str:
    """Compact JSON text, as Step Functions writes payloads."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class PathSyntaxError(ValueError):
    """Text that is no path; the message says where it breaks."""


@functools.lru_cache(maxsize=4096)
def compile_path(path: str) -> tuple[Step, ...]:
    """The steps of a path without its leading `$` or `$$`. Raises PathSyntaxError."""
    if not path.startswith("$"):
        raise PathSyntaxError(f"a path starts with $: {path}")
    position = 2 if path.startswith("$$") else 1
    steps: list[Step] = []
    while position < len(path):
        if path.startswith("..", position):
            steps.append(("descend", None))
            position += 2
            if path.startswith("[", position):
                continue
            position = _named(path, position, steps)
        elif path[position] == ".":
            position = _named(path, position + 1, steps)
        elif path[position] == "[":
            end = _closing(path, position)
            steps.append(_bracket(path, path[position + 1 : end].strip()))
            position = end + 1
        else:
            raise PathSyntaxError(f"unexpected {path[position]!r} at {position} in {path}")
    return tuple(steps)


def _named(path: str, position: int, steps: list[Step]) -> int:
    if path.startswith("*", position):
        steps.append(("all", None))
        return position + 1
    found = _NAME.match(path, position)
    if not found:
        raise PathSyntaxError(f"a field name is missing at {position} in {path}")
    steps.append(("field", found.group()))
    return found.end()


def _closing(path: str, start: int) -> int:
    quote = ""
    for position in range(start + 1, len(path)):
        letter = path[position]
        if quote:
            if letter == quote and path[position - 1] != "\\":
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == "]":
            return position
    raise PathSyntaxError(f"[ is not closed in {path}")


def _bracket(path: str, inner: str) -> Step:
    if inner == "*":
        return ("all", None)
    if re.fullmatch(r"-?\d+", inner):
        return ("index", int(inner))
    if len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "'\"" and inner[0] not in inner[1:-1]:
        return ("field", inner[1:-1])
    if found := _SLICE.match(inner):
        return ("slice", slice(*(int(part) if part else None for part in found.groups())))
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)+", inner):
        return ("indexes", tuple(int(part) for part in inner.split(",")))
    raise PathSyntaxError(f"[{inner}] in {path} is not supported by the local AWS")


def is_reference_path(path: str) -> bool:
    """Whether a path can name one node only, as ResultPath must."""
    try:
        return all(kind in {"field", "index"} for kind, _ in compile_path(path))
    except PathSyntaxError:
        return False


def read(path: str, data: Any, context: Mapping[str, Any]) -> Any:
    """The value at a path: in the context object for `$$…`, else in `data`. A path that can match several nodes
    gives a list. Raises PathError when a definite path names nothing."""
    if path == "$":
        return data
    value: Any = context if path.startswith("$$") else data
    steps = compile_path(path)
    for position, (kind, argument) in enumerate(steps):
        if (kind == "field" and isinstance(value, Mapping) and argument in value) or (
            kind == "index" and isinstance(value, list) and -len(value) <= argument < len(value)
        ):
            value = value[argument]
        elif kind in {"field", "index"}:
            raise PathError(path)
        else:
            nodes: Iterator[Any] = iter([value])
            for step in steps[position:]:
                nodes = _spread(nodes, step)
            return list(nodes)
    return value


def _spread(nodes: Iterator[Any], step: Step) -> Iterator[Any]:
    kind, argument = step
    for node in nodes:
        children = list(node.values()) if isinstance(node, Mapping) else node if isinstance(node, list) else []
        if kind == "descend":
            yield from _descendants(node)
        elif kind == "all":
            yield from children
        elif kind == "field":
            if isinstance(node, Mapping) and argument in node:
                yield node[argument]
        elif isinstance(node, list):
            if kind == "slice":
                yield from node[argument]
            else:
                wanted = argument if kind == "indexes" else (argument,)
                yield from (node[i] for i in wanted if -len(node) <= i < len(node))


def _descendants(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _descendants(child)


def write(path: str | None, original: Any, result: Any) -> Any:
    """ResultPath: `result` put into a copy of `original`; `$` replaces it, null discards the result.

    Raises States.ResultPathMatchFailure when the path runs through something that is no object.
    """
    if path is None:
        return original
    if path == "$":
        return result
    output = copy.copy(original) if isinstance(original, dict) else original
    here: Any = output
    steps = compile_path(path)
    for position, (kind, name) in enumerate(steps):
        if kind == "index" and isinstance(here, list) and -len(here) <= name < len(here):
            pass
        elif kind != "field" or not isinstance(here, dict):
            raise StateError(
                "States.ResultPathMatchFailure", f"Unable to apply ReferencePath {path} to input {dumps(original)}"
            )
        if position == len(steps) - 1:
            here[name] = result
            break
        # Only the containers on the way are copied: the rest of the input is shared, and never changed in place.
        following = here.get(name, {}) if isinstance(here, dict) else here[name]
        here[name] = copy.copy(following) if isinstance(following, (dict, list)) else following
        here = here[name]
    return output


@dataclass(frozen=True)
class Call:
    """An intrinsic function call; arguments are constants (`Constant`), paths (str) or calls."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Constant:
    value: Any


@functools.lru_cache(maxsize=4096)
def compile_intrinsic(text: str) -> Call:
    """Parse `States.Name(…)`. Raises PathSyntaxError."""
    call, end = _parse_call(text, 0)
    if text[end:].strip():
        raise PathSyntaxError(f"unexpected text after the call: {text}")
    return call


def _parse_call(text: str, position: int) -> tuple[Call, int]:
    found = re.compile(r"(States\.\w+)\s*\(").match(text, position)
    if not found:
        raise PathSyntaxError(f"an intrinsic function call is expected at {position} in {text}")
    name, position = found.group(1), found.end()
    if name not in _FUNCTIONS:
        raise PathSyntaxError(f"the intrinsic function {name} does not exist")
    arguments: list[Any] = []
    while True:
        position = _skip(text, position)
        if text.startswith(")", position):
            return Call(name, tuple(arguments)), position + 1
        if arguments:
            if not text.startswith(",", position):
                raise PathSyntaxError(f"a comma is expected at {position} in {text}")
            position = _skip(text, position + 1)
        argument, position = _parse_argument(text, position)
        arguments.append(argument)


def _parse_argument(text: str, position: int) -> tuple[Any, int]:
    if text.startswith("States.", position):
        return _parse_call(text, position)
    if text.startswith("$", position):
        return _parse_path(text, position)
    if text.startswith("'", position):
        value, end = "", position + 1
        while end < len(text) and text[end] != "'":
            if text[end] == "\\" and end + 1 < len(text):
                # Format needs its own escapes of braces, the others are resolved here.
                value += text[end : end + 2] if text[end + 1] in "{}\\" else text[end + 1]
                end += 2
            else:
                value += text[end]
                end += 1
        if end >= len(text):
            raise PathSyntaxError(f"' is not closed in {text}")
        return Constant(value), end + 1
    found = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|true|false|null").match(text, position)
    if not found:
        raise PathSyntaxError(f"an argument is expected at {position} in {text}")
    return Constant(json.loads(found.group())), found.end()


def _parse_path(text: str, position: int) -> tuple[str, int]:
    end, depth, quote = position, 0, ""
    while end < len(text):
        letter = text[end]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and depth:
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
        elif letter in ",)" and not depth:
            break
        end += 1
    path = text[position:end].strip()
    compile_path(path)
    return path, end


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def evaluate(expression: str, data: Any, context: Mapping[str, Any]) -> Any:
    """The value of a path or of an intrinsic function call. Raises PathError, StateError(States.IntrinsicFailure)."""
    if not expression.startswith("States."):
        return read(expression, data, context)
    return _call(compile_intrinsic(expression), data, context)


def _call(call: Call, data: Any, context: Mapping[str, Any]) -> Any:
    arguments = []
    for argument in call.arguments:
        if isinstance(argument, Constant):
            arguments.append(argument.value)
        elif isinstance(argument, Call):
            arguments.append(_call(argument, data, context))
        else:
            arguments.append(read(argument, data, context))
    try:
        return _FUNCTIONS[call.name](*arguments)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise StateError(
            "States.IntrinsicFailure", f"The function '{call.name}' had the following error: {error}"
        ) from error


def resolve(template: Any, data: Any, context: Mapping[str, Any], field: str = "") -> Any:
    """A payload template with every `name.$` replaced by the value of its path or intrinsic function."""
    if isinstance(template, dict):
        resolved = {}
        for key, value in template.items():
            if key.endswith(".$"):
                try:
                    resolved[key[:-2]] = evaluate(value, data, context)
                except PathError:
                    raise StateError(
                        "States.Runtime",
                        f"The JSONPath '{value}' specified for the field '{key}' could not be found in the input "
                        f"'{dumps(data)}'",
                    ) from None
            elif isinstance(value, (dict, list)):
                resolved[key] = resolve(value, data, context)
            else:
                resolved[key] = value
        return resolved
    if isinstance(template, list):
        return [resolve(each, data, context) for each in template]
    return template


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("the argument must be a string")
    if len(value) > _INTRINSIC_INPUT_LIMIT:
        raise ValueError(f"the argument is longer than {_INTRINSIC_INPUT_LIMIT} characters")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("the argument must be a number")
    # Rounded to the nearest integer, as the page on intrinsic functions says.
    return int(value) if isinstance(value, int) else round(value)


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("the argument must be an array")
    return value


def _format(template: str, *values: Any) -> str:
    parts: list[str] = []
    rest = list(values)
    position = 0
    while position < len(template):
        letter = template[position]
        if letter == "\\" and position + 1 < len(template):
            parts.append(template[position + 1])
            position += 2
        elif template.startswith("{}", position):
            if not rest:
                raise ValueError("there are more placeholders than arguments")
            value = rest.pop(0)
            parts.append(value if isinstance(value, str) else dumps(value))
            position += 2
        else:
            parts.append(letter)
            position += 1
    if rest:
        raise ValueError("there are more arguments than placeholders")
    return "".join(parts)


def _partition(values: Any, size: Any) -> list[list[Any]]:
    step = _integer(size)
    if step < 1:
        raise ValueError("the chunk size must be a positive integer")
    return [_array(values)[i : i + step] for i in range(0, len(values), step)]


def _range(first: Any, last: Any, step: Any) -> list[int]:
    low, high, by = _integer(first), _integer(last), _integer(step)
    values = list(range(low, high + (1 if by > 0 else -1), by))
    if len(values) > 1000:
        raise ValueError("the array has more than 1000 items")
    return values


def _unique(values: Any) -> list[Any]:
    seen: dict[str, Any] = {}
    for value in _array(values):
        seen.setdefault(dumps(value), value)
    return list(seen.values())


def _merge(first: Any, second: Any, deep: Any) -> dict[str, Any]:
    if deep is not False:
        raise ValueError("only the shallow merge (false) is supported")
    return {**dict(first), **dict(second)}


def _hash(value: Any, algorithm: Any) -> str:
    names = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
    text = value if isinstance(value, str) else dumps(value)
    return hashlib.new(names[algorithm], _text(text).encode()).hexdigest()


def _random(low: Any, high: Any, seed: Any = None) -> int:
    first, end = _integer(low), _integer(high)
    source = random.Random(seed) if seed is not None else random
    return source.randrange(first, end)


def _split(text: Any, delimiters: Any) -> list[str]:
    return [part for part in re.split("[" + re.escape(delimiters) + "]", _text(text)) if part]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "States.Array": lambda *values: list(values),
    "States.ArrayContains": lambda values, value: value in _array(values),
    "States.ArrayGetItem": lambda values, index: _array(values)[_integer(index)],
    "States.ArrayLength": lambda values: len(_array(values)),
    "States.ArrayPartition": _partition,
    "States.ArrayRange": _range,
    "States.ArrayUnique": _unique,
    "States.Base64Decode": lambda text: base64.b64decode(_text(text)).decode(),
    "States.Base64Encode": lambda text: base64.b64encode(_text(text).encode()).decode(),
    "States.Format": _format,
    "States.Hash": _hash,
    "States.JsonMerge": _merge,
    "States.JsonToString": dumps,
    "States.MathAdd": lambda first, second: _integer(first) + _integer(second),
    "States.MathRandom": _random,
    "States.StringSplit": _split,
    "States.StringToJson": json.loads,
    "States.UUID": lambda: str(uuid.uuid4()),
}
