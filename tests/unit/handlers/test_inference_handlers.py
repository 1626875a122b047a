"""Handlers of inference with fakes for the services and Powertools as it is, its ledger on moto."""

import json
import time
from dataclasses import asdict
from typing import Any

import pytest

from bulk_inference.core.errors import ThrottledError, UnitFailedError, WorkInProgressError
from bulk_inference.core.runs_table import META, cut_sk, run_pk, shard_sk
from bulk_inference.handlers import (
    collect_results,
    finish_run,
    guard,
    infer_batch,
    reconcile_jobs,
    resume_job,
    stop_run,
    submit_job,
    wiring,
)
from bulk_inference.watch.reconcile import Reconciled
from tests.worlds.inference_world import NOW, RUN, FakeOutcome, Stage, converse
from tests.worlds.lambda_world import Context, load

IDS = [f"r{n}" for n in range(6)]


def submit(made: Stage) -> dict[str, Any]:
    made.tasks.waiting.add("token")
    shard = {"shard": "00001", "piece": "00001-001", "records": len(IDS), "bytes": 1}
    event = {"run": RUN, "tenant": "default", "attempt": 1, "shard": shard, "taskToken": "token"}
    answer = submit_job.handler(event, Context())
    return {**event, "jobTimeoutSeconds": 1, "job": answer}


def test_the_way_of_a_shard_through_its_handlers(made: Stage) -> None:
    """submit, resume by the event, collect, finish: a run of one shard, by the handlers alone."""
    state = submit(made)
    job = made.jobs.set(state["job"]["jobName"], "Completed", processed=len(IDS))
    lines = [{"recordId": one, "modelInput": {}, "modelOutput": converse(one)} for one in reversed(IDS)]
    key = f"{made.places.job_output('00001', 1)}{job.id}/00001-001.jsonl.out"
    made.output.objects[key] = b"\n".join(json.dumps(line).encode() for line in lines)
    assert resume_job.handler({"detail": {"batchJobArn": job.arn}}, Context()) == {"woken": True}
    assert reconcile_jobs.handler({}, Context()) == asdict(Reconciled())
    state["job"] = made.tasks.answers["token"]
    collected = collect_results.handler(state, Context())
    assert (collected["next"], collected["counts"]["landed"]) == ("done", len(IDS))
    pk = run_pk(RUN)
    made.runs.put({"pk": pk, "sk": META, "status": "running"})
    counts = {"read": 6, "accepted": 6, "rejected": 0, "duplicate": 0}
    made.runs.put({"pk": pk, "sk": cut_sk("00001"), "cut": "00001", **counts})
    made.runs.put({"pk": pk, "sk": shard_sk("00001"), "mode": "batch", "piece": "00001-001", "accepted": 6})
    made.time.now = time.time()
    finished = finish_run.handler({"run": RUN, "tenant": "default", "executionArn": "x"}, Context())
    assert finished["status"] == "succeeded"


def test_an_item_batch_through_its_handler(made: Stage) -> None:
    event = {
        "BatchInput": {"run": RUN, "tenant": "default"},
        "Items": made.input.lines(made.places.index("00001-001")),
    }
    answer = infer_batch.handler(event, Context())
    assert (answer["next"], answer["Items"], answer["counts"]["landed"]) == ("done", [], len(IDS))
    assert infer_batch.handler(event, Context()) == answer
    assert len(made.model.calls) == len(IDS)


def test_no_item_holds_text_of_records(made: Stage) -> None:
    items = [{"recordId": one, "modelInput": {"prompt": f"SECRET {one}"}} for one in IDS]
    infer_batch.handler({"BatchInput": {"run": RUN, "tenant": "default"}, "Items": items}, Context())
    assert made.runs.items
    assert "SECRET" not in json.dumps([*made.runs.items.values(), made.ledger.owners])


