"""Random mixes of faults against claims, landing, units, collection, batches, the failure lane and conservation.

One run: two batch shards and a sync piece in two item batches; two records come twice, in different pieces. A rule
moves one child of the state machines on, repeats something that has happened before, delivers a message, or changes how
the model and the ledger behave; workers die after any side effect. Jobs end in any status with any output. What must
always hold is looked at after every step; at the end all faults are healed, every child is driven to its end, and every
record must be accounted for.
"""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bulk_inference.batch import collect_results
from bulk_inference.batch.collect_results import ShardTask, collect, next_state
from bulk_inference.batch.submit_job import SubmitTask, submit
from bulk_inference.core.errors import BulkInferenceError, ShardFailedError, UnitFailedError
from bulk_inference.core.names import own_scope
from bulk_inference.core.runs_table import cut_sk, run_pk, shard_sk
from bulk_inference.failure_lane.reprocess import LaneMessage, NonRetryableRecordError, RecordFailedError, reprocess
from bulk_inference.finish.conservation import cross_check
from bulk_inference.finish.finishing import add_up
from bulk_inference.sync.infer_batch import Batch, infer_batch
from bulk_inference.watch.reconcile import resume
from tests.worlds.inference_world import RUN, TENANT, FakeOutcome, Killed, Stage, converse, make_spec, submit_services

SHARDS = {"00001": "00001-001", "00002": "00001-002"}
SYNC_PIECE = "00001-003"
PER_SHARD, PER_BATCH, BATCHES = 8, 6, 2
LINES = PER_SHARD * len(SHARDS) + PER_BATCH * BATCHES

REFUSED = FakeOutcome(error_class="invalid_request", error_code="ValidationException", error_message="no")
OVERLOADED = FakeOutcome(error_class="model_error", error_code="ModelErrorException", error_message="no")
THROTTLED = FakeOutcome(error_class="throttled", error_code="ThrottlingException", error_message="slow")

TERMINAL = ["Completed", "PartiallyCompleted", "Stopped", "Expired", "Failed"]
#: What a job's output says of one record: success, an error that may pass, one that does not, no line, two lines, half
#: a line, a line of nobody's record in its place.
FATES = st.lists(st.sampled_from("ssssseqldtf"), min_size=PER_SHARD, max_size=PER_SHARD)
DEATHS = st.none() | st.integers(1, 14)


def sequential(positions: Any, call_of: Any, clock: Any) -> Any:
    """infer_all without threads or pauses; a throttled record had no time left."""
    for at in positions:
        outcome = call_of(at)()
        if outcome.error_class != "throttled":
            yield at, outcome


class Child:
    """One child execution: where it stands, and the state it carries."""

    def __init__(self, name: str, step: str, state: dict[str, Any]) -> None:
        self.name, self.step, self.state = name, step, state
        self.token = ""

    @property
    def over(self) -> bool:
        return self.step in ("done", "failed")


@pytest.fixture(autouse=True)
def _small_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)
    monkeypatch.setattr("bulk_inference.core.names.CHUNK", 4)
    monkeypatch.setattr(collect_results, "CHUNK_LINES", 3)


