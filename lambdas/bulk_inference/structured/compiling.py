"""A schema as fastjsonschema can compile it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import fastjsonschema


def compile_schema(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
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
