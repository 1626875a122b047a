"""Names of what a run is made of: every id, unit of work, part, owner and alias is built and parsed here alone.

| What | Name | Example |
| --- | --- | --- |
| cut | number | `00012` |
| piece | cut and number; or merged of several | `00012-003`, `merged-002` |
| shard | number | `00007` |
| attempt at a shard, its unit of work | shard and attempt | `00007-a2` |
| remainder of an attempt, as a piece | attempt | `00007-a2-rest` |
| item batch | piece and number | `00012-003-00041` |
| records that came whole | digest of the items | `9f3c…` (20 hex digits) |
| unit of work of either, or of a remainder | its name | `sync-00012-003-00041`, `sync-00007-a2` |
| unit of one record of the failure lane | digest of the failure | `reprocess-9f3c…` |
| unit of one urgent document | digest of the document | `document-9f3c…` |
| part of an attempt | attempt (the first: the shard), segment | `00007`, `00007-a2-s3` |
| part of such a unit | unit, block of positions, flush | `sync-00012-003-00041-000`, `…-000-f2` |
| either, written after another worker left something | generation of the lease | `00007-t1` |
| run over a reduction, over failed records | run; digest of the command | `tickets-7-r1`, `tickets-7-9f3c…` |
| owner of a claim | run and unit | `tickets-7/00007-a1` |
| alias of a caller's id | digest | `id-9f3c…` (40 hex digits) |
| id of a record without one | digest of the line | `line-9f3c…` |
| chunk of a document, and its document | digests of id and of text and cutting | `doc-…-…-c0003` |

Numbers are padded to the width that sorts the usual ones, and are not bounded by it. A name has one meaning: what a
builder makes, its parser reads back, whatever the numbers (tests/unit/core/test_names.py).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A run, which is the name of its execution."""
SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""A scope that several runs share."""
TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
PROMPT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A stored prompt."""
RECORD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A recordId that is sent to Bedrock as it is; others travel under an alias."""

PIECE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
"""What names of pieces and item batches are made of: nothing that would lead out of a folder."""

REPROCESSED: Final = "reprocess-"
"""Units of single records in the failure lane, and their parts."""
DOCUMENT: Final = "document-"
"""Units of single documents of the intake that are inferred at once, and their parts."""

_LONGEST_RUN: Final = 64
CHUNK: Final = 50
"""Records of an item batch that are landed together: two requests of claims, one part."""

OPEN: Final = "."
"""Of a record, in a unit's outcomes."""

_NUMBER: Final = r"(?:\d{5}|[1-9]\d{5,})"
_SMALL: Final = r"(?:\d{3}|[1-9]\d{3,})"
_COUNT: Final = r"[1-9]\d*"
_ATTEMPT: Final = re.compile(rf"(?P<shard>{_NUMBER})-a(?P<attempt>{_COUNT})")
_ATTEMPT_PART: Final = re.compile(rf"(?P<shard>{_NUMBER})(?:-a(?P<attempt>{_COUNT}))?(?:-s(?P<segment>{_COUNT}))?")
_BLOCK_PART: Final = re.compile(rf"(?P<unit>.+)-(?P<block>{_SMALL})(?:-f(?P<flush>{_COUNT}))?")
_GENERATION: Final = re.compile(rf"(?P<name>.+?)(?:-t(?P<generation>{_COUNT}))?")
_CHUNK: Final = re.compile(r"(?P<document>doc-[0-9a-f]{28}-[0-9a-f]{16})-c(?P<number>[0-9]{4})")
_ALIAS: Final = re.compile(r"(?:id|line)-[0-9a-f]{40}")


# Cuts, pieces, shards, item batches.


def cut(number: int) -> str:
    """Of a cut, counted from 1."""
    return f"{number:05d}"


def piece(of_cut: str, number: int) -> str:
    """Of a piece of a cut, counted from 1."""
    return f"{of_cut}-{number:03d}"


def merged_piece(number: int) -> str:
    """Of a piece that sealing merged of the tails of cuts, counted from 1."""
    return f"merged-{number:03d}"


def shard(number: int) -> str:
    """Of a shard, counted from 1."""
    return f"{number:05d}"


def item_batch(of_piece: str, number: int) -> str:
    """Of an item batch, which is a unit of work, counted from 1."""
    return f"{of_piece}-{number:05d}"


