"""Policies of buckets, queues, the key and the bus: TLS only, this account only, encrypted as configured."""

import json
from typing import Any

import pytest

from tests.iam.duties import ACCOUNT, REGION
from tests.iam.rendered import Rendered
from tests.iam.simulation import Request, simulate

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OPERATOR = "operator"
ANYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "All", "Effect": "Allow", "Action": ["s3:*", "sqs:*"], "Resource": "*"}],
}
"""An administrator of the account: what a resource's policy forbids, it forbids them, too."""


def policies_of(rendered: Rendered, kind: str) -> dict[str, dict[str, Any]]:
    """The policy of each resource of a type, by address."""
    found = {policy.address: policy.document for policy in rendered.resources if f".{kind}." in policy.address}
    assert found, kind
    return found


@pytest.fixture
def bucket_policy(stacks: dict[str, Rendered]) -> dict[str, Any]:
    """The policy of the input bucket, as it is beside a brought key (whose ARN is known at plan)."""
    found = [
        each for address, each in policies_of(stacks["keyed"], "aws_s3_bucket_policy").items() if "input" in address
    ]
    return found[0]


def ask(policy: dict[str, Any], action: str, resource: str, principal: str = "", **context: str) -> str:
    keys = {"aws:SecureTransport": "true", "aws:PrincipalAccount": ACCOUNT, "aws:PrincipalIsAWSService": "false"}
    request = Request(OPERATOR, action, resource, {**keys, **context}, policy, principal)
    return simulate({OPERATOR: [ANYTHING]}, [request])[0]


OBJECT = f"arn:aws:s3:::tickets-input-{ACCOUNT}-{REGION}/acme/corpus/a.jsonl"


def test_an_administrator_puts_an_object_under_the_default_key(bucket_policy: dict[str, Any]) -> None:
    assert ask(bucket_policy, "s3:PutObject", OBJECT) == "Allowed"
    named = {"s3:x-amz-server-side-encryption": "aws:kms", "s3:x-amz-server-side-encryption-aws-kms-key-id": KEY}
    assert ask(bucket_policy, "s3:PutObject", OBJECT, **named) == "Allowed"


