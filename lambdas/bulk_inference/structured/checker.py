"""Whether a value fits a schema, and where it does not."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import fastjsonschema

from bulk_inference.structured.admission import problems, root_types
from bulk_inference.structured.compiling import CostlyError, compile_schema


class Broken(NamedTuple):
    """Where a value breaks its schema, and by which keyword."""

    path: str
    """`$`, `$.labels[2]`, `$.prices.*`: it holds no word but the schema's."""
    rule: str


class Checker:
    """A compiled schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """`schema` must have no `problems`; ValueError otherwise."""
        if found := problems(schema):
            raise ValueError(f"not a schema that can be checked: {found[0]}")
        self._check: Callable[[Any], Any] = compile_schema(schema)
        self._named = _names(schema)
        self.types = root_types(schema)
        """What a value may be at its root; None: anything."""

    def broken(self, value: Any) -> Broken | None:
        """The first rule that the value breaks; None if it fits."""
        try:
            self._check(value)
        except fastjsonschema.JsonSchemaValueException as error:
            return Broken(_path(error.path, value, self._named), error.rule or "schema")
        except CostlyError:
            return Broken("$", "cost")
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


def _names(schema: Any) -> frozenset[str]:
    """Names of members that the schema's author wrote: nothing else of a value may be told."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            if isinstance(named := node.get("properties"), Mapping):
                found |= named.keys()
            if isinstance(required := node.get("required"), list):
                found |= {name for name in required if isinstance(name, str)}
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return frozenset(found)


def _path(steps: list[Any], value: Any, known: frozenset[str]) -> str:
    """`steps`: fastjsonschema's, which begin with its name for the root, and part names at their dots. A member that
    the schema does not name is the model's word, and shown as `*`; so is what cannot be followed."""
    shown = "$"
    for step in map(str, steps[1:]):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            shown, value = f"{shown}[{step}]", value[int(step)]
        elif isinstance(value, Mapping) and step in value:
            shown, value = f"{shown}.{step if step in known else '*'}", value[step]
        else:
            return f"{shown}.*"
    return shown
