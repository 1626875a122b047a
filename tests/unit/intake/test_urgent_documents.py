"""Documents that are inferred at once: they land like any record, once, whoever dies; what fails is tried again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.keys import Places
from bulk_inference.core.runs_table import META, POOLS, run_pk
from bulk_inference.core.stored_run import load_spec
from bulk_inference.failure_lane.redrive import RedriveServices, carry_out, parse
from bulk_inference.failure_lane.reprocess import LaneMessage as Failed
from bulk_inference.failure_lane.reprocess import reprocess
from bulk_inference.intake.consumer import refused
from bulk_inference.intake.intake_status import answer
from bulk_inference.intake.pool_outcomes import follow
from bulk_inference.intake.urgent_documents import infer_now
from tests.worlds.inference_world import Killed, meaningful
from tests.worlds.intake_world import SETTINGS, Intake, message, refusal
from tests.worlds.lane_world import FakeLetters, FakePipeline


def status(intake: Intake, document: str = "a") -> dict[str, Any]:
    return answer({"id": document, "prompt": "sum"}, intake.status)


def line_at(intake: Intake, place: dict[str, Any]) -> dict[str, Any]:
    body = intake.bucket(place["bucket"]).objects[place["key"]]
    found: dict[str, Any] = json.loads(body[place["offset"] : place["offset"] + place["length"]])
    return found


def test_an_urgent_document_lands_at_once_like_any_record() -> None:
    intake = Intake()
    intake.queues["high"].send(message("a", notify=True))
    assert intake.work("high") == {"m1": "done"}
    told = status(intake)
    assert told["status"] == "done"
    line = line_at(intake, told["result"])
    assert (line["recordId"], line["text"]) == ("a", "said Say text of a")
    assert intake.ledger.owners["a"].startswith(f"{told['run']}/document-")
    ((kind, detail),) = intake.bus.events
    assert (kind, detail["id"], detail["status"], detail["result"]) == (
        "Bulk Inference Document Finished",
        "a",
        "done",
        told["result"],
    )
    assert "text of a" not in json.dumps([detail, list(intake.runs.items.values())], default=str)


@pytest.mark.parametrize("kind", ["landed", "rejected", "refused"])
def test_a_worker_that_dies_anywhere_leaves_one_result_and_one_end(kind: str) -> None:
    def made() -> Intake:
        intake = Intake()
        intake.queues["high"].send(message("a", notify=True, **({"record": {"x": 1}} if kind == "rejected" else {})))
        if kind == "refused":
            intake.model.answers["Say text of a"] = refusal()
        return intake

    calm = made()
    (end,) = calm.work("high").values()
    effects = list(calm.world.effects)
    assert len(effects) > 8
    for number in range(1, len(effects) + 1):
        intake = made()
        intake.world.kill_at = number
        with pytest.raises(Killed):
            intake.work("high")
        intake.world.revive()
        again = set(intake.work("high").values())
        assert again <= {end, "known"}, effects[number - 1]
        assert meaningful(intake.output, intake.runs) == meaningful(calm.output, calm.runs), effects[number - 1]
        assert intake.ledger.owners == calm.ledger.owners
        assert status(intake)["status"] == status(calm)["status"]
        assert {detail["status"] for _, detail in intake.bus.events} == {status(calm)["status"]}


def test_the_same_message_twice_is_one_result_and_another_document_under_its_id_is_refused() -> None:
    intake = Intake()
    for _ in range(2):
        intake.queues["high"].send(message("a"))
    assert sorted(intake.work("high").values()) == ["done", "known"]
    intake.queues["normal"].send(message("a"))
    assert intake.work("normal") == {"m1": "known"}
    intake.queues["high"].send(message("a", record={"text": "something else"}))
    assert intake.work("high") == {"m3": "held"}
    ((_, attributes),) = intake.queues["high"].dead
    assert attributes["errorClass"] == "conflict"
    assert status(intake)["status"] == "done"
    assert len(intake.model.calls) == 1


def test_a_rejected_document_says_class_and_place() -> None:
    intake = Intake()
    intake.queues["high"].send(message("a", record={"body": "no text"}))
    assert intake.work("high") == {"m1": "failed"}
    told = status(intake)
    assert (told["status"], told["errorClass"]) == ("failed", "missing_field")
    assert line_at(intake, told["failure"])["errorClass"] == "missing_field"


def test_a_document_that_the_model_fails_on_goes_into_the_failure_lane_and_its_status_follows() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal("model_error")
    intake.queues["high"].send(message("a", notify=True))
    assert intake.work("high") == {"m1": "failed"}
    told = status(intake)
    assert (told["status"], told["errorClass"]) == ("failed", "model")
    assert "own words" not in json.dumps(told)
    (letter,) = intake.failures.messages
    intake.model.answers.clear()
    assert reprocess(Failed.from_json(letter), intake.unit_context("default", told["run"])) == "landed"
    assert follow(intake.following).concluded == 1
    told = status(intake)
    assert told["status"] == "done"
    assert line_at(intake, told["result"])["recordId"] == "a"
    assert [detail["status"] for _, detail in intake.bus.events] == ["failed", "done"]


def test_a_failed_document_that_is_sent_again_is_tried_again() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal()
    intake.queues["high"].send(message("a"))
    assert intake.work("high") == {"m1": "failed"}
    intake.model.answers.clear()
    intake.queues["high"].send(message("a"))
    assert intake.work("high") == {"m2": "done"}
    assert status(intake)["status"] == "done"


def test_a_throttled_document_waits_without_using_up_its_tries() -> None:
    intake = Intake(max_receives=2)
    intake.model.answers["Say text of a"] = refusal("throttled")
    intake.queues["high"].send(message("a"))
    for number in range(1, 6):
        intake.time.remaining = 900
        assert intake.work("high") == {f"m{number}": "postponed"}
    assert status(intake)["status"] == "in_flight"
    intake.model.answers.clear()
    intake.time.remaining = 900
    assert intake.work("high") == {"m6": "done"}
    assert intake.queues["high"].dead == []


def test_a_window_is_closed_after_its_hour_and_conserves() -> None:
    intake = Intake()
    intake.model.answers["Say text of b"] = refusal()
    for one in ("a", "b", "c"):
        intake.queues["high"].send(message(one))
    intake.queues["high"].send(message("d", record={"x": 1}))
    intake.work("high")
    run = status(intake)["run"]
    follow(intake.following)
    assert intake.runs.items[(run_pk(run), META)]["status"] == "running"
    intake.time.now += 3800
    follow(intake.following)
    manifest = json.loads(intake.output.objects[Places("default", run).manifest])
    assert manifest["status"] == "succeeded"
    assert manifest["problems"] == []
    counts = manifest["counts"]
    assert (counts["read"], counts["landed"], counts["failed"], counts["rejected"]) == (4, 2, 1, 1)
    assert intake.runs.items[(POOLS, run)]["state"] == "settled"
    assert [kind for kind, _ in intake.bus.events] == ["Bulk Inference Run Finished"]


def test_what_failed_in_a_window_can_be_resubmitted() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal()
    for one in ("a", "b"):
        intake.queues["high"].send(message(one))
    intake.work("high")
    run = status(intake)["run"]
    intake.time.now += 3900
    follow(intake.following)
    pipeline = FakePipeline(intake.world)
    services = RedriveServices(
        intake.input,
        intake.output,
        intake.runs,
        FakeLetters(intake.world),
        pipeline,
        intake.time.clock,
        lambda tenant, name: load_spec(intake.input, Places(tenant, name)),
        lambda: SETTINGS,
        intake.leases,
    )
    told = carry_out(parse({"action": "resubmit", "run": run, "prompt": {"template": "Try {{text}}"}}), services)
    assert (told["state"], told["resubmitted"]) == ("started", 1)
    (part,) = intake.input.lines(Places("default", told["as"]).ranges)
    line = intake.input.objects[part["key"]][part["start"] : part["end"]]
    assert json.loads(line) == {"text": "text of a", "recordId": "a"}
    stored = intake.input.find(part["key"])
    assert stored is not None
    assert (part["size"], part["etag"]) == (stored.size, stored.etag)
    request = pipeline.running[told["as"]]
    assert request["run"]["scope"] == "intake.sum"
    assert request["source"]["failures_of"] == run


def test_a_window_waits_for_a_document_whose_worker_died() -> None:
    intake = Intake()
    intake.queues["high"].send(message("a"))
    strike = intake.world.strike

    def dies(effect: str) -> None:
        strike(effect)
        if effect == "claim":
            raise Killed(effect)

    intake.world.strike = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        intake.work("high")
    intake.world.strike = strike  # type: ignore[method-assign]
    intake.world.revive()
    run = status(intake)["run"]
    intake.time.now += 3800
    follow(intake.following)
    assert intake.runs.items[(run_pk(run), META)]["status"] == "running"
    assert set(intake.work("high").values()) == {"done"}
    intake.time.now += 1100
    follow(intake.following)
    manifest = json.loads(intake.output.objects[Places("default", run).manifest])
    assert (manifest["status"], manifest["counts"]["landed"]) == ("succeeded", 1)


def test_a_prompt_that_chunks_is_for_runs() -> None:
    intake = Intake(max_receives=1)
    intake.store(chunking={"field": "text", "size": 1000})
    intake.queues["high"].send(message("a"))
    assert intake.work("high") == {"m1": "held"}
    assert status(intake)["errorClass"] == "bad_prompt"


def test_a_throttle_is_no_answer_to_be_remembered() -> None:
    """What promises an answer at once asks Bedrock again after the first pause, not when a memo has lapsed."""
    intake = Intake()
    answers: dict[tuple[str, str], dict[str, Any]] = {}

    def once(run: str, unit: str, work: Any) -> dict[str, Any]:
        if (run, unit) not in answers:
            answers[run, unit] = work()
        return answers[run, unit]

    def go() -> list[str]:
        queue = intake.queues["high"]
        consumer = intake.consumer("high")
        delivery = queue.receive(next(iter(queue.messages)), intake.time.now)
        outcome = refused(lambda: infer_now(consumer.arrival(delivery), replace(intake.windows, once=once)))
        told = consumer.settle(delivery, outcome)
        queue.delete(delivery.message_id)
        return [told]

    intake.model.answers["Say text of a"] = refusal("throttled")
    intake.queues["high"].send(message("a"))
    assert go() == ["postponed"]
    intake.model.answers.clear()
    intake.time.remaining = 900
    assert go() == ["done"]


def test_a_copy_that_was_put_back_is_the_same_message() -> None:
    """Throttled after its document's end was written: the copy has another id of SQS, and is not the document again."""
    intake = Intake(max_receives=5)
    intake.model.answers["Say text of a"] = refusal()
    queue = intake.queues["high"]
    queue.send(message("a", notify=True), {"trace": "7", "bulkInference.postponed": "often"})
    add, left = intake.runs.add, [1]

    def throttled(*args: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ThrottledError("rate exceeded for the key")
        add(*args)

    intake.runs.add = throttled  # type: ignore[method-assign, assignment]
    assert intake.work("high") == {"m1": "postponed"}
    assert queue.messages["m2"][1] == {
        "trace": "7",
        "bulkInference.postponed": "1",
        "bulkInference.message": "m1",
    }
    assert intake.work("high") == {"m2": "known"}
    assert len(intake.model.calls) == 1
    assert len(intake.failures.messages) == 1
    assert [detail["status"] for _, detail in intake.bus.events] == ["failed"]


def test_sqs_takes_ten_attributes_and_ours_are_among_them() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal("throttled")
    queue = intake.queues["high"]
    queue.send(message("a"), {f"mine-{number}": "x" for number in range(10)})
    assert intake.work("high") == {"m1": "postponed"}
    attributes = queue.messages["m2"][1]
    assert len(attributes) == 10
    assert attributes["bulkInference.message"] == "m1"
