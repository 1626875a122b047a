"""Manifests follow late outcomes: together, once, and never backwards."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError, WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import LEASE_SECONDS
from bulk_inference.core.result_line import encode
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import META, STALE, UPDATE, cut_sk, run_pk, shard_sk
from bulk_inference.failure_lane.redrive import carry_out, parse
from bulk_inference.failure_lane.reprocess import LaneMessage, reprocess
from bulk_inference.finish.updating import DETAIL_TYPE, Updated, UpdateServices, update_runs
from bulk_inference.land.late_outcomes import mark_stale, watch
from bulk_inference.land.units import Counts, Part, Unit
from bulk_inference.ledger.claims import Claim, claim_key
from tests.worlds.inference_world import NOW, RUN, Killed, freeze
from tests.worlds.redrive_world import Site
from tests.worlds.shard_world import IDS

AGAIN = "run-2"


def world(site: Site, origin: str | None = None) -> UpdateServices:
    stage = site.stage

    def spec_of(tenant: str, run: str) -> RunSpec:
        source = replace(stage.spec.source, failures_of=origin) if run == AGAIN else stage.spec.source
        return replace(stage.spec, run=run, source=source)

    return UpdateServices(
        stage.output,
        stage.runs,
        stage.ledger,
        stage.bus,
        stage.time.clock,
        spec_of,
        stage.executions,
        Assemblies(),
        stage.leases,
    )


class Assemblies:
    """Of runs that ask for no documents, none is started."""

    def start(self, name: str, request: Mapping[str, Any]) -> bool:
        raise AssertionError(name)


def land(site: Site, *numbers: int) -> None:
    for number in numbers:
        reprocess(LaneMessage.from_json(site.stage.queue.messages[number]), site.stage.unit_context)


def manifest(site: Site) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(site.stage.output.objects[site.stage.places.manifest])
    return value


def told(site: Site) -> list[dict[str, Any]]:
    return [detail for kind, detail in site.stage.bus.events if kind == DETAIL_TYPE]


def stale(site: Site) -> list[str]:
    return [item["sk"] for item in site.stage.runs.query(STALE)]


def test_any_number_of_late_landings_is_one_manifest_and_one_event() -> None:
    site = Site(failing=4)
    land(site, 0, 1, 2)
    before = site.stage.world.effects.count(f"put out-bucket {site.stage.places.manifest}")
    assert update_runs(world(site)) == Updated(stale=1, updated=1)
    assert site.stage.world.effects.count(f"put out-bucket {site.stage.places.manifest}") == before + 1
    counts = manifest(site)["counts"]
    assert (counts["landed"], counts["failed"]) == (len(IDS) - 1, 1)
    assert manifest(site)["updatedAt"]
    (detail,) = told(site)
    assert (detail["run"], detail["status"], detail["counts"]) == (RUN, "succeeded", counts)
    assert site.stage.runs.get(run_pk(RUN), META)["counts"] == counts  # type: ignore[index]
    assert b"landed <b>11</b>" in site.stage.output.objects[site.stage.places.report]
    assert stale(site) == []
    assert update_runs(world(site)) == Updated()
    assert len(told(site)) == 1


def test_a_run_that_goes_on_waits_for_its_end() -> None:
    site = Site()
    site.stage.runs.update(run_pk(RUN), META, {"status": "running"})
    land(site, 0)
    assert update_runs(world(site)) == Updated(stale=1, waiting=1)
    assert stale(site) == [RUN]
    assert told(site) == []


def test_what_finish_run_has_counted_already_is_no_news() -> None:
    site = Site()
    land(site, 0)
    site.counts()
    assert update_runs(world(site)) == Updated(stale=1)
    assert (told(site), stale(site)) == ([], [])


def test_tokens_of_answers_that_did_not_fit_reach_the_manifest_once() -> None:
    site = Site()
    before = manifest(site)["tokens"]
    unfit = {"pk": run_pk(RUN), "sk": "UNFIT#00001-a1#x", "answers": 1, "inputTokens": 7, "outputTokens": 5}
    site.stage.runs.put({**unfit, "unknownUsage": 0})
    mark_stale(RUN, "default", "unfit x 1", site.stage.runs, int(NOW) + 1)
    assert update_runs(world(site)) == Updated(stale=1, updated=1)
    assert manifest(site)["tokens"] == {**before, "input": before["input"] + 7, "output": before["output"] + 5}
    mark_stale(RUN, "default", "again", site.stage.runs, int(NOW) + 1)
    assert update_runs(world(site)) == Updated(stale=1)
    site.counts()
    mark_stale(RUN, "default", "after another finish", site.stage.runs, int(NOW) + 1)
    assert update_runs(world(site)) == Updated(stale=1)


def test_a_run_whose_files_are_gone_keeps_no_other_waiting() -> None:
    site = Site()
    land(site, 0)
    site.stage.runs.put({"pk": run_pk("a-gone"), "sk": META, "status": "succeeded"})
    for run in ("a-gone", "z-gone"):
        mark_stale(run, "default", "x", site.stage.runs, int(NOW) + 1)
    watch(RUN, "default", "a-gone", site.stage.runs, int(NOW) + 1)
    watch("a-gone", "default", "a-gone", site.stage.runs, int(NOW) + 1)
    there = world(site)

    def spec_of(tenant: str, run: str) -> RunSpec:
        if run != RUN:
            raise InvalidRequestError(f"{run} was never planned")
        return there.spec_of(tenant, run)

    with pytest.raises(ExceptionGroup) as told:
        update_runs(replace(there, spec_of=spec_of))
    assert [error.__notes__ for error in told.value.exceptions] == [["run a-gone"], ["run a-gone"]]
    assert manifest(site)["counts"]["landed"] == len(IDS) - 2
    assert stale(site) == ["a-gone", "a-gone#a-gone", "z-gone"]


def test_a_run_that_was_aborted_stays_aborted() -> None:
    site = Site()
    site.stage.runs.update(run_pk(RUN), META, {"status": "aborted"})
    land(site, 0)
    update_runs(world(site))
    assert manifest(site)["status"] == told(site)[0]["status"] == "aborted"


def test_a_late_outcome_that_breaks_the_sums_is_said() -> None:
    site = Site()
    land(site, 0)
    part = next(key for key in site.stage.output.objects if "part-reprocess-" in key)
    del site.stage.output.objects[part]
    update_runs(world(site))
    assert manifest(site)["status"] == "inconsistent"
    assert "part-reprocess-" in manifest(site)["problems"][0]


def test_a_landing_between_sums_and_mark_is_not_forgotten() -> None:
    site = Site()
    land(site, 0)
    real = site.stage.bus.put

    def put(detail_type: str, detail: Mapping[str, Any]) -> None:
        if not told(site):
            land(site, 1)
        real(detail_type, detail)

    site.stage.bus.put = put  # type: ignore[method-assign]
    update_runs(world(site))
    assert stale(site) == [RUN]
    update_runs(world(site))
    assert [detail["counts"]["failed"] for detail in told(site)] == [2, 1]
    assert stale(site) == []


def test_of_two_updates_the_one_that_was_frozen_cannot_write_over_the_later_sums() -> None:
    """Wherever it was frozen: its lease has lapsed, and what it wants to write names an older epoch."""
    number, reached = 0, True
    while reached:
        number += 1
        site = Site()
        land(site, 0)

        def overtake(site: Site = site) -> None:
            site.stage.time.now += LEASE_SECONDS
            land(site, 1)
            update_runs(world(site))

        frozen = freeze(site.stage.world, number, overtake)
        with suppress(WorkInProgressError):
            update_runs(world(site))
        reached = frozen()
        if reached:
            for _ in range(2):
                site.stage.time.now += LEASE_SECONDS
                update_runs(world(site))
            assert manifest(site)["counts"]["failed"] == 1, number
            assert site.stage.runs.get(run_pk(RUN), META)["counts"]["failed"] == 1, number  # type: ignore[index]
            assert stale(site) == []
    assert number > 8


def test_marks_that_say_the_same_are_two() -> None:
    """A landing between the look of an update and its end must not be hidden by the mark of another one before it."""
    site = Site()
    land(site, 0)
    put, marked = site.stage.bus.put, list[int]()

    def again(detail_type: str, detail: Mapping[str, Any]) -> None:
        put(detail_type, detail)
        if not marked:
            marked.append(1)
            (item,) = site.stage.runs.query(STALE)
            land(site, 1)
            mark_stale(RUN, "default", item["mark"], site.stage.runs, int(NOW) + 10**6)

    site.stage.bus.put = again  # type: ignore[method-assign]
    update_runs(world(site))
    assert stale(site) == [RUN]
    update_runs(world(site))
    assert (manifest(site)["counts"]["failed"], stale(site)) == (1, [])


def test_an_update_that_dies_anywhere_is_made_good_by_the_next() -> None:
    calm = Site()
    land(calm, 0, 1)
    calm.stage.world.effects.clear()
    update_runs(world(calm))
    effects = len(calm.stage.world.effects)
    assert effects >= 6
    for number in range(1, effects + 1):
        site = Site()
        land(site, 0, 1)
        site.stage.world.effects.clear()
        site.stage.world.kill_at = number
        with pytest.raises(Killed):
            update_runs(world(site))
        site.stage.world.revive()
        update_runs(world(site))
        assert manifest(site)["counts"] == manifest(calm)["counts"]
        assert site.stage.runs.get(run_pk(RUN), META)["counts"] == manifest(calm)["counts"]  # type: ignore[index]
        assert 1 <= len(told(site)) <= 2
        assert stale(site) == []


# Records that another run landed.


def resubmitted(site: Site, *ids: str, settled: bool = True, status: str = "succeeded") -> str:
    """The resubmission's end: it has claimed these records, by a unit that is settled or not."""
    name = site.go("resubmit", run=RUN, **{"as": AGAIN})["as"]
    for one in ids:
        key = claim_key("default", site.stage.spec.scope, one)
        site.stage.ledger.claims[key] = Claim(key, f"{AGAIN}/00001-a1", AGAIN, int(NOW) + 10**6)
    site.stage.runs.put(Unit("00001-a1", "job", {}, settled=settled).item(AGAIN, 0))
    site.stage.runs.put({"pk": run_pk(AGAIN), "sk": META, "run": AGAIN, "tenant": "default", "status": status})
    return str(name)


