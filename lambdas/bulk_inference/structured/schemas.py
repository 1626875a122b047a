"""JSON Schemas of answers: what is wrong with one, what a model can be asked for natively, what a value breaks.

The dialect is draft-07 with `$defs`, as fastjsonschema implements it. fastjsonschema makes Python source of a schema
and asks its users not to give it schemas that nobody has looked at; it also ignores keywords that it does not know.
Hence `problems`, which admits only what is known, well-formed and told apart by fastjsonschema.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import fastjsonschema  # type: ignore[import-untyped]

MAX_BYTES: Final = 50_000
"""Of a schema's JSON: it travels in the request, in the plan and, where it is asked for, in every record's body."""

_MAX_DEPTH: Final = 30

TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

FORMATS: Final = (
    "date", "date-time", "email", "hostname", "idn-email", "ipv4", "ipv6", "json-pointer", "time", "uri",
    "uri-reference",
)  # fmt: skip

_ANNOTATIONS: Final = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)

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


class Broken(NamedTuple):
    """Where a value breaks its schema, and by which keyword."""

    path: str
    """`$`, `$.labels[2]`: keys in it may come from the value."""
    rule: str


class Checker:
    """A compiled schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """`schema` must have no `problems`; ValueError otherwise."""
        if found := problems(schema):
            raise ValueError(f"not a schema that can be checked: {found[0]}")
        self._check: Callable[[Any], Any] = _compile(schema)
        self.types = root_types(schema)
        """What a value may be at its root; None: anything."""

    def broken(self, value: Any) -> Broken | None:
        """The first rule that the value breaks; None if it fits."""
        try:
            self._check(value)
        except fastjsonschema.JsonSchemaValueException as error:
            return Broken(_path(error.path), error.rule or "schema")
        except RecursionError:
            return Broken("$", "depth")
        except (ArithmeticError, TypeError):
            # uniqueItems and multipleOf meet values that Python cannot hash or divide.
            return Broken("$", "value")
        return None


@lru_cache(maxsize=32)
def _compiled(schema: str) -> Checker:
    return Checker(json.loads(schema))


def checker(schema: Mapping[str, Any]) -> Checker:
    """The schema's checker, compiled once a process. Raises ValueError."""
    return _compiled(json.dumps(schema, sort_keys=True))


def problems(schema: Any) -> list[str]:
    """What keeps a schema from being checked, each as `path: rule`; the path is relative to the schema."""
    if not isinstance(schema, Mapping):
        return [": must be an object, a JSON Schema"]
    text = json.dumps(schema)
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
        _compile(schema)
    except (fastjsonschema.JsonSchemaDefinitionException, re.error, SyntaxError, RecursionError, ValueError) as error:
        # The keywords themselves are sound by now: they contradict each other.
        return [f": cannot be compiled: {error}"]
    return []


