"""The module applied once per worker to a local AWS; every test of this folder runs its own runs on it."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

import parquet_layer
from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
MODELS = [MODEL, "amazon.nova-lite-v1:0", "amazon.titan-embed-text-v2:0"]
INTAKE = {
    "enabled": True,
    "normal": {"documents": 6, "minutes": 30},
    "low": {"documents": 1000, "minutes": 0.02},
    "max_receive_count": 2,
    "schedule": "rate(1 day)",
}
QUICK = {"seconds_validating": 0.5, "seconds_scheduled": 0.5, "time_scale": 0.05}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    with LocalAws(knobs=QUICK) as aws:
        variables = {
            "reconcile_schedule": "rate(1 minute)",
            "tenants": {"default": {}, "other": {}},
            "intake": INTAKE,
            "models": MODELS,
            # A unit whose invocation was lost is free again when its function's time is over: retries are quick here.
            "functions": {"infer_batch": {"timeout_seconds": 60}, "collect_results": {"timeout_seconds": 60}},
            "parquet": {"package": {"path": str(parquet_layer.local())}},
        }
        yield Stack(aws, ROOT / ".build" / f"end_to_end-{worker}", variables).apply()


@pytest.fixture(autouse=True)
def no_faults_left(stack: Stack) -> Iterator[None]:
    yield
    stack.aws.local("DELETE", "/_local/faults")


def tickets(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Plain records to be rendered: `{"id": "t-00000", "text": …}`."""
    return [
        {"id": f"t-{n:05d}", "text": f"Ticket {n}: the pump in hall {n % 7} is loud. It began on day {n}."}
        for n in range(start, start + count)
    ]


def jsonl(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def request(corpus: str, mode: str, /, **sections: dict[str, Any]) -> dict[str, Any]:
    """A run request over everything below `default/corpus/<corpus>/`; sections are merged in."""
    merged: dict[str, dict[str, Any]] = {
        "run": {"mode": mode},
        "source": {"prefix": f"default/corpus/{corpus}/", "id_field": "id"},
        "model": {"id": MODEL},
        "prompt": {"template": "What is this ticket about?\n\n{{text}}", "inference": {"maxTokens": 100}},
    }
    for name, section in sections.items():
        merged[name] = {**merged.get(name, {}), **section}
    return merged


def run(stack: Stack, name: str, body: dict[str, Any], timeout: float = 120) -> dict[str, Any]:
    """Start a run that must succeed; return its manifest."""
    execution = stack.wait(stack.start(name, body), timeout=timeout)
    assert execution["status"] == "SUCCEEDED", f"{execution.get('error')}: {execution.get('cause')}"
    manifest = stack.manifest(name)
    assert manifest is not None
    return manifest


def assert_conserves(manifest: dict[str, Any]) -> None:
    """The sums of docs/architecture.md, from the manifest alone."""
    counts = manifest["counts"]
    assert counts["read"] == counts["accepted"] + counts["rejected"] + counts["duplicate"], counts
    settled = counts["resubmitted"] + counts["dropped"]
    assert counts["accepted"] == counts["landed"] + counts["failed"] + settled + counts["pending"], counts


def tree(stack: Stack, run_id: str) -> dict[str, str]:
    """Every object of a run in the output bucket with its ETag."""
    pages = (
        stack.aws.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=stack.outputs["output_bucket"], Prefix=f"default/runs/{run_id}/")
    )
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}


def command(stack: Stack, action: str, **more: Any) -> dict[str, Any]:
    """One command of an operator; its answer."""
    answer = stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"]["redrive_failures"],
        Payload=json.dumps({"action": action, **more}).encode(),
    )
    told: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, told
    return told
