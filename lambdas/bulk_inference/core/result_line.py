"""Lines of a batch job's output, and the result lines that are made of them.

Output format: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html. Lines end at `\\n`
bytes only: real outputs hold U+2028 and U+0085 unescaped, at which `str.splitlines` would cut.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, Final, NamedTuple

from bulk_inference.core.answer_text import GUARDRAIL, MAX_TOKENS, NO_TEXT, REFUSAL, ended, get
from bulk_inference.core.answer_text import text_of as text_of
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.json_text import MAX_DEPTH, TOO_DEEP, JsonError, loads

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class OutputLine:
    """What one line says of one record: `output`, or the error in its place."""

    record_id: str
    output: Any = None
    """The modelOutput, any JSON value but null."""
    error_code: str = ""
    error_message: str = ""

    @property
    def failed(self) -> bool:
        return self.output is None


OTHER: Final = "other"

ENDS: Final = {
    MAX_TOKENS: "cut",
    REFUSAL: "refused",
    GUARDRAIL: "filtered",
    NO_TEXT: "no_text",
    OTHER: "other_end",
}
"""What manifests call the ends of answers, and the fields of Usage that count them."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer or of many, 0 where the model does not say; and how many did not end as answers should."""

    input_tokens: int = 0
    """As the model counts them: what was read from or written to a prompt cache is mostly counted apart."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of the output tokens."""
    unknown: int = 0
    """Answers that say nothing of tokens."""
    cut: int = 0
    """Answers that ended at their token limit."""
    refused: int = 0
    filtered: int = 0
    """Stopped or rewritten by a guardrail or filter."""
    no_text: int = 0
    other_end: int = 0
    """Answers with another stop reason than is known."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Usage":
        """Of an item that holds `to_json`, `unknownUsage` and `ends`; what is missing counts 0."""
        names = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "reasoningTokens")
        ends = value.get("ends") or {}
        return cls(
            *(int(value.get(name, 0)) for name in (*names, "unknownUsage")),
            *(int(ends.get(name, 0)) for name in ENDS),
        )

    @property
    def ends(self) -> dict[str, int]:
        """Answers by how they ended, where that is not by themselves with a text: `{"max_tokens": 30}`."""
        found = {name: getattr(self, field) for name, field in ENDS.items()}
        return {name: number for name, number in found.items() if number}

    def to_json(self) -> dict[str, int]:
        """`{"inputTokens", "outputTokens"}`, and the others where there are any."""
        rare = {
            "cacheReadTokens": self.cache_read_tokens,
            "cacheWriteTokens": self.cache_write_tokens,
            "reasoningTokens": self.reasoning_tokens,
        }
        return {
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
            **{name: count for name, count in rare.items() if count},
        }


def split(blocks: Iterable[bytes], start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Lines of a stream without their `\\n`, each with the position of the first byte after it."""
    position, rest = start, b""
    for block in blocks:
        *complete, rest = (rest + block).split(b"\n")
        for line in complete:
            position += len(line) + 1
            yield line, position
    if rest:
        yield rest, position + len(rest)


def parse(raw: bytes) -> OutputLine | None:
    """What the line says, or None if it cannot be told: no JSON object, no recordId, neither output nor error.

    Unset members may be missing or null, unknown ones are ignored.
    """
    try:
        line = loads(raw.removeprefix(_BOM))
    except JsonError as refusal:
        return _too_deep_to_keep(raw) if refusal.kind == TOO_DEEP else None
    record_id = line.get("recordId") if isinstance(line, dict) else None
    if not isinstance(record_id, str):
        return None
    error = line.get("error")
    if error is not None:
        detail = error if isinstance(error, Mapping) else {"errorMessage": error}
        return OutputLine(record_id, None, _code(detail.get("errorCode")), _text(detail.get("errorMessage")))
    output = line.get("modelOutput")
    return None if output is None else OutputLine(record_id, output)


