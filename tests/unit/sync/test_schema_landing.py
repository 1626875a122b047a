"""A run that declares a schema: the same answers are fit or failures in a job, on demand and in the failure lane."""

import json
from typing import Any

import pytest

from bulk_inference.batch.collect_results import ShardTask, collect
from bulk_inference.core.failure_line import Failure
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.result_line import Usage
from bulk_inference.core.run_spec import Output
from bulk_inference.core.runs_table import STALE, run_pk
from bulk_inference.failure_lane.reprocess import LaneMessage, NonRetryableRecordError, RecordFailedError, reprocess
from bulk_inference.finish.finishing import add_up
from bulk_inference.sync.infer_batch import Batch, infer_batch
from tests.worlds.inference_world import RUN, FakeOutcome, Stage, assert_survives_kills, converse, make_spec

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SHARD, PIECE = "00001", "00001-001"
ANSWERS = {
    "plain": '{"a": 1}',
    "fenced": '```json\n{"a": 2}\n```',
    "wrong": '{"a": "SECRET"}',
    "twice": '{"a": 1} {"a": 2}',
    "prose": "SECRET",
}
FITTING = {"plain": {"a": 1}, "fenced": {"a": 2}}
UNFIT = {"wrong": "SchemaMismatch", "twice": "AmbiguousJson", "prose": "NotJson"}


def stage() -> Stage:
    made = Stage(make_spec(output=Output(SCHEMA)))
    made.piece(PIECE, list(ANSWERS), sync=True)
    made.model.answers = {name: FakeOutcome(output=converse(text)) for name, text in ANSWERS.items()}
    return made


