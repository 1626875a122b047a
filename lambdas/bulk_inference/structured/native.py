"""What of a schema a model can be asked for natively (Converse's outputConfig, Claude's output_config.format)."""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.structured.admission import references, resolve, root_types
from bulk_inference.structured.compiling import ANNOTATIONS

_NATIVE_FORMATS: Final = frozenset({"date", "date-time", "email", "hostname", "ipv4", "ipv6", "time", "uri"})


_NATIVE_KEPT: Final = frozenset({"type", "enum", "const", "required", "description", "title", "$ref"})


MAX_OPTIONAL: Final = 24
"""Properties that are not required, and"""
MAX_UNIONS: Final = 16
"""choices between types, in one schema: more are refused
(https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs)."""

_MERGED: Final = frozenset({"type", "properties", "required", "additionalProperties"})
"""Keywords by which the parts of an allOf can be told as one schema."""


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
        made = _native(_without_all_of(schema, schema))
    except _NotNativeError:
        return None
    optional, unions = _choices(made)
    return made if optional <= MAX_OPTIONAL and unions <= MAX_UNIONS else None


def _without_all_of(schema: Any, root: Mapping[str, Any]) -> Any:
    """An allOf that holds references, which is not taken, as the one object that it means."""
    if isinstance(schema, list):
        return [_without_all_of(one, root) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {
        key: value if key in _LITERAL else _without_all_of(value, root)
        for key, value in schema.items()
        if key != "allOf"
    }
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return made
    if not any(isinstance(one, Mapping) and "$ref" in one for one in parts):
        return {**made, "allOf": [_without_all_of(one, root) for one in parts]}
    resolved = [resolve(one["$ref"], root) if isinstance(one, Mapping) and "$ref" in one else one for one in parts]
    return _joined([made, *(_without_all_of(one, root) for one in resolved)])


_LITERAL: Final = frozenset({"enum", "const", "default", "examples", "required"})


def _joined(parts: list[Any]) -> dict[str, Any]:
    """Raises _NotNativeError for parts that say more than which properties there are."""
    first = parts[0]
    joined: dict[str, Any] = {key: value for key, value in first.items() if key not in _MERGED}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for number, one in enumerate(parts):
        beside = one.keys() - _MERGED - ANNOTATIONS - {"$defs", "definitions"} if isinstance(one, Mapping) else {"?"}
        # Closed parts that are joined contradict each other, unless each knows all properties.
        if (number and beside) or not isinstance(one, Mapping) or one.get("type", "object") != "object":
            raise _NotNativeError
        if one.get("additionalProperties", False) not in (False, True):
            raise _NotNativeError
        for name, value in one.get("properties", {}).items():
            if properties.setdefault(name, value) != value:
                raise _NotNativeError
        required += [name for name in one.get("required", []) if name not in required]
    return {**joined, "type": "object", "properties": properties, "required": required}


def _choices(schema: Any) -> tuple[int, int]:
    """How many properties are optional, and how many unions there are, in a schema as it would be asked for."""
    if isinstance(schema, list):
        found = [_choices(one) for one in schema]
        return sum(one for one, _ in found), sum(two for _, two in found)
    if not isinstance(schema, Mapping):
        return 0, 0
    optional, unions = _choices([value for key, value in schema.items() if key not in _LITERAL])
    if isinstance(properties := schema.get("properties"), Mapping):
        optional += len(properties.keys() - set(schema.get("required", [])))
    return optional, unions + ("anyOf" in schema)


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
    """Whether a reference leads back to itself, or to the root. Each target is looked into once, however many lead
    there."""
    begun, ended = {"#"}, set[str]()

    def leads_back(node: Any) -> bool:
        for ref in set(references(node)) - ended:
            if ref in begun:
                return True
            begun.add(ref)
            if leads_back(resolve(ref, schema)):
                return True
            ended.add(ref)
        return False

    try:
        return leads_back({key: one for key, one in schema.items() if key not in ("$defs", "definitions")})
    except RecursionError:
        # References that lead from one to the next by the thousand: as good as endless.
        return True
