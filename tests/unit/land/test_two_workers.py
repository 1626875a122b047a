"""Two workers of one unit, one of them frozen after each of its effects while the other does the whole (decision 0024).

What must hold is the same everywhere: each record has one result line, or failed and has a message, and the parts that
lie in S3 are those that items name.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.core.errors import BulkInferenceError, InvalidRequestError, ThrottledError, WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import LEASE_SECONDS
from bulk_inference.core.ports import Execution
from bulk_inference.core.runs_table import META, run_pk
from bulk_inference.failure_lane.reprocess import LaneConsumer, LaneDelivery, LaneMessage, RecordFailedError, reprocess
from bulk_inference.finish.conservation import cross_check
from bulk_inference.finish.finishing import check
from bulk_inference.land.units import Unit
from bulk_inference.ledger.claims import Claim, claim_key
from bulk_inference.sync.infer_batch import Batch, infer_batch
from bulk_inference.watch.reconcile import reconcile, resume
from tests.worlds import reprocess_world, shard_world, submit_world
from tests.worlds.inference_world import NOW, RUN, FakeOutcome, Killed, Stage, freeze, make_spec
from tests.worlds.lane_world import FakeLane
from tests.worlds.redrive_world import Site

IDS = [f"r{n:02d}" for n in range(12)]
PIECE = "00001-001"
OVERLOADED = FakeOutcome(error_class="model_error", error_code="ModelErrorException", error_message="no")


def sequential(positions: Any, call_of: Any, clock: Any) -> Iterator[Any]:
    for at in positions:
        yield at, call_of(at)()


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)
    monkeypatch.setattr("bulk_inference.core.names.CHUNK", 5)


def tolerant() -> Stage:
    return Stage(make_spec(settings=replace(make_spec().settings, tolerated_failure_percentage=100.0)))


def units(made: Stage) -> list[Unit]:
    return [Unit.from_json(item) for item in made.runs.query(run_pk(made.spec.run), "UNIT#")]


def sound(made: Stage, ids: Sequence[str]) -> list[str]:
    """What is wrong with a run all of whose units are settled."""
    there = Counter(line["recordId"] for line in made.output.lines(made.places.results_prefix))
    failed = Counter(line["recordId"] for line in made.output.lines(made.places.failures_prefix))
    queued = {message["recordId"] for message in made.queue.messages}
    wrong = [f"{one} lies there {times} times" for one, times in there.items() if times > 1]
    wrong += [f"{one} failed {times} times" for one, times in failed.items() if times > 1]
    wrong += [f"{one} is nowhere" for one in ids if one not in there and one not in failed]
    wrong += [f"{one} landed and failed" for one in there.keys() & failed.keys()]
    wrong += [f"{one} failed without a message" for one in failed.keys() - queued]
    wrong += [f"{one.unit} has unsent messages" for one in units(made) if one.unsent]
    wrong += [f"{one.unit} is open" for one in units(made) if not one.settled]
    for prefix, name in ((made.places.results_prefix, "results"), (made.places.failures_prefix, "failures")):
        named = {part.key: part.bytes for one in units(made) for part in getattr(one, name)}
        wrong += cross_check(named, {one.key: one.size for one in made.output.list(prefix) if one.size})
    return wrong


def each_freeze(play: Callable[[int], bool], *, at_least: int) -> None:
    """Plays with the worker frozen after effect 1, 2, … for as long as it comes to that."""
    number = 1
    while play(number):
        number += 1
    assert number > at_least, f"only {number - 1} effects"


# Item batches.


def batch(made: Stage, **more: Any) -> dict[str, Any]:
    given = {"run": made.spec.run, "tenant": "default", **more}
    return {"BatchInput": given, "Items": made.input.lines(made.places.batches(PIECE)), "next": "infer"}


def infer(made: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    one = Batch.from_event(given)
    progress = infer_batch(one, made.unit_context)
    return one.following(progress["rest"], progress["counts"])


def finish(made: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    """As the state machine does: again after a pause, until the child is done."""
    state = dict(given)
    for _ in range(20):
        made.time.now += LEASE_SECONDS
        with suppress(WorkInProgressError, ThrottledError):
            state = infer(made, state)
        if state["next"] == "done":
            return state
    raise AssertionError("never done")


@pytest.mark.parametrize("rounds", [(1, 1), (3, 1), (1, 3)])
@pytest.mark.parametrize("fails_for", ["first", "second"])
def test_a_frozen_worker_of_an_item_batch_takes_nothing_from_the_one_that_has_it(
    rounds: tuple[int, int], fails_for: str
) -> None:
    """The model need not answer both alike (decision 0012); a redriven child begins again with round 1."""

    def play(number: int) -> bool:
        made = tolerant()
        made.piece(PIECE, IDS, sync=True)
        made.model.answers["r03"] = OVERLOADED if fails_for == "first" else None

        def other() -> None:
            made.time.now += LEASE_SECONDS
            made.model.answers["r03"] = None if fails_for == "first" else OVERLOADED
            infer(made, batch(made, round=rounds[1]))

        frozen = freeze(made.world, number, other)
        with suppress(WorkInProgressError):
            infer(made, batch(made, round=rounds[0]))
        finish(made, batch(made))
        assert sound(made, IDS) == [], number
        return frozen()

    each_freeze(play, at_least=12)


def test_the_state_of_a_round_does_not_let_a_second_worker_in() -> None:
    made = tolerant()
    made.piece(PIECE, IDS, sync=True)

    def another() -> None:
        with pytest.raises(WorkInProgressError):
            infer(made, batch(made, round=1))

    freeze(made.world, 3, another)
    assert infer(made, batch(made, round=3))["next"] == "done"


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("throttles", [1, 2, 3, 7])
@pytest.mark.parametrize("whose", [("r01",), ("r11",), ("r01", "r11")])
def test_no_message_is_lost_to_a_queue_that_refuses_it(inline: bool, throttles: int, whose: Sequence[str]) -> None:
    made = tolerant()
    made.piece(PIECE, IDS, sync=True)
    made.model.answers["r01"] = made.model.answers["r11"] = OVERLOADED
    left, send = [throttles], made.queue.send

    def busy(messages: Sequence[Mapping[str, Any]]) -> None:
        if left[0] and any(message["recordId"] in whose for message in messages):
            left[0] -= 1
            raise ThrottledError("SQS refused 1 messages 6 times")
        send(messages)

    made.queue.send = busy  # type: ignore[method-assign]
    lines = [{"recordId": one, "modelInput": {"prompt": one}} for one in IDS]
    given = {**batch(made), **({"Items": lines} if inline else {})}
    finish(made, given)
    assert sound(made, IDS) == []


def test_a_unit_whose_messages_are_refused_to_the_end_stays_open_and_its_failures_pending() -> None:
    made = tolerant()
    made.piece(PIECE, IDS, sync=True)
    made.model.answers["r01"] = OVERLOADED

    def busy(messages: Sequence[Mapping[str, Any]]) -> None:
        raise ThrottledError("SQS refused")

    made.queue.send = busy  # type: ignore[method-assign]
    with pytest.raises(ThrottledError, match="not accepted all messages"):
        infer(made, batch(made))
    pk = run_pk(RUN)
    counts = {"read": 12, "accepted": 12, "rejected": 0, "duplicate": 0}
    made.runs.put({"pk": pk, "sk": "CUT#00001", "cut": "00001", **counts})
    made.runs.put({"pk": pk, "sk": f"SHARD#{PIECE}", "mode": "sync", "piece": PIECE, "accepted": 12})
    summed, problems = check(made.spec, made.output, made.runs)
    assert problems == []
    assert (summed.landed, summed.failed, summed.pending) == (11, 0, 1)


@pytest.mark.parametrize(
    "poison",
    [
        {"recordId": "p", "modelInput": {"prompt": "p"}, "offset": 3, "length": 7},
        {"recordId": "p", "shard": "00009-001", "offset": 3, "length": 7},
        {"recordId": "p", "shard": "../x", "offset": 3, "length": 7},
        {"recordId": "i" * 3000, "modelInput": {"prompt": "p"}},
        {"recordId": "p", "parked": "other/runs/r/parked/part-x.jsonl", "offset": 0, "length": 9},
        {"recordId": "p", "parked": 7, "shard": PIECE, "offset": 0, "length": 9},
    ],
)
def test_a_line_of_a_ready_corpus_costs_itself_and_names_no_place(poison: dict[str, Any]) -> None:
    made = tolerant()
    made.output.objects["other/runs/r/parked/part-x.jsonl"] = b'{"recordId": "p", "modelInput": {"prompt": "SECRET"}}'
    get = made.input.get_range

    def strict(key: str, offset: int, length: int) -> bytes:
        if key not in made.input.objects:
            raise InvalidRequestError(f"{key} does not exist")
        return get(key, offset, length)

    made.input.get_range = strict  # type: ignore[method-assign]
    good = [{"recordId": one, "modelInput": {"prompt": one}} for one in IDS]
    infer(made, {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": [*good[:5], poison, *good[5:]]})
    landed = {line["recordId"] for line in made.output.lines(made.places.results_prefix)}
    assert landed >= set(IDS)
    assert not any("SECRET" in prompt for prompt in made.model.calls)
    assert all(len(key.encode()) <= 2048 for key in made.ledger.claims)


# Runs of one scope.

ARN = "arn:aws:states:us-east-1:123456789012:execution:p:run-0"


def scoped(old: Stage | None, name: str) -> Stage:
    spec = make_spec(run=name, scope="dataset-tickets", execution_arn=ARN.replace("run-0", name))
    made = Stage(spec)
    if old is not None:
        # One account: tables, buckets and Step Functions are shared.
        made.world, made.input, made.output, made.time = old.world, old.input, old.output, old.time
        made.runs, made.ledger, made.executions = old.runs, old.ledger, old.executions
    made.piece(PIECE, ["x", "y"], sync=True)
    made.runs.put({"pk": run_pk(name), "sk": META, "executionArn": spec.execution_arn, "status": "running"})
    return made


def test_a_redriven_run_and_a_later_one_of_its_scope_land_a_record_once() -> None:
    """run-0 died long ago with claims and nothing written. A worker of run-1 judges it to be over; then run-0 is
    redriven, and frozen after each of its effects while run-1's worker goes on with what it remembers."""

    def play(number: int) -> bool:
        one = scoped(None, "run-0")
        two = scoped(one, "run-1")
        strike = one.world.strike

        def dies(effect: str) -> None:
            strike(effect)
            if effect == "claim":
                raise Killed(effect)

        one.world.strike = dies  # type: ignore[method-assign]
        with pytest.raises(Killed):
            infer(one, batch(one))
        one.world.strike = strike  # type: ignore[method-assign]
        one.time.now += LEASE_SECONDS
        one.executions.end(ARN, "FAILED", at=NOW - 5000)
        later = two.unit_context
        for claim in list(one.ledger.claims.values()):
            later.stands(claim)
        one.executions.known[ARN] = Execution(ARN, "RUNNING", None, redrives=1)

        def go_on() -> None:
            with suppress(WorkInProgressError):
                infer_batch(Batch.from_event(batch(two)), later)

        frozen = freeze(one.world, number, go_on)
        with suppress(WorkInProgressError):
            infer(one, batch(one))
        finish(one, batch(one))
        finish(two, batch(two))
        lines = [
            line["recordId"]
            for run in ("run-0", "run-1")
            for line in one.output.lines(Places("default", run).results_prefix)
        ]
        assert sorted(lines) == ["x", "y"], number
        return frozen()

    each_freeze(play, at_least=5)


