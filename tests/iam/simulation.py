"""@cloud-copilot/iam-simulate: a policy evaluator that is not ours, asked offline in one process for many requests."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.iam.duties import ACCOUNT
from tests.iam.reference import GAPS

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = shutil.which("node") is not None and (ROOT / "node_modules" / "@cloud-copilot" / "iam-simulate").is_dir()


@dataclass(frozen=True)
class Request:
    """May `role` do `action` on `resource`? `role` is a key of the policies; `principal` by default its session."""

    role: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)
    resource_policy: Mapping[str, Any] | None = None
    principal: str = ""


def simulate(policies: Mapping[str, Sequence[Mapping[str, Any]]], requests: Sequence[Request]) -> list[str]:
    """For each request "Allowed", "ImplicitlyDenied" or "ExplicitlyDenied". Raises ValueError for an impossible one."""
    body = {
        "account": ACCOUNT,
        "policies": policies,
        "requests": [
            {
                "role": one.role,
                "principal": one.principal or f"arn:aws:sts::{ACCOUNT}:assumed-role/tickets-{one.role}/session",
                "action": one.action,
                "resource": one.resource,
                "context": {"aws:ResourceAccount": ACCOUNT, **one.context},
                "resourcePolicy": one.resource_policy,
                "unlisted": any(one.action == action and f":{kind}" in one.resource for action, kind in GAPS),
            }
            for one in requests
        ],
    }
    done = subprocess.run(
        ["node", str(Path(__file__).parent / "simulate.mjs")],
        input=json.dumps(body),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    answers = json.loads(done.stdout)
    for request, answer in zip(requests, answers, strict=True):
        if "error" in answer:
            raise ValueError(f"{request}: {answer['error']}")
    return [answer["result"] for answer in answers]
