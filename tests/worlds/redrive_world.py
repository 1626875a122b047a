"""A finished run with failed records, and an operator's commands over them."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.settings import Defaults, ModelSettings, Settings, TenantSettings
from bulk_inference.failure_lane.redrive import RedriveServices, carry_out, parse
from bulk_inference.land.late_outcomes import failed_records
from tests.worlds import finished_world
from tests.worlds.inference_world import RUN, Stage
from tests.worlds.lane_world import FakeLetters, FakePipeline

SETTINGS = Settings(
    "tickets", {"m": ModelSettings("us.vendor.m-v1:0")}, {"default": TenantSettings("arn")}, Defaults(), None
)


CORPUS = "default/corpus/x/a.jsonl"


@dataclass
class Site:
    """A finished run of which `failing` records failed, each with its message in the dead-letter queue."""

    failing: int = 3
    at_once: int = 10
    stage: Stage = field(init=False)
    letters: FakeLetters = field(init=False)
    pipeline: FakePipeline = field(init=False)

    def __post_init__(self) -> None:
        self.stage = finished_world.stage(self.failing)
        self.stage.spec = replace(self.stage.spec, scope="run:run-1", source=replace(self.stage.spec.source))
        finished_world.go(self.stage)
        self.letters = FakeLetters(self.stage.world, at_once=self.at_once)
        self.pipeline = FakePipeline(self.stage.world)
        for message in self.stage.queue.messages:
            self.letters.add(message)
        lines = [line["source"] for line in self.stage.input.lines(self.stage.places.index("00001-001"))]
        size = lines[-1]["offset"] + lines[-1]["length"] + 1
        cut = {"cut": "00001", "parts": [{"key": CORPUS, "start": 0, "end": size, "size": size, "etag": "e1"}]}
        self.stage.input.objects[self.stage.spec.cuts.key] = json.dumps(cut).encode() + b"\n"
        self.stage.world.effects.clear()

    def spec_of(self, tenant: str, run: str) -> RunSpec:
        if (tenant, run) != ("default", RUN):
            raise InvalidRequestError(f"{run} was never planned")
        return self.stage.spec

    @property
    def world(self) -> RedriveServices:
        stage = self.stage
        return RedriveServices(
            stage.input,
            stage.output,
            stage.runs,
            self.letters,
            self.pipeline,
            stage.time.clock,
            self.spec_of,
            lambda: SETTINGS,
            stage.leases,
        )

    def go(self, action: str, **more: Any) -> dict[str, Any]:
        return carry_out(parse({"action": action, **more}), self.world)

    def failed(self) -> list[str]:
        return [one.record_id for one in failed_records(RUN, self.stage.runs, self.stage.output)]

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = finished_world.go(self.stage)["counts"]
        return counts
