"""An item batch inferred on demand: infer, then claim and land in chunks of fixed positions.

The unit's item holds one character per record: what has been settled is never inferred again, whichever invocation
settled it. All records of a unit claim under one owner, however many tries and flushes it takes to land them. The
number of a flush, and so the key of its part, comes from the stored item: a crash between part and item makes the retry
write the same key again.

The model may answer the retry otherwise than it answered the dead try. So a retry writes over whatever the dead try
wrote, be it with nothing; a record that fails now gives back the claim that it got then; and a message goes into the
failure lane only after the item says that its record failed, from which there is no way back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import ThrottledError, UnitFailedError, WorkInProgressError
from bulk_inference.core.failure_line import Failure, class_of_outcome
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.ports import Outcome
from bulk_inference.core.result_line import encode, split, text_of, usage_of
from bulk_inference.cut.item_batches import ItemBatch
from bulk_inference.land.landing import LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE, give_back, land, owner_of
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

CHUNK: Final = 50
"""Records that are landed together: two requests of claims, one part."""

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
            unit=given.get("unit") or names.sync_unit(name),
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
    nothing could be landed; WorkInProgressError when another invocation changes the same unit.
    """
    batch = batch.loaded(unit_context)
    unit = unit_context.unit(batch.unit) or _begin(batch, unit_context)
    try:
        return _Landing(batch, unit_context, unit).run()
    finally:
        mark_if_run_ended(batch.run, batch.tenant, unit.unit, unit_context.runs, unit_context.expires_at)


def _begin(batch: Batch, unit_context: UnitContext) -> Unit:
    pointers = [Pointer.from_json(item) for item in batch.items]
    seen: set[str] = set()
    outcomes = ""
    pieces: dict[str, Counts] = {}
    for pointer in pointers:
        again = pointer.record_id in seen
        seen.add(pointer.record_id)
        outcomes += DUPLICATE if again else OPEN
        piece = _piece(batch, pointer)
        pieces[piece] = pieces.get(piece, Counts()) + Counts(sent=1, duplicate=int(again))
    unit = Unit(
        unit=batch.unit, kind="items", pieces=pieces, next="infer", attempt=batch.attempt, outcomes=outcomes, version=1
    )
    if not unit_context.runs.put_if(unit.item(batch.run, unit_context.expires_at), "version", None):
        raise WorkInProgressError(f"unit {batch.unit} has just been begun by another invocation")
    return unit


def _piece(batch: Batch, pointer: Pointer) -> str:
    return batch.piece or pointer.shard or "inline"


def _whole(pointer: Pointer) -> bytes:
    return encode({"recordId": pointer.record_id, "modelInput": pointer.body})


