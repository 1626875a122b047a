"""After a pipeline execution that failed, was aborted or timed out: nothing of the run goes on unseen, and what is said
of the run tells why it ended.

The manifest, the run's item and the event carry `stopped`: the threshold that was passed, the five commonest errors
of records with a sample of each, and the errors of children, for where no record is to blame (a missing permission).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core import errors
from bulk_inference.core.errors import BulkInferenceError
from bulk_inference.core.jobs import Job
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.ports import BatchJobs, Bucket, Bus, Clock, Execution, Executions, MapRun, Runs, Update
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import JOBS, LIVE, META, run_pk
from bulk_inference.core.times import expiry, iso_time
from bulk_inference.finish.conservation import Account
from bulk_inference.finish.finishing import ACCOUNT, DETAIL_TYPE, FAILING, check, detail_of, publish, reopen
from bulk_inference.finish.reporting import manifest
from bulk_inference.land.late_outcomes import mark_stale

STATUSES: Final = {"FAILED": "failed", "ABORTED": "aborted", "TIMED_OUT": "timed_out"}
"""Status of the execution, and of the run that it was."""

_NESTED: Final = ("shard_and_submit", "fan_out")
"""State machines that the pipeline starts, by the end of their names."""

_NESTINGS: Final = 3
"""Machines that start machines."""
_COMMONEST: Final = 5
_CHILDREN: Final = 10
_CAUSE_LENGTH: Final = 500
_SPEAKING: Final = ("AccessDenied", "States.", "Lambda.", "Sandbox.", "Runtime.")
"""Beginnings of error names whose messages come from AWS and speak of no record."""


@dataclass(frozen=True)
class Stopping:
    """The end of one pipeline execution. The run's id is the execution's name."""

    run: str
    execution_arn: str
    status: str
    redrives: int = 0
    """How often the execution had been redriven when it ended so."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Stopping | None":
        """From a "Step Functions Execution Status Change" event; None if that is no end of this kind.

        https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        """
        detail = event["detail"]
        status = STATUSES.get(detail["status"])
        if status is None:
            return None
        return cls(detail["name"], detail["executionArn"], status, int(detail.get("redriveCount") or 0))


@dataclass(frozen=True)
class StopServices:
    name: str
    """Of the pipeline: state machines are named after it."""
    output: Bucket
    runs: Runs
    jobs: BatchJobs
    executions: Executions
    bus: Bus
    clock: Clock
    spec_of: Callable[[str, str], RunSpec]
    """By tenant and run."""
    leases: Leases


@dataclass(frozen=True)
class Stopped:
    meta: dict[str, Any] | None
    """The run's item as it is now; None for a run that was never planned, or is another execution's."""
    jobs: int = 0
    """Jobs that were told to stop."""
    executions: int = 0
    """Nested executions that were told to stop."""


def stop(stopping: Stopping, services: StopServices) -> Stopped:
    """Stops what the run has running, closes its account as it stands, and says so. Safe to repeat: what was closed is
    not said again, but a job that was created meanwhile is stopped.

    A run that was found inconsistent or incomplete keeps that status: it says more than `failed`.

    Raises ThrottledError, WorkInProgressError (another worker makes the run's sums).
    """
    runs, pk = services.runs, run_pk(stopping.run)
    meta = runs.get(pk, META)
    if meta is None or meta.get("executionArn") != stopping.execution_arn:
        return Stopped(None)
    if _is_redriven(stopping, services):
        # Events come late and more than once: the execution's jobs are wanted again.
        return Stopped(None)
    halted = _stop_nested(stopping, services)
    # After the executions, so that none of them creates another one.
    stopped = _stop_jobs(stopping.run, services)
    with services.leases.hold(stopping.run, ACCOUNT) as lease:
        return Stopped(_close(stopping, services, lease), stopped, halted)


