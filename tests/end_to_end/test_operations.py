"""The operational plane on the whole module: jobs that end otherwise, full accounts, broken and stopped runs."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import QUICK, assert_conserves, jsonl, request, run, tree
from tests.harness.stack import Stack

RECORDS = 150
FEW = {"max_records_per_shard": 150, "canary_records": 0}


@pytest.fixture(autouse=True)
def quick_again(stack: Stack) -> Iterator[None]:
    yield
    stack.aws.local("DELETE", "/_local/knobs")
    stack.aws.local("PUT", "/_local/knobs", QUICK)


def corpus(stack: Stack, name: str, count: int = RECORDS) -> list[str]:
    """Records whose prompts name the corpus, so that a fault can be meant for them alone; their ids."""
    records = [{"id": f"{name}-{n:04d}", "text": f"This is {name}. Line {n}."} for n in range(count)]
    stack.upload(f"default/corpus/{name}/records.jsonl", jsonl(records))
    return [record["id"] for record in records]


def faults(stack: Stack, *rules: dict[str, Any]) -> None:
    stack.aws.local("PUT", "/_local/faults", list(rules))


def first_jobs(name: str) -> dict[str, str]:
    """Jobs of a run's first attempts: those read pieces, later ones the files of what was left over."""
    return {"inputUri": f"*/runs/{name}/shards/*-???.jsonl"}


def ids(stack: Stack, name: str, part: str = "results") -> list[str]:
    return sorted(line["recordId"] for line in stack.lines(name, part))


def meta(stack: Stack, name: str) -> dict[str, Any]:
    """The run's item, attributes as DynamoDB has them."""
    key = {"pk": {"S": f"RUN#{name}"}, "sk": {"S": "META"}}
    item = stack.aws.client("dynamodb").get_item(TableName=stack.outputs["runs_table"], Key=key, ConsistentRead=True)
    return dict(item.get("Item", {}))


def status(stack: Stack, name: str) -> str:
    return str(meta(stack, name).get("status", {}).get("S"))


def stop(stack: Stack, execution: str) -> None:
    stack.aws.client("stepfunctions").stop_execution(executionArn=execution)
    stack.wait(execution, timeout=60)


def redrive(stack: Stack, execution: str) -> None:
    stack.aws.client("stepfunctions").redrive_execution(executionArn=execution)


ENDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    # what the first job comes to; the attempts that are made then
    "Completed": ({"as": "Completed", "fraction": 1.0}, ["a1"]),
    "PartiallyCompleted": ({"as": "PartiallyCompleted", "fraction": 0.2}, ["a1", "a2"]),
    "Stopped": ({"as": "Stopped", "fraction": 0.2}, ["a1", "a2"]),
    "Failed": ({"as": "Failed", "fraction": 0.2, "message": "internal fault"}, ["a1", "a2"]),
    "Expired": ({"as": "Expired"}, ["a1", "a2"]),
    "few left over": ({"as": "PartiallyCompleted", "fraction": 0.8}, ["a1"]),
}


@pytest.mark.parametrize("end", sorted(ENDS))
def test_every_end_of_a_job_is_salvaged(stack: Stack, end: str) -> None:
    """What is there lands; what is not goes to the next attempt, or on demand if it is too little for a job."""
    how, attempts = ENDS[end]
    name = f"end-{end.replace(' ', '-')}"
    wanted = corpus(stack, name)
    faults(stack, {"target": "job", "match": first_jobs(name), "do": "end", **how})
    manifest = run(stack, name, request(name, "batch", limits=FEW))
    assert_conserves(manifest)
    assert manifest["status"] == "succeeded"
    assert ids(stack, name) == wanted
    assert sorted(job["jobName"].split("-")[-2] for job in stack.jobs(name)) == attempts


