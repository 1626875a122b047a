"""An item batch inferred on demand: infer, then claim and land in chunks of fixed positions.

The unit's item holds one character per record: what has been settled is never inferred again, whichever invocation
settled it. A chunk's records claim under one owner, however many flushes it takes to land them. The number of a flush,
and so the key of its part, comes from the stored item: a crash between part and item makes the retry write the same
key again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from bulk_inference.collection import describe
from bulk_inference.errors import UnitFailedError, WorkInProgressError
from bulk_inference.failures import Failure, class_of_outcome
from bulk_inference.inference import infer_all
from bulk_inference.landing import land, owner_of
from bulk_inference.pointers import Pointer
from bulk_inference.ports import Outcome
from bulk_inference.results import encode
from bulk_inference.units import Counts, Part, Unit, broken, items_unit, tally
from bulk_inference.workshop import Workshop

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
    total: int
    """Records of the unit."""
    piece: str | None
    """The shard whose remainder this is; None: each item names its own piece."""
    attempt: int
    round: int

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Batch":
        """`{"BatchInput": {"run", "tenant", "unit"?, …}, "Items": […]}`."""
        given, items = event["BatchInput"], list(event["Items"])
        return cls(
            run=given["run"],
            tenant=given["tenant"],
            unit=given.get("unit") or f"sync-{items_unit(given['run'], items)}",
            items=items,
            positions=[int(position) for position in given.get("positions", range(len(items)))],
            total=int(given.get("total", len(items))),
            piece=given.get("piece"),
            attempt=int(given.get("attempt", 1)),
            round=int(given.get("round", 1)),
        )

    def following(self, rest: Sequence[int], counts: Mapping[str, Any]) -> dict[str, Any]:
        """The event of the next call, or the child's result: `rest` are the positions that are still open."""
        wanted = set(rest)
        kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if at in wanted]
        batch_input: dict[str, Any] = {
            "run": self.run,
            "tenant": self.tenant,
            "unit": self.unit,
            "attempt": self.attempt,
            "round": self.round + 1,
            "total": self.total,
            "positions": [at for _, at in kept],
        }
        if self.piece is not None:
            batch_input["piece"] = self.piece
        return {
            "BatchInput": batch_input,
            "Items": [item for item, _ in kept],
            "next": "infer" if kept else "done",
            "counts": dict(counts),
        }


def infer_batch(batch: Batch, shop: Workshop) -> dict[str, Any]:
    """Infers and lands what it can before its deadline: `{"rest": positions that are open, "counts": the unit's so far,
    "done": {"landed", "failed"} by this call}`. Holds no text of records.

    Raises UnitFailedError (too many failed, or Bedrock refuses this role or model), after landing; ThrottledError;
    WorkInProgressError when another invocation changes the same unit.
    """
    unit = shop.unit(batch.unit) or _begin(batch, shop)
    return _Landing(batch, shop, unit).run()


def _begin(batch: Batch, shop: Workshop) -> Unit:
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
    if not shop.runs.put_if(unit.item(batch.run, shop.expires_at), "version", None):
        raise WorkInProgressError(f"unit {batch.unit} has just been begun by another invocation")
    return unit


def _piece(batch: Batch, pointer: Pointer) -> str:
    return batch.piece or pointer.shard or "inline"


