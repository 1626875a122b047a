"""The stand-in model: answers without a model, always the same answer for the same prompt, checkable by a test.

Its text is JSON: `{"summary": <the leading sentences of the last user message>, "labels": [<its most frequent longer
words>], "chars": <its length>}`. Embeddings are feature hashes of the words, normalised. Tokens are counted at four
characters each, the rule of thumb of Amazon's Titan and Nova pages.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from local_aws.bedrock import structured
from local_aws.bedrock.bodies import Completion, Prompt
from local_aws.bedrock.media import Reference
from local_aws.bedrock.models import Model
from local_aws.bedrock.wire import AwsError

CHARACTERS_PER_TOKEN = 4
SUMMARY_CHARACTERS = 200
SUMMARY_SENTENCES = 2
LABELS = 5
LABELLED_CHARACTERS = 600  # a longer text is labelled by its beginning: this is what most of the time goes into

_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n")
_LONG_WORD = re.compile(r"[a-z]{5,}")
_encode = json.JSONEncoder(ensure_ascii=False).encode
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


def complete(prompt: Prompt, poison_marker: str, seen: Sequence[tuple[Reference, bytes]] = ()) -> Completion:
    """Answer a prompt; `seen` are the images and documents it names, and their bytes.

    A schema is obeyed, whether the request asks for it natively or the prompt states it in words. Raises
    ValidationException when the prompt holds the poison marker (empty: there is none).
    """
    if poison_marker and (poison_marker in prompt.text or poison_marker in prompt.system):
        raise AwsError(
            "ValidationException",
            "The model returned the following errors: the prompt holds content it cannot process.",
        )
    schema = prompt.schema or structured.stated(prompt.text)
    if schema is not None:
        value = structured.example(schema, schema, labels(prompt.text), len(prompt.text))
        return finish(prompt, _encode(_as_unasked(value, schema, prompt.text)))
    answer: dict[str, Any] = {
        "summary": summary(prompt.text),
        "labels": labels(prompt.text),
        "chars": len(prompt.text),
    }
    if seen:
        answer["seen"] = [
            {"kind": one.kind, "format": one.format, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for one, data in seen
        ]
    return finish(prompt, _encode(answer))


def _as_unasked(value: Any, schema: dict[str, Any], text: str) -> Any:
    """The fields that the stand-in has names for hold what it says when nothing is asked, where the schema leaves it
    free to."""
    properties = schema.get("properties", {})
    if not isinstance(value, dict):
        return value
    if "summary" in value and properties["summary"].keys() <= {"type", "description"}:
        value["summary"] = summary(text)
    if "labels" in value and properties["labels"].keys() <= {"type", "description", "items"}:
        free = properties["labels"].get("items", {}).keys() <= {"type", "description"}
        value["labels"] = labels(text) if free else value["labels"]
    return value


def reshape(prompt: Prompt, done: Completion, shape: str) -> Completion:
    """The same answer as models give it at times: in a code fence, between sentences, twice, broken off, or another."""
    text = {
        "fenced": f"```json\n{done.text}\n```",
        "chatty": f"Certainly! Here is what you asked for:\n\n{done.text}\n\nLet me know if you need more.",
        "twice": f"{done.text}\nOr, put differently:\n{done.text}",
        "truncated": done.text[: len(done.text) // 2],
        "wrong": '{"unasked": true}',
    }[shape]
    reshaped = finish(prompt, text)
    return reshaped._replace(stop_reason="max_tokens") if shape == "truncated" else reshaped


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
    text = text.strip()
    first = _SENTENCE_END.search(text)
    if first is None or first.end() > SUMMARY_CHARACTERS:
        return text[:SUMMARY_CHARACTERS].strip()
    end = first.end()
    for _ in range(SUMMARY_SENTENCES - 1):
        following = _SENTENCE_END.search(text, end)
        end_of_next = following.end() if following else len(text)
        if end_of_next > SUMMARY_CHARACTERS:
            break
        end = end_of_next
    return " ".join(text[:end].split())


def labels(text: str) -> list[str]:
    """The most frequent words of five letters or more, the alphabet decides between equals."""
    counts = Counter(_LONG_WORD.findall(text[:LABELLED_CHARACTERS].lower()))
    for word in _COMMON.intersection(counts):
        del counts[word]
    ranked = sorted(counts.items(), key=_by_count)
    return [word for word, _ in ranked[:LABELS]]


def _by_count(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def embed(
    model: Model, prompt: Prompt, body: dict[str, Any], poison_marker: str, seen: Sequence[tuple[Reference, bytes]] = ()
) -> dict[str, Any]:
    """The response body of Titan Text Embeddings V2 and of Nova Multimodal Embeddings."""
    if poison_marker and poison_marker in prompt.text:
        raise AwsError("ValidationException", "The model cannot embed this text.")
    if model.family == "nova-embed":
        text = prompt.text or " ".join(hashlib.sha256(data).hexdigest() for _, data in seen)
        size = body["singleEmbeddingParams"].get("embeddingDimension", 3072)
        return {"embeddings": [{"embeddingType": "IMAGE" if seen else "TEXT", "embedding": _vector(text, size, True)}]}
    vector = _vector(prompt.text, body.get("dimensions", 1024), body.get("normalize", True))
    return {
        "embedding": vector,
        "embeddingsByType": {"float": vector},
        "inputTextTokenCount": tokens(prompt.length),
    }


def _vector(text: str, dimensions: int, normalize: bool) -> list[float]:
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        hashed = zlib.crc32(word.encode("utf-8", "replace"))
        vector[hashed % len(vector)] += 1.0 if hashed & 0x1000_0000 else -1.0
    if normalize:
        size = math.sqrt(sum(each * each for each in vector)) or 1.0
        vector = [round(each / size, 7) if each else 0.0 for each in vector]
    return vector
