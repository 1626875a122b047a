"""Item batches on demand: each record once, whatever dies, hangs or comes twice."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from bulk_inference.core.errors import ThrottledError, UnitFailedError, WorkInProgressError
from bulk_inference.core.index_line import Pointer, fetch
from bulk_inference.core.leases import LEASE_SECONDS
from bulk_inference.core.ports import Outcome
from bulk_inference.core.runs_table import META, STALE, run_pk, unit_sk
from bulk_inference.failure_lane.reprocess import LaneMessage, reprocess
from bulk_inference.finish.conservation import cross_check
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.ledger.claims import Claim, claim_key
from bulk_inference.sync.infer_batch import Batch
from tests.worlds.inference_world import NOW, RUN, FakeOutcome, Killed, Stage, assert_survives_kills
from tests.worlds.item_batch_world import IDS, PIECE, event, sequential, stage, step

REFUSED = FakeOutcome(error_class="invalid_request", error_code="ValidationException", error_message="SECRET no")
OVERLOADED = FakeOutcome(error_class="model_error", error_code="ModelErrorException", error_message="no")
DENIED = FakeOutcome(
    error_class="access_denied",
    error_code="AccessDeniedException",
    error_message="role x is not authorized to perform: bedrock:InvokeModel",
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.core.names.CHUNK", 5)


@pytest.fixture
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)


def only(*positions: int) -> Callable[..., Any]:
    """infer_all that gets through with these positions only before its deadline."""

    def some(wanted: Any, call_of: Any, clock: Any) -> Any:
        yield from ((at, call_of(at)()) for at in wanted if at in positions)

    return some


def work(made: Stage) -> dict[str, Any]:
    """Steps until done, as the state machine does."""
    state = {**event(made), "next": "infer"}
    while state["next"] == "infer":
        state = step(made, state)
    return state


def landed(made: Stage) -> list[str]:
    return sorted(line["recordId"] for line in made.output.lines(made.places.results_prefix))


def unit(made: Stage) -> dict[str, Any]:
    (item,) = made.runs.query(run_pk(RUN), "UNIT#")
    return item


def test_every_record_of_a_batch_lands_once_with_threads_and_all() -> None:
    made = stage()
    state = work(made)
    assert state["next"] == "done"
    assert state["BatchInput"]["unit"] == f"sync-{PIECE}-00001"
    assert landed(made) == IDS
    assert state["counts"]["landed"] == 12
    assert sorted(made.model.calls) == IDS
    assert unit(made)["settled"] is True
    assert unit(made)["pieces"] == {PIECE: state["counts"]}


def test_the_same_items_are_the_same_unit_and_are_not_inferred_again() -> None:
    made = stage()
    work(made)
    before = made.state()
    assert work(made)["next"] == "done"
    assert made.state() == before
    assert len(made.model.calls) == len(IDS)


def test_a_poison_record_costs_itself() -> None:
    made = stage()
    made.model.answers["r03"] = REFUSED
    state = work(made)
    assert landed(made) == [one for one in IDS if one != "r03"]
    (line,) = made.output.lines(made.places.failures_prefix)
    assert (line["recordId"], line["errorClass"], line["errorMessage"]) == ("r03", "validation", "SECRET no")
    (message,) = made.queue.messages
    assert message["recordId"] == "r03"
    assert "SECRET" not in json.dumps([message, state])


def test_what_had_no_time_is_handed_back_and_lands_in_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage()
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", only(0, 1, 2, 3, 4, 7))
    state = step(made, event(made))
    assert state["next"] == "infer"
    assert state["Items"] == event(made)["Items"], "one line, however many records are left"
    assert landed(made) == ["r00", "r01", "r02", "r03", "r04", "r07"]
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)
    state = step(made, state)
    assert (state["next"], state["counts"]["landed"]) == ("done", 12)
    assert landed(made) == IDS
    assert len(made.model.calls) == 12


def test_records_that_came_along_are_handed_back_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage()
    pointers = made.input.lines(made.places.index(PIECE))
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", only(0, 1, 2, 3, 4, 7))
    state = step(made, {**event(made), "Items": pointers})
    assert [item["recordId"] for item in state["Items"]] == ["r05", "r06", "r08", "r09", "r10", "r11"]
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)
    state = step(made, state)
    assert (state["next"], state["counts"]["landed"], state["Items"]) == ("done", 12, [])
    assert landed(made) == IDS


def test_an_index_that_does_not_hold_the_batch_is_not_inferred() -> None:
    made = stage()
    given = event(made)
    given["Items"][0]["offset"] = 7
    with pytest.raises(ValueError, match="does not hold batch 00001-001-00001"):
        step(made, given)
    assert made.world.effects == []


def test_a_call_without_any_progress_is_another_round() -> None:
    """The guard against concurrent calls remembers answers by round: a repeated one must not be given an old answer."""
    made = stage()
    first = Batch.from_event(event(made))
    second = Batch.from_event(first.following([0, 1], {}))
    assert (first.unit, second.unit) == (second.unit, first.unit)
    assert (first.round, second.round) == (1, 2)


@pytest.mark.usefixtures("_in_order")
def test_a_recordid_twice_in_a_batch_lands_once() -> None:
    made = stage([*IDS, "r00"])
    state = work(made)
    assert landed(made) == IDS
    assert (state["counts"]["sent"], state["counts"]["landed"], state["counts"]["duplicate"]) == (13, 12, 1)


@pytest.mark.usefixtures("_in_order")
def test_a_record_of_another_owner_is_a_duplicate_and_not_written() -> None:
    made = stage()
    key = claim_key("default", RUN, "r05")
    made.ledger.claims[key] = Claim(key, f"{RUN}/other", RUN, int(NOW) + 10_000)
    state = work(made)
    assert landed(made) == [one for one in IDS if one != "r05"]
    assert (state["counts"]["landed"], state["counts"]["duplicate"]) == (11, 1)


@pytest.mark.usefixtures("_in_order")
def test_each_chunk_is_claimed_then_written_then_noted_then_queued() -> None:
    """Written before it is claimed, a record could land in two units; noted before it is written, it could be lost;
    queued before it is noted, it could be reprocessed and yet land from here."""
    made = stage()
    made.model.answers["r00"] = REFUSED
    work(made)
    kinds = [re.split("/(part|messages)-", effect)[0] for effect in made.world.effects]
    wrote = [f"put out-bucket default/runs/run-1/{name}" for name in ("results", "failures", "parked")]
    note = f"transaction LEASE UNIT#{unit(made)['unit']}"
    assert kinds == [
        *["item LEASE", note, "claim", *wrote, note, "send", note],
        *["claim", wrote[0], note],
        *["claim", wrote[0], note],
        note,
    ]


@pytest.mark.usefixtures("_in_order")
def test_too_many_errors_fail_the_unit_after_landing() -> None:
    made = stage()
    made.model.answers |= {"r00": REFUSED, "r09": REFUSED}
    for _ in range(2):
        with pytest.raises(
            UnitFailedError, match=r"2 of 12 .*validation ValidationException ×2 \(such as record r00\)"
        ):
            work(made)
    assert len(landed(made)) == 10


@pytest.mark.usefixtures("_in_order")
def test_a_missing_permission_blames_no_record_and_is_named() -> None:
    """What was settled before is landed; the rest stays open, so that a redrive with the permission goes on."""
    made = stage()
    made.model.answers["r07"] = DENIED
    with pytest.raises(UnitFailedError, match="may not perform bedrock:InvokeModel on its resource"):
        work(made)
    assert landed(made) == IDS[:7]
    assert made.queue.messages == []
    del made.model.answers["r07"]
    assert work(made)["counts"]["landed"] == 12
    assert landed(made) == IDS


@pytest.mark.usefixtures("_in_order")
def test_a_concurrent_change_of_the_unit_is_noticed() -> None:
    made = stage()

    def stolen(number: int) -> None:
        if number == 2:
            made.time.now += LEASE_SECONDS
            made.leases.acquire(RUN, f"sync-{PIECE}-00001")

    calls: list[str] = []
    infer = made.model.infer

    def infer_slowly(*given: Any) -> FakeOutcome:
        calls.append("")
        stolen(len(calls))
        return infer(*given)

    made.model.infer = infer_slowly  # type: ignore[method-assign, assignment]
    with pytest.raises(WorkInProgressError):
        work(made)
    assert unit(made)["pieces"][PIECE]["landed"] == 0


@pytest.mark.usefixtures("_in_order")
def test_a_throttled_ledger_is_an_error_that_a_retry_heals() -> None:
    made = stage()
    made.ledger.throttle = lambda one: True
    with pytest.raises(ThrottledError):
        work(made)
    made.ledger.throttle = lambda one: False
    assert work(made)["counts"]["landed"] == 12
    assert landed(made) == IDS


@pytest.mark.usefixtures("_in_order")
def test_a_ledger_that_throttles_to_the_end_costs_only_what_was_not_landed() -> None:
    made = stage()
    made.ledger.throttle = lambda one: one.key.partition("#")[2] == "r07"
    state = step(made, event(made))
    assert (state["next"], landed(made)) == ("infer", IDS[:5])
    assert made.time.remaining > 20, "there is time left to answer"
    made.time.remaining = 900
    made.ledger.throttle = lambda one: False
    assert step(made, state)["counts"]["landed"] == 12
    assert landed(made) == IDS


@pytest.mark.usefixtures("_in_order")
def test_ready_record_lines_land_and_their_failures_are_parked_not_queued() -> None:
    made = Stage()
    lines: list[Any] = [{"recordId": one, "modelInput": {"prompt": one}} for one in IDS[:3]]
    made.model.answers |= {"r01": REFUSED, "": REFUSED}
    given = {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": [*lines, "no record at all"]}
    state = step(made, given)
    assert (state["counts"]["landed"], state["counts"]["failed"]) == (2, 2)
    assert landed(made) == ["r00", "r02"]
    messages = {message["recordId"]: message for message in made.queue.messages}
    assert "modelInput" not in json.dumps(made.queue.messages)
    pointer = Pointer.from_json(messages["r01"]["item"])
    assert fetch(pointer, made.places, made.input.get_range, made.output.get_range) == {"prompt": "r01"}


def test_a_batch_over_the_end_of_a_piece_counts_for_both() -> None:
    made = stage()
    items = [*made.piece("00001-002", ["x", "y"], sync=True), *made.input.lines(made.places.index(PIECE))]
    step(made, {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": items})
    pieces = unit(made)["pieces"]
    assert {name: one["landed"] for name, one in pieces.items()} == {"00001-002": 2, PIECE: 12}


def test_the_remainder_of_a_shard_counts_for_the_shard() -> None:
    made = stage()
    step(made, event(made, piece="00007", attempt=2, unit="sync-abc"))
    assert list(unit(made)["pieces"]) == ["00007"]
    assert made.runs.get(run_pk(RUN), unit_sk("sync-abc")) is not None


def poisoned() -> Stage:
    made = stage()
    made.model.answers["r06"] = REFUSED
    return made


def contested() -> Stage:
    made = stage([*IDS, "r03"])
    key = claim_key("default", RUN, "r11")
    made.ledger.claims[key] = Claim(key, f"{RUN}/other", RUN, int(NOW) + 10_000)
    return made


@pytest.mark.usefixtures("_in_order")
@pytest.mark.parametrize(("make", "effects"), [(stage, 11), (poisoned, 13), (contested, 10)])
def test_a_worker_that_dies_anywhere_and_a_retry_end_in_the_same(make: Callable[[], Stage], effects: int) -> None:
    assert_survives_kills(make, work, at_least=effects)


def test_dying_between_part_and_item_of_a_half_chunk_loses_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The retry gets through with other records of the chunk than the dead try did: the part is written anew, and the
    record that only the dead try had claimed lands in a later flush."""
    made = stage(IDS[:5])
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", only(0, 1))
    made.world.kill_at = 4
    with pytest.raises(BaseException, match="put out"):
        step(made, event(made))
    made.world.revive()
    assert made.ledger.owners.keys() == {"r00", "r01"}
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", only(0, 2))
    state = step(made, event(made))
    assert landed(made) == ["r00", "r02"]
    monkeypatch.setattr("bulk_inference.sync.infer_batch.infer_all", sequential)
    state = step(made, state)
    assert landed(made) == IDS[:5]
    assert (state["counts"]["landed"], state["counts"]["duplicate"]) == (5, 0)


