"""A pipeline execution that ended badly leaves no job running."""

import json
from pathlib import Path
from typing import Any

import pytest

from bulk_inference.core.ports import Execution, MapRun
from bulk_inference.core.runs_table import LIVE, META, STALE, run_pk
from bulk_inference.land.units import ErrorKind
from bulk_inference.watch.stop_run import Stopped, Stopping, go_on, stop
from tests.worlds.inference_world import RUN, Stage, assert_survives_kills

EVENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "events" / "execution_status_change.json").read_text())


def stage(status: str = "running") -> Stage:
    made = Stage()
    made.runs.put(
        {
            "pk": run_pk(RUN), "sk": META, "run": RUN, "tenant": "default", "scope": RUN, "status": status,
            "executionArn": made.spec.execution_arn, "expires_at": 0,
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
    return stop(stopping, made.stop_world)


def test_jobs_of_the_run_that_go_on_are_stopped_and_only_those() -> None:
    """One of them has no ARN yet: its submitter died between creating it and noting so."""
    made = stage()
    stopped = go(made)
    assert stopped.jobs == 2
    assert {made.jobs.jobs[arn].name for arn in made.jobs.stopped} == {"tickets-00001-a1-x", "tickets-00004-a1-x"}
    assert stopped.meta is not None
    assert stopped.meta["status"] == "aborted"
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
    assert go(made, executionArn="arn:aws:states:us-east-1:123456789012:execution:other:run-1") == Stopped(None)
    assert made.jobs.stopped == []


def test_a_run_that_was_never_planned_has_nothing_to_stop() -> None:
    made = stage()
    made.runs.items.clear()
    assert go(made) == Stopped(None)


def test_an_inconsistent_run_keeps_that_status() -> None:
    stopped = go(stage("inconsistent"), status="FAILED")
    assert stopped.meta is not None
    assert stopped.meta["status"] == "inconsistent"


def test_what_does_not_add_up_stays_in_the_manifest_of_an_inconsistent_run() -> None:
    made = stage("inconsistent")
    made.output.put(f"{made.places.results_prefix}part-stray.jsonl", b"{}\n")
    made.executions.end(made.spec.execution_arn, "FAILED", error="ConservationError", cause="")
    go(made, status="FAILED")
    manifest = made.output.get_json(made.places.manifest) or {}
    assert manifest["status"] == "inconsistent"
    assert any("part-stray" in problem for problem in manifest["problems"])
    assert manifest["stopped"]["thresholds"] == [{"threshold": "conservation"}]


def test_sums_of_a_run_that_broke_off_are_not_held_against_it() -> None:
    """Cut, but never sealed: no shard holds what the cut accepted."""
    made = stage()
    cut = {"cut": "00001", "read": 9, "accepted": 9, "rejected": 0, "duplicate": 0}
    made.runs.put({"pk": run_pk(RUN), "sk": "CUT#00001", **cut})
    go(made)
    manifest = made.output.get_json(made.places.manifest) or {}
    assert (manifest["status"], manifest["problems"], manifest["counts"]["read"]) == ("aborted", [], 9)


def test_a_second_event_changes_nothing() -> None:
    made = stage()
    first = go(made)
    second = go(made)
    assert second.jobs == 0
    assert second.meta == first.meta
    assert len(made.bus.events) == 1


def test_a_job_that_was_created_while_the_run_was_stopped_is_stopped_by_the_second_event() -> None:
    made = stage()
    go(made)
    late = made.jobs.add("tickets-00005-a1-x", "Submitted")
    made.runs.put({"pk": run_pk(RUN), "sk": "JOB#00005-a1", "jobName": late.name, "jobArn": late.arn})
    assert go(made).jobs == 1
    assert made.jobs.stopped[-1] == late.arn


def test_the_end_before_a_redrive_stops_nothing_of_what_goes_on_now() -> None:
    made = stage()
    made.executions.known[made.spec.execution_arn] = Execution(made.spec.execution_arn, "RUNNING", redrives=1)
    assert go(made, redriveCount=0) == Stopped(None)
    assert made.jobs.stopped == made.executions.stopped == []
    assert go(made, redriveCount=1).jobs == 2, "an end that DescribeExecution does not show yet"


def test_nested_executions_are_stopped_before_the_jobs() -> None:
    """The other way round, a child could create a job that nobody stops."""
    made = stage()
    made.executions.end(made.spec.execution_arn)
    stopped = go(made, redriveCount=2)
    account = "arn:aws:states:us-east-1:123456789012:execution"
    assert made.executions.stopped == [
        f"{account}:tickets-shard_and_submit:run-1-2",
        f"{account}:tickets-fan_out:run-1-2",
    ]
    assert stopped.executions == 2
    effects = [effect for effect in made.world.effects if effect.startswith("stop ")]
    assert effects == ["stop execution"] * 2 + ["stop job"] * 2


FAN_OUT = "arn:aws:states:us-east-1:123456789012:execution:tickets-fan_out:run-1-0"


def broken(made: Stage, error: str, cause: str, *, failed: int = 60) -> dict[str, Any]:
    """A run whose Map Run failed by its children's error; what the manifest says of its end."""
    made.executions.end(made.spec.execution_arn, "FAILED", error="States.TaskFailed", cause="{}")
    exceeded = "The specified tolerated failure threshold was exceeded"
    made.executions.end(FAN_OUT, "FAILED", error="States.ExceedToleratedFailureThreshold", cause=exceeded)
    made.executions.runs[FAN_OUT] = [MapRun("InferBatches", "FAILED", 200, failed, 10.0, [(error, cause)] * 3)]
    go(made, status="FAILED")
    why: dict[str, Any] = (made.output.get_json(made.places.manifest) or {})["stopped"]
    assert made.runs.items[(run_pk(RUN), META)]["stopped"] == why
    ((_, detail),) = made.bus.events
    assert detail["stopped"] == why
    return why


def test_a_run_stopped_by_a_threshold_says_which_and_by_what_errors() -> None:
    made = stage()
    kinds = [ErrorKind("validation", f"code-{n}", 10 - n, f"r{n}").to_json() for n in range(7)]
    pieces = {"p": {"sent": 60, "failed": 49}}
    made.runs.put({"pk": run_pk(RUN), "sk": "UNIT#u", "unit": "u", "kind": "items", "pieces": pieces, "errors": kinds})
    cause = json.dumps({"errorType": "UnitFailedError", "errorMessage": "unit u: 49 of 60 records failed"})
    why = broken(made, "UnitFailedError", cause)
    assert why["error"] == "States.ExceedToleratedFailureThreshold"
    assert why["thresholds"] == [
        {
            "threshold": "toleratedFailurePercentage", "stage": "InferBatches",
            "tolerated": 10.0, "failed": 60, "items": 200,
        },
        {"threshold": "unitErrorRatio", "sampledChildren": 3},
    ]  # fmt: skip
    assert why["errors"] == kinds[:5]
    assert why["children"] == [
        {
            "stage": "InferBatches", "error": "UnitFailedError", "cause": "unit u: 49 of 60 records failed",
            "sampled": 3,
        }
    ]  # fmt: skip


def test_a_missing_permission_is_named_where_no_record_is_to_blame() -> None:
    denied = "User: x is not authorized to perform: bedrock:InvokeModel on resource: y"
    why = broken(stage(), "AccessDeniedException", json.dumps({"errorMessage": denied}))
    assert why["children"][0]["cause"] == denied
    assert why["errors"] == []


@pytest.mark.parametrize("error", ["ValueError", "KeyError", "Exception", "BulkInference"])
def test_messages_that_may_quote_a_record_are_not_repeated(error: str) -> None:
    made = stage()
    why = broken(made, error, json.dumps({"errorMessage": "invalid literal: 'my SECRET prompt'"}))
    assert why["children"][0]["error"] == error
    assert "SECRET" not in json.dumps([why, made.bus.events])


def test_a_threshold_that_was_not_passed_is_not_blamed() -> None:
    """A Map Run that was aborted with the run has failures, too."""
    why = broken(stage(), "Lambda.Unknown", "", failed=20)
    assert why["thresholds"] == []


def test_a_redriven_run_goes_on_and_can_be_stopped_again() -> None:
    made = stage()
    go(made)
    running = {"detail": {**EVENT["detail"], "status": "RUNNING", "redriveCount": 1}}
    assert go_on(running, made.stop_world) is True
    meta = made.runs.items[(run_pk(RUN), META)]
    assert (meta["status"], meta["stopped"]) == ("running", None)
    assert made.runs.get(LIVE, RUN) is not None
    stopped = go(made, redriveCount=1)
    assert stopped.meta is not None
    assert stopped.meta["status"] == "aborted"
    assert made.runs.get(LIVE, RUN) is None
    assert len(made.bus.events) == 2


def test_a_run_that_is_redriven_while_it_is_closed_goes_on() -> None:
    """The event of the redrive came when nothing was noted yet that it could have changed."""
    made = stage()
    real = made.bus.put

    def redriven(detail_type: str, detail: Any) -> None:
        real(detail_type, detail)
        made.executions.known[made.spec.execution_arn] = Execution(made.spec.execution_arn, "RUNNING", redrives=1)

    made.bus.put = redriven  # type: ignore[method-assign]
    stopped = go(made)
    assert stopped.meta is not None
    assert stopped.meta["status"] == "running"
    assert made.runs.get(LIVE, RUN) is not None


@pytest.mark.parametrize("redrives", [0, 1])
def test_the_start_of_an_execution_that_has_ended_since_is_old_news(redrives: int) -> None:
    """Events are unordered."""
    made = stage()
    go(made, redriveCount=1)
    detail = {**EVENT["detail"], "status": "RUNNING", "redriveCount": redrives}
    assert go_on({"detail": detail}, made.stop_world) is False
    assert made.runs.items[(run_pk(RUN), META)]["status"] == "aborted"


def test_a_worker_that_dies_anywhere_and_a_retry_end_in_the_same() -> None:
    def work(made: Stage) -> Any:
        go(made)
        return made.runs.items[(run_pk(RUN), META)]["status"]

    assert_survives_kills(calm, work, at_least=7)


def calm() -> Stage:
    made = stage()
    made.runs.put({"pk": LIVE, "sk": RUN, "executionArn": made.spec.execution_arn})
    made.world.effects.clear()
    return made


def test_the_manifest_is_looked_at_once_more_after_the_end() -> None:
    """Workers that were at work when it was written may have landed more."""
    made = stage()
    go(made)
    assert [item["sk"] for item in made.runs.query(STALE)] == [RUN]


def test_an_end_and_a_start_that_come_when_all_is_over_change_nothing() -> None:
    """Workers that were frozen: one is about to close what has been redriven, one to open what has ended since."""
    made = stage()
    go(made)
    made.executions.known[made.spec.execution_arn] = Execution(made.spec.execution_arn, "RUNNING", redrives=1)
    running = {"detail": {**EVENT["detail"], "status": "RUNNING", "redriveCount": 1}}
    assert go_on(running, made.stop_world) is True
    made.runs.update(run_pk(RUN), META, {"status": "succeeded", "stoppedAt": None})
    assert go(made, redriveCount=0) == Stopped(None)
    assert go_on(running, made.stop_world) is False
    assert made.runs.items[(run_pk(RUN), META)]["status"] == "succeeded"


def test_what_an_operator_gives_as_cause_is_told() -> None:
    made = stage()
    made.executions.end(made.spec.execution_arn, "ABORTED", error="Operator", cause="wrong prompt, see ticket 7")
    stopped = go(made, status="ABORTED")
    assert stopped.meta is not None
    assert (stopped.meta["stopped"]["error"], stopped.meta["stopped"]["cause"]) == (
        "Operator",
        "wrong prompt, see ticket 7",
    )


def test_a_failed_assembly_says_why() -> None:
    """The pipeline's own cause holds that of the machine that it started."""
    made = stage()
    inner = json.dumps({"errorType": "InvalidRequestError", "errorMessage": "run run-1: its documents are not reduced"})
    cause = json.dumps({"ExecutionArn": "arn", "Input": "{}", "Error": "InvalidRequestError", "Cause": inner})
    made.executions.end(made.spec.execution_arn, "FAILED", error="States.TaskFailed", cause=cause)
    stopped = go(made, status="FAILED")
    assert stopped.meta is not None
    assert stopped.meta["stopped"]["error"] == "InvalidRequestError"
    assert stopped.meta["stopped"]["cause"] == "run run-1: its documents are not reduced"
