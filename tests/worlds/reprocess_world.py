"""A failed record and its message in the failure lane."""

import json
from typing import Any

from bulk_inference.core.failure_line import Failure
from bulk_inference.core.index_line import Pointer
from tests.worlds.inference_world import RUN, Stage


def stage() -> Stage:
    made = Stage()
    made.piece("00001-001", ["a", "b"])
    return made


def body(made: Stage, record_id: str = "b", unit: str = "00001-a1") -> dict[str, Any]:
    (line,) = [one for one in made.input.lines(made.places.index("00001-001")) if one["recordId"] == record_id]
    failure = Failure(Pointer.from_json(line), "model", "500", "words", 1)
    sent: dict[str, Any] = json.loads(json.dumps(failure.message(RUN, "default", unit, "00001", line)))
    return sent
