"""Distributed Map as AWS documents it. Pages are under https://docs.aws.amazon.com/step-functions/latest/dg/."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from local_aws import LocalAws
from state_machines import StateMachines, distributed, jsonl, output, s3_rights, until

GET = "arn:aws:states:::s3:getObject"
LIST = "arn:aws:states:::s3:listObjectsV2"
PUT = "arn:aws:states:::s3:putObject"


@pytest.fixture
def machines(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> StateMachines:
    return StateMachines(aws, unique, make_role)


def reader(key: str, kind: str = "JSONL", **config: Any) -> dict[str, Any]:
    return {
        "Resource": GET,
        "ReaderConfig": {"InputType": kind, **config},
        "Parameters": {"Bucket.$": "$.bucket", "Key": key},
    }


def run_over(
    machines: StateMachines, bucket: str, value: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """Run a Distributed Map with rights on the bucket; DescribeExecution of its end."""
    return machines.run(distributed(**fields), {"bucket": bucket, **(value or {})}, s3_rights(bucket))


def files(machines: StateMachines, bucket: str, described: dict[str, Any]) -> dict[str, list[Any]]:
    """What the manifest of an exported run lists, read back."""
    details = output(described)["ResultWriterDetails"]
    return read_manifest(machines, bucket, details["Key"])


def read_manifest(machines: StateMachines, bucket: str, key: str) -> dict[str, list[Any]]:
    manifest = json.loads(machines.read(bucket, key))
    found: dict[str, list[Any]] = {}
    for kind, entries in manifest["ResultFiles"].items():
        found[kind] = []
        for entry in entries:
            content = machines.read(bucket, entry["Key"])
            assert len(content) == entry["Size"]
            lines = content.split(b"\n")[:-1]
            found[kind] += [json.loads(x) for x in lines] if entry["Key"].endswith(".jsonl") else json.loads(content)
    return found


def manifest_key(machines: StateMachines, bucket: str) -> str:
    listed = machines.aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    (key,) = [each["Key"] for each in listed if each["Key"].endswith("/manifest.json")]
    return str(key)


def test_jsonl_lines_end_at_newline_only(machines: StateMachines, unique: str) -> None:
    """input-output-itemreader: one item a line. U+2028 and U+0085 are text, a last line needs no newline."""
    text = '{"t": "a\u2028b"}\n\n{"t": "c\u0085d"}\r\n{"t": "e"}'
    machines.put(unique, "in.jsonl", text.encode())
    assert output(run_over(machines, unique, ItemReader=reader("in.jsonl"))) == [
        {"t": "a\u2028b"},
        {"t": "c\u0085d"},
        {"t": "e"},
    ]


def test_gzip_csv_and_json(machines: StateMachines, unique: str) -> None:
    """input-output-itemreader: GZIP by the key's extension; CSV with its header; a JSON array."""
    machines.put(unique, "in.jsonl.gz", gzip.compress(b'{"n": 1}\n') + gzip.compress(b'{"n": 2}\n'))
    machines.put(unique, "in.csv", 'id;text\n1;"a\nb"\n2\n')
    machines.put(unique, "in.json", '{"deep": [{"items": [3, "four", null]}]}')
    assert output(run_over(machines, unique, ItemReader=reader("in.jsonl.gz"))) == [{"n": 1}, {"n": 2}]
    csv = reader("in.csv", "CSV", CSVHeaderLocation="FIRST_ROW", CSVDelimiter="SEMICOLON")
    assert output(run_over(machines, unique, ItemReader=csv)) == [{"id": "1", "text": "a\nb"}, {"id": "2", "text": ""}]
    pointed = reader("in.json", "JSON", ItemsPointer="/deep/0/items")
    assert output(run_over(machines, unique, ItemReader=pointed)) == [3, "four", None]


