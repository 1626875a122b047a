"""An item batch inferred on demand: infer, then claim and land in chunks of fixed positions.

The unit's item holds one character per record: what has been settled is never inferred again, whichever invocation
settled it. All records of a unit claim under one owner, however many attempts and flushes it takes to land them.

The model may answer the retry otherwise than it answered the dead attempt. So what the dead attempt wrote and did not
commit is withdrawn (core/leases.py); a record that fails now gives back the claim that it got then; and a message goes
into the failure lane only after the item says that its record failed, from which there is no way back. Until the queue
has accepted it, the unit is open.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.errors import InvalidRequestError, ThrottledError, UnitFailedError
from bulk_inference.core.failure_line import Failure, class_of_outcome
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.leases import Lease
from bulk_inference.core.names import block_part, chunk_of, sync_unit
from bulk_inference.core.ports import Outcome
from bulk_inference.core.result_line import encode, split, text_of, usage_of
from bulk_inference.cut.item_batches import ItemBatch
from bulk_inference.land.landing import (
    LANDING_RESERVE_SECONDS,
    LANDING_RESERVE_SHARE,
    Landed,
    Owner,
    give_back,
    land,
)
from bulk_inference.land.lane_messages import deliver
from bulk_inference.land.late_outcomes import mark_if_run_ended
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.land.units import (
    Counts,
    Part,
    Unit,
    broken,
    describe,
    items_unit,
    tally,
)
from bulk_inference.sync.inference import infer_all

OPEN, LANDED, FAILED, DUPLICATE = ".LFD"

_SYSTEMIC: Final = frozenset({"access_denied", "model_not_found"})
"""Refusals that no record is to blame for: all others would meet them, too."""


@dataclass(frozen=True)
class Batch:
    """One child of Infer Batches, or the remainder of a shard."""

    run: str
    tenant: str
    unit: str
    items: list[Mapping[str, Any]]
    positions: list[int]
    """Position in the unit of each of the items: those handed back keep theirs."""
    slice: ItemBatch | None
    """Where its items lie; None: they came along."""
    piece: str | None
    """The shard whose remainder this is; None: each item names its own piece."""
    attempt: int
    round: int

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Batch":
        """`{"BatchInput": {"run", "tenant", "unit"?, …}, "Items": […]}`. Items: one slice, or records and pointers."""
        given, items = event["BatchInput"], list(event["Items"])
        where = ItemBatch.from_items(items)
        name = where.batch if where is not None else items_unit(given["run"], items)
        return cls(
            run=given["run"],
            tenant=given["tenant"],
            unit=given.get("unit") or sync_unit(name),
            items=[] if where is not None else items,
            positions=[] if where is not None else list(given.get("positions", range(len(items)))),
            slice=where,
            piece=given.get("piece"),
            attempt=int(given.get("attempt", 1)),
            round=int(given.get("round", 1)),
        )

    def loaded(self, unit_context: UnitContext) -> "Batch":
        """With its items at hand."""
        if self.slice is None:
            return self
        raw = unit_context.input.get_range(
            unit_context.places.index(self.slice.index), self.slice.offset, self.slice.length
        )
        items = self.slice.items(raw)
        return replace(self, items=list[Mapping[str, Any]](items), positions=list(range(len(items))))

    @property
    def pointers(self) -> list[Pointer]:
        """Of a batch that is loaded."""
        read = Pointer.of_item if self.slice is None else Pointer.from_json
        return [read(item) for item in self.items]

    def following(self, rest: Sequence[int], counts: Mapping[str, Any]) -> dict[str, Any]:
        """The event of the next call, or the child's result: `rest` are the positions that are still open."""
        batch_input: dict[str, Any] = {
            "run": self.run,
            "tenant": self.tenant,
            "unit": self.unit,
            "attempt": self.attempt,
            "round": self.round + 1,
        }
        if self.piece is not None:
            batch_input["piece"] = self.piece
        if self.slice is not None:
            # Its unit's item says which records are open.
            items: list[Any] = [self.slice.to_json()]
        else:
            wanted = set(rest)
            kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if at in wanted]
            batch_input["positions"] = [at for _, at in kept]
            items = [item for item, _ in kept]
        return {
            "BatchInput": batch_input,
            "Items": items,
            "next": "infer" if rest else "done",
            "counts": dict(counts),
        }


