"""Waking children: events are hints, and the schedule finds what they missed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bulk_inference.batch.task_tokens import answer
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.runs_table import COUNT, JOB, LIVE, META, OPEN, in_flight_pk, job_key, live_item, run_pk
from bulk_inference.watch.reconcile import GRACE_SECONDS, Reconciled, reconcile, resume
from tests.worlds.inference_world import NOW, RUN, Stage, assert_survives_kills

EVENTS = Path(__file__).parents[2] / "events"
NAME = "tickets-00001-a1-0123456789abcdef0123"


def stage(status: str = "Completed", name: str = NAME, token: str = "token") -> Stage:
    made = Stage()
    await_job(made, name, status, token)
    return made


def await_job(made: Stage, name: str, status: str, token: str) -> None:
    job = made.jobs.add(name, status)
    where = {"run": RUN, "tenant": "default", "shard": name.split("-")[1], "attempt": 1, "jobName": name}
    made.runs.items[(job_key(name), JOB)] = {"pk": job_key(name), "sk": JOB, **where, "taskToken": token}
    made.runs.items[(OPEN, job_key(name))] = {
        "pk": OPEN, "sk": job_key(name), "taskToken": token, "openedAt": int(NOW), "run": RUN,
    }  # fmt: skip
    made.tasks.waiting.add(token)
    assert job.name == name


def follow(made: Stage, event: Any) -> bool:
    return resume(event, "tickets", runs=made.runs, jobs=made.jobs, tasks=made.tasks)


def look(made: Stage) -> Reconciled:
    return reconcile(made.stop_world, made.tasks)


def documented() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / "batch_job_state_change.json").read_text())
    return event


def test_a_job_that_ends_frees_its_slot_for_those_that_wait() -> None:
    made = stage()
    pk = in_flight_pk("m")
    made.runs.put({"pk": pk, "sk": COUNT, "counted": 9, "taken": 0, "countedAt": int(NOW), "stamp": "s"})
    answer(made.jobs.find(NAME), made.runs, made.tasks)  # type: ignore[arg-type]
    assert made.runs.get(pk, COUNT) is None


@pytest.mark.parametrize("status", ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"])
def test_every_terminal_status_wakes_the_child_with_its_status(status: str) -> None:
    """The documented event, whose times are no ISO 8601; its own status is not believed."""
    made = stage(status)
    event = documented()
    event["detail"]["batchJobArn"] = made.jobs.find(NAME).arn  # type: ignore[union-attr]
    assert follow(made, event) is True
    arn = event["detail"]["batchJobArn"]
    assert made.tasks.answers == {"token": {"jobName": NAME, "jobArn": arn, "status": status}}
    assert made.runs.get(OPEN, job_key(NAME)) is None
    assert made.runs.get(run_pk(RUN), "JOB#00001-a1")["status"] == status  # type: ignore[index]


def test_an_event_ahead_of_its_time_is_not_believed() -> None:
    made = stage("InProgress")
    assert follow(made, {"detail": {"batchJobName": NAME, "status": "Completed"}}) is False
    assert made.tasks.answers == {}


def test_a_repeated_event_does_no_harm() -> None:
    made = stage()
    assert follow(made, {"detail": {"batchJobName": NAME}}) is True
    assert follow(made, {"detail": {"batchJobName": NAME}}) is False


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"detail": None},
        {"detail": {}},
        {"detail": {"batchJobName": "somebody-elses"}},
        {"detail": {"batchJobName": "tickets-99999-a1-unknown"}},
        {"detail": {"batchJobArn": "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/unknownunkno"}},
        {"detail": {"batchJobName": 7, "batchJobArn": 8}},
    ],
)
def test_events_that_are_not_ours_or_make_no_sense_are_left_alone(event: dict[str, Any]) -> None:
    made = stage()
    assert follow(made, event) is False
    assert made.tasks.answers == {}


def test_a_job_whose_name_only_looks_like_ours_is_left_alone() -> None:
    made = stage()
    foreign = made.jobs.add("tickets-by-hand", "Completed")
    assert follow(made, {"detail": {"batchJobName": foreign.name}}) is False


def test_lost_events_are_found_by_the_schedule() -> None:
    made = stage()
    await_job(made, "tickets-00002-a1-x", "InProgress", "token-2")
    await_job(made, "tickets-00003-a1-x", "Failed", "token-3")
    made.jobs.add("tickets-by-hand", "Completed")
    assert look(made) == Reconciled(open=3, terminal=2, answered=2)
    assert set(made.tasks.answers) == {"token", "token-3"}
    assert look(made) == Reconciled(open=1, terminal=0, answered=0)


def test_a_child_that_is_gone_is_not_looked_for_again() -> None:
    made = stage()
    made.tasks.waiting.clear()
    assert look(made) == Reconciled(open=1, terminal=1, answered=0, expired=1)
    assert look(made) == Reconciled()


def test_a_token_that_was_replaced_meanwhile_stays_awaited() -> None:
    """submit_job stores a new token between our read and our delete: its wait must not be forgotten."""
    made = stage()
    job = made.jobs.find(NAME)
    assert job is not None
    succeed = made.tasks.succeed

    def replaced(token: str, output: Mapping[str, Any]) -> bool:
        made.runs.items[(OPEN, job_key(NAME))]["taskToken"] = "newer"
        return succeed(token, output)

    made.tasks.succeed = replaced  # type: ignore[method-assign]
    answer(job, made.runs, made.tasks)
    assert made.runs.get(OPEN, job_key(NAME)) is not None


def test_a_worker_that_dies_anywhere_wakes_the_child_once() -> None:
    def work(made: Stage) -> dict[str, Any]:
        look(made)
        return made.tasks.answers

    assert_survives_kills(stage, work, at_least=3)


def live(made: Stage, status: str = "running") -> str:
    arn = made.spec.execution_arn
    made.runs.items[(LIVE, RUN)] = live_item(RUN, arn, 0)
    made.runs.items[(run_pk(RUN), META)] = {
        "pk": run_pk(RUN), "sk": META, "run": RUN, "tenant": "default", "scope": RUN, "status": status,
        "executionArn": arn, "expires_at": 0,
    }  # fmt: skip
    return arn


@pytest.mark.parametrize(
    ("execution", "status"),
    [("ABORTED", "aborted"), ("FAILED", "failed"), ("TIMED_OUT", "timed_out"), (None, "failed")],
)
def test_a_run_whose_execution_is_over_is_closed_once_and_its_jobs_are_stopped(
    execution: str | None, status: str
) -> None:
    """The event of its end was lost, or Step Functions does not even know the execution any more."""
    made = stage("InProgress")
    arn = live(made)
    job = made.jobs.find(NAME)
    assert job is not None
    made.runs.items[(run_pk(RUN), "JOB#00001-a1")] = {
        "pk": run_pk(RUN), "sk": "JOB#00001-a1", "jobName": NAME, "jobArn": job.arn,
    }  # fmt: skip
    if execution is None:
        made.executions.known[arn] = None
    else:
        made.executions.end(arn, execution, at=NOW - GRACE_SECONDS)
    first = look(made)
    assert (first.abandoned, first.stopped) == (1, 1)
    assert made.jobs.stopped == [job.arn]
    assert made.runs.items[(run_pk(RUN), META)]["status"] == status
    assert [detail["status"] for _, detail in made.bus.events] == [status]
    second = look(made)
    assert (second.abandoned, second.stopped, len(made.bus.events)) == (0, 0, 1)


def test_an_event_that_may_still_come_is_waited_for() -> None:
    made = Stage()
    made.executions.end(live(made), at=NOW - GRACE_SECONDS + 1)
    assert look(made).abandoned == 0
    assert made.bus.events == []


def test_a_run_that_goes_on_and_one_that_came_to_its_end_are_left_alone() -> None:
    made = Stage()
    arn = live(made)
    assert look(made).abandoned == 0
    made.executions.end(arn, "SUCCEEDED", at=NOW - GRACE_SECONDS)
    made.runs.items[(run_pk(RUN), META)]["status"] = "succeeded"
    assert look(made).abandoned == 0
    assert made.runs.get(LIVE, RUN) is None
    assert made.runs.items[(run_pk(RUN), META)]["status"] == "succeeded"


def test_a_job_that_outlived_its_run_is_stopped_once_and_then_forgotten() -> None:
    """Created by a submitter that was at work when the run was stopped."""
    made = stage("InProgress")
    made.executions.end(live(made, "aborted"), at=NOW - GRACE_SECONDS)
    del made.runs.items[(LIVE, RUN)]
    made.tasks.waiting.clear()
    assert look(made).stopped == 1
    assert look(made).stopped == 0, "it is stopping"
    made.jobs.set(NAME, "Stopped")
    assert look(made).expired == 1
    assert look(made) == Reconciled()


def test_a_job_that_outlived_its_own_time_is_stopped_so_that_it_can_be_salvaged() -> None:
    made = stage("InProgress")
    live(made)
    made.runs.items[(OPEN, job_key(NAME))]["dueAt"] = int(NOW)
    assert look(made).stopped == 0
    made.time.now += 1
    assert look(made).stopped == 1


def test_a_job_that_is_older_than_the_wait_for_it_is_found() -> None:
    """A redriven child waits for the job that the first try made: the list since the wait began does not have it."""
    made = stage()
    made.jobs.older.add(NAME)
    made.runs.items[(OPEN, job_key(NAME))]["jobArn"] = made.jobs.find(NAME).arn  # type: ignore[union-attr]
    assert look(made).answered == 1


def test_a_wait_for_a_job_that_was_never_made_ends_with_its_run() -> None:
    made = stage()
    made.jobs.jobs.clear()
    arn = live(made)
    assert look(made) == Reconciled(open=1)
    made.executions.end(arn, at=NOW - GRACE_SECONDS)
    assert look(made).expired == 1
    assert made.runs.get(OPEN, job_key(NAME)) is None


def test_throttling_does_not_undo_what_was_found_before() -> None:
    made = stage()
    await_job(made, "tickets-00002-a1-x", "Failed", "token-2")

    def throttled(job: Any) -> None:
        raise ThrottledError("page 2")

    made.jobs.listed = throttled
    found = look(made)
    assert (found.answered, found.throttled) == (1, ["jobs: page 2"])
    made.jobs.listed = lambda job: None
    assert look(made).answered == 1


def test_one_child_that_cannot_be_told_now_does_not_keep_the_others_waiting() -> None:
    made = stage()
    await_job(made, "tickets-00002-a1-x", "Failed", "token-2")
    real = made.tasks.succeed

    def succeed(token: str, output: Any) -> bool:
        if token == "token":
            raise ThrottledError("SendTaskSuccess")
        return real(token, output)

    made.tasks.succeed = succeed  # type: ignore[method-assign]
    found = look(made)
    assert (found.answered, found.throttled) == (1, [f"{NAME}: SendTaskSuccess"])
    made.tasks.succeed = real  # type: ignore[method-assign]
    assert look(made).answered == 1


def test_clocks_that_differ_hide_no_job() -> None:
    """Bedrock says when a job was submitted, and ours when its wait began: an hour between them is allowed for."""
    made = stage()
    listed, asked = made.jobs.list, list[float]()

    def list_(*, submitted_after: float | None = None, **more: Any) -> Any:
        asked.append(submitted_after or 0.0)
        return listed(submitted_after=submitted_after, **more)

    made.jobs.list = list_  # type: ignore[method-assign]
    look(made)
    assert asked == [int(NOW) - 3600.0]