@pytest.mark.usefixtures("_in_order")
def test_a_record_that_fails_after_a_dead_try_had_claimed_it_is_free_again() -> None:
    """The dead try had an answer, claimed the record and wrote it; the model refuses the retry. The record must be in
    no part, and its claim must not keep the failure lane from landing it."""
    for died_at in range(1, 5):
        made = stage(IDS[:5])
        made.world.kill_at = died_at
        with pytest.raises(Killed):
            work(made)
        made.world.revive()
        made.model.answers["r02"] = OVERLOADED
        assert work(made)["counts"]["failed"] == 1
        assert landed(made) == [one for one in IDS[:5] if one != "r02"], died_at
        assert "r02" not in made.ledger.owners
        (message,) = {json.dumps(one) for one in made.queue.messages}
        assert reprocess(LaneMessage.from_json(json.loads(message)), lucky(made)) == "landed"
        assert landed(made) == IDS[:5]


def lucky(made: Stage) -> UnitContext:
    del made.model.answers["r02"]
    return made.unit_context


@pytest.mark.usefixtures("_in_order")
@pytest.mark.parametrize("died_at", range(1, 9))
def test_a_record_that_lands_after_a_dead_try_had_failed_it_is_no_failure(died_at: int) -> None:
    """Until the unit's item says that a record failed, nothing may rely on it: no message, no failure line."""
    made = stage(IDS[:5])
    for one in IDS[:5]:
        made.model.answers[one] = REFUSED
    made.world.kill_at = died_at
    with pytest.raises(Killed):
        work(made)
    made.world.revive()
    made.model.answers.clear()
    work(made)
    noted = "F" in unit(made)["outcomes"]
    failures = sorted(line["recordId"] for line in made.output.lines(made.places.failures_prefix))
    assert failures == (IDS[:5] if noted else [])
    assert {one["recordId"] for one in made.queue.messages} == set(failures)
    assert landed(made) == ([] if noted else IDS[:5])
    assert cross_check({part["key"]: part["bytes"] for part in unit(made)["results"]}, sizes(made)) == []


