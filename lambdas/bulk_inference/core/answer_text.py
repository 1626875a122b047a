"""The text of a model's answer, in the shapes of all families, and how the answer ended.

Sources: Converse (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html) and the pages of
native bodies (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html). Shapes are told by their
members, not by the model: a body is read alike whichever family it is from.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_TOKENS: Final = "max_tokens"
REFUSAL: Final = "refusal"
GUARDRAIL: Final = "guardrail"
NO_TEXT: Final = "no_text"
"""Ends of answers that should be known of: cut at the token limit, refused by the model, stopped or rewritten by a
guardrail or filter, without any text. Another end is told in the model's own words."""

_LENGTH: Final = frozenset({"max_tokens", "length", "model_context_window_exceeded"})
_REFUSED: Final = frozenset({"refusal"})
_FILTERED: Final = frozenset({"guardrail_intervened", "content_filtered", "content_filter", "error_toxic"})
_NATURAL: Final = frozenset(
    {"end_turn", "stop_sequence", "stop", "tool_use", "tool_calls", "complete", "finish", "finished", "endoftext",
     "eos_token", ""}
)  # fmt: skip

_TAG: Final = r"(?:reasoning|think|thinking)"
_LEADING: Final = re.compile(rf"\s*<({_TAG})>(?:(.*?)</\1>|.*\Z)", re.S | re.I)
_ORPHAN: Final = re.compile(rf"^[ \t]*</{_TAG}>", re.M | re.I)


def text_of(output: Any) -> str | None:
    """The answer's text, without what the model thought before it; None where there is none, as with embeddings, and
    where the answer ends before its thinking does."""
    found = _raw(output) if isinstance(output, Mapping) else None
    return None if found is None else without_reasoning(found)


def without_reasoning(text: str) -> str | None:
    """Text after blocks in `<reasoning>` or `<think>` tags, which gpt-oss, Kimi, DeepSeek and others write before their
    answer. Only what stands before the answer is taken for such: tags within an answer are its own.

    A tag that nothing closes leaves no answer. Of one that nothing opens, DeepSeek R1's way, the answer follows.
    """
    rest, found = text, False
    while (block := _LEADING.match(rest)) is not None:
        if block.group(2) is None:
            return None
        rest, found = rest[block.end() :], True
    if not found and (end := _ORPHAN.search(rest)) is not None:
        rest, found = rest[end.end() :], True
    return (rest.strip() or None) if found else text


def stop_reason(output: Any) -> str:
    """Why the model stopped, in its own words, in lower case; empty if it does not say."""
    for path in _STOPS:
        found = get(output, *path)
        if isinstance(found, str):
            return found.lower()
    return ""


def ended(output: Any) -> str | None:
    """How an answer ended that did not end by itself with a text: one of the words above, or the model's own."""
    reason = stop_reason(output)
    if reason in _LENGTH:
        return MAX_TOKENS
    if reason in _REFUSED:
        return REFUSAL
    if reason in _FILTERED or get(output, "amazon-bedrock-guardrailAction") == "INTERVENED":
        return GUARDRAIL
    if reason not in _NATURAL:
        return reason[:_SHOWN]
    return NO_TEXT if not (text_of(output) or "").strip() and not _is_data(output) else None


_SHOWN: Final = 40
"""Characters of a stop reason that is not known."""

_STOPS: Final[tuple[tuple[str | int, ...], ...]] = (
    ("stopReason",),
    ("stop_reason",),
    ("finish_reason",),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "stop_reason"),
    ("outputs", 0, "stop_reason"),
    ("results", 0, "completionReason"),
    ("generations", 0, "finish_reason"),
    ("completions", 0, "finishReason", "reason"),
)

_TEXTS: Final[tuple[tuple[str | int, ...], ...]] = (
    # Converse and Nova.
    ("output", "message", "content"),
    # Claude.
    ("content",),
    # OpenAI's form: gpt-oss, Qwen, DeepSeek V3, Kimi, Gemma, GLM, MiniMax, Nemotron, Mistral's later models.
    ("choices", 0, "message", "content"),
    # DeepSeek R1.
    ("choices", 0, "text"),
    # Mistral's earlier models.
    ("outputs", 0, "text"),
    # Titan.
    ("results", 0, "outputText"),
    # Llama.
    ("generation",),
    # Cohere: Command, its chat, and its chat's second form.
    ("generations", 0, "text"),
    ("text",),
    ("message", "content"),
    # AI21's Jurassic, Claude's first form.
    ("completions", 0, "data", "text"),
    ("completion",),
    ("outputText",),
)


def _raw(output: Mapping[str, Any]) -> str | None:
    for path in _TEXTS:
        found = get(output, *path)
        if isinstance(found, list):
            return _joined(found)
        if isinstance(found, str):
            return found
    return None


def _joined(blocks: list[Any]) -> str | None:
    """Of content as blocks or parts. What is cited stands in blocks of its own (CitationsContentBlock)."""
    texts = []
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, Mapping):
            cited = get(block, "citationsContent", "content")
            if isinstance(block.get("text"), str) and block.get("type") not in _THOUGHTS:
                texts.append(block["text"])
            elif isinstance(cited, list) and (inner := _joined(cited)) is not None:
                texts.append(inner)
    return "".join(texts) if texts else None


_THOUGHTS: Final = frozenset({"reasoning", "thinking", "reasoning_text"})
"""Types of parts that hold no answer."""


def _is_data(output: Any) -> bool:
    """Whether the answer is something else than text by its kind: an embedding, the use of a tool."""
    if not isinstance(output, Mapping):
        return False
    if any(name.startswith("embedding") for name in output) or stop_reason(output) in ("tool_use", "tool_calls"):
        return True
    return bool(get(output, "choices", 0, "message", "tool_calls"))


def get(value: Any, *path: str | int) -> Any:
    """A value inside lists and objects; None where the path leads nowhere."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, Mapping) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value
