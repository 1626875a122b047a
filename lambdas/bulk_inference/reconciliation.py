"""Waking the children that wait for jobs. Events are hints: the job is read again, and what events missed is found.

Answering a token twice does no harm: the second answer finds nobody waiting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.jobs import Job, attempt_id
from bulk_inference.ports import BatchJobs, Runs, Tasks
from bulk_inference.runs import JOB, JOBS, OPEN, job_key, run_pk

_CLOCK_SKEW_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Reconciled:
    """What one pass over the awaited jobs found."""

    open: int = 0
    terminal: int = 0
    """Awaited jobs that had ended."""
    answered: int = 0
    """Children that were woken; the others had been woken already, or are gone."""


def answer(job: Job, runs: Runs, tasks: Tasks) -> bool:
    """Tells the child that waits for a terminal job; whether somebody was still waiting. Jobs not ours are left alone.

    The child's output: `{"jobName", "jobArn", "status"}`.
    """
    known = runs.get(job_key(job.name), JOB)
    if known is None or not job.terminal:
        return False
    token = known["taskToken"]
    heard = tasks.succeed(token, {"jobName": job.name, "jobArn": job.arn, "status": job.status})
    runs.update(
        run_pk(known["run"]),
        f"{JOBS}{attempt_id(known['shard'], known['attempt'])}",
        {"jobName": job.name, "jobArn": job.arn, "status": job.status},
    )
    # Not if the token has been replaced meanwhile: then submit_job itself sees that the job has ended.
    runs.delete_if(OPEN, job_key(job.name), "taskToken", token)
    return heard


def resume(event: Mapping[str, Any], name: str, *, runs: Runs, jobs: BatchJobs, tasks: Tasks) -> bool:
    """Follows one "Batch Inference Job State Change" event; whether a child was woken.

    Reads the job's ARN and name alone: nothing else of the event is relied on, least of all its times and its status.
    """
    detail = event.get("detail")
    detail = detail if isinstance(detail, Mapping) else {}
    arn, job_name = detail.get("batchJobArn"), detail.get("batchJobName")
    if isinstance(job_name, str) and not job_name.startswith(f"{name}-"):
        return False
    job = jobs.get(arn) if isinstance(arn, str) else jobs.find(job_name) if isinstance(job_name, str) else None
    return job is not None and answer(job, runs, tasks)


def reconcile(name: str, *, runs: Runs, jobs: BatchJobs, tasks: Tasks) -> Reconciled:
    """Finds awaited jobs that have ended, by one list of our jobs since the oldest wait began."""
    waiting = {item["sk"]: item for item in runs.query(OPEN)}
    if not waiting:
        return Reconciled()
    since = min(item["openedAt"] for item in waiting.values()) - _CLOCK_SKEW_SECONDS
    ended = [
        job
        for job in jobs.list(name_contains=f"{name}-", submitted_after=since)
        if job.terminal and job_key(job.name) in waiting
    ]
    answered = sum(answer(job, runs, tasks) for job in ended)
    return Reconciled(open=len(waiting), terminal=len(ended), answered=answered)
