"""The longest legal name, tenant and Region: every name that the module makes is within AWS's limit, and none twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack

LIMITS = {
    "aws_cloudwatch_event_bus": ("name", 256),
    "aws_cloudwatch_event_rule": ("name", 64),
    "aws_cloudwatch_log_group": ("name", 512),
    "aws_cloudwatch_metric_alarm": ("alarm_name", 255),
    "aws_dynamodb_table": ("name", 255),
    "aws_iam_role": ("name", 64),
    "aws_iam_role_policy": ("name", 128),
    "aws_kms_alias": ("name", 256),
    "aws_lambda_function": ("function_name", 64),
    "aws_lambda_layer_version": ("layer_name", 140),
    "aws_lambda_permission": ("statement_id", 100),
    "aws_s3_bucket": ("bucket", 63),
    "aws_scheduler_schedule": ("name", 64),
    "aws_sfn_state_machine": ("name", 80),
    "aws_sqs_queue": ("name", 80),
    "aws_ssm_parameter": ("name", 1011),
}
"""Type → (what names it, characters that its service takes: page Quotas or the API's reference)."""

UNNAMED = {
    "aws_cloudwatch_event_target", "aws_lambda_event_source_mapping", "aws_lambda_function_event_invoke_config",
    "aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block", "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning", "aws_s3_object", "aws_kms_key", "aws_sqs_queue_policy",
    "aws_sqs_queue_redrive_policy", "aws_s3_bucket_notification",
    "terraform_data",
}  # fmt: skip
"""Types without a name of their own."""


def resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def test_every_name_is_within_its_limit(aws: LocalAws) -> None:
    stack = Stack(
        aws, ROOT / ".build" / "examples" / "state" / "longest-names", {}, Path(__file__).parent / "longest_names"
    )
    out = stack.workdir / "plan"
    stack.terraform("init", "-input=false", "-no-color")
    stack.terraform(
        "plan", "-input=false", "-no-color", "-lock=false", "-refresh=false",
        f"-state={stack.workdir / 'terraform.tfstate'}", f"-out={out}",
    )  # fmt: skip
    planned = json.loads(stack.terraform("show", "-json", str(out)))["planned_values"]["root_module"]
    managed = [each for each in resources(planned) if each["mode"] == "managed"]
    assert {each["type"] for each in managed} - LIMITS.keys() - UNNAMED == set()
    too_long, seen = [], set()
    for each in managed:
        if each["type"] not in LIMITS:
            continue
        attribute, limit = LIMITS[each["type"]]
        name = each["values"][attribute]
        if len(name) > limit:
            too_long.append(f"{each['address']}: {name} has {len(name)} characters, {limit} are allowed")
        if each["type"] not in ("aws_iam_role_policy", "aws_lambda_permission"):
            assert (each["type"], name) not in seen, each["address"]
            seen.add((each["type"], name))
    assert not too_long
