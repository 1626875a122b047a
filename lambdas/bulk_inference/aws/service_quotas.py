"""Service Quotas of service `bedrock`: one by code, or several by exact name."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bulk_inference.aws import refusals
from bulk_inference.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_service_quotas.type_defs import ServiceQuotaTypeDef

_SERVICE: Final = "bedrock"


@cache
def connect() -> "ServiceQuotasClient":
    """The process's client. A list of Bedrock's quotas has ten pages and throttles easily: hence the many attempts."""
    return boto3.client("service-quotas", config=Config(retries={"mode": "standard", "max_attempts": 10}))


class ServiceQuotas:
    """quotas.QuotaSource. Raises InvalidRequestError when access is denied, ThrottledError when throttled."""

    def __init__(self, client: "ServiceQuotasClient") -> None:
        self._client = client

    def by_code(self, code: str) -> tuple[str, float] | None:
        with _explained("servicequotas:GetServiceQuota"):
            try:
                quota = self._client.get_service_quota(ServiceCode=_SERVICE, QuotaCode=code)["Quota"]
                if "Value" in quota:
                    return quota["QuotaName"], quota["Value"]
            except self._client.exceptions.NoSuchResourceException:
                # No value was ever applied in this account: AWS's default holds.
                pass
        with _explained("servicequotas:GetAWSDefaultServiceQuota"):
            try:
                quota = self._client.get_aws_default_service_quota(ServiceCode=_SERVICE, QuotaCode=code)["Quota"]
                return (quota["QuotaName"], quota["Value"]) if "Value" in quota else None
            except self._client.exceptions.NoSuchResourceException:
                return None

    def by_name(self, names: Collection[str]) -> Mapping[str, float]:
        wanted = {name.casefold() for name in names}
        found: dict[str, float] = {}
        with _explained("servicequotas:ListServiceQuotas"):
            pages = self._client.get_paginator("list_service_quotas").paginate(ServiceCode=_SERVICE)
            for page in pages:
                _collect(page["Quotas"], wanted, found)
        if wanted <= found.keys():
            return found
        with _explained("servicequotas:ListAWSDefaultServiceQuotas"):
            defaults = self._client.get_paginator("list_aws_default_service_quotas").paginate(ServiceCode=_SERVICE)
            for default_page in defaults:
                _collect(default_page["Quotas"], wanted, found)
        return found


def _collect(quotas: "Iterable[ServiceQuotaTypeDef]", wanted: Collection[str], found: dict[str, float]) -> None:
    for quota in quotas:
        name = quota["QuotaName"].casefold()
        # A quota that Service Quotas failed to read has an ErrorReason in the place of its Value.
        if name in wanted and "Value" in quota:
            found.setdefault(name, quota["Value"])


@contextmanager
def _explained(action: str) -> Iterator[None]:
    try:
        with refusals.throttled("Service Quotas", action):
            yield
    except ClientError as error:
        message = error.response["Error"].get("Message", "")
        if refusals.code(error) in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation"):
            raise InvalidRequestError(
                f"this function's role may not call {action}, and quotas are not guessed: grant it, or give all of "
                f"them as the model's overrides. Service Quotas says: {message}"
            ) from error
        raise
