"""What a pool may hold so that its run is not refused: `limits.max_records` and `limits.max_tokens`, of the stored
prompt, of its tenant, or of the module.

Each message is checked for itself; whether all of a pool pass together is known only when its run is planned, and then
all of them would fail. So a pool is closed before it is too large for its own run.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from bulk_inference.core.tokens import estimate
from bulk_inference.intake.message import BAD_PROMPT, RefusedDocumentError
from bulk_inference.plan.sizing import assumed_answers
from bulk_inference.render.chunking import MAX_CHUNKS, TooManyChunksError, chunks
from bulk_inference.request.parse import RunRequest

_SURE_PART: Final = 2
"""Tokens are estimated here, and estimated again from a sample when the run is planned: half of what it may have is
taken to be sure."""


@dataclass(frozen=True)
class Weight:
    """What documents are in a run: records, and tokens as estimated, input and output."""

    records: int = 0
    tokens: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.records + other.records, self.tokens + other.tokens)


@dataclass(frozen=True)
class Ceilings:
    """None: no ceiling."""

    records: int | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, request: RunRequest) -> Self:
        return cls(request.limits.get("max_records"), request.limits.get("max_tokens"))

    def holds(self, weight: Weight) -> bool:
        """Whether a run over all of this is sure not to be refused."""
        return (self.records is None or weight.records <= self.records) and (
            self.tokens is None or _SURE_PART * weight.tokens <= self.tokens
        )

    def refuse(self, weight: Weight) -> None:
        """Of one document. Raises RefusedDocumentError of class bad_prompt if no run may have it."""
        for name, number, most in (
            ("max_records", weight.records, self.records),
            ("max_tokens", weight.tokens, self.tokens),
        ):
            if most is not None and number > most:
                raise RefusedDocumentError(
                    BAD_PROMPT,
                    f"limits.{name}: the document alone makes about {number}, more than the {most} that a run of this "
                    "prompt may have: raise the limit, or send a smaller document",
                    passing=True,
                )


def weigh(line: bytes, request: RunRequest) -> Weight:
    """Of one document as a corpus line."""
    given = request.prompt
    asked = estimate("".join(text for text in (given.template, given.system) if text))
    answer = assumed_answers(given.inference.get("maxTokens"), embedding=request.family.embeds).tokens
    records = 1 if request.chunking is None else _chunks(line, request)
    return Weight(records, estimate(line.decode()) + round(records * (asked + answer)))


def _chunks(line: bytes, request: RunRequest) -> int:
    how = request.chunking
    text = None if how is None else json.loads(line).get(how.field)
    if how is None or not isinstance(text, str):
        return 1
    try:
        return sum(1 for _ in chunks(text, how))
    except TooManyChunksError:
        return MAX_CHUNKS


def batches(numbers: Sequence[int], weights: Sequence[Weight], ceilings: Ceilings, most: int) -> Iterator[list[int]]:
    """Numbers in order, as many together as one pool may hold, `most` at most. `weights` by number."""
    gathered: list[int] = []
    total = Weight()
    for number in numbers:
        if gathered and (len(gathered) == most or not ceilings.holds(total + weights[number])):
            yield gathered
            gathered, total = [], Weight()
        gathered.append(number)
        total += weights[number]
    if gathered:
        yield gathered
