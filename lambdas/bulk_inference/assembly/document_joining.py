"""The second half of bringing documents together: what is known of the documents of one partition, and what each is.

Pure: the entries of a partition, in whatever order, make the same outcomes. A document is told by its key, which is
made of its id and its text (chunking.py), so that two texts under one id never mix.

A reduction follows from the answers alone. The parts that a prompt shall hold are packed in the one way there is; their
digest is the key under which the answer must lie. Answers that are there are taken up; prompts that were never sent are
due; the answers to a document's prompts are the parts of its next round, until there is one answer.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.assembly.recombination import MAX_ROUNDS, merge, pack
from bulk_inference.core import names
from bulk_inference.core.run_spec import (
    CONCAT,
    MERGE_JSON,
    REDUCE,
    Chunking,
    Recombine,
)
from bulk_inference.structured.answers import only_value

COMPLETE: Final = "complete"
PARTIAL: Final = "partial"
FAILED: Final = "failed"
DUPLICATE: Final = "duplicate"
DUE: Final = "due"
"""Statuses of documents: all chunks landed; some did; none did; another row of the same id is the document; a prompt of
its reduction is to be sent."""

"""Characters of a key that stand for the document's id: `doc-` and 28 digits."""


@dataclass
class _Text:
    """One text of a document: its chunks as sent and landed."""

    key: str
    document: str
    chunks: int
    sent: set[int] = field(default_factory=set)
    landed: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    source: Any = None

    @property
    def missing(self) -> list[int]:
        return [number for number in range(1, self.chunks + 1) if number not in self.landed]

    @property
    def answers(self) -> list[Mapping[str, Any]]:
        return [self.landed[number] for number in sorted(self.landed)]


@dataclass(frozen=True)
class DocumentResult:
    """What a document has come to."""

    status: str
    line: dict[str, Any]
    """Of `documents/part-*.jsonl` where it holds `text` or `value`, else of `documents/partial.jsonl`."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Prompts that are due: lines of the corpus of a reduction."""
    landed: int = 0
    """Chunks of it that have landed, reductions aside."""

    @property
    def is_told(self) -> bool:
        """Whether the document has come to anything."""
        return "text" in self.line or "value" in self.line


def outcomes(entries: Iterable[Mapping[str, Any]], how: Recombine, chunking: Chunking) -> Iterator[DocumentResult]:
    """The documents of one partition, ordered by where their rows lie in the corpus."""
    texts, reductions = _gathered(entries)
    by_document: dict[str, list[_Text]] = {}
    for text in sorted(texts.values(), key=lambda one: (_place(one.source), one.key)):
        by_document.setdefault(names.of_same_id(text.key), []).append(text)
    for first, *others in by_document.values():
        yield _outcome(first, reductions, how, chunking)
        for other in others:
            line = _line(other, DUPLICATE)
            yield DocumentResult(DUPLICATE, line, landed=len(other.landed))


def _gathered(entries: Iterable[Mapping[str, Any]]) -> tuple[dict[str, _Text], dict[str, _Text]]:
    """Texts by key: of documents, and of their reductions' prompts."""
    texts: dict[str, _Text] = {}
    reductions: dict[str, _Text] = {}
    for entry in entries:
        kept = reductions if entry.get("reduced") else texts
        text = kept.setdefault(entry["key"], _Text(entry["key"], entry["id"], entry["of"]))
        if "chunk" in entry:
            text.landed[entry["chunk"]] = entry
        else:
            text.sent.update(entry["sent"])
        text.source = text.source or entry.get("source")
    return texts, reductions


def _place(source: Any) -> tuple[str, int, int, int]:
    """Order of rows: by object, then by position in it."""
    given = source if isinstance(source, Mapping) else {}
    key, group, offset, row = (given.get(name) for name in ("key", "rowGroup", "offset", "row"))
    return str(key or ""), group or 0, offset or 0, row or 0


