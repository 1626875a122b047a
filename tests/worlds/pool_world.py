"""Pools whose runs are planned and cut by the product, on the world of plan_run and cut_shards (moto).

What infers them is made up: `run` lands or fails each record, with the claim and the lines that the product would
leave.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bulk_inference.core.failure_line import Failure
from bulk_inference.core.keys import Places
from bulk_inference.core.result_line import result_line
from bulk_inference.core.runs_table import DOCUMENT, META, Item, document_pk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import load_spec
from bulk_inference.intake.consumer import DocumentConsumer
from bulk_inference.intake.pool_outcomes import PoolOutcomes, PoolOutcomeServices, follow
from bulk_inference.intake.pooling import PoolLimits, PoolServices, pool
from bulk_inference.intake.stored_prompts import prompt_key
from tests.worlds import inference_world
from tests.worlds.assembly_world import Run, converse
from tests.worlds.inference_world import FakeBus, FakeExecutions, FakeTime
from tests.worlds.ingest_world import World
from tests.worlds.intake_world import FakeIntakeQueue, FakePipeline, consumer_services, message

UNIT = "sync-00001-001-00001"


class Pools:
    """Messages of priority normal in, runs out."""

    def __init__(self, world: World, prompt: Mapping[str, Any], *, documents: int = 1) -> None:
        self.world, self.time = world, FakeTime()
        effects = inference_world.World()
        self.bus, self.pipeline, self.executions = FakeBus(effects), FakePipeline(effects), FakeExecutions(effects)
        self.queue = FakeIntakeQueue(effects)
        self.limits = PoolLimits(documents, 600, 1 << 30)
        world.input.put_json(prompt_key("default", "sum"), prompt)

    @property
    def pools(self) -> PoolServices:
        world = self.world
        return PoolServices(
            world.input, world.runs, self.pipeline, self.time.clock, lambda priority: self.limits, 90, lambda: 0.0
        )

    @property
    def following(self) -> PoolOutcomeServices:
        world = self.world
        return PoolOutcomeServices(
            self.pools,
            world.output,
            world.ledger,
            self.executions,
            self.bus,
            lambda run: f"arn:{run}",
            lambda tenant, run: load_spec(world.input, Places(tenant, run)),
            lambda: Settings.from_json(world.input.get_json("config/settings.json") or {}),
        )

    def send(self, **documents: Any) -> str:
        """Documents, by id, each with its record; the run of the pool that they fill."""
        self.time.now += 60
        shift = DocumentConsumer(
            consumer_services(
                "normal", self.queue, self.world.input, self.world.bucket, self.world.runs, self.bus, self.time
            )
        )
        arrivals = []
        for document, record in documents.items():
            sent = self.queue.send(message(document, record=record, notify=True))
            arrivals.append(shift.arrival(self.queue.receive(sent, self.time.now)))
        assert pool(arrivals, "normal", self.pools) == ["pooled"] * len(arrivals)
        return list(self.pipeline.started)[-1]

    def run(self, name: str, how: Callable[[str], str | None], *, request: Mapping[str, Any] | None = None) -> Run:
        """Plans, cuts, and lands `how(prompt)` of each record; None: it fails."""
        run = Run(self.world, name, **(request or self.pipeline.started[name]))
        spec, places = run.assembly.spec, run.places
        results, failures = [], []
        for pointer, body in run.sent():
            text = how(body["messages"][0]["content"][0]["text"])
            if text is None:
                failures.append(Failure(pointer, "validation", "ValidationException", "x", 1).line("input"))
            else:
                self.world.claim(spec.scope, f"{name}/{UNIT}", pointer.record_id)
                results.append(result_line(pointer, converse(text), "input")[0])
        if results:
            self.world.output.put(places.results(f"{UNIT}-000"), b"".join(results))
        if failures:
            self.world.output.put(places.failures(f"{UNIT}-000"), b"".join(failures))
        self.end(name, landed=len(results), failed=len(failures))
        return run

    def end(self, name: str, **counts: int) -> None:
        self.world.runs.put(
            {
                "pk": run_pk(name),
                "sk": META,
                "run": name,
                "tenant": "default",
                "status": "succeeded",
                "counts": counts,
                "executionArn": f"arn:{name}",
            }
        )

    def follow(self) -> PoolOutcomes:
        return follow(self.following)

    def status(self, document: str, scope: str = "intake.sum") -> Item:
        item = self.world.runs.get(document_pk("default", scope, document), DOCUMENT)
        assert item is not None
        return item

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(detail["id"], detail["status"]) for _, detail in self.bus.events]