def sync_unit(name: str) -> str:
    """The unit of work that infers an item batch, records that came whole, or the remainder of an attempt."""
    return f"sync-{name}"


# Runs that follow from others, and their scopes.


def own_scope(run: str) -> str:
    """Scope of a run that names no dataset. The colon keeps it apart from every dataset's name."""
    return f"run:{run}"


def reduction(run: str, number: int) -> str:
    """Of the run that infers the prompts of a reduction, counted from 1. A run whose name leaves no room for the number
    is told by a digest of it."""
    suffix = f"-r{number}"
    if len(run) + len(suffix) <= _LONGEST_RUN:
        return f"{run}{suffix}"
    digest = hashlib.sha256(run.encode()).hexdigest()[:10]
    return f"{run[: _LONGEST_RUN - len(suffix) - len(digest) - 1]}-{digest}{suffix}"


def resubmission(run: str, digest: str) -> str:
    """Of a run over failed records of `run`, told by what is done anew (hex)."""
    return f"{run[:53]}-{digest[:10]}"


def pool_run(priority: str, prompt: str, moment: str, digest: str) -> str:
    """Of a run over documents that came one by one. `moment`: digits and `T`; `digest`: hex."""
    return f"in-{priority}-{prompt[:20]}-{moment}-{digest[:8]}"


def is_pool_run(run: str, priority: str) -> bool:
    return run.startswith(f"in-{priority}-")


# Passes over results.


def group(of_pass: str, number: int) -> str:
    """Of a group of result parts that one invocation reads, counted from 1."""
    return f"{of_pass}-{number:05d}"


def revision(number: int) -> str:
    """Of a pass over a run's results, counted from 1."""
    return f"{number:04d}"


CLOSE: Final = "close"
"""The unit of work that closes a pass."""


def join(of_partition: int) -> str:
    """The unit of work that joins the documents of a partition."""
    return f"join-{partition(of_partition)}"


def partition(number: int) -> str:
    """Of one of the places that documents are shared out to, counted from 0."""
    return f"{number:05d}"


# Attempts.


@dataclass(frozen=True)
class Attempt:
    """One submission of a shard: it names the job, its output folder and its unit of work."""

    shard: str
    number: int
    """From 1."""

    @property
    def name(self) -> str:
        return f"{self.shard}-a{self.number}"

    @property
    def rest(self) -> str:
        """The piece whose index holds the records that go the sync way after this attempt."""
        return f"{self.name}-rest"

    @property
    def next(self) -> "Attempt":
        return Attempt(self.shard, self.number + 1)

    def part(self, segment: int = 1) -> str:
        """Result and failure part of a segment, counted from 1."""
        first = self.shard if self.number == 1 else self.name
        return first if segment == 1 else f"{first}-s{segment}"


def parse_attempt(unit: str) -> Attempt | None:
    """The attempt of which this is the unit; None: a unit of another kind."""
    found = _ATTEMPT.fullmatch(unit)
    return None if found is None else Attempt(found["shard"], int(found["attempt"]))


# Parts.


def block_part(unit: str, block: int, flush: int = 1) -> str:
    """Result and failure part of a block of positions (from 0) of an item batch, at its flush (from 1)."""
    name = f"{unit}-{block:03d}"
    return name if flush == 1 else f"{name}-f{flush}"


def chunk_of(position: int) -> int:
    """The chunk in which a record of an item batch lands, by its position there."""
    return position // CHUNK


def next_parts(unit: str, item: Mapping[str, Any] | None) -> list[str]:
    """Under which names (bare) a worker of the unit may write before it commits again. `item`: the unit's, as stored;
    None: nothing has been committed."""
    if item is not None and (item.get("drained") or item.get("settled")):
        return []
    if unit.startswith(REPROCESSED):
        return [unit]
    if (attempt := parse_attempt(unit)) is not None:
        return [attempt.part(1 if item is None else int(item.get("segment", 1)))]
    if item is None:
        # An item batch writes its item before its first part.
        return []
    flushes = item.get("flushes", {})
    chunks = {chunk_of(at) for at, outcome in enumerate(item.get("outcomes", "")) if outcome == OPEN}
    return [block_part(unit, chunk, int(flushes.get(f"{chunk}", 0)) + 1) for chunk in sorted(chunks)]


