"""Choice rules: which of them holds for an input.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/state-choice.html.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from . import paths
from .errors import PathError, StateError

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}

COMPARISONS = frozenset(
    [f"{kind}{order}{path}" for kind in ("String", "Numeric", "Timestamp") for order in _ORDER for path in ("", "Path")]
    + ["BooleanEquals", "BooleanEqualsPath", "StringMatches"]
    + ["IsBoolean", "IsNull", "IsNumeric", "IsPresent", "IsString", "IsTimestamp"]
)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def timestamp(value: Any) -> dt.datetime | None:
    """A value as a moment when it is text in the RFC 3339 profile of ISO 8601, else None."""
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def holds(rule: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> bool:
    """Whether a Choice rule matches. Raises StateError(States.Runtime) when its Variable names nothing."""
    if "And" in rule:
        return all(holds(each, data, context) for each in rule["And"])
    if "Or" in rule:
        return any(holds(each, data, context) for each in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], data, context)
    comparison = next(key for key in rule if key in COMPARISONS)
    expected = rule[comparison]
    try:
        value = paths.read(rule["Variable"], data, context)
    except PathError:
        if comparison == "IsPresent":
            return not expected
        raise _invalid(rule["Variable"]) from None
    if comparison.startswith("Is"):
        return _is(comparison, value) is bool(expected)
    if comparison.endswith("Path"):
        comparison = comparison.removesuffix("Path")
        try:
            expected = paths.read(expected, data, context)
        except PathError:
            raise _invalid(expected) from None
    return _compare(comparison, value, expected)


def _invalid(path: str) -> StateError:
    return StateError(
        "States.Runtime", f"Invalid path '{path}': The choice state's condition path references an invalid value."
    )


def _is(comparison: str, value: Any) -> bool:
    return {
        "IsBoolean": isinstance(value, bool),
        "IsNull": value is None,
        "IsNumeric": is_number(value),
        "IsPresent": True,
        "IsString": isinstance(value, str),
        "IsTimestamp": timestamp(value) is not None,
    }[comparison]


def _compare(comparison: str, value: Any, expected: Any) -> bool:
    """Values of another type than the comparison's never match."""
    if comparison == "StringMatches":
        return isinstance(value, str) and bool(re.fullmatch(_wildcards(expected), value, re.DOTALL))
    if comparison == "BooleanEquals":
        return isinstance(value, bool) and value is expected
    if comparison.startswith("String"):
        fits = isinstance(value, str) and isinstance(expected, str)
        return fits and _ORDER[comparison.removeprefix("String")](value, expected)
    if comparison.startswith("Numeric"):
        fits = is_number(value) and is_number(expected)
        return fits and _ORDER[comparison.removeprefix("Numeric")](value, expected)
    first, second = timestamp(value), timestamp(expected)
    return first is not None and second is not None and _ORDER[comparison.removeprefix("Timestamp")](first, second)


def _wildcards(pattern: str) -> str:
    # A backslash takes the next * or \ literally, any other * stands for any text.
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", pattern, re.DOTALL)
    return "".join(".*" if part == "*" else re.escape(re.sub(r"\\([*\\])", r"\1", part)) for part in parts)
