"""Conservation: every record of a run is somewhere, and only there.

The promise, per run and per shard:

    read     = accepted + rejected + duplicate
    accepted = landed + failed + resubmitted + dropped + pending

where `resubmitted` and `dropped` are failed records that an operator has dealt with: landed by another run of the
scope, or given up with a reason.

The sums are made of four kinds of items, each written by the one who knows:

* a cut (cut_shards): `read = accepted + rejected + duplicate`, where these duplicates are ids that the piece already
  had or that another run of the scope has landed;
* a shard or sync piece (seal_shards): `accepted` lines, called records here, and `duplicate` ones that merging left
  out; over the run, Σ cut.accepted = Σ shard.accepted + Σ shard.duplicate;
* a unit of work (collect_results, infer_batch): `sent = landed + failed + duplicate + unprocessed + open`, and its
  parts hold as many lines as records landed and failed. The units of a batch shard form a chain: the first is sent
  the shard's records, each next one what the one before left unprocessed. The units of a sync piece share its records
  out among them;
* a late outcome (reprocess_records, redrive_failures, update_runs): one record leaves `failed` of its unit, and is
  landed, duplicate, resubmitted or dropped now.

A duplicate that is found after cutting leaves `accepted` for `duplicate`. Hence the run's numbers:

    duplicate = Σ cut.duplicate + Σ shard.duplicate + Σ unit.duplicate + Σ late duplicates
    accepted  = Σ cut.accepted − Σ shard.duplicate − Σ unit.duplicate − Σ late duplicates
    landed    = Σ unit.landed + Σ late landed
    failed    = Σ unit.failed − Σ late
    pending   = records of shards that no unit took, + Σ unit.open, + unprocessed records that no unit took over

Pending is counted from what is *known* to be unfinished, never as the difference that would make the sums right.

A worker may die between writing a part and noting it in its unit. The results in such a part are taken out of that
unit's pending records (`Account.adopt`): they have landed. Its failures stay pending: the unit, tried again, decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bulk_inference.core.names import Attempt
from bulk_inference.core.rejections import Rejection, RowCount, merged, of_item
from bulk_inference.core.result_line import Usage
from bulk_inference.core.runs_table import SHARDS, Item
from bulk_inference.land.units import Counts, ErrorKind, Late, Part, Unit


@dataclass
class ShardAccount:
    """One batch shard or sync piece."""

    shard: str
    mode: str
    records: int
    landed: int = 0
    failed: int = 0
    duplicate: int = 0
    """Found by its units."""
    resubmitted: int = 0
    dropped: int = 0
    pending: int = 0
    units: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "shard": self.shard,
            "mode": self.mode,
            "records": self.records,
            "landed": self.landed,
            "failed": self.failed,
            "duplicate": self.duplicate,
            "resubmitted": self.resubmitted,
            "dropped": self.dropped,
            "pending": self.pending,
            "units": self.units,
        }


@dataclass
class Account:
    """A run's numbers and what is wrong with them."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    landed: int = 0
    failed: int = 0
    resubmitted: int = 0
    """Failed here, landed by another run of the scope since."""
    dropped: int = 0
    """Failed, and given up by an operator."""
    pending: int = 0
    usage: Usage = field(default_factory=Usage)
    batch_input_tokens: int = 0
    """Of these, what batch jobs took: they may have a price of their own."""
    batch_output_tokens: int = 0
    rows: RowCount = field(default_factory=RowCount)
    """Of the corpus, blank ones aside."""
    rejections: list[Rejection] = field(default_factory=list)
    """Rows that became no records, by error class, the commonest first."""
    empty_fields: dict[str, int] = field(default_factory=dict)
    """Records by a field that the prompt names and that put nothing into it."""
    late: int = 0
    """Failed records that have left that state since."""
    unfit: int = 0
    """Answers of the failure lane that did not fit the run's schema, either: no record's state, but tokens."""
    shards: list[ShardAccount] = field(default_factory=list)
    errors: list[ErrorKind] = field(default_factory=list)
    """Kinds of error, the commonest first. Counts include failures that were settled late."""
    odd: dict[str, int] = field(default_factory=dict)
    """Output lines of jobs that were not taken: undecodable, foreign, doubled."""
    contradictions: list[str] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    """Result parts as their units say: key, bytes."""
    failure_parts: int = 0
    open: dict[str, dict[str, int]] = field(default_factory=dict)
    """Records that are pending in a unit that is not settled or not even begun, by unit and shard."""
    problems: list[str] = field(default_factory=list)
    """Sums that do not hold, each naming its cut, shard or unit and the numbers."""

    @property
    def input_tokens(self) -> int:
        return self.usage.input_tokens

    @property
    def output_tokens(self) -> int:
        return self.usage.output_tokens

    @property
    def counts(self) -> dict[str, int]:
        return {
            "read": self.read,
            "accepted": self.accepted,
            "landed": self.landed,
            "failed": self.failed,
            "rejected": self.rejected,
            "duplicate": self.duplicate,
            "pending": self.pending,
            "resubmitted": self.resubmitted,
            "dropped": self.dropped,
        }

    def adopt(self, unit: str, landed: int, usage: Usage) -> bool:
        """Counts the lines of result parts that an open unit has written and not noted. False if it has not so many
        records open: then nothing is changed."""
        pending = self.open.get(unit, {})
        if landed > sum(pending.values()):
            return False
        shards = {shard.shard: shard for shard in self.shards}
        for name in pending:
            here = min(landed, pending[name])
            landed -= here
            pending[name] -= here
            for one in (self, shards[name]):
                one.landed += here
                one.pending -= here
        self.usage += usage
        return True


