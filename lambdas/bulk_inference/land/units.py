"""Units of work: what one child execution owns, and what became of it, as one item of the runs table."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final, Self

from bulk_inference.core.failure_line import Failure
from bulk_inference.core.index_line import canonical
from bulk_inference.core.json_document import Document
from bulk_inference.core.result_line import Usage
from bulk_inference.core.runs_table import Item, run_pk, unit_sk

RATIO_MINIMUM: Final = 10
"""A unit of fewer records is never broken by its error ratio: one poison record costs one record."""

_SAMPLES: Final = 20
"""Kinds of error that a unit's item remembers; the counts by class hold all."""


@dataclass(frozen=True)
class Counts(Document):
    """What became of records. `sent = landed + failed + duplicate + unprocessed + open`, where open is the rest."""

    sent: int = 0
    landed: int = 0
    failed: int = 0
    duplicate: int = 0
    """Lost their claim to another unit, or came twice in this one."""
    unprocessed: int = 0
    """Handed on to the next attempt, or to the sync way."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unknown_usage: int = 0
    """Answers that say nothing of tokens."""
    cut: int = 0
    """Answers by how they ended, as Usage has them."""
    refused: int = 0
    filtered: int = 0
    no_text: int = 0
    other_end: int = 0

    def __add__(self, other: Self) -> Self:
        return replace(self, **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The tokens of answers, and no record."""
        return cls(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            unknown_usage=usage.unknown,
            cut=usage.cut,
            refused=usage.refused,
            filtered=usage.filtered,
            no_text=usage.no_text,
            other_end=usage.other_end,
        )

    @property
    def usage(self) -> Usage:
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
            self.unknown_usage,
            self.cut,
            self.refused,
            self.filtered,
            self.no_text,
            self.other_end,
        )

    @property
    def open(self) -> int:
        return self.sent - self.landed - self.failed - self.duplicate - self.unprocessed


@dataclass(frozen=True)
class Part(Document):
    """One object that the unit wrote; finish_run looks for it."""

    key: str
    bytes: int
    lines: int


@dataclass(frozen=True)
class ErrorKind(Document):
    """How often one kind of error struck, and one record that shows it."""

    error_class: str
    error_code: str
    count: int
    record_id: str


@dataclass(frozen=True)
class Unit(Document):
    """Outcome of a batch job's attempt (`job`) or of an item batch (`items`)."""

    unit: str
    kind: str
    pieces: dict[str, Counts]
    """By shard or sync piece: an item batch may reach over the end of one."""
    results: list[Part] = field(default_factory=list)
    failures: list[Part] = field(default_factory=list)
    errors: list[ErrorKind] = field(default_factory=list)
    next: str = "collect"
    """`collect` or `infer`: not settled; `submit`, `infer` (of a job): handed on; `done`; `fail`."""
    settled: bool = False
    version: int = 0
    generation: int = 0
    """Of the lease by which it was saved last (leases.py): above 0, a dead worker may have left claims of its own."""
    attempt: int = 1
    # Of a job.
    job_arn: str | None = None
    status: str | None = None
    output_offset: int = 0
    """Bytes of the job's output that are landed."""
    output_etag: str | None = None
    """Of the output as the first segment found it."""
    drained: bool = False
    """All of it is accounted for; what is left is to send messages."""
    segment: int = 1
    undecodable: int = 0
    foreign: int = 0
    doubled: int = 0
    contradictions: list[str] = field(default_factory=list)
    """Where Bedrock's manifest says otherwise than its lines. The lines count."""
    spent: int = 0
    """Attempts at the shard so far that count: a job that somebody stopped is no failed attempt."""
    next_unit: str | None = None
    """The unit that took the unprocessed records over."""
    next_piece: str | None = None
    """The piece in which these lie."""
    # Of an item batch.
    outcomes: str = ""
    """One character a record: `.` open, `L` landed, `F` failed, `D` duplicate."""
    flushes: dict[str, int] = field(default_factory=dict)
    """How often each chunk has been landed from."""
    unsent: list[str] = field(default_factory=list)
    """Names of failure parts whose messages may not have been sent: until they are, the unit is open."""

    @property
    def counts(self) -> Counts:
        return sum(self.pieces.values(), Counts())

    def item(self, run: str, expires_at: int) -> Item:
        return {"pk": run_pk(run), "sk": unit_sk(self.unit), "expires_at": expires_at, **self.to_json()}


def items_unit(run: str, items: Sequence[Any]) -> str:
    """Id of the unit that an item batch is: the same items of the same run make the same unit."""
    return hashlib.sha256(canonical([run, list(items)])).hexdigest()[:20]


def tally(kinds: Iterable[ErrorKind], failures: Iterable[Failure]) -> list[ErrorKind]:
    """Kinds of error with these failures added, the commonest first; the first record of a kind is its sample."""
    found = {(kind.error_class, kind.error_code): kind for kind in kinds}
    for failure in failures:
        key = (failure.error_class, failure.error_code)
        kind = found.get(key) or ErrorKind(*key, 0, failure.pointer.caller_id)
        found[key] = replace(kind, count=kind.count + 1)
    return sorted(found.values(), key=lambda kind: -kind.count)[:_SAMPLES]


def broken(counts: Counts, late: int, tolerated_percentage: float) -> str | None:
    """Why the unit fails for its error ratio, or None. `late`: failed records settled since, by the failure lane."""
    failed = counts.failed - late
    if counts.sent < RATIO_MINIMUM or failed * 100 <= tolerated_percentage * counts.sent:
        return None
    return f"{failed} of {counts.sent} records failed, more than the {tolerated_percentage:g} % tolerated"


class Late(Enum):
    """What became of a record after its unit had counted it as failed."""

    LANDED = "landed"
    DUPLICATE = "duplicate"
    RESUBMITTED = "resubmitted"
    DROPPED = "dropped"


def describe(unit: Unit) -> str:
    """The commonest errors of a unit, by class and code alone: words of the model stay in the failures file."""
    return "commonest: " + ", ".join(
        f"{kind.error_class} {kind.error_code} ×{kind.count} (such as record {kind.record_id})"
        for kind in unit.errors[:5]
    )
