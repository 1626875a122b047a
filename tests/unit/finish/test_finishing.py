"""The end of a run: sums, manifest, event; said once, and the same when asked again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.batch.collect_results import ShardTask, collect
from bulk_inference.core.errors import ConservationError, IncompleteRunError, InvalidRequestError
from bulk_inference.core.runs_table import LEASE, LIVE, META, cut_sk, run_pk, shard_sk, unit_sk
from bulk_inference.failure_lane.reprocess import LaneMessage, reprocess
from bulk_inference.finish.conservation import Account
from bulk_inference.finish.finishing import DETAIL_TYPE, finish, status_of
from tests.worlds.finished_world import go, stage
from tests.worlds.inference_world import RUN, Killed, Stage, assert_survives_kills, finish_services, make_spec
from tests.worlds.shard_world import IDS, SHARD, bad, event, ok
from tests.worlds.shard_world import stage as collected

TOKENS = {"input": 33, "output": 22, "cacheRead": 0, "cacheWrite": 0, "reasoning": 0, "unknown": 0}


def go_on(made: Stage) -> dict[str, Any]:
    return finish(made.spec, finish_services(made), more=True)


def manifest(made: Stage) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(made.output.objects[made.places.manifest])
    return value


def test_a_run_that_conserves_succeeds_and_says_so_once() -> None:
    made = stage()
    detail = go(made)
    counts = {"read": 14, "accepted": 12, "landed": 11, "failed": 1, "rejected": 1, "duplicate": 1, "pending": 0}
    counts |= {"resubmitted": 0, "dropped": 0}
    assert detail == {
        "run": RUN,
        "tenant": "default",
        "scope": RUN,
        "status": "succeeded",
        "counts": counts,
        "rejections": {"unknown": 1},
        "manifest": {"bucket": "out-bucket", "key": "default/runs/run-1/manifest.json"},
    }
    assert made.bus.events == [(DETAIL_TYPE, detail)]
    told = manifest(made)
    assert (told["status"], told["counts"], told["tokens"]) == ("succeeded", counts, TOKENS)
    assert told["seconds"] == 60
    assert told["shards"][0]["landed"] == 11
    assert told["errors"] == [{"errorClass": "model", "errorCode": "500", "count": 1, "recordId": "r00"}]
    assert made.runs.get(run_pk(RUN), META)["status"] == "succeeded"  # type: ignore[index]


def test_a_second_call_changes_nothing_and_announces_nothing() -> None:
    made = stage()
    first = go(made)
    before = made.state()
    made.time.now += 1000
    assert go(made) == first
    assert made.state() == before
    assert len(made.bus.events) == 1


def test_no_word_of_a_record_is_in_manifest_report_or_event() -> None:
    made = stage()
    go(made)
    everything = json.dumps(made.bus.events).encode() + made.output.objects[made.places.report]
    assert b"said r" not in everything + made.output.objects[made.places.manifest]
    assert b"no r00" not in everything + made.output.objects[made.places.manifest]


def test_a_late_landing_moves_from_failed_to_landed_and_the_sums_hold() -> None:
    made = stage()
    go(made)
    reprocess(LaneMessage.from_json(made.queue.messages[0]), made.unit_context)
    detail = go(made)
    assert (detail["counts"]["landed"], detail["counts"]["failed"]) == (12, 0)
    assert manifest(made)["late"] == 1


def test_a_result_part_that_is_gone_is_named() -> None:
    made = stage()
    del made.output.objects[made.places.results(SHARD)]
    with pytest.raises(ConservationError, match=r"results/part-00001\.jsonl: no bytes in S3"):
        go(made)
    assert manifest(made)["status"] == "inconsistent"
    assert made.bus.events == []
    assert made.runs.get(run_pk(RUN), META)["status"] == "inconsistent"  # type: ignore[index]


def test_a_result_part_of_nobody_is_named() -> None:
    made = stage()
    made.output.objects[made.places.results("stray")] = b"{}\n"
    with pytest.raises(ConservationError, match="part-stray"):
        go(made)


def reprocessing_dies(made: Stage) -> None:
    """Right after the record's result, before the item that says so."""
    died_at = len(made.world.effects) + 3
    made.world.kill_at = died_at
    with pytest.raises(Killed):
        reprocess(LaneMessage.from_json(made.queue.messages[0]), made.unit_context)
    assert made.world.effects[-1].startswith(f"put out-bucket {made.places.results('reprocess-')[:-6]}")
    made.world.revive()


