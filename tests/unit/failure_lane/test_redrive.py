"""Redrive, resubmit, drop: each once or twice, killed anywhere, with the same end."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import Source
from bulk_inference.core.runs_table import META, RESUBMISSIONS, STALE, run_pk
from bulk_inference.corpus.ranges import CutRange, pack_ranges
from bulk_inference.corpus.reader import part_rows
from bulk_inference.failure_lane.redrive import parse
from bulk_inference.failure_lane.reprocess import LaneMessage, reprocess
from bulk_inference.finish.finishing import finish
from bulk_inference.land.late_outcomes import LateServices, failed_records, settle
from bulk_inference.land.units import Late
from tests.worlds.inference_world import RUN, FakeOutcome, Killed, finish_services
from tests.worlds.redrive_world import CORPUS, Site
from tests.worlds.shard_world import IDS


def outcomes(site: Site) -> list[tuple[str, str]]:
    return sorted((one["recordId"], one["outcome"]) for one in site.stage.runs.query(run_pk(RUN), "LATE#"))


# Requests.


def test_every_problem_of_a_request_is_named() -> None:
    with pytest.raises(InvalidRequestError) as told:
        parse(
            {"action": "drop", "run": "a b", "reason": "x", "tenent": "t", "error_classes": ["odd"], "record_ids": []}
        )
    for words in ("5 problem(s)", "run: is a run's id", "reason: must say", "tenent: unknown key", "'odd' is no class"):
        assert words in str(told.value)
    assert "record_ids: must be a list" in str(told.value)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({}, "action: must be one of redrive, resubmit, drop"),
        ({"action": "purge"}, "action: must be one of"),
        ({"action": "drop", "reason": "bad data"}, "run: missing"),
        ({"action": "drop", "run": "r"}, "reason: must say"),
        ({"action": "resubmit"}, "run: missing"),
        ({"action": "resubmit", "run": "r", "as": "r"}, "as: must be another id"),
        ({"action": "resubmit", "run": "r", "reason": "why"}, "reason: unknown key"),
        ({"action": "resubmit", "run": "r", "model": "m"}, "model: must be an object"),
        ({"action": "resubmit", "run": "r", "mode": "fast"}, "mode: must be one of auto, batch, sync"),
        ({"action": "redrive", "priority": "urgent"}, "priority: must be one of high, normal, low"),
        ({"action": "redrive", "max_messages_per_second": 501}, "must be a whole number from 1 to 500"),
        ({"action": "redrive", "error_classes": ["model"], "priority": "high"}, "only without run and error_classes"),
    ],
)
def test_requests_that_are_refused(request_: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as told:
        parse(request_)
    assert problem in str(told.value)


# Redrive.


def test_all_dead_letters_go_back_by_the_move_of_sqs_and_a_second_command_finds_it_under_way() -> None:
    site = Site()
    assert site.go("redrive", priority="high", max_messages_per_second=50)["move"] == "begun"
    assert site.go("redrive")["move"] == "under way"
    assert site.letters.moves == [("high", 50)]


def test_some_classes_go_back_to_the_lane_of_their_run_and_the_others_are_shown_again() -> None:
    site = Site()
    site.stage.spec = replace(site.stage.spec, priority="low")
    site.letters.add({**site.letters.bodies()[0], "recordId": "x", "errorClass": "validation"})
    site.letters.add("no message of ours")
    answer = site.go("redrive", error_classes=["model"])
    assert answer == {"action": "redrive", "finished": True, "sentBack": 3, "left": 2, "hidden": 0}
    assert {one["recordId"] for one in site.letters.bodies("low")} == set(IDS[:3])
    assert len(site.letters.letters) == 2
    assert site.letters.hidden == set()
    assert site.go("redrive", error_classes=["model"])["sentBack"] == 0


def test_one_run_alone_can_be_sent_back_and_messages_of_a_run_that_is_gone_too() -> None:
    site = Site()
    site.letters.add({**site.letters.bodies()[0], "run": "old-run"})
    assert site.go("redrive", run="old-run")["sentBack"] == 1
    assert [one["run"] for one in site.letters.bodies("normal")] == ["old-run"]


def test_a_redrive_that_dies_anywhere_and_is_given_again_loses_no_message() -> None:
    calm = Site(failing=5, at_once=2)
    calm.go("redrive", error_classes=["model"])
    effects = len(calm.stage.world.effects)
    assert effects >= 6
    for number in range(1, effects + 1):
        site = Site(failing=5, at_once=2)
        site.stage.world.kill_at = number
        with pytest.raises(Killed):
            site.go("redrive", error_classes=["model"])
        site.stage.world.revive()
        site.letters.show()
        site.go("redrive", error_classes=["model"])
        assert site.letters.letters == {}
        back = site.letters.bodies("normal")
        assert {one["recordId"] for one in back} == set(IDS[:5])
        # What came twice is settled by its first: no record is doubled.
        answers = [reprocess(LaneMessage.from_json(one), site.stage.unit_context) for one in back]
        assert answers.count("landed") == 5
        assert len(site.stage.output.lines(site.stage.places.results_prefix)) == len(IDS)


def test_a_redrive_that_has_no_time_left_says_so() -> None:
    site = Site(failing=5, at_once=1)
    real = site.letters.receive

    def slow(hidden_seconds: int) -> Any:
        site.stage.time.sleep(400)
        return real(hidden_seconds)

    site.letters.receive = slow  # type: ignore[method-assign]
    answer = site.go("redrive", error_classes=["model"])
    assert (answer["finished"], answer["sentBack"]) == (False, 2)
    site.stage.time.remaining = 900
    assert len(site.letters.letters) == 3


# Drop.


def test_dropped_records_leave_the_account_with_their_reason_and_take_their_messages_along() -> None:
    site = Site()
    answer = site.go("drop", run=RUN, reason="not worth a third try")
    assert (answer["dropped"], answer["messagesDeleted"], answer["finished"]) == (3, 3, True)
    items = list(site.stage.runs.query(run_pk(RUN), "LATE#"))
    assert {item["reason"] for item in items} == {"not worth a third try"}
    assert site.letters.letters == {}
    counts = site.counts()
    assert (counts["landed"], counts["failed"], counts["dropped"]) == (len(IDS) - 3, 0, 3)
    assert [item["run"] for item in site.stage.runs.query(STALE)] == [RUN]


def test_a_drop_takes_only_the_records_that_were_chosen() -> None:
    site = Site()
    assert site.go("drop", run=RUN, reason="bad data", error_classes=["validation"])["dropped"] == 0
    assert site.go("drop", run=RUN, reason="bad data", record_ids=[IDS[1]])["dropped"] == 1
    assert outcomes(site) == [(IDS[1], "dropped")]
    assert [one["recordId"] for one in site.letters.bodies()] == [IDS[0], IDS[2]]


def test_a_drop_given_twice_or_killed_anywhere_drops_once() -> None:
    calm = Site()
    calm.go("drop", run=RUN, reason="bad data")
    effects = len(calm.stage.world.effects)
    calm.go("drop", run=RUN, reason="bad data, said again")
    assert {item["reason"] for item in calm.stage.runs.query(run_pk(RUN), "LATE#")} == {"bad data"}
    for number in range(1, effects + 1):
        site = Site()
        site.stage.world.kill_at = number
        with pytest.raises(Killed):
            site.go("drop", run=RUN, reason="bad data")
        site.stage.world.revive()
        site.letters.show()
        assert list(site.stage.runs.query(STALE)), f"killed at {number}: nobody would write the manifest anew"
        site.go("drop", run=RUN, reason="bad data")
        assert site.counts()["dropped"] == 3
        assert site.letters.letters == {}


def test_a_record_that_landed_meanwhile_is_not_dropped() -> None:
    site = Site()
    reprocess(LaneMessage.from_json(site.letters.bodies()[0]), site.stage.unit_context)
    assert site.go("drop", run=RUN, reason="bad data")["dropped"] == 2
    counts = site.counts()
    assert (counts["landed"], counts["dropped"]) == (len(IDS) - 2, 2)


def test_who_settles_a_failure_first_has_settled_it() -> None:
    """The list of what is to be dropped is older than the landing."""
    site = Site()
    stage = site.stage
    failed = list(failed_records(RUN, stage.runs, stage.output))
    reprocess(LaneMessage.from_json(site.letters.bodies()[0]), stage.unit_context)
    late = LateServices(stage.places, stage.output, stage.runs, stage.leases, 1)
    assert sum(found.done for found in settle(failed, Late.DROPPED, late)) == 2
    assert outcomes(site) == [(IDS[0], "landed"), (IDS[1], "dropped"), (IDS[2], "dropped")]


def test_a_message_of_a_dropped_record_that_is_under_way_still_tells_the_truth() -> None:
    """It has landed the record before it sees the drop: landed is what counts, and the sums hold."""
    site = Site()
    real = site.stage.model.infer

    def infer(model_id: str, api: str, body: Any, reach: Reach) -> FakeOutcome:
        site.go("drop", run=RUN, reason="bad data")
        return real(model_id, api, body, reach)

    site.stage.model.infer = infer  # type: ignore[method-assign]
    message = LaneMessage.from_json(site.letters.bodies()[0])
    assert reprocess(message, site.stage.unit_context) == "landed"
    counts = site.counts()
    assert (counts["landed"], counts["dropped"], counts["failed"]) == (len(IDS) - 2, 2, 0)


@pytest.mark.parametrize("action", ["drop", "resubmit"])
def test_a_run_that_is_not_there_is_refused(action: str) -> None:
    with pytest.raises(InvalidRequestError):
        Site().go(action, run="other", **({"reason": "bad data"} if action == "drop" else {}))


# Resubmit.


def ranges(site: Site, run: str) -> list[CutRange]:
    return [CutRange.from_json(line) for line in site.stage.input.lines(f"default/runs/{run}/plan/ranges.jsonl")]


def test_a_resubmission_is_a_run_in_the_same_scope_over_the_failed_lines_alone() -> None:
    site = Site()
    answer = site.go("resubmit", run=RUN, model={"id": "m"}, prompt={"template": "Again: {{text}}"}, priority="high")
    assert (answer["state"], answer["resubmitted"], answer["withoutSource"]) == ("started", 3, 0)
    ((run, request),) = site.pipeline.running.items()
    assert run == answer["as"]
    assert request["run"] == {"tenant": "default", "scope": "run:run-1", "mode": "auto", "priority": "high"}
    assert request["source"] == {
        "bucket": "in-bucket",
        "ranges": f"default/runs/{run}/plan/ranges.jsonl",
        "format": "jsonl",
        "failures_of": RUN,
    }
    assert request["prompt"] == {"template": "Again: {{text}}"}
    # Three neighbours are one range, bound to the object as the first run found it.
    (part,) = ranges(site, run)
    assert (part.key, part.start, part.etag) == (CORPUS, 0, "e1")


def test_a_resubmission_given_again_starts_nothing_more() -> None:
    site = Site()
    first = site.go("resubmit", run=RUN)
    assert site.go("resubmit", run=RUN) == {**first, "state": "goes on"}
    # Another choice of records waits for the run that is under way, too.
    assert site.go("resubmit", run=RUN, record_ids=[IDS[0]])["as"] == first["as"]
    site.stage.runs.put({"pk": run_pk(first["as"]), "sk": META, "status": "succeeded"})
    assert site.go("resubmit", run=RUN) == {**first, "state": "ended"}
    assert list(site.pipeline.running) == [first["as"]]
    again = site.go("resubmit", run=RUN, **{"as": "once-more"})
    assert (again["as"], again["state"]) == ("once-more", "started")


@pytest.mark.parametrize("live", [True, False])
def test_an_id_stands_for_the_records_and_changes_that_it_was_given_with(live: bool) -> None:
    """An operator who asks for other classes under the same id must not be told that they were resubmitted."""
    site = Site()
    first = site.go("resubmit", run=RUN, record_ids=[IDS[0]], **{"as": "again"})
    if not live:
        site.stage.runs.put({"pk": run_pk("again"), "sk": META, "status": "succeeded"})
    for other in ({"record_ids": [IDS[1]]}, {"error_classes": ["model"]}, {"record_ids": [IDS[0]], "mode": "sync"}):
        with pytest.raises(InvalidRequestError, match="choose another id"):
            site.go("resubmit", run=RUN, **{"as": "again", **other})
    assert site.go("resubmit", run=RUN, record_ids=[IDS[0]], **{"as": "again"})["as"] == first["as"]
    # As an older bundle wrote it.
    item = site.stage.runs.items[run_pk(RUN), f"{RESUBMISSIONS}again"]
    del item["asked"]
    assert site.go("resubmit", run=RUN, record_ids=[IDS[1]], **{"as": "again"})["as"] == "again"


def test_a_resubmission_of_few_records_has_no_canary_unless_its_command_says_so() -> None:
    for limits, expected in (({}, 0), ({"canary_records": 2}, 2)):
        site = Site()
        run = site.go("resubmit", run=RUN, **({"limits": limits} if limits else {}))["as"]
        assert site.pipeline.running[run]["limits"]["canary_records"] == expected


def test_other_changes_make_another_run_of_the_same_records() -> None:
    site = Site()
    first = site.go("resubmit", run=RUN)["as"]
    site.stage.runs.put({"pk": run_pk(first), "sk": META, "status": "failed"})
    second = site.go("resubmit", run=RUN, mode="sync")
    assert second["state"] == "started"
    assert second["as"] != first


def test_a_resubmission_that_dies_anywhere_and_is_given_again_starts_one_run() -> None:
    calm = Site()
    name = calm.go("resubmit", run=RUN)["as"]
    effects = len(calm.stage.world.effects)
    assert effects >= 4
    for number in range(1, effects + 1):
        site = Site()
        site.stage.world.kill_at = number
        with pytest.raises(Killed):
            site.go("resubmit", run=RUN)
        site.stage.world.revive()
        assert site.go("resubmit", run=RUN)["as"] == name
        assert list(site.pipeline.running) == [name]
        assert ranges(site, name) == ranges(calm, name)
        assert f"{RUN}#{name}" in {item["sk"] for item in site.stage.runs.query(STALE)}


def test_a_resubmission_whose_plan_failed_does_not_block_the_next() -> None:
    site = Site()
    first = site.go("resubmit", run=RUN)["as"]
    site.pipeline.ended.add(first)
    assert site.go("resubmit", run=RUN, prompt={"template": "{{text}}"})["state"] == "started"


def test_a_request_that_the_pipeline_would_refuse_is_refused_before_anything_is_written() -> None:
    site = Site()
    with pytest.raises(InvalidRequestError, match="model\\.id"):
        site.go("resubmit", run=RUN, model={"id": "nobody's"})
    assert site.stage.world.effects == []


def test_a_run_that_goes_on_is_not_resubmitted() -> None:
    site = Site()
    site.stage.runs.update(run_pk(RUN), META, {"status": "running"})
    with pytest.raises(InvalidRequestError, match="still goes on"):
        site.go("resubmit", run=RUN)


def test_nothing_failed_nothing_starts() -> None:
    site = Site(failing=0)
    assert site.go("resubmit", run=RUN)["resubmitted"] == 0
    assert site.pipeline.running == {}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_ranges_hold_the_chosen_lines_and_no_other(end: bytes) -> None:
    """From failure lines to the lines that cut_shards will read: through ranges, cuts and the corpus."""
    texts = [json.dumps({"n": n, "pad": "ü" * n}, ensure_ascii=False).encode() for n in range(40)]
    texts[11] = b""
    body, places = b"", []
    for text in texts:
        places.append((len(body), len(text)))
        body += text + end
    body = body[: -len(end)]
    wanted = [0, 2, 3, 4, 5, 10, 12, 20, 38, 39]
    site = Site()
    stage = site.stage
    stage.input.objects[CORPUS] = body
    cut = {"cut": "00001", "parts": [{"key": CORPUS, "start": 0, "end": 9, "size": len(body), "etag": "e1"}]}
    stage.input.objects[stage.spec.cuts.key] = json.dumps(cut).encode() + b"\n"
    key = next(key for key in stage.output.objects if "/failures/" in key)
    line = json.loads(stage.output.objects[key].split(b"\n")[0])
    stage.output.objects[key] = b"".join(
        json.dumps(
            {
                **line,
                "recordId": f"n{n}",
                "source": {"bucket": "b", "key": CORPUS, "offset": places[n][0], "length": places[n][1]},
            }
        ).encode()
        + b"\n"
        for n in reversed(wanted)
    )
    run = site.go("resubmit", run=RUN)["as"]

    class Corpus:
        def read(self, key: str, *, start: int = 0, end: int | None = None, **_: Any) -> Any:
            yield body[start:end]

    found = [
        json.loads(one.data or b"")["n"]
        for one_cut in pack_ranges(ranges(site, run), 100)
        for part in one_cut.parts
        for one in part_rows(Corpus(), part, Source("b"), 10_000)  # type: ignore[arg-type]
        if one.data
    ]
    assert found == wanted


def test_finish_still_holds_after_everything() -> None:
    site = Site()
    site.go("drop", run=RUN, reason="bad data", record_ids=[IDS[0]])
    reprocess(LaneMessage.from_json(site.stage.queue.messages[1]), site.stage.unit_context)
    stage = site.stage
    detail = finish(stage.spec, finish_services(stage))
    assert detail["status"] == "succeeded"


@pytest.mark.parametrize("given", [[], "x", None, 7])
def test_what_is_no_object_is_refused_like_any_other(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match="the request must be a JSON object such as"):
        parse(given)


def test_the_run_of_a_redrive_must_be_there() -> None:
    with pytest.raises(InvalidRequestError, match="other was never planned"):
        Site().go("redrive", run="other")


def test_another_prompt_is_not_ignored_while_a_resubmission_goes_on() -> None:
    site = Site()
    first = site.go("resubmit", run=RUN, mode="sync")
    assert site.go("resubmit", run=RUN, mode="sync")["state"] == "goes on"
    for changes in ({"prompt": {"template": "{{id}}"}}, {"mode": "batch"}, {}):
        with pytest.raises(InvalidRequestError, match=f"run {first['as']} goes on .* another prompt, model, mode"):
            site.go("resubmit", run=RUN, **changes)
    assert list(site.pipeline.running) == [first["as"]]


def test_a_tenants_way_in_holds_the_new_runs_id_to_its_own_names() -> None:
    """asl/tenant_run.asl.json pins the prefix: an execution named after another tenant would be that one's to stop."""
    with pytest.raises(InvalidRequestError, match="as: must begin with acme_"):
        parse({"action": "resubmit", "run": "acme_a", "tenant": "acme", "as": "globex_b", "as_prefix": "acme_"})
    given = {"action": "resubmit", "run": "acme_a", "tenant": "acme", "as": "acme_b", "as_prefix": "acme_"}
    assert parse(given).new_run == "acme_b"
