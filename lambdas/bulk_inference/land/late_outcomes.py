"""Failed records and what became of them later: each leaves the state `failed` of its run once.

A record failed in a unit of work. The item LATE#{unit}#{digest} says that it is settled: landed or found duplicate by
reprocessing, landed by another run of its scope, or dropped by an operator. There is one such item per failure, written
only if there is none, so that whoever comes second changes nothing. (Reprocessing alone writes its item whatever is
there: it has landed the record by then, and that is the truth.)

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

from bulk_inference.core.index_line import canonical
from bulk_inference.core.ports import Bucket, Runs
from bulk_inference.core.result_line import split
from bulk_inference.core.runs_table import LATES, META, STALE, UNITS, late_sk, run_pk
from bulk_inference.land.units import Late, Unit
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


def settle(records: Iterable[FailedRecord], outcome: Late, runs: Runs, expires_at: int, **more: Any) -> Iterator[int]:
    """Settles the records that nobody has settled yet; yields how many of each round, so that the caller may stop.

    `more` are attributes of the items: a reason, a run. A record that has landed in another run has done so, whether or
    not an operator has given it up meanwhile.
    """

    def put(failed: FailedRecord) -> int:
        item = {
            "pk": run_pk(failed.run),
            "sk": failed.sk,
            "expires_at": expires_at,
            "unit": failed.unit,
            "piece": failed.piece,
            "recordId": failed.record_id,
            "errorClass": failed.error_class,
            "outcome": outcome.value,
            **more,
        }
        known = runs.put_new(item)
        if known is not None and outcome is Late.RESUBMITTED and known["outcome"] == Late.DROPPED.value:
            return int(runs.put_if(item, "outcome", Late.DROPPED.value))
        return int(known is None)

    with ThreadPoolExecutor(_WRITERS, "settle") as pool:
        for chunk in chunked(records, _ROUND):
            yield sum(pool.map(put, chunk))


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
