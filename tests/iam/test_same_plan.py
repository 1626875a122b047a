"""What two plans differ in is told, and what only reads differently is told apart."""

import json
from typing import Any

from tests.iam.same_plan import compare

Resource = tuple[str, dict[str, Any], dict[str, Any]]
"""Type, what is known, what is not."""


def plan(*resources: Resource, outputs: dict[str, Any] | None = None) -> Any:
    """A plan as `terraform show -json` gives it: (type, what is known, what is not) of each resource."""
    return {
        "resource_changes": [
            {"mode": "managed", "type": kind, "change": {"after": known, "after_unknown": unknown}}
            for kind, known, unknown in resources
        ],
        "planned_values": {"outputs": {name: {"value": value} for name, value in (outputs or {}).items()}},
    }


def policy(*statements: tuple[str, list[str], list[str]]) -> str:
    return json.dumps(
        {
            "Statement": [
                {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": arns}
                for sid, actions, arns in statements
            ]
        }
    )


QUEUE = ("aws_sqs_queue", {"name": "a", "delay_seconds": 1}, {"arn": True})


def test_two_equal_plans_differ_in_nothing() -> None:
    told = compare(plan(QUEUE, outputs={"x": 1}), plan(QUEUE, outputs={"x": 1}))
    assert (told.found, told.same_rights) == ([], [])


def test_an_argument_a_resource_an_output_and_what_is_unknown_are_told() -> None:
    slower = ("aws_sqs_queue", {"name": "a", "delay_seconds": 2}, {"arn": True})
    assert "delay_seconds was 1, is 2" in compare(plan(QUEUE), plan(slower)).found[0]
    assert "1 before, 0 now" in compare(plan(QUEUE), plan()).found[0]
    known: Resource = ("aws_sqs_queue", {"name": "a", "delay_seconds": 1, "arn": "arn"}, {})
    assert "arn was '(unknown)', is 'arn'" in compare(plan(QUEUE), plan(known)).found[0]
    assert "output x" in compare(plan(outputs={"x": 1}), plan(outputs={"x": 2})).found[0]


def test_a_policy_in_other_words_is_told_apart_from_one_with_other_rights() -> None:
    def role(text: str) -> Any:
        return plan(("aws_iam_role_policy", {"name": "permissions", "role": "a", "policy": text}, {}))

    before = role(policy(("One", ["s3:GetObject", "s3:PutObject"], ["x"]), ("Two", ["s3:ListBucket"], ["y"])))
    same = role(
        policy(("Other", ["s3:ListBucket"], ["y"]), ("Get", ["s3:GetObject"], ["x"]), ("Put", ["s3:PutObject"], ["x"]))
    )
    told = compare(before, same)
    assert (told.found, len(told.same_rights)) == ([], 1)
    wider = role(policy(("One", ["s3:GetObject", "s3:PutObject"], ["x"]), ("Two", ["s3:ListBucket"], ["*"])))
    assert len(compare(before, wider).found) == 1


def test_resources_of_one_type_are_paired_by_all_that_names_them() -> None:
    named: list[Resource] = [
        ("aws_iam_role_policy", {"name": "permissions", "role": role, "policy": "{}"}, {}) for role in "ab"
    ]
    one, two = named
    assert compare(plan(one, two), plan(two, one)).found == []