def test_listing_and_load_and_flatten(machines: StateMachines, unique: str) -> None:
    """input-output-itemreader: s3:listObjectsV2 gives objects, with LOAD_AND_FLATTEN what is in them."""
    machines.put(unique, "in/a.jsonl", jsonl([1, 2]))
    machines.put(unique, "in/b.jsonl", jsonl([3]))
    machines.put(unique, "in/folder/", b"")
    machines.put(unique, "other", b"x")
    listing = {"Resource": LIST, "Parameters": {"Bucket.$": "$.bucket", "Prefix": "in/"}}
    listed = output(run_over(machines, unique, ItemReader=listing))
    assert [(each["Key"], each["Size"]) for each in listed] == [("in/a.jsonl", 4), ("in/b.jsonl", 2), ("in/folder/", 0)]
    assert set(listed[0]) == {"Etag", "Key", "LastModified", "Size", "StorageClass"}
    flatten = {**listing, "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"}}
    selected = {"at.$": "$$.Map.Item.Index", "n.$": "$$.Map.Item.Value", "from.$": "$$.Map.Item.Source"}
    assert output(run_over(machines, unique, ItemReader=flatten, ItemSelector=selected)) == [
        {"at": 0, "n": 1, "from": f"s3://{unique}/in/a.jsonl"},
        {"at": 1, "n": 2, "from": f"s3://{unique}/in/a.jsonl"},
        {"at": 2, "n": 3, "from": f"s3://{unique}/in/b.jsonl"},
    ]


def test_items_of_the_input_and_max_items(machines: StateMachines, unique: str) -> None:
    """input-output-itemspath; input-output-itemreader: MaxItemsPath limits what is read."""
    assert output(machines.run(distributed(ItemsPath="$.list"), {"list": [1, 2]})) == [1, 2]
    machines.put(unique, "in.jsonl", jsonl(range(9)))
    limited = reader("in.jsonl", MaxItemsPath="$.most")
    assert output(run_over(machines, unique, {"most": 2}, ItemReader=limited)) == [0, 1]


def test_no_items(machines: StateMachines, unique: str) -> None:
    """state-map-distributed: an empty data set is a run of zero children."""
    machines.put(unique, "in.jsonl", b"")
    described = run_over(machines, unique, ItemReader=reader("in.jsonl"))
    assert output(described) == []
    run = machines.map_run(described["executionArn"])
    assert (run["status"], run["itemCounts"]["total"], run["executionCounts"]["total"]) == ("SUCCEEDED", 0, 0)


def test_batches_by_items_with_batch_input(machines: StateMachines, unique: str) -> None:
    """input-output-itembatcher: a child's input is {"BatchInput", "Items"}; ItemSelector comes before batching."""
    machines.put(unique, "in.jsonl", jsonl({"n": n} for n in range(5)))
    described = run_over(
        machines,
        unique,
        {"per": 2},
        ItemReader=reader("in.jsonl"),
        ItemSelector={"v.$": "$$.Map.Item.Value.n"},
        ItemBatcher={"MaxItemsPerBatchPath": "$.per", "BatchInput": {"fixed": 1, "b.$": "$.bucket"}},
    )
    shared = {"fixed": 1, "b": unique}
    assert output(described) == [
        {"BatchInput": shared, "Items": [{"v": 0}, {"v": 1}]},
        {"BatchInput": shared, "Items": [{"v": 2}, {"v": 3}]},
        {"BatchInput": shared, "Items": [{"v": 4}]},
    ]
    run = machines.map_run(described["executionArn"])
    assert (run["itemCounts"]["succeeded"], run["executionCounts"]["succeeded"]) == (5, 3)


def test_batches_by_bytes_cover_the_whole_input(machines: StateMachines) -> None:
    """input-output-itembatcher: MaxInputBytesPerBatch limits the child's whole input; BatchInput is absent if unset."""
    batcher = {"MaxInputBytesPerBatch": 65, "MaxItemsPerBatch": 100, "BatchInput": {"note": "x" * 20}}
    described = machines.run(distributed(ItemsPath="$.l", ItemBatcher=batcher), {"l": ["ab"] * 4})
    children = machines.children(machines.map_run(described["executionArn"])["mapRunArn"])
    sizes = [len(each["input"].encode()) for each in children]
    assert sizes == [61] * 4  # a second item would make it 66
    assert [len(each["Items"]) for each in output(described)] == [1] * 4
    bare = machines.run(distributed(ItemsPath="$.l", ItemBatcher={"MaxInputBytesPerBatch": 24}), {"l": ["ab"] * 4})
    # {"Items":["ab","ab"]} has 21 bytes, a third item would make it 26.
    assert output(bare) == [{"Items": ["ab", "ab"]}] * 2