def in_batch() -> Stage:
    made = stage()
    job = made.jobs.add("job-1", "Completed", message="", processed=len(ANSWERS))
    made.runs.items[(run_pk(RUN), f"JOB#{SHARD}-a1")] = {"jobName": "job-1", "jobArn": job.arn}
    lines = [{"recordId": name, "modelInput": {}, "modelOutput": converse(text)} for name, text in ANSWERS.items()]
    folder = f"{made.places.job_output(SHARD, 1)}{job.id}/"
    made.output.objects[f"{folder}manifest.json.out"] = b"{}"
    made.output.objects[f"{folder}{PIECE}.jsonl.out"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return made


def collected(made: Stage) -> Any:
    shard = {"shard": SHARD, "piece": PIECE, "records": len(ANSWERS), "bytes": 1}
    event = {"run": RUN, "tenant": "default", "attempt": 1, "shard": shard, "job": {"jobName": "job-1"}}
    return collect(ShardTask.from_event(event), made.unit_context)


def inferred(made: Stage) -> Any:
    event = {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": made.input.lines(made.places.batches(PIECE))}
    return infer_batch(Batch.from_event(event), made.unit_context)["counts"]


@pytest.mark.parametrize(("make", "work"), [(in_batch, collected), (stage, inferred)])
def test_what_fits_lands_with_its_value_and_what_does_not_is_a_failure_that_keeps_its_text(
    make: Any, work: Any
) -> None:
    made = make()
    work(made)
    results = {line["recordId"]: line for line in made.output.lines(made.places.results_prefix)}
    assert {name: line["value"] for name, line in results.items()} == FITTING
    assert results["fenced"]["text"] == ANSWERS["fenced"]
    failures = {line["recordId"]: line for line in made.output.lines(made.places.failures_prefix)}
    assert {name: line["errorCode"] for name, line in failures.items()} == UNFIT
    assert {name: line["text"] for name, line in failures.items()} == {name: ANSWERS[name] for name in UNFIT}
    assert failures["wrong"]["errorMessage"] == "$.a: breaks the schema's rule type"


@pytest.mark.parametrize(("make", "work"), [(in_batch, collected), (stage, inferred)])
def test_messages_and_items_hold_no_word_of_the_model(make: Any, work: Any) -> None:
    made = make()
    work(made)
    assert {one["recordId"]: one["errorCode"] for one in made.queue.messages} == UNFIT
    assert "SECRET" not in json.dumps(made.queue.messages)
    assert "SECRET" not in str(made.runs.items)


@pytest.mark.parametrize(("make", "work"), [(in_batch, collected), (stage, inferred)])
def test_answers_that_do_not_fit_were_paid_for(make: Any, work: Any) -> None:
    made = make()
    work(made)
    assert add_up(RUN, made.runs).usage.input_tokens == 3 * len(ANSWERS)


@pytest.mark.parametrize(("make", "work"), [(in_batch, collected), (stage, inferred)])
def test_a_worker_may_die_anywhere(make: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_order(positions: Any, call_of: Any, clock: Any) -> Any:
        yield from ((at, call_of(at)()) for at in positions)

    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", in_order)
    assert_survives_kills(make, work, at_least=4)


def test_bedrocks_manifest_counts_answers_that_do_not_fit_as_successes_and_that_is_no_contradiction() -> None:
    made = in_batch()
    (key,) = [key for key in made.output.objects if key.endswith("manifest.json.out")]
    made.output.objects[key] = json.dumps({"successRecordCount": len(ANSWERS), "errorRecordCount": 0}).encode()
    collected(made)
    assert add_up(RUN, made.runs).contradictions == []
    other = in_batch()
    other.output.objects[key] = json.dumps({"successRecordCount": len(ANSWERS) - 1, "errorRecordCount": 1}).encode()
    collected(other)
    assert len(add_up(RUN, other.runs).contradictions) == 2


def message(made: Stage, record_id: str, error_class: str) -> LaneMessage:
    (line,) = [one for one in made.input.lines(made.places.index(PIECE)) if one["recordId"] == record_id]
    failure = Failure(Pointer.from_json(line), error_class, "SchemaMismatch", "words", 1)
    return LaneMessage.from_json(failure.message(RUN, "default", f"{SHARD}-a1", SHARD, line))


def test_the_lane_lands_a_better_answer_with_its_value() -> None:
    made = stage()
    assert reprocess(message(made, "fenced", "schema"), made.unit_context) == "landed"
    (line,) = made.output.lines(made.places.results_prefix)
    assert line["value"] == {"a": 2}


def test_a_second_unfit_answer_is_held_and_a_first_one_is_not() -> None:
    made = stage()
    with pytest.raises(NonRetryableRecordError) as held:
        reprocess(message(made, "wrong", "schema"), made.unit_context)
    assert (held.value.error_class, held.value.error_code) == ("schema", "SchemaMismatch")
    with pytest.raises(RecordFailedError) as again:
        reprocess(message(made, "wrong", "model"), made.unit_context)
    assert not isinstance(again.value, NonRetryableRecordError)
    assert "SECRET" not in str(held.value) + str(again.value)


def test_the_lanes_unfit_answers_keep_their_text_and_were_paid_for() -> None:
    made = stage()
    inferred(made)
    before = add_up(RUN, made.runs)
    for _ in range(2):
        with pytest.raises(NonRetryableRecordError):
            reprocess(message(made, "wrong", "schema"), made.unit_context)
    (line,) = made.output.lines(f"{made.places.root}unfit/")
    assert (line["recordId"], line["errorCode"], line["text"]) == ("wrong", "SchemaMismatch", ANSWERS["wrong"])
    after = add_up(RUN, made.runs)
    assert (after.unfit, after.usage) == (2, before.usage + Usage(6, 4))
    assert (after.counts, after.problems) == (before.counts, before.problems)
    assert "SECRET" not in str(made.runs.items)
    # The manifest follows.
    assert [item["run"] for item in made.runs.query(STALE)] == [RUN]


def test_an_answer_that_was_refused_is_no_unfit_answer() -> None:
    made = stage()
    made.model.answers["wrong"] = FakeOutcome(error_class="model_error", error_code="E", error_message="words")
    with pytest.raises(RecordFailedError):
        reprocess(message(made, "wrong", "schema"), made.unit_context)
    assert (add_up(RUN, made.runs).unfit, made.output.lines(f"{made.places.root}unfit/")) == (0, [])
