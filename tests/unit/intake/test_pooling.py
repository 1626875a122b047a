"""The conditions of the pools' transactions, each met by what it guards against."""

import time
from typing import Any

import pytest

from bulk_inference.core.runs_table import POOLS, SLOTS
from bulk_inference.intake import pooling
from bulk_inference.intake.pool_outcomes import follow
from bulk_inference.intake.pooling import CLOSED, STARTED, close
from tests.worlds.intake_world import Intake, message


def test_a_document_that_meanwhile_went_into_another_pool_is_not_pooled_twice() -> None:
    """Two copies of a message, and the prompt changes between them: each has a slot of its own, whose version tells
    nothing of the other. The document's own item does."""
    intake = Intake()
    queue = intake.queues["normal"]
    first, second = queue.send(message("a")), queue.send(message("a"))

    def meddle() -> None:
        intake.store(limits={"max_attempts": 2})
        assert intake.work("normal", second) == {second: "pooled"}

    intake.world.meddle, intake.world.meddle_at = meddle, len(intake.world.effects) + 1
    assert intake.work("normal", first) == {first: "known"}
    assert [slot["documents"] for slot in intake.runs.query(SLOTS)] == [1]


def test_a_pool_that_has_been_started_is_never_closed_a_second_time() -> None:
    """Whatever its slot says, as after a restored table: its run would be started with another corpus, or its documents
    be told another end."""
    intake = Intake(documents=2)
    queue = intake.queues["normal"]
    intake.work("normal", queue.send(message("a")))
    (open_slot,) = intake.runs.query(SLOTS)
    intake.work("normal", queue.send(message("b")))
    (pool,) = intake.runs.query(POOLS)
    assert pool["state"] == STARTED
    intake.runs.items[(SLOTS, open_slot["sk"])] = dict(open_slot)
    assert close(open_slot, intake.pools) is False
    assert list(intake.runs.query(POOLS)) == [pool]
    assert list(intake.runs.query(SLOTS)) == [open_slot]


def test_a_pool_of_many_chunks_is_read_side_by_side_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand documents that trickle in are as many chunks: one by one they would outlast every function."""
    monkeypatch.setattr(pooling, "_AHEAD_BYTES", 200)
    intake = Intake(documents=40)
    queue = intake.queues["normal"]
    for number in range(39):
        intake.work("normal", queue.send(message(f"d{number}")))
    real, at_once, most = intake.input.read, [0], [0]

    def read(key: str, **more: Any) -> Any:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.005)
        at_once[0] -= 1
        return real(key, **more)

    monkeypatch.setattr(intake.input, "read", read)
    intake.work("normal", queue.send(message("d39")))
    (run,) = intake.pipeline.started
    chunks = sorted(
        key for key in intake.input.objects if f"/{run}/" in key and "corpus" not in key and "request" not in key
    )
    corpus = intake.input.objects[f"default/intake/{run}/corpus.jsonl"]
    assert corpus == b"".join(intake.input.objects[key] for key in chunks)
    assert sorted(intake.members(run)) == sorted(f"d{number}" for number in range(40))
    assert 1 < most[0] < 10


def test_a_large_pool_is_started_by_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "STARTED_AT_ONCE", 1)
    intake = Intake(documents=2)
    queue = intake.queues["normal"]
    intake.work("normal", queue.send(message("a")), queue.send(message("b")))
    (pool,) = intake.runs.query(POOLS)
    assert (pool["state"], intake.pipeline.started) == (CLOSED, {})
    assert follow(intake.following).started == 1
    assert intake.members(pool["run"]) == ["a", "b"]


def sizes(intake: Intake, unit: str = "documents") -> list[int]:
    return [one[unit] for one in [*intake.runs.query(POOLS), *intake.runs.query(SLOTS)] if one["documents"]]


def test_a_pool_is_closed_before_its_own_run_would_be_refused_as_too_large() -> None:
    intake = Intake(documents=100)
    intake.store(limits={"max_records": 3})
    for number in range(5):
        intake.work("normal", intake.queues["normal"].send(message(f"one-{number}")))
    assert sizes(intake) == [3, 2]
    for number in range(8):
        intake.queues["normal"].send(message(f"many-{number}"))
    intake.work("normal")
    assert sum(sizes(intake)) == 13
    assert max(sizes(intake)) == 3


def test_records_and_tokens_of_a_pool_are_counted_as_its_run_will_have_them() -> None:
    intake = Intake(documents=100, max_receives=1)
    intake.store(
        limits={"max_records": 10},
        prompt={"template": "{{chunk}}"},
        chunking={"field": "text", "size": 500, "by": "characters"},
    )
    for number in range(4):
        intake.queues["normal"].send(message(f"c{number}", record={"text": "word " * 400}))
    intake.work("normal")
    each = sizes(intake, "records")
    assert len(each) > 1
    assert max(each) <= 10
    assert sum(each) > 4 * 3
    intake = Intake(documents=100, max_receives=1)
    intake.store(limits={"max_tokens": 2_000})
    for number in range(6):
        intake.queues["normal"].send(message(f"t{number}", record={"text": "word " * 400}))
    intake.work("normal")
    assert max(sizes(intake, "tokens")) <= 1_000
    # One that no run may have is refused by itself, and takes no other along.
    intake.store(limits={"max_tokens": 300})
    sent = [intake.queues["normal"].send(message("large", record={"text": "word " * 400}))]
    sent.append(intake.queues["normal"].send(message("small")))
    assert list(intake.work("normal", *sent).values()) == ["held", "pooled"]
    assert "max_tokens" in intake.queues["normal"].dead[0][1]["errorMessage"]


def test_a_slot_of_an_older_bundle_is_closed_in_time_too() -> None:
    intake = Intake(documents=100)
    intake.store(limits={"max_records": 2})
    intake.work("normal", intake.queues["normal"].send(message("a")))
    (slot,) = intake.runs.query(SLOTS)
    intake.runs.items[(SLOTS, slot["sk"])] = {k: v for k, v in slot.items() if k not in ("records", "tokens")}
    intake.work("normal", *(intake.queues["normal"].send(message(one)) for one in ("b", "c")))
    assert sizes(intake) == [1, 2]
