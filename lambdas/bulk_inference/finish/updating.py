"""Late outcomes reach the run's counts, manifest, report and the completion bus, together and not one by one.

Whoever settles a failed record marks its run as stale (late_outcomes.py). A schedule calls `update_runs`, which writes
each stale run's manifest anew and says so: one event per look, however many records were settled between two looks.

Two updates of one run may meet, and the later sums must win. The item UPDATE of the run counts its revisions: an update
that finds it moved on, before or after it has written, moves it on again and leaves the mark: the next look writes
again, whatever either of the two has left in S3.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from bulk_inference.assembly.assembly import summary
from bulk_inference.assembly.late_assembly import Assemblies, follow
from bulk_inference.core import names
from bulk_inference.core.ports import Bucket, Bus, Clock, Executions, Runs
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import ASSEMBLY, META, RESUBMISSIONS, STALE, UPDATE, Item, run_pk, unit_sk
from bulk_inference.core.times import expiry, iso_time
from bulk_inference.finish.finishing import check, detail_of, publish, status_of
from bulk_inference.finish.reporting import manifest
from bulk_inference.land.late_outcomes import FailedRecord, failed_records, mark_stale, settle, watch
from bulk_inference.land.units import Late
from bulk_inference.ledger.claims import Claim, ClaimStore, chunked, current_claims

DETAIL_TYPE: Final = "Bulk Inference Run Updated"

_RESERVE_SHARE: Final = 0.3
"""What must be left of the function's time for another run to be begun."""

_LOOKUP: Final = 1000
"""Records whose claims are looked for together."""

_RUNNING: Final = "running"
_ACCOUNTED: Final = frozenset({"succeeded", "empty", "incomplete", "inconsistent"})
"""Statuses that follow from the sums. The others say how the execution ended, and stay."""


@dataclass(frozen=True)
class UpdateServices:
    output: Bucket
    runs: Runs
    ledger: ClaimStore
    bus: Bus
    clock: Clock
    spec_of: Callable[[str, str], RunSpec]
    """By tenant and run."""
    executions: Executions
    assemblies: Assemblies


@dataclass(frozen=True)
class Updated:
    """What one look found."""

    stale: int = 0
    updated: int = 0
    """Runs whose manifest was written anew."""
    settled: int = 0
    """Failed records that another run was found to have landed."""
    waiting: int = 0
    """Marks of runs that still go on, or for which there was no time."""


def update_runs(services: UpdateServices) -> Updated:
    """Follows every mark. Safe to repeat and to run twice at once. Raises ExceptionGroup of what went wrong with single
    runs, after the others: their marks stay."""
    found = Updated()
    wrong: list[Exception] = []
    reserve = _RESERVE_SHARE * services.clock.remaining()
    # Watches first: what they settle is then part of this look's manifest.
    marks = sorted(services.runs.query(STALE), key=lambda one: "other" not in one)
    touched = {one["run"]: one for one in marks if "other" not in one}
    for one in marks:
        if "other" not in one:
            continue
        if services.clock.remaining() < reserve or not _ended(one["other"], services.runs):
            found = replace(found, waiting=found.waiting + 1)
            continue
        try:
            found = replace(found, settled=found.settled + _settle_elsewhere(one, services))
        except Exception as error:
            wrong.append(_of_run(one["run"], error))
            continue
        touched[one["run"]] = _mark(one, services)
        services.runs.delete_if(STALE, one["sk"], "mark", one["mark"])
    for mark in touched.values():
        found = replace(found, stale=found.stale + 1)
        if services.clock.remaining() < reserve or not _ended(mark["run"], services.runs):
            found = replace(found, waiting=found.waiting + 1)
            continue
        try:
            found = replace(found, updated=found.updated + int(_update(mark, services)))
        except Exception as error:
            wrong.append(_of_run(mark["run"], error))
    if wrong:
        raise ExceptionGroup(f"{len(wrong)} runs could not be updated", wrong)
    return found


def _of_run(run: str, error: Exception) -> Exception:
    """One run whose files cannot be read must not keep all others waiting: it is told when they are done."""
    error.add_note(f"run {run}")
    return error


def _ended(run: str, runs: Runs) -> bool:
    meta = runs.get(run_pk(run), META)
    return meta is not None and meta.get("status", _RUNNING) != _RUNNING


def _mark(watched: Mapping[str, Any], services: UpdateServices) -> dict[str, Any]:
    mark = mark_stale(watched["run"], watched["tenant"], watched["other"], services.runs, watched["expires_at"])
    return {"run": watched["run"], "tenant": watched["tenant"], "mark": mark}


