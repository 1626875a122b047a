"""Finishing a run: add up, check against S3, write manifest and report, say so on the completion bus.

A run that left records pending is `incomplete`: its execution fails, so that it can be redriven. A redrive repeats
nothing but Finish Run, and this sends the run back to inference, where settled units answer at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.assembly.assembly import summary
from bulk_inference.core.errors import ConservationError, IncompleteRunError, InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.names import REPROCESSED
from bulk_inference.core.ports import Bucket, Bus, Clock, Put, Runs, Update
from bulk_inference.core.rejections import by_class
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import ASSEMBLY, CUTS, LATES, LIVE, META, SHARDS, UNFITS, UNITS, live_item, run_pk
from bulk_inference.core.stored_run import CLOSED
from bulk_inference.core.times import iso_time
from bulk_inference.finish.conservation import Account, account, cross_check
from bulk_inference.finish.orphaned_parts import adopt
from bulk_inference.finish.report_page import page
from bulk_inference.finish.reporting import manifest

DETAIL_TYPE: Final = "Bulk Inference Run Finished"

_SHOWN_PROBLEMS: Final = 5

FAILING: Final = frozenset({"inconsistent", "incomplete"})
"""Statuses that fail the execution and say more than `failed`."""

ACCOUNTED: Final = CLOSED | FAILING
"""Statuses that follow from the sums. The others say how the execution ended, and stay."""


def add_up(run: str, runs: Runs) -> Account:
    """The run's account from its items.

    Late outcomes are read first: one that is written meanwhile must not be counted without its unit's failure.
    """
    pk = run_pk(run)
    lates = list(runs.query(pk, LATES))
    cuts, shards, units = runs.query(pk, CUTS), runs.query(pk, SHARDS), runs.query(pk, UNITS)
    return account(cuts, shards, units, lates, runs.query(pk, UNFITS))


ACCOUNT: Final = "account"
"""The lease of a run's sums: whoever writes its manifest holds it."""


@dataclass(frozen=True)
class FinishServices:
    output: Bucket
    runs: Runs
    bus: Bus
    clock: Clock
    leases: Leases


def finish(spec: RunSpec, services: FinishServices, *, more: bool = False) -> dict[str, Any]:
    """Closes the run's account; `{"run", "tenant", "scope", "status", "counts", "manifest": {"bucket", "key"}}`.

    Status: `succeeded`, `empty` (nothing was read), `unchanged` (all that was read are duplicates), `nothing_landed`
    (every record failed; the failure lane may still land some), `incomplete` (some records are pending: their units
    died, within the tolerance) or `inconsistent`. The last two raise IncompleteRunError and ConservationError, after
    the manifest is written; what follows the end of their execution announces them. A second call over the same items
    says the same.

    With `more`, nothing is closed while records are pending: the status is `running`, and inference is to go on.
    Raises WorkInProgressError while another worker makes the run's sums.
    """
    with services.leases.hold(spec.run, ACCOUNT) as lease:
        return _finish(spec, services, lease, more)


def _finish(spec: RunSpec, services: FinishServices, lease: Lease, more: bool) -> dict[str, Any]:
    output, runs = services.output, services.runs
    meta = runs.get(run_pk(spec.run), META)
    if meta is None:
        raise InvalidRequestError(f"run {spec.run} has no item in the runs table: it was never planned")
    summed, problems = check(spec, output, runs)
    status = status_of(summed, problems)
    if status == "incomplete" and more:
        reopen(meta, lease)
        return detail_of(spec, "running", summed, output.name)
    same = meta.get("status") == status and meta.get("counts") == summed.counts
    finished_at = meta["finishedAt"] if same else iso_time(services.clock.now())
    assembled = summary(spec, runs.get(run_pk(spec.run), ASSEMBLY), output.name)
    document = manifest(
        spec,
        summed,
        status=status,
        problems=problems,
        finished_at=finished_at,
        bucket=output.name,
        assembled=assembled,
    )
    publish(document, output, lease)
    if assembled:
        # What update_runs compares with: the manifest tells of these documents already.
        lease.commit(Update(run_pk(spec.run), META, {"assembled": assembled}))
    detail = detail_of(spec, status, summed, output.name)
    if status == "inconsistent":
        _close(runs, spec, status, summed, finished_at, lease)
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        others = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise ConservationError(f"run {spec.run} does not conserve its records: {shown}{others}")
    if status == "incomplete":
        _close(runs, spec, status, summed, finished_at, lease)
        raise IncompleteRunError(
            f"run {spec.run}: {summed.pending} records are pending, because their units of work died; redrive the "
            "execution to have them done"
        )
    if not same:
        services.bus.put(DETAIL_TYPE, detail)
    _close(runs, spec, status, summed, finished_at, lease)
    return detail


