"""JSON from outside: read strictly, and never deeper than MAX_DEPTH.

RFC 8259 leaves open what a key twice in one object, NaN and half a surrogate pair mean: readers downstream would not
agree, so that they are refused. Depth is bounded because every function that walks a value recurses with it: Python's
parser takes documents of some thousand levels that Python's own encoder, and code like ours, then dies of.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Objects and arrays inside each other. Request bodies have some ten levels, tool schemas some thirty."""

_READ_IN_VAIN: Final = 5_000
"""Characters that a refusal without a place is taken to have cost."""

NOT_JSON: Final = "not_json"
DUPLICATE_KEY: Final = "duplicate_key"
TOO_DEEP: Final = "too_deep"


class JsonError(ValueError):
    """A text that is not read: `kind` is one of the names above. The message quotes nothing of the text."""

    def __init__(self, kind: str, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.position = position
        """Up to which character the text was read, at least."""


def decode(text: str, start: int = 0) -> tuple[Any, int]:
    """The strict value that begins at `start`, and where it ends. Raises JsonError."""
    try:
        value, end = _STRICT(text, start)
    except json.JSONDecodeError as error:
        raise JsonError(NOT_JSON, f"no JSON: {error.msg} at character {error.pos + 1}", error.pos) from None
    except RecursionError:
        raise _too_deep(min(len(text), start + _READ_IN_VAIN)) from None
    except JsonError as error:
        # What the hooks refuse was read to some end: where, they do not know.
        error.position = max(error.position, min(len(text), start + _READ_IN_VAIN))
        raise
    except ValueError:
        # Python refuses to turn thousands of digits into an integer.
        raise JsonError(NOT_JSON, "no JSON that can be read: a number has too many digits") from None
    if is_too_deep(value, text):
        raise _too_deep(end)
    return value, end


def loads(text: str | bytes) -> Any:
    """A whole text of which duplicate keys are tolerated, as other writers' documents may have them: the last one
    counts. Raises JsonError: not_json (NaN and infinities among it), too_deep."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    except JsonError:
        raise
    except ValueError:
        raise JsonError(NOT_JSON, "is not JSON") from None
    if is_too_deep(value, text):
        raise _too_deep()
    return value


def is_too_deep(value: Any, text: str | bytes = "") -> bool:
    """Whether a value has more than MAX_DEPTH levels. `text`: what it was read from, which mostly settles it."""
    if text:
        opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
        if opened <= MAX_DEPTH:
            return False
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return False
    return True


def _inner(value: Any) -> list[Any]:
    """What a container holds; empty for a leaf and for an empty container."""
    if isinstance(value, Mapping):
        return list(value.values()) or [None]
    return (value or [None]) if isinstance(value, list) else []


def _too_deep(position: int = 0) -> JsonError:
    return JsonError(TOO_DEEP, f"nested more than {MAX_DEPTH} deep", position)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise JsonError(DUPLICATE_KEY, "an object holds the same key twice: which one counts is not defined")
    return fields


def _no_constant(name: str) -> Any:
    raise JsonError(NOT_JSON, f"no JSON: {name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise JsonError(NOT_JSON, "a number is too large for a 64-bit float")
    return number


_STRICT: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
).raw_decode
