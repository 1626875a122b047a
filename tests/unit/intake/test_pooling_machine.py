"""Pools under any order of deliveries, deaths and closings: no message is lost, and each has exactly one run."""

import json
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bulk_inference.intake.intake_status import answer
from bulk_inference.intake.pool_outcomes import follow
from tests.worlds.inference_world import Killed
from tests.worlds.intake_world import Intake, message

IDS = [f"d{n}" for n in range(12)]


class Pooling(RuleBasedStateMachine):
    """Messages are given out in any groups, again and again; workers die after any of their effects; the prompt changes
    while messages wait; the schedule comes at any time, and dies too."""

    def __init__(self) -> None:
        super().__init__()
        self.intake = Intake(documents=4, minutes=5)
        self.sent: set[str] = set()

    @rule(document=st.sampled_from(IDS))
    def send(self, document: str) -> None:
        """Also the same message twice."""
        self.intake.queues["normal"].send(message(document))
        self.sent.add(document)

    @precondition(lambda self: self.intake.queues["normal"].messages)
    @rule(data=st.data(), kill=st.none() | st.integers(1, 8))
    def consume(self, data: st.DataObject, kill: int | None) -> None:
        """A worker gets some messages. One that dies deletes none of them, whatever it has done."""
        chosen = self._some(data)
        self._or_die(lambda: self.intake.work("normal", *chosen), kill)

    @precondition(lambda self: self.intake.queues["normal"].messages)
    @rule(data=st.data(), at=st.integers(1, 5), other=st.sampled_from(["worker", "schedule"]))
    def consume_among_others(self, data: st.DataObject, at: int, other: str) -> None:
        """While a worker is at it, another one gets the same messages or others, or the schedule comes."""
        chosen, others = self._some(data), self._some(data)
        intake, world = self.intake, self.intake.world

        def meddle() -> None:
            intake.time.now += 1
            if other == "worker":
                # It reads the prompt anew, so that its documents may go into another slot.
                intake.store(limits={"max_attempts": 1 + int(intake.time.now) % 3})
                intake.work("normal", *(one for one in others if one in intake.queues["normal"].messages))
            else:
                intake.time.now += 300
                follow(intake.following)

        world.meddle, world.meddle_at = meddle, len(world.effects) + at
        try:
            intake.work("normal", *chosen)
        finally:
            world.meddle_at = None

    def _some(self, data: st.DataObject) -> list[str]:
        waiting = sorted(self.intake.queues["normal"].messages)
        return data.draw(st.lists(st.sampled_from(waiting), min_size=1, max_size=6, unique=True))

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        self.intake.time.now += seconds

    @rule(kill=st.none() | st.integers(1, 8))
    def look(self, kill: int | None) -> None:
        self._or_die(lambda: follow(self.intake.following), kill)

    @rule(version=st.integers(1, 3))
    def change_prompt(self, version: int) -> None:
        self.intake.store(limits={"max_attempts": version})

    def _or_die(self, work: object, kill: int | None) -> None:
        world = self.intake.world
        world.kill_at = None if kill is None else len(world.effects) + kill
        try:
            work()  # type: ignore[operator]
        except Killed:
            pass
        finally:
            world.revive()

    @invariant()
    def each_document_has_one_run_at_most(self) -> None:
        found = Counter(one for run in self.intake.pipeline.started for one in self.intake.members(run))
        assert not [one for one, times in found.items() if times > 1]
        for run, request in self.intake.pipeline.started.items():
            written = f"put input default/intake/{run}/corpus.jsonl"
            assert self.intake.world.effects.count(written) == 1, "a corpus that is written again changes under its run"
            stored = json.loads(self.intake.input.objects[f"default/intake/{run}/request.json"])
            # Few documents: a canary would be the run itself.
            limits = {"tolerated_rejected_percentage": 100, **stored.get("limits", {}), "canary_records": 0}
            assert request["limits"] == limits

    def teardown(self) -> None:
        """Everybody lives: at the end, every document that was sent is in one run, and its status says which."""
        intake = self.intake
        while intake.queues["normal"].messages:
            told = set(intake.work("normal", *sorted(intake.queues["normal"].messages)[:6]).values())
            assert told <= {"pooled", "known"}
        for _ in range(3):
            intake.time.now += 1100
            follow(intake.following)
        pooled = {one: run for run in intake.pipeline.started for one in intake.members(run)}
        assert pooled.keys() == self.sent
        for one, run in pooled.items():
            status = answer({"id": one, "prompt": "sum"}, intake.status)
            assert (status["status"], status["run"]) == ("in_flight", run)
        self.each_document_has_one_run_at_most()


TestPooling = Pooling.TestCase
TestPooling.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
