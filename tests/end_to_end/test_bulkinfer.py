"""The command line as a process, against the module on the local AWS: as its operator, and as a tenant who has the
module's output policies and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bulkinfer import Client
from tests.end_to_end.conftest import MODEL, jsonl, tickets
from tests.harness.stack import ROOT, Stack

PROMPT = ("--prompt", "What is this ticket about?\n\n{{text}}", "--model", MODEL)


class Shell:
    """`bulkinfer` with the environment of one caller."""

    def __init__(self, environment: Mapping[str, str], tenant: str) -> None:
        paths = os.pathsep.join(str(ROOT / folder) for folder in ("cli/src", "lambdas"))
        self.environment = {**environment, "PYTHONPATH": paths, "BULKINFER_TENANT": tenant, "NO_COLOR": "1"}

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bulkinfer.app", *arguments],
            env=self.environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.said = done.stderr
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self("-o", "json", *arguments, status=status))


@pytest.fixture(scope="module")
def operator(stack: Stack) -> Shell:
    return Shell(stack.aws.environ, "default")


@pytest.fixture(scope="module")
def tenant(stack: Stack) -> Shell:
    """A user with the policy `everything` of tenant `other`, and with nothing else."""
    iam = stack.aws.client("iam")
    iam.create_user(UserName="other-analyst")
    policy = json.dumps(json.loads(stack.outputs["tenants"]["other"]["policies"]["everything"]))
    iam.put_user_policy(UserName="other-analyst", PolicyName="everything", PolicyDocument=policy)
    key = iam.create_access_key(UserName="other-analyst")["AccessKey"]
    own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Shell({**stack.aws.environ, **own}, "other")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(jsonl(tickets(30)) + b"not json\n")
    return path


def test_a_file_goes_in_and_rows_come_out(operator: Shell, corpus: Path, tmp_path: Path) -> None:
    ended = operator.json("run", str(corpus), *PROMPT, "--id", "cli-straight", "--wait")
    assert ended["status"] == "succeeded"
    assert (ended["counts"]["landed"], ended["counts"]["rejected"]) == (30, 1)
    run = ended["run"]
    rows = operator.json("results", run, "--in-order", "--with-failures")
    assert [row["id"] for row in rows][:30] == [f"t-{n:05d}" for n in range(30)]
    assert [row["error_class"] for row in rows if row["error_class"]] == ["not_json"]
    assert operator.json("failures", run, "--by", "class") == [{"class": "not_json", "records": 1}]
    assert operator.json("show", run)["manifest"]["counts"]["accepted"] == 30
    folder = tmp_path / "results"
    operator("results", run, "-d", str(folder))
    parts = sorted(folder.glob("part-*.jsonl"))
    assert sum(len(part.read_bytes().splitlines()) for part in parts) == 30


def test_the_same_command_again_starts_nothing_and_another_request_is_refused(operator: Shell, corpus: Path) -> None:
    first = operator.json("run", str(corpus), *PROMPT, "--wait")
    again = operator.json("run", str(corpus), *PROMPT)
    assert again == {"run": first["run"], "status": "succeeded"}
    assert "nothing was started" in operator.said
    name = first["run"].removeprefix("default_")
    operator("run", str(corpus), "--prompt", "Another: {{text}}", "--model", MODEL, "--id", name, status=2)
    assert "a run id stands for one request" in operator.said


def test_a_download_that_broke_off_fetches_only_what_is_missing(operator: Shell, corpus: Path, tmp_path: Path) -> None:
    run = operator.json("run", str(corpus), *PROMPT, "--wait")["run"]
    folder = tmp_path / "results"
    operator("results", run, "-d", str(folder))
    part, *others = sorted(folder.glob("part-*.jsonl"))
    kept = [(one, one.stat().st_mtime_ns) for one in others]
    whole = part.read_bytes()
    part.unlink()
    operator("results", run, "-d", str(folder))
    assert part.read_bytes() == whole
    assert [(one, one.stat().st_mtime_ns) for one, _ in kept] == kept


def test_a_plan_costs_nothing_and_a_run_that_is_too_dear_is_not_started(operator: Shell, corpus: Path) -> None:
    plan = operator.json("plan", str(corpus), *PROMPT, "--id", "cli-planned")
    assert plan["mode"]["value"] == "sync"
    assert plan["corpus"]["records"] == 30
    operator("run", str(corpus), *PROMPT, "--id", "cli-dear", "--max-cost", "1", status=2)
    assert "no prices are known" in operator.said
    operator("show", "default_cli-dear", status=2)


def test_a_run_is_stopped_and_gone_on_with(operator: Shell, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(jsonl(tickets(150)))
    run = operator.json("run", str(path), *PROMPT, "--mode", "batch", "--id", "cli-stopped")["run"]
    operator("--yes", "stop", run, "--cause", "lunch")
    ended = operator.json("watch", run, "--interval", "1", status=3)
    assert (ended["status"], ended["cause"]) == ("aborted", "lunch")
    operator("resume", run)
    assert operator.json("watch", run, "--interval", "1")["counts"]["landed"] == 150


def test_waiting_ends_when_it_was_told_to_and_the_run_goes_on(operator: Shell) -> None:
    operator("watch", "default_cli-never", "--timeout", "1", "--interval", "1", status=5)
    assert "goes on after" in operator.said


def test_a_tenant_does_all_of_it_with_the_output_policies_alone(tenant: Shell, corpus: Path) -> None:
    found = tenant.json("--deployment", "demo", "doctor")
    assert {one["ok"] for one in found} == {"ok"}, found
    ended = tenant.json("--deployment", "demo", "run", str(corpus), *PROMPT, "--id", "cli-tenant", "--wait")
    assert (ended["run"], ended["counts"]["landed"]) == ("other_cli-tenant", 30)
    assert len(tenant.json("--deployment", "demo", "results", ended["run"])) == 30
    assert [one["run"] for one in tenant.json("--deployment", "demo", "runs")] == ["other_cli-tenant"]


def test_what_a_tenant_may_not_do_names_the_permission(tenant: Shell) -> None:
    tenant("--deployment", "demo", "redrive", "other_cli-tenant", status=6)
    assert "lambda:InvokeFunction" in tenant.said
    stranger = Shell(tenant.environment, "default")
    stranger("--deployment", "demo", "runs", status=6)
    assert "states:ListExecutions, which the module's output policy start_runs grants" in stranger.said


def test_a_list_in_and_rows_out_in_order(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.aws.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    seen: list[str] = []
    client = Client("demo", tenant="default")
    rows = client.process(
        [{"id": f"p{n}", "prompt": f"Say {n}"} for n in (3, 1, 2)],
        model=MODEL,
        on_progress=lambda status: seen.append(status.status),
    )
    assert [row.id for row in rows] == ["p3", "p1", "p2"]
    assert all(row.text for row in rows)
    assert seen[-1] == "succeeded"
