"""The conditions of the pools' transactions, each met by what it guards against."""

from bulk_inference.pooling import STARTED, close
from bulk_inference.runs import POOLS, SLOTS
from tests.unit.intake_world import Intake, message


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
