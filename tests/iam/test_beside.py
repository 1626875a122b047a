"""What is made in the same apply as the module may be given to it: its plan needs none of it."""

from local_aws import LocalAws
from tests.iam.rendered import plan


def test_everything_may_be_made_beside_the_module() -> None:
    with LocalAws() as aws:
        planned = plan(aws, "beside")
    names = {role["values"].get("name") for role in planned.of_type("aws_iam_role")}
    # The tenant whose role is brought gets none; the other one does.
    assert "tickets-batch-acme-us-east-1" in names
    assert "tickets-batch-default-us-east-1" not in names