# Attempts at a shard.


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_frozen_collector_doubles_nothing_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, bad_first: bool) -> None:
    """It may have got further than the next one, or less far, with successes or failures that the other has not."""
    monkeypatch.setattr("bulk_inference.batch.collect_results.CHUNK_LINES", 3)
    bad, good = IDS[:3] if bad_first else IDS[9:], IDS[3:] if bad_first else IDS[:9]
    lines = [shard_world.bad(one) for one in bad]
    lines = [*lines, *map(shard_world.ok, good)] if bad_first else [*map(shard_world.ok, good), *lines]

    def play(number: int) -> bool:
        settings = replace(make_spec().settings, tolerated_failure_percentage=100.0)
        made = shard_world.stage(lines, settings=settings)

        def short_of_time() -> None:
            """One chunk, and no time for more."""
            made.time.now += LEASE_SECONDS
            real, made.time.remaining = made.time.remaining, 1.0
            with suppress(BulkInferenceError):
                shard_world.work(made)
            made.time.remaining = real

        frozen = freeze(made.world, number, short_of_time)
        with suppress(WorkInProgressError):
            shard_world.work(made)
        state = {**shard_world.event(), "next": "collect"}
        for _ in range(20):
            made.time.now += LEASE_SECONDS
            with suppress(WorkInProgressError):
                state = shard_world.work(made, state)
            if state["next"] != "collect":
                break
        assert state["next"] == "done", number
        assert sound(made, IDS) == [], number
        return frozen()

    each_freeze(play, at_least=6)


