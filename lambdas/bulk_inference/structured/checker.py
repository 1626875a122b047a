"""Whether a value fits a schema, and where it does not."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import fastjsonschema

from bulk_inference.structured.admission import problems, root_types
from bulk_inference.structured.compiling import compile_schema


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
        self._check: Callable[[Any], Any] = compile_schema(schema)
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


def _path(steps: list[Any]) -> str:
    """fastjsonschema's path begins with its name for the root."""
    shown = "$"
    for step in steps[1:]:
        shown += f"[{step}]" if str(step).isdigit() else f".{step}"
    return shown
