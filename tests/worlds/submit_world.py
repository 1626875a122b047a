"""A shard whose job is to be submitted."""

from typing import Any

from bulk_inference.batch.submit_job import SubmitTask, submit
from tests.worlds.inference_world import RUN, Stage, make_spec, submit_services

PIECE = "00001-001"


def stage(**spec: Any) -> Stage:
    made = Stage(make_spec(**{"priority": "high", **spec}))
    made.piece(PIECE, ["a", "b"])
    made.piece("00001-a2", ["b"])
    made.tasks.waiting = {"token-1", "token-2"}
    return made


def go(made: Stage, token: str = "token-1", attempt: int = 1) -> dict[str, Any]:
    event = {
        "run": RUN,
        "tenant": "default",
        "attempt": attempt,
        "shard": {"shard": "00001", "piece": PIECE, "records": 2, "bytes": 9},
        "taskToken": token,
    }
    return submit(SubmitTask.from_event(event), made.spec, submit_services(made))
