"""Late outcomes reach the run's counts, manifest, report and the completion bus, together and not one by one.

Whoever settles a failed record marks its run as stale (late_outcomes.py). A schedule calls `update_runs`, which writes
each stale run's manifest anew and says so: one event per look, however many records were settled between two looks.

One worker at a time makes the sums of a run (finishing.ACCOUNT): a slower one cannot write an older account over a
newer one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from bulk_inference.assembly.assembly import summary
from bulk_inference.assembly.late_assembly import Assemblies, follow
from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.ports import Bucket, Bus, Clock, Executions, Put, Runs, Update
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import ASSEMBLY, META, RESUBMISSIONS, STALE, UPDATE, Item, run_pk
from bulk_inference.core.times import expiry, iso_time
from bulk_inference.finish.finishing import ACCOUNT, ACCOUNTED, check, detail_of, publish, status_of
from bulk_inference.finish.reporting import manifest
from bulk_inference.land.late_outcomes import (
    FailedRecord,
    LateServices,
    Settled,
    failed_records,
    mark_stale,
    settle,
    watch,
)
from bulk_inference.land.units import Late
from bulk_inference.ledger.claims import ClaimStore, chunked, current_claims
from bulk_inference.ledger.rival_claims import LandedClaims

DETAIL_TYPE: Final = "Bulk Inference Run Updated"

_RESERVE_SHARE: Final = 0.3
"""What must be left of the function's time for another run to be begun."""

_LOOKUP: Final = 1000
"""Records whose claims are looked for together."""

_RUNNING: Final = "running"


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
    leases: Leases


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
    marks = list(services.runs.query(STALE))
    touched = {one["run"]: one for one in marks if "other" not in one}
    # Watches first: what they settle is then part of this look's manifest.
    for one in marks:
        if "other" not in one:
            continue
        if services.clock.remaining() < reserve or not _ended(one["other"], services.runs):
            found = replace(found, waiting=found.waiting + 1)
            continue
        try:
            settled, whole = _settle_elsewhere(one, services)
        except Exception as error:
            wrong.append(_of_run(one["run"], error))
            continue
        found = replace(found, settled=found.settled + settled, waiting=found.waiting + int(not whole))
        touched[one["run"]] = _mark(one, services)
        if whole:
            services.runs.delete_if(STALE, one["sk"], "mark", one["mark"])
    for mark in touched.values():
        found = replace(found, stale=found.stale + 1)
        if services.clock.remaining() < reserve or not _ended(mark["run"], services.runs):
            found = replace(found, waiting=found.waiting + 1)
            continue
        try:
            found = replace(found, updated=found.updated + int(_update(mark, services)))
        except WorkInProgressError:
            found = replace(found, waiting=found.waiting + 1)
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
    """Whether there was anything to say. Raises WorkInProgressError while another worker makes the run's sums."""
    spec = services.spec_of(mark["tenant"], mark["run"])
    with services.leases.hold(spec.run, ACCOUNT) as lease:
        changed, unfinished = _write_anew(spec, services, lease)
    if not unfinished:
        services.runs.delete_if(STALE, str(mark["run"]), "mark", str(mark["mark"]))
    return changed


def _write_anew(spec: RunSpec, services: UpdateServices, lease: Lease) -> tuple[bool, bool]:
    """Whether there was anything to say, and whether more is to come."""
    run, runs = spec.run, services.runs
    before = runs.get(run_pk(run), UPDATE) or {}
    meta = runs.get(run_pk(run), META) or {}
    summed, problems = check(spec, services.output, runs)
    status = str(meta.get("status"))
    # Of a run that broke off in the middle, the sums of cuts and shards need not hold.
    status, problems = (status_of(summed, problems), problems) if status in ACCOUNTED else (status, [])
    told: dict[str, Any] = {"status": status, "counts": summed.counts}
    if summed.unfit:
        # They move no record, but the manifest's tokens.
        told["unfit"] = summed.unfit
    assembled = summary(spec, runs.get(run_pk(run), ASSEMBLY), services.output.name)
    if assembled:
        told["assembled"] = assembled
    unfinished = status in ACCOUNTED and follow(
        spec,
        output=services.output,
        runs=runs,
        clock=services.clock,
        executions=services.executions,
        assemblies=services.assemblies,
    )
    if told == {name: meta.get(name) for name in told} and not before.get("open"):
        return False, unfinished
    item: Item = {"pk": run_pk(run), "sk": UPDATE, "expires_at": expiry(spec, services.clock.now()), **told}
    item |= {"revision": int(before.get("revision", 0)) + 1, "open": True}
    lease.commit(Put(item))
    now = iso_time(services.clock.now())
    document = manifest(
        spec,
        summed,
        status=status,
        problems=problems,
        finished_at=str(meta.get("finishedAt") or now),
        bucket=services.output.name,
        stopped=meta.get("stopped"),
        assembled=assembled,
    )
    publish({**document, "updatedAt": now, "revision": item["revision"]}, services.output, lease)
    lease.commit(Update(run_pk(run), META, {**told, "updatedAt": now}))
    services.bus.put(DETAIL_TYPE, detail_of(spec, status, summed, services.output.name))
    _tell_others(spec, services)
    lease.commit(Put({**item, "open": False}))
    return True, unfinished


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


def _settle_elsewhere(watched: Mapping[str, Any], services: UpdateServices) -> tuple[int, bool]:
    """Settles failed records of the run that another run of its scope has landed, as the ledger and its parts say: the
    one that is watched, or one that was made from that; how many, and whether that was all."""
    spec = services.spec_of(watched["tenant"], watched["run"])
    places, expires_at = Places(spec.tenant, spec.run), expiry(spec, services.clock.now())
    late = LateServices(places, services.output, services.runs, services.leases, expires_at)
    rounds: list[Settled] = []
    for run, records in groupby(_landed_elsewhere(spec, services), lambda one: one[0]):
        rounds += settle((one for _, one in records), Late.RESUBMITTED, late, landedIn=run)
    return sum(one.done for one in rounds), not any(one.busy for one in rounds)


def _landed_elsewhere(spec: RunSpec, services: UpdateServices) -> Iterator[tuple[str, FailedRecord]]:
    """(run, record) of the run's failed records that have landed in other runs."""
    landings = LandedClaims(spec.tenant, output=services.output, runs=services.runs)
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
            if claim is not None and claim.run != spec.run and landings.has(claim):
                yield claim.run, one