def test_records_that_a_dead_collector_claimed_are_the_next_attempts_when_its_output_has_expired() -> None:
    made = shard_world.stage([shard_world.ok(one) for one in IDS])
    strike = made.world.strike

    def dies(effect: str) -> None:
        strike(effect)
        if effect == "claim":
            raise Killed(effect)

    made.world.strike = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        shard_world.work(made)
    made.world.strike = strike  # type: ignore[method-assign]
    made.world.revive()
    for key in [key for key in made.output.objects if "/jobs/" in key]:
        del made.output.objects[key]
    made.time.now += 10**6
    state = shard_world.work(made)
    assert (state["next"], state["counts"]["unprocessed"]) == ("submit", 12)
    job = made.jobs.add("job-2", "Completed", processed=12)
    made.runs.items[(run_pk(RUN), "JOB#00001-a2")] = {"jobName": "job-2", "jobArn": job.arn}
    key = f"{made.places.job_output('00001', 2)}{job.id}/00001-a2.jsonl.out"
    (piece,) = [key for key in made.input.objects if "/shards/00001-a2" in key]
    name = piece.rpartition("/")[2].removesuffix(".jsonl")
    key = key.replace("00001-a2.jsonl", f"{name}.jsonl")
    made.output.objects[key] = shard_world.encode([shard_world.ok(one) for one in IDS])
    counts = shard_world.work(made, {**state, "job": {"jobName": "job-2", "status": "Completed"}})["counts"]
    assert (counts["landed"], counts["duplicate"]) == (12, 0)
    assert shard_world.landed(made) == IDS


