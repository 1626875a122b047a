"""The check against provider 6 finds what is not there, in every kind of place."""

from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.lint import provider6

KNOWN: dict[str, Any] = {
    "resource": {
        "aws_queue": {
            "arguments": {
                "name": "required",
                "policy": "optional",
                "rule": {"block": {"days": "required", "filter": {"block": {"prefix": "optional"}, "required": False}},
                         "required": False},
            },
            "attributes": ["arn", "id", "sha256_sum"],
        }
    },
    "data": {"aws_region": {"arguments": {}, "attributes": ["id", "region"]}},
}  # fmt: skip

GOOD = """
resource "aws_queue" "this" {
  for_each = toset(["a"])

  name   = data.aws_region.current.id
  policy = "x-${aws_queue.other["a"].arn}"

  rule {
    days = 3

    filter {
      prefix = aws_queue.other[local.names["b"]].sha256sum
    }
  }

  dynamic "rule" {
    for_each = var.rules

    content {
      days = rule.value.days
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_queue" "each" {
  for_each = aws_queue.this

  name = each.value.name
}
"""


def findings(text: str) -> list[str]:
    return [finding.message for finding in provider6.check_file("x.tf", hcl2.loads(text), KNOWN)]


def test_what_is_known_passes() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy = ", "warm   = ", "there is no argument warm"),
        ("prefix = ", "suffix = ", "there is no argument suffix"),
        ("filter {", "and {", "and is no block"),
        ("      days = rule.value.days", "      weeks = rule.value.days", "there is no argument weeks"),
        ("      days = rule.value.days", "", "argument days is required"),
        ('dynamic "rule"', 'dynamic "rules"', "rules is no block"),
        ("data.aws_region.current.id", "data.aws_region.current.name", "aws_region has no attribute name"),
        ('aws_queue.other["a"].arn', 'aws_queue.other["a"].url', "aws_queue has no attribute url"),
        ("each.value.name", "each.value.label", "aws_queue has no attribute label"),
        ("each.value.name", "one(aws_queue.this[*].host)", "aws_queue has no attribute host"),
        ('resource "aws_queue" "each"', 'resource "aws_topic" "each"', "aws_topic is not in the schema"),
    ],
)
def test_what_is_not_known_is_found(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert any(message in found for found in findings(GOOD.replace(old, new))), findings(GOOD.replace(old, new))


def test_the_schema_is_of_provider_6_and_holds_every_type() -> None:
    assert list(provider6.check(Path(__file__).resolve().parents[2])) == []