def in_generation(part: str, generation: int) -> str:
    """A part's name as a lease of this generation writes it; that of the first one, 0, is bare."""
    return f"{part}-t{generation}" if generation else part


def generation_of(part: str) -> tuple[str, int]:
    """(bare name, generation) of a part."""
    found = _GENERATION.fullmatch(part)
    if found is None:
        return part, 0
    return found["name"], int(found["generation"] or 0)


def unit_of_part(part: str) -> str | None:
    """The unit of work that writes a part of this name; None: no unit's."""
    bare, _ = generation_of(part)
    if bare.startswith(REPROCESSED):
        return bare
    if found := _ATTEMPT_PART.fullmatch(bare):
        return Attempt(found["shard"], int(found["attempt"] or 1)).name
    found = _BLOCK_PART.fullmatch(bare)
    return None if found is None else found["unit"]


def parts_of_unit(unit: str) -> tuple[str, Callable[[str], bool]]:
    """(what the names of the unit's parts begin with, whether a name that begins so is one of them)."""
    attempt = parse_attempt(unit)
    begin = unit if attempt is None else attempt.part()
    return begin, lambda part: unit_of_part(part) == unit


def lane_unit(digest: str) -> str:
    """Unit of one record of the failure lane, and its part. `digest`: hex, of the failure."""
    return f"{REPROCESSED}{digest}"


def cut_part(of_cut: str) -> str:
    """Part of the rejected lines of a cut."""
    return f"cut-{of_cut}"


def stands_alone(unit: str) -> bool:
    """Whether a unit belongs to no execution: a record of the failure lane, an urgent document."""
    return unit.startswith((REPROCESSED, DOCUMENT))


# Owners of claims.


@dataclass(frozen=True)
class Owner:
    """Whose a claim is."""

    run: str
    unit: str

    @property
    def name(self) -> str:
        return f"{self.run}/{self.unit}"


def parse_owner(owner: str) -> Owner:
    """Runs hold no slash; units may."""
    run, _, unit = owner.partition("/")
    return Owner(run, unit)


def same_records(owners: Iterable[str]) -> bool:
    """Whether these owners came one after the other: attempts at a shard and the remainder hand their records on by a
    commit, so that what one of them has claimed is the next one's."""
    return len({_family(owner) for owner in owners}) == 1


def _family(owner: str) -> str:
    found = parse_owner(owner)
    attempt = parse_attempt(found.unit.removeprefix("sync-"))
    return owner if attempt is None else f"{found.run}/{attempt.shard}"


# Records.


def alias(caller_id: str) -> str:
    """Under which an id travels that Bedrock would not take."""
    return f"id-{_digest(caller_id.encode())}"


def content_id(canonical_line: bytes) -> str:
    """Of a record that came without an id."""
    return f"line-{_digest(canonical_line)}"


def sent_as(caller_id: str) -> tuple[str, str]:
    """Both ids under which a record of this caller's id may have been sent: as it is, and its alias."""
    return caller_id, alias(caller_id)


def is_ours(record_id: str) -> bool:
    """Whether an id has the form of an alias, of a content id or of a chunk: no caller's id may."""
    return bool(_ALIAS.fullmatch(record_id) or _CHUNK.fullmatch(record_id))


def chunked_document(id_digest: str, cut_digest: str) -> str:
    """Of a document that is cut into chunks: digests (hex) of its id, and of its text and how that is cut."""
    return f"doc-{id_digest[:28]}-{cut_digest[:16]}"


def of_same_id(document: str) -> str:
    """What the names of all texts under one id begin with."""
    return document[:32]


def asked_again(document: str, digest: str) -> str:
    """Of the same document where something else is asked of it, told by its digest (hex)."""
    return f"{of_same_id(document)}-{digest[:16]}"


def partition_of(document: str, partitions: int) -> int:
    """Where a document belongs when documents are shared out. All texts under one id go to one place."""
    return int(document[4:20], 16) % partitions


def chunk(document: str, number: int) -> str:
    """recordId of a document's chunk, counted from 1: at most 55 characters of `[a-z0-9-]`."""
    return f"{document}-c{number:04d}"


def parse_chunk(record_id: str) -> tuple[str, int] | None:
    """(document, number) of a chunk's recordId; None: no chunk."""
    found = _CHUNK.fullmatch(record_id)
    return None if found is None else (found["document"], int(found["number"]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:40]