@pytest.mark.parametrize(
    ("tolerance", "failing", "status"),
    [
        ({}, 1, "FAILED"),
        ({"ToleratedFailurePercentage": 20}, 2, "SUCCEEDED"),
        ({"ToleratedFailurePercentagePath": "$.p"}, 3, "FAILED"),
        ({"ToleratedFailureCount": 2}, 2, "SUCCEEDED"),
        ({"ToleratedFailureCountPath": "$.c"}, 2, "FAILED"),
        ({"ToleratedFailureCount": 9, "ToleratedFailurePercentage": 10}, 2, "FAILED"),
    ],
)
def test_tolerated_failures(machines: StateMachines, tolerance: dict[str, Any], failing: int, status: str) -> None:
    """state-map-distributed, "Setting failure thresholds": without one, any failure fails the run; either exceeded."""
    value = {"items": [{"ok": n >= failing} for n in range(10)], "p": 29.5, "c": 1}
    described = machines.run(distributed(_fail_unless_ok(), ItemsPath="$.items", MaxConcurrency=1, **tolerance), value)
    assert described["status"] == status
    counts = machines.map_run(described["executionArn"])["itemCounts"]
    if status == "FAILED":
        assert described["error"] == "States.ExceedToleratedFailureThreshold"
        assert counts["pending"] > 0
    else:
        assert (counts["failed"], counts["succeeded"]) == (failing, 10 - failing)


def _fail_unless_ok() -> dict[str, Any]:
    return {
        "Ok": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.ok", "BooleanEquals": True, "Next": "Yes"}],
            "Default": "No",
        },
        "Yes": {"Type": "Succeed"},
        "No": {"Type": "Fail", "Error": "Refused", "Cause": "as asked"},
    }


def test_failed_batches_count_all_their_items(machines: StateMachines) -> None:
    """state-map-distributed: thresholds count items; a failed child with a batch fails all items of the batch."""
    states = {"No": {"Type": "Fail", "Error": "Refused"}}
    fields = {"ItemsPath": "$.l", "ItemBatcher": {"MaxItemsPerBatch": 3}, "MaxConcurrency": 1}
    described = machines.run(distributed(states, ToleratedFailureCount=2, **fields), {"l": list(range(9))})
    run = machines.map_run(described["executionArn"])
    assert described["error"] == "States.ExceedToleratedFailureThreshold"
    assert (run["itemCounts"]["failed"], run["executionCounts"]["failed"]) == (3, 1)
    assert (run["itemCounts"]["pending"], run["executionCounts"]["pending"]) == (6, 2)


def test_stopped_early_children_are_aborted(machines: StateMachines) -> None:
    """concepts-examine-map-run: when the threshold is exceeded, children that still run are aborted."""
    states = {
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$", "NumericEquals": 0, "Next": "No"}],
            "Default": "Long",
        },
        "Long": {"Type": "Wait", "Seconds": 600, "End": True},
        "No": {"Type": "Fail"},
    }
    described = machines.run(distributed(states, ItemsPath="$.l", MaxConcurrency=3), {"l": [1, 2, 0, 4, 5]})
    counts = machines.map_run(described["executionArn"])["executionCounts"]
    assert {k: counts[k] for k in ("failed", "aborted", "pending", "running")} == {
        "failed": 1,
        "aborted": 2,
        "pending": 2,
        "running": 0,
    }


def test_result_writer_files(machines: StateMachines, unique: str) -> None:
    """input-output-resultwriter: manifest.json, SUCCEEDED_n, FAILED_n and PENDING_n under <Prefix>/<uuid>/."""
    machines.put(unique, "seed", b"")
    value = {"items": [{"ok": True, "n": 1}, {"ok": False, "n": 2}, {"ok": True, "n": 3}], "bucket": unique}
    writer = {"Resource": PUT, "Parameters": {"Bucket.$": "$.bucket", "Prefix": "runs/x/"}}
    definition = distributed(_fail_unless_ok(), ItemsPath="$.items", MaxConcurrency=1, ResultWriter=writer)
    described = machines.run(definition, value, s3_rights(unique))
    assert described["error"] == "States.ExceedToleratedFailureThreshold"
    key = manifest_key(machines, unique)
    assert re.fullmatch(r"runs/x/[0-9a-f-]{36}/manifest\.json", key)
    run = machines.map_run(described["executionArn"])
    manifest = json.loads(machines.read(unique, key))
    assert manifest["DestinationBucket"] == unique
    assert manifest["MapRunArn"] == run["mapRunArn"]
    assert run["mapRunArn"].endswith(key.split("/")[-2])
    found = read_manifest(machines, unique, key)
    assert [json.loads(each["Output"])["n"] for each in found["SUCCEEDED"]] == [1]
    assert found["SUCCEEDED"][0]["Status"] == "SUCCEEDED"
    assert (found["FAILED"][0]["Error"], found["FAILED"][0]["Cause"]) == ("Refused", "as asked")
    assert [json.loads(each["Input"])["n"] for each in found["PENDING"]] == [3]


