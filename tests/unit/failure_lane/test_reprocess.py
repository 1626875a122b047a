"""The failure lane: one record, landed once, however often its message comes."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import READ_TIMEOUT_SECONDS
from bulk_inference.core.backoff import MOST_POSTPONEMENTS
from bulk_inference.core.errors import InvalidRequestError, ThrottledError
from bulk_inference.core.runs_table import STALE, run_pk
from bulk_inference.failure_lane.reprocess import (
    LANDING_SHARE,
    LONGEST_CALL_SECONDS,
    LaneConsumer,
    LaneDelivery,
    LaneMessage,
    NonRetryableRecordError,
    RecordFailedError,
    longest_call,
    reprocess,
)
from bulk_inference.ledger.claims import Claim, claim_key
from tests.worlds.inference_world import NOW, RUN, FakeOutcome, Killed, Stage, assert_survives_kills
from tests.worlds.lane_world import FakeLane
from tests.worlds.reprocess_world import body, stage


def go(made: Stage) -> str:
    return reprocess(LaneMessage.from_json(body(made)), made.unit_context)


def late(made: Stage) -> list[dict[str, Any]]:
    return list(made.runs.query(run_pk(RUN), "LATE#"))


def test_a_record_that_works_now_lands_and_is_noted() -> None:
    made = stage()
    assert go(made) == "landed"
    (line,) = made.output.lines(made.places.results_prefix)
    assert (line["recordId"], line["text"]) == ("b", "said b")
    (item,) = late(made)
    assert (item["outcome"], item["unit"], item["piece"], item["errorClass"]) == (
        "landed",
        "00001-a1",
        "00001",
        "model",
    )
    (part,) = item["results"]
    assert part["bytes"] == len(made.output.objects[part["key"]])


def test_a_message_that_comes_again_is_settled_without_another_inference() -> None:
    made = stage()
    go(made)
    before = made.state()
    assert go(made) == "settled"
    assert made.state() == before
    assert made.model.calls == ["b"]


def test_a_record_that_landed_elsewhere_is_a_duplicate() -> None:
    made = stage()
    key = claim_key("default", RUN, "b")
    made.ledger.claims[key] = Claim(key, f"{RUN}/other", RUN, int(NOW) + 10_000)
    assert go(made) == "duplicate"
    assert made.output.lines(made.places.results_prefix) == []
    assert late(made)[0]["outcome"] == "duplicate"


def test_one_recordid_that_failed_in_two_units_lands_once() -> None:
    made = stage()
    answers = [
        reprocess(LaneMessage.from_json(body(made, unit=unit)), made.unit_context) for unit in ("00001-a1", "sync-x")
    ]
    assert answers == ["landed", "duplicate"]
    assert len(made.output.lines(made.places.results_prefix)) == 1


def test_a_record_that_fails_again_goes_back_to_the_queue_without_its_words() -> None:
    made = stage()
    made.model.answers["b"] = FakeOutcome(
        error_class="invalid_request", error_code="ValidationException", error_message="SECRET"
    )
    with pytest.raises(NonRetryableRecordError, match="validation ValidationException") as told:
        go(made)
    assert "SECRET" not in str(told.value)
    assert late(made) == []
    assert made.ledger.claims == {}


@pytest.mark.parametrize("change", [{"version": 2}, {"version": None}])
def test_messages_of_another_version_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="version"):
        LaneMessage.from_json({**body(stage()), **change})


def test_a_worker_that_dies_anywhere_and_a_redelivery_end_in_the_same() -> None:
    def work(made: Stage) -> bool:
        return go(made) in ("landed", "settled")

    assert_survives_kills(stage, work, at_least=4)


# A consumer: what becomes of messages.


def consumer(made: Stage, lane: FakeLane, *, jitter: float = 1.0) -> LaneConsumer:
    return LaneConsumer(lane, made.time.clock, lambda message: made.unit_context, lambda: jitter)


def delivery(message: dict[str, Any] | str, receives: int = 1) -> LaneDelivery:
    return LaneDelivery(message if isinstance(message, str) else json.dumps(message), f"receipt-{receives}", receives)


def refuse(made: Stage, error_class: str, record_id: str = "b") -> None:
    made.model.answers[record_id] = FakeOutcome(error_class=error_class, error_code="Code", error_message="SECRET")


def test_a_throttled_message_costs_no_receive_and_comes_later() -> None:
    """A fresh copy: SQS counts its receives from nothing, so that throttles alone never fill the dead-letter queue."""
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "throttled")
    assert consumer(made, lane).settle(delivery(body(made), receives=4)) == "postponed"
    ((copy, seconds),) = lane.postponed
    assert json.loads(copy) == {**body(made), "postponed": 1}
    assert seconds == 15
    assert (lane.held, lane.backed_off, late(made)) == ([], [], [])


def test_pauses_grow_up_to_what_sqs_delays_and_throttles_end_some_day() -> None:
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "throttled")
    message = body(made)
    for _ in range(MOST_POSTPONEMENTS):
        consumer(made, lane).settle(delivery(message))
        message = json.loads(lane.postponed[-1][0])
    assert [seconds for _, seconds in lane.postponed[:8]] == [15, 30, 60, 120, 240, 480, 900, 900]
    assert sum(seconds for _, seconds in lane.postponed) > 80_000
    with pytest.raises(ThrottledError):
        consumer(made, lane).settle(delivery(message))
    assert len(lane.backed_off) == 1


def test_what_was_throttled_together_does_not_come_back_together() -> None:
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "throttled")
    for jitter in (0.0, 1.0):
        consumer(made, lane, jitter=jitter).settle(delivery({**body(made), "postponed": 4}))
    assert [seconds for _, seconds in lane.postponed] == [120, 240]


def test_after_one_throttle_the_rest_of_the_batch_does_not_ask() -> None:
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "throttled", "a")
    working = consumer(made, lane)
    assert [working.settle(delivery(body(made, one))) for one in ("a", "b")] == ["postponed", "postponed"]
    assert made.model.calls == ["a"]


@pytest.mark.parametrize("seconds", [20.0, 60.0, 419.9, 900.0])
def test_a_call_that_is_begun_ends_and_is_landed_before_the_function_does(seconds: float) -> None:
    """The first message of a batch is begun whatever is left, any other only if its call fits."""
    assert longest_call(seconds) + LANDING_SHARE * seconds <= seconds
    made = stage()
    lane = FakeLane(made.world)
    made.time.remaining = seconds
    working = consumer(made, lane)
    assert working.settle(delivery(body(made, "a"))) == "landed"
    made.time.remaining = longest_call(seconds) + LANDING_SHARE * seconds - 1
    assert working.settle(delivery(body(made, "b"))) == "postponed"


def test_with_the_defaults_a_call_may_take_as_long_as_elsewhere() -> None:
    """420 s in modules/failure_lane/reprocess_records.tf."""
    assert longest_call(419.5) == LONGEST_CALL_SECONDS == READ_TIMEOUT_SECONDS


def test_a_batch_that_outlasts_its_function_goes_back_unharmed() -> None:
    made = stage()
    lane = FakeLane(made.world)
    working = consumer(made, lane)
    made.time.remaining = 10
    assert [working.settle(delivery(body(made, one))) for one in ("a", "b")] == ["landed", "postponed"]
    assert lane.postponed == [(json.dumps(body(made, "b")), 0)]


@pytest.mark.parametrize("error_class", ["validation", "too_large", "duplicate"])
def test_a_non_retryable_record_is_held_without_a_call(error_class: str) -> None:
    made = stage()
    lane = FakeLane(made.world)
    assert consumer(made, lane).settle(delivery({**body(made), "errorClass": error_class})) == "held"
    assert made.model.calls == []
    assert [json.loads(one)["held"] for one in lane.held] == [True]


def test_a_record_that_turns_out_non_retryable_is_held_under_its_new_class() -> None:
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "invalid_request")
    assert consumer(made, lane).settle(delivery(body(made))) == "held"
    held = json.loads(lane.held[0])
    assert (held["errorClass"], held["errorCode"], held["held"]) == ("validation", "Code", True)
    assert "SECRET" not in lane.held[0]


def test_a_held_record_that_is_sent_back_is_tried_once() -> None:
    made = stage()
    lane = FakeLane(made.world)
    message = {**body(made), "errorClass": "validation", "held": True}
    assert consumer(made, lane).settle(delivery(message)) == "landed"
    refuse(made, "invalid_request", "a")
    assert (
        consumer(made, lane).settle(delivery({**body(made, "a"), "errorClass": "validation", "held": True})) == "held"
    )
    assert made.model.calls == ["b", "a"]


def test_a_move_of_all_dead_letters_does_not_turn_in_a_circle() -> None:
    """SQS moves until it finds no more: a record that is held again at once would be moved and paid for on and on."""
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "invalid_request")
    consumer(made, lane).settle(delivery(body(made)))
    consumer(made, lane).settle(delivery(lane.held[0]))
    consumer(made, lane).settle(delivery("not json"))
    assert lane.delays == [0, 900, 900]


@pytest.mark.parametrize("garbage", ["not json", "[]", "{}", '{"version": 2}', '{"version": 1, "run": "x"}'])
def test_a_message_that_cannot_be_read_is_held_as_it_is(garbage: str) -> None:
    made = stage()
    lane = FakeLane(made.world)
    assert consumer(made, lane).settle(delivery(garbage)) == "held"
    assert lane.held == [garbage]


def test_a_message_of_a_newer_version_is_held_untouched_however_familiar_it_looks() -> None:
    made = stage()
    lane = FakeLane(made.world)
    newer = json.dumps({**body(made), "version": 2, "more": "of it"})
    assert consumer(made, lane).settle(delivery(newer, receives=4)) == "held"
    assert (lane.held, lane.delays, made.model.calls, late(made)) == ([newer], [900], [], [])


def test_a_record_whose_shard_is_gone_is_held() -> None:
    made = stage()
    lane = FakeLane(made.world)

    def gone(*_: Any) -> bytes:
        raise InvalidRequestError("no such key")

    made.input.get_range = gone  # type: ignore[method-assign, assignment]
    assert consumer(made, lane).settle(delivery(body(made))) == "held"
    assert json.loads(lane.held[0])["errorClass"] == "model"


def test_a_record_that_may_recover_comes_back_after_growing_pauses() -> None:
    made = stage()
    lane = FakeLane(made.world)
    refuse(made, "model_error")
    for receives in (1, 2, 9):
        with pytest.raises(RecordFailedError, match="model Code"):
            consumer(made, lane).settle(delivery(body(made), receives))
    assert lane.backed_off == [("receipt-1", 15), ("receipt-2", 30), ("receipt-9", 900)]
    assert (lane.held, lane.postponed) == ([], [])


def test_a_dead_try_that_had_landed_the_record_is_believed() -> None:
    """Claim and part are written, LATE is not: the model, asked again, might refuse what has landed."""
    made = stage()
    made.world.kill_at = 3
    with pytest.raises(Killed):
        go(made)
    made.world.revive()
    refuse(made, "model_error")
    assert go(made) == "landed"
    (item,) = late(made)
    assert (item["outcome"], item["inputTokens"], item["outputTokens"]) == ("landed", 3, 2)
    assert made.model.calls == ["b"]


def test_a_claim_of_a_dead_try_does_not_shadow_a_record_that_fails_now() -> None:
    made = stage()
    made.world.kill_at = 2
    with pytest.raises(Killed):
        go(made)
    made.world.revive()
    assert made.ledger.claims
    refuse(made, "model_error")
    with pytest.raises(RecordFailedError):
        go(made)
    assert made.ledger.claims == {}


def test_a_late_outcome_makes_its_run_stale_even_if_the_worker_dies_before_it_says_so() -> None:
    made = stage()
    made.world.kill_at = 4
    with pytest.raises(Killed):
        go(made)
    made.world.revive()
    assert list(made.runs.query(STALE)) == []
    assert go(made) == "settled"
    assert [item["run"] for item in made.runs.query(STALE)] == [RUN]


def test_a_shift_that_dies_anywhere_loses_nothing() -> None:
    """One message for each fate. What a death doubles are messages, never records."""

    def work(made: Stage) -> int:
        lane = FakeLane(made.world)
        refuse(made, "throttled", "a")
        working = consumer(made, lane)
        for message in (body(made), {**body(made), "errorClass": "validation", "unit": "other"}, body(made, "a")):
            working.settle(delivery(message))
        return len(lane.held) + len(lane.postponed)

    assert_survives_kills(stage, work, at_least=6)


@pytest.mark.parametrize(
    "item",
    [
        {"recordId": "b", "modelInput": {"prompt": "paid by another"}},
        {"recordId": "b"},
        "b",
    ],
)
def test_a_message_that_holds_no_pointer_is_held(item: Any) -> None:
    with pytest.raises((ValueError, AttributeError)):
        LaneMessage.from_json({**body(stage()), "item": item})


def test_a_record_that_is_said_to_be_parked_elsewhere_is_not_read() -> None:
    made = stage()
    made.output.objects["other/runs/r/parked/part-1.jsonl"] = b'{"recordId": "b", "modelInput": {"prompt": "theirs"}}'
    item = {"recordId": "b", "parked": "other/runs/r/parked/part-1.jsonl", "offset": 0, "length": 49}
    with pytest.raises(NonRetryableRecordError, match="StrayPointerError"):
        reprocess(LaneMessage.from_json({**body(made), "item": item}), made.unit_context)
    assert made.model.calls == []


def test_values_of_the_corpus_are_read_where_they_are_and_ride_to_the_result() -> None:
    """Messages hold none of them."""
    made = stage()
    made.spec = replace(made.spec, source=replace(made.spec.source, carry=["kind"], sequence_field="page"))
    (piece,) = {line["shard"] for line in made.input.lines(made.places.index_prefix)}
    index = made.input.lines(made.places.index(piece))
    for line in index:
        line |= {"carry": {"kind": f"k-{line['recordId']}"}, "sequence": 7}
    made.input.objects[made.places.index(piece)] = b"".join(json.dumps(line).encode() + b"\n" for line in index)
    assert go(made) == "landed"
    (result,) = made.output.lines(made.places.results("reprocess-").removesuffix(".jsonl"))
    assert (result["carry"], result["sequence"]) == ({"kind": "k-b"}, 7)