class PureCore(RuleBasedStateMachine):
    """Every step of the product is one method here; faults are its arguments."""

    @initialize()
    def begin(self) -> None:
        self.stage = Stage(make_spec(scope=own_scope(RUN)))
        self.stage.world.strike = self.strike  # type: ignore[method-assign]
        self.countdown: int | None = None
        self.cost = 0.0
        self.intruder: tuple[int, Callable[[], None]] | None = None
        self.tokens = 0
        self.past: list[tuple[str, dict[str, Any]]] = []
        self.ids = [f"r{n:02d}" for n in range(LINES - 2)]
        # The last line of the second shard, and that of the sync piece, repeat records of the first shard.
        ids = iter([*self.ids[: 2 * PER_SHARD - 1], self.ids[0], *self.ids[2 * PER_SHARD - 1 :], self.ids[1]])
        self.keep({"sk": cut_sk("00001"), "cut": "00001", "read": LINES, "accepted": LINES})
        self.children: list[Child] = []
        for shard, piece in SHARDS.items():
            self.stage.piece(piece, [next(ids) for _ in range(PER_SHARD)])
            self.keep({"sk": shard_sk(shard), "mode": "batch", "piece": piece, "accepted": PER_SHARD})
            what = {"shard": shard, "piece": piece, "records": PER_SHARD, "bytes": 1}
            state = {"run": RUN, "tenant": TENANT, "attempt": 1, "jobTimeoutSeconds": 90_000, "shard": what}
            self.children.append(Child(shard, "submit", state))
        settings = replace(self.stage.spec.settings, items_per_batch=PER_BATCH)
        self.stage.spec = replace(self.stage.spec, settings=settings)
        index = self.stage.piece(SYNC_PIECE, list(ids), sync=True)
        self.keep({"sk": shard_sk(SYNC_PIECE), "mode": "sync", "piece": SYNC_PIECE, "accepted": len(index)})
        for line in self.stage.input.lines(self.stage.places.batches(SYNC_PIECE)):
            state = {"BatchInput": {"run": RUN, "tenant": TENANT}, "Items": [line]}
            self.children.append(Child(f"batch {line['batch']}", "infer", state))

    def keep(self, item: dict[str, Any]) -> None:
        item = {"pk": run_pk(RUN), "rejected": 0, "duplicate": 0, **item}
        self.stage.runs.items[(item["pk"], item["sk"])] = item

    # Side effects: each may be the last thing that a worker does, and each takes its time.

    def strike(self, effect: str) -> None:
        self.stage.world.effects.append(effect)
        self.stage.time.remaining -= self.cost
        if self.intruder is not None:
            left, work = self.intruder
            self.intruder = (left - 1, work) if left > 1 else None
            if self.intruder is None:
                countdown, self.countdown = self.countdown, None
                work()
                self.countdown = countdown
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown <= 0:
                self.countdown = None
                raise Killed(effect)

    def attempt(self, work: Callable[[], Any], death: int | None = None, cost: float = 0.0) -> tuple[Any, str]:
        """One invocation: its answer, and what it raised (`died` for a killed worker)."""
        self.countdown, self.cost, self.stage.time.remaining = death, cost, 900.0
        try:
            return work(), ""
        except Killed:
            # Its lease is not given back, and lapses.
            self.stage.runs.lapse()
            return None, "died"
        except (BulkInferenceError, RecordFailedError, NonRetryableRecordError) as error:
            return None, type(error).__name__
        finally:
            self.countdown, self.cost = None, 0.0

    # The steps of the product.

    def call(self, step: str, given: dict[str, Any]) -> Any:
        """Invoke the function of a step with an event."""
        event, unit_context = json.loads(json.dumps(given)), self.stage.unit_context
        if step == "submit":
            # The state machine tries again minutes later: a count of slots is old by then.
            self.stage.time.now += 60
            return submit(SubmitTask.from_event(event), self.stage.spec, submit_services(self.stage))
        if step == "collect":
            task = ShardTask.from_event(event)
            return next_state(task, unit_context, collect(task, unit_context))
        batch = Batch.from_event(event)
        progress = infer_batch(batch, unit_context)
        return batch.following(progress["rest"], progress["counts"])

    def move(
        self,
        child: Child,
        death: int | None = None,
        cost: float = 0.0,
        twice_at: int | None = None,
        frozen: bool = False,
    ) -> None:
        """One invocation for a child, and where it goes from there. In the middle of it (`twice_at`) another worker may
        get the same event; the first is `frozen` then for so long that its lease has lapsed."""
        step, event = child.step, child.state
        if step == "wait":
            answer = self.stage.tasks.answers.get(child.token)
            if answer is not None:
                child.step, child.state = "collect", {**child.state, "job": answer}
            return
        if step == "submit":
            self.tokens += 1
            self.stage.tasks.waiting.discard(child.token)
            child.token = f"token-{self.tokens}"
            self.stage.tasks.waiting.add(child.token)
            event = {**event, "taskToken": child.token}
        self.past.append((step, event))
        if twice_at is not None:
            self.intruder = (twice_at, lambda: self.again(step, event, frozen))
        answer, problem = self.attempt(lambda: self.call(step, event), death, cost)
        self.intruder = None
        if problem in (ShardFailedError.__name__, UnitFailedError.__name__):
            child.step = "failed"
        elif not problem and step == "submit":
            child.step = "wait"
        elif not problem and step == "collect":
            child.step = answer["next"]
            child.state = answer["remainder"] if answer["next"] == "infer" else answer
        elif not problem:
            child.state, child.step = answer, answer["next"]

    def again(self, step: str, event: dict[str, Any], frozen: bool) -> None:
        """The same event in another worker, whose answer nobody reads. It has time of its own."""
        cost, left = self.cost, self.stage.time.remaining
        if frozen:
            self.stage.runs.lapse()
        try:
            self.call(step, event)
        except (BulkInferenceError, Killed):
            pass
        finally:
            self.cost, self.stage.time.remaining = cost, left

    def time_out(self, child: Child) -> None:
        """The task's own timeout: a late twin of an earlier submission may have put its dead token in the place of the
        living one, so that nobody can wake the child."""
        if child.token not in self.stage.tasks.answers:
            self.stage.tasks.waiting.discard(child.token)
            child.step, child.state = "collect", {**child.state, "job": {"Error": "States.Timeout", "Cause": ""}}

    # Rules.

    @rule(at=st.integers(0, 3), death=DEATHS, cost=st.sampled_from([0.0, 0.0, 250.0]))
    def a_child_moves_on(self, at: int, death: int | None, cost: float) -> None:
        child = self.children[at]
        if not child.over:
            self.move(child, death, cost)

    @rule(at=st.integers(0, 3), twice_at=st.integers(1, 14), frozen=st.booleans())
    def a_child_runs_twice_at_once(self, at: int, twice_at: int, frozen: bool) -> None:
        if not self.children[at].over:
            self.move(self.children[at], twice_at=twice_at, frozen=frozen)

    @precondition(lambda self: self.stage.queue.messages)
    @rule(pick=st.integers(0, 1000), twice_at=st.integers(1, 6), frozen=st.booleans(), held=st.booleans())
    def a_message_is_delivered_twice_at_once(self, pick: int, twice_at: int, frozen: bool, held: bool) -> None:
        message = {**self.stage.queue.messages[pick % len(self.stage.queue.messages)], "held": held}

        def again() -> None:
            if frozen:
                self.stage.runs.lapse()
            with suppress(BulkInferenceError, RecordFailedError, NonRetryableRecordError):
                self.deliver(message)

        self.intruder = (twice_at, again)
        self.attempt(lambda: self.deliver(message))
        self.intruder = None

    @precondition(lambda self: self.past)
    @rule(pick=st.integers(0, 1000), death=DEATHS)
    def an_event_comes_again(self, pick: int, death: int | None) -> None:
        step, event = self.past[pick % len(self.past)]
        self.attempt(lambda: self.call(step, event), death)

    @rule(at=st.integers(0, 1), status=st.sampled_from(TERMINAL), fates=FATES, death=DEATHS, told=st.booleans())
    def a_job_ends(self, at: int, status: str, fates: list[str], death: int | None, told: bool) -> None:
        if self.children[at].step == "wait":
            self.end(self.children[at], status, fates)
            if told:
                self.attempt(self.tell(self.children[at]), death)

    @rule(at=st.integers(0, 1), death=DEATHS)
    def a_job_is_told_of(self, at: int, death: int | None) -> None:
        if self.children[at].step == "wait":
            self.attempt(self.tell(self.children[at]), death)

    @rule(at=st.integers(0, 1))
    def a_task_times_out(self, at: int) -> None:
        if self.children[at].step == "wait":
            self.time_out(self.children[at])

    @precondition(lambda self: self.stage.queue.messages)
    @rule(pick=st.integers(0, 1000), death=DEATHS, held=st.booleans())
    def a_message_is_delivered(self, pick: int, death: int | None, held: bool) -> None:
        message = self.stage.queue.messages[pick % len(self.stage.queue.messages)]
        self.attempt(lambda: self.deliver({**message, "held": held}), death)

    @rule(number=st.none() | st.integers(0, LINES - 3), how=st.sampled_from([None, REFUSED, OVERLOADED, THROTTLED]))
    def the_model_changes_its_mind(self, number: int | None, how: FakeOutcome | None) -> None:
        """About one record, or about all."""
        about = self.ids if number is None else [self.ids[number]]
        self.stage.model.answers.update(dict.fromkeys(about, how))

    @rule(every=st.sampled_from([0, 0, 2, 5]))
    def the_ledger_throttles(self, every: int) -> None:
        self.stage.ledger.throttle = lambda claim: bool(every) and int(claim.key[-2:]) % every == 0

    # Bedrock and SQS.

    def job_of(self, child: Child) -> tuple[str, str]:
        """Name of the job of a child's present attempt, and the piece that it reads."""
        known = self.stage.runs.items[(run_pk(RUN), f"JOB#{child.name}-a{child.state['attempt']}")]
        request = next(one for one in self.stage.jobs.requests if one.name == known["jobName"])
        return request.name, request.input_uri.rsplit("/", 1)[1].removesuffix(".jsonl")

    def end(self, child: Child, status: str, fates: list[str]) -> None:
        """The job ends and has written what it has written."""
        name, piece = self.job_of(child)
        found = self.stage.jobs.find(name)
        assert found is not None
        if found.terminal:
            return
        sent = [json.loads(raw) for raw in self.stage.input.objects[self.stage.places.shard(piece)].split(b"\n") if raw]
        body = b""
        for record, fate in zip(sent, fates, strict=False):
            done = {**record, "modelOutput": converse(f"said {record['recordId']}")}
            code = {"e": 500, "q": 400}.get(fate)
            line = {**record, "error": {"errorCode": code, "errorMessage": "no"}} if code else done
            if fate == "f":
                line = {**line, "recordId": "somebody-else"}
            raw = json.dumps(line).encode() + b"\n"
            body = {"l": b"", "d": raw * 2, "t": raw[: len(raw) // 2] + b"\n"}.get(fate, raw) + body
        self.stage.jobs.set(name, status, processed=body.count(b"\n"))
        if body and status != "Expired":
            prefix = f"{self.stage.places.job_output(child.name, child.state['attempt'])}{found.id}/"
            self.stage.output.objects[f"{prefix}{piece}.jsonl.out"] = body

    def tell(self, child: Child) -> Callable[[], Any]:
        """The job's event is followed."""
        name, _ = self.job_of(child)
        event = {"detail": {"batchJobName": name}}
        stage = self.stage
        return lambda: resume(event, "tickets", runs=stage.runs, jobs=stage.jobs, tasks=stage.tasks)

    def deliver(self, message: dict[str, Any]) -> str:
        return reprocess(LaneMessage.from_json(json.loads(json.dumps(message))), self.stage.unit_context)

    # What must hold.

    def results(self) -> list[dict[str, Any]]:
        return self.stage.output.lines(self.stage.places.results_prefix)

    @invariant()
    def no_record_has_two_results(self) -> None:
        twice = [one for one, times in Counter(line["recordId"] for line in self.results()).items() if times > 1]
        assert not twice, twice

    @invariant()
    def every_result_answers_its_record(self) -> None:
        assert all(line["text"] == f"said {line['recordId']}" for line in self.results())

    @invariant()
    def every_result_is_claimed_by_its_run(self) -> None:
        owners = self.stage.ledger.owners
        assert all(owners.get(line["recordId"], "").startswith(f"{RUN}/") for line in self.results())

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        self.stage.model.answers.clear()
        self.stage.ledger.throttle = lambda claim: False
        for child in self.children:
            for _ in range(40):
                if child.over:
                    break
                if child.step == "wait" and child.token not in self.stage.tasks.answers:
                    self.end(child, "Completed", ["s"] * PER_SHARD)
                    self.tell(child)()
                    self.time_out(child)
                if child.step == "collect":
                    self.end(child, "Completed", ["s"] * PER_SHARD)
                self.move(child)
            assert child.over, f"{child.name} never ends: {child.step}"
        failed = {line["recordId"] for line in self.stage.output.lines(self.stage.places.failures_prefix)}
        landed = {line["recordId"] for line in self.results()}
        assert landed | failed == set(self.ids), f"lost: {set(self.ids) - landed - failed}"
        waiting = {message["recordId"] for message in self.stage.queue.messages}
        for message in list(self.stage.queue.messages):
            self.deliver({**message, "held": True})
        self.no_record_has_two_results()
        landed = {line["recordId"] for line in self.results()}
        assert waiting <= landed, f"not redriven: {waiting - landed}"
        summed = add_up(RUN, self.stage.runs)
        assert summed.problems == []
        parts = self.stage.output.list(self.stage.places.results_prefix)
        stored = {one.key: one.size for one in parts if one.size or one.key in summed.parts}
        assert cross_check(summed.parts, stored) == []
        counts = summed.counts
        assert counts["landed"] == len(self.results())
        assert counts["pending"] == 0
        assert counts["read"] == LINES == counts["landed"] + counts["failed"] + counts["duplicate"]


def test_no_mix_of_faults_loses_or_doubles_a_record() -> None:
    run_state_machine_as_test(PureCore, settings=settings(max_examples=80, stateful_step_count=50, deadline=None))