def test_a_job_that_completes_with_zero_successes_stops_the_run_and_is_made_up_for(stack: Stack) -> None:
    """Completed says nothing of records. They fail by class, the failure lane lands them, a redrive closes the run."""
    wanted = corpus(stack, "hollow")
    rule = {"match": {"prompt": "This is hollow.", "mode": "batch"}, "do": "error", "errorCode": 500}
    faults(stack, {"target": "record", **rule})
    execution = stack.start("hollow", request("hollow", "batch", limits=FEW))
    assert stack.wait(execution, timeout=120)["status"] == "FAILED"
    (job,) = stack.jobs("hollow")
    assert (job["status"], job["successRecordCount"], job["errorRecordCount"]) == ("Completed", 0, RECORDS)
    stack.until(lambda: status(stack, "hollow") == "failed", "the end of the run to be noted")
    manifest = stack.manifest("hollow")
    assert manifest is not None
    assert "unitErrorRatio" in {passed["threshold"] for passed in manifest["stopped"]["thresholds"]}
    assert [(error["errorClass"], error["count"]) for error in manifest["stopped"]["errors"]] == [("model", RECORDS)]
    stack.until(lambda: ids(stack, "hollow") == wanted, "the failure lane to land them")
    redrive(stack, execution)
    assert stack.wait(execution, timeout=120)["status"] == "SUCCEEDED"
    manifest = stack.manifest("hollow")
    assert manifest is not None
    assert_conserves(manifest)
    assert (manifest["status"], manifest["counts"]["failed"], manifest["late"]) == ("succeeded", 0, RECORDS)


def test_attempts_are_bounded_and_then_the_class_is_unprocessed(stack: Stack) -> None:
    wanted = corpus(stack, "never-done")
    faults(stack, {"target": "job", "match": {"inputUri": "*/runs/never-done/*"}, "do": "end", "as": "Expired"})
    execution = stack.wait(stack.start("never-done", request("never-done", "batch", limits=FEW)), timeout=120)
    assert execution["status"] == "FAILED"
    assert len(stack.jobs("never-done")) == 3
    failures = list(stack.lines("never-done", "failures"))
    assert sorted(line["recordId"] for line in failures) == wanted
    assert {(line["errorClass"], line["attempt"]) for line in failures} == {("unprocessed", 3)}


def test_a_job_that_fails_validation_fails_its_shard_with_bedrocks_words(stack: Stack) -> None:
    """It is not tried again unchanged, and its failure lines repeat what Bedrock said."""
    wanted = corpus(stack, "malformed")
    rule = {"target": "job", "match": first_jobs("malformed"), "do": "end", "as": "Failed", "message": "Line 7 is odd"}
    faults(stack, rule)
    execution = stack.wait(stack.start("malformed", request("malformed", "batch", limits=FEW)), timeout=120)
    assert execution["status"] == "FAILED"
    assert len(stack.jobs("malformed")) == 1
    assert ids(stack, "malformed", "failures") == wanted
    stack.until(lambda: status(stack, "malformed") == "failed", "the end of the run to be noted")
    manifest = stack.manifest("malformed")
    assert manifest is not None
    (child,) = manifest["stopped"]["children"]
    assert child["error"] == "ShardFailedError"
    assert "what Bedrock said is in its failure lines" in child["cause"]
    assert {"Line 7 is odd" in line["errorMessage"] for line in stack.lines("malformed", "failures")} == {True}


def test_odd_output_is_decided_counted_and_visible(stack: Stack) -> None:
    """Lines lost, doubled and cut in the middle, and no manifest: every record lands once all the same."""
    wanted = corpus(stack, "odd")
    faults(
        stack,
        {"target": "record", "match": {"prompt": "This is odd. Line 3.", "mode": "batch"}, "do": "lose"},
        {"target": "record", "match": {"prompt": "This is odd. Line 4.", "mode": "batch"}, "do": "duplicate"},
        {"target": "record", "match": {"prompt": "This is odd. Line 5.", "mode": "batch"}, "do": "truncate"},
        {"target": "job", "match": first_jobs("odd"), "do": "no_manifest"},
    )
    manifest = run(stack, "odd", request("odd", "batch", limits=FEW))
    assert_conserves(manifest)
    assert ids(stack, "odd") == wanted
    assert manifest["oddLines"] == {"undecodable": 1, "doubled": 1}
    assert manifest["contradictions"] == ["unit 00001-a1: the job has no manifest"]


