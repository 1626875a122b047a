"""An alarm that nobody hears, that rings for silence, or that no page explains is found."""

import pytest

from tests.lint import alarms

ALARM = """resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name         = "${var.name}-dead-letters"
  alarm_description  = "Failed records wait"
  treat_missing_data = "notBreaching"
  alarm_actions      = [var.alarm_topic.arn]
}
"""
PAGE = "| `<name>-dead-letters` | `failure_lane.dead_letters` |"


def found(text: str, page: str = PAGE) -> list[str]:
    return [finding.message for finding in alarms.check_file("file", "failure_lane", text, page)]


def test_an_alarm_that_is_whole_and_explained_passes() -> None:
    assert found(ALARM) == []


@pytest.mark.parametrize("argument", ["alarm_description", "treat_missing_data", "alarm_actions"])
def test_what_an_alarm_leaves_out_is_named(argument: str) -> None:
    (said,) = found("\n".join(line for line in ALARM.splitlines() if argument not in line) + "\n")
    assert argument in said


def test_an_alarm_without_a_row_is_found() -> None:
    (said,) = found(ALARM, "")
    assert "`failure_lane.dead_letters`" in said
