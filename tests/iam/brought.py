"""What stands in the stack `brought`: its key, and what the placeholders of the duties' resources are there."""

from tests.iam.duties import ACCOUNT, places
from tests.iam.rendered import Rendered

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    ],
}
"""What docs/security.md asks of a key that is brought: that the account's IAM policies decide."""
TENANTS = ("acme", "globex")
PLACES = {
    **places("tickets", "company-corpora", "company-answers", "company"),
    "path": "/pipelines/",
    "tenant": "acme",
    "run": "tickets-2026-11",
    "name": "part-00001.jsonl",
    "id": "abcdefghijkl",
    "destination": "us-west-2",
}


def handlers(rendered: Rendered) -> list[str]:
    return [
        each["values"]["function_name"].removeprefix("tickets-") for each in rendered.of_type("aws_lambda_function")
    ]
