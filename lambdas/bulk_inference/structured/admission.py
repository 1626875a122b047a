"""JSON Schemas that a run may declare: what is wrong with one.

The dialect is draft-07 with `$defs`, as fastjsonschema implements it. fastjsonschema makes Python source of a schema
and asks its users not to give it schemas that nobody has looked at; it also ignores keywords that it does not know.
Hence `problems`, which admits only what is known, well-formed and told apart by fastjsonschema.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import fastjsonschema

from bulk_inference.core.json_text import MAX_DEPTH, is_too_deep
from bulk_inference.core.linear_patterns import PatternError, linear
from bulk_inference.structured.compiling import ANNOTATIONS, NAMED, compile_schema

MAX_BYTES: Final = 50_000
"""Of a schema's JSON: it travels in the request, in the plan and, where it is asked for, in every record's body."""

_MAX_DEPTH: Final = 30

TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

FORMATS: Final = (
    "date", "date-time", "email", "hostname", "idn-email", "ipv4", "ipv6", "json-pointer", "time", "uri",
    "uri-reference",
)  # fmt: skip


_UNSUPPORTED: Final = frozenset(
    {
        "$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$vocabulary",
        "contentEncoding", "contentMediaType", "contentSchema", "dependentRequired", "dependentSchemas", "id",
        "maxContains", "minContains", "prefixItems", "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
"""Keywords of JSON Schema that would not be checked, or not as written."""

_REF: Final = re.compile(r"#(/[A-Za-z0-9_.$~-]+)*")
_DEFINITION: Final = re.compile(r"[A-Za-z0-9_.-]+")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\\\"{}]")
"""What a name must not hold: fastjsonschema puts names into the source that it makes, and escapes but some of it."""


def problems(schema: Any) -> list[str]:
    """What keeps a schema from being checked, each as `path: rule`; the path is relative to the schema."""
    if not isinstance(schema, Mapping):
        return [": must be an object, a JSON Schema"]
    if is_too_deep(schema):
        return [f": nested more than {MAX_DEPTH} deep"]
    try:
        text = json.dumps(schema, allow_nan=False)
    except ValueError:
        return [": holds NaN or an infinity, which are no JSON"]
    if len(text) > MAX_BYTES:
        return [f": has {len(text)} characters of JSON, more than the {MAX_BYTES} allowed"]
    try:
        nul = b"\\u0000" in json.dumps(schema, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return [": holds half a surrogate pair"]
    if nul:
        return [": holds a NUL character"]
    found = list(_problems(schema, "", schema, 0)) + _reference_problems(schema)
    if found:
        return found
    try:
        compile_schema(schema)
    except (fastjsonschema.JsonSchemaDefinitionException, re.error, SyntaxError, RecursionError, ValueError) as error:
        # The keywords themselves are sound by now: they contradict each other.
        return [f": cannot be compiled: {error}"]
    return []


# Which schemas are admitted.


def _problems(schema: Any, path: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{path}: must be an object or a boolean"
        return
    if depth > _MAX_DEPTH:
        yield f"{path}: nested more than {_MAX_DEPTH} deep"
        return
    for keyword, value in schema.items():
        where = f"{path}.{keyword}"
        if keyword in _UNSUPPORTED:
            yield f"{where}: this keyword of JSON Schema is not supported here"
        elif keyword in ANNOTATIONS:
            continue
        elif keyword in _VALUES:
            rule = _VALUES[keyword](value)
            if rule is not None:
                yield f"{where}: {rule}"
        elif keyword in _SUBSCHEMAS:
            yield from _SUBSCHEMAS[keyword](value, where, root, depth + 1)
        else:
            yield f"{where}: unknown keyword"
    if "$ref" in schema:
        beside = sorted(schema.keys() - ANNOTATIONS - {"$ref", "$defs", "definitions"})
        if beside:
            yield f"{path}.$ref: must stand alone, not beside {', '.join(beside)}: put it into an allOf"
        elif _reference(schema["$ref"]) is None and not isinstance(resolve(schema["$ref"], root), (Mapping, bool)):
            yield f"{path}.$ref: {schema['$ref']!r} leads nowhere"


def _one(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    yield from _problems(value, where, root, depth)


def _list(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"{where}: must be a list of schemas, not an empty one"
        return
    for number, item in enumerate(value):
        yield from _problems(item, f"{where}[{number}]", root, depth)


def _one_or_list(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    yield from (_list if isinstance(value, list) else _one)(value, where, root, depth)


def _definitions(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    yield from _named(value, where, root, depth)
    for name in value if isinstance(value, Mapping) else ():
        if not _DEFINITION.fullmatch(name):
            yield f"{where}: the name {name!r} must consist of letters, digits, `_`, `.` and `-`"


def _unsafe(name: str) -> str | None:
    if _UNSAFE.search(name):
        return f"the name {name!r} holds a brace, a quote, a backslash or a control character, which is not supported"
    return None


def _named(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: must be an object of schemas"
        return
    for name, item in value.items():
        if (rule := _unsafe(name)) is not None:
            yield f"{where}: {rule}"
        yield from _problems(item, f"{where}.{name}", root, depth)


def _patterned(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: must be an object of schemas"
        return
    for pattern, item in value.items():
        if (rule := _regex(pattern)) is not None:
            yield f"{where}.{pattern}: {rule}"
        yield from _problems(item, f"{where}.{pattern}", root, depth)


def _dependencies(value: Any, where: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: must be an object"
        return
    for name, item in value.items():
        for one in (name, *(item if isinstance(item, list) else ())):
            if isinstance(one, str) and (rule := _unsafe(one)) is not None:
                yield f"{where}: {rule}"
        if isinstance(item, list):
            if (rule := _names(item)) is not None:
                yield f"{where}.{name}: {rule}"
        else:
            yield from _problems(item, f"{where}.{name}", root, depth)


_SUBSCHEMAS: Final[Mapping[str, Callable[[Any, str, Mapping[str, Any], int], Iterator[str]]]] = {
    "additionalItems": _one,
    "additionalProperties": _one,
    "allOf": _list,
    "anyOf": _list,
    "contains": _one,
    "definitions": _definitions,
    "$defs": _definitions,
    "dependencies": _dependencies,
    "else": _one,
    "if": _one,
    "items": _one_or_list,
    "not": _one,
    "oneOf": _list,
    "patternProperties": _patterned,
    "properties": _named,
    "propertyNames": _one,
    "then": _one,
}


def _type(value: Any) -> str | None:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or any(one not in TYPES for one in given):
        return f"must be one of {', '.join(TYPES)}, or a list of them"
    return None


def _choices(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "must be a list that is not empty"


def _anything(value: Any) -> str | None:
    return None


def _count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if whole else "must be a whole number of 0 or more"


def _number(value: Any) -> str | None:
    return None if isinstance(value, (int, float)) and not isinstance(value, bool) else "must be a number"


def _positive(value: Any) -> str | None:
    return None if _number(value) is None and value > 0 else "must be a number greater than 0"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _regex(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a regular expression"
    try:
        linear(value)
    except PatternError as error:
        return str(error)
    return None


def _format(value: Any) -> str | None:
    return None if value in FORMATS else f"must be one of {', '.join(FORMATS)}"


def _names(value: Any) -> str | None:
    texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return None if texts and len(set(value)) == len(value) else "must be a list of different names"


def _reference(value: Any) -> str | None:
    local = isinstance(value, str) and _REF.fullmatch(value)
    return None if local else "must point into the schema itself, for example #/$defs/address"


_VALUES: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "$ref": _reference,
    "const": _anything,
    "enum": _choices,
    "exclusiveMaximum": _number,
    "exclusiveMinimum": _number,
    "format": _format,
    "maxItems": _count,
    "maxLength": _count,
    "maxProperties": _count,
    "maximum": _number,
    "minItems": _count,
    "minLength": _count,
    "minProperties": _count,
    "minimum": _number,
    "multipleOf": _positive,
    "pattern": _regex,
    "required": _names,
    "type": _type,
    "uniqueItems": _flag,
}


def _reference_problems(schema: Mapping[str, Any]) -> list[str]:
    """fastjsonschema names a function after each target, folding case and signs: two targets must not share one."""
    targets = set(references(schema))
    folded: dict[str, str] = {}
    found = []
    for ref in sorted(targets):
        name = re.sub(r"[^a-z0-9]", "_", ref.lower()).rstrip("_")
        if name in folded:
            found.append(f".$ref: {folded[name]!r} and {ref!r} differ too little to be told apart: rename one")
        folded[name] = ref
    return found


# What a model can be asked for natively.


def references(schema: Any) -> Iterator[str]:
    """Every `$ref` below a schema that has passed `_problems`."""
    if isinstance(schema, list):
        for one in schema:
            yield from references(one)
    elif isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for keyword, value in schema.items():
            if keyword in NAMED and isinstance(value, Mapping):
                yield from (ref for one in value.values() for ref in references(one))
            elif keyword in _SUBSCHEMAS:
                yield from references(value)


def resolve(ref: str, root: Any) -> Any:
    value = root
    for step in ref.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def root_types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """Types that the schema allows at its root, as far as it says so plainly."""
    seen: set[str] = set()
    while isinstance(ref := schema.get("$ref"), str) and ref not in seen:
        seen.add(ref)
        target = resolve(ref, schema) if len(seen) == 1 else None
        if not isinstance(target, Mapping):
            return None
        schema = target
    given = schema.get("type")
    if given is None:
        return None
    return frozenset([given] if isinstance(given, str) else given)