def test_a_task_that_times_out_before_its_job_loses_no_shard(stack: Stack) -> None:
    """No event comes, and the wait ends before the job does: the job is waited for, then collected."""
    wanted = corpus(stack, "timed-out")
    # 25 hours of waiting in 4.5 seconds.
    stack.aws.local("PUT", "/_local/knobs", {"timeout_scale": 5e-5})
    faults(
        stack,
        {"target": "job", "match": first_jobs("timed-out"), "do": "delay", "seconds": 15},
        {"target": "event", "match": {}, "do": "drop"},
    )
    execution = stack.start("timed-out", request("timed-out", "batch", limits=FEW))
    assert stack.wait(execution, timeout=120)["status"] == "SUCCEEDED"
    assert ids(stack, "timed-out") == wanted
    assert len(stack.jobs("timed-out")) == 1
    states = stack.aws.client("stepfunctions")
    children = [
        child["executionArn"]
        for map_run in stack.map_runs(execution)
        if "/SubmitShards:" in map_run
        for child in states.list_executions(mapRunArn=map_run)["executions"]
    ]
    events = [event["type"] for arn in children for event in states.get_execution_history(executionArn=arn)["events"]]
    assert "TaskTimedOut" in events


@pytest.mark.parametrize("full", ["queue", "refuse"])
def test_two_runs_share_the_accounts_slots_without_failing_each_other(stack: Stack, full: str) -> None:
    """Two slots, eight jobs; AWS keeps a job above the slots waiting, or refuses it."""
    stack.aws.local("PUT", "/_local/knobs", {"job_slots": 2, "job_slots_full": full})
    names = [f"share-{full}-{n}" for n in (1, 2)]
    wanted = {name: corpus(stack, name, 400) for name in names}
    limits = {"max_records_per_shard": 100, "canary_records": 0}
    started = [stack.start(name, request(name, "batch", limits=limits)) for name in names]
    for name, execution in zip(names, started, strict=True):
        assert stack.wait(execution, timeout=240)["status"] == "SUCCEEDED"
        assert ids(stack, name) == wanted[name]
        jobs = Counter(job["status"] for job in stack.jobs(name))
        assert jobs == {"Completed": 4}


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_broken_run_stops_and_says_why(stack: Stack, mode: str) -> None:
    """60 % poison: what is good lands, the run stops, and its manifest names threshold, errors and samples."""
    name = f"broken-{mode}"
    wanted = corpus(stack, name, 300)
    poison = {"prompt": f"This is {name}."}
    faults(
        stack,
        {"target": "record", "match": poison, "do": "error", "rate": 0.6, "errorCode": 400, "errorMessage": "SECRET"},
    )
    limits = {"max_records_per_shard": 100, "canary_records": 0, "items_per_batch": 50}
    execution = stack.wait(stack.start(name, request(name, mode, limits=limits)), timeout=180)
    assert execution["status"] == "FAILED"
    stack.until(lambda: status(stack, name) == "failed", "the end of the run to be noted")
    manifest = stack.manifest(name)
    assert manifest is not None
    assert_conserves(manifest)
    landed = ids(stack, name)
    assert 0 < len(landed) == len(set(landed)) < 0.5 * len(wanted)
    why = manifest["stopped"]
    assert why["error"] == "States.ExceedToleratedFailureThreshold"
    named = {one["threshold"]: one for one in why["thresholds"]}
    assert set(named) == {"toleratedFailurePercentage", "unitErrorRatio"}
    assert named["toleratedFailurePercentage"]["tolerated"] == 10
    error = why["errors"][0]
    assert error["errorClass"] == "validation"
    assert error["recordId"] in set(wanted) - set(landed)
    assert "SECRET" not in json.dumps(why)
    assert "SECRET" not in json.dumps(meta(stack, name))


