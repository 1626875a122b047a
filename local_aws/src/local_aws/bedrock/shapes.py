"""Checks a request against its botocore shape, with the wording AWS services use for constraint violations.

botocore itself enforces required, type, length and range, never a pattern or an enum; AWS enforces all of them. The
shapes are read from botocore's own service models, so a limit here is AWS's, not ours.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from local_aws.bedrock.wire import AwsError

# Patterns of AWS that backtrack without end on some inputs, by equivalents that do not: inside `(-*[…-…])` a hyphen
# can be read in two ways, so 2^n ways for n hyphens. Both describe the same texts up to the length limits of the shape.
_EQUIVALENT = {
    r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}": r"[a-zA-Z0-9][a-zA-Z0-9+.\-]*",
    r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}": r"[a-zA-Z0-9](-*[a-zA-Z0-9])*",
}


def check(service: str, operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationException listing every constraint that the request violates, else return."""
    problems = list(_problems(_input_shape(service, operation), request, ""))
    if problems:
        errors = "error" if len(problems) == 1 else "errors"
        raise AwsError("ValidationException", f"{len(problems)} validation {errors} detected: {'; '.join(problems)}")


@functools.cache
def _input_shape(service: str, operation: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


def _problems(shape: Any, value: object, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure_problems(shape, value, path)
    elif kind == "list":
        yield from _list_problems(shape, value, path)
    elif kind == "string":
        yield from _string_problems(shape, value, path)
    elif kind in {"integer", "long", "float", "double"}:
        yield from _number_problems(shape, value, path)


def _structure_problems(shape: Any, value: object, path: str) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, dict):
        yield _violation(value, path, "Member must be a structure")
        return
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(None, _join(path, name), "Member must not be null")
    if getattr(shape, "is_tagged_union", False):
        # Members that the union does not know count too: {"type": "text", "text": …} is not a content block.
        named = [name for name, each in value.items() if each is not None]
        if len(named) != 1 or named[0] not in shape.members:
            yield _violation(sorted(value), path, "Member must have exactly one member of the union set")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _problems(member, value[name], _join(path, name))


def _list_problems(shape: Any, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield _violation(value, path, "Member must be a list")
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and len(value) < low:
        yield _violation(value, path, f"Member must have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield _violation(value, path, f"Member must have length less than or equal to {high}")
    for number, each in enumerate(value, start=1):
        yield from _problems(shape.member, each, f"{path}.{number}.member")


def _string_problems(shape: Any, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _violation(value, path, "Member must be a string")
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.enum and value not in shape.enum:
        yield _violation(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    too_long = high is not None and len(value) > high
    if too_long:
        yield _violation(value, path, f"Member must have length less than or equal to {high}")
    if low is not None and len(value) < low:
        yield _violation(value, path, f"Member must have length greater than or equal to {low}")
    pattern = shape.metadata.get("pattern")
    # A value beyond its length is not matched as well: some patterns take too long on it.
    if pattern and not too_long and not re.fullmatch(_EQUIVALENT.get(pattern, pattern), value):
        yield _violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _number_problems(shape: Any, value: object, path: str) -> Iterator[str]:
    whole = shape.type_name in {"integer", "long"}
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        yield _violation(value, path, f"Member must be {'an integer' if whole else 'a number'}")
        return
    assert isinstance(value, (int, float))
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _violation(value, path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _violation(value, path, f"Member must have value less than or equal to {high}")


def _violation(value: object, path: str, rule: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
