"""Handlers of the intake with fakes for the services: which messages come again, and what is counted."""

import json
from typing import Any

import pytest

from bulk_inference.core.environment import IntakeEnvironment
from bulk_inference.handlers import follow_pools, infer_documents, intake_status, intake_wiring, pool_documents
from bulk_inference.intake.consumer import ConsumerServices
from tests.worlds.intake_world import SETTINGS, Intake, message
from tests.worlds.lambda_world import Context


@pytest.fixture
def intake(monkeypatch: pytest.MonkeyPatch) -> Intake:
    world = Intake(documents=2)

    def consumer_services(priority: str, context: Any) -> ConsumerServices:
        queue = world.queues[priority]
        return ConsumerServices(
            priority, queue, world.input, world.bucket, world.runs, world.outcomes, SETTINGS, world.time.clock, 3
        )

    monkeypatch.setattr(intake_wiring, "consumer_services", consumer_services)
    monkeypatch.setattr(intake_wiring, "pool_services", lambda context: world.pools)
    monkeypatch.setattr(intake_wiring, "window_services", lambda context: world.windows)
    monkeypatch.setattr(intake_wiring, "pool_outcome_services", lambda context: world.following)
    monkeypatch.setattr(intake_wiring, "status_services", lambda context: world.status)
    return world


def event(priority: str, *bodies: str) -> dict[str, Any]:
    """As Lambda gives messages of a queue."""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": f"h{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:tickets-intake-{priority}",
            }
            for number, body in enumerate(bodies, 1)
        ]
    }


LATE = message("late", record=None, document={"key": "default/corpus/late.txt"})


def test_urgent_documents_are_answered_for_one_by_one(intake: Intake) -> None:
    answer = infer_documents.handler(event("high", message("a"), "no json", LATE, message("b")), Context())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m3"]
    assert len(intake.queues["high"].dead) == 1
    told = [intake_status.handler({"id": one, "prompt": "sum"}, Context())["status"] for one in ("a", "b", "late")]
    assert told == ["done", "done", "waiting"]


def test_other_documents_are_pooled_and_a_full_pool_starts(intake: Intake) -> None:
    answer = pool_documents.handler(event("normal", message("a"), LATE, message("b")), Context())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m2"]
    (run,) = intake.pipeline.started
    assert intake.members(run) == ["a", "b"]


def test_the_schedule_follows_and_counts(intake: Intake, capsys: pytest.CaptureFixture[str]) -> None:
    pool_documents.handler(event("low", message("a")), Context())
    intake.time.now += 700
    assert follow_pools.handler({}, Context()) == {
        "closed": 1,
        "started": 1,
        "settled": 0,
        "concluded": 0,
        "waiting": 0,
    }
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    found = {one["priority"]: one["DocumentsInFlight"] for one in metrics if "DocumentsInFlight" in one}
    assert found == {"high": [0.0], "normal": [0.0], "low": [1.0]}


def test_a_log_line_holds_no_word_of_a_document(intake: Intake, capsys: pytest.CaptureFixture[str]) -> None:
    infer_documents.handler(event("high", message("a", record={"secret": "xyzzy"}), "xyzzy {"), Context())
    pool_documents.handler(event("normal", message("b", record={"text": "xyzzy"}, promt="x")), Context())
    assert "xyzzy" not in "".join(capsys.readouterr())


def test_variables_that_are_missing_are_named() -> None:
    with pytest.raises(RuntimeError, match="INTAKE_QUEUES_URL, INTAKE_POOLS, INTAKE_MAX_RECEIVES, PIPELINE_ARN"):
        IntakeEnvironment.from_env({"NAME": "x"})
