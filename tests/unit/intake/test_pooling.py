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