def _compile(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Defaults are for readers of a schema: they must not be written into what the model said."""
    check: Callable[[Any], Any] = fastjsonschema.compile(_compilable(schema), use_default=False)
    return check


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
        elif keyword not in _ANNOTATIONS:
            made[keyword] = _compilable(value, named=keyword in _NAMED)
    return made


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    kinds = ((str, "string"), ((int, float), "number"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def root_types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """Types that the schema allows at its root, as far as it says so plainly."""
    seen: set[str] = set()
    while isinstance(ref := schema.get("$ref"), str) and ref not in seen:
        seen.add(ref)
        target = _resolve(ref, schema) if len(seen) == 1 else None
        if not isinstance(target, Mapping):
            return None
        schema = target
    given = schema.get("type")
    if given is None:
        return None
    return frozenset([given] if isinstance(given, str) else given)


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
        elif keyword in _ANNOTATIONS:
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
        beside = sorted(schema.keys() - _ANNOTATIONS - {"$ref", "$defs", "definitions"})
        if beside:
            yield f"{path}.$ref: must stand alone, not beside {', '.join(beside)}: put it into an allOf"
        elif _reference(schema["$ref"]) is None and not isinstance(_resolve(schema["$ref"], root), (Mapping, bool)):
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


_NAMED: Final = frozenset({"$defs", "definitions", "dependencies", "patternProperties", "properties"})
"""Keywords whose members are named by the schema's author."""

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
        re.compile(value)
    except re.error as error:
        return f"is no regular expression: {error}"
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
    targets = set(_references(schema))
    folded: dict[str, str] = {}
    found = []
    for ref in sorted(targets):
        name = re.sub(r"[^a-z0-9]", "_", ref.lower()).rstrip("_")
        if name in folded:
            found.append(f".$ref: {folded[name]!r} and {ref!r} differ too little to be told apart: rename one")
        folded[name] = ref
    return found


def _references(schema: Any) -> Iterator[str]:
    """Every `$ref` below a schema that has passed `_problems`."""
    if isinstance(schema, list):
        for one in schema:
            yield from _references(one)
    elif isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for keyword, value in schema.items():
            if keyword in _NAMED and isinstance(value, Mapping):
                yield from (ref for one in value.values() for ref in _references(one))
            elif keyword in _SUBSCHEMAS:
                yield from _references(value)


def _resolve(ref: str, root: Any) -> Any:
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


def _path(steps: list[Any]) -> str:
    """fastjsonschema's path begins with its name for the root."""
    shown = "$"
    for step in steps[1:]:
        shown += f"[{step}]" if str(step).isdigit() else f".{step}"
    return shown


# What a model can be asked for natively.

_NATIVE_FORMATS: Final = frozenset({"date", "date-time", "email", "hostname", "ipv4", "ipv6", "time", "uri"})

_NATIVE_KEPT: Final = frozenset({"type", "enum", "const", "required", "description", "title", "$ref"})


class _NotNativeError(Exception):
    """The schema says what no reduced schema can."""


def native(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema in the subset that Bedrock's structured output takes; None if it cannot be put so.

    https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html: no recursion, no bounds of numbers,
    lengths and lists, and every object closed. What only narrows is left out, since answers are checked against the
    whole schema afterwards; an object that is open by its silence is closed, which narrows, too.
    """
    if root_types(schema) != frozenset({"object"}) or _recursive(schema):
        return None
    try:
        return _native(schema)
    except _NotNativeError:
        return None


def _native(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotNativeError
    types = schema.get("type")
    if isinstance(types, list) and len(types) > 1:
        # Only one type a schema is documented.
        rest = {key: value for key, value in schema.items() if key not in ("type", "description", "title")}
        if rest.keys() - {"enum"}:
            rest.pop("enum", None)
        branches = [_native({**(rest if one in ("object", "array", "string") else {}), "type": one}) for one in types]
        return {**{key: schema[key] for key in ("description", "title") if key in schema}, "anyOf": branches}
    made: dict[str, Any] = {key: schema[key] for key in schema if key in _NATIVE_KEPT}
    if any(isinstance(one, (dict, list)) for one in made.get("enum", [])):
        raise _NotNativeError
    if schema.get("format") in _NATIVE_FORMATS:
        made["format"] = schema["format"]
    if schema.get("minItems") in (0, 1):
        made["minItems"] = schema["minItems"]
    for keyword, ours in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if keyword in schema:
            made.setdefault(ours, []).extend(_native(one) for one in schema[keyword])
    for keyword in ("$defs", "definitions"):
        if keyword in schema:
            made[keyword] = {name: _native(one) for name, one in schema[keyword].items()}
    if isinstance(schema.get("items"), list):
        raise _NotNativeError
    if "items" in schema:
        made["items"] = _native(schema["items"])
    if "properties" in schema:
        made["properties"] = {name: _native(one) for name, one in schema["properties"].items()}
    if types == "object" or types == ["object"] or "properties" in schema:
        if schema.get("additionalProperties", False) is not False or "properties" not in schema:
            raise _NotNativeError
        made["additionalProperties"] = False
    return made


def _recursive(schema: Mapping[str, Any]) -> bool:
    def leads_back(node: Any, above: frozenset[str]) -> bool:
        return any(ref in above or leads_back(_resolve(ref, schema), above | {ref}) for ref in set(_references(node)))

    return leads_back({key: one for key, one in schema.items() if key not in ("$defs", "definitions")}, frozenset("#"))