class _Landing:
    """One invocation's work on one unit."""

    def __init__(self, batch: Batch, unit_context: UnitContext, unit: Unit) -> None:
        self.batch = batch
        self.unit_context = unit_context
        self.unit = unit
        self.before = unit.counts
        self.pointers = {at: Pointer.from_json(item) for item, at in zip(batch.items, batch.positions, strict=True)}
        self.settled: dict[int, Outcome] = {}
        self.refusal: str | None = None
        self.owner = owner_of(batch.run, unit.unit)
        self.reserve = 0.5 * min(LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE * unit_context.clock.remaining())

    def run(self) -> dict[str, Any]:
        try:
            self._infer()
        except ThrottledError:
            # What was landed before is noted, and the rest handed on; a retry after a pause is for who got nowhere.
            if self.unit.counts == self.before:
                raise
        return self._conclude()

    def _infer(self) -> None:
        for part in self.unit.unsent:
            self._send(part, self._failed_in(part))
        self._sent()
        wanted = [at for at in self.pointers if self.unit.outcomes[at] == OPEN]
        self.unit_context.require_decided(self.pointers[at].record_id for at in wanted)
        missing = {number: sum(at // CHUNK == number for at in wanted) for number in {at // CHUNK for at in wanted}}
        body_of = lambda at: self.unit_context.body(self.pointers[at])  # noqa: E731
        for at, outcome in infer_all(wanted, body_of, self.unit_context.infer, self.unit_context.clock):
            if outcome.error_class in _SYSTEMIC:
                self.refusal = f"{outcome.error_code}: {outcome.error_message}"
                break
            self.settled[at] = outcome
            missing[at // CHUNK] -= 1
            if not missing[at // CHUNK]:
                self._flush(at // CHUNK)
        for number in sorted({at // CHUNK for at in self.settled}):
            self._flush(number)

    def _flush(self, number: int) -> None:
        """Lands what is settled of one chunk: claim, parts, the unit's item, and only then the messages."""
        taken = sorted(at for at in self.settled if at // CHUNK == number)
        outcomes = {at: self.settled.pop(at) for at in taken}
        flush = self.unit.flushes.get(f"{number}", 0) + 1
        part = names.block_part(self.unit.unit, number, flush)
        successes = [(self.pointers[at], done.output) for at, done in outcomes.items() if done.error_class is None]
        unit_context = self.unit_context
        landed = land(
            successes,
            owner=self.owner,
            spec=unit_context.spec,
            ledger=unit_context.ledger,
            clock=unit_context.clock,
            reserve=self.reserve,
            stands=unit_context.stands,
        )
        failed = {
            at: Failure(
                self.pointers[at],
                class_of_outcome(done.error_class, done.error_message or ""),
                done.error_code or "",
                done.error_message or "",
                self.batch.attempt,
                text_of(done.output),
            )
            for at, done in outcomes.items()
            if done.error_class is not None
        }
        source = unit_context.spec.source.bucket
        results = self._part(unit_context.places.results(part), landed.lines)
        failures = self._part(unit_context.places.failures(part), [one.line(source) for one in failed.values()])
        if failed:
            self._park(part, list(failed.values()))
            give_back(
                (one.pointer.record_id for one in failed.values()), self.owner, unit_context.spec, unit_context.ledger
            )
        lost = {pointer.record_id for pointer in landed.lost}
        letters = list(self.unit.outcomes)
        pieces = dict(self.unit.pieces)
        for at in taken:
            pointer = self.pointers[at]
            letters[at] = FAILED if at in failed else DUPLICATE if pointer.record_id in lost else LANDED
            piece = _piece(self.batch, pointer)
            pieces[piece] = pieces[piece] + Counts(
                landed=int(letters[at] == LANDED),
                failed=int(letters[at] == FAILED),
                duplicate=int(letters[at] == DUPLICATE),
            )
        first = _piece(self.batch, self.pointers[taken[0]])
        # An answer that does not fit was paid for, too.
        unfit = (usage_of(outcomes[at].output) for at in failed if outcomes[at].output is not None)
        pieces[first] = pieces[first] + Counts.of(sum(unfit, landed.usage))
        self._save(
            replace(
                self.unit,
                pieces=pieces,
                outcomes="".join(letters),
                results=self.unit.results + results,
                failures=self.unit.failures + failures,
                errors=tally(self.unit.errors, failed.values()),
                flushes={**self.unit.flushes, f"{number}": flush},
                unsent=self.unit.unsent + ([part] if failed else []),
            )
        )
        if failed:
            self._send(part, list(failed.values()))
            self._sent()

    def _part(self, key: str, lines: list[bytes]) -> list[Part]:
        """No lines, no object: unless a dead try has left one, which must not stay as it is."""
        if not lines and self.unit_context.output.find(key) is None:
            return []
        body = b"".join(lines)
        self.unit_context.output.put(key, body, "application/x-ndjson")
        return [Part(key, len(body), len(lines))]

    # The failure lane.

    def _park(self, part: str, failed: Sequence[Failure]) -> None:
        """Records that came along whole are kept, so that messages hold pointers alone."""
        parked = b"".join(_whole(failure.pointer) for failure in failed if failure.pointer.body is not None)
        if parked:
            self.unit_context.output.put(self.unit_context.places.parked(part), parked, "application/x-ndjson")

    def _send(self, part: str, failed: Sequence[Failure]) -> None:
        """One message per failure of a flush, in the order of its failure part."""
        batch, parked = self.batch, 0
        messages = []
        for failure in failed:
            item = failure.pointer.to_json()
            if failure.pointer.body is not None:
                length = len(_whole(failure.pointer))
                key = self.unit_context.places.parked(part)
                item = {"recordId": failure.pointer.record_id, "parked": key, "offset": parked, "length": length}
                parked += length
            piece = _piece(batch, failure.pointer)
            messages.append(failure.message(batch.run, batch.tenant, batch.unit, piece, item))
        self.unit_context.queue.send(messages)

    def _failed_in(self, part: str) -> list[Failure]:
        """The failures of a flush whose worker died before it had sent their messages."""
        by_id = {pointer.caller_id: pointer for pointer in self.pointers.values()}
        lines = split(self.unit_context.output.read(self.unit_context.places.failures(part)))
        told = [json.loads(raw) for raw, _ in lines]
        return [
            Failure(
                by_id[one["recordId"]],
                one["errorClass"],
                one["errorCode"],
                one["errorMessage"],
                one["attempt"],
            )
            for one in told
        ]

    def _sent(self) -> None:
        if self.unit.unsent:
            self._save(replace(self.unit, unsent=[]))

    def _save(self, unit: Unit) -> None:
        changed = replace(unit, version=self.unit.version + 1)
        item = changed.item(self.batch.run, self.unit_context.expires_at)
        if not self.unit_context.runs.put_if(item, "version", self.unit.version):
            raise WorkInProgressError(f"unit {unit.unit} is being worked on by another invocation")
        self.unit = changed

    def _conclude(self) -> dict[str, Any]:
        if self.refusal is not None:
            raise UnitFailedError(f"unit {self.unit.unit}: {self.refusal}")
        rest = [at for at in self.batch.positions if self.unit.outcomes[at] == OPEN]
        counts = self.unit.counts
        if not counts.open:
            if not self.unit.settled:
                self._save(replace(self.unit, settled=True, next="done"))
            tolerated = self.unit_context.spec.settings.tolerated_failure_percentage
            if broken(counts, 0, tolerated) and (
                why := broken(counts, self.unit_context.late(self.unit.unit), tolerated)
            ):
                raise UnitFailedError(f"unit {self.unit.unit}: {why}; {describe(self.unit)}")
        done = {"landed": counts.landed - self.before.landed, "failed": counts.failed - self.before.failed}
        return {"rest": rest, "counts": counts.to_json(), "done": done}
