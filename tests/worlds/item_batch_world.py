"""An item batch and the worker that infers it, on the fakes of inference_world."""

from typing import Any

from bulk_inference.sync.infer_batch import Batch, infer_batch
from tests.worlds.inference_world import RUN, Stage

IDS = [f"r{n:02d}" for n in range(12)]


PIECE = "00001-001"


def sequential(positions: Any, call_of: Any, clock: Any) -> Any:
    """infer_all without threads, so that a run of a test is the same every time."""
    for at in positions:
        yield at, call_of(at)()


def stage(ids: list[str] | None = None) -> Stage:
    made = Stage()
    made.piece(PIECE, ids or IDS, sync=True)
    return made


def event(made: Stage, **more: Any) -> dict[str, Any]:
    return {
        "BatchInput": {"run": RUN, "tenant": "default", **more},
        "Items": made.input.lines(made.places.batches(PIECE)),
    }


def step(made: Stage, given: dict[str, Any]) -> dict[str, Any]:
    batch = Batch.from_event(given)
    progress = infer_batch(batch, made.unit_context)
    return batch.following(progress["rest"], progress["counts"])
