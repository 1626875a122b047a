"""IAM is enforced: each function lives on its own role, and a permission taken away is missed by name."""

import json
from typing import Any

import pytest

from tests.end_to_end.conftest import jsonl, request, run, tickets
from tests.harness.stack import Stack

CASES = {
    # function whose role loses an action: the action, and the mode that needs it
    "submit-job": ("bedrock:CreateModelInvocationJob", "batch"),
    "infer-batch": ("bedrock:InvokeModel", "sync"),
    "cut-shards": ("s3:PutObject", "sync"),
}


@pytest.mark.parametrize("function", sorted(CASES))
def test_a_missing_permission_is_named(stack: Stack, function: str) -> None:
    action, mode = CASES[function]
    iam = stack.aws.client("iam")
    name = stack.outputs["function_names"][function.replace("-", "_")]
    role = stack.aws.client("lambda").get_function_configuration(FunctionName=name)["Role"].rsplit("/", 1)[1]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policies = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
    stack.upload(f"default/corpus/denied-{function}/tickets.jsonl", jsonl(tickets(120)))
    body = request(f"denied-{function}", mode, limits={"canary_records": 0})
    try:
        for name, policy in policies.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(without(policy, action)))
        arn = stack.start(f"denied-{function}", body)
        execution = stack.wait(arn, timeout=120)
    finally:
        for name, policy in policies.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    assert execution["status"] == "FAILED"
    told = json.dumps(stack.causes(arn))
    assert action in told
    assert "is not authorized to perform" in told or f"may not perform {action}" in told
    again = run(stack, f"allowed-{function}", body)
    assert again["counts"]["landed"] == 120


def without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    statements = []
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        kept = [each for each in actions if each != action]
        if kept:
            statements.append({**statement, "Action": kept})
    return {**policy, "Statement": statements}
