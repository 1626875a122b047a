"""After a pipeline execution that failed, was aborted or timed out: nothing of the run goes on unseen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.jobs import Job
from bulk_inference.ports import BatchJobs, Runs
from bulk_inference.reporting import iso_time
from bulk_inference.runs import JOBS, META, run_pk

STATUSES: Final = {"FAILED": "failed", "ABORTED": "aborted", "TIMED_OUT": "timed_out"}
"""Status of the execution, and of the run that it was."""


@dataclass(frozen=True)
class Stopping:
    """The end of one pipeline execution. The run's id is the execution's name."""

    run: str
    execution_arn: str
    status: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Stopping | None":
        """From a "Step Functions Execution Status Change" event; None if that is no end of this kind.

        https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        """
        detail = event["detail"]
        status = STATUSES.get(detail["status"])
        return None if status is None else cls(detail["name"], detail["executionArn"], status)


@dataclass(frozen=True)
class Stopped:
    meta: dict[str, Any] | None
    """The run's item as it is now; None for a run that was never planned."""
    jobs: int
    """Jobs that were told to stop."""


def stop(stopping: Stopping, *, runs: Runs, jobs: BatchJobs, now: float) -> Stopped:
    """Stops the run's jobs that still go on, and marks the run. Safe to repeat.

    A run that was found inconsistent keeps that status: it says more than `failed`.
    """
    meta = runs.get(run_pk(stopping.run), META)
    if meta is None or meta.get("executionArn") != stopping.execution_arn:
        return Stopped(None, 0)
    stopped = 0
    for item in list(runs.query(run_pk(stopping.run), JOBS)):
        job = _job(item, jobs)
        if job is not None and not job.terminal and job.status != "Stopping":
            stopped += jobs.stop(job.arn)
    values: dict[str, Any] = {"stoppedJobs": int(meta.get("stoppedJobs", 0)) + stopped}
    if meta.get("status") != "inconsistent":
        values["status"] = stopping.status
    if meta.get("status") not in STATUSES.values():
        values["finishedAt"] = iso_time(now)
    return Stopped(runs.update(run_pk(stopping.run), META, values), stopped)


def _job(item: Mapping[str, Any], jobs: BatchJobs) -> Job | None:
    arn = item.get("jobArn")
    return jobs.get(arn) if arn else jobs.find(item["jobName"])
