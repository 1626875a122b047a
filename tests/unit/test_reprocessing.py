"""The failure lane: one record, landed once, however often its message comes."""

import json
from typing import Any

import pytest

from bulk_inference.claims import Claim, claim_key
from bulk_inference.failures import Failure
from bulk_inference.pointers import Pointer
from bulk_inference.reprocessing import Message, RecordFailedError, reprocess
from bulk_inference.runs import run_pk
from tests.unit.inference_world import NOW, RUN, FakeOutcome, Stage, assert_survives_kills


def stage() -> Stage:
    made = Stage()
    made.piece("00001-001", ["a", "b"])
    return made


def body(made: Stage, record_id: str = "b", unit: str = "00001-a1") -> dict[str, Any]:
    (line,) = [one for one in made.input.lines(made.places.index("00001-001")) if one["recordId"] == record_id]
    failure = Failure(Pointer.from_json(line), "model", "500", "words", 1)
    sent: dict[str, Any] = json.loads(json.dumps(failure.message(RUN, "default", unit, "00001", line)))
    return sent


def go(made: Stage) -> str:
    return reprocess(Message.from_json(body(made)), made.shop)


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
    made.ledger.claims[key] = Claim(key, f"{RUN}/other", RUN, int(NOW) + 10)
    assert go(made) == "duplicate"
    assert made.output.lines(made.places.results_prefix) == []
    assert late(made)[0]["outcome"] == "duplicate"


def test_one_recordid_that_failed_in_two_units_lands_once() -> None:
    made = stage()
    answers = [reprocess(Message.from_json(body(made, unit=unit)), made.shop) for unit in ("00001-a1", "sync-x")]
    assert answers == ["landed", "duplicate"]
    assert len(made.output.lines(made.places.results_prefix)) == 1


def test_a_record_that_fails_again_goes_back_to_the_queue_without_its_words() -> None:
    made = stage()
    made.model.answers["b"] = FakeOutcome(
        error_class="invalid_request", error_code="ValidationException", error_message="SECRET"
    )
    with pytest.raises(RecordFailedError, match="validation ValidationException") as told:
        go(made)
    assert "SECRET" not in str(told.value)
    assert late(made) == []
    assert made.ledger.claims == {}


@pytest.mark.parametrize("change", [{"version": 2}, {"version": None}])
def test_messages_of_another_version_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="version"):
        Message.from_json({**body(stage()), **change})


def test_a_worker_that_dies_anywhere_and_a_redelivery_end_in_the_same() -> None:
    def work(made: Stage) -> bool:
        return go(made) in ("landed", "settled")

    assert_survives_kills(stage, work, at_least=3)