def test_result_writer_formats(machines: StateMachines, unique: str) -> None:
    """input-output-resultwriter: COMPACT gives outputs, FLATTEN takes arrays apart, JSONL one a line; state output."""
    machines.put(unique, "seed", b"")
    target = {"Resource": PUT, "Parameters": {"Bucket.$": "$.bucket", "Prefix": "out"}}
    compact = {**target, "WriterConfig": {"Transformation": "COMPACT", "OutputType": "JSONL"}}
    flatten = {**target, "WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}}
    value = {"l": [[1, 2], [3], "four"]}
    described = run_over(machines, unique, value, ItemsPath="$.l", ResultWriter=compact)
    assert set(output(described)) == {"MapRunArn", "ResultWriterDetails"}
    assert output(described)["ResultWriterDetails"]["Bucket"] == unique
    assert files(machines, unique, described)["SUCCEEDED"] == [[1, 2], [3], "four"]
    described = run_over(machines, unique, value, ItemsPath="$.l", ResultWriter=flatten)
    assert files(machines, unique, described) == {"SUCCEEDED": [1, 2, 3, "four"], "FAILED": [], "PENDING": []}
    shown = machines.run(
        distributed(ItemsPath="$.l", ResultWriter={"WriterConfig": {"Transformation": "FLATTEN"}}), value
    )
    assert output(shown) == [1, 2, 3, "four"]


def test_results_over_the_limit_need_export(machines: StateMachines, unique: str) -> None:
    """service-quotas: 256 KiB of state output; over it States.DataLimitExceeded, which States.ALL does not catch."""
    machines.put(unique, "in.jsonl", jsonl({"t": "x" * 1000} for _ in range(300)))
    definition = distributed(ItemReader=reader("in.jsonl"), Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}])
    definition["States"]["Caught"] = {"Type": "Succeed"}
    described = machines.run(definition, {"bucket": unique}, s3_rights(unique))
    assert (described["status"], described["error"]) == ("FAILED", "States.DataLimitExceeded")
    target = {"Resource": PUT, "Parameters": {"Bucket.$": "$.bucket"}}
    assert run_over(machines, unique, ItemReader=reader("in.jsonl"), ResultWriter=target)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("content", [None, b'{"n": 1}\nnot json\n'])
def test_reader_failures(machines: StateMachines, unique: str, content: bytes | None) -> None:
    """concepts-error-handling: States.ItemReaderFailed when the items cannot be read; no child is started."""
    machines.put(unique, "seed", b"")
    if content is not None:
        machines.put(unique, "in.jsonl", content)
    described = run_over(machines, unique, ItemReader=reader("in.jsonl"))
    assert described["error"] == "States.ItemReaderFailed"
    assert ("line 2" if content else "NoSuchKey") in described["cause"]
    assert machines.events(described["executionArn"])[-3:] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"]


def test_writer_failure(machines: StateMachines) -> None:
    """concepts-error-handling: States.ResultWriterFailed when the results cannot be exported; it can be caught."""
    writer = {"Resource": PUT, "Parameters": {"Bucket": "no-such-bucket-here", "Prefix": "x"}}
    definition = distributed(
        ItemsPath="$.l", ResultWriter=writer, Catch=[{"ErrorEquals": ["States.ResultWriterFailed"], "Next": "Caught"}]
    )
    definition["States"]["Caught"] = {"Type": "Succeed"}
    rights = s3_rights("no-such-bucket-here")
    assert output(machines.run(definition, {"l": [1]}, rights))["Error"] == "States.ResultWriterFailed"


def test_names_and_arns_of_children(machines: StateMachines) -> None:
    """concepts-examine-map-run: the label stands in the ARNs of the Map Run and its children."""
    described = machines.run(distributed(ItemsPath="$.l"), {"l": [7]})
    machine = described["stateMachineArn"]
    run = machines.map_run(described["executionArn"])
    assert re.fullmatch(
        re.escape(machine.replace(":stateMachine:", ":mapRun:")) + r"/Items:[0-9a-f-]{36}", run["mapRunArn"]
    )
    (child,) = machines.children(run["mapRunArn"])
    prefix = machine.replace(":stateMachine:", ":execution:") + "/Items:"
    assert child["executionArn"] == prefix + child["name"]
    assert child["stateMachineArn"] == machine + "/Items"
    assert child["mapRunArn"] == run["mapRunArn"]
    assert (child["input"], child["output"]) == ("7", "7")
    assert machines.events(child["executionArn"])[-1] == "ExecutionSucceeded"
    own = machines.client.list_executions(stateMachineArn=machine)["executions"]
    assert [each["executionArn"] for each in own] == [described["executionArn"]]