def infer_batch(batch: Batch, unit_context: UnitContext) -> dict[str, Any]:
    """Infers and lands what it can before its deadline: `{"rest": positions that are open, "counts": the unit's so far,
    "done": {"landed", "failed"} by this call}`. Holds no text of records.

    Raises UnitFailedError (too many failed, or Bedrock refuses this role or model), after landing; ThrottledError, if
    nothing could be landed, or a message of a failed record was not accepted; WorkInProgressError when another
    invocation works on the same unit.
    """
    batch = batch.loaded(unit_context)
    with unit_context.leases.hold(batch.run, batch.unit) as lease:
        unit = unit_context.begun(lease) or _begin(batch, unit_context, lease)
        try:
            return _Landing(batch, unit_context, unit, lease).run()
        finally:
            mark_if_run_ended(batch.run, batch.tenant, unit.unit, unit_context.runs, unit_context.expires_at)


def _begin(batch: Batch, unit_context: UnitContext, lease: Lease) -> Unit:
    seen: set[str] = set()
    outcomes = ""
    pieces: dict[str, Counts] = {}
    for pointer in batch.pointers:
        again = pointer.record_id in seen
        seen.add(pointer.record_id)
        outcomes += DUPLICATE if again else OPEN
        piece = _piece(batch, pointer)
        pieces[piece] = pieces.get(piece, Counts()) + Counts(sent=1, duplicate=int(again))
    unit = Unit(unit=batch.unit, kind="items", pieces=pieces, next="infer", attempt=batch.attempt, outcomes=outcomes)
    return unit_context.commit(lease, unit)


def _piece(batch: Batch, pointer: Pointer) -> str:
    return batch.piece or pointer.shard or "inline"


def _whole(pointer: Pointer) -> bytes:
    return encode({"recordId": pointer.record_id, "modelInput": pointer.body})


_DENIED: Final = re.compile(r"\bperform: ([a-z0-9-]+:[A-Za-z]+)(?: on resource: (arn:[A-Za-z0-9:/._*-]+))?")
"""What IAM says of a missing permission: an action and a resource."""


def refused_call(outcome: Outcome, invoke_id: str) -> str:
    """A refusal that no record is to blame for, in words of ours: the service's own might quote a record."""
    found = _DENIED.search(outcome.error_message or "")
    lacking = f": this function may not perform {found[1]} on {found[2] or 'its resource'}" if found else ""
    return f"{outcome.error_code} for model {invoke_id}{lacking}"


