"""What a model's answer says where the run declares a schema: the value in it, or why it is none.

Models put JSON into code fences and between sentences. It is taken from there if there is no doubt: exactly one JSON
value of a type that the schema allows. A value is never completed, mended or chosen among several.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.answer_text import GUARDRAIL, MAX_TOKENS, REFUSAL, ended, stop_reason, text_of
from bulk_inference.core.answer_text import NO_TEXT as ENDED_WITHOUT_TEXT
from bulk_inference.core.json_text import JsonError, decode
from bulk_inference.structured.checker import Checker

NO_TEXT: Final = "NoText"
NOT_JSON: Final = "NotJson"
AMBIGUOUS: Final = "AmbiguousJson"
MISMATCH: Final = "SchemaMismatch"
TRUNCATED: Final = "Truncated"
STOPPED: Final = "Stopped"
"""errorCode of a failure of class `schema`."""

_WHITE: Final = " \t\r\n"
_FENCE: Final = "```"
_BEGINS_JSON: Final = re.compile(r"\{[ \t\r\n]*(?:[\"}]|\Z)|\[[ \t\r\n]*(?:[\"{\[]|\Z)")
"""A bracket that can hardly be prose."""


@dataclass(frozen=True)
class Judgement:
    """`value`, or `code` and `message` of the failure. The message names path and rule, and quotes no answer."""

    value: Any = None
    code: str | None = None
    message: str = ""


def judge(output: Any, checker: Checker) -> Judgement:
    """The value of a model's answer (its response body)."""
    text = text_of(output)
    verdict = _judge(text, checker)
    if verdict.code is None:
        return verdict
    return cut_off(output) or _stopped(output) or verdict


def cut_off(output: Any) -> Judgement | None:
    """The failure of an answer that ended at its token limit; None for every other."""
    if ended(output) != MAX_TOKENS:
        return None
    reason = stop_reason(output)
    return Judgement(
        code=TRUNCATED, message=f"the answer ended at its token limit ({reason}): raise prompt.inference.maxTokens"
    )


def _stopped(output: Any) -> Judgement | None:
    end = ended(output)
    if end in (None, ENDED_WITHOUT_TEXT):
        return None
    # A reason that nobody here knows is a word of the model's.
    words = (stop_reason(output)[:40] or end) if end in (REFUSAL, GUARDRAIL) else "unknown"
    return Judgement(code=STOPPED, message=f"the answer was ended: stop reason {words}")


def only_value(text: str | None) -> Any:
    """The JSON value of an answer for which no schema was declared. Raises ValueError if it holds none, or several."""
    found = _values(text or "", None)
    if found is None or len(found) != 1:
        raise ValueError("not one JSON value")
    return found[0]


def _judge(text: str | None, checker: Checker) -> Judgement:
    if text is None or not text.strip(_WHITE):
        return Judgement(code=NO_TEXT, message="the answer holds no text")
    found = _values(text, checker.types)
    if found is None:
        return Judgement(code=NOT_JSON, message="the answer holds JSON that is broken off or malformed")
    if not found:
        return Judgement(code=NOT_JSON, message=f"the answer holds no JSON {_shown(checker.types)}")
    if len(found) > 1:
        return Judgement(code=AMBIGUOUS, message=f"the answer holds {len(found)} JSON values: which one counts is open")
    broken = checker.broken(found[0])
    if broken is not None:
        return Judgement(code=MISMATCH, message=f"{broken.path}: breaks the schema's rule {broken.rule}")
    return Judgement(found[0])


def _values(text: str, types: frozenset[str] | None) -> list[Any] | None:
    """Every candidate; None if one seems to be there that is malformed."""
    whole = _whole(text)
    if whole is not _NOTHING:
        return [whole]
    inside, outside = _fenced(text)
    fenced = [_whole(body) for body in inside]
    if len(fenced) == 1 and fenced[0] is not _NOTHING and not _brackets(outside):
        return fenced
    found = _scan(text)
    if found is None:
        return None
    return [value for value in found if types is None or ("object" if isinstance(value, dict) else "array") in types]


def _fenced(text: str) -> tuple[list[str], str]:
    """What stands in code fences, and what stands around them. A fence that nothing closes is no fence."""
    inside: list[str] = []
    outside: list[str] = []
    body: list[str] | None = None
    opening = ""
    for line in text.split("\n"):
        bare = line.strip(" \t")
        if body is None:
            if bare.startswith(_FENCE) and "`" not in bare[len(_FENCE) :]:
                body, opening = [], line
            else:
                outside.append(line)
        elif bare == _FENCE:
            inside.append("".join(f"{one}\n" for one in body))
            body = None
        else:
            body.append(line)
    if body is not None:
        outside += [opening, *body]
    return inside, "\n".join(outside)


def _scan(text: str) -> list[Any] | None:
    """Objects and arrays of a text, outermost ones only. Each bracket may be read to the text's end in vain: a text
    that makes that happen again and again is malformed."""
    found, position, left = [], 0, _VAIN_SHARE * len(text) + _VAIN_CHARACTERS
    tries = _VAIN_TRIES
    for start in _openings(text):
        if start < position:
            continue
        try:
            value, position = decode(text, start)
        except JsonError as error:
            left -= error.position - start
            tries -= 1
            if left < 0 or not tries or _BEGINS_JSON.match(text, start):
                return None
            continue
        found.append(value)
    return found


_VAIN_SHARE: Final = 4
_VAIN_CHARACTERS: Final = 10_000
"""Of a text, so many times its length, and so many characters, may be read as JSON and turn out to be none."""
_VAIN_TRIES: Final = 2_000
"""Brackets that may turn out to begin no JSON: Python counts the lines of a text for each."""


def _openings(text: str) -> Iterator[int]:
    return (match.start() for match in re.finditer(r"[{\[]", text))


def _brackets(text: str) -> bool:
    return "{" in text or "[" in text


_NOTHING: Final = object()


def _whole(text: str) -> Any:
    stripped = text.strip(_WHITE).removeprefix("\ufeff")
    try:
        value, end = decode(stripped)
    except JsonError:
        return _NOTHING
    return value if end == len(stripped) else _NOTHING


def _shown(types: frozenset[str] | None) -> str:
    return " or ".join(sorted(types)) if types else "object or array"
