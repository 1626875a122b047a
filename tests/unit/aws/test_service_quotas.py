"""Service Quotas: applied values before defaults, refusals that name the action."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from bulk_inference.aws.service_quotas import ServiceQuotas
from bulk_inference.core.errors import InvalidRequestError, ThrottledError


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "service-quotas", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


def quota(name: str, value: float) -> dict[str, Any]:
    return {"QuotaName": name, "Value": value}


def test_by_code_falls_back_to_the_default_where_none_was_applied(client: Any) -> None:
    asked = {"ServiceCode": "bedrock", "QuotaCode": "L-1"}
    with Stubber(client) as stub:
        stub.add_response("get_service_quota", {"Quota": quota("Applied", 5)}, asked)
        assert ServiceQuotas(client).by_code("L-1") == ("Applied", 5)
        stub.add_client_error("get_service_quota", "NoSuchResourceException", expected_params=asked)
        stub.add_response("get_aws_default_service_quota", {"Quota": quota("Default", 4)}, asked)
        assert ServiceQuotas(client).by_code("L-1") == ("Default", 4)
        stub.add_client_error("get_service_quota", "NoSuchResourceException")
        stub.add_client_error("get_aws_default_service_quota", "NoSuchResourceException")
        assert ServiceQuotas(client).by_code("L-1") is None


def test_by_name_reads_all_pages_and_takes_equal_names_only(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_response("list_service_quotas", {"Quotas": [quota("Minimum of Records", 1)], "NextToken": "n"})
        stub.add_response("list_service_quotas", {"Quotas": [quota("Of records", 2)]})
        stub.add_response(
            "list_aws_default_service_quotas", {"Quotas": [quota("of records", 3), quota("Other", 4), quota("X", 9)]}
        )
        assert ServiceQuotas(client).by_name(["of records", "other"]) == {"of records": 2, "other": 4}


def test_a_missing_permission_is_named(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("list_service_quotas", "AccessDeniedException", "User: x is not authorized")
        with pytest.raises(InvalidRequestError, match="servicequotas:ListServiceQuotas"):
            ServiceQuotas(client).by_name(["a"])


def test_throttling_is_for_the_state_machine_to_wait_out(client: Any) -> None:
    with Stubber(client) as stub:
        for _ in range(11):
            stub.add_client_error("get_service_quota", "TooManyRequestsException", http_status_code=429)
        with pytest.raises(ThrottledError):
            ServiceQuotas(client).by_code("L-1")