def test_output_that_changes_between_segments_is_said_and_output_that_is_gone_lands_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bulk_inference.batch.collect_results.CHUNK_LINES", 4)
    for gone in (False, True):
        made = shard_world.stage([shard_world.ok(one) for one in IDS])
        made.time.remaining = 1.0
        monkeypatch.setattr("bulk_inference.batch.collect_results.RESERVE_SHARE", 2.0)
        state = shard_world.work(made)
        assert (state["next"], state["segment"]) == ("collect", 2)
        monkeypatch.setattr("bulk_inference.batch.collect_results.RESERVE_SHARE", 0.2)
        made.time.remaining = 900.0
        (key,) = [key for key in made.output.objects if key.endswith("001.jsonl.out")]
        if not gone:
            made.output.objects[key] += b"\n"
            with pytest.raises(BulkInferenceError, match="has changed since a part of it was collected"):
                shard_world.work(made, state)
            continue
        del made.output.objects[key]
        made.time.now += 10**6
        state = shard_world.work(made, state)
        counts = state["counts"]
        assert (state["next"], counts["landed"], counts["unprocessed"]) == ("submit", 4, 8)


def test_whoever_waits_for_a_job_is_woken_whatever_order_two_submitters_write_in() -> None:
    def play(number: int) -> bool:
        made = submit_world.stage()
        made.tasks.waiting = {"token-2"}  # the task of token-1 is dead

        def submit_again() -> None:
            submit_world.go(made, "token-2")

        frozen = freeze(made.world, number, submit_again)
        with suppress(BulkInferenceError):
            submit_world.go(made, "token-1")
        if not frozen():
            return False
        (job,) = made.jobs.jobs.values()
        made.jobs.set(job.name, "Completed")
        resume({"detail": {"batchJobArn": job.arn}}, "tickets", runs=made.runs, jobs=made.jobs, tasks=made.tasks)
        reconcile(made.stop_world, made.tasks)
        assert "token-2" not in made.tasks.waiting, number
        return True

    each_freeze(play, at_least=6)


