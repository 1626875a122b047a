"""Counts what runs use of each service on the local AWS, in the units that AWS bills, and what that is for a million.

    .venv/bin/python -m tests.benchmarks.units_of_a_run --records 500

Two runs in each mode, the second of twice as many records: so what every run uses is told from what each job, item
batch or record adds. A million records are then taken as ten jobs of 100,000 or as 10,000 item batches of 100. State
transitions and Lambda invocations are read from the executions' histories, calls are counted as they arrive. Calls of
the state machines themselves (ItemReader, ResultWriter) and of schedules are not among them.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
QUICK = {"seconds_validating": 0.5, "seconds_scheduled": 0.5, "time_scale": 0.05}
RECORDS_EACH = 100
"""Of a job and of an item batch alike. What a job uses hardly depends on its records, but for the claims."""
BY_RECORD = frozenset({"dynamodb BatchExecuteStatement", "dynamodb BatchGetItem", "bedrock-runtime Converse"})
MILLION = 1_000_000
UNITS_OF_A_MILLION = {"batch": 10, "sync": MILLION // RECORDS_EACH}
CALLS = {
    "dynamodb": ("BatchExecuteStatement", "BatchGetItem", "PutItem", "UpdateItem", "GetItem", "Query", "DeleteItem"),
    "s3": ("PutObject", "GetObject", "ListBucket", "HeadObject", "CreateMultipartUpload", "UploadPart"),
    "sqs": ("SendMessageBatch",),
    "bedrock": ("CreateModelInvocationJob", "GetModelInvocationJob", "ListModelInvocationJobs"),
    "bedrock-runtime": ("Converse",),
    "states": ("SendTaskSuccess", "DescribeExecution"),
    "events": ("PutEvents",),
    "servicequotas": ("GetServiceQuota", "ListServiceQuotas"),
}


def executions(stack: Stack, run: str) -> Iterator[str]:
    """Every execution of the run: of the pipeline, of the state machines that it starts, children of Map Runs."""
    states = stack.aws.client("stepfunctions")
    for machine in states.list_state_machines()["stateMachines"]:
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"])
        for one in [one for page in pages for one in page["executions"] if one["name"].startswith(run)]:
            yield one["executionArn"]
            for map_run in states.list_map_runs(executionArn=one["executionArn"])["mapRuns"]:
                children = states.get_paginator("list_executions").paginate(mapRunArn=map_run["mapRunArn"])
                yield from (child["executionArn"] for page in children for child in page["executions"])


def history(stack: Stack, arn: str) -> Iterator[dict[str, Any]]:
    pages = stack.aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    for page in pages:
        yield from (dict(event) for event in page["events"])


def measured(stack: Stack, mode: str, records: int) -> Counter[str]:
    """Units of one run."""
    name = f"units-{mode}-{records}"
    lines = (json.dumps({"id": f"{n:07d}", "text": f"{n} " + "loud pump " * 80}) for n in range(records))
    stack.upload(f"default/corpus/{name}/a.jsonl", "".join(f"{line}\n" for line in lines).encode())
    rules = [
        {"target": "call", "name": f"{service} {call}", "do": "delay", "seconds": 0}
        | {"match": {"service": service, "operation": call, "caller": "*assumed-role*"}}
        for service, calls in CALLS.items()
        for call in calls
    ]
    stack.aws.local("PUT", "/_local/faults", rules)
    request = {
        "run": {"mode": mode},
        "source": {"prefix": f"default/corpus/{name}/"},
        "model": {"id": MODEL},
        "prompt": {"template": "{{text}}", "inference": {"maxTokens": 50}},
        "limits": {"max_records_per_shard": RECORDS_EACH, "items_per_batch": RECORDS_EACH, "canary_records": 0},
    }
    arn = stack.start(name, request)
    ended = stack.wait(arn, timeout=600)
    if ended["status"] != "SUCCEEDED":
        raise SystemExit(f"{name}: {ended.get('error')}: {ended.get('cause')}")
    found: Counter[str] = Counter()
    for rule in stack.aws.local("GET", "/_local/faults")["rules"]:
        found[rule["name"]] = rule["fired"]
    for one in executions(stack, name):
        found["executions"] += 1
        for event in history(stack, one):
            found["state transitions"] += event["type"].endswith("StateEntered")
            details = event.get("taskScheduledEventDetails") or {}
            found["Lambda invocations"] += details.get("resourceType") == "lambda"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500, help="of the smaller run of each mode")
    records = parser.parse_args().records
    with LocalAws(knobs=QUICK) as aws:
        stack = Stack(aws, ROOT / ".build" / "units", {}).apply()
        print(f"{'mode':6}{'unit':42}{records:>10}{2 * records:>10}{'each adds':>14}{'a million':>14}")
        for mode in ("batch", "sync"):
            small, large = measured(stack, mode, records), measured(stack, mode, 2 * records)
            for unit in sorted(unit for unit in large if large[unit]):
                added = (large[unit] - small[unit]) / records
                fixed = large[unit] - added * 2 * records
                each = added if unit in BY_RECORD else added * RECORDS_EACH
                million = fixed + each * (MILLION if unit in BY_RECORD else UNITS_OF_A_MILLION[mode])
                shown = f"{small[unit]:>10}{large[unit]:>10}{each:>14.2f}{round(million):>14,}"
                print(f"{mode:6}{unit:42}{shown}", flush=True)


if __name__ == "__main__":
    main()
