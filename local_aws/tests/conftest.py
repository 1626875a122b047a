"""One local AWS for all tests of a session (under pytest-xdist: one per worker), and what most tests of it need."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from archives import zipped
from local_aws import LocalAws

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """A running local AWS. Tests share it: give buckets, queues, functions and jobs names of their own."""
    with LocalAws() as running:
        yield running


@pytest.fixture
def unique() -> str:
    """A name that no other test of this session uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def make_role(aws: LocalAws, unique: str) -> Callable[..., str]:
    """`make_role({"s3:GetObject": arn}, …)`: a role's ARN. Keyword `service` is who may assume it besides the account;
    a statement is a dict of actions to resources, or a whole statement with `Effect`."""

    def make(*statements: dict[str, Any], service: str = "lambda.amazonaws.com") -> str:
        iam = aws.client("iam")
        name = f"{unique}-{next(_numbers)}"
        trust = _document(
            {
                "Effect": "Allow",
                "Principal": {"Service": service, "AWS": f"arn:aws:iam::{aws.account}:root"},
                "Action": "sts:AssumeRole",
            }
        )
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if statements:
            allowed = [
                given
                for statement in statements
                for given in (
                    [statement]
                    if "Effect" in statement
                    else [{"Effect": "Allow", "Action": key, "Resource": value} for key, value in statement.items()]
                )
            ]
            iam.put_role_policy(RoleName=name, PolicyName="given", PolicyDocument=_document(*allowed))
        return arn

    return make


@pytest.fixture
def make_function(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> Callable[..., str]:
    """`make_function(source, **CreateFunction members)`: the name of a function whose `app.py` is the source."""

    def make(source: str, **members: Any) -> str:
        name = f"{unique}-{next(_numbers)}"
        role = members.pop("Role", None) or make_role({"logs:*": "*"})
        settings = {"Runtime": "python3.13", "Handler": "app.handler", "Timeout": 20, "Role": role, **members}
        settings.setdefault("Code", {"ZipFile": zipped({"app.py": textwrap.dedent(source)})})
        aws.client("lambda").create_function(FunctionName=name, **settings)
        return name

    return make


@pytest.fixture
def invoke(aws: LocalAws) -> Callable[..., tuple[Any, str | None]]:
    """`invoke(name, event)`: the decoded payload, and FunctionError if there is one."""

    def call(name: str, event: Any = None) -> tuple[Any, str | None]:
        answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}).encode())
        return json.load(answer["Payload"]), answer.get("FunctionError")

    return call


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
