"""Failed records and what became of them later: each leaves the state `failed` of its run once.

A record failed in a unit of work. The item LATE#{unit}#{digest} says that it is settled: landed or found duplicate by
reprocessing, landed by another run of its scope, or dropped by an operator. There is one such item per failure, written
only if there is none, so that whoever comes second changes nothing. Whoever writes it holds the lease of the failure,
and sees to what a worker of the failure lane has left that died: a result that lies there has landed, and that is the
truth, whatever was wanted.

A late outcome leaves the run's manifest behind. The item STALE of the run says so, and update_runs follows it: ten
thousand late landings between two looks of the schedule are one new manifest.
"""

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.index_line import canonical
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.names import in_generation, lane_unit
from bulk_inference.core.ports import Bucket, ConditionalPut, Runs
from bulk_inference.core.result_line import Usage, extract, split
from bulk_inference.core.runs_table import LATES, META, STALE, UNITS, late_sk, run_pk
from bulk_inference.land.units import Late, Part, Unit
from bulk_inference.ledger.claims import chunked

_WRITERS: Final = 16
_ROUND: Final = 500
"""Records settled between two looks at the clock."""


def digest(run: str, unit: str, record_id: str) -> str:
    """One failure: the same record failed by the same unit, however often that is said."""
    return hashlib.sha256(canonical([run, unit, record_id])).hexdigest()[:24]


@dataclass(frozen=True)
class FailedRecord:
    """One line of a unit's failure parts."""

    run: str
    unit: str
    piece: str
    record_id: str
    """As sent to Bedrock."""
    caller_id: str
    error_class: str
    source: Mapping[str, Any] | None
    """`{"bucket", "key", "offset", "length"}` of the corpus line; None for a record that came to infer_batch whole."""

    @property
    def sk(self) -> str:
        return late_sk(self.unit, digest(self.run, self.unit, self.record_id))


def failed_records(run: str, runs: Runs, output: Bucket, *, dropped: bool = False) -> Iterator[FailedRecord]:
    """Every record of the run that failed and is not settled, unit by unit; with `dropped`, those too that an operator
    has given up.

    Memory: the sort keys of late outcomes, about 100 bytes each.
    """
    given_up = Late.DROPPED.value if dropped else None
    settled = {item["sk"] for item in runs.query(run_pk(run), LATES) if item["outcome"] != given_up}
    for item in runs.query(run_pk(run), UNITS):
        for failed in _of_unit(run, Unit.from_json(item), output):
            if failed.sk not in settled:
                yield failed


def _of_unit(run: str, unit: Unit, output: Bucket) -> Iterator[FailedRecord]:
    only = next(iter(unit.pieces)) if len(unit.pieces) == 1 else None
    for part in unit.failures:
        for raw, _ in split(output.read(part.key)):
            line = json.loads(raw)
            yield FailedRecord(
                run=run,
                unit=unit.unit,
                piece=only or line.get("shard") or "inline",
                record_id=line.get("sentAs") or line["recordId"],
                caller_id=line["recordId"],
                error_class=line["errorClass"],
                source=line.get("source"),
            )


@dataclass(frozen=True)
class Choice:
    """Which failed records are meant; None: all."""

    error_classes: Collection[str] | None = None
    record_ids: Collection[str] | None = None
    """The caller's ids."""

    def __contains__(self, failed: object) -> bool:
        return (
            isinstance(failed, FailedRecord)
            and (self.error_classes is None or failed.error_class in self.error_classes)
            and (self.record_ids is None or failed.caller_id in self.record_ids)
        )


@dataclass(frozen=True)
class LateServices:
    """What it takes to settle failures of one run."""

    places: Places
    output: Bucket
    runs: Runs
    leases: Leases
    expires_at: int


@dataclass(frozen=True)
class Settled:
    """How one round went."""

    done: int = 0
    landed: int = 0
    """Found landed by a worker that died before it said so."""
    busy: int = 0
    """Left alone, because the failure lane is at work on them."""


