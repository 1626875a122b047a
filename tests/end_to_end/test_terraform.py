"""What Terraform says of the applied module."""

from tests.harness.stack import Stack


def test_the_second_plan_is_empty(stack: Stack) -> None:
    assert "No changes." in stack.second_plan()