def test_a_record_that_is_being_reprocessed_is_no_contradiction() -> None:
    """Its message comes again after minutes: the run's end must not wait for it, nor call the run inconsistent."""
    made = stage()
    reprocessing_dies(made)
    detail = go(made)
    assert (detail["status"], detail["counts"]["failed"], detail["counts"]["landed"]) == ("succeeded", 1, 11)
    reprocess(LaneMessage.from_json(made.queue.messages[0]), made.unit_context)
    assert go(made)["counts"]["landed"] == 12


def test_more_reprocessed_parts_than_failed_records_are_a_contradiction() -> None:
    made = stage(failing=0)
    made.output.objects[made.places.results("reprocess-stray")] = b"{}\n"
    with pytest.raises(ConservationError, match="part-reprocess-stray"):
        go(made)


def test_sums_that_do_not_hold_are_named_by_shard_and_numbers() -> None:
    made = stage()
    made.runs.items[(run_pk(RUN), shard_sk(SHARD))]["accepted"] = 13
    with pytest.raises(ConservationError, match="unit 00001-a1: sent 12 records, but 13 were due"):
        go(made)


def test_a_part_written_while_the_run_is_added_up_is_no_inconsistency() -> None:
    """The listing is older than the items: what is in the items only is looked for by its key."""
    made = stage()
    key = made.places.results(SHARD)
    real = made.output.list

    def stale(prefix: str, *, limit: int | None = None) -> Any:
        return (one for one in real(prefix) if one.key != key or prefix == key)

    made.output.list = stale  # type: ignore[method-assign]
    assert go(made)["status"] == "succeeded"


def test_records_that_no_unit_took_make_the_run_incomplete() -> None:
    made = stage()
    made.runs.put(
        {"pk": run_pk(RUN), "sk": shard_sk("00002"), "mode": "batch", "piece": "p", "accepted": 5, "duplicate": 0}
    )
    cut = made.runs.items[(run_pk(RUN), cut_sk("00001"))]
    cut["read"], cut["accepted"] = 19, 17
    with pytest.raises(IncompleteRunError, match="5 records are pending"):
        go(made)
    assert (manifest(made)["status"], manifest(made)["counts"]["pending"]) == ("incomplete", 5)
    assert made.bus.events == [], "stop_run announces it, and says why"


def dies_for_good(before: str) -> Stage:
    """A run whose only worker died right before an effect, and was never tried again."""
    made = stage()
    del made.runs.items[(run_pk(RUN), unit_sk(f"{SHARD}-a1"))]
    made.output.objects = {key: body for key, body in made.output.objects.items() if "/runs/" not in key}
    made.queue.messages.clear()
    made.ledger.claims.clear()
    made.runs.items = {key: item for key, item in made.runs.items.items() if key[1] != LEASE}
    calm = stage_effects()
    made.world.kill_at = next(at for at, effect in enumerate(calm) if effect.startswith(before))
    with pytest.raises(Killed):
        collect(ShardTask.from_event(event()), made.unit_context)
    made.world.revive()
    return made


def stage_effects() -> list[str]:
    made = collected([bad(IDS[0]), *[ok(one) for one in IDS[1:]]])
    made.spec = replace(made.spec, settings=replace(make_spec().settings, tolerated_failure_percentage=100))
    collect(ShardTask.from_event(event()), made.unit_context)
    return made.world.effects


