"""Both modes over good and bad records, on the whole module as Terraform makes it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.end_to_end.conftest import assert_conserves, jsonl, request, run, tickets, tree
from tests.harness.stack import Stack

POISON = [7, 250, 511]


def poison(mode: str) -> list[dict[str, Any]]:
    """The model refuses these tickets at every try, in both modes."""
    return [
        {
            "target": "record",
            "match": {"prompt": [f"Ticket {number}:" for number in POISON]},
            "do": "error",
            "errorCode": 400,
            "errorMessage": f"refused in {mode}",
        }
    ]


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_every_record_lands_once_but_the_poison(stack: Stack, mode: str) -> None:
    """Poison costs its own record only: it is in the failure lane with its reason, every other record lands once."""
    records = tickets(520 if mode == "batch" else 260)
    ids = {record["id"] for record in records}
    expected_poison = ids & {f"t-{number:05d}" for number in POISON}
    stack.aws.local("PUT", "/_local/faults", poison(mode))
    stack.upload(f"default/corpus/once-{mode}/tickets.jsonl", jsonl(records))

    manifest = run(stack, f"once-{mode}", request(f"once-{mode}", mode, limits={"max_records_per_shard": 200}))

    assert_conserves(manifest)
    landed = [line["recordId"] for line in stack.lines(f"once-{mode}", "results")]
    assert len(landed) == len(set(landed))
    assert set(landed) == ids - expected_poison
    failures = {line["recordId"]: line for line in stack.lines(f"once-{mode}", "failures")}
    assert set(failures) == expected_poison
    assert all(f"refused in {mode}" in line["errorMessage"] for line in failures.values())
    assert manifest["counts"]["landed"] == len(landed)
    assert manifest["counts"]["failed"] == len(expected_poison)


def test_batch_makes_legal_shards_and_sends_the_remainder_sync(stack: Stack) -> None:
    """430 records in shards of 200: two jobs, and 30 records that are too few for a third go on demand."""
    stack.upload("default/corpus/remainder/tickets.jsonl", jsonl(tickets(430)))
    manifest = run(stack, "remainder", request("remainder", "batch", limits={"max_records_per_shard": 200}))
    assert manifest["counts"]["landed"] == 430
    jobs = stack.jobs("remainder")
    assert sorted(job["totalRecordCount"] for job in jobs) == [200, 200]
    assert {job["status"] for job in jobs} == {"Completed"}


def test_one_object_is_cut_into_byte_ranges(stack: Stack) -> None:
    """A range owns the lines that begin in it: whatever the cuts, each record is read once."""
    body = jsonl(tickets(2500))
    stack.upload("default/corpus/ranges/tickets.jsonl", body)
    manifest = run(stack, "ranges", request("ranges", "batch", limits={"cut_bytes": 65536}))
    assert manifest["counts"]["read"] == manifest["counts"]["landed"] == 2500
    pieces = stack.keys(stack.outputs["input_bucket"], "default/runs/ranges/shards/")
    assert len({key.rsplit("/", 1)[1].split("-")[0] for key in pieces}) >= len(body) // 65536


def test_a_finished_run_cannot_be_started_again(stack: Stack) -> None:
    """StartExecution with the name of a closed execution is refused, and nothing of the run changes.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    stack.upload("default/corpus/again/tickets.jsonl", jsonl(tickets(30)))
    body = request("again", "sync")
    run(stack, "again", body)
    before = tree(stack, "again")
    with pytest.raises(ClientError) as refused:
        stack.start("again", body)
    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"
    assert tree(stack, "again") == before


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_new_run_in_the_same_scope_lands_nothing_twice(stack: Stack, mode: str) -> None:
    """What has landed under a dataset's name is not inferred again; what is new in the corpus is."""
    source = f"scope-{mode}"
    stack.upload(f"default/corpus/{source}/one.jsonl", jsonl(tickets(150)))
    run(stack, f"{source}-first", request(source, mode, run={"mode": mode, "scope": source}))
    stack.upload(f"default/corpus/{source}/two.jsonl", jsonl(tickets(120, start=150)))
    manifest = run(stack, f"{source}-second", request(source, mode, run={"mode": mode, "scope": source}))
    assert_conserves(manifest)
    assert manifest["counts"]["duplicate"] == 150
    assert manifest["counts"]["landed"] == 120
    second = {line["recordId"] for line in stack.lines(f"{source}-second", "results")}
    assert second == {f"t-{n:05d}" for n in range(150, 270)}