# The failure lane.


def test_a_record_of_the_lane_that_is_dropped_meanwhile_is_landed_or_dropped_and_the_sums_hold() -> None:
    """One of the two is frozen, or dies, after each of its effects while the other does the whole."""

    def lane(site: Site) -> None:
        with suppress(WorkInProgressError, RecordFailedError):
            reprocess(LaneMessage.from_json(site.stage.queue.messages[0]), site.stage.unit_context)

    def dropping(site: Site) -> None:
        site.letters.show()
        site.go("drop", run=RUN, reason="given up")

    for first, second in ((lane, dropping), (dropping, lane)):
        for dies in (False, True):

            def play(
                number: int,
                first: Callable[[Site], None] = first,
                second: Callable[[Site], None] = second,
                dies: bool = dies,
            ) -> bool:
                site = Site(failing=2)

                def meanwhile() -> None:
                    site.stage.time.now += LEASE_SECONDS
                    second(site)
                    if dies:
                        raise Killed

                frozen = freeze(site.stage.world, number, meanwhile)
                with suppress(Killed):
                    first(site)
                if not frozen():
                    return False
                for _ in range(2):
                    site.stage.time.now += LEASE_SECONDS
                    dropping(site)
                    lane(site)
                summed, problems = check(site.stage.spec, site.stage.output, site.stage.runs)
                assert problems == [], number
                assert summed.failed == 0, number
                there = [line["recordId"] for line in site.stage.output.lines(site.stage.places.results_prefix)]
                assert len(there) == len(set(there)) == summed.landed, number
                return True

            each_freeze(play, at_least=2)


def test_the_lane_looks_before_it_pays_and_waits_without_using_up_receives() -> None:
    made = reprocess_world.stage()
    made.spec = replace(made.spec, scope="tickets")
    made.runs.put({"pk": run_pk("run-0"), "sk": META, "executionArn": "arn:run-0"})
    made.executions.end("arn:run-0", at=NOW - 30)
    key = claim_key("default", "tickets", "b")
    made.ledger.claims[key] = Claim(key, "run-0/sync-x", "run-0", int(NOW) + 10_000_000)
    made.leases.acquire("run-0", "sync-x")
    lane, message, tries = FakeLane(made.world), reprocess_world.body(made), 0
    while True:
        consumer = LaneConsumer(lane, made.time.clock, lambda message: made.unit_context, lambda: 1.0)
        outcome = consumer.settle(LaneDelivery(json.dumps(message), "receipt", 1))
        if outcome != "postponed":
            break
        tries += 1
        text, pause = lane.postponed[-1]
        message = json.loads(text)
        made.time.now += pause
    assert (outcome, lane.backed_off, len(made.model.calls)) == ("landed", [], 1)
    assert 1 <= tries <= 4


def test_a_claim_of_a_lane_worker_that_died_does_not_shadow_the_record_of_a_later_run() -> None:
    one = scoped(None, "run-0")
    two = scoped(one, "run-1")
    key = claim_key("default", "dataset-tickets", "x")
    one.leases.acquire("run-0", "reprocess-0123456789")
    one.ledger.claims[key] = Claim(key, "run-0/reprocess-0123456789", "run-0", int(NOW) + 10**6, 1)
    one.time.now += LEASE_SECONDS
    assert infer(two, batch(two))["counts"]["landed"] == 2


def test_messages_that_were_held_twice_are_told_while_they_are_hidden() -> None:
    """They come back within a quarter of an hour: neither command may say that it is done before."""
    site = Site()
    site.letters.late = [site.letters.letters.pop(1)]
    told = site.go("redrive", run=RUN)
    assert (told["finished"], told["sentBack"], told["hidden"]) == (False, 2, 1)
    told = site.go("drop", run=RUN, reason="given up")
    assert (told["finished"], told["hidden"]) == (False, 1)
    site.letters.show()
    told = site.go("drop", run=RUN, reason="given up")
    assert (told["finished"], told["hidden"], told["messagesDeleted"]) == (True, 0, 1)
    assert site.letters.letters == {}
