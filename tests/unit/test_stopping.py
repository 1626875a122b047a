"""A pipeline execution that ended badly leaves no job running."""

import json
from pathlib import Path
from typing import Any

import pytest

from bulk_inference.runs import META, run_pk
from bulk_inference.stopping import Stopped, Stopping, stop
from tests.unit.inference_world import NOW, RUN, Stage

EVENT: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "events" / "execution_status_change.json").read_text()
)


def stage(status: str = "running") -> Stage:
    made = Stage()
    made.runs.put(
        {
            "pk": run_pk(RUN), "sk": META, "run": RUN, "tenant": "default", "scope": RUN, "status": status,
            "executionArn": made.spec.execution_arn,
        }
    )  # fmt: skip
    for shard, job_status in enumerate(["InProgress", "Completed", "Stopping", "Submitted"], 1):
        job = made.jobs.add(f"tickets-{shard:05d}-a1-x", job_status)
        item = {"pk": run_pk(RUN), "sk": f"JOB#{shard:05d}-a1", "jobName": job.name}
        made.runs.put(item if shard == 4 else {**item, "jobArn": job.arn})
    made.jobs.add("foreign", "InProgress")
    return made


def go(made: Stage, **detail: Any) -> Stopped:
    stopping = Stopping.from_event({**EVENT, "detail": {**EVENT["detail"], **detail}})
    assert stopping is not None
    return stop(stopping, runs=made.runs, jobs=made.jobs, now=NOW)


def test_jobs_of_the_run_that_go_on_are_stopped_and_only_those() -> None:
    """One of them has no ARN yet: its submitter died between creating it and noting so."""
    made = stage()
    stopped = go(made)
    assert stopped.jobs == 2
    assert {made.jobs.jobs[arn].name for arn in made.jobs.stopped} == {"tickets-00001-a1-x", "tickets-00004-a1-x"}
    assert stopped.meta is not None
    assert (stopped.meta["status"], stopped.meta["stoppedJobs"]) == ("aborted", 2)
    assert stopped.meta["finishedAt"] == "2027-01-15T08:00:00.000+00:00"


@pytest.mark.parametrize(("status", "expected"), [("FAILED", "failed"), ("TIMED_OUT", "timed_out")])
def test_the_run_takes_the_status_of_its_execution(status: str, expected: str) -> None:
    stopped = go(stage(), status=status)
    assert stopped.meta is not None
    assert stopped.meta["status"] == expected


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED"])
def test_other_events_are_none_of_its_business(status: str) -> None:
    assert Stopping.from_event({"detail": {**EVENT["detail"], "status": status}}) is None


def test_an_execution_that_is_not_the_runs_own_stops_nothing() -> None:
    """The name of a run can be that of another machine's execution, or of an older one."""
    made = stage()
    assert go(made, executionArn="arn:aws:states:us-east-1:123456789012:execution:other:run-1") == Stopped(None, 0)
    assert made.jobs.stopped == []


def test_a_run_that_was_never_planned_has_nothing_to_stop() -> None:
    made = stage()
    made.runs.items.clear()
    assert go(made) == Stopped(None, 0)


def test_an_inconsistent_run_keeps_that_status() -> None:
    stopped = go(stage("inconsistent"), status="FAILED")
    assert stopped.meta is not None
    assert stopped.meta["status"] == "inconsistent"


def test_a_second_event_changes_nothing() -> None:
    made = stage()
    first = go(made)
    second = go(made)
    assert second.jobs == 0
    assert second.meta == first.meta