def settle(records: Iterable[FailedRecord], outcome: Late, services: LateServices, **more: Any) -> Iterator[Settled]:
    """Settles the records that nobody has settled yet; yields what became of each round, so that the caller may stop.

    `more` are attributes of the items: a reason, a run. A record that has landed in another run has done so, whether or
    not an operator has given it up meanwhile.
    """

    def put(failed: FailedRecord) -> Settled:
        try:
            return _settle(failed, outcome, services, more)
        except WorkInProgressError:
            return Settled(busy=1)

    with ThreadPoolExecutor(_WRITERS, "settle") as pool:
        for chunk in chunked(records, _ROUND):
            found = list(pool.map(put, chunk))
            yield Settled(*(sum(getattr(one, name) for one in found) for name in ("done", "landed", "busy")))


def _settle(failed: FailedRecord, outcome: Late, services: LateServices, more: Mapping[str, Any]) -> Settled:
    failure = digest(failed.run, failed.unit, failed.record_id)
    with services.leases.hold(failed.run, lane_unit(failure)) as lease:
        known = services.runs.get(run_pk(failed.run), failed.sk)
        given_up = known is not None and known["outcome"] == Late.DROPPED.value
        if known is not None and not (given_up and outcome is Late.RESUBMITTED):
            return Settled()
        item = {
            "pk": run_pk(failed.run),
            "sk": failed.sk,
            "expires_at": services.expires_at,
            "unit": failed.unit,
            "piece": failed.piece,
            "recordId": failed.record_id,
            "errorClass": failed.error_class,
        }
        left = left_over(lease, services.places, services.output)
        written = item | ({"outcome": outcome.value, **more} if left is None else landed(left))
        condition = ("sk", None) if known is None else ("outcome", Late.DROPPED.value)
        lease.commit(ConditionalPut(written, *condition), last=True)
        return Settled(done=1) if left is None else Settled(landed=1)


@dataclass(frozen=True)
class LeftOver:
    """The result line of a record that a worker of the failure lane has written, and not committed."""

    key: str
    body: bytes


def left_over(lease: Lease, places: Places, output: Bucket) -> LeftOver | None:
    """What earlier holders of a failure's lease have left; names that they have not written they can write no more. The
    next commit must say what becomes of it."""
    found = None
    for generation in lease.stale:
        key = places.results(in_generation(lease.unit, generation))
        output.occupy(key)
        if body := b"".join(output.read(key)):
            found = LeftOver(key, body)
    lease.adopt()
    return found


def landed(left: LeftOver) -> dict[str, Any]:
    """Attributes of a late outcome."""
    _, usage = extract(json.loads(left.body)["modelOutput"])
    return late_attributes(Late.LANDED, left.key, left.body, usage)


def late_attributes(outcome: Late, key: str, body: bytes, usage: Usage) -> dict[str, Any]:
    """Of a record that was reprocessed: `body` is its result line, empty where another unit owns it."""
    return {
        "outcome": outcome.value,
        "results": [Part(key, len(body), 1).to_json()] if body else [],
        **usage.to_json(),
        "unknownUsage": usage.unknown,
        "ends": usage.ends,
    }


def mark_stale(run: str, tenant: str, why: str, runs: Runs, expires_at: int) -> str:
    """Says that late outcomes have been written since the run's manifest was; the mark. `why` names the change.

    update_runs takes the item away only if no other mark has come meanwhile, so no two marks are alike, whoever sets
    them: a number would begin anew when the item has been taken away, and be the number that a slow reader has read.
    """
    mark = _unlike_any(why)
    runs.put({"pk": STALE, "sk": run, "run": run, "tenant": tenant, "mark": mark, "expires_at": expires_at})
    return mark


def _unlike_any(why: str) -> str:
    return f"{why} {uuid.uuid4().hex}"


def mark_if_run_ended(run: str, tenant: str, unit: str, runs: Runs, expires_at: int) -> None:
    """Marks a run that ended while the unit was being worked on: its manifest was written without what has landed
    since. Who ends a run marks it too, and a mark is followed when the status is set: so what is saved before the
    status is seen by the one, and what is saved after it by the other."""
    meta = runs.get(run_pk(run), META)
    if meta is not None and meta.get("status", "running") != "running":
        mark_stale(run, tenant, f"unit {unit}", runs, expires_at)


def watch(run: str, tenant: str, other: str, runs: Runs, expires_at: int) -> None:
    """Says that failed records of `run` may land in `other`, a run of the same scope."""
    item = {"pk": STALE, "sk": f"{run}#{other}", "run": run, "tenant": tenant, "other": other}
    runs.put({**item, "mark": _unlike_any(other), "expires_at": expires_at})
