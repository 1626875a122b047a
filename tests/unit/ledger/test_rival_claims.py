"""Claims of other runs of a scope: which of them stand, and which a later run may take over."""

from collections.abc import Sequence
from typing import Any

import pytest

from bulk_inference.batch.collect_results import ShardTask, collect
from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import LEASE_SECONDS
from bulk_inference.core.runs_table import META, run_pk, unit_sk
from bulk_inference.ledger.claims import Claim, ClaimStanding, claim_key
from bulk_inference.ledger.rival_claims import LandedClaims, RivalClaims
from bulk_inference.render.records import RecordReader
from tests.worlds.inference_world import NOW, REACH, RUN, Stage
from tests.worlds.shard_world import IDS, event, landed, shuffled
from tests.worlds.shard_world import stage as shard

DEAD, ARN = "run-0", "arn:run-0"
LONG_AGO = NOW - 10
PLACES = Places("default", DEAD)


def stage(ended: float | None = LONG_AGO) -> Stage:
    made = Stage()
    made.runs.put({"pk": run_pk(DEAD), "sk": META, "executionArn": ARN})
    if ended is not None:
        made.executions.end(ARN, at=ended)
    return made


def judge(made: Stage, record_id: str = "a", unit: str = "sync-x", run: str = DEAD) -> ClaimStanding:
    return rivals(made)(claim(record_id, unit, run))


def rivals(made: Stage) -> RivalClaims:
    return RivalClaims(
        "default", RUN, output=made.output, runs=made.runs, executions=made.executions, leases=made.leases
    )


def claim(record_id: str = "a", unit: str = "sync-x", run: str = DEAD, epoch: int = 0) -> Claim:
    return Claim(claim_key("default", "s", record_id), f"{run}/{unit}", run, int(NOW) + 10, epoch)


def part(made: Stage, name: str, *record_ids: str) -> None:
    body = b"".join(b'{"recordId":"%s","modelOutput":{}}\n' % one.encode() for one in record_ids)
    made.output.put(PLACES.results(name), body)


def test_a_claim_of_a_dead_run_that_did_not_land_the_record_is_free() -> None:
    assert judge(stage()) is ClaimStanding.FREE


def test_a_claim_of_a_run_that_goes_on_stands() -> None:
    assert judge(stage(ended=None)) is ClaimStanding.HELD


def test_a_claim_is_undecided_while_a_worker_has_the_lease_of_its_unit_and_free_when_that_has_lapsed() -> None:
    made = stage()
    made.leases.acquire(DEAD, "sync-x")
    assert judge(made) is ClaimStanding.UNDECIDED
    made.time.now += LEASE_SECONDS
    assert judge(made) is ClaimStanding.FREE


