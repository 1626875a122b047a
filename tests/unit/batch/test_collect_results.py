"""Collecting a shard's results, whatever became of its job and however often the worker dies."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.batch.collect_results import OUTPUT_SECONDS
from bulk_inference.core.errors import JobNotTerminalError, ShardFailedError, ThrottledError, UnitFailedError
from bulk_inference.core.runs_table import META, STALE, late_sk, run_pk, unit_sk
from bulk_inference.land.units import Unit
from bulk_inference.ledger.claims import Claim, claim_key
from bulk_inference.sync.infer_batch import Batch
from tests.worlds.inference_world import NOW, RUN, Stage, assert_survives_kills, make_spec
from tests.worlds.shard_world import IDS, PIECE, SHARD, bad, event, landed, ok, shuffled, stage, work


def failed(made: Stage) -> dict[str, str]:
    return {line["recordId"]: line["errorClass"] for line in made.output.lines(made.places.failures_prefix)}


def unit(made: Stage, name: str = f"{SHARD}-a1") -> dict[str, Any]:
    item = made.runs.get(run_pk(RUN), unit_sk(name))
    assert item is not None
    return item


def test_a_completed_job_lands_every_record_by_its_id_whatever_the_order() -> None:
    made = stage(shuffled(), manifest={"successRecordCount": 12, "errorRecordCount": 0})
    state = work(made)
    assert state["next"] == "done"
    assert landed(made) == IDS
    texts = {line["recordId"]: line["text"] for line in made.output.lines(made.places.results("00001"))}
    assert texts == {one: f"said {one}" for one in IDS}
    assert made.ledger.owners == dict.fromkeys(IDS, f"{RUN}/{SHARD}-a1")
    assert state["counts"]["landed"] == 12
    assert (state["counts"]["inputTokens"], state["counts"]["outputTokens"]) == (36, 24)
    (part,) = unit(made)["results"]
    assert part == {"key": made.places.results("00001"), "bytes": len(made.output.objects[part["key"]]), "lines": 12}
    assert unit(made)["contradictions"] == []


def test_a_poison_record_costs_itself_and_its_message_says_nothing_of_it() -> None:
    made = stage([*[ok(one) for one in IDS[1:]], bad(IDS[0])])
    assert work(made)["next"] == "done"
    assert landed(made) == IDS[1:]
    assert failed(made) == {IDS[0]: "model"}
    (message,) = made.queue.messages
    assert message["recordId"] == IDS[0]
    assert message["item"]["shard"] == PIECE
    assert "no r00" not in json.dumps(message)


def test_odd_lines_are_decided_and_counted() -> None:
    """Undecodable, doubled, foreign and hollow lines: none of them hurts a neighbour."""
    lines: list[Any] = [ok(one) for one in IDS[:-2]]
    lines[3:3] = [
        b'{"recordId": "r10", "modelOut',
        ok("stranger"),
        bad(IDS[0]),
        {"recordId": "r11", "modelOutput": None},
    ]
    made = stage(lines)
    state = work(made)
    assert landed(made) == IDS[:-2]
    assert failed(made) == {}
    item = unit(made)
    assert (item["undecodable"], item["foreign"], item["doubled"]) == (2, 1, 1)
    assert state["next"] == "infer"
    assert [line["recordId"] for line in remainder(made, state)] == ["r10", "r11"]


def test_a_record_of_another_owner_is_a_duplicate_and_not_written() -> None:
    made = stage(shuffled())
    key = claim_key("default", RUN, "r05")
    made.ledger.claims[key] = Claim(key, f"{RUN}/other", RUN, int(NOW) + 10_000)
    state = work(made)
    assert landed(made) == [one for one in IDS if one != "r05"]
    assert (state["counts"]["landed"], state["counts"]["duplicate"]) == (11, 1)


@pytest.mark.parametrize("status", ["PartiallyCompleted", "Stopped", "Expired", "Completed", "Failed"])
def test_unprocessed_records_make_the_next_attempt_when_they_are_enough(status: str) -> None:
    """unprocessed = ids sent − ids seen: they, and only they, byte for byte."""
    made = stage([ok(one) for one in IDS[::2]], status)
    state = work(made)
    assert (state["next"], state["attempt"]) == ("submit", 2)
    assert landed(made) == IDS[::2]
    piece = f"{SHARD}-a2"
    old = made.input.objects[made.places.shard(PIECE)].split(b"\n")
    assert made.input.objects[made.places.shard(piece)] == b"\n".join(old[1:12:2]) + b"\n"
    pointers = made.input.lines(made.places.index(piece))
    assert [one["recordId"] for one in pointers] == IDS[1::2]
    shard = made.input.objects[made.places.shard(piece)]
    for one in pointers:
        line = json.loads(shard[one["offset"] : one["offset"] + one["length"]])
        assert (line["recordId"], one["shard"]) == (one["recordId"], piece)
    assert unit(made)["nextUnit"] == piece


def test_expired_jobs_leave_no_output_and_lose_nothing() -> None:
    made = stage(None, "Expired")
    state = work(made)
    assert state["next"] == "submit"
    assert [line["recordId"] for line in made.input.lines(made.places.index(f"{SHARD}-a2"))] == IDS


def test_too_few_for_a_job_go_the_sync_way() -> None:
    made = stage([ok(one) for one in IDS[:9]], "PartiallyCompleted")
    state = work(made)
    assert state["next"] == "infer"
    assert [line["recordId"] for line in remainder(made, state)] == IDS[9:]
    assert len(state["remainder"]["Items"]) == 1, "however many are left"
    assert state["remainder"]["BatchInput"]["piece"] == SHARD
    assert state["remainder"]["BatchInput"]["unit"] == unit(made)["nextUnit"]
    assert "modelInput" not in json.dumps(state)


def remainder(made: Stage, state: dict[str, Any]) -> list[Any]:
    """What infer_batch will find."""
    return list(Batch.from_event(state["remainder"]).loaded(made.unit_context).items)


def test_after_the_last_attempt_unprocessed_records_fail_by_that_class() -> None:
    made = stage(
        [ok(IDS[0])],
        "PartiallyCompleted",
        attempt=3,
        settings=replace(make_spec().settings, tolerated_failure_percentage=100),
    )
    assert work(made, event(3))["next"] == "done"
    assert failed(made) == dict.fromkeys(IDS[1:], "unprocessed")
    assert len(made.queue.messages) == 11
    assert made.output.find(made.places.results(f"{SHARD}-a3"))


def test_a_job_that_somebody_stopped_is_no_failed_attempt() -> None:
    """Aborting a run stops its jobs, and a redrive makes the next attempt: as often as one likes."""
    made = stage([ok(IDS[0])], "Stopped", attempt=3)
    before = Unit(unit=f"{SHARD}-a2", kind="job", pieces={}, settled=True, spent=2)
    made.runs.put(before.item(RUN, 0))
    assert work(made, event(3))["next"] == "submit"
    assert unit(made, f"{SHARD}-a3")["spent"] == 2
    made = stage([ok(IDS[0])], "Expired", attempt=3)
    made.runs.put(before.item(RUN, 0))
    with pytest.raises(UnitFailedError, match="unprocessed"):
        work(made, event(3))
    assert failed(made) == dict.fromkeys(IDS[1:], "unprocessed")


def test_a_job_that_failed_as_a_whole_fails_its_shard_with_bedrocks_words() -> None:
    """Its records are accounted for, and not handed to the lane, which would try them unchanged."""
    made = stage(None, "Failed", message="Line 7 is malformed")
    for _ in range(2):
        with pytest.raises(ShardFailedError) as told:
            work(made)
        assert "Line 7" not in str(told.value)
    assert "Line 7" not in str(made.runs.items)
    assert failed(made) == dict.fromkeys(IDS, "validation")
    assert all("Line 7" in line["errorMessage"] for line in made.output.lines(made.places.failures_prefix))
    assert made.queue.messages == []
    assert unit(made)["pieces"][SHARD]["failed"] == 12


def test_a_refused_job_fails_its_shard_with_bedrocks_words() -> None:
    made = stage(None)
    made.runs.items.clear()
    made.jobs.jobs.clear()
    cause = json.dumps({"errorMessage": "role cannot read", "errorType": "JobRejectedError", "stackTrace": []})
    with pytest.raises(ShardFailedError, match="12 records failed with their job"):
        work(made, event(job={"Error": "JobRejectedError", "Cause": cause}))
    assert failed(made) == dict.fromkeys(IDS, "validation")
    assert all("role cannot" in line["errorMessage"] for line in made.output.lines(made.places.failures_prefix))


def test_a_task_that_timed_out_is_collected_from_its_job() -> None:
    made = stage(shuffled())
    assert work(made, event(job={"Error": "States.Timeout", "Cause": ""}))["next"] == "done"
    assert landed(made) == IDS


def test_a_task_that_timed_out_before_any_job_was_made_goes_on() -> None:
    made = stage(None)
    made.runs.items.clear()
    made.jobs.jobs.clear()
    assert work(made, event(job={"Error": "States.Timeout", "Cause": ""}))["next"] == "submit"


def test_a_job_that_still_runs_is_waited_for() -> None:
    made = stage(None, "InProgress")
    with pytest.raises(JobNotTerminalError, match="InProgress"):
        work(made, event(job={"Error": "States.Timeout", "Cause": ""}))


def test_an_output_that_is_not_there_yet_is_waited_for_but_not_for_ever() -> None:
    """Taken for empty, a completed job's records would all be submitted and paid for once more."""
    made = stage(None)
    made.jobs.set("job-1", "Completed", processed=10, ended_at=NOW - 5)
    with pytest.raises(JobNotTerminalError, match="not there yet"):
        work(made)
    made.jobs.set("job-1", "Completed", processed=10, ended_at=NOW - OUTPUT_SECONDS)
    assert work(made)["next"] == "submit"


