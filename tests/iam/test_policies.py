"""Every statement of every role that the module makes, whatever roles those are."""

import re

import pytest

from tests.iam import reference, stars
from tests.iam.rendered import Rendered, Statement

GLOBAL_CONDITIONS = {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalIsAWSService",
    "aws:PrincipalServiceName",
    "aws:ResourceAccount",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    # In every call of a function's code: https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
    "lambda:SourceFunctionArn",
}


def allows(rendered: Rendered) -> list[Statement]:
    return [statement for statement in rendered.statements() if statement.effect == "Allow"]


def test_there_are_roles(rendered: Rendered) -> None:
    functions = rendered.of_type("aws_lambda_function")
    machines = rendered.of_type("aws_sfn_state_machine")
    schedules = rendered.of_type("aws_scheduler_schedule")
    # One role per function, state machine and schedule, one per tenant for Bedrock: nobody shares.
    assert len(rendered.roles) >= len(functions) + len(machines) + len(schedules) + 2
    assert all(policies or address_unknown(rendered, role) for role, policies in rendered.roles.items())


def address_unknown(rendered: Rendered, role: str) -> bool:
    return any(f".{role}" in address for address in rendered.unknown)


def test_no_two_functions_share_a_role(rendered: Rendered) -> None:
    names = {
        each["values"]["function_name"].removeprefix("tickets-") for each in rendered.of_type("aws_lambda_function")
    }
    assert names <= set(rendered.roles)


def test_only_policies_of_a_key_that_is_made_are_unknown_at_plan(stacks: dict[str, Rendered]) -> None:
    assert stacks["brought"].unknown == []
    own = [address for address in stacks["made"].unknown if "aws_iam_role_policy" in address]
    assert all(re.search(r"[._](batch_)?key(\[.+\])?$", address) for address in own), own


def test_every_statement_has_a_sid_of_its_own(rendered: Rendered) -> None:
    roles = [policy for policies in rendered.roles.values() for policy in policies]
    for policy in [*roles, *rendered.trust.values(), *rendered.resources]:
        sids = [statement.sid for statement in policy.statements]
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids), policy.address
        assert len(sids) == len(set(sids)), policy.address


def test_no_action_holds_a_wildcard(rendered: Rendered) -> None:
    assert [s.where for s in allows(rendered) if any("*" in action for action in s.actions)] == []


def test_nothing_is_said_by_exclusion(rendered: Rendered) -> None:
    assert [s.where for s in rendered.statements() if {"NotAction", "NotResource", "NotPrincipal"} & set(s.raw)] == []


def test_a_star_stands_only_where_aws_has_no_resource_type_or_asks_for_it(rendered: Rendered) -> None:
    starred = {action for s in allows(rendered) if "*" in s.resources for action in s.actions}
    assert starred - set(stars.ALLOWED) == set()


def test_the_list_of_stars_is_not_longer_than_needed(stacks: dict[str, Rendered]) -> None:
    starred = {a for rendered in stacks.values() for s in allows(rendered) if "*" in s.resources for a in s.actions}
    assert set(stars.ALLOWED) - starred == set()


@pytest.mark.parametrize("action", sorted(stars.NO_RESOURCE_TYPE))
def test_the_reference_names_no_resource_type_for_a_starred_action(action: str) -> None:
    assert [row.arn for row in reference.rows(action)] == ["*"]


def test_every_action_is_real(rendered: Rendered) -> None:
    unknown = {a for s in rendered.statements() for a in s.actions if "*" not in a and not reference.rows(a)}
    assert unknown == set()


def test_every_arn_is_of_a_type_that_its_action_takes(rendered: Rendered) -> None:
    wrong = [
        f"{s.where}: {action} does not take {resource}"
        for s in allows(rendered)
        if "*" not in s.resources
        for action in s.actions
        for resource in s.resources
        if not any(reference.takes(other, resource) for other in s.actions)
        or not any(reference.takes(action, r) for r in s.resources)
    ]
    assert wrong == []


def test_every_condition_key_is_real(rendered: Rendered) -> None:
    wrong = [
        f"{s.where}: {action} knows no {key}"
        for s in rendered.statements()
        for _, key, _ in s.conditions
        for action in s.actions
        if key not in GLOBAL_CONDITIONS and not reference.knows_condition(action, key)
    ]
    assert wrong == []


def test_a_gap_of_the_reference_is_still_one(rendered: Rendered) -> None:
    """A gap that newer data has closed goes from the list."""
    closed = [
        (action, kind)
        for action, kind in reference.GAPS
        if any(f":{kind}/" in row.arn or f":{kind}:" in row.arn for row in reference.rows(action))
    ]
    assert closed == []


def test_roles_are_passed_by_name_to_one_service(rendered: Rendered) -> None:
    passing = [s for s in allows(rendered) if "iam:PassRole" in s.actions]
    assert passing
    for statement in passing:
        assert statement.actions == ("iam:PassRole",), statement.where
        assert all(re.fullmatch(r"arn:aws:iam::\d{12}:role/[^*?]+", arn) for arn in statement.resources), (
            statement.where
        )
        services = [values for _, key, values in statement.conditions if key == "iam:PassedToService"]
        assert [len(values) for values in services] == [1], statement.where


def test_no_role_may_change_rights(rendered: Rendered) -> None:
    """Nor write policies, keys' grants or buckets' settings, nor delete what was landed."""
    dangerous = re.compile(
        r"(iam:(?!PassRole$).*|sts:.*|kms:(Create|Put|Schedule|Disable|Revoke|Retire).*|s3:(Delete|PutBucket|PutObjectAcl).*|"
        r"dynamodb:(Scan|DeleteTable|UpdateTable)|sqs:(PurgeQueue|DeleteQueue|SetQueueAttributes|AddPermission)|lambda:(?!Invoke).*|"
        r"states:(Create|Update|Delete).*|events:(?!PutEvents|PutRule|PutTargets|DescribeRule).*)"
    )
    assert [f"{s.where}: {a}" for s in allows(rendered) for a in s.actions if dangerous.fullmatch(a)] == []


def test_every_role_is_trusted_to_one_service_for_this_account(rendered: Rendered) -> None:
    for role, policy in rendered.trust.items():
        for statement in policy.document["Statement"]:
            assert statement["Effect"] == "Allow", role
            assert statement["Action"] == "sts:AssumeRole", role
            assert set(statement["Principal"]) == {"Service"}, role
            assert isinstance(statement["Principal"]["Service"], str), role
            if statement["Principal"]["Service"] != "lambda.amazonaws.com":
                # A service that works for many accounts may be led to use a role of ours by another account.
                assert "aws:SourceAccount" in str(statement["Condition"]), role


def test_every_role_has_the_boundary_and_the_path(brought: Rendered) -> None:
    roles = [role["values"] for role in brought.of_type("aws_iam_role")]
    assert {role["permissions_boundary"] for role in roles} == {"arn:aws:iam::123456789012:policy/boundary"}
    assert {role["path"] for role in roles} == {"/pipelines/"}


def test_a_role_of_one_tenant_names_no_other(rendered: Rendered) -> None:
    for role, other in (("batch-acme", "globex"), ("batch-globex", "acme")):
        assert [s.where for policy in rendered.roles[role] for s in policy.statements if other in str(s.raw)] == []
