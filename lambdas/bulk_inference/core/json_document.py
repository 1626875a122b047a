"""Dataclasses that read and write themselves as JSON objects.

Field names are snake_case here and camelCase in JSON. Reading tolerates keys that it does not know, so that a function
of an older bundle can still read a document of a newer one."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

Json: TypeAlias = Any
"""A value as `json.loads` gives it."""


class Document:
    """A dataclass that reads and writes itself as a JSON object."""

    def to_json(self) -> dict[str, Json]:
        return _to_json(self)  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Raises ValueError that names the path of a value that is missing or of another type."""
        return _from_json(cls, value, "")  # type: ignore[no-any-return]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _to_json(value: Any) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(f.name): _to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def _from_json(kind: Any, value: Json, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (option for option in get_args(kind) if option is not type(None))
        return _from_json(inner, value, path)
    if origin is dict:
        item = get_args(kind)[1]
        return {key: _from_json(item, entry, f"{path}.{key}") for key, entry in _expect(value, dict, path).items()}
    if origin is list:
        item = get_args(kind)[0]
        return [_from_json(item, entry, f"{path}[{n}]") for n, entry in enumerate(_expect(value, list, path))]
    if is_dataclass(kind):
        return _dataclass_from_json(kind, _expect(value, dict, path), path)
    if kind is Any:
        return value
    if kind is float:
        return _expect(value, (int, float), path)
    if kind is int and isinstance(value, float) and value.is_integer():
        # Terraform's jsonencode and Step Functions may both turn 24 into 24.0.
        return int(value)
    return _expect(value, kind, path)


def _dataclass_from_json(kind: Any, value: Mapping[str, Json], path: str) -> Any:
    known: dict[str, Any] = {}
    for field_name, name, hint, optional, required in _members(kind):
        # A null where null is no value of the field means: not given.
        if value.get(name) is not None or (optional and name in value):
            known[field_name] = _from_json(hint, value[name], f"{path}.{name}")
        elif required:
            raise ValueError(f"{path}.{name}".lstrip(".") + ": missing")
    return kind(**known)


@cache
def _members(kind: Any) -> list[tuple[str, str, Any, bool, bool]]:
    """Field, name in JSON, type, whether it may be null, whether it must be there. Looked up once, as the account of a
    large run reads a hundred thousand units."""
    hints = get_type_hints(kind)
    members = []
    for f in fields(kind):
        optional = type(None) in get_args(hints[f.name])
        required = not optional and f.default is MISSING and f.default_factory is MISSING
        members.append((f.name, _camel(f.name), hints[f.name], optional, required))
    return members


def _expect(value: Json, kind: Any, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = getattr(kind, "__name__", "number")
        raise ValueError(f"{path.lstrip('.') or 'document'}: expected {wanted}, found {type(value).__name__}")
    return value