def _outcome(text: _Text, reductions: Mapping[str, _Text], how: Recombine, chunking: Chunking) -> DocumentResult:
    if not text.landed:
        return DocumentResult(FAILED, _line(text, FAILED))
    if how.method == REDUCE:
        return _reduced(text, reductions, how, chunking)
    line = _line(text, PARTIAL if text.missing else COMPLETE)
    if how.method == CONCAT:
        line["text"] = how.separator.join(str(one.get("text") or "") for one in text.answers)
    if how.method == MERGE_JSON:
        line |= _merged(text, how)
        if "unreadable" in line:
            line["status"] = PARTIAL
    return DocumentResult(line["status"], line, landed=len(text.landed))


def _merged(text: _Text, how: Recombine) -> dict[str, Any]:
    values, unreadable = [], []
    for number, answer in sorted(text.landed.items()):
        try:
            values.append(answer["value"] if "value" in answer else only_value(answer.get("text")))
        except ValueError:
            unreadable.append(number)
    merged = merge(values, how.keys)
    more: dict[str, Any] = {"value": merged.value} if values else {}
    if merged.conflicts:
        more["conflicts"] = merged.conflicts
    if unreadable:
        more["unreadable"] = unreadable
    return more


def _reduced(text: _Text, reductions: Mapping[str, _Text], how: Recombine, chunking: Chunking) -> DocumentResult:
    landed = len(text.landed)
    if text.missing:
        # A prompt over some of the answers would be paid for, and asked again when the others land.
        return DocumentResult(PARTIAL, _line(text, PARTIAL), landed=landed)
    spent = list(text.answers)
    parts = [_part(one) for one in text.answers]
    for number in range(1, MAX_ROUNDS + 1):
        packed = pack(parts, how.size, chunking.by, how.separator)
        key = reduction_key(text.key, packed, how)
        reduction = reductions.get(key) or _Text(key, text.document, len(packed))
        spent += reduction.answers
        if reduction.missing:
            rows = [_row(text, key, number, at, packed, how) for at in reduction.missing if at not in reduction.sent]
            status = DUE if rows else PARTIAL
            line = _line(text, status, spent) | {"round": number, "missingParts": reduction.missing}
            return DocumentResult(status, line, rows, landed)
        if len(packed) == 1:
            (answer,) = reduction.answers
            line = _line(text, COMPLETE, spent) | {"text": answer.get("text"), "rounds": number}
            if "value" in answer:
                line["value"] = answer["value"]
            return DocumentResult(COMPLETE, line, landed=landed)
        parts = [_part(one) for one in reduction.answers]
    return DocumentResult(PARTIAL, _line(text, PARTIAL, spent), landed=landed)


def reduction_key(key: str, packed: Sequence[Sequence[str]], how: Recombine) -> str:
    """What the recordIds of one round's prompts begin with: the document, and a digest of all that they hold."""
    asked = [how.prompt.template, how.prompt.system, how.separator, *packed]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return names.asked_again(key, digest)


def _row(
    text: _Text, key: str, number: int, at: int, packed: Sequence[Sequence[str]], how: Recombine
) -> dict[str, Any]:
    row = {
        "key": key,
        "documentId": text.document,
        "chunk": at,
        "chunks": len(packed),
        "round": number,
        "parts": how.separator.join(packed[at - 1]),
    }
    return row | _passed_on(text)


def _part(answer: Mapping[str, Any]) -> str:
    """An answer as a further prompt quotes it."""
    text = answer.get("text")
    if isinstance(text, str):
        return text
    return json.dumps(answer.get("value"), ensure_ascii=False)


def _line(text: _Text, status: str, spent: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {"documentId": text.document, "status": status, "chunks": text.chunks}
    line["missing"] = text.missing
    line["usage"] = _usage(text.answers if spent is None else spent)
    if ended := {str(number): one["ended"] for number, one in sorted(text.landed.items()) if "ended" in one}:
        # What is put together of answers that were cut has gaps.
        line["ended"] = ended
    return line | _passed_on(text)


def _passed_on(text: _Text) -> dict[str, Any]:
    answer = next(iter(text.answers), {})
    return {name: answer[name] for name in ("sequence", "carry", "source") if answer.get(name) is not None}


def _usage(answers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    used = {"inputTokens": 0, "outputTokens": 0}
    for answer in answers:
        for name in used:
            used[name] += int((answer.get("usage") or {}).get(name, 0))
    return used