def test_a_run_without_a_permission_says_which(stack: Stack) -> None:
    """No record is to blame: the children's error is named."""
    corpus(stack, "no-right")
    denied = "User: infer_batch is not authorized to perform: bedrock:InvokeModel"
    rule = {
        "target": "call", "match": {"service": "bedrock-runtime", "prompt": "This is no-right."}, "do": "error",
        "code": "AccessDeniedException", "status": 403, "message": denied,
    }  # fmt: skip
    faults(stack, rule)
    execution = stack.wait(stack.start("no-right", request("no-right", "sync", limits=FEW)), timeout=120)
    assert execution["status"] == "FAILED"
    stack.until(lambda: status(stack, "no-right") == "failed", "the end of the run to be noted")
    manifest = stack.manifest("no-right")
    assert manifest is not None
    assert manifest["stopped"]["errors"] == []
    assert "may not perform bedrock:InvokeModel" in manifest["stopped"]["children"][0]["cause"]
    faults(stack)
    redrive(stack, execution["executionArn"])
    assert stack.wait(execution["executionArn"], timeout=120)["status"] == "SUCCEEDED"
    manifest = stack.manifest("no-right")
    assert manifest is not None
    assert (manifest["status"], manifest["stopped"], manifest["counts"]["landed"]) == ("succeeded", None, RECORDS)


def test_what_a_tolerated_failure_left_pending_is_done_by_a_redrive(stack: Stack) -> None:
    """The execution of an incomplete run fails in its last step; redriven, it goes back to inference."""
    wanted = corpus(stack, "tolerated", 200)
    rule = {
        "target": "call", "match": {"service": "bedrock-runtime", "prompt": "This is tolerated. Line 77."},
        "do": "error", "code": "AccessDeniedException", "status": 403, "message": "not now",
    }  # fmt: skip
    faults(stack, rule)
    limits = {"canary_records": 0, "items_per_batch": 10}
    execution = stack.start("tolerated", request("tolerated", "sync", limits=limits))
    ended = stack.wait(execution, timeout=120)
    assert (ended["status"], ended["error"]) == ("FAILED", "IncompleteRunError")
    stack.until(lambda: bool((stack.manifest("tolerated") or {}).get("stopped")), "the end of the run to be explained")
    manifest = stack.manifest("tolerated")
    assert manifest is not None
    assert_conserves(manifest)
    assert (manifest["status"], status(stack, "tolerated")) == ("incomplete", "incomplete")
    assert 0 < manifest["counts"]["pending"] <= 10
    assert [child["error"] for child in manifest["stopped"]["children"]] == ["UnitFailedError"]
    faults(stack)
    redrive(stack, execution)
    assert stack.wait(execution, timeout=120)["status"] == "SUCCEEDED"
    manifest = stack.manifest("tolerated")
    assert manifest is not None
    assert (manifest["status"], manifest["counts"]["landed"], manifest["counts"]["pending"]) == ("succeeded", 200, 0)
    assert ids(stack, "tolerated") == wanted


def in_progress(stack: Stack, name: str) -> bool:
    return any(job["status"] == "InProgress" for job in stack.jobs(name))