def check(spec: RunSpec, output: Bucket, runs: Runs) -> tuple[Account, list[str]]:
    """The run's account, and all that is wrong with it: its sums, and its parts against those that lie in S3.

    What lies in result parts that their unit died before noting has landed.

    A record that is being reprocessed lies there before its item says so, for long if the worker died in between. Until
    its message comes again it counts as failed; then the manifest is updated.
    """
    places = Places(spec.tenant, spec.run)
    # Listed before the items are read: what is written in between is then found by its item.
    stored = {one.key: one.size for one in output.list(places.results_prefix)}
    summed = add_up(spec.run, runs)
    for key in [key for key, size in stored.items() if not size and key not in summed.parts]:
        # Taken by a later worker from one that was frozen (core/leases.py).
        del stored[key]
    late = places.results(REPROCESSED).removesuffix(".jsonl")
    under_way = [key for key in stored if key.startswith(late) and key not in summed.parts]
    if len(under_way) <= summed.failed:
        for key in under_way:
            del stored[key]
    adopt(summed, places, stored, output)
    for key in summed.parts.keys() - stored.keys():
        if (found := output.find(key)) is not None:
            stored[key] = found.size
    return summed, summed.problems + cross_check(summed.parts, stored)


def publish(document: Mapping[str, Any], output: Bucket, lease: Lease) -> None:
    """Manifest and report. Both name the epoch of the lease, so that no two versions are alike: whoever was frozen
    would otherwise take a later one for the one that it has seen. Raises WorkInProgressError if another worker has the
    lease."""
    places = Places(document["tenant"], document["run"])
    document = {**document, "epoch": lease.epoch}
    body = json.dumps(document, ensure_ascii=False, indent=1).encode()
    output.replace(places.manifest, body, "application/json", lease.check)
    told = f"{page(document)}<!-- epoch {lease.epoch} -->\n"
    output.replace(places.report, told.encode(), "text/html; charset=utf-8", lease.check)


def detail_of(spec: RunSpec, status: str, summed: Account, bucket: str) -> dict[str, Any]:
    """Detail of the events about a run."""
    return {
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "status": status,
        "counts": summed.counts,
        "rejections": by_class(summed.rejections),
        "manifest": {"bucket": bucket, "key": Places(spec.tenant, spec.run).manifest},
    }


def status_of(summed: Account, problems: list[str]) -> str:
    if problems:
        return "inconsistent"
    if summed.read == 0:
        return "empty"
    if summed.pending:
        return "incomplete"
    if summed.accepted == 0:
        return "unchanged" if summed.duplicate else "rejected"
    return "succeeded" if summed.landed or summed.resubmitted or summed.dropped else "nothing_landed"


def reopen(meta: Mapping[str, Any], lease: Lease) -> dict[str, Any]:
    """The run goes on: its item says so, and reconciliation looks after it again. `lease`: of the run's account, so
    that nobody who was frozen opens a run that has ended since; raises WorkInProgressError then."""
    running = {"status": "running", "stopped": None, "stoppedAt": None}
    lease.commit(
        Put(live_item(meta["run"], meta["executionArn"], int(meta["expires_at"]))),
        Update(run_pk(meta["run"]), META, running),
    )
    return {**meta, **running}


def _close(runs: Runs, spec: RunSpec, status: str, summed: Account, finished_at: str, lease: Lease) -> None:
    # Whatever end was noted before this one is over: its event, or that of the redrive after it, may still come.
    over = {"stopped": None, "stoppedAt": None}
    closed: dict[str, Any] = {"status": status, "counts": summed.counts, "finishedAt": finished_at, **over}
    if summed.unfit:
        closed["unfit"] = summed.unfit
    lease.commit(Update(run_pk(spec.run), META, closed))
    if status not in FAILING:
        # These fail their execution, and are closed for good by what follows that.
        runs.delete_if(LIVE, spec.run, "executionArn", spec.execution_arn)
