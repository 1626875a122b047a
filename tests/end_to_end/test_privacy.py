"""Prompts and answers stay in the two buckets: a word planted in a corpus is looked for wherever it must not be.

The word stands in prompts, so in the stand-in model's answers; in lines that cannot be read; in what the model says
when it refuses. Every call to a service but S3 and the model is tapped by a rule of the fault plan that only counts.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.end_to_end.conftest import assert_conserves, jsonl, request
from tests.harness.stack import Stack

WORD = "Zwiebelfisch7391"
RUNS = ("privacy-batch", "privacy-sync", "privacy-stopped")
MUST_NOT = ("sqs", "dynamodb", "states", "events", "lambda", "bedrock", "servicequotas", "logs", "monitoring", "xray")
MUST = ("s3", "bedrock-runtime")


def corpus(name: str) -> bytes:
    """120 tickets; some refused by the model; a line that is no JSON, one without a text, a text twice."""
    records = [{"id": f"p-{n:04d}", "text": f"Case {name} {n}: {WORD} rattles."} for n in range(120)]
    broken = [
        b'{"id": "cut", "text": "' + WORD.encode() + b"\n",
        json.dumps({"id": WORD + "-no-text"}).encode() + b"\n",
    ]
    return jsonl([*records, records[5]]) + b"".join(broken)


def rules() -> list[dict[str, Any]]:
    tap = {"target": "call", "do": "delay", "seconds": 0}
    refused = [f"Case {name} {n}: " for name in RUNS for n in (7, 8)]
    return [
        *(
            {**tap, "name": f"tap-{service}", "match": {"service": service, "request": WORD}}
            for service in (*MUST_NOT, *MUST)
        ),
        {
            "target": "record", "match": {"prompt": refused}, "do": "error", "errorCode": 400,
            "errorMessage": f"The text {WORD} rattles cannot be answered.",
        },
    ]  # fmt: skip


def fired(stack: Stack) -> dict[str, int]:
    """How many calls of each tapped service held the word."""
    shown = stack.aws.local("GET", "/_local/faults")["rules"]
    return {
        rule["name"].removeprefix("tap-"): rule["fired"] for rule in shown if str(rule.get("name")).startswith("tap-")
    }


def play(stack: Stack) -> dict[str, int]:
    """Three runs over the word: batch, sync, and one that is stopped; a redrive of what failed. Gives the taps."""
    stack.aws.local("PUT", "/_local/faults", rules())
    arns = {}
    for name in RUNS:
        stack.upload(f"default/corpus/{name}/cases.jsonl", corpus(name))
        mode = "sync" if name == "privacy-sync" else "batch"
        limits = {"tolerated_failure_percentage": 50, "canary_records": 2}
        # The stand-in model repeats the first sentences.
        body = request(name, mode, limits=limits, prompt={"template": "{{text}}"})
        arns[name] = stack.start(name, body)
    states = stack.aws.client("stepfunctions")
    stack.until(lambda: bool(stack.jobs("privacy-stopped")), "a job of the run to be stopped", 120)
    states.stop_execution(executionArn=arns["privacy-stopped"], error="Operator", cause="no longer needed")
    for name in RUNS[:2]:
        assert stack.wait(arns[name], timeout=120)["status"] == "SUCCEEDED"
    stack.until(lambda: stack.manifest("privacy-stopped") is not None, "the manifest of the stopped run", 120)
    redrive = {"action": "redrive", "run": "privacy-sync"}
    stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"]["redrive_failures"], Payload=json.dumps(redrive).encode()
    )
    return fired(stack)


def check_buckets(stack: Stack, played: dict[str, int]) -> None:
    assert all(played[service] for service in MUST), played
    for name in RUNS[:2]:
        manifest = stack.manifest(name)
        assert manifest is not None
        assert_conserves(manifest)
        assert manifest["counts"]["landed"] == 118
        assert manifest["counts"]["failed"] == 2
        assert manifest["counts"]["rejected"] >= 1
        assert all(WORD in line["text"] for line in stack.lines(name, "results"))


def check_calls(played: dict[str, int]) -> None:
    """Messages, items, task outputs, events, payloads and log lines, as they were sent."""
    assert {service: played[service] for service in MUST_NOT if played[service]} == {}


def check_logs(stack: Stack) -> None:
    logs = stack.aws.client("logs")
    seen = 0
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = [
                event["message"]
                for found in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
                for event in found["events"]
            ]
            seen += len(events)
            assert [message for message in events if WORD in message] == [], group["logGroupName"]
    assert seen > 100


def check_histories(stack: Stack) -> None:
    """Input, output, cause and every event of each execution, those of maps included."""
    states = stack.aws.client("stepfunctions")
    seen = 0
    for arn in executions(stack):
        described = {**states.describe_execution(executionArn=arn), "ResponseMetadata": None}
        assert WORD not in json.dumps(described, default=str), arn
        history = states.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in history for event in page["events"]]
        seen += len(events)
        assert WORD not in json.dumps(events, default=str), arn
    assert seen > 100


def executions(stack: Stack) -> Iterator[str]:
    """Of the runs of this file: pipelines, what they started, and the children of all maps."""
    states = stack.aws.client("stepfunctions")
    for name in RUNS:
        pipeline = f"{stack.outputs['pipeline_arn'].replace(':stateMachine:', ':execution:')}:{name}"
        yield pipeline
        for output in ("shard_and_submit_arn", "fan_out_arn"):
            listed = states.list_executions(stateMachineArn=stack.outputs[output])["executions"]
            yield from (each["executionArn"] for each in listed if each["name"].startswith(f"{name}-"))
        for map_run in stack.map_runs(pipeline):
            children = states.list_executions(mapRunArn=map_run)["executions"]
            yield from (each["executionArn"] for each in children)


def check_items_messages_and_metrics(stack: Stack) -> None:
    tables = stack.aws.client("dynamodb")
    for table in ("ledger_table", "runs_table"):
        pages = tables.get_paginator("scan").paginate(TableName=stack.outputs[table])
        items = [item for page in pages for item in page["Items"]]
        assert items
        assert WORD not in json.dumps(items, default=str)
    sqs = stack.aws.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1).get(
            "Messages"
        ):
            assert WORD not in json.dumps(messages), url
            if len(messages) < 10:
                break
    metrics = stack.aws.client("cloudwatch").get_paginator("list_metrics").paginate()
    assert WORD not in json.dumps([page["Metrics"] for page in metrics])


def check_manifests_and_reports(stack: Stack) -> None:
    """They are for people who may not read the answers."""
    s3, bucket = stack.aws.client("s3"), stack.outputs["output_bucket"]
    for name in RUNS:
        for file in ("manifest.json", "report.html"):
            body = s3.get_object(Bucket=bucket, Key=f"default/runs/{name}/{file}")["Body"].read().decode()
            assert WORD not in body, f"{name}/{file}"


def test_a_planted_word_is_in_the_buckets_alone(stack: Stack) -> None:
    played = play(stack)
    check_buckets(stack, played)
    check_calls(played)
    check_logs(stack)
    check_histories(stack)
    check_items_messages_and_metrics(stack)
    check_manifests_and_reports(stack)
