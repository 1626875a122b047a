"""Service Quotas of Amazon Bedrock.

API reference of Service Quotas: GetServiceQuota, ListServiceQuotas, GetAWSDefaultServiceQuota,
ListAWSDefaultServiceQuotas. Names, values and codes: General Reference, "Amazon Bedrock endpoints and quotas".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_jobs import HAIKU, Batch, converse_line, settled, unique
from local_aws import LocalAws, LocalAwsError
from local_aws.bedrock import quotas
from local_aws.bedrock.models import MODELS


@pytest.fixture
def batch(aws: LocalAws) -> Iterator[Batch]:
    with settled(aws) as ready:
        yield ready


@pytest.fixture
def client(batch: Batch) -> Any:
    return batch.aws.client("service-quotas")


def applied(client: Any, code: str) -> Any:
    return client.get_service_quota(ServiceCode="bedrock", QuotaCode=code)["Quota"]


@pytest.mark.parametrize(
    ("code", "name", "value", "adjustable"),
    [
        (
            "L-63020993",
            "Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 4.5",
            100,
            True,
        ),
        ("L-28612175", "Records per batch inference job for Claude Haiku 4.5", 100_000, True),
        ("L-9EDE6039", "Records per input file per batch inference job for Claude Haiku 4.5", 100_000, True),
        # The stray dot is AWS's.
        (
            "L-A0300844",
            "Sum of in-progress and submitted batch inference jobs using a base model for Claude Sonnet 4.5.",
            100,
            True,
        ),
        ("L-F611997D", "Batch inference input file size (in GB) for Claude Sonnet 4", 1, True),
        ("L-E31283B0", "Batch inference job size (in GB) for Claude Sonnet 4", 5, True),
        ("L-19E52681", "Batch inference job size (in GB) for Nova Lite V1", 5, False),
        (
            "L-58BE175A",
            "Cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5",
            4_000_000,
            True,
        ),
        ("L-7C42E72A", "On-demand model inference tokens per minute for Amazon Nova Lite", 4_000_000, True),
        ("L-C6F5908D", "Cross-region model inference tokens per minute for Amazon Nova 2 Lite", 8_000_000, True),
    ],
)
def test_documented_quotas_have_their_code_name_and_value(
    client: Any, code: str, name: str, value: float, adjustable: bool
) -> None:
    quota = applied(client, code)
    assert (quota["QuotaName"], quota["Value"], quota["Adjustable"]) == (name, float(value), adjustable)
    assert quota["QuotaArn"] == f"arn:aws:servicequotas:us-east-1:123456789012:bedrock/{code}"
    assert quota["ServiceCode"] == "bedrock"


def test_a_quota_without_applied_value_has_only_a_default(batch: Batch, client: Any) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"min_records_per_job": None})
    code = "L-AE7F26D4"
    with pytest.raises(client.exceptions.NoSuchResourceException):
        applied(client, code)
    quota = client.get_aws_default_service_quota(ServiceCode="bedrock", QuotaCode=code)["Quota"]
    assert quota["QuotaName"] == "Minimum number of records per batch inference job for Claude 3 Haiku"
    assert quota["Value"] == 100.0
    # The ARN of a default names no account.
    assert quota["QuotaArn"].split(":")[4] == ""


@pytest.mark.parametrize(("service", "code"), [("bedrock", "L-00000000"), ("nothing", "L-28612175")])
def test_what_does_not_exist_is_no_such_resource(client: Any, service: str, code: str) -> None:
    with pytest.raises(client.exceptions.NoSuchResourceException):
        client.get_service_quota(ServiceCode=service, QuotaCode=code)


def listed(client: Any, operation: str, **members: Any) -> list[list[dict[str, Any]]]:
    pages = client.get_paginator(operation).paginate(ServiceCode="bedrock", **members)
    return [page["Quotas"] for page in pages]


def test_lists_are_paged_by_at_most_a_hundred(client: Any) -> None:
    pages = listed(client, "list_aws_default_service_quotas")
    assert [len(page) for page in pages[:-1]] == [100] * (len(pages) - 1)
    assert len(pages) > 1
    names = [quota["QuotaName"] for page in pages for quota in page]
    assert len(set(names)) == len(names)
    small = listed(client, "list_aws_default_service_quotas", PaginationConfig={"PageSize": 30})
    assert [quota["QuotaName"] for page in small for quota in page] == names


def test_the_list_of_applied_values_leaves_defaults_out(client: Any) -> None:
    names = {quota["QuotaName"] for page in listed(client, "list_service_quotas") for quota in page}
    defaults = {quota["QuotaName"] for page in listed(client, "list_aws_default_service_quotas") for quota in page}
    assert "Minimum number of records per batch inference job for Claude Haiku 4.5" in defaults - names
    assert names < defaults


def test_a_name_is_contained_in_another_one(client: Any) -> None:
    """A client that looks for a contained text takes the minimum for the maximum."""
    wanted = "records per batch inference job for claude haiku 4.5"
    quotas_found = [quota for page in listed(client, "list_aws_default_service_quotas") for quota in page]
    found = [quota["QuotaName"] for quota in quotas_found if wanted in quota["QuotaName"].lower()]
    assert found[0].startswith("Minimum number of records per batch")
    assert len(found) == 2


def test_wrong_paging_is_refused(client: Any) -> None:
    with pytest.raises(client.exceptions.InvalidPaginationTokenException):
        client.list_service_quotas(ServiceCode="bedrock", NextToken="nonsense")


def test_every_batch_model_has_every_batch_quota() -> None:
    for model in MODELS.values():
        if model.batch:
            for template in (
                quotas.SUM,
                quotas.MINIMUM,
                quotas.PER_JOB,
                quotas.PER_FILE,
                quotas.FILE_SIZE,
                quotas.JOB_SIZE,
            ):
                assert quotas.batch_limit(model, template) > 0


def test_an_overridden_quota_is_answered_and_enforced(batch: Batch, client: Any) -> None:
    batch.aws.local("PUT", "/_local/quotas", {"L-28612175": 5})
    assert applied(client, "L-28612175")["Value"] == 5.0
    default = client.get_aws_default_service_quota(ServiceCode="bedrock", QuotaCode="L-28612175")["Quota"]
    assert default["Value"] == 100_000.0
    lines = [converse_line(f"r{number}", "Text.") for number in range(6)]
    job = batch.run(lines, modelId=HAIKU)
    assert (job["status"], "allowed maximum of: 5" in job["message"]) == ("Failed", True)
    batch.aws.local("PUT", "/_local/quotas", {"Records per batch inference job for Claude Haiku 4.5": None})
    assert batch.run(lines)["status"] == "Completed"


def test_a_knob_changes_the_quota_of_every_model(batch: Batch, client: Any) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"max_records_per_job": 500})
    for code in ("L-28612175", "L-916C9264"):
        assert applied(client, code)["Value"] == 500.0
        quota = client.get_aws_default_service_quota(ServiceCode="bedrock", QuotaCode=code)["Quota"]
        assert quota["Value"] == 500.0


def test_an_override_of_nothing_is_refused(batch: Batch) -> None:
    with pytest.raises(LocalAwsError, match="'L-0' is not known"):
        batch.aws.local("PUT", "/_local/quotas", {"L-0": 1})
    with pytest.raises(LocalAwsError, match="must be a number of 0 or more"):
        batch.aws.local("PUT", "/_local/quotas", {"L-28612175": "many"})


def test_too_many_requests_by_the_fault_plan(batch: Batch, client: Any) -> None:
    rule = {"target": "call", "match": {"service": "servicequotas"}, "do": "throttle", "times": 1}
    batch.aws.local("PUT", "/_local/faults", [rule])
    with pytest.raises(client.exceptions.TooManyRequestsException):
        applied(client, "L-28612175")
    assert applied(client, "L-28612175")["Value"] == 100_000.0


def test_only_a_single_quota_can_be_granted_by_arn(batch: Batch) -> None:
    """Service Authorization Reference: the list operations have no resource type."""
    name = unique("reader")
    trust = {"Effect": "Allow", "Principal": {"AWS": batch.aws.account}, "Action": "sts:AssumeRole"}
    arn = batch.iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "servicequotas:*", "Resource": "arn:aws:servicequotas:*:*:bedrock/*"}
    batch.iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    reader = batch.aws.client("service-quotas", credentials=batch.aws.assume(arn))
    assert applied(reader, "L-28612175")["Value"] == 100_000.0
    with pytest.raises(ClientError, match="servicequotas:ListServiceQuotas"):
        reader.list_service_quotas(ServiceCode="bedrock")
