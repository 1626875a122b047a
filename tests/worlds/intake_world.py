"""The world of documents that arrive one by one: the fakes of inference_world, with transactions and queues.

`Intake` is everything together: queues whose messages come again until they are deleted, workers that may die.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.ports import Attributes, ConditionalPut, Depth
from bulk_inference.core.reach import Reach
from bulk_inference.core.runs_table import META, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import load_spec
from bulk_inference.cut.cut_run import CutServices
from bulk_inference.intake.consumer import (
    ConsumerServices,
    DocumentConsumer,
    DocumentDelivery,
    arrivals,
    refused,
)
from bulk_inference.intake.document_outcomes import OutcomeServices
from bulk_inference.intake.intake_status import StatusServices
from bulk_inference.intake.pool_outcomes import PoolOutcomeServices
from bulk_inference.intake.pooling import PoolLimits, PoolServices, pool
from bulk_inference.intake.stored_prompts import prompt_key, read
from bulk_inference.intake.urgent_documents import WindowServices, infer_now
from bulk_inference.land.unit_context import UnitContext
from tests.worlds.inference_world import (
    NOW,
    FakeBucket,
    FakeBus,
    FakeExecutions,
    FakeJobs,
    FakeLedger,
    FakeModel,
    FakeOutcome,
    FakeQueue,
    FakeRuns,
    FakeTime,
    World,
    converse,
)

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SETTINGS = Settings.from_json(
    {
        "name": "tickets",
        "models": {HAIKU: {"invokeId": HAIKU}},
        "tenants": {"default": {"batchRoleArn": "arn:aws:iam::123456789012:role/batch"}},
        "sourceBuckets": {"lake": {"prefix": "mail/"}},
    }
)
PROMPT: dict[str, Any] = {"model": {"id": HAIKU}, "prompt": {"template": "Say {{text}}"}}


def message(document: str, /, **more: Any) -> str:
    """Body of a message; an inline record unless `more` says otherwise."""
    body = {"version": 1, "id": document, "prompt": "sum", "record": {"text": f"text of {document}"}} | more
    return json.dumps({name: value for name, value in body.items() if value is not None})


@dataclass
class BusyWorld(World):
    """Others work, too: after the effect of number `meddle_at`, `meddle` is done before the worker goes on."""

    meddle_at: int | None = None
    meddle: Callable[[], Any] = lambda: None

    def strike(self, effect: str) -> None:
        super().strike(effect)
        if self.meddle_at is not None and len(self.effects) >= self.meddle_at:
            self.meddle_at = None
            self.meddle()


class IntakeBucket(FakeBucket):
    def read(self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None, **_: Any) -> Any:
        def chunks() -> Generator[bytes, None, None]:
            body = self.objects[key][start:end]
            yield from (body[at : at + 777] for at in range(0, len(body), 777))

        return chunks()

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def put_if_absent(self, key: str, body: bytes, content_type: str = "") -> bool:
        if key in self.objects:
            return False
        self.put(key, body)
        return True


class IntakeRuns(FakeRuns):
    def put_all(self, puts: Sequence[ConditionalPut]) -> bool:
        return self.write_all(puts)


@dataclass
class FakePipeline:
    world: World
    started: dict[str, Any] = field(default_factory=dict)
    """Every request under its name; Step Functions starts a name once."""

    def start(self, run: str, request: Mapping[str, Any]) -> bool:
        known = self.started.setdefault(run, json.loads(json.dumps(request)))
        assert known == request, f"another request under the name {run}"
        self.world.strike("start execution")
        return True


@dataclass
class FakeIntakeQueue:
    """One queue: messages by id, each with how often it was given out; and its dead letters."""

    world: World
    messages: dict[str, tuple[str, Attributes, int]] = field(default_factory=dict)
    dead: list[tuple[str, Attributes]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    number: int = 0

    def send(self, body: str, attributes: Attributes | None = None) -> str:
        self.number += 1
        self.messages[f"m{self.number}"] = (body, dict(attributes or {}), 0)
        return f"m{self.number}"

    def receive(self, message_id: str, now: float) -> DocumentDelivery:
        body, attributes, receives = self.messages[message_id]
        self.messages[message_id] = (body, attributes, receives + 1)
        return DocumentDelivery(message_id, body, message_id, receives + 1, int(now), attributes)

    def delete(self, message_id: str) -> None:
        self.messages.pop(message_id, None)

    def postpone(self, body: str, attributes: Attributes, seconds: int) -> None:
        assert 0 <= seconds <= 900
        self.send(body, attributes)
        self.world.strike("postpone")

    def hold(self, body: str, attributes: Attributes, seconds: int) -> None:
        assert 0 <= seconds <= 900
        self.dead.append((body, dict(attributes)))
        self.delays.append(seconds)
        self.world.strike("hold")

    def back_off(self, receipt: str, seconds: int) -> None:
        self.world.strike("back off")

    def redrive(self) -> None:
        letters, self.dead = self.dead, []
        for body, attributes in letters:
            self.send(body, attributes)

    @property
    def depth(self) -> Depth:
        return Depth(len(self.messages), 0, 0, len(self.dead))


def consumer_services(
    priority: str,
    queue: FakeIntakeQueue,
    source: Any,
    bucket: Callable[[str], Any],
    runs: Any,
    bus: FakeBus,
    time: FakeTime,
    *,
    max_receives: int = 3,
) -> ConsumerServices:
    outcomes = OutcomeServices(runs, bus, time.clock)
    return ConsumerServices(
        priority, queue, source, bucket, runs, outcomes, SETTINGS, time.clock, max_receives, lambda: 0.0
    )


class Intake:
    def __init__(self, *, documents: int = 3, minutes: float = 10, megabytes: int = 1, max_receives: int = 3) -> None:
        self.world = BusyWorld()
        self.input, self.output = IntakeBucket("input", self.world), IntakeBucket("output", self.world)
        self.lake = IntakeBucket("lake", self.world)
        self.runs, self.ledger, self.bus = IntakeRuns(self.world), FakeLedger(self.world), FakeBus(self.world)
        self.pipeline, self.executions = FakePipeline(self.world), FakeExecutions(self.world)
        self.model, self.time = FakeModel(), FakeTime()
        self.failures = FakeQueue(self.world)
        self.queues = {one: FakeIntakeQueue(self.world) for one in ("high", "normal", "low")}
        self.world.runs = self.runs
        self.limits = PoolLimits(documents, minutes * 60, megabytes << 20)
        self.max_receives = max_receives
        self.store()

    def store(self, name: str = "sum", **changes: Any) -> None:
        """A stored prompt."""
        self.input.objects[prompt_key("default", name)] = json.dumps(PROMPT | changes).encode()

    # Worlds of the logic.

    @property
    def outcomes(self) -> OutcomeServices:
        return OutcomeServices(self.runs, self.bus, self.time.clock)

    @property
    def pools(self) -> PoolServices:
        return PoolServices(
            self.input, self.runs, self.pipeline, self.time.clock, lambda priority: self.limits, 90, lambda: 0.0
        )

    @property
    def windows(self) -> WindowServices:
        cuts = CutServices(
            input_bucket=self.input,
            output_bucket=self.output,
            source_bucket=self.bucket,
            runs=self.runs,
            ledger=self.ledger,
            executions=self.executions,
            settings=SETTINGS,
            now=self.time.now,
            leases=self.leases,
        )
        return WindowServices(
            self.input,
            self.output,
            self.runs,
            self.bus,
            self.time.clock,
            SETTINGS,
            cuts,
            self.unit_context,
            lambda run, unit, work: work(),
        )

    @property
    def following(self) -> PoolOutcomeServices:
        return PoolOutcomeServices(
            self.pools,
            self.output,
            self.ledger,
            self.executions,
            self.bus,
            lambda run: f"arn:{run}",
            lambda tenant, run: load_spec(self.input, Places(tenant, run)),
            lambda: SETTINGS,
        )

    @property
    def status(self) -> StatusServices:
        def scope_of(tenant: str, prompt: str) -> str:
            return read(tenant, prompt, self.input.get(prompt_key(tenant, prompt)), "input").scope

        return StatusServices(self.runs, self.time.clock, lambda one: self.queues[one].depth, scope_of)

    def bucket(self, name: str) -> IntakeBucket:
        return {"input": self.input, "output": self.output, "lake": self.lake}[name]

    def unit_context(self, tenant: str, run: str) -> UnitContext:
        return UnitContext(
            load_spec(self.input, Places(tenant, run)),
            self.input,
            self.output,
            self.runs,
            self.ledger,
            self.failures,
            FakeJobs(self.world),
            SayingModel(self.model),
            self.time.clock,
            self.executions,
            self.leases,
            lambda: SETTINGS,
        )

    @property
    def leases(self) -> Leases:
        return Leases(self.runs, lambda: self.time.now, keeper=unattended)

    # What happens in it.

    def work(self, priority: str, *ids: str) -> dict[str, str]:
        """One invocation of the queue's consumer over these messages (all, if none is named): what became of each."""
        queue = self.queues[priority]
        deliveries = [queue.receive(one, self.time.now) for one in ids or list(queue.messages)]
        consumer = self.consumer(priority)
        found, outcomes = arrivals(consumer, deliveries)
        if priority == "high":
            for key, arrival in found.items():
                outcomes[key] = refused(lambda arrival=arrival: infer_now(arrival, self.windows))  # type: ignore[misc]
        else:
            outcomes.update(zip(found, pool(list(found.values()), priority, self.pools), strict=True))
        told = {}
        for one in deliveries:
            try:
                told[one.message_id] = consumer.settle(one, outcomes[one.message_id])
            except Exception as error:
                told[one.message_id] = type(error).__name__
                continue
            # After the answer of the invocation, by the poller.
            queue.delete(one.message_id)
        return told

    def consumer(self, priority: str) -> DocumentConsumer:
        """The consumer of one invocation."""
        return DocumentConsumer(
            consumer_services(
                priority,
                self.queues[priority],
                self.input,
                self.bucket,
                self.runs,
                self.bus,
                self.time,
                max_receives=self.max_receives,
            )
        )

    def members(self, run: str) -> list[str]:
        """Ids in the corpus of a started pool."""
        body = self.input.objects[Places("default", run).pool_corpus]
        return [json.loads(line)["recordId"] for line in body.splitlines()]

    def finish(
        self, run: str, failed: Sequence[str] = (), *, lost: Sequence[str] = (), status: str = "succeeded"
    ) -> None:
        """The run of a pool ends: all of its documents land but those."""
        places = Places("default", run)
        landed = [one for one in self.members(run) if one not in {*failed, *lost}]
        lines = [json.dumps({"recordId": one, "modelOutput": {}}) + "\n" for one in landed]
        self.output.objects[places.results("sync-1-000")] = "".join(lines).encode()
        lines = [
            json.dumps({"recordId": one, "errorClass": "model", "errorMessage": "the model's words"}) for one in failed
        ]
        if failed:
            self.output.objects[places.failures("sync-1-000")] = "\n".join([*lines, ""]).encode()
        counts = {"landed": len(landed), "failed": len(failed)}
        self.runs.put({"pk": run_pk(run), "sk": META, "status": status, "counts": counts})


class SayingModel:
    """Asks the fake by the user's text."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> FakeOutcome:
        return self._model.infer(model_id, api, {"prompt": body["messages"][0]["content"][0]["text"]}, reach)


def refusal(kind: str = "invalid_request") -> FakeOutcome:
    return FakeOutcome(error_class=kind, error_code="Exception", error_message="the model's own words")


__all__ = ["NOW", "Intake", "converse", "message", "refusal"]