class _Landing:
    """One invocation's work on one unit."""

    def __init__(self, batch: Batch, shop: Workshop, unit: Unit) -> None:
        self.batch = batch
        self.shop = shop
        self.unit = unit
        self.before = unit.counts
        self.pointers = {at: Pointer.from_json(item) for item, at in zip(batch.items, batch.positions, strict=True)}
        self.settled: dict[int, Outcome] = {}
        self.refusal: str | None = None

    def run(self) -> dict[str, Any]:
        wanted = [at for at in self.pointers if self.unit.outcomes[at] == OPEN]
        missing = {number: sum(at // CHUNK == number for at in wanted) for number in {at // CHUNK for at in wanted}}
        model = self.shop.spec.model
        call = partial(self.shop.model.infer, model.invoke_id, model.api)
        for at, outcome in infer_all(wanted, lambda at: self.shop.body(self.pointers[at]), call, self.shop.clock):
            if outcome.error_class in _SYSTEMIC:
                self.refusal = f"{outcome.error_code}: {outcome.error_message}"
                break
            self.settled[at] = outcome
            missing[at // CHUNK] -= 1
            if not missing[at // CHUNK]:
                self._flush(at // CHUNK)
        for number in sorted({at // CHUNK for at in self.settled}):
            self._flush(number)
        return self._conclude()

    def _flush(self, number: int) -> None:
        """Lands what is settled of one chunk: claim, part, failures, messages, and only then the unit's item."""
        taken = sorted(at for at in self.settled if at // CHUNK == number)
        outcomes = {at: self.settled.pop(at) for at in taken}
        chunk = f"{self.unit.unit}-{number:03d}"
        flush = self.unit.flushes.get(f"{number}", 0) + 1
        part = chunk if flush == 1 else f"{chunk}-f{flush}"
        successes = [(self.pointers[at], done.output) for at, done in outcomes.items() if done.error_class is None]
        landed = land(
            successes,
            owner=owner_of(self.batch.run, chunk),
            spec=self.shop.spec,
            ledger=self.shop.ledger,
            clock=self.shop.clock,
        )
        failed = {
            at: Failure(
                self.pointers[at],
                class_of_outcome(done.error_class, done.error_message or ""),
                done.error_code or "",
                done.error_message or "",
                self.batch.attempt,
            )
            for at, done in outcomes.items()
            if done.error_class is not None
        }
        source = self.shop.spec.source.bucket
        results = self._part(self.shop.places.results(part), landed.lines)
        failures = self._part(self.shop.places.failures(part), [one.line(source) for one in failed.values()])
        self._queue(part, failed)
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
        pieces[first] = pieces[first] + Counts(
            input_tokens=landed.usage.input_tokens, output_tokens=landed.usage.output_tokens
        )
        self._save(
            replace(
                self.unit,
                pieces=pieces,
                outcomes="".join(letters),
                results=self.unit.results + results,
                failures=self.unit.failures + failures,
                errors=tally(self.unit.errors, failed.values()),
                flushes={**self.unit.flushes, f"{number}": flush},
            )
        )

    def _part(self, key: str, lines: list[bytes]) -> list[Part]:
        if not lines:
            return []
        body = b"".join(lines)
        self.shop.output.put(key, body, "application/x-ndjson")
        return [Part(key, len(body), len(lines))]

    def _queue(self, part: str, failed: Mapping[int, Failure]) -> None:
        """One message per failure. Records that came along whole are parked, so that messages hold pointers alone."""
        parked = b""
        items: dict[int, dict[str, Any]] = {}
        key = self.shop.places.parked(part)
        for at, failure in failed.items():
            pointer = failure.pointer
            if pointer.body is None:
                items[at] = pointer.to_json()
                continue
            line = encode({"recordId": pointer.record_id, "modelInput": pointer.body})
            items[at] = {"recordId": pointer.record_id, "parked": key, "offset": len(parked), "length": len(line)}
            parked += line
        if parked:
            self.shop.output.put(key, parked, "application/x-ndjson")
        if items:
            batch = self.batch
            self.shop.queue.send(
                [
                    failed[at].message(batch.run, batch.tenant, batch.unit, _piece(batch, failed[at].pointer), item)
                    for at, item in items.items()
                ]
            )

    def _save(self, unit: Unit) -> None:
        changed = replace(unit, version=self.unit.version + 1)
        item = changed.item(self.batch.run, self.shop.expires_at)
        if not self.shop.runs.put_if(item, "version", self.unit.version):
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
            tolerated = self.shop.spec.settings.tolerated_failure_percentage
            if broken(counts, 0, tolerated) and (why := broken(counts, self.shop.late(self.unit.unit), tolerated)):
                raise UnitFailedError(f"unit {self.unit.unit}: {why}; {describe(self.unit)}")
        done = {"landed": counts.landed - self.before.landed, "failed": counts.failed - self.before.failed}
        return {"rest": rest, "counts": counts.to_json(), "done": done}