def test_concurrency_is_bounded_and_waiting_children_starve_nobody(machines: StateMachines) -> None:
    """state-map-distributed: MaxConcurrencyPath; a child that waits holds its place and nothing else."""
    states = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    machine = machines.create(distributed(states, ItemsPath="$.l", MaxConcurrencyPath="$.n"))
    waiting = machines.start(machine, {"l": list(range(300)), "n": 200})
    until(lambda: machines.client.list_map_runs(executionArn=waiting)["mapRuns"], "the Map Run")
    until(lambda: machines.map_run(waiting)["executionCounts"]["running"] == 200, "200 running children")
    assert machines.map_run(waiting)["executionCounts"]["pending"] == 100
    assert machines.map_run(waiting)["maxConcurrency"] == 200
    quick = machines.run(distributed(ItemsPath="$.l"), {"l": list(range(100))})
    assert len(output(quick)) == 100
    machines.client.update_map_run(mapRunArn=machines.map_run(waiting)["mapRunArn"], maxConcurrency=250)
    until(lambda: machines.map_run(waiting)["executionCounts"]["running"] == 250, "250 running children")
    machines.client.stop_execution(executionArn=waiting, error="Enough", cause="tested")
    assert machines.end(waiting)["status"] == "ABORTED"


def test_stop_aborts_children(machines: StateMachines, unique: str) -> None:
    """API_StopExecution, concepts-examine-map-run: stopping the parent aborts the Map Run and its running children."""
    machines.put(unique, "seed", b"")
    states = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    writer = {"Resource": PUT, "Parameters": {"Bucket": unique, "Prefix": "out"}}
    definition = distributed(states, ItemsPath="$.l", MaxConcurrency=2, ResultWriter=writer)
    execution = machines.start(machines.create(definition, s3_rights(unique)), {"l": [1, 2, 3]})
    until(lambda: machines.client.list_map_runs(executionArn=execution)["mapRuns"], "the Map Run")
    until(lambda: machines.map_run(execution)["executionCounts"]["running"] == 2, "two running children")
    machines.client.stop_execution(executionArn=execution, error="Enough", cause="tested")
    described = machines.end(execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Enough", "tested")
    run = machines.map_run(execution)
    assert (run["status"], run["executionCounts"]["aborted"], run["executionCounts"]["pending"]) == ("ABORTED", 2, 1)
    for child in machines.children(run["mapRunArn"]):
        assert child["status"] == "ABORTED"
        assert machines.events(child["executionArn"])[-2:] == ["WaitStateAborted", "ExecutionAborted"]
    until(lambda: machines.map_run(execution)["executionCounts"]["resultsWritten"], "the results")
    found = read_manifest(machines, unique, manifest_key(machines, unique))
    assert {kind: len(entries) for kind, entries in found.items()} == {"FAILED": 2, "PENDING": 1, "SUCCEEDED": 0}


def test_many_children(machines: StateMachines, unique: str) -> None:
    """service-quotas: up to 10,000 children at once; every item once, whatever their number."""
    machines.put(unique, "in.jsonl", jsonl(range(12_000)))
    target = {"Resource": PUT, "Parameters": {"Bucket.$": "$.bucket"}, "WriterConfig": {"Transformation": "COMPACT"}}
    described = run_over(machines, unique, ItemReader=reader("in.jsonl"), ResultWriter=target)
    assert files(machines, unique, described)["SUCCEEDED"] == list(range(12_000))


def test_retry_of_the_map_starts_a_new_run(machines: StateMachines) -> None:
    """state-map-distributed: a Retry of the Map state runs all items again, in a new Map Run."""
    definition = distributed(
        {"No": {"Type": "Fail", "Error": "Refused"}},
        ItemsPath="$.l",
        Retry=[{"ErrorEquals": ["States.ExceedToleratedFailureThreshold"], "MaxAttempts": 1, "IntervalSeconds": 1}],
    )
    described = machines.run(definition, {"l": [1]})
    assert described["status"] == "FAILED"
    assert len(machines.client.list_map_runs(executionArn=described["executionArn"])["mapRuns"]) == 2
