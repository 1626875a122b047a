"""Every role on every call of `duties.py`: what is a role's duty is allowed, everything else is denied."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

from tests.iam.brought import KEY, KEY_POLICY, PLACES, TENANTS, handlers
from tests.iam.duties import (
    ACCOUNT,
    BATCH,
    BESIDE,
    READS,
    REGION,
    WRITES,
    Duty,
    duties,
    key_duties,
    places,
    strangers,
)
from tests.iam.rendered import Rendered
from tests.iam.simulation import Request, simulate


def documents(rendered: Rendered) -> dict[str, list[dict[str, object]]]:
    return {role: [policy.document for policy in policies] for role, policies in rendered.roles.items()}


def concrete(rendered: Rendered) -> Iterator[Duty]:
    for duty in duties(handlers(rendered)):
        context = {key: value.format(**PLACES) for key, value in duty.context.items()}
        yield Duty(
            duty.action,
            duty.resource.format(**PLACES),
            frozenset(role for role in rendered.roles if duty.is_of(role, "acme")),
            context,
        )


def test_every_role_has_duties(brought: Rendered) -> None:
    rows = list(duties(handlers(brought)))
    idle = [role for role in brought.roles if not any(row.is_of(role, tenant) for row in rows for tenant in TENANTS)]
    assert idle == [], "roles without a row in tests/iam/duties.py"
    named = {role for row in rows for role in row.roles if not re.search(r"[*{]", role)}
    assert named - set(brought.roles) == set(), "rows for roles that are not there"


def test_each_role_may_do_its_duty_and_nothing_of_another(brought: Rendered) -> None:
    rows = list(concrete(brought))
    requests = [
        Request(role, duty.action, duty.resource, duty.context, KEY_POLICY if ":kms:" in duty.resource else None)
        for duty in rows
        for role in sorted(brought.roles)
    ]
    wanted = {(role, duty.action, duty.resource, tuple(duty.context.items())) for duty in rows for role in duty.roles}
    wrong = []
    for request, answer in zip(requests, simulate(documents(brought), requests), strict=True):
        duty = (request.role, request.action, request.resource, tuple(request.context.items()))
        if (answer == "Allowed") != (duty in wanted):
            wrong.append(f"{request.role} {request.action} {request.resource} {dict(request.context)}: {answer}")
    assert not wrong, "\n".join(wrong)


def test_every_granted_action_is_somebodys_duty(brought: Rendered) -> None:
    """No action is granted that no row is about: it would never be tried on the others."""
    known = {duty.action for duty in duties(handlers(brought))}
    granted = {
        action
        for statement in brought.statements()
        if statement.effect == "Allow" and "*" not in statement.resources
        for action in statement.actions
    }
    assert granted - known - BESIDE == set()


@pytest.mark.parametrize(("tenant", "other"), [("acme", "globex"), ("globex", "acme")])
def test_a_batch_role_is_denied_on_another_tenants_prefix(brought: Rendered, tenant: str, other: str) -> None:
    role = f"batch-{tenant}"
    theirs = {**PLACES, "tenant": other}
    mine = [duty for duty in duties([]) if BATCH in duty.roles]
    assert mine
    requests = [Request(role, duty.action, duty.resource.format(**theirs)) for duty in mine]
    prefixes = [f"{other}/runs/r/", f"{other}/jobs/", "", f"{tenant}-x/runs/"]
    for place in ("input", "output"):
        requests += [Request(role, "s3:ListBucket", PLACES[place], {"s3:prefix": prefix}) for prefix in prefixes]
    assert set(simulate(documents(brought), requests)) == {"ImplicitlyDenied"}


def test_a_batch_role_lists_its_own_prefix(brought: Rendered) -> None:
    requests = [
        Request("batch-acme", "s3:ListBucket", PLACES["input"], {"s3:prefix": "acme/runs/r/shards/"}),
        Request("batch-acme", "s3:ListBucket", PLACES["output"], {"s3:prefix": "acme/jobs/r/00001-a1/"}),
    ]
    assert set(simulate(documents(brought), requests)) == {"Allowed"}


def test_each_role_does_with_the_key_what_is_its_duty_and_no_more(brought: Rendered) -> None:
    other = KEY.replace("1234abcd", "ffffabcd")
    wanted = {
        (role, action, KEY)
        for action, patterns in key_duties(handlers(brought)).items()
        for role in brought.roles
        if any(fnmatch(role, pattern) for pattern in patterns)
    }
    requests = [
        Request(role, action, key, resource_policy=KEY_POLICY)
        for role in sorted(brought.roles)
        for action in key_duties(())
        for key in (KEY, other)
    ]
    allowed = {
        (request.role, request.action, request.resource)
        for request, answer in zip(requests, simulate(documents(brought), requests), strict=True)
        if answer == "Allowed"
    }
    assert allowed == wanted


def test_who_reads_and_writes_what_is_encrypted_may_use_the_key(brought: Rendered) -> None:
    """The duties themselves: a role that gets a row of reading or writing needs its action on the key."""
    keys = key_duties(handlers(brought))
    for duty in duties(handlers(brought)):
        needed = (
            {"kms:Decrypt"} if duty.action in READS else {"kms:GenerateDataKey"} if duty.action in WRITES else set()
        )
        # The queue of undelivered events has a key of SQS.
        if needed and "-undelivered" not in duty.resource:
            for role in brought.roles:
                if duty.is_of(role, "acme") and not role.startswith("batch-"):
                    assert all(role in keys[action] for action in needed), (role, duty.action, duty.resource)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_batch_role_uses_the_key_through_s3_for_its_tenant(brought: Rendered, tenant: str) -> None:
    """Read, not simulated: the simulator leaves encryption contexts out."""
    statements = [
        each for policy in brought.roles[f"batch-{tenant}"] for each in policy.statements if each.sid == "UseKey"
    ]
    assert [each.resources for each in statements] == [(KEY,)]
    assert set(statements[0].actions) == {"kms:Decrypt", "kms:GenerateDataKey"}
    conditions = {key: set(values) for _, key, values in statements[0].conditions}
    assert conditions == {
        "kms:ViaService": {f"s3.{REGION}.amazonaws.com"},
        "kms:EncryptionContext:aws:s3:arn": {
            each for place in ("input", "output") for each in (PLACES[place], f"{PLACES[place]}/{tenant}/*")
        },
    }


def test_a_bucket_in_another_account_is_not_written(brought: Rendered) -> None:
    """Somebody else may own a bucket of that name by the time a brought one was deleted."""
    request = Request(
        "batch-acme", "s3:PutObject", f"{PLACES['output']}/acme/jobs/x", {"aws:ResourceAccount": "999999999999"}
    )
    assert simulate(documents(brought), [request]) == ["ImplicitlyDenied"]


def test_the_code_of_a_function_does_not_use_lambdas_rights_on_interfaces(brought: Rendered) -> None:
    functions = {each["values"]["function_name"] for each in brought.of_type("aws_lambda_function")}
    requests = [
        Request(
            name.removeprefix("tickets-"),
            "ec2:CreateNetworkInterface",
            f"arn:aws:ec2:{REGION}:{ACCOUNT}:network-interface/*",
            {"lambda:SourceFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"},
        )
        for name in sorted(functions)
    ]
    assert set(simulate(documents(brought), requests)) == {"ExplicitlyDenied"}


def test_placeholders_are_all_known() -> None:
    assert {each for duty in duties([]) for each in re.findall(r"\{(\w+)\}", duty.resource)} <= set(PLACES)


def test_what_a_role_did_is_held_against_the_rows() -> None:
    """The rule that the end-to-end tests apply to what they have seen."""
    place = places("demo", "demo-input", "demo-output", "demo")
    fine = [
        ("infer_batch", "s3:PutObject", "arn:aws:s3:::demo-output/acme/runs/r1/results/part-1.jsonl"),
        ("batch-acme", "s3:PutObject", "arn:aws:s3:::demo-output/acme/jobs/r1/00001-a1/x/00001.jsonl.out"),
    ]
    wrong = [
        ("plan_run", "s3:PutObject", "arn:aws:s3:::demo-output/acme/runs/r1/results/part-1.jsonl"),
        ("batch-acme", "s3:PutObject", "arn:aws:s3:::demo-output/globex/jobs/r1/00001-a1/x/00001.jsonl.out"),
    ]
    assert strangers([*fine, *wrong], ["infer_batch"], place) == sorted(" ".join(each) for each in wrong)