def test_a_worker_that_was_frozen_can_neither_write_nor_commit_once_its_claims_are_judged() -> None:
    made = stage()
    made.runs.put({"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "outcomes": "..", "flushes": {}, "results": []})
    frozen = made.leases.acquire(DEAD, "sync-x")
    key = PLACES.results(frozen.part("sync-x-000"))
    made.time.now += LEASE_SECONDS
    assert judge(made) is ClaimStanding.FREE
    with pytest.raises(WorkInProgressError):
        made.output.create(key, b"late")
    with pytest.raises(WorkInProgressError):
        frozen.commit()


def test_what_a_judge_has_found_holds_for_no_worker_that_came_later() -> None:
    """The dead run is redriven after the judgement: its new worker makes the claim its own, and lands."""
    made = stage()
    one = rivals(made)
    assert one(claim(epoch=0)) is ClaimStanding.FREE
    later = made.leases.acquire(DEAD, "sync-x")
    assert one(claim(epoch=later.epoch)) is ClaimStanding.UNDECIDED
    part(made, "sync-x-000", "a")
    later.release()
    assert one(claim(epoch=later.epoch)) is ClaimStanding.HELD


@pytest.mark.parametrize(
    ("unit", "name", "expected"),
    [
        ("sync-x", "sync-x-000", ClaimStanding.HELD),
        ("sync-x", "sync-x-004-f2", ClaimStanding.HELD),
        ("sync-x", "sync-xy-000", ClaimStanding.FREE),
        ("00001-a1", "00001", ClaimStanding.HELD),
        ("00001-a1", "00001-s2", ClaimStanding.HELD),
        ("00001-a1", "00001-a2", ClaimStanding.FREE),
        ("00001-a2", "00001-a2-s3", ClaimStanding.HELD),
        ("00001-a2", "00001", ClaimStanding.FREE),
    ],
)
def test_what_lies_in_a_part_of_the_unit_has_landed_whether_noted_or_not(
    unit: str, name: str, expected: ClaimStanding
) -> None:
    """The worker may have died after it wrote the part and before it noted so: taking over would land it twice."""
    made = stage()
    part(made, name, "b", "a")
    assert judge(made, unit=unit) is expected
    assert judge(made, "c", unit=unit) is ClaimStanding.FREE


def test_an_id_that_travels_under_an_alias_is_found_by_the_callers_id() -> None:
    made = stage()
    reader = RecordReader(id_field=None, sequence_field=None, renderer=None, max_line_bytes=10_000, reach=REACH)
    record = reader.read('{"recordId": "Zürich 7", "modelInput": {"messages": []}}'.encode())
    assert record.record_id != record.original_id == "Zürich 7"
    part(made, "sync-x-000", "Zürich 7")
    assert judge(made, record.record_id) is ClaimStanding.HELD


def test_a_settled_unit_keeps_its_claims_without_a_look_at_its_parts() -> None:
    made = stage()
    made.runs.put({"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "settled": True})
    assert judge(made) is ClaimStanding.HELD


def test_of_a_settled_unit_that_had_a_dead_worker_what_landed_is_read() -> None:
    """The dead worker may have claimed once more after another one had failed the record, and given its claim back."""
    made = stage()
    made.runs.put({"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "settled": True, "generation": 1})
    part(made, "sync-x-000-t1", "b")
    assert judge(made) is ClaimStanding.FREE
    assert judge(made, "b") is ClaimStanding.HELD


def test_a_claim_of_the_failure_lane_stands_while_its_worker_lives_or_if_it_has_landed() -> None:
    """Its workers go on after the run's execution, so that its end says nothing of them; a dead one's claim must not
    shadow the record until it expires."""
    made = stage(ended=None)
    lease = made.leases.acquire(DEAD, "reprocess-abc")
    assert judge(made, unit="reprocess-abc") is ClaimStanding.UNDECIDED
    made.time.now += LEASE_SECONDS
    assert judge(made, unit="reprocess-abc") is ClaimStanding.FREE
    part(made, "reprocess-abc-t1", "a")
    assert judge(made, unit="reprocess-abc") is ClaimStanding.HELD
    assert lease.epoch == 1


def test_a_claim_is_no_landing() -> None:
    made = stage()
    landed_claims = LandedClaims("default", output=made.output, runs=made.runs)
    assert not landed_claims.has(claim()), "its unit is not even begun"
    made.runs.put({"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "settled": False})
    assert not landed_claims.has(claim())
    assert not landed_claims.has(claim(unit="reprocess-abc"))
    made.runs.put({"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "settled": True})
    part(made, "reprocess-def", "a")
    assert landed_claims.has(claim())
    assert landed_claims.has(claim(unit="reprocess-def"))
    assert not landed_claims.has(claim("b", unit="reprocess-def"))


def test_claims_of_the_own_run_stand() -> None:
    assert judge(stage(), run=RUN) is ClaimStanding.HELD


def test_a_run_that_is_no_longer_known_is_over() -> None:
    made = Stage()
    assert judge(made) is ClaimStanding.FREE
    made = stage(ended=None)
    made.executions.known[ARN] = None
    assert judge(made) is ClaimStanding.FREE


@pytest.mark.parametrize(
    ("settled", "in_part", "expected"),
    [(False, [], 12), (False, ["r05"], 11), (True, [], 11)],
)
def test_a_later_run_lands_what_a_dead_one_claimed_and_did_not_land(
    settled: bool, in_part: Sequence[str], expected: int
) -> None:
    made: Stage = shard(shuffled())
    made.runs.put({"pk": run_pk(DEAD), "sk": META, "executionArn": ARN})
    made.executions.end(ARN, at=LONG_AGO)
    item: dict[str, Any] = {"pk": run_pk(DEAD), "sk": unit_sk("sync-x"), "settled": settled}
    made.runs.put(item)
    key = claim_key("default", made.spec.scope, "r05")
    made.ledger.claims[key] = Claim(key, f"{DEAD}/sync-x", DEAD, int(NOW) + 10_000)
    if in_part:
        part(made, "sync-x-000", *in_part)
    counts = collect(ShardTask.from_event(event()), made.unit_context)["counts"]
    assert (counts["landed"], counts["duplicate"]) == (expected, 12 - expected)
    assert len(landed(made)) == expected
    assert ("r05" in landed(made)) == (expected == len(IDS))