def test_a_failing_unit_frees_its_key_at_once(made: Stage) -> None:
    made.model.answers["r3"] = FakeOutcome(
        error_class="access_denied", error_code="AccessDeniedException", error_message="not authorized"
    )
    event = {
        "BatchInput": {"run": RUN, "tenant": "default"},
        "Items": made.input.lines(made.places.index("00001-001")),
    }
    for _ in range(2):
        with pytest.raises(UnitFailedError, match="AccessDeniedException for model"):
            infer_batch.handler(event, Context())


KEY = {"run": "r", "unit": "u"}


def guarded(work: Any, context: Context) -> dict[str, Any]:
    return guard.guarded(work, table="ledger", function="f", key=KEY, context=context)


@pytest.mark.usefixtures("made")
def test_two_invocations_of_one_unit_do_not_work_at_once() -> None:
    inner: list[type[Exception]] = []

    def work() -> dict[str, Any]:
        try:
            guarded(lambda: {"n": 2}, Context())
        except WorkInProgressError as error:
            inner.append(type(error))
        return {"n": 1}

    assert guarded(work, Context()) == {"n": 1}
    assert inner == [WorkInProgressError]


@pytest.mark.usefixtures("made")
def test_an_invocation_that_died_blocks_no_longer_than_its_time() -> None:
    """A killed worker leaves its item in progress. That counts until the worker's own time would have been up."""

    class Died(BaseException):
        pass

    def dies() -> dict[str, Any]:
        raise Died

    with pytest.raises(Died):
        guarded(dies, Context(left=900_000))
    with pytest.raises(WorkInProgressError):
        guarded(lambda: {"n": 1}, Context())
    other = {"run": "r", "unit": "u2"}
    with pytest.raises(Died):
        guard.guarded(dies, table="ledger", function="f", key=other, context=Context(left=-1))
    assert guard.guarded(lambda: {"n": 1}, table="ledger", function="f", key=other, context=Context()) == {"n": 1}


@pytest.mark.usefixtures("made")
def test_a_ledger_that_refuses_the_guard_is_a_throttle_and_hides_no_error_of_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Powertools raises its own error for any refusal of DynamoDB, in the place of what the work raised, too."""
    layer = guard._persistence("ledger")

    def refuses(*_: Any, **__: Any) -> None:
        raise RuntimeError("ProvisionedThroughputExceededException")

    monkeypatch.setattr(layer, "_put_record", refuses)
    with pytest.raises(ThrottledError, match="the ledger refused f's mark"):
        guarded(lambda: {"n": 1}, Context())
    monkeypatch.undo()
    monkeypatch.setattr(layer, "_delete_record", refuses)

    def fails() -> dict[str, Any]:
        raise UnitFailedError("9 of 10 failed")

    with pytest.raises(UnitFailedError, match="9 of 10 failed"):
        guarded(fails, Context())


@pytest.mark.usefixtures("made")
def test_the_same_invocation_again_gets_the_first_answer() -> None:
    assert guarded(lambda: {"n": 1}, Context()) == {"n": 1}
    assert guarded(lambda: {"n": 2}, Context()) == {"n": 1}


def test_an_aborted_pipeline_stops_its_jobs_and_says_so(made: Stage) -> None:
    state = submit(made)
    meta = {"run": RUN, "tenant": "default", "scope": RUN, "status": "running"}
    made.runs.put({"pk": run_pk(RUN), "sk": META, **meta, "executionArn": made.spec.execution_arn})
    assert stop_run.handler(load("execution_status_change"), Context()) == {"stopped": 1}
    assert made.jobs.find(state["job"]["jobName"]).status == "Stopping"  # type: ignore[union-attr]
    ((_, detail),) = made.bus.events
    assert (detail["run"], detail["status"]) == (RUN, "aborted")


def test_a_state_change_of_another_kind_is_left_alone(made: Stage) -> None:
    event = load("execution_status_change")
    event["detail"]["status"] = "RUNNING"
    assert stop_run.handler(event, Context()) == {"stopped": 0}
    assert made.bus.events == []


def test_the_clock_of_an_invocation_counts_down_in_seconds() -> None:
    assert wiring.clock(Context(left=1500)).remaining() == 1.5
    assert wiring.clock(Context()).now() > NOW - 10**9