def test_an_aborted_run_stops_its_jobs_and_a_redrive_finishes_it(stack: Stack) -> None:
    wanted = corpus(stack, "aborted", 400)
    stack.aws.local("PUT", "/_local/knobs", {"records_per_second": 20})
    limits = {"max_records_per_shard": 200, "canary_records": 0}
    execution = stack.start("aborted", request("aborted", "batch", limits=limits))
    stack.until(lambda: in_progress(stack, "aborted"), "a job to run")
    stop(stack, execution)
    stack.until(lambda: status(stack, "aborted") == "aborted", "the end of the run to be noted")
    stack.until(lambda: all(job["status"] == "Stopped" for job in stack.jobs("aborted")), "the jobs to be stopped")
    manifest = stack.manifest("aborted")
    assert manifest is not None
    assert_conserves(manifest)
    assert (manifest["status"], manifest["counts"]["pending"]) == ("aborted", 400)
    nested = stack.aws.client("stepfunctions").list_executions(
        stateMachineArn=stack.outputs["shard_and_submit_arn"], statusFilter="RUNNING"
    )
    assert not [one for one in nested["executions"] if one["name"].startswith("aborted-")]

    stack.aws.local("PUT", "/_local/knobs", {"records_per_second": 0})
    redrive(stack, execution)
    assert stack.wait(execution, timeout=120)["status"] == "SUCCEEDED"
    manifest = stack.manifest("aborted")
    assert manifest is not None
    assert_conserves(manifest)
    assert manifest["status"] == "succeeded"
    assert ids(stack, "aborted") == wanted
    assert status(stack, "aborted") == "succeeded"


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_redrive_of_a_run_that_was_aborted_midway_leaves_what_had_landed(stack: Stack, mode: str) -> None:
    """Whatever file was there before is there after, byte for byte, and every record is in one of them."""
    name = f"midway-{mode}"
    wanted = corpus(stack, name, 600)
    if mode == "batch":
        # The second job takes long: the first one's results lie there when the run is aborted.
        faults(stack, {"target": "job", "match": first_jobs(name), "do": "delay", "seconds": 30, "after": 1})
    else:
        stack.aws.local("PUT", "/_local/knobs", {"latency_ms": 400})
    limits = {"max_records_per_shard": 300, "canary_records": 0, "items_per_batch": 50, "infer_concurrency": 2}
    execution = stack.start(name, request(name, mode, limits=limits))
    stack.until(lambda: len(ids(stack, name)) > 0, "some results")
    stop(stack, execution)
    stack.until(lambda: status(stack, name) == "aborted", "the end of the run to be noted")
    # Functions that were at work when it was aborted come to their end.
    settled: list[int] = []

    def quiet() -> bool:
        settled.append(len(tree(stack, name)))
        return len(settled) > 6 and len(set(settled[-6:])) == 1

    stack.until(quiet, "the last workers to end")
    before = {key: tag for key, tag in tree(stack, name).items() if "/results/" in key}
    assert 0 < len(ids(stack, name)) < len(wanted)
    faults(stack)
    stack.aws.local("PUT", "/_local/knobs", {"latency_ms": 0})
    redrive(stack, execution)
    assert stack.wait(execution, timeout=180)["status"] == "SUCCEEDED"
    after = tree(stack, name)
    assert {key: after.get(key) for key in before} == before
    assert ids(stack, name) == wanted


def test_the_same_corpus_in_the_same_scope_does_only_what_an_aborted_run_left(stack: Stack) -> None:
    wanted = corpus(stack, "again-scope", 600)
    stack.aws.local("PUT", "/_local/knobs", {"latency_ms": 400})
    limits = {"canary_records": 0, "items_per_batch": 50, "infer_concurrency": 2}
    body = request("again-scope", "sync", run={"mode": "sync", "scope": "again-scope"}, limits=limits)
    first = stack.start("again-scope-1", body)
    stack.until(lambda: len(ids(stack, "again-scope-1")) > 0, "some results")
    stop(stack, first)
    stack.until(lambda: status(stack, "again-scope-1") == "aborted", "the end of the run to be noted")
    stack.aws.local("PUT", "/_local/knobs", {"latency_ms": 0})
    manifest = run(stack, "again-scope-2", body)
    assert_conserves(manifest)
    landed = [ids(stack, name) for name in ("again-scope-1", "again-scope-2")]
    assert sorted(landed[0] + landed[1]) == wanted
    assert 0 < len(landed[0]) == manifest["counts"]["duplicate"]