def test_too_many_errors_fail_the_unit_after_landing_until_the_lane_has_helped() -> None:
    made = stage([*[ok(one) for one in IDS[2:]], bad(IDS[0]), bad(IDS[1])])
    with pytest.raises(UnitFailedError, match=r"2 of 12 records failed.*model 500 ×2"):
        work(made)
    assert landed(made) == IDS[2:]
    made.runs.put({"pk": run_pk(RUN), "sk": late_sk(f"{SHARD}-a1", "x")})
    assert work(made)["next"] == "done", "one of the two landed late: 1 of 12 is tolerated"


def test_a_small_unit_is_not_broken_by_its_ratio() -> None:
    ids = IDS[:9]
    made = stage([bad(one) for one in ids], ids=ids)
    assert work(made)["next"] == "done"


def test_a_manifest_that_contradicts_the_lines_is_noted_and_the_lines_count() -> None:
    made = stage(shuffled(), manifest={"successRecordCount": 11, "errorRecordCount": 1})
    assert work(made)["next"] == "done"
    assert unit(made)["contradictions"] == [
        "successRecordCount is 11, its lines say 12",
        "errorRecordCount is 1, its lines say 0",
    ]


def test_a_late_manifest_is_waited_for_a_little_and_then_done_without() -> None:
    made = stage(shuffled())
    (key,) = [key for key in made.output.objects if key.endswith("manifest.json.out")]
    del made.output.objects[key]
    assert work(made)["next"] == "done"
    assert unit(made)["contradictions"] == ["the job has no manifest"]
    assert 0 < made.time.slept < 30