class _Landing:
    """One invocation's work on one unit."""

    def __init__(self, batch: Batch, unit_context: UnitContext, unit: Unit, lease: Lease) -> None:
        self.batch = batch
        self.unit_context = unit_context
        self.unit = unit
        self.lease = lease
        self.before = unit.counts
        self.pointers = dict(zip(batch.positions, batch.pointers, strict=True))
        self.settled: dict[int, Outcome] = {}
        self.refusal: str | None = None
        self.owner = Owner.of(lease)
        clock = unit_context.clock
        reserve = 0.5 * min(LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE * clock.remaining())
        self.patience = DeadlineBackoff(clock, reserve)

    def run(self) -> dict[str, Any]:
        try:
            self._deliver()
            self._infer()
        except ThrottledError:
            # What was landed before is noted, and the rest handed on; a retry after a pause is for who got nowhere.
            if self.unit.counts == self.before:
                raise
        return self._conclude()

    def _infer(self) -> None:
        wanted = [at for at in self.pointers if self.unit.outcomes[at] == OPEN]
        self.unit_context.require_decided(self.pointers[at].record_id for at in wanted)
        missing = {number: sum(chunk_of(at) == number for at in wanted) for number in {chunk_of(at) for at in wanted}}
        for at, outcome in infer_all(wanted, self._call, self.unit_context.clock):
            if outcome.error_class in _SYSTEMIC:
                self.refusal = refused_call(outcome, self.unit_context.spec.model.invoke_id)
                break
            self.settled[at] = outcome
            missing[chunk_of(at)] -= 1
            if not missing[chunk_of(at)]:
                self._flush(chunk_of(at))
        for number in sorted({chunk_of(at) for at in self.settled}):
            self._flush(number)

    def _call(self, at: int) -> Callable[[], Outcome]:
        try:
            return self.unit_context.call(self.pointers[at])
        except InvalidRequestError:
            if self.batch.slice is not None:
                raise
            # A line of a ready corpus that looks like a pointer: the model refuses it, and no other record with it.
            return lambda: self.unit_context.infer({})

    def _flush(self, number: int) -> None:
        """Lands what is settled of one chunk: claim, parts, the unit's item, and only then the messages."""
        taken = sorted(at for at in self.settled if chunk_of(at) == number)
        outcomes = {at: self.settled.pop(at) for at in taken}
        unit_context = self.unit_context
        landed = land(
            [(self.pointers[at], done.output) for at, done in outcomes.items() if done.error_class is None],
            owner=self.owner,
            spec=unit_context.spec,
            ledger=unit_context.ledger,
            patience=self.patience,
            now=unit_context.clock.now(),
            stands=unit_context.stands,
        )
        failed = {at: self._failure(at, done) for at, done in outcomes.items() if done.error_class is not None}
        flush = self.unit.flushes.get(f"{number}", 0) + 1
        part = self.lease.part(block_part(self.unit.unit, number, flush))
        results = self._part(unit_context.places.results(part), landed.lines)
        failures = self._part(
            unit_context.places.failures(part), [one.line(unit_context.spec.source.bucket) for one in failed.values()]
        )
        if failed:
            self._write_messages(part, list(failed.values()))
            give_back(
                (one.pointer.record_id for one in failed.values()), self.owner, unit_context.spec, unit_context.ledger
            )
        counted = self._counted(outcomes, failed, landed)
        self.unit = unit_context.commit(
            self.lease,
            replace(
                counted,
                results=self.unit.results + results,
                failures=self.unit.failures + failures,
                errors=tally(self.unit.errors, failed.values()),
                flushes={**self.unit.flushes, f"{number}": flush},
                unsent=self.unit.unsent + ([part] if failed else []),
            ),
        )
        self._deliver()

    def _failure(self, at: int, done: Outcome) -> Failure:
        message = done.error_message or ""
        kind, text = class_of_outcome(done.error_class or "", message), text_of(done.output)
        return Failure(self.pointers[at], kind, done.error_code or "", message, self.batch.attempt, text)

    def _counted(self, outcomes: Mapping[int, Outcome], failed: Mapping[int, Failure], landed: Landed) -> Unit:
        """The unit with what became of these positions."""
        lost = {pointer.record_id for pointer in landed.lost}
        letters = list(self.unit.outcomes)
        pieces = dict(self.unit.pieces)
        for at in outcomes:
            pointer = self.pointers[at]
            letters[at] = FAILED if at in failed else DUPLICATE if pointer.record_id in lost else LANDED
            piece = _piece(self.batch, pointer)
            pieces[piece] = pieces[piece] + Counts(
                landed=int(letters[at] == LANDED),
                failed=int(letters[at] == FAILED),
                duplicate=int(letters[at] == DUPLICATE),
            )
        first = _piece(self.batch, self.pointers[next(iter(outcomes))])
        # An answer that does not fit was paid for, too.
        unfit = (usage_of(outcomes[at].output) for at in failed if outcomes[at].output is not None)
        pieces[first] = pieces[first] + Counts.of(sum(unfit, landed.usage))
        return replace(self.unit, pieces=pieces, outcomes="".join(letters))

    def _part(self, key: str, lines: list[bytes]) -> list[Part]:
        """No lines, no object."""
        if not lines:
            return []
        body = b"".join(lines)
        self.unit_context.output.create(key, body, "application/x-ndjson")
        return [Part(key, len(body), len(lines))]

    # The failure lane.

    def _write_messages(self, part: str, failed: Sequence[Failure]) -> None:
        """The messages of a flush, in the order of its failure part, as an object: whoever works on the unit next sends
        them if this worker does not come to it. Records that came along whole are kept too, so that messages hold
        pointers alone."""
        output, places = self.unit_context.output, self.unit_context.places
        parked = b"".join(_whole(failure.pointer) for failure in failed if failure.pointer.body is not None)
        if parked:
            output.create(places.parked(part), parked, "application/x-ndjson")
        offset, messages = 0, []
        for failure in failed:
            item = failure.pointer.to_json()
            if failure.pointer.body is not None:
                length = len(_whole(failure.pointer))
                item |= {"parked": places.parked(part), "offset": offset, "length": length}
                offset += length
            piece = _piece(self.batch, failure.pointer)
            messages.append(failure.message(self.batch.run, self.batch.tenant, self.batch.unit, piece, item))
        output.create(places.outbox(part), b"".join(map(encode, messages)), "application/x-ndjson")

    def _deliver(self) -> None:
        """Sends the messages of failures that are committed. A queue that refuses them keeps the unit open."""
        if self.unit.unsent and deliver(self.unit.unsent, self.unit_context, self._written_before):
            self.unit = self.unit_context.commit(self.lease, replace(self.unit, unsent=[]))

    def _written_before(self, part: str) -> list[dict[str, Any]]:
        """Messages of a flush of a bundle that wrote none down."""
        by_id = {pointer.caller_id: pointer for pointer in self.pointers.values()}
        key = self.unit_context.places.parked(part)
        parked: dict[str, dict[str, Any]] = {}
        if self.unit_context.output.find(key) is not None:
            start = 0
            for raw, end in split(self.unit_context.output.read(key)):
                record_id = json.loads(raw)["recordId"]
                parked[record_id] = {"recordId": record_id, "parked": key, "offset": start, "length": end - start}
                start = end
        messages = []
        for raw, _ in split(self.unit_context.output.read(self.unit_context.places.failures(part))):
            told = json.loads(raw)
            pointer = by_id.get(told["recordId"]) or Pointer.from_json(parked[told["recordId"]])
            failure = Failure(pointer, told["errorClass"], told["errorCode"], told["errorMessage"], told["attempt"])
            item = parked.get(told["recordId"]) or pointer.to_json()
            piece = _piece(self.batch, pointer)
            messages.append(failure.message(self.batch.run, self.batch.tenant, self.batch.unit, piece, item))
        return messages

    def _conclude(self) -> dict[str, Any]:
        if self.refusal is not None:
            raise UnitFailedError(f"unit {self.unit.unit}: {self.refusal}")
        rest = [at for at in self.batch.positions if self.unit.outcomes[at] == OPEN]
        counts = self.unit.counts
        if not counts.open:
            if self.unit.unsent:
                raise ThrottledError(f"unit {self.unit.unit}: the queue has not accepted all messages of its failures")
            if not self.unit.settled:
                settled = replace(self.unit, settled=True, next="done")
                self.unit = self.unit_context.commit(self.lease, settled, last=True)
            tolerated = self.unit_context.spec.settings.tolerated_failure_percentage
            if broken(counts, 0, tolerated) and (
                why := broken(counts, self.unit_context.late(self.unit.unit), tolerated)
            ):
                raise UnitFailedError(f"unit {self.unit.unit}: {why}; {describe(self.unit)}")
        done = {"landed": counts.landed - self.before.landed, "failed": counts.failed - self.before.failed}
        return {"rest": rest, "counts": counts.to_json(), "done": done}