def test_a_run_whose_execution_is_gone_is_closed_by_reconciliation(stack: Stack) -> None:
    """The event of its end is lost: the schedule finds the run, stops its jobs and says so, once."""
    corpus(stack, "gone", 200)
    # Slow enough that the job is still at work when the schedule, some minutes later, finds it.
    stack.aws.local("PUT", "/_local/knobs", {"records_per_second": 0.2})
    events, name = stack.aws.client("events"), stack.outputs["function_names"]["stop_run"].removesuffix("-stop_run")
    events.disable_rule(Name=f"{name}-run-broke-off")
    try:
        execution = stack.start("gone", request("gone", "batch", limits={**FEW, "max_records_per_shard": 200}))
        stack.until(lambda: in_progress(stack, "gone"), "the job to run")
        stop(stack, execution)
        assert status(stack, "gone") == "running"
        stack.until(lambda: status(stack, "gone") == "aborted", "the schedule to find the run", timeout=200)
    finally:
        events.enable_rule(Name=f"{name}-run-broke-off")
    stack.until(lambda: all(job["status"] == "Stopped" for job in stack.jobs("gone")), "the job to be stopped")
    manifest = stack.manifest("gone")
    assert manifest is not None
    assert manifest["status"] == "aborted"


def finish(stack: Stack, name: str) -> dict[str, Any]:
    """finish_run once more, as an operator invokes it; its answer or its error."""
    execution = stack.outputs["pipeline_arn"].replace(":stateMachine:", ":execution:") + f":{name}"
    answer = stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"]["finish_run"],
        Payload=json.dumps({"run": name, "tenant": "default", "executionArn": execution}),
    )
    return dict(json.loads(answer["Payload"].read()))


def test_a_run_that_does_not_conserve_names_the_part_and_is_counted_anew_when_it_is_back(stack: Stack) -> None:
    """A result part is deleted behind the run's back: its versions bring it back, finish_run counts again."""
    wanted = corpus(stack, "unsound", 40)
    run(stack, "unsound", request("unsound", "sync"))
    bucket, s3 = stack.outputs["output_bucket"], stack.aws.client("s3")
    part = stack.keys(bucket, "default/runs/unsound/results/")[0]
    s3.delete_object(Bucket=bucket, Key=part)
    refused = finish(stack, "unsound")
    assert refused["errorType"] == "ConservationError"
    assert part.rsplit("/", 1)[1] in refused["errorMessage"]
    manifest = stack.manifest("unsound")
    assert manifest is not None
    assert manifest["status"] == "inconsistent"
    assert part.rsplit("/", 1)[1] in json.dumps(manifest["problems"])
    (marker,) = s3.list_object_versions(Bucket=bucket, Prefix=part)["DeleteMarkers"]
    s3.delete_object(Bucket=bucket, Key=part, VersionId=marker["VersionId"])
    assert finish(stack, "unsound")["status"] == "succeeded"
    assert ids(stack, "unsound") == wanted


def test_a_throttled_sync_run_slows_down_and_lands_everything(stack: Stack) -> None:
    """Tokens per minute for a few records at a time: Bedrock throttles, the run goes on at the pace it is let."""
    wanted = corpus(stack, "slowed", 60)
    seen = {"name": "seen", "target": "call", "match": {"prompt": "This is slowed."}, "do": "delay", "seconds": 0}
    faults(stack, seen)
    # A record reserves its prompt and 100 tokens of answer: about ten of them fit into a "minute" of two seconds.
    stack.aws.local("PUT", "/_local/knobs", {"tokens_per_minute": 1300, "seconds_per_minute": 2})
    body = request("slowed", "sync", limits={"canary_records": 0, "items_per_batch": 20, "infer_concurrency": 3})
    manifest = run(stack, "slowed", body, timeout=240)
    assert_conserves(manifest)
    stack.until(lambda: ids(stack, "slowed") == wanted, "every record to land")
    (calls,) = [rule["fired"] for rule in stack.aws.local("GET", "/_local/faults")["rules"] if rule["name"] == "seen"]
    assert calls > 60, "more calls than records: some were throttled and made again"
