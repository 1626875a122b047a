"""What plan_run reports, what a dry run leaves, which runs are too large, before and after cutting."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.errors import CanaryFailedError, InvalidRequestError
from bulk_inference.core.run_spec import RunSpec
from tests.worlds.ingest_world import HAIKU, SETTINGS, World, ingest_world

LINES = [{"id": f"r{n}", "text": f"text {n}"} for n in range(200)]
DRY = {"dry_run": True}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        made.corpus(*LINES)
        yield made


def answers(world: World, input_tokens: int, output_tokens: int) -> None:
    usage = {"inputTokens": input_tokens, "outputTokens": output_tokens}
    world.model.outcome = ModelOutcome(output={"usage": usage})


def items(world: World) -> list[str]:
    return sorted(f"{item['pk']['S']}/{item['sk']['S']}" for item in world.dynamodb.scan(TableName="runs")["Items"])


def test_the_report_is_in_answer_plan_and_bucket(world: World) -> None:
    plan = world.plan()
    report = plan["report"]
    assert report["mode"] == {
        "value": "batch",
        "why": "about 200 records, at least 10 jobs of the minimum 10",
    }
    assert report["corpus"] == {
        "bytes": plan["cuts"]["bytes"],
        "cuts": 1,
        "records": 200,
        "sampledRecords": 200,
        "exact": True,
        "rejections": [],
    }
    # Shards of at most 60 records.
    assert report["work"] == {"shards": 4, "jobs": 4, "waves": 1, "syncRecords": 0, "syncBatches": 0}
    limits = {name: one["limit"] for name, one in report["concurrency"].items() if one}
    assert limits == {"cutting": "records", "jobs": "records", "inference": "fallback"}
    assert "money" not in report
    spec = RunSpec.from_json(world.input.get_json("default/runs/run-1/plan/run.json") or {})
    assert spec.report == report == world.output.get_json("default/runs/run-1/plan/report.json")
    text = (world.output.get("default/runs/run-1/plan/report.txt") or b"").decode()
    assert "about 4 jobs in 1 wave of" in text


def test_the_settings_are_what_was_decided(world: World) -> None:
    world.settings({**SETTINGS, "concurrency": {"inferBatch": 4, "reprocessNormal": 5}})
    plan = world.plan(limits={"job_concurrency": 2})
    chosen = plan["report"]["concurrency"]
    assert (chosen["jobs"]["value"], chosen["jobs"]["limit"]) == (plan["settings"]["jobConcurrency"], "request")
    assert (chosen["inference"]["value"], chosen["inference"]["limit"]) == (4, "lambda")
    assert plan["settings"]["inferConcurrency"] == 4
    assert chosen["reprocessing"] == {
        "value": 5,
        "limit": "sqs",
        "why": "maximum concurrency of the queue for failed records of priority normal",
    }
    assert plan["report"]["work"]["waves"] == 2


def test_a_tenants_ceiling_decides(world: World) -> None:
    tenant = {**SETTINGS["tenants"]["default"], "jobConcurrency": 2, "inferConcurrency": 3}
    world.settings({**SETTINGS, "tenants": {"default": tenant}})
    plan = world.plan()
    chosen = plan["report"]["concurrency"]
    assert (chosen["jobs"]["limit"], chosen["inference"]["limit"]) == ("tenant", "tenant")
    assert (plan["settings"]["jobConcurrency"], plan["settings"]["inferConcurrency"]) == (2, 3)


def test_the_canarys_answers_correct_the_estimate(world: World) -> None:
    guessed = world.plan("before")["report"]["tokens"]
    assert guessed["output"] == 200 * 128
    answers(world, 30, 7)
    report = world.plan("after")["report"]
    assert (report["tokens"]["input"], report["tokens"]["output"]) == (pytest.approx(200 * 30, rel=0.1), 200 * 7)
    assert report["tokens"]["basis"] == "estimated from the answers to 3 canary records"
    assert (report["canary"]["inputTokens"], report["canary"]["outputTokens"]) == (90, 21)


def test_money_by_the_request_or_by_the_model(world: World) -> None:
    answers(world, 30, 10)
    prices = {"input_per_million": 1, "output_per_million": 10, "batch_factor": 0.5}
    money = world.plan("a", prices=prices)["report"]["money"]
    tokens = world.plan("b", prices=prices)["report"]["tokens"]
    assert money["estimate"] == pytest.approx((tokens["input"] + 10 * tokens["output"]) / 2e6, rel=1e-3)
    assert money["canary"] == pytest.approx((90 + 10 * 30) / 1e6)
    model = {**SETTINGS["models"][HAIKU], "prices": {"inputPerMillion": 3, "outputPerMillion": 0, "currency": "EUR"}}
    world.settings({**SETTINGS, "models": {HAIKU: model}})
    money = world.plan("c")["report"]["money"]
    assert (money["currency"], money["prices"]["inputPerMillion"]) == ("EUR", 3)
    assert world.plan("d", prices=prices)["report"]["money"]["prices"]["inputPerMillion"] == 1


def test_minutes_of_a_sync_run_follow_tokens_per_minute(world: World) -> None:
    answers(world, 50, 10)
    model = {**SETTINGS["models"][HAIKU], "tokensPerMinute": 1000}
    world.settings({**SETTINGS, "models": {HAIKU: model}})
    minutes = world.plan(run={"mode": "sync"})["report"]["minutes"]
    # An output token of this model counts five times.
    assert minutes["value"] == pytest.approx(200 * (50 + 5 * 10) / 1000, rel=0.1)
    assert minutes["basis"].startswith("estimate: all tokens at 1000 tokens per minute")
    assert world.plan("b", run={"mode": "batch"})["report"]["minutes"] is None


def test_a_dry_run_leaves_its_report_and_nothing_else(world: World) -> None:
    answer = world.plan(run=DRY)
    assert answer["next"] == "report"
    assert answer["report"]["dryRun"]
    assert (answer["report"]["corpus"]["records"], answer["report"]["work"]["jobs"]) == (200, 4)
    assert world.objects("input") == {}
    assert sorted(world.objects("output")) == [
        "default/runs/run-1/plan/report.json",
        "default/runs/run-1/plan/report.txt",
    ]
    assert items(world) == [f"QUOTA#{HAIKU}/QUOTA"]
    assert world.model.bodies == []
    assert "not run" in answer["report"]["canary"]["note"]


def test_a_dry_run_tries_the_records_that_it_asks_for(world: World) -> None:
    answers(world, 30, 7)
    report = world.plan(run=DRY, limits={"canary_records": 2})["report"]
    assert (report["canary"]["records"], len(world.model.bodies)) == (2, 2)
    assert report["tokens"]["output"] == 200 * 7
    world.model.outcome = ModelOutcome(error_class="invalid_request", error_code="V", error_message="no such parameter")
    with pytest.raises(CanaryFailedError, match=r"× V.*report\.canary\.jsonl"):
        world.plan(run=DRY, limits={"canary_records": 2})


def test_the_real_run_follows_under_the_name_that_was_planned(world: World) -> None:
    dry = world.plan("rehearsal", run={**DRY, "id": "nightly"})
    assert dry["run"] == "nightly"
    real = world.plan("nightly")
    same = [{name: one["report"][name] for name in ("corpus", "work", "mode", "concurrency")} for one in (dry, real)]
    assert same[0] == same[1]
    assert not (world.output.get_json("default/runs/nightly/plan/report.json") or {})["dryRun"]
    with pytest.raises(InvalidRequestError, match=r"run\.dry_run: run 'nightly' has been planned for good already"):
        world.plan("again", run={**DRY, "id": "nightly"})
    assert not (world.output.get_json("default/runs/nightly/plan/report.json") or {})["dryRun"]


def test_only_a_dry_run_has_another_id_than_its_execution(world: World) -> None:
    with pytest.raises(InvalidRequestError, match=r"run\.id: must be the execution's name, 'a'"):
        world.plan("a", run={"id": "b"})
    assert world.plan("a", run={"id": "a"})["run"] == "a"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_records": 199}, r"limits\.max_records: 200 records \(counted\) are more than the 199 "),
        ({"max_tokens": 200}, r"limits\.max_tokens: [\d,]+ input and output tokens \(counted\) are more than the 200 "),
    ],
)
def test_a_run_that_is_too_large_is_refused_before_anything_is_paid(
    world: World, limits: Mapping[str, int], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        world.plan(limits=limits)
    assert world.model.bodies == []
    assert world.input.get("default/runs/run-1/plan/run.json") is None
    with pytest.raises(InvalidRequestError, match=words):
        world.plan(run=DRY, limits=limits)


def test_a_run_as_large_as_allowed_passes(world: World) -> None:
    plan = world.plan(limits={"max_records": 200, "max_tokens": 10**6})
    world.cut_all(plan)
    assert world.seal(plan)["batch"]["records"] == 200


def test_an_estimate_within_its_error_refuses_nothing(world: World) -> None:
    # Short rows first, of which the sample is: the estimate is far above the true number.
    rows = [{"id": f"s{n}", "text": "x"} for n in range(300)]
    world.corpus(*rows, *({"id": f"l{n}", "text": "y" * 40} for n in range(690)))
    plan = world.plan(limits={"max_records": 1000})
    assert plan["report"]["corpus"]["records"] > 1000
    assert "limits.max_records: " in " ".join(plan["report"]["notes"])
    assert "an estimate, so that the count decides when all is cut" in " ".join(plan["report"]["notes"])
    world.cut_all(plan)
    assert world.seal(plan)["batch"]["records"] == 990
    world.corpus(*rows, *({"id": f"l{n}", "text": "y" * 10} for n in range(1690)))
    world.cut_all(plan := world.plan("run-2", limits={"max_records": 1500}))
    with pytest.raises(InvalidRequestError, match=r"limits\.max_records: 1,990 records \(counted by cutting\)"):
        world.seal(plan)
    with pytest.raises(InvalidRequestError, match=r"limits\.max_records: .* \(estimated from 200 of them\)"):
        world.plan("run-3", limits={"max_records": 1000})


def test_the_modules_limits_hold_where_the_request_names_none(world: World) -> None:
    world.settings({**SETTINGS, "defaults": {"canaryRecords": 0, "maxRecords": 150}})
    with pytest.raises(InvalidRequestError, match="more than the 150"):
        world.plan()
    assert world.plan(limits={"max_records": 300})["next"] == "cut"


def test_the_canarys_answers_may_show_that_a_run_is_too_large(world: World) -> None:
    answers(world, 30, 1000)
    with pytest.raises(
        InvalidRequestError, match=r"max_tokens: [\d,]+ .* \(estimated from the answers to 3 canary records\)"
    ):
        world.plan(limits={"max_tokens": 100_000})


def grown(world: World) -> None:
    """A corpus whose later lines are far shorter than the sampled ones: the estimate is too small."""
    world.corpus(
        *({"id": f"long-{n}", "text": "x" * 5000} for n in range(200)),
        *({"id": f"s{n}", "text": "y"} for n in range(3000)),
    )


@pytest.mark.parametrize("limits", [{"max_records": 2000}, {"max_records": 3199}])
def test_a_run_that_turns_out_too_large_is_refused_by_the_true_count(world: World, limits: Mapping[str, int]) -> None:
    grown(world)
    plan = world.plan(limits=limits)
    assert plan["report"]["corpus"]["records"] < 2000
    assert not plan["report"]["corpus"]["exact"]
    world.cut_all(plan)
    with pytest.raises(InvalidRequestError, match=r"limits\.max_records: 3,200 records \(counted by cutting\)"):
        world.seal(plan)
    assert world.input.get("default/runs/run-1/plan/jobs.jsonl") is None


def test_tokens_are_counted_again_from_what_was_cut(world: World) -> None:
    grown(world)
    planned = world.plan("a")["report"]["tokens"]["total"]
    plan = world.plan("b", limits={"max_tokens": planned + 1000})
    world.cut_all(plan)
    with pytest.raises(
        InvalidRequestError, match=r"limits\.max_tokens: [\d,]+ input and output tokens \(counted by cutting\)"
    ):
        world.seal(plan)


def test_sample_and_canary_are_spread_over_a_large_object(world: World) -> None:
    lines = [{"id": f"{n:05d}", "text": f"{n:05d} " + "x" * 900} for n in range(3000)]
    world.corpus(*lines)
    world.plan(limits={"canary_records": 5})
    seen = [int(json.dumps(body).partition("Say ")[2][:5]) for body in world.model.bodies]
    assert [number // 600 for number in seen] == [0, 1, 2, 3, 4]


def test_sample_and_canary_are_spread_over_many_objects(world: World) -> None:
    for number in range(40):
        world.corpus(
            *({"id": f"{number}-{n}", "text": f"{number:05d}"} for n in range(100)),
            key=f"default/corpus/m/{number:03d}.jsonl",
        )
    world.plan(source={"prefix": "default/corpus/m/"}, limits={"canary_records": 5, "cut_bytes": 65_536})
    seen = [int(json.dumps(body).partition("Say ")[2][:5]) for body in world.model.bodies]
    assert [number // 8 for number in seen] == [0, 1, 2, 3, 4]


def test_an_empty_corpus_has_a_report_too(world: World) -> None:
    world.corpus()
    report: dict[str, Any] = world.plan(run=DRY)["report"]
    assert (report["corpus"]["records"], report["work"]["jobs"], report["minutes"]) == (0, 0, None)
    assert "the corpus is empty" in report["notes"]
