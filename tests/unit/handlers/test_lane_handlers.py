"""Handlers of the failure lane with fakes for the services and Powertools as it is, its ledger on moto."""

import json
from typing import Any

import pytest

from bulk_inference.core.environment import LaneEnvironment
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.runs_table import STALE
from bulk_inference.handlers import redrive_failures, reprocess_records, update_runs, wiring
from tests.worlds.inference_world import FakeOutcome, Stage
from tests.worlds.lambda_world import Context, load
from tests.worlds.lane_world import FakeLane, FakeLetters, FakePipeline
from tests.worlds.redrive_world import SETTINGS


@pytest.fixture
def lane(made: Stage, monkeypatch: pytest.MonkeyPatch) -> FakeLane:
    """Its queue has the ARN of the messages in tests/events."""
    fake = FakeLane(made.world)
    monkeypatch.setattr(wiring, "message_lane", {"arn:aws:sqs:us-east-1:123456789012:q": fake}.__getitem__)
    made.piece("00001-001", ["a", "b"])
    return fake


@pytest.fixture
def letters(made: Stage, monkeypatch: pytest.MonkeyPatch) -> FakeLetters:
    fake = FakeLetters(made.world)
    monkeypatch.setattr(wiring, "dead_letters", lambda: fake)
    monkeypatch.setattr(wiring, "pipeline", lambda: FakePipeline(made.world))
    monkeypatch.setattr(wiring, "assemblies", lambda: FakePipeline(made.world))
    monkeypatch.setattr(wiring, "settings", lambda: SETTINGS)
    monkeypatch.setattr(wiring, "ledger", lambda: made.ledger)
    return fake


def test_only_a_record_that_may_recover_comes_again(made: Stage, lane: FakeLane) -> None:
    """A non-retryable record and a message that is none are held; neither takes the others with it."""
    event = load("reprocess_messages")
    event["Records"].append({**event["Records"][0], "messageId": "m-model", "receiptHandle": "h4"})
    other = {**json.loads(event["Records"][0]["body"]), "recordId": "b", "item": {"recordId": "b"}, "unit": "u2"}
    other["item"] = json.loads(event["Records"][1]["body"])["item"]
    event["Records"][3]["body"] = json.dumps(other)
    made.model.answers["b"] = FakeOutcome(error_class="model_error", error_code="ModelErrorException")
    answer = reprocess_records.handler(event, Context())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m-model"]
    assert lane.backed_off == [("h4", 15)]
    assert [one == "not json" or json.loads(one)["errorClass"] for one in lane.held] == ["validation", True]
    assert [one["recordId"] for one in made.output.lines(made.places.results_prefix)] == ["a"]


def test_a_batch_in_which_all_failed_is_an_answer_and_no_error(made: Stage, lane: FakeLane) -> None:
    event = load("reprocess_messages")
    event["Records"] = event["Records"][:1]
    made.model.answers["a"] = FakeOutcome(error_class="model_error", error_code="ModelErrorException")
    answer = reprocess_records.handler(event, Context())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m-good"]


def test_a_throttled_record_is_not_remembered_as_done(made: Stage, lane: FakeLane) -> None:
    """What Idempotency remembers is an outcome; a postponement is none, or the copy would be taken for settled."""
    event = load("reprocess_messages")
    event["Records"] = event["Records"][:1]
    throttled = FakeOutcome(error_class="throttled", error_code="ThrottlingException")
    made.model.answers["a"] = throttled
    assert reprocess_records.handler(event, Context()) == {"batchItemFailures": []}
    ((copy, _),) = lane.postponed
    del made.model.answers["a"]
    event["Records"][0]["body"] = copy
    assert reprocess_records.handler(event, Context()) == {"batchItemFailures": []}
    assert [one["recordId"] for one in made.output.lines(made.places.results_prefix)] == ["a"]


def test_a_command_that_is_wrong_is_an_error_that_says_so(letters: FakeLetters) -> None:
    with pytest.raises(InvalidRequestError, match="action: must be one of"):
        redrive_failures.handler({"action": "redo"}, Context())
    assert redrive_failures.handler({"action": "redrive"}, Context())["move"] == "begun"
    assert letters.moves == [("normal", None)]


def test_the_schedule_finds_stale_runs(made: Stage, letters: FakeLetters) -> None:
    item: dict[str, Any] = {"run": "r", "tenant": "default", "mark": "m", "expires_at": 1}
    made.runs.put({"pk": STALE, "sk": "r", **item})
    assert update_runs.handler({}, Context()) == {"stale": 1, "updated": 0, "settled": 0, "waiting": 1}


def test_variables_that_the_lane_lacks_are_named() -> None:
    with pytest.raises(RuntimeError, match="DEAD_LETTER_QUEUE_URL, PIPELINE_ARN, ASSEMBLY_ARN"):
        LaneEnvironment.from_env({"NAME": "x"})