def test_what_a_resubmission_landed_leaves_the_first_runs_failures() -> None:
    site = Site()
    resubmitted(site, IDS[0], IDS[1])
    assert update_runs(world(site)) == Updated(stale=1, updated=1, settled=2)
    counts = manifest(site)["counts"]
    assert (counts["landed"], counts["failed"], counts["resubmitted"]) == (len(IDS) - 3, 1, 2)
    items = list(site.stage.runs.query(run_pk(RUN), "LATE#"))
    assert {(item["outcome"], item["landedIn"]) for item in items} == {("resubmitted", AGAIN)}
    # The resubmission may have failed records that this one's lane lands: it is looked at once.
    assert stale(site) == [f"{AGAIN}#{RUN}"]
    update_runs(world(site))
    assert stale(site) == []
    # Its message, redriven, finds the record settled.
    assert reprocess(LaneMessage.from_json(site.stage.queue.messages[0]), site.stage.unit_context) == "settled"


@pytest.mark.parametrize("change", [{"settled": False}, {"status": "running"}])
def test_a_claim_alone_settles_nothing(change: dict[str, Any]) -> None:
    """The worker may have died between claim and part, and a run that goes on has not said its last."""
    site = Site()
    resubmitted(site, IDS[0], **change)
    assert update_runs(world(site)).settled == 0
    assert site.failed() == IDS[:3]


