"""Before a run: a report that costs nothing, and refusals in seconds. All executions are started together."""

import json
from typing import Any

import pytest

from tests.end_to_end.conftest import assert_conserves, jsonl, request, tickets, tree
from tests.harness.stack import Stack

PRICES = {"input_per_million": 1.0, "output_per_million": 5.0, "batch_factor": 0.5, "currency": "EUR"}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "plan-too-large": (
        request("planning", "sync", limits={"max_records": 100}),
        "InvalidRequestError",
        "limits.max_records: 130 records (counted) are more than the 100",
    ),
    "plan-too-many-tokens": (
        request("planning", "batch", limits={"max_tokens": 1000}),
        "InvalidRequestError",
        "limits.max_tokens: ",
    ),
    "plan-dry-too-large": (
        request("planning", "sync", run={"dry_run": True}, limits={"max_records": 100}),
        "InvalidRequestError",
        "limits.max_records: 130 records",
    ),
    # The sample sees long lines only; how many short ones follow is known when all is cut.
    "plan-grown": (
        request("planning-grown", "batch", limits={"max_records": 2000}),
        "InvalidRequestError",
        "limits.max_records: 2,700 records (counted by cutting) are more than the 2,000",
    ),
    # This model takes one of the two, not both: as a job, all records would fail hours later.
    "plan-canary": (
        request("planning", "batch", prompt={"inference": {"temperature": 0, "topP": 1}}),
        "CanaryFailedError",
        "all 20 canary records failed on demand",
    ),
}


@pytest.fixture(scope="module")
def ended(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every execution of this file after its end, by name."""
    stack.upload("default/corpus/planning/tickets.jsonl", jsonl(tickets(130)))
    long = [{"id": f"long-{n}", "text": "x" * 5000} for n in range(200)]
    stack.upload("default/corpus/planning-grown/a.jsonl", jsonl(long + tickets(2500)))
    dry = request("planning", "sync", run={"id": "plan-real", "dry_run": True}, prices=PRICES)
    started = {"plan-rehearsal": stack.start("plan-rehearsal", dry)}
    started |= {name: stack.start(name, body) for name, (body, _, _) in REFUSED.items()}
    found = {"plan-rehearsal": stack.wait(started.pop("plan-rehearsal"), timeout=60)}
    found["files-of-the-rehearsal"] = tree(stack, "plan-real")
    # Under the very name that was planned.
    started["plan-real"] = stack.start("plan-real", request("planning", "sync", prices=PRICES))
    return found | {name: stack.wait(arn, timeout=90) for name, arn in started.items()}


def test_a_dry_run_ends_with_its_report_and_leaves_nothing_else(stack: Stack, ended: dict[str, dict[str, Any]]) -> None:
    rehearsal = ended["plan-rehearsal"]
    assert rehearsal["status"] == "SUCCEEDED", rehearsal.get("cause")
    report = json.loads(rehearsal["output"])["report"]
    assert (report["run"], report["dryRun"], report["mode"]["value"]) == ("plan-real", True, "sync")
    assert (report["corpus"]["records"], report["corpus"]["exact"]) == (130, True)
    assert (report["work"]["jobs"], report["work"]["syncBatches"]) == (0, 2)
    assert report["concurrency"]["inference"]["limit"] in ("records", "tokens_per_minute")
    assert report["concurrency"]["reprocessing"]["limit"] == "sqs"
    assert report["money"]["estimate"] > 0
    assert report["minutes"]["basis"].startswith("estimate")
    files = {f"default/runs/plan-real/plan/report.{ending}" for ending in ("json", "txt")}
    assert set(ended["files-of-the-rehearsal"]) == files


def test_the_run_that_follows_has_plan_and_outcome_side_by_side(stack: Stack, ended: dict[str, dict[str, Any]]) -> None:
    real = ended["plan-real"]
    assert real["status"] == "SUCCEEDED", real.get("cause")
    output = json.loads(real["output"])
    manifest = stack.manifest("plan-real")
    assert manifest is not None
    assert_conserves(manifest)
    assert (output["plan"]["corpus"], output["plan"]["dryRun"]) == (manifest["plan"]["corpus"], False)
    used, planned = manifest["tokens"], manifest["plan"]["tokens"]
    # The canary's answers have corrected the estimate.
    assert planned["input"] == pytest.approx(used["input"], rel=0.1)
    cost = (used["input"] + 5 * used["output"]) / 1e6
    assert manifest["money"]["onDemand"] == pytest.approx(cost, rel=1e-3, abs=1e-6)
    assert (manifest["money"]["batch"], manifest["money"]["currency"]) == (0, "EUR")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_has_cost_nothing(stack: Stack, ended: dict[str, dict[str, Any]], name: str) -> None:
    _, error, words = REFUSED[name]
    assert (ended[name]["status"], ended[name]["error"]) == ("FAILED", error)
    assert words in ended[name]["cause"]
    assert not stack.jobs(name)
    assert not any("/results/" in key for key in tree(stack, name))


def test_the_models_own_words_for_a_failed_canary_lie_in_s3(stack: Stack, ended: dict[str, dict[str, Any]]) -> None:
    cause = ended["plan-canary"]["cause"]
    assert "temperature" not in cause
    key = cause.partition("What the service says is in s3://")[2].partition("/")[2]
    said = stack.aws.client("s3").get_object(Bucket=stack.outputs["output_bucket"], Key=key)["Body"].read()
    assert b"temperature" in said
