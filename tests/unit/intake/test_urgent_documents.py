"""Documents that are inferred at once: they land like any record, once, whoever dies; what fails is tried again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Increment
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
    """Put back by a throttle, it fails in its run, and comes again because its worker died before it was deleted: it
    has another id of SQS, and is not the document sent again."""
    intake = Intake(max_receives=5)
    intake.model.answers["Say text of a"] = refusal("throttled")
    queue = intake.queues["high"]
    queue.send(message("a", notify=True), {"trace": "7", "bulkInference.postponed": "often"})
    assert intake.work("high") == {"m1": "postponed"}
    copy = queue.messages["m2"]
    assert copy[1] == {"trace": "7", "bulkInference.postponed": "1", "bulkInference.message": "m1"}
    intake.model.answers["Say text of a"] = refusal()
    intake.time.remaining = 900
    assert intake.work("high") == {"m2": "failed"}
    calls = len(intake.model.calls)
    queue.messages["m2"] = copy
    assert intake.work("high") == {"m2": "known"}
    assert len(intake.model.calls) == calls
    assert len(intake.failures.messages) == 1
    assert [detail["status"] for _, detail in intake.bus.events] == ["failed"]


def numbers(intake: Intake) -> tuple[int, int, int]:
    found = answer({}, intake.status)["priorities"]["high"]
    return found["inFlight"], found["done"], found["failed"]


@pytest.mark.parametrize("kind", ["landed", "failed"])
@pytest.mark.parametrize("times", [1, 4, 5, 7])
def test_a_throttle_at_the_end_of_a_document_costs_neither_a_call_nor_a_count(kind: str, times: int) -> None:
    """The item that counts ends is the hottest of the intake."""
    intake = Intake(max_receives=5)
    if kind == "failed":
        intake.model.answers["Say text of a"] = refusal()
    intake.queues["high"].send(message("a", notify=True))
    write_all, left = intake.runs.write_all, [times]

    def throttled(writes: Any) -> bool:
        if left[0] and any(isinstance(one, Increment) for one in writes):
            left[0] -= 1
            raise ThrottledError("TransactionConflict")
        return write_all(writes)

    intake.runs.write_all = throttled  # type: ignore[method-assign]
    for _ in range(3):
        intake.work("high")
    assert len(intake.model.calls) == 1
    assert len(intake.failures.messages) == (kind == "failed")
    assert numbers(intake) == (0, int(kind == "landed"), int(kind == "failed"))


@pytest.mark.parametrize("kind", ["landed", "failed"])
def test_no_mark_outlives_its_document_and_no_end_is_missed_whoever_dies_when(kind: str) -> None:
    def made() -> Intake:
        intake = Intake()
        if kind == "failed":
            intake.model.answers["Say text of a"] = refusal()
        intake.queues["high"].send(message("a"))
        return intake

    calm = made()
    calm.work("high")
    for number in range(1, len(calm.world.effects) + 1):
        intake = made()
        intake.world.kill_at = number
        with pytest.raises(Killed):
            intake.work("high")
        intake.world.kill_at = None
        intake.time.now += 61
        intake.work("high")
        assert numbers(intake) == numbers(calm), calm.world.effects[number - 1]


def test_a_late_landing_moves_a_document_from_failed_to_done_once() -> None:
    def made() -> Intake:
        intake = Intake()
        intake.model.answers["Say text of a"] = refusal("model_error")
        intake.queues["high"].send(message("a"))
        intake.work("high")
        intake.model.answers.clear()
        (letter,) = intake.failures.messages
        reprocess(Failed.from_json(letter), intake.unit_context("default", status(intake)["run"]))
        intake.world.effects.clear()
        return intake

    calm = made()
    follow(calm.following)
    assert numbers(calm) == (0, 1, 0)
    for number in range(1, len(calm.world.effects) + 1):
        intake = made()
        intake.world.kill_at = number
        with pytest.raises(Killed):
            follow(intake.following)
        intake.world.kill_at = None
        follow(intake.following)
        assert numbers(intake) == (0, 1, 0), number


def test_a_window_is_not_closed_while_a_document_has_begun_and_is_not_cut() -> None:
    intake = Intake()
    intake.queues["high"].send(message("b"))
    intake.work("high")
    intake.queues["high"].send(message("a"))
    intake.world.kill_at = len(intake.world.effects) + 1
    with pytest.raises(Killed):
        intake.work("high")
    intake.world.kill_at = None
    run = status(intake)["run"]
    intake.time.now += 3800
    follow(intake.following)
    assert intake.runs.items[(run_pk(run), META)]["status"] == "running"
    assert list(intake.work("high").values()) == ["done"]
    intake.time.now += 1100
    follow(intake.following)
    manifest = json.loads(intake.output.objects[Places("default", run).manifest])
    assert (manifest["status"], manifest["counts"]["landed"]) == ("succeeded", 2)


def test_a_document_whose_message_never_comes_again_fails_when_its_window_has_waited_long_enough() -> None:
    intake = Intake()
    intake.queues["high"].send(message("a", notify=True))
    intake.world.kill_at = 4
    with pytest.raises(Killed):
        intake.work("high")
    intake.world.kill_at = None
    (lost,) = intake.queues["high"].messages.values()
    intake.queues["high"].messages.clear()
    run = status(intake)["run"]
    # What an older bundle has left does not hold it up for ever.
    old: dict[str, Any] = {
        "pk": f"POOL#{run}",
        "sk": "BUSY#document-old",
        "unit": "document-old",
        "sentAt": int(intake.time.now),
    }
    intake.runs.items[old["pk"], old["sk"]] = old
    intake.time.now += 3800
    follow(intake.following)
    assert status(intake)["status"] == "in_flight"
    intake.time.now += 6 * 3600
    follow(intake.following)
    told = status(intake)
    assert (told["status"], told["errorClass"]) == ("failed", "not_accounted")
    assert numbers(intake) == (0, 0, 1)
    # From the dead-letter queue, after all.
    intake.time.now += 2000
    intake.queues["high"].send(lost[0])
    assert list(intake.work("high").values()) == ["done"]
    assert numbers(intake) == (0, 1, 0)


def test_a_window_that_is_named_after_one_prompt_is_not_opened_with_another() -> None:
    intake = Intake()
    intake.queues["high"].send(message("a"))
    intake.world.kill_at = 1
    with pytest.raises(Killed):
        intake.work("high")
    intake.world.kill_at = None
    first = status(intake)["run"]
    intake.store(prompt={"template": "Tell {{text}}"})
    assert list(intake.work("high").values()) == ["done"]
    run = status(intake)["run"]
    assert run != first
    assert load_spec(intake.input, Places("default", run)).prompt.template == "Tell {{text}}"
    assert intake.input.get(Places("default", first).spec) is None
    assert numbers(intake) == (0, 1, 0)
    # One that is open keeps its prompt: what has begun in it goes on with that.
    intake.queues["high"].send(message("b"))
    intake.world.kill_at = len(intake.world.effects) + 4
    with pytest.raises(Killed):
        intake.work("high")
    intake.world.kill_at = None
    intake.store(prompt={"template": "Shout {{text}}"})
    intake.time.now += 61
    assert list(intake.work("high").values()) == ["done"]
    assert status(intake, "b")["run"] == run


def test_a_window_is_opened_whole_or_not_at_all() -> None:
    """A pool without a run would be looked at for ever, a run without its pool never closed."""
    for number in range(1, 8):
        intake = Intake()
        intake.queues["high"].send(message("a"))
        intake.world.kill_at = number
        with pytest.raises(Killed):
            intake.work("high")
        intake.world.kill_at = None
        run = status(intake)["run"]
        assert ((run_pk(run), META) in intake.runs.items) == ((POOLS, run) in intake.runs.items), number
        intake.time.now += 3800
        follow(intake.following)


def test_items_of_an_older_bundle_are_counted_where_they_were_counted() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal("model_error")
    intake.queues["high"].send(message("a"))
    intake.work("high")
    told = status(intake)
    for key, item in list(intake.runs.items.items()):
        if key[1] == "DOCUMENT":
            del item["tallied"]
        if key[1].startswith("TALLY#"):
            intake.runs.items[key[0], "TALLY"] = {**intake.runs.items.pop(key), "sk": "TALLY"}
    assert numbers(intake) == (0, 0, 1)
    intake.model.answers.clear()
    (letter,) = intake.failures.messages
    reprocess(Failed.from_json(letter), intake.unit_context("default", told["run"]))
    follow(intake.following)
    assert numbers(intake) == (0, 1, 0)


def test_sqs_takes_ten_attributes_and_ours_are_among_them() -> None:
    intake = Intake()
    intake.model.answers["Say text of a"] = refusal("throttled")
    queue = intake.queues["high"]
    queue.send(message("a"), {f"mine-{number}": "x" for number in range(10)})
    assert intake.work("high") == {"m1": "postponed"}
    attributes = queue.messages["m2"][1]
    assert len(attributes) == 10
    assert attributes["bulkInference.message"] == "m1"
