"""Policies as Terraform renders them: the stacks beside this file, planned against the local AWS by the real provider.

What is read is `terraform show -json` of the plan, so that whatever role, queue or bucket the module has is here,
without a list of names to keep.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack

STACKS = Path(__file__).parent / "stacks"
ACCOUNT, REGION = "123456789012", "us-east-1"

POLICY_TYPES = (
    "aws_s3_bucket_policy",
    "aws_sqs_queue_policy",
    "aws_sns_topic_policy",
    "aws_cloudwatch_event_bus_policy",
)
"""Resources that are nothing but a policy: without one at plan, it is not known yet."""


@dataclass(frozen=True)
class Statement:
    """One statement, its one-or-many members as tuples. `where` names it in messages: `role/Sid`."""

    where: str
    sid: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]
    """(operator, condition key, values)."""
    raw: dict[str, Any] = field(compare=False, hash=False, repr=False)


@dataclass(frozen=True)
class Policy:
    """One policy document of `owner`: a role's short name (`infer_batch`, `batch-acme`), or a resource's address."""

    owner: str
    address: str
    document: dict[str, Any]

    @property
    def statements(self) -> list[Statement]:
        return [_statement(self.owner, each) for each in self.document["Statement"]]


@dataclass
class Rendered:
    """A planned stack: the policies of its roles, what trusts them, the policies of its resources."""

    roles: dict[str, list[Policy]] = field(default_factory=dict)
    arns: dict[str, str] = field(default_factory=dict)
    trust: dict[str, Policy] = field(default_factory=dict)
    resources: list[Policy] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Addresses of policies that cannot be read before the apply."""
    planned: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    """The whole plan, as `terraform show -json` gives it; empty where only a module of it was read."""

    def statements(self) -> Iterator[Statement]:
        """Every statement of every role."""
        for policies in self.roles.values():
            for policy in policies:
                yield from policy.statements

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Planned resources of a type; each with `address` and `values`."""
        return [each for each in self.planned if each["type"] == kind]


def plan(aws: LocalAws, name: str) -> Rendered:
    """Plan the stack `name` and read its policies."""
    stack = Stack(aws, ROOT / ".build" / "iam" / name, {}, STACKS / name)
    out = stack.workdir / "plan"
    stack.terraform("init", "-input=false", "-no-color")
    stack.terraform(
        "plan", "-input=false", "-no-color", "-lock=false", "-refresh=false",
        f"-state={stack.workdir / 'terraform.tfstate'}", f"-out={out}",
    )  # fmt: skip
    whole = json.loads(stack.terraform("show", "-json", str(out)))
    rendered = read(whole["planned_values"]["root_module"])
    rendered.plan = whole
    return rendered


def read(module: dict[str, Any]) -> Rendered:
    """The policies of a module as `terraform show -json` gives it, in its `planned_values` or its `values`."""
    rendered = Rendered(planned=[each for each in _resources(module) if each["mode"] == "managed"])
    for role in rendered.of_type("aws_iam_role"):
        values = role["values"]
        name = short(values["name"])
        rendered.roles[name] = []
        rendered.arns[name] = f"arn:aws:iam::{ACCOUNT}:role{values['path']}{values['name']}"
        rendered.trust[name] = Policy(name, role["address"], json.loads(values["assume_role_policy"]))
    for inline in rendered.of_type("aws_iam_role_policy"):
        document = inline["values"].get("policy")
        if document is None:
            rendered.unknown.append(inline["address"])
        else:
            name = short(inline["values"]["role"])
            rendered.roles[name].append(Policy(name, inline["address"], json.loads(document)))
    for resource in rendered.planned:
        if resource["type"] in ("aws_iam_role", "aws_iam_role_policy"):
            continue
        document = resource.get("values", {}).get("policy")
        if document:
            rendered.resources.append(Policy(resource["address"], resource["address"], json.loads(document)))
        elif resource["type"] in POLICY_TYPES:
            rendered.unknown.append(resource["address"])
    return rendered


def short(role_name: str) -> str:
    """`tickets-infer_batch-us-east-1` → `infer_batch`."""
    return re.sub(rf"^tickets-|-{REGION}$", "", role_name)


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def _statement(owner: str, raw: dict[str, Any]) -> Statement:
    return Statement(
        where=f"{owner}/{raw.get('Sid', '')}",
        sid=raw.get("Sid", ""),
        effect=raw["Effect"],
        actions=many(raw.get("Action", [])),
        resources=many(raw.get("Resource", [])),
        conditions=tuple(
            (operator, key, many(value))
            for operator, keys in raw.get("Condition", {}).items()
            for key, value in keys.items()
        ),
        raw=raw,
    )


def many(value: str | list[str]) -> tuple[str, ...]:
    """A member that holds one string or a list of them."""
    return (value,) if isinstance(value, str) else tuple(value)
