"""Every example plans; those that are applied work, have nothing left to change, and leave nothing behind.

One local AWS takes all of them, as an account takes several stacks. The tests of this file run in its order.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws
from tests.examples import consumers
from tests.examples.conftest import chosen
from tests.harness.stack import Stack

AT_ONCE = 2
"""Stacks that Terraform makes at the same time: it waits for AWS most of the time."""


@pytest.fixture(scope="module")
def before(aws: LocalAws) -> list[str]:
    """What the account holds by itself."""
    return consumers.remains(aws)


@pytest.fixture(scope="module")
def plans(aws: LocalAws, before: list[str], request: pytest.FixtureRequest) -> dict[str, tuple[Stack, str]]:
    """Every chosen example, applied, and what Terraform says when it plans it again."""
    names = chosen(request.config)

    def apply(name: str) -> tuple[Stack, str]:
        stack = consumers.stack(aws, name).apply()
        return stack, stack.second_plan()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(apply, names), strict=True))


@pytest.fixture(scope="module")
def applied(plans: dict[str, tuple[Stack, str]]) -> dict[str, Stack]:
    return {name: stack for name, (stack, _) in plans.items()}


def test_every_output_has_a_value(applied: dict[str, Stack], name: str) -> None:
    assert applied[name].outputs
    assert all(value not in (None, "", [], {}) for value in applied[name].outputs.values()), applied[name].outputs


def test_the_second_plan_is_empty(plans: dict[str, tuple[Stack, str]], name: str) -> None:
    assert "No changes." in plans[name][1]


class Team:
    """What somebody with the role of one tenant's team can do: IAM decides, as on AWS."""

    def __init__(self, stack: Stack, tenant: str) -> None:
        self.tenant, self.outputs, self._aws = tenant, stack.outputs, stack.aws
        role = stack.outputs["team_role_arns"][tenant]
        self._keys = stack.aws.client("sts").assume_role(RoleArn=role, RoleSessionName=tenant)["Credentials"]

    def client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self._aws.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self._keys["AccessKeyId"],
            aws_secret_access_key=self._keys["SecretAccessKey"],
            aws_session_token=self._keys["SessionToken"],
        )

    def put(self, key: str) -> None:
        body = b"".join(json.dumps({"id": f"r-{n}", "text": f"{self.tenant} {n}"}).encode() + b"\n" for n in range(30))
        self.client("s3").put_object(Bucket=self.outputs["input_bucket"], Key=key, Body=body)

    def start(self, machine: str, name: str, corpus: str, **run: str) -> str:
        body = {
            "run": {"mode": "sync", **run},
            "source": {"prefix": f"{corpus}/corpus/", "id_field": "id"},
            "model": {"id": "amazon.nova-lite-v1:0"},
            "prompt": {"template": "What is it about?\n\n{{text}}"},
            "limits": {"canary_records": 0},
        }
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(body)
        )
        return str(started["executionArn"])


@pytest.fixture(scope="module")
def shared(applied: dict[str, Stack]) -> Stack:
    return applied["multi-tenant"]


@pytest.fixture(scope="module")
def teams(shared: Stack) -> tuple[Team, Team]:
    both = Team(shared, "acme"), Team(shared, "globex")
    for team in both:
        team.put(f"{team.tenant}/corpus/a.jsonl")
    return both


def denied(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "403"), error
    return str(error["Message"])


def test_a_team_runs_its_own_tenant_and_reads_its_results(shared: Stack, teams: tuple[Team, Team]) -> None:
    runs = {team: team.start(shared.outputs["ways_in"][team.tenant], "first", team.tenant) for team in teams}
    for team, arn in runs.items():
        execution = shared.wait(arn, timeout=120)
        assert execution["status"] == "SUCCEEDED", execution
        manifest = shared.manifest(f"{team.tenant}_first", team.tenant)
        assert manifest is not None
        assert manifest["counts"]["landed"] == 30, manifest["counts"]
        pages = team.client("s3").list_objects_v2(
            Bucket=shared.outputs["output_bucket"], Prefix=f"{team.tenant}/runs/{team.tenant}_first/results/"
        )
        line = team.client("s3").get_object(Bucket=shared.outputs["output_bucket"], Key=pages["Contents"][0]["Key"])
        assert team.tenant in line["Body"].read().decode()
        pipeline = shared.outputs["pipeline_arn"].replace(":stateMachine:", ":execution:")
        its_own = f"{pipeline}:{team.tenant}_first"
        assert team.client("stepfunctions").describe_execution(executionArn=its_own)["status"] == "SUCCEEDED"