def sizes(made: Stage) -> dict[str, int]:
    """Of parts with something in them: empty ones were taken from a dead worker."""
    return {one.key: one.size for one in made.output.list(made.places.results_prefix) if one.size}


@pytest.mark.usefixtures("_in_order")
def test_messages_that_a_dead_try_did_not_send_are_sent_by_the_next() -> None:
    made = Stage()
    made.model.answers |= {"r01": REFUSED, "r02": REFUSED}
    lines = [{"recordId": one, "modelInput": {"prompt": one}} for one in IDS[:3]]
    given = {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": lines}
    step(made, given)
    expected = made.queue.messages
    again = Stage()
    again.model.answers |= made.model.answers
    again.queue.send = lambda messages: (_ for _ in ()).throw(Killed("send"))  # type: ignore[method-assign]
    with pytest.raises(Killed):
        step(again, given)
    del again.queue.send
    again.world.revive()
    step(again, given)
    assert again.queue.messages == expected
    assert unit(again)["unsent"] == []


@pytest.mark.usefixtures("_in_order")
def test_a_claim_that_cannot_be_judged_yet_is_found_before_anything_is_paid_for() -> None:
    made = stage()
    key = claim_key("default", RUN, "r05")
    made.ledger.claims[key] = Claim(key, "run-0/sync-x", "run-0", int(NOW) + 10_000)
    made.runs.put({"pk": run_pk("run-0"), "sk": META, "executionArn": "arn-0"})
    made.executions.end("arn-0", at=NOW - 10)
    made.leases.acquire("run-0", "sync-x")
    with pytest.raises(WorkInProgressError, match="run-0"):
        work(made)
    assert made.model.calls == []
    made.time.now += LEASE_SECONDS
    assert work(made)["counts"]["landed"] == 12


def test_outcomes_of_the_real_runtime_fit_the_port() -> None:
    from bulk_inference.aws.bedrock_runtime import ModelOutcome as Real

    outcome: Outcome = Real(error_class="throttled")
    assert outcome.retryable


@pytest.mark.parametrize(("status", "marks"), [("running", []), ("aborted", [RUN])])
def test_a_worker_that_outlives_its_run_says_that_the_manifest_is_behind(status: str, marks: list[str]) -> None:
    made = stage()
    made.runs.put({"pk": run_pk(RUN), "sk": META, "status": status})
    work(made)
    assert [item["sk"] for item in made.runs.query(STALE)] == marks


# The model is called with rights that reach every tenant.


def pointing(uri: str) -> dict[str, Any]:
    return {"prompt": "look", "image": {"source": {"s3Location": {"uri": uri}}}}


def test_a_body_that_points_to_another_tenant_is_not_sent() -> None:
    made = Stage()
    bodies = {"own": pointing("s3://in-bucket/default/corpus/a.png"), "theirs": pointing("s3://in-bucket/o/corpus/a")}
    lines = [{"recordId": name, "modelInput": body} for name, body in bodies.items()]
    state = step(made, {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": lines})
    assert (state["counts"]["landed"], state["counts"]["failed"]) == (1, 1)
    assert made.model.calls == ["look"]
    assert {one["recordId"]: one["errorCode"] for one in made.queue.messages} == {"theirs": "IllegalMedia"}


def test_a_line_of_a_ready_corpus_that_passes_for_a_pointer_is_a_record_of_nothing() -> None:
    """It would be read with rights that reach every run."""
    made = stage()
    foreign = {"recordId": "x", "parked": "other/runs/r/results/part-1.jsonl", "offset": 0, "length": 60}
    made.model.answers[""] = REFUSED
    state = step(made, {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": [foreign]})
    assert state["counts"]["failed"] == 1
    assert made.model.calls == [""]


def test_a_record_whose_bytes_are_another_record_costs_itself() -> None:
    made = stage()
    items = made.input.lines(made.places.index(PIECE))
    items[3]["offset"] += 1
    state = step(made, {"BatchInput": {"run": RUN, "tenant": "default"}, "Items": items})
    assert (state["counts"]["landed"], state["counts"]["failed"]) == (len(items) - 1, 1)
    assert {one["errorCode"] for one in made.queue.messages} == {"StrayPointerError"}