@pytest.mark.parametrize(
    "headers",
    [
        {"s3:x-amz-server-side-encryption": "AES256"},
        {"s3:x-amz-server-side-encryption": "aws:kms"},
        {
            "s3:x-amz-server-side-encryption": "aws:kms",
            "s3:x-amz-server-side-encryption-aws-kms-key-id": KEY.replace("1234abcd", "ffffffff"),
        },
        {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ],
    ids=["s3_managed", "no_key_named", "another_key", "callers_own_key"],
)
def test_nobody_puts_an_object_under_another_key(bucket_policy: dict[str, Any], headers: dict[str, str]) -> None:
    assert ask(bucket_policy, "s3:PutObject", OBJECT, **headers) == "ExplicitlyDenied"


def test_nobody_comes_without_tls(bucket_policy: dict[str, Any]) -> None:
    assert ask(bucket_policy, "s3:GetObject", OBJECT, **{"aws:SecureTransport": "false"}) == "ExplicitlyDenied"


def test_nobody_comes_from_another_account(bucket_policy: dict[str, Any]) -> None:
    opened = {**bucket_policy, "Statement": [*bucket_policy["Statement"], {
        "Sid": "TooWide", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": OBJECT,
    }]}  # fmt: skip
    stranger = "arn:aws:sts::999999999999:assumed-role/curious/session"
    assert (
        ask(opened, "s3:GetObject", OBJECT, stranger, **{"aws:PrincipalAccount": "999999999999"}) == "ExplicitlyDenied"
    )


def test_every_bucket_that_is_made_says_the_same(stacks: dict[str, Rendered]) -> None:
    found = policies_of(stacks["keyed"], "aws_s3_bucket_policy")
    assert len(found) == len(stacks["keyed"].of_type("aws_s3_bucket"))
    for document in found.values():
        assert {statement["Sid"] for statement in document["Statement"]} == {
            "DenyWithoutTls", "DenyOtherAccounts", "DenyOtherKeys", "DenyKeysOfCallers",
        }  # fmt: skip
        assert {statement["Effect"] for statement in document["Statement"]} == {"Deny"}


def test_every_bucket_is_private_versioned_and_encrypted(stacks: dict[str, Rendered]) -> None:
    made = stacks["keyed"]
    buckets = {each["values"]["bucket"] for each in made.of_type("aws_s3_bucket")}
    assert buckets
    for block in made.of_type("aws_s3_bucket_public_access_block"):
        settings = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        assert all(block["values"][setting] is True for setting in settings)
    for kind in (
        "aws_s3_bucket_public_access_block", "aws_s3_bucket_versioning", "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_server_side_encryption_configuration",
    ):  # fmt: skip
        assert {each["values"]["bucket"] for each in made.of_type(kind)} == buckets
    for encryption in made.of_type("aws_s3_bucket_server_side_encryption_configuration"):
        default = encryption["values"]["rule"][0]["apply_server_side_encryption_by_default"][0]
        assert default == {"kms_master_key_id": KEY, "sse_algorithm": "aws:kms"}


def test_every_queue_refuses_plain_http_and_other_accounts(rendered: Rendered) -> None:
    queues = rendered.of_type("aws_sqs_queue")
    assert queues
    for queue in queues:
        statements = json.loads(queue["values"]["policy"])["Statement"]
        refusing = [each for each in statements if each["Sid"] == "DenyWithoutTls"]
        assert [each["Effect"] for each in refusing] == ["Deny"], queue["address"]
        assert refusing[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, queue["address"]
        for each in statements:
            if each["Effect"] == "Allow":
                # A service of AWS, on behalf of a rule of this account.
                assert set(each["Principal"]) == {"Service"}, queue["address"]
                assert f":{ACCOUNT}:" in json.dumps(each["Condition"]), queue["address"]


def test_every_queue_is_encrypted(brought: Rendered) -> None:
    for queue in brought.of_type("aws_sqs_queue"):
        values = queue["values"]
        assert values["kms_master_key_id"] == KEY or values["sqs_managed_sse_enabled"] is True, queue["address"]


def test_every_table_is_encrypted_with_the_key(brought: Rendered) -> None:
    tables = brought.of_type("aws_dynamodb_table")
    assert tables
    for table in tables:
        assert table["values"]["server_side_encryption"] == [{"enabled": True, "kms_key_arn": KEY}], table["address"]


def test_the_key_is_for_the_accounts_iam_and_for_the_pipelines_logs(stacks: dict[str, Rendered]) -> None:
    (document,) = policies_of(stacks["made"], "aws_kms_key").values()
    principals = {each["Sid"]: each["Principal"] for each in document["Statement"]}
    assert principals == {
        "AccountDecidesByIam": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "CloudWatchLogsForLogGroupsOfThisPipeline": {"Service": f"logs.{REGION}.amazonaws.com"},
    }
    logs = next(each for each in document["Statement"] if "Logs" in each["Sid"])
    groups = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert all(f":{ACCOUNT}:log-group:" in group and "/tickets-" in group for group in groups)
    (key,) = stacks["made"].of_type("aws_kms_key")
    assert key["values"]["enable_key_rotation"] is True


def test_log_groups_are_encrypted_where_the_key_is_made(stacks: dict[str, Rendered]) -> None:
    """Beside a brought key only if its policy is said to let CloudWatch Logs use it (logs.kms_key_arn)."""
    for group in stacks["made"].of_type("aws_cloudwatch_log_group"):
        # The ARN is unknown at plan, not null.
        assert "kms_key_id" not in group["values"], group["address"]


def test_the_bus_is_open_to_nobody_else(rendered: Rendered) -> None:
    """Without a policy a bus takes events from its own account alone, and there by IAM."""
    opening = [
        each["address"]
        for kind in ("aws_cloudwatch_event_bus_policy", "aws_cloudwatch_event_permission")
        for each in rendered.of_type(kind)
    ]
    assert opening == []


def test_functions_are_invoked_by_rules_of_this_account_alone(rendered: Rendered) -> None:
    permissions = rendered.of_type("aws_lambda_permission")
    assert permissions
    for permission in permissions:
        values = permission["values"]
        assert values["action"] == "lambda:InvokeFunction"
        assert values["principal"].endswith(".amazonaws.com")
        assert (values["source_arn"] or "").split(":")[4] == ACCOUNT, permission["address"]


def test_what_is_invoked_asynchronously_keeps_what_failed(rendered: Rendered) -> None:
    called = {each["values"]["function_name"] for each in rendered.of_type("aws_lambda_permission")}
    called |= {schedule["values"]["name"] for schedule in rendered.of_type("aws_scheduler_schedule")}
    for function in rendered.of_type("aws_lambda_function"):
        name = function["values"]["function_name"]
        if name in called:
            assert function["values"]["dead_letter_config"], name


def test_state_machines_log_no_data(rendered: Rendered) -> None:
    """Inputs and outputs would hold prompt templates."""
    for machine in rendered.of_type("aws_sfn_state_machine"):
        (logging,) = machine["values"]["logging_configuration"]
        assert logging["include_execution_data"] is False, machine["address"]