def test_a_claim_of_the_run_itself_settles_nothing() -> None:
    site = Site()
    resubmitted(site)
    key = claim_key("default", site.stage.spec.scope, IDS[0])
    site.stage.ledger.claims[key] = Claim(key, f"{RUN}/00001-a1", RUN, int(NOW) + 10**6)
    assert update_runs(world(site)).settled == 0


def test_a_late_landing_in_a_resubmission_settles_the_first_run_too() -> None:
    site = Site()
    resubmitted(site, IDS[0])
    update_runs(world(site, RUN))
    mark_stale(AGAIN, "default", "m", site.stage.runs, 1)
    line = b'{"recordId":"%s","modelOutput":{}}\n' % IDS[1].encode()
    site.stage.output.put(Places("default", AGAIN).results("reprocess-x"), line)
    key = claim_key("default", site.stage.spec.scope, IDS[1])
    site.stage.ledger.claims[key] = Claim(key, f"{AGAIN}/reprocess-x", AGAIN, int(NOW) + 10**6)
    update_runs(world(site, RUN))
    assert stale(site) == [f"{RUN}#{AGAIN}"]
    assert update_runs(world(site, RUN)).settled == 1
    assert manifest(site)["counts"]["resubmitted"] == 2


def family(site: Site, **origins: str | None) -> UpdateServices:
    """Runs and what they were made from."""
    stage = site.stage

    def spec_of(tenant: str, run: str) -> RunSpec:
        source = replace(stage.spec.source, failures_of=origins.get(run.replace("-", "_")))
        return replace(stage.spec, run=run, source=source)

    return replace(world(site), spec_of=spec_of)