@dataclass
class _Link:
    """A job's unit as the chain of its shard needs it."""

    sent: int
    unprocessed: int
    open: int
    next_unit: str | None


class _Books:
    """Sums by shard while items stream by."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.shards: dict[str, ShardAccount] = {}
        self.by_piece: dict[str, str] = {}
        self.links: dict[str, dict[str, _Link]] = {}
        self.sent: dict[str, int] = {}
        self.open: dict[str, int] = {}
        self.taken_over: dict[str, int] = {}
        self.failed: dict[tuple[str, str], int] = {}
        """Failed records by unit and shard, less those that were settled late."""
        self.settled: set[str] = set()

    def cut(self, item: Mapping[str, Any]) -> None:
        read, accepted = item["read"], item["accepted"]
        rejected, duplicate = item["rejected"], item["duplicate"]
        if read != accepted + rejected + duplicate:
            self._wrong(
                f"cut {item['cut']}: read {read}, but accepted {accepted} + rejected {rejected} + duplicate {duplicate}"
            )
        self.account.read += read
        self.account.accepted += accepted
        self.account.rejected += rejected
        self.account.duplicate += duplicate
        for name, number in item.get("emptyFields", {}).items():
            self.account.empty_fields[name] = self.account.empty_fields.get(name, 0) + int(number)
        rows, kinds = of_item(item)
        self.account.rows += rows
        self.account.rejections = merged([*self.account.rejections, *kinds])

    def shard(self, item: Mapping[str, Any]) -> None:
        name = str(item["sk"]).removeprefix(SHARDS)
        self.shards[name] = ShardAccount(name, item["mode"], item["accepted"])
        self.by_piece[item["piece"]] = name
        self._move_to_duplicate(item.get("duplicate", 0))

    def unit(self, unit: Unit) -> None:
        counts = unit.counts
        if counts.open < 0 or (unit.settled and counts.open):
            self._wrong(f"unit {unit.unit}: sent {counts.sent}, but {_shown(counts)}")
        for what, number, parts in (("landed", counts.landed, unit.results), ("failed", counts.failed, unit.failures)):
            if (lines := sum(part.lines for part in parts)) != number:
                self._wrong(f"unit {unit.unit}: {what} {number}, but its parts hold {lines} lines")
        unit = _untold_are_open(unit)
        counts = unit.counts
        for piece, one in unit.pieces.items():
            self._piece(unit, piece, one)
        if unit.settled:
            self.settled.add(unit.unit)
        self.account.landed += counts.landed
        self.account.failed += counts.failed
        self.account.usage += counts.usage
        if unit.kind == "job":
            self.account.batch_input_tokens += counts.input_tokens
            self.account.batch_output_tokens += counts.output_tokens
        self._move_to_duplicate(counts.duplicate)
        self._notes(unit)

    def _piece(self, unit: Unit, piece: str, counts: Counts) -> None:
        name = piece if piece in self.shards else self.by_piece.get(piece)
        if name is None:
            self._wrong(f"unit {unit.unit}: its piece {piece} is no shard of the run")
            return
        shard = self.shards[name]
        shard.units += 1
        shard.landed += counts.landed
        shard.failed += counts.failed
        shard.duplicate += counts.duplicate
        self.failed[unit.unit, name] = self.failed.get((unit.unit, name), 0) + counts.failed
        if not unit.settled:
            self._open(unit.unit, name, counts.open)
        if unit.kind == "job":
            link = _Link(counts.sent, counts.unprocessed, counts.open, unit.next_unit)
            self.links.setdefault(name, {})[unit.unit] = link
        elif shard.mode == "batch":
            self.taken_over[unit.unit] = counts.sent
            self.open[name] = self.open.get(name, 0) + counts.open
        else:
            self.sent[name] = self.sent.get(name, 0) + counts.sent
            self.open[name] = self.open.get(name, 0) + counts.open

    def _open(self, unit: str, shard: str, records: int) -> None:
        if records > 0:
            held = self.account.open.setdefault(unit, {})
            held[shard] = held.get(shard, 0) + records

    def _notes(self, unit: Unit) -> None:
        account = self.account
        account.errors += unit.errors
        for name in ("undecodable", "foreign", "doubled"):
            if number := getattr(unit, name):
                account.odd[name] = account.odd.get(name, 0) + number
        account.contradictions += [f"unit {unit.unit}: {note}" for note in unit.contradictions]
        account.failure_parts += len(unit.failures)
        self._parts(unit.results)

    def _parts(self, parts: Iterable[Part]) -> None:
        self.account.parts.update({part.key: part.bytes for part in parts})

    def late(self, item: Mapping[str, Any]) -> None:
        account = self.account
        account.late += 1
        account.failed -= 1
        account.usage += Usage.from_json(item)
        outcome = Late(item["outcome"])
        name = item["piece"] if item["piece"] in self.shards else self.by_piece.get(item["piece"], "")
        shard = self.shards.get(name, ShardAccount("", "", 0))
        self.failed[item["unit"], name] = self.failed.get((item["unit"], name), 0) - 1
        shard.failed -= 1
        if outcome is Late.LANDED:
            account.landed += 1
            shard.landed += 1
        elif outcome is Late.RESUBMITTED:
            account.resubmitted += 1
            shard.resubmitted += 1
        elif outcome is Late.DROPPED:
            account.dropped += 1
            shard.dropped += 1
        else:
            self._move_to_duplicate(1)
            shard.duplicate += 1
        self._parts(Part.from_json(one) for one in item.get("results", []))

    def unfit(self, item: Mapping[str, Any]) -> None:
        self.account.unfit += item["answers"]
        self.account.usage += Usage.from_json(item)

    def close(self) -> None:
        account = self.account
        account.shards = [self.shards[name] for name in sorted(self.shards)]
        for shard in account.shards:
            shard.pending = self._chain(shard) if shard.mode == "batch" else self._share(shard)
        self._before_their_units()
        for shard in account.shards:
            gone = shard.resubmitted + shard.dropped
            if shard.records != shard.landed + shard.failed + shard.duplicate + gone + shard.pending:
                self._wrong(
                    f"shard {shard.shard}: {shard.records} records, but landed {shard.landed} + failed {shard.failed} "
                    f"+ duplicate {shard.duplicate} + resubmitted {shard.resubmitted} + dropped {shard.dropped} "
                    f"+ pending {shard.pending}"
                )
            account.pending += shard.pending
        sealed = sum(shard.records for shard in account.shards)
        found_late = sum(shard.duplicate for shard in account.shards)
        if sealed != account.accepted + found_late:
            self._wrong(f"the cuts accepted {account.accepted + found_late} records, the shards hold {sealed}")
        gone = account.resubmitted + account.dropped
        if account.accepted != account.landed + account.failed + gone + account.pending:
            self._wrong(
                f"accepted {account.accepted}, but landed {account.landed} + failed {account.failed} "
                f"+ resubmitted {account.resubmitted} + dropped {account.dropped} + pending {account.pending}"
            )
        account.errors = _merged(account.errors)

    def _before_their_units(self) -> None:
        """A worker that dies may have sent messages of failures that its unit has not noted: what the failure lane has
        settled of them was pending, not failed."""
        for (unit, name), failed in self.failed.items():
            if failed >= 0:
                continue
            open_ = self.account.open.get(unit, {})
            if unit in self.settled or open_.get(name, 0) < -failed:
                self._wrong(f"unit {unit}: more of its failed records were settled late than had failed")
                continue
            open_[name] += failed
            self.account.failed -= failed
            self.shards[name].failed -= failed
            self.shards[name].pending += failed

    def _chain(self, shard: ShardAccount) -> int:
        """Pending records of a batch shard, along the chain of its units."""
        links = self.links.get(shard.shard, {})
        name: str | None = Attempt(shard.shard, 1).name
        due, pending, followed = shard.records, self.open.get(shard.shard, 0), 0
        while name is not None and name in links:
            link = links[name]
            followed += 1
            if link.sent != due:
                self._wrong(f"unit {name}: sent {link.sent} records, but {due} were due")
            pending += link.open
            due, name = link.unprocessed, link.next_unit
        if name is not None and name in self.taken_over:
            if self.taken_over[name] != due:
                self._wrong(f"unit {name}: sent {self.taken_over[name]} records, but {due} were due")
            due = 0
        elif name is not None:
            self._open(name, shard.shard, due)
        if followed < len(links):
            self._wrong(f"shard {shard.shard}: units {sorted(links)} do not follow from each other")
        return pending + due

    def _share(self, shard: ShardAccount) -> int:
        """Pending records of a sync piece: those that no batch has taken, and those open in one."""
        sent = self.sent.get(shard.shard, 0)
        if sent > shard.records:
            self._wrong(f"sync piece {shard.shard}: {shard.records} records, but {sent} were sent")
        return max(0, shard.records - sent) + self.open.get(shard.shard, 0)

    def _move_to_duplicate(self, number: int) -> None:
        self.account.accepted -= number
        self.account.duplicate += number

    def _wrong(self, what: str) -> None:
        self.account.problems.append(what)


def account(
    cuts: Iterable[Item],
    shards: Iterable[Item],
    units: Iterable[Item],
    lates: Iterable[Item],
    unfits: Iterable[Item] = (),
) -> Account:
    """Adds the items of one run up. Order within each kind does not matter; items stream by, sums stay."""
    books = _Books(Account())
    for item in cuts:
        books.cut(item)
    for item in shards:
        books.shard(item)
    for item in units:
        books.unit(Unit.from_json(item))
    for item in lates:
        books.late(item)
    for item in unfits:
        books.unfit(item)
    books.close()
    return books.account


def cross_check(parts: Mapping[str, int], stored: Mapping[str, int]) -> list[str]:
    """Result parts as the units say against those that lie in S3 (both: key, bytes): what differs."""
    wrong = [
        f"{key}: {stored.get(key, 'no')} bytes in S3, its unit wrote {size}"
        for key, size in parts.items()
        if stored.get(key) != size
    ]
    return wrong + [f"{key}: lies in S3, but no unit says that it wrote it" for key in stored if key not in parts]


def _untold_are_open(unit: Unit) -> Unit:
    """A failed record is told by its message: until the queue has accepted that, it is pending."""
    unsent = tuple(f"/part-{name}.jsonl" for name in unit.unsent)
    untold = sum(part.lines for part in unit.failures if part.key.endswith(unsent)) if unsent else 0
    pieces = dict(unit.pieces)
    for name, counts in unit.pieces.items():
        here = min(untold, counts.failed)
        pieces[name] = replace(counts, failed=counts.failed - here)
        untold -= here
    return replace(unit, pieces=pieces)


def _shown(counts: Counts) -> str:
    return (
        f"landed {counts.landed} + failed {counts.failed} + duplicate {counts.duplicate} "
        f"+ unprocessed {counts.unprocessed}"
    )


def _merged(kinds: Iterable[ErrorKind]) -> list[ErrorKind]:
    found: dict[tuple[str, str], ErrorKind] = {}
    for kind in kinds:
        key = (kind.error_class, kind.error_code)
        first = found.get(key)
        sample = first.record_id if first else kind.record_id
        found[key] = ErrorKind(*key, kind.count + (first.count if first else 0), sample)
    return sorted(found.values(), key=lambda kind: (-kind.count, kind.error_class, kind.error_code))
