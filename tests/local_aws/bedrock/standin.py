"""The stand-in model: answers without a model, always the same answer for the same prompt, checkable by a test.

Its text is JSON: `{"summary": <the leading sentences of the last user message>, "labels": [<its most frequent longer
words>], "chars": <its length>}`. Embeddings are feature hashes of the words, normalised. Tokens are counted at four
characters each, the rule of thumb of Amazon's Titan and Nova pages.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from typing import Any

from tests.local_aws.bedrock.bodies import Completion, Prompt
from tests.local_aws.bedrock.wire import AwsError

CHARACTERS_PER_TOKEN = 4
SUMMARY_CHARACTERS = 200
LABELS = 5

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LONG_WORD = re.compile(r"[a-z]{5,}")
# Words that say nothing about a text.
_COMMON = frozenset(
    (
        "about", "above", "after", "again", "among", "because", "before", "being", "below", "between", "could", "doing",
        "during", "every", "first", "further", "having", "itself", "might", "never", "other", "shall", "should",
        "since", "still", "their", "theirs", "there", "these", "those", "through", "under", "until", "where", "which",
        "while", "whose", "within", "without", "would", "yourself",
    )
)  # fmt: skip


def tokens(characters: int) -> int:
    """Tokens of so many characters; at least one."""
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def complete(prompt: Prompt, poison_marker: str) -> Completion:
    """Answer a prompt. Raises ValidationException when the prompt holds the poison marker (empty: there is none)."""
    if poison_marker and (poison_marker in prompt.text or poison_marker in prompt.system):
        raise AwsError(
            "ValidationException",
            "The model returned the following errors: the prompt holds content it cannot process.",
        )
    text = json.dumps(
        {"summary": summary(prompt.text), "labels": labels(prompt.text), "chars": len(prompt.text)}, ensure_ascii=False
    )
    return finish(prompt, text)


def finish(prompt: Prompt, text: str) -> Completion:
    """Apply stop sequences and the token limit to a text, and count."""
    stop_reason: Any = "end_turn"
    stopped_at = None
    for sequence in prompt.stop_sequences:
        position = text.find(sequence)
        if position >= 0:
            text, stop_reason, stopped_at = text[:position], "stop_sequence", sequence
    if tokens(len(text)) > prompt.max_tokens:
        text, stop_reason, stopped_at = text[: prompt.max_tokens * CHARACTERS_PER_TOKEN], "max_tokens", None
    return Completion(text, stop_reason, tokens(prompt.length), tokens(len(text)), stopped_at)


def summary(text: str) -> str:
    """The leading sentences of a text, whole as long as they fit, else the first one cut."""
    taken: list[str] = []
    # A sentence that starts beyond the limit cannot be taken: only the beginning of a long text is looked at.
    for sentence in _SENTENCE_END.split(text[: 4 * SUMMARY_CHARACTERS].strip()):
        if taken and sum(map(len, taken)) + len(taken) + len(sentence) > SUMMARY_CHARACTERS:
            break
        taken.append(sentence.strip()[:SUMMARY_CHARACTERS])
        if len(taken) == 2:
            break
    return " ".join(each for each in taken if each)


def labels(text: str) -> list[str]:
    """The most frequent words of five letters or more, the alphabet decides between equals."""
    counts = Counter(_LONG_WORD.findall(text[:20_000].lower()))
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [word for word, _ in ranked[: LABELS + len(_COMMON)] if word not in _COMMON][:LABELS]


def embed(prompt: Prompt, body: dict[str, Any], poison_marker: str) -> dict[str, Any]:
    """The response body of Titan Text Embeddings V2."""
    if poison_marker and poison_marker in prompt.text:
        raise AwsError("ValidationException", "The model cannot embed this text.")
    vector = [0.0] * body.get("dimensions", 1024)
    for word in re.findall(r"\w+", prompt.text.lower()):
        hashed = zlib.crc32(word.encode("utf-8", "replace"))
        vector[hashed % len(vector)] += 1.0 if hashed & 0x1000_0000 else -1.0
    if body.get("normalize", True):
        size = math.sqrt(sum(each * each for each in vector)) or 1.0
        vector = [round(each / size, 7) if each else 0.0 for each in vector]
    return {
        "embedding": vector,
        "embeddingsByType": {"float": vector},
        "inputTextTokenCount": tokens(prompt.length),
    }