def _close(stopping: Stopping, services: StopServices, lease: Lease) -> dict[str, Any]:
    """The run's item as it is then."""
    runs, pk = services.runs, run_pk(stopping.run)
    # Asked again by who has the run's account: whoever was frozen until now would close what has gone on since.
    redriven = _is_redriven(stopping, services)
    meta = runs.get(pk, META) or {}
    if redriven:
        return meta
    if meta.get("stoppedAt") is not None and meta.get("stoppedRedrive") == stopping.redrives:
        runs.delete_if(LIVE, stopping.run, "executionArn", stopping.execution_arn)
        return meta
    status = str(meta["status"]) if meta.get("status") in FAILING else stopping.status
    now = services.clock.now()
    spec = services.spec_of(meta["tenant"], stopping.run)
    summed, problems = check(spec, services.output, runs)
    if status != "inconsistent":
        # Of a run that broke off in the middle, the sums of cuts and shards need not hold: nothing is made of that.
        problems = []
    why = explain(stopping, summed, services)
    finished_at = iso_time(now)
    document = manifest(
        spec,
        summed,
        status=status,
        problems=problems,
        finished_at=finished_at,
        bucket=services.output.name,
        stopped=why,
    )
    publish(document, services.output, lease)
    services.bus.put(DETAIL_TYPE, {**detail_of(spec, status, summed, services.output.name), "stopped": why})
    values: dict[str, Any] = {
        "status": status,
        "counts": summed.counts,
        "finishedAt": finished_at,
        "stopped": why,
        "stoppedAt": int(now),
        "stoppedRedrive": stopping.redrives,
    }
    # Workers that were at work may have landed more since the sums were made. A mark waits for the status.
    mark_stale(stopping.run, meta["tenant"], f"end {stopping.redrives}", runs, expiry(spec, now))
    lease.commit(Update(pk, META, values))
    meta = runs.get(pk, META) or {**meta, **values}
    runs.delete_if(LIVE, stopping.run, "executionArn", stopping.execution_arn)
    if _is_redriven(stopping, services) and meta.get("stoppedAt") == values["stoppedAt"]:
        # Redriven while it was closed: the event of that has found nothing to change.
        meta = reopen(meta, lease)
    return meta


def _is_redriven(stopping: Stopping, services: StopServices) -> bool:
    """Whether the execution has been redriven since. Its status is no argument, because DescribeExecution may lag
    behind the event."""
    execution = services.executions.describe(stopping.execution_arn)
    return execution is not None and execution.redrives > stopping.redrives


def go_on(event: Mapping[str, Any], services: StopServices) -> bool:
    """Follows the event of an execution that runs: one that was redriven makes a closed run a running one again.

    Raises ThrottledError, WorkInProgressError (another worker makes the run's sums).
    """
    detail, runs = event["detail"], services.runs
    if detail["status"] != "RUNNING" or not _is_closed(detail, runs):
        return False
    with services.leases.hold(detail["name"], ACCOUNT) as lease:
        meta = _is_closed(detail, runs)
        if meta is not None:
            reopen(meta, lease)
    return meta is not None


def _is_closed(detail: Mapping[str, Any], runs: Runs) -> Mapping[str, Any] | None:
    """The run's item, if that was closed by an end that came before this start of its execution."""
    meta = runs.get(run_pk(detail["name"]), META)
    if meta is None or meta.get("executionArn") != detail["executionArn"] or meta.get("stoppedAt") is None:
        return None
    # Events are unordered: this one may be older than the end that is noted.
    return meta if int(detail.get("redriveCount") or 0) > int(meta.get("stoppedRedrive") or 0) else None


def _stop_nested(stopping: Stopping, services: StopServices) -> int:
    """AWS stops nested executions by best effort; the pipeline names them by run and redrive."""
    cause = f"run {stopping.run} has {stopping.status.replace('_', ' ')}"
    return sum(services.executions.stop(arn, cause) for arn in _nested(stopping, services))


def _nested(stopping: Stopping, services: StopServices) -> list[str]:
    # arn:…:execution:<pipeline>:<run>
    account = stopping.execution_arn.rsplit(":", 2)[0]
    return [f"{account}:{services.name}-{machine}:{stopping.run}-{stopping.redrives}" for machine in _NESTED]