def ended(site: Site, run: str, *, landed: Sequence[str] = (), failed: Sequence[str] = ()) -> None:
    """What the units of a resubmission leave: a settled unit, its claims, its parts."""
    stage, places = site.stage, Places("default", run)
    source = {one["recordId"]: one["source"] for one in stage.input.lines(stage.places.index("00001-001"))}
    unit = Unit(
        "00001-a1", "job", {"00001-001": Counts(len(landed) + len(failed), len(landed), len(failed))}, settled=True
    )
    for one in landed:
        key = claim_key("default", stage.spec.scope, one)
        stage.ledger.claims[key] = Claim(key, f"{run}/00001-a1", run, int(NOW) + 10**6)
    for key, ids, parts in (
        (places.results("00001"), landed, unit.results),
        (places.failures("00001"), failed, unit.failures),
    ):
        lines = [{"recordId": one, "modelOutput": {}, "errorClass": "model", "source": source[one]} for one in ids]
        stage.output.objects[key] = b"".join(encode(line) for line in lines)
        parts.append(Part(key, len(stage.output.objects[key]), len(ids)))
    number = len(landed) + len(failed)
    stage.runs.put(unit.item(run, 0))
    counts = {"read": number, "accepted": number, "rejected": 0, "duplicate": 0}
    stage.runs.put({"pk": run_pk(run), "sk": cut_sk("00001"), "cut": "00001", **counts})
    shard = {"shard": "00001", "piece": "00001-001", "mode": "batch", "accepted": number}
    stage.runs.put({"pk": run_pk(run), "sk": shard_sk("00001"), **shard})
    stage.runs.put({"pk": run_pk(run), "sk": META, "run": run, "tenant": "default", "status": "succeeded"})


def counts_of(site: Site, run: str) -> tuple[int, int]:
    counts = site.stage.runs.items[run_pk(run), META]["counts"]
    return counts["failed"], counts["resubmitted"]


def resubmission(site: Site, services: UpdateServices, run: str, name: str) -> None:
    site.stage.input.objects[Places("default", run).cuts("x")] = b""
    told = carry_out(
        parse({"action": "resubmit", "run": run, "as": name}), replace(site.world, spec_of=services.spec_of)
    )
    assert told["state"] == "started"


def test_what_a_resubmission_of_a_resubmission_lands_settles_every_run_before_it() -> None:
    site = Site()
    services = family(site, run_2=RUN, run_3="run-2", run_4="run-3")
    resubmission(site, services, RUN, "run-2")
    ended(site, "run-2", landed=IDS[1:3], failed=IDS[:1])
    update_runs(services)
    assert counts_of(site, RUN) == (1, 2)
    resubmission(site, services, "run-2", "run-3")
    ended(site, "run-3", failed=IDS[:1])
    resubmission(site, services, "run-3", "run-4")
    ended(site, "run-4", landed=IDS[:1])
    for _ in range(4):
        update_runs(services)
    assert [counts_of(site, run) for run in (RUN, "run-2", "run-3")] == [(0, 3), (0, 1), (0, 1)]
    (item,) = [one for one in site.stage.runs.query(run_pk(RUN), "LATE#") if one["recordId"] == IDS[0]]
    assert item["landedIn"] == "run-4"
    assert stale(site) == []
    again = carry_out(parse({"action": "resubmit", "run": RUN}), replace(site.world, spec_of=services.spec_of))
    assert again["resubmitted"] == 0


def test_what_the_first_runs_lane_lands_settles_its_resubmissions() -> None:
    site = Site()
    services = family(site, run_2=RUN, run_3="run-2")
    resubmission(site, services, RUN, "run-2")
    ended(site, "run-2", failed=IDS[:3])
    resubmission(site, services, "run-2", "run-3")
    ended(site, "run-3", failed=IDS[:3])
    for _ in range(4):
        update_runs(services)
    land(site, 0)
    for _ in range(4):
        update_runs(services)
    assert [counts_of(site, run) for run in (RUN, "run-2", "run-3")] == [(2, 0), (2, 1), (2, 1)]


def test_a_record_that_was_dropped_while_its_resubmission_ran_has_landed() -> None:
    """Its result line is there, and who reads results must not be told that it is not."""
    site = Site()
    name = site.go("resubmit", run=RUN, **{"as": AGAIN})["as"]
    assert site.go("drop", run=RUN, reason="given up")["dropped"] == 3
    ended(site, name, landed=IDS[:1], failed=IDS[1:3])
    update_runs(world(site, RUN))
    counts = manifest(site)["counts"]
    assert (counts["dropped"], counts["resubmitted"], counts["failed"]) == (2, 1, 0)