def test_a_recordid_twice_in_the_shard_is_one_record_and_one_duplicate() -> None:
    made = stage([ok(one) for one in IDS], ids=[*IDS, IDS[0]])
    counts = work(made)["counts"]
    assert (counts["sent"], counts["landed"], counts["duplicate"]) == (13, 12, 1)


def segments(made: Stage) -> dict[str, Any]:
    """Collects with time for one chunk an invocation."""
    state = event()
    for _ in range(10):
        made.time.remaining = 100.0
        state = work(made, state)
        if state["next"] != "collect":
            return state
    raise AssertionError("does not come to an end")


@pytest.fixture
def _short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk is four lines and takes so long that the function must stop after it."""
    monkeypatch.setattr("bulk_inference.batch.collect_results.CHUNK_LINES", 4)
    monkeypatch.setattr("bulk_inference.batch.collect_results.RESERVE_SHARE", 2.0)


@pytest.mark.usefixtures("_short_time")
def test_a_shard_that_outlasts_the_function_goes_on_where_it_stopped() -> None:
    lines: list[Any] = [*shuffled()[:6], ok("r07"), bad("r00"), *shuffled()[6:]]
    lines = [line for line in lines if line != ok("r00")] + [ok("r07")]
    made = stage(lines)
    state = segments(made)
    assert state["next"] == "done"
    assert landed(made) == IDS[1:]
    assert failed(made) == {"r00": "model"}
    assert unit(made)["doubled"] == 2
    assert len(unit(made)["results"]) > 1
    assert state["counts"]["sent"] == state["counts"]["landed"] + state["counts"]["failed"]


def mixed() -> Stage:
    return stage([*[ok(one) for one in IDS[:6]], bad(IDS[6]), b"{broken"], "PartiallyCompleted")


def few() -> Stage:
    return stage([*[ok(one) for one in IDS[:8]], bad(IDS[8])], "Stopped")


def refused() -> Stage:
    return stage(None, "Failed", message="no")


def poisoned() -> Stage:
    return stage([*[ok(one) for one in IDS[6:]], *[bad(one) for one in IDS[:6]]])


@pytest.mark.parametrize(("make", "effects"), [(mixed, 7), (few, 5), (refused, 2), (poisoned, 5)])
def test_a_worker_that_dies_anywhere_and_a_retry_end_in_the_same(make: Callable[[], Stage], effects: int) -> None:
    assert_survives_kills(make, work, at_least=effects)


@pytest.mark.usefixtures("_short_time")
def test_a_worker_that_dies_between_segments_and_a_retry_end_in_the_same() -> None:
    assert_survives_kills(lambda: stage(shuffled()), segments, at_least=9)


def test_a_worker_that_outlives_its_run_says_that_the_manifest_is_behind() -> None:
    made = stage(shuffled())
    made.runs.put({"pk": run_pk(RUN), "sk": META, "status": "aborted"})
    work(made)
    assert [item["sk"] for item in made.runs.query(STALE)] == [RUN]


def test_a_ledger_that_throttles_to_the_end_hands_on_what_has_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the whole segment is read again: it ends where the ledger stopped."""
    monkeypatch.setattr("bulk_inference.batch.collect_results.CHUNK_LINES", 4)
    made = stage([ok(one) for one in IDS])
    made.ledger.throttle = lambda one: one.key.partition("#")[2] >= "r08"
    state = work(made)
    assert (state["next"], state["segment"], landed(made)) == ("collect", 2, IDS[:8])
    assert made.time.remaining >= 60, "there is time left to close the parts"
    made.ledger.throttle = lambda one: False
    made.time.remaining = 900
    state = work(made, state)
    assert (state["next"], state["counts"]["landed"], landed(made)) == ("done", 12, IDS)
    assert [part["lines"] for part in unit(made)["results"]] == [8, 4]