def _stop_jobs(run: str, services: StopServices) -> int:
    stopped = 0
    for item in list(services.runs.query(run_pk(run), JOBS)):
        job = _job(item, services.jobs)
        if job is not None and not job.terminal and job.status != "Stopping":
            stopped += services.jobs.stop(job.arn)
    return stopped


def _job(item: Mapping[str, Any], jobs: BatchJobs) -> Job | None:
    arn = item.get("jobArn")
    return jobs.get(arn) if arn else jobs.find(item["jobName"])


# Why a run ended.


def explain(stopping: Stopping, summed: Account, services: StopServices) -> dict[str, Any]:
    """`{"error", "cause", "thresholds": […], "errors": […], "children": […]}`, without a word of any record."""
    ended = services.executions.describe(stopping.execution_arn)
    if ended is None:
        ended = Execution(stopping.execution_arn, "GONE", error="ExecutionDoesNotExist")
    nested = [one for arn in _nested(stopping, services) if (one := services.executions.describe(arn)) is not None]
    map_runs = [one for arn in (ended.arn, *(each.arn for each in nested)) for one in services.executions.map_runs(arn)]
    # What the pipeline says of a nested execution that failed is that it failed.
    first = next((one for one in nested if one.status in ("FAILED", "TIMED_OUT") and one.error), ended)
    children = _children(map_runs)
    error, cause = _innermost(first.error, first.cause)
    return {
        "error": error,
        "cause": _said(stopping, ended) or _told(error, cause),
        "thresholds": _thresholds(ended, map_runs, children),
        "errors": [kind.to_json() for kind in summed.errors[:_COMMONEST]],
        "children": children,
    }


def _innermost(error: str, cause: str) -> tuple[str, str]:
    """Of a machine that failed because one that it had started did: why that one failed."""
    for _ in range(_NESTINGS):
        try:
            child = json.loads(cause)
            error, cause = str(child["Error"]), str(child["Cause"])
        except (TypeError, ValueError, KeyError):
            break
    return error, cause


def _said(stopping: Stopping, ended: Execution) -> str:
    """Who stops an execution may say why (StopExecution's cause): words of an operator, of no record."""
    return ended.cause[:_CAUSE_LENGTH] if stopping.status == "aborted" and ended.cause else ""


def _thresholds(
    ended: Execution, map_runs: Iterable[MapRun], children: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Which limits were passed, each with what it allows and what was found."""
    passed: list[dict[str, Any]] = [
        {
            "threshold": "toleratedFailurePercentage",
            "stage": one.label,
            "tolerated": one.tolerated_percentage,
            "failed": one.failed,
            "items": one.total,
        }
        for one in map_runs
        if one.status == "FAILED" and one.failed * 100 > one.tolerated_percentage * one.total
    ]
    for threshold, error in (("unitErrorRatio", "UnitFailedError"), ("jobFailed", "ShardFailedError")):
        units = sum(child["sampled"] for child in children if child["error"] == error)
        if units:
            passed.append({"threshold": threshold, "sampledChildren": units})
    if ended.error == "ConservationError":
        passed.append({"threshold": "conservation"})
    if ended.status == "TIMED_OUT":
        passed.append({"threshold": "timeout"})
    return passed


def _children(map_runs: Iterable[MapRun]) -> list[dict[str, Any]]:
    """Errors of children that failed, the commonest of the sample first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in map_runs:
        for error, cause in one.failures:
            kind = found.setdefault(
                (one.label, error), {"stage": one.label, "error": error, "cause": _told(error, cause), "sampled": 0}
            )
            kind["sampled"] += 1
    return sorted(found.values(), key=lambda kind: -kind["sampled"])[:_CHILDREN]


def _told(error: str, cause: str) -> str:
    """The message of an error, if it is one of ours or of AWS: any other may quote what it stumbled over."""
    ours = isinstance(getattr(errors, error, None), type) and issubclass(getattr(errors, error), BulkInferenceError)
    if not ours and not error.startswith(_SPEAKING):
        return ""
    try:
        message = json.loads(cause)["errorMessage"]
    except (TypeError, ValueError, KeyError):
        message = cause
    return str(message)[:_CAUSE_LENGTH]