def test_ready_record_lines_pass_through(stack: Stack) -> None:
    """A line that is a record already keeps its modelInput byte for byte."""
    lines = [
        b'{"recordId": "r-%d", "modelInput": {"messages": [{"role": "user", "content": [{"text": "Call %d. Back."}]}],'
        b' "inferenceConfig": {"maxTokens": 50}}}' % (n, n)
        for n in range(120)
    ]
    stack.upload("default/corpus/ready/records.jsonl", b"\n".join(lines))
    body = request("ready", "batch")
    del body["prompt"]
    manifest = run(stack, "ready", body)
    assert manifest["counts"]["landed"] == 120
    bucket = stack.outputs["input_bucket"]
    (shard,) = stack.keys(bucket, "default/runs/ready/shards/")
    sent = stack.aws.client("s3").get_object(Bucket=bucket, Key=shard)["Body"].read()
    assert [line for line in sent.split(b"\n") if line] == lines


def test_a_lost_completion_event_is_reconciled(stack: Stack) -> None:
    """Events are best effort: with every event of the jobs lost, the schedule finds the finished job."""
    stack.aws.local("PUT", "/_local/faults", [{"name": "lost", "target": "event", "match": {}, "do": "drop"}])
    stack.upload("default/corpus/lost/tickets.jsonl", jsonl(tickets(120)))
    manifest = run(stack, "lost", request("lost", "batch"), timeout=240)
    assert manifest["counts"]["landed"] == 120
    fired = stack.aws.local("GET", "/_local/faults")
    assert json.dumps(fired).count("lost"), "the fault plan is still the one that drops events"


def test_a_record_that_fails_in_batch_lands_when_reprocessed(stack: Stack) -> None:
    """The failure lane: an error line becomes a message, reprocess_records lands it, the sums still hold."""
    rule = {"target": "record", "match": {"recordId": "t-00042", "mode": "batch"}, "do": "error", "errorCode": 500}
    stack.aws.local("PUT", "/_local/faults", [rule])
    stack.upload("default/corpus/reprocess/tickets.jsonl", jsonl(tickets(120)))
    manifest = run(stack, "reprocess", request("reprocess", "batch"))
    assert_conserves(manifest)

    def landed() -> set[str]:
        return {line["recordId"] for line in stack.lines("reprocess", "results")}

    stack.until(lambda: "t-00042" in landed(), "t-00042 is reprocessed")
    assert len(landed()) == 120


def test_an_empty_corpus_ends_with_zero_counts(stack: Stack) -> None:
    stack.upload("default/corpus/empty/nothing.jsonl", b"")
    manifest = run(stack, "empty", request("empty", "auto"))
    assert manifest["status"] == "empty"
    assert set(manifest["counts"].values()) == {0}


def test_completion_is_announced(stack: Stack) -> None:
    """Another stack's rule on the completion bus sees the run end, with where its manifest lies."""
    sqs = stack.aws.client("sqs")
    queue = stack.listen("downstream", {"source": ["bulk-inference"]})
    stack.upload("default/corpus/announced/tickets.jsonl", jsonl(tickets(20)))
    run(stack, "announced", request("announced", "sync"))
    found: list[dict[str, Any]] = []

    def told() -> bool:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        found.extend(json.loads(message["Body"]) for message in messages)
        return any(event["detail"]["run"] == "announced" for event in found)

    stack.until(told, "the completion event")
    (event,) = [event for event in found if event["detail"]["run"] == "announced"]
    assert event["detail-type"] == "Bulk Inference Run Finished"
    assert event["detail"]["status"] == "succeeded"
    assert event["detail"]["counts"]["landed"] == 20
    assert event["detail"]["manifest"]["key"] == "default/runs/announced/manifest.json"
