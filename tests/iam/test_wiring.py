"""Resources hang together as wiring.py says, in every stack; and each of its rules turns red on what it is about."""

from tests.iam import wiring
from tests.iam.rendered import Rendered


def test_resources_hang_together(rendered: Rendered) -> None:
    assert list(wiring.check(wiring.read(rendered.plan))) == []


def test_every_rule_sees_something(brought: Rendered) -> None:
    """A stack without queues would make the rules about queues true for nothing."""
    planned = wiring.read(brought.plan)
    for kind in (
        "aws_lambda_function", "aws_sfn_state_machine", "aws_scheduler_schedule", "aws_iam_role", "aws_sqs_queue",
        "aws_cloudwatch_log_group", "aws_lambda_event_source_mapping", "aws_sqs_queue_redrive_policy",
        "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target", "aws_lambda_permission",
        "aws_cloudwatch_metric_alarm",
    ):  # fmt: skip
        assert planned.of(kind), kind