def test_a_team_reaches_nothing_of_another(shared: Stack, teams: tuple[Team, Team]) -> None:
    """After the test above, so that there is something to reach for."""
    acme, _ = teams
    inbox, results = shared.outputs["input_bucket"], shared.outputs["output_bucket"]
    s3, states = acme.client("s3"), acme.client("stepfunctions")
    theirs = shared.keys(results, "globex/runs/globex_first/results/")[0]
    pipeline = shared.outputs["pipeline_arn"]
    execution = pipeline.replace(":stateMachine:", ":execution:") + ":globex_first"
    denied(lambda: acme.start(pipeline, "sneak", "globex", tenant="globex"))
    denied(lambda: acme.start(shared.outputs["ways_in"]["globex"], "sneak", "globex"))
    denied(lambda: states.describe_execution(executionArn=execution))
    denied(lambda: states.get_execution_history(executionArn=execution))
    denied(lambda: states.stop_execution(executionArn=execution))
    denied(lambda: s3.get_object(Bucket=results, Key=theirs))
    denied(lambda: s3.list_objects_v2(Bucket=results, Prefix="globex/runs/"))
    denied(lambda: s3.list_objects_v2(Bucket=results))
    denied(lambda: acme.put("globex/corpus/mine.jsonl"))
    denied(lambda: s3.get_object(Bucket=inbox, Key="globex/corpus/a.jsonl"))
    # The list of lines that a resubmission reads, and the plan: written by functions alone.
    denied(lambda: acme.put("acme/runs/acme_sneak/plan/ranges.jsonl"))
    redrive = shared.outputs["function_names"]["redrive_failures"]
    denied(lambda: acme.client("lambda").invoke(FunctionName=redrive, Payload=b"{}"))


def test_a_teams_own_machine_starts_no_run_of_another(shared: Stack, teams: tuple[Team, Team]) -> None:
    acme, _ = teams
    machine = shared.outputs["ways_in"]["acme"]
    named = acme.start(machine, "named", "globex", tenant="globex")
    reading = acme.start(machine, "reading", "globex")
    climbing = acme.start(machine, "climbing", "acme/corpus/../../globex")
    urgent = acme.start(machine, "urgent", "acme", priority="high")
    told = {arn: shared.wait(arn, timeout=60) for arn in (named, reading, climbing, urgent)}
    assert [each["status"] for each in told.values()] == ["FAILED"] * 4
    assert "starts runs of tenant acme alone" in str(told[named].get("cause"))
    assert "must start with acme/" in str(told[reading].get("cause"))
    assert "must not hold .." in str(told[climbing].get("cause"))
    assert "tenant acme may use normal, low" in str(told[urgent].get("cause"))


def test_destroy_leaves_nothing(aws: LocalAws, applied: dict[str, Stack], before: list[str]) -> None:
    def destroy(stack: Stack) -> str:
        return stack.terraform(
            "destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=30",
            f"-state={stack.workdir / 'terraform.tfstate'}", f"-var-file={stack.workdir / 'demo.auto.tfvars.json'}",
        )  # fmt: skip

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(destroy, applied.values()))
    assert all("Destroy complete!" in each for each in told)
    # Step Functions' own rule for nested executions belongs to the account, not to a stack.
    left = [one for one in consumers.remains(aws) if "StepFunctionsGetEventsForStepFunctionsExecutionRule" not in one]
    assert sorted(left) == sorted(before)


def test_it_plans(aws: LocalAws, planned: str) -> None:
    stack = consumers.stack(aws, planned, "planned")
    stack.terraform("init", "-input=false", "-no-color")
    told = stack.terraform("plan", "-input=false", "-no-color", "-lock=false", "-refresh=false")
    assert "Plan: " in told