def test_what_a_dead_worker_has_landed_and_not_noted_counts_as_landed() -> None:
    """Its unit died within the tolerance: the lines are there, the failed record is for a redrive to decide."""
    made = dies_for_good("transaction LEASE UNIT")
    assert made.output.objects[made.places.results(SHARD)]
    with pytest.raises(IncompleteRunError):
        go(made)
    told = manifest(made)
    assert told["problems"] == []
    assert (told["status"], told["counts"]["landed"], told["counts"]["pending"]) == ("incomplete", 11, 1)
    assert (told["shards"][0]["landed"], told["shards"][0]["pending"]) == (11, 1)
    assert (told["results"]["parts"], told["tokens"]) == (1, TOKENS)
    collect(ShardTask.from_event(event()), made.unit_context)
    detail = go(made)
    assert (detail["status"], detail["counts"]["landed"], detail["counts"]["failed"]) == ("succeeded", 11, 1)


def test_what_the_lane_settles_of_a_dead_worker_was_pending() -> None:
    """A worker of an older bundle sent the message before it noted the failure."""
    made = dies_for_good("transaction LEASE UNIT")
    reprocess(LaneMessage.from_json(stage().queue.messages[0]), made.unit_context)
    detail = go(made)
    assert (detail["status"], detail["counts"]["landed"], detail["counts"]["failed"]) == ("succeeded", 12, 0)
    collect(ShardTask.from_event(event()), made.unit_context)
    assert go(made)["counts"] == detail["counts"]


def test_a_part_that_holds_more_than_its_unit_has_open_is_named() -> None:
    made = dies_for_good("transaction LEASE UNIT")
    made.output.objects[made.places.results(f"{SHARD}-s2")] = b"".join(
        json.dumps({"recordId": f"x{number}"}).encode() + b"\n" for number in range(9)
    )
    with pytest.raises(ConservationError, match="no unit says that it wrote it"):
        go(made)


def test_a_redriven_run_with_pending_records_goes_back_to_inference() -> None:
    made = dies_for_good("transaction LEASE UNIT")
    made.runs.items[(run_pk(RUN), META)] |= {"expires_at": 7}
    with pytest.raises(IncompleteRunError):
        go(made)
    detail = go_on(made)
    assert detail["status"] == "running"
    assert made.runs.get(run_pk(RUN), META)["status"] == "running"  # type: ignore[index]
    assert made.runs.get(LIVE, RUN) is not None, "reconciliation looks after it again"
    collect(ShardTask.from_event(event()), made.unit_context)
    detail = go_on(made)
    assert detail["status"] == "succeeded"


def test_an_empty_corpus_ends_with_zeros_and_says_so() -> None:
    made = Stage()
    made.runs.put({"pk": run_pk(RUN), "sk": META, "run": RUN, "status": "running"})
    detail = go(made)
    assert detail["status"] == "empty"
    assert set(detail["counts"].values()) == {0}


def test_a_run_that_was_never_planned_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="never planned"):
        go(Stage())


def test_names_from_outside_cannot_write_into_the_report() -> None:
    made = stage()
    made.spec = replace(made.spec, scope="<script>alert(1)</script>")
    made.runs.items[(run_pk(RUN), META)]["status"] = "running"
    go(made)
    assert b"<script>" not in made.output.objects[made.places.report]


def test_a_worker_that_dies_anywhere_and_a_retry_end_in_the_same() -> None:
    assert_survives_kills(stage, go, at_least=4)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, "empty"),
        ({"read": 3, "duplicate": 3}, "unchanged"),
        ({"read": 3, "rejected": 3}, "rejected"),
        ({"read": 3, "accepted": 3, "failed": 3}, "nothing_landed"),
        ({"read": 3, "accepted": 3, "pending": 3}, "incomplete"),
        ({"read": 3, "accepted": 3, "failed": 2, "landed": 1}, "succeeded"),
        ({"read": 3, "accepted": 3, "dropped": 3}, "succeeded"),
    ],
)
def test_a_run_from_which_nothing_came_is_no_success(counts: dict[str, int], status: str) -> None:
    summed = Account()
    for name, number in counts.items():
        setattr(summed, name, number)
    assert status_of(summed, []) == status
