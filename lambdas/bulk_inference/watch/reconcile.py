"""What events should have told, found by looking: jobs that ended while a child waits, jobs that outlived their run or
their time, runs whose execution is over. Events are hints: a job or an execution is read again before anything is done.

Everything here may be done twice: a token that was answered finds nobody waiting, a job that was stopped is stopping,
a run that was closed is closed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.batch.task_tokens import answer
from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.core.jobs import Job
from bulk_inference.core.ports import BatchJobs, Runs, Tasks
from bulk_inference.core.runs_table import LIVE, META, OPEN, job_key, run_pk
from bulk_inference.watch.stop_run import STATUSES, Stopping, StopServices, stop

_CLOCK_SKEW_SECONDS: Final = 3600.0

GRACE_SECONDS: Final = 60.0
"""How long after the end of an execution its event, and what follows from that, is waited for."""


@dataclass
class Reconciled:
    """What one look found and did."""

    open: int = 0
    """Jobs that children wait for."""
    terminal: int = 0
    """Of these, the ones that had ended."""
    answered: int = 0
    """Children that were woken."""
    expired: int = 0
    """Waits that were forgotten: nobody listens to their token any more, or their job was never made."""
    stopped: int = 0
    """Jobs that were told to stop: their run is over, or they have outlived their own time."""
    abandoned: int = 0
    """Runs that were closed because their execution is over."""
    throttled: list[str] = field(default_factory=list)
    """What could not be looked at for now."""


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


def reconcile(services: StopServices, tasks: Tasks) -> Reconciled:
    """Looks at every run that goes on and every job that is awaited.

    Throttling ends a part of the look, not all of it: what was found by then is done, and the rest is left to the next.
    """
    found = Reconciled()
    with_patience(found, "runs", lambda: _close_runs(services, found))
    with_patience(found, "jobs", lambda: _Waits(services, tasks, found).look())
    return found


def with_patience(found: Reconciled, what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except (ThrottledError, WorkInProgressError) as error:
        found.throttled.append(f"{what}: {error}")


def _close_runs(services: StopServices, found: Reconciled) -> None:
    now = services.clock.now()
    for item in list(services.runs.query(LIVE)):
        run, arn = item["sk"], item["executionArn"]
        execution = services.executions.describe(arn)
        if execution is not None and (execution.ended_at is None or now - execution.ended_at < GRACE_SECONDS):
            continue
        if execution is not None and execution.status == "SUCCEEDED":
            # Closed by finish_run, which died before it said so here.
            services.runs.delete_if(LIVE, run, "executionArn", arn)
            continue
        status = "failed" if execution is None else STATUSES.get(execution.status, "failed")
        redrives = 0 if execution is None else execution.redrives
        before = services.runs.get(run_pk(run), META) or {}
        try:
            stopped = stop(Stopping(run, arn, status, redrives), services)
        except WorkInProgressError:
            # Its sums are being made: the next look finds it closed, or closes it.
            continue
        found.stopped += stopped.jobs
        if stopped.meta is None:
            # Started under this name by another execution since, or never planned.
            services.runs.delete_if(LIVE, run, "executionArn", arn)
        else:
            found.abandoned += stopped.meta.get("stoppedAt") != before.get("stoppedAt")


class _Waits:
    """One look at the jobs that children wait for."""

    def __init__(self, services: StopServices, tasks: Tasks, found: Reconciled) -> None:
        self.services = services
        self.tasks = tasks
        self.found = found
        self.now = services.clock.now()
        self.over: dict[str, bool] = {}

    def look(self) -> None:
        waiting = {item["sk"]: item for item in self.services.runs.query(OPEN)}
        self.found.open = len(waiting)
        for job in self._jobs(dict(waiting)):
            item = waiting[job_key(job.name)]
            with_patience(self.found, job.name, lambda job=job, item=item: self._follow(job, item))  # type: ignore[misc]

    def _jobs(self, waiting: dict[str, Mapping[str, Any]]) -> Iterator[Job]:
        """The awaited jobs: by one list of ours since the oldest wait began, then one by one what was made before."""
        if not waiting:
            return
        since = min(item["openedAt"] for item in waiting.values()) - _CLOCK_SKEW_SECONDS
        for job in self.services.jobs.list(name_contains=f"{self.services.name}-", submitted_after=since):
            if waiting.pop(job_key(job.name), None) is not None:
                yield job
        for key, item in waiting.items():
            older = self.services.jobs.get(item["jobArn"]) if item.get("jobArn") else None
            if older is not None:
                yield older
            elif self._is_over(item["run"]):
                # Its submitter died before it made the job, and will not be tried again.
                self.found.expired += self.services.runs.delete_if(OPEN, key, "taskToken", item["taskToken"])

    def _follow(self, job: Job, item: Mapping[str, Any]) -> None:
        if job.terminal:
            self.found.terminal += 1
            heard = answer(job, self.services.runs, self.tasks)
            self.found.answered += heard
            self.found.expired += not heard
        elif job.status != "Stopping" and (self.now > item.get("dueAt", self.now) or self._is_over(item["run"])):
            self.found.stopped += self.services.jobs.stop(job.arn)

    def _is_over(self, run: str) -> bool:
        if run not in self.over:
            meta = self.services.runs.get(run_pk(run), META)
            ended = None if meta is None else self.services.executions.ended(meta["executionArn"])
            self.over[run] = ended is not None and self.now - ended >= GRACE_SECONDS
        return self.over[run]
