"""The module inside a platform's perimeter: a key of its own whose use is enforced, a network, a boundary, two tenants.

Runs in both modes go through; taking the key from one role stops what that role does, and nothing else has to be told.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local_aws import LocalAws
from tests.end_to_end.conftest import assert_conserves, jsonl, tickets
from tests.examples.conftest import KNOBS
from tests.harness.stack import ROOT, Stack

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
TENANTS = ("acme", "globex")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with LocalAws(knobs=KNOBS) as aws:
        yield Stack(
            aws, ROOT / ".build" / "examples" / "state" / "perimeter", {}, Path(__file__).parent / "perimeter"
        ).apply()


def request(tenant: str, corpus: str, mode: str) -> dict[str, Any]:
    return {
        "run": {"mode": mode, "tenant": tenant},
        "source": {"prefix": f"{tenant}/corpus/{corpus}/", "id_field": "id"},
        "model": {"id": MODEL},
        "prompt": {"template": "What is this about?\n\n{{text}}", "inference": {"maxTokens": 50}},
    }


@contextmanager
def without(stack: Stack, role: str, action: str) -> Iterator[None]:
    """A role that may not do one thing for a while: what a policy that names too little comes to."""
    iam = stack.aws.client("iam")
    name = f"inside-{role}-{stack.aws.region}"
    denied = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="taken", PolicyDocument=json.dumps(denied))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="taken")


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_both_tenants_run_in_both_modes(stack: Stack, mode: str) -> None:
    names = {tenant: f"{tenant}-{mode}" for tenant in TENANTS}
    for tenant, name in names.items():
        stack.upload(f"{tenant}/corpus/{mode}/tickets.jsonl", jsonl(tickets(150 if mode == "batch" else 40)))
        names[tenant] = name
    started = {tenant: stack.start(name, request(tenant, mode, mode)) for tenant, name in names.items()}
    for tenant, execution in started.items():
        ended = stack.wait(execution, timeout=240)
        assert ended["status"] == "SUCCEEDED", f"{ended.get('error')}: {ended.get('cause')}"
        manifest = stack.manifest(names[tenant], tenant)
        assert manifest is not None
        assert_conserves(manifest)
        assert manifest["counts"]["landed"] == manifest["counts"]["read"] == (150 if mode == "batch" else 40)
        assert len(list(stack.lines(names[tenant], "results", tenant))) == manifest["counts"]["landed"]
    if mode == "batch":
        jobs = [job for name in names.values() for job in stack.jobs(name)]
        assert len(jobs) >= len(TENANTS)
        assert all(job["vpcConfig"]["subnetIds"] == stack.outputs["subnet_ids"] for job in jobs)


def test_every_role_has_the_boundary_and_every_function_the_network(stack: Stack) -> None:
    pages = stack.aws.client("iam").get_paginator("list_roles").paginate(PathPrefix="/pipelines/")
    names = [role["RoleName"] for page in pages for role in page["Roles"]]
    roles = [stack.aws.client("iam").get_role(RoleName=name)["Role"] for name in names]
    assert len(roles) > 20
    bound = {role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") for role in roles}
    assert bound == {stack.outputs["boundary_arn"]}
    pages = stack.aws.client("lambda").get_paginator("list_functions").paginate()
    functions = [function for page in pages for function in page["Functions"]]
    assert functions
    assert all(sorted(f["VpcConfig"]["SubnetIds"]) == sorted(stack.outputs["subnet_ids"]) for f in functions)


def test_the_key_was_asked_for_by_whoever_reads_or_writes(stack: Stack) -> None:
    """Functions, the writer of Map results, the role of batch jobs of each tenant: none passes KMS by."""
    used = stack.aws.local("GET", "/_local/iam/used")
    asked = {(role.removeprefix("inside-").removesuffix(f"-{stack.aws.region}"), action) for role, action, _ in used}
    writers = (
        "plan_run",
        "cut_shards",
        "seal_shards",
        "infer_batch",
        "collect_results",
        "finish_run",
        "pipeline",
        "fan_out",
    )
    for role in (*writers, *(f"batch-{tenant}" for tenant in TENANTS)):
        assert (role, "kms:GenerateDataKey") in asked, role
    keys = {resource for _, action, resource in used if action.startswith("kms:")}
    assert keys == {stack.outputs["key_arn"]}


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("fan_out", "kms:GenerateDataKey"),
        ("infer_batch", "kms:GenerateDataKey"),
        ("plan_run", "kms:GenerateDataKey"),
    ],
)
def test_a_role_without_the_key_stops_the_run_and_says_so(stack: Stack, role: str, words: str) -> None:
    name = f"without-{role.replace('_', '-')}"
    stack.upload(f"acme/corpus/{name}/tickets.jsonl", jsonl(tickets(10)))
    with without(stack, role, "kms:GenerateDataKey"):
        execution = stack.start(name, request("acme", name, "sync"))
        ended = stack.wait(execution, timeout=240)
    assert ended["status"] == "FAILED"
    told = [str(ended.get("cause")), *stack.causes(execution)]
    told += [str(stack.describe(arn).get("cause")) for arn in nested(stack, name)]
    assert any(words in each for each in told), told


def nested(stack: Stack, run: str) -> list[str]:
    """Executions that the pipeline started for a run."""
    states = stack.aws.client("stepfunctions")
    listed = states.list_executions(stateMachineArn=stack.outputs["fan_out_arn"])["executions"]
    return [each["executionArn"] for each in listed if each["name"].startswith(f"{run}-")]