def _too_deep_to_keep(raw: bytes) -> OutputLine | None:
    """A line of which it can be told whose it is: its record failed, and does not go into the next attempt."""
    try:
        record_id = json.loads(raw.removeprefix(_BOM))["recordId"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return OutputLine(record_id, None, "TooDeep", _TOO_DEEP) if isinstance(record_id, str) else None


_TOO_DEEP: Final = f"the answer holds JSON nested more than {MAX_DEPTH} deep"


def parse_id(raw: bytes) -> str | None:
    """The recordId of a result line; None if it has none."""
    try:
        record_id = json.loads(raw).get("recordId")
    except (ValueError, AttributeError, RecursionError):
        return None
    return record_id if isinstance(record_id, str) else None


def extract(output: Any) -> tuple[str | None, Usage]:
    """Text and tokens of a model's answer: Converse and Nova, Claude, Titan, and the shapes of the other families.

    Text is None where there is none, as with embeddings.
    """
    return text_of(output), usage_of(output)


def usage_of(output: Any) -> Usage:
    tokens = _usage(output) if isinstance(output, Mapping) else Usage(unknown=1)
    end = ended(output)
    return tokens if end is None else replace(tokens, **{ENDS.get(end, ENDS[OTHER]): 1})


class Valued(NamedTuple):
    """An answer with the value that the run's schema asks for."""

    output: Any
    value: Any


def result_line(pointer: Pointer, output: Any, source_bucket: str) -> tuple[bytes, Usage]:
    """`{"recordId", "ended"?, "modelOutput", "text", "value"?, "usage", "sequence"?, "carry"?, "source"?,
    "document"?}` with its newline. `ended` is there if the answer did not end by itself with a text.

    `output` is the modelOutput, or a Valued.
    """
    value = {}
    if isinstance(output, Valued):
        output, value = output.output, {"value": output.value}
    text, usage = extract(output)
    end = ended(output)
    line: dict[str, Any] = {
        "recordId": pointer.caller_id,
        **({} if end is None else {"ended": end}),
        "modelOutput": output,
        "text": text,
        **value,
        "usage": usage.to_json(),
    }
    if pointer.sequence is not None:
        line["sequence"] = pointer.sequence
    if pointer.carry is not None:
        line["carry"] = pointer.carry
    where = pointer.where(source_bucket)
    if where is not None:
        line["source"] = where
    if pointer.document is not None:
        line["document"] = pointer.document
    return encode(line), usage


def encode(line: Mapping[str, Any]) -> bytes:
    """One JSON line, UTF-8. A lone surrogate, which UTF-8 cannot hold, makes the whole line ASCII with escapes."""
    try:
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _usage(output: Mapping[str, Any]) -> Usage:
    usage = output.get("usage")
    if isinstance(usage, Mapping):
        nested = usage.get("tokens") or usage.get("billed_units")
        usage = {**nested, **usage} if isinstance(nested, Mapping) else usage
        read = _first(usage, "inputTokens", "input_tokens", "prompt_tokens")
        written = _first(usage, "outputTokens", "output_tokens", "completion_tokens")
        cached = get(usage, "prompt_tokens_details", "cached_tokens")
        reasoning = get(usage, "completion_tokens_details", "reasoning_tokens")
        return Usage(
            read or 0,
            written or 0,
            _first(usage, "cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens")
            or _whole(cached)
            or 0,
            _first(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens") or 0,
            _first(usage, "reasoningTokens", "reasoning_tokens") or _whole(reasoning) or 0,
            int(read is None and written is None),
        )
    first = get(output, "results", 0)
    counted = output.get(INVOCATION_METRICS)
    if isinstance(counted, Mapping):
        read, written = _whole(counted.get("inputTokenCount")), _whole(counted.get("outputTokenCount"))
    else:
        read = _first(output, "inputTextTokenCount", "prompt_token_count")
        written = _first(first if isinstance(first, Mapping) else output, "tokenCount", "generation_token_count")
    return Usage(read or 0, written or 0, unknown=int(read is None and written is None))


INVOCATION_METRICS: Final = "amazon-bedrock-invocationMetrics"
"""Bedrock's own member for counts that the model does not give: at the end of streams, and here for what the headers of
InvokeModel say (aws/bedrock_runtime.py)."""


def _first(holder: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _whole(holder.get(name))) is not None), None)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return None
    return int(value)


_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{0,64}")


def _code(value: Any) -> str:
    """It goes into items and messages, where no words may: what does not look like a code is none."""
    code = _text(value)
    return code if _CODE.fullmatch(code) else "Unknown"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