def _update(mark: Mapping[str, Any], services: UpdateServices) -> bool:
    """Whether there was anything to say."""
    run, runs = mark["run"], services.runs
    spec = services.spec_of(mark["tenant"], run)
    before = runs.get(run_pk(run), UPDATE)
    revision = int(before["revision"]) if before is not None else None
    meta = runs.get(run_pk(run), META) or {}
    summed, problems = check(spec, services.output, runs)
    status = str(meta.get("status"))
    # Of a run that broke off in the middle, the sums of cuts and shards need not hold.
    status, problems = (status_of(summed, problems), problems) if status in _ACCOUNTED else (status, [])
    told: dict[str, Any] = {"status": status, "counts": summed.counts}
    if summed.unfit:
        # They move no record, but the manifest's tokens.
        told["unfit"] = summed.unfit
    assembled = summary(spec, runs.get(run_pk(run), ASSEMBLY), services.output.name)
    if assembled:
        told["assembled"] = assembled
    unfinished = status in _ACCOUNTED and follow(
        spec,
        output=services.output,
        runs=runs,
        clock=services.clock,
        executions=services.executions,
        assemblies=services.assemblies,
    )
    if told != {name: meta.get(name) for name in told} or (before or {}).get("open"):
        item: Item = {"pk": run_pk(run), "sk": UPDATE, "expires_at": expiry(spec, services.clock.now()), **told}
        item |= {"revision": (revision or 0) + 1, "open": True}
        if not runs.put_if(item, "revision", revision):
            return False
        now = iso_time(services.clock.now())
        finished_at = str(meta.get("finishedAt") or now)
        document = manifest(
            spec,
            summed,
            status=status,
            problems=problems,
            finished_at=finished_at,
            bucket=services.output.name,
            stopped=meta.get("stopped"),
            assembled=assembled,
        )
        publish({**document, "updatedAt": now, "revision": item["revision"]}, services.output)
        runs.update(run_pk(run), META, {**told, "updatedAt": now})
        services.bus.put(DETAIL_TYPE, detail_of(spec, status, summed.counts, services.output.name))
        _tell_others(spec, services)
        changed = True
        if not runs.put_if({**item, "open": False}, "revision", item["revision"]):
            # Another update came in between: what lies in S3 may be either's. The new revision tells the other, too.
            overtaking = runs.get(run_pk(run), UPDATE) or item
            runs.update(run_pk(run), UPDATE, {"revision": int(overtaking["revision"]) + 1, "open": True})
            mark_stale(run, mark["tenant"], f"revision-{item['revision']}", runs, item["expires_at"])
            return True
    else:
        changed = False
    if not unfinished:
        runs.delete_if(STALE, run, "mark", mark["mark"])
    return changed


def _tell_others(spec: RunSpec, services: UpdateServices) -> None:
    """Late landings of a resubmission settle failed records of the run that it was made from, of its siblings, and of
    runs made from it; those of a reduction complete documents of the run that it reduces.

    Each of them tells its own relatives when that has changed its account: so it reaches the whole family.
    """
    origin, reduced = spec.source.failures_of, spec.source.reduces
    expires_at = expiry(spec, services.clock.now())
    if reduced is not None:
        mark_stale(reduced, spec.tenant, f"reduction {spec.run}", services.runs, expires_at)
    parents = [] if origin is None else [origin]
    made = [str(one["run"]) for run in [spec.run, *parents] for one in services.runs.query(run_pk(run), RESUBMISSIONS)]
    for other in {*parents, *made} - {spec.run}:
        # One that was refused before it was planned, or that goes on, has no account to be mended.
        if _ended(other, services.runs):
            watch(other, spec.tenant, spec.run, services.runs, expires_at)


def _settle_elsewhere(watched: Mapping[str, Any], services: UpdateServices) -> int:
    """Settles failed records of the run that another run of its scope has landed, as the ledger and its units say: the
    one that is watched, or one that was made from that."""
    spec = services.spec_of(watched["tenant"], watched["run"])
    expires_at = expiry(spec, services.clock.now())
    found = 0
    for run, records in groupby(_landed_elsewhere(spec, services), lambda one: one[0]):
        landed = (one for _, one in records)
        found += sum(settle(landed, Late.RESUBMITTED, services.runs, expires_at, landedIn=run))
    return found


def _landed_elsewhere(spec: RunSpec, services: UpdateServices) -> Iterator[tuple[str, FailedRecord]]:
    """(run, record) of the run's failed records that have landed in other runs."""
    settled: dict[str, bool] = {}

    def stands(claim: Claim) -> bool:
        """A settled unit has given back every claim on a record that it did not land."""
        if claim.run == spec.run:
            return False
        unit = names.parse_owner(claim.owner).unit
        if claim.owner not in settled:
            item = services.runs.get(run_pk(claim.run), unit_sk(unit)) or {}
            settled[claim.owner] = bool(item.get("settled")) or unit.startswith(names.REPROCESSED)
        return settled[claim.owner]

    for records in chunked(failed_records(spec.run, services.runs, services.output, dropped=True), _LOOKUP):
        claims = current_claims(
            services.ledger,
            spec.tenant,
            spec.scope,
            dict.fromkeys(one.record_id for one in records),
            now=int(services.clock.now()),
        )
        for one in records:
            claim = claims.get(one.record_id)
            if claim is not None and stands(claim):
                yield claim.run, one