def test_a_ledger_that_lets_nothing_through_is_an_error_to_be_tried_again_later() -> None:
    made = stage([ok(one) for one in IDS])
    made.ledger.throttle = lambda one: True
    with pytest.raises(ThrottledError, match="throttled"):
        work(made)
    assert made.unit_context.unit(f"{SHARD}-a1") is None
    assert landed(made) == []


def test_a_job_that_was_never_made_is_an_attempt_that_counts() -> None:
    made = Stage()
    made.piece(PIECE, IDS)
    state = work(made, event(job={"Error": "States.Timeout", "Cause": ""}))
    assert (state["next"], unit(made)["spent"]) == ("submit", 1)


def test_a_job_that_failed_after_it_had_processed_records_is_salvaged_not_refused() -> None:
    """Its output may be gone, or on its way: what no line speaks of is unprocessed, as ever."""
    made = stage(None, "Failed", message="internal")
    made.jobs.set("job-1", "Failed", processed=5)
    assert work(made)["next"] == "submit"


def test_a_code_that_is_no_code_stays_out_of_items_and_messages() -> None:
    lines = [ok(one) for one in IDS[:-1]]
    error = {"recordId": IDS[-1], "modelInput": {}, "error": {"errorCode": "SECRET words", "errorMessage": "x"}}
    made = stage([*lines, error])
    work(made)
    assert [one["errorCode"] for one in made.queue.messages] == ["Unknown"]
    assert "SECRET" not in str(made.runs.items)


def test_values_of_the_corpus_stay_out_of_messages() -> None:
    made = stage([*[ok(one) for one in IDS[:-1]], bad(IDS[-1])])
    index = made.input.lines(made.places.index(PIECE))
    index = [{**line, "carry": {"name": "SECRET"}, "sequence": "SECRET"} for line in index]
    made.input.objects[made.places.index(PIECE)] = b"".join(json.dumps(line).encode() + b"\n" for line in index)
    work(made)
    (message,) = made.queue.messages
    assert "SECRET" not in json.dumps(message)
    assert "SECRET" in str(made.output.objects)