def test_no_two_marks_are_alike() -> None:
    """An update that is slow must not take away what was marked since it looked, however alike the reasons are."""
    site = Site()
    runs = site.stage.runs
    first = mark_stale(RUN, "default", "drop", runs, 1)
    assert mark_stale(RUN, "default", "drop", runs, 1) != first
    assert not runs.delete_if(STALE, RUN, "mark", first)
    watch(RUN, "default", AGAIN, runs, 1)
    watched = runs.items[STALE, f"{RUN}#{AGAIN}"]["mark"]
    watch(RUN, "default", AGAIN, runs, 1)
    assert runs.items[STALE, f"{RUN}#{AGAIN}"]["mark"] != watched


def test_a_landing_while_two_updates_overlap_is_not_forgotten() -> None:
    """The slow one looked before the landing; the quick one has taken the mark away; the same mark came again."""
    site = Site(failing=2)
    mark_stale(RUN, "default", "unit 1", site.stage.runs, 1)
    put, meddled = site.stage.runs.delete_if, [False]

    def delete_if(pk: str, sk: str, attribute: str, expected: str | int) -> bool:
        if not meddled[0]:
            meddled[0] = True
            update_runs(world(site))
            land(site, 0)
            site.stage.runs.items[STALE, RUN]["mark"] = mark_stale(RUN, "default", "unit 1", site.stage.runs, 1)
        return put(pk, sk, attribute, expected)

    site.stage.runs.delete_if = delete_if  # type: ignore[method-assign]
    update_runs(world(site))
    assert stale(site) == [RUN]
    update_runs(world(site))
    assert manifest(site)["counts"]["failed"] == 1
    assert stale(site) == []


def test_marks_of_an_older_bundle_are_followed() -> None:
    site = Site(failing=2)
    land(site, 0)
    for key in [key for key in site.stage.runs.items if key[0] == STALE]:
        del site.stage.runs.items[key]
    site.stage.runs.put({"pk": STALE, "sk": RUN, "run": RUN, "tenant": "default", "mark": "abc", "expires_at": 1})
    other = {"other": AGAIN, "mark": AGAIN}
    site.stage.runs.put(
        {"pk": STALE, "sk": f"{RUN}#{AGAIN}", "run": RUN, "tenant": "default", "expires_at": 1, **other}
    )
    site.stage.runs.put({"pk": run_pk(AGAIN), "sk": META, "run": AGAIN, "tenant": "default", "status": "succeeded"})
    update_runs(world(site))
    assert stale(site) == []


def test_settling_elsewhere_that_dies_anywhere_is_made_good() -> None:
    calm = Site()
    resubmitted(calm, *IDS[:3])
    calm.stage.world.effects.clear()
    update_runs(world(calm))
    effects = len(calm.stage.world.effects)
    for number in range(1, effects + 1):
        site = Site()
        resubmitted(site, *IDS[:3])
        site.stage.world.effects.clear()
        site.stage.world.kill_at = number
        with pytest.raises(Killed):
            update_runs(world(site))
        site.stage.world.revive()
        for _ in range(2):
            update_runs(world(site))
        assert manifest(site)["counts"]["resubmitted"] == 3
        assert stale(site) == []
        assert (run_pk(RUN), UPDATE) in site.stage.runs.items


def test_an_aborted_run_stays_aborted_and_counts_what_has_landed_since() -> None:
    """Its sums need not hold: nothing is made of that."""
    site = Site(failing=2)
    site.stage.runs.update(run_pk(RUN), META, {"status": "aborted"})
    site.stage.runs.items.pop((run_pk(RUN), "CUT#00001"))
    land(site, 0)
    assert update_runs(world(site)).updated == 1
    found = manifest(site)
    assert (found["status"], found["problems"], found["counts"]["landed"]) == ("aborted", [], len(IDS) - 1)


def test_a_watch_that_is_set_again_while_it_is_followed_is_followed_again() -> None:
    site = Site()
    resubmitted(site, IDS[0])
    query, met = site.stage.runs.query, list[int]()

    def slow(pk: str, prefix: str = "") -> Any:
        if prefix == "LATE#" and not met:
            met.append(1)
            watch(RUN, "default", AGAIN, site.stage.runs, int(NOW) + 10**6)
        return query(pk, prefix)

    site.stage.runs.query = slow  # type: ignore[assignment, method-assign]
    update_runs(world(site))
    assert f"{RUN}#{AGAIN}" in stale(site)
    for _ in range(2):
        update_runs(world(site))
    assert stale(site) == []
