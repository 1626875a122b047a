"""AWS clients, and its errors in this tool's words. boto3 is imported when the first client is made."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from bulkinfer.errors import BulkinferError, PermissionMissingError

if TYPE_CHECKING:
    import boto3

_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)

POLICIES: Final = {
    "s3:GetObject": "read_results",
    "s3:ListBucket": "read_results",
    "s3:PutObject": "write_corpora",
    "states": "start_runs",
    "ssm": "start_runs",
    "lambda": "redrive",
    "sqs": "intake.sender_policy",
}
"""Permission, or its service → the module's output policy that grants it."""


class Aws:
    """Clients of one set of credentials, as boto3 finds them: environment, profile, Region, endpoint."""

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        self._profile = profile
        self._region = region

    @cached_property
    def session(self) -> "boto3.Session":
        import boto3
        from botocore.exceptions import ProfileNotFound

        try:
            return boto3.Session(profile_name=self._profile, region_name=self._region)
        except ProfileNotFound as error:
            raise BulkinferError(str(error), "aws configure list-profiles shows those that there are") from None

    @property
    def region(self) -> str:
        # boto3 itself reads AWS_DEFAULT_REGION only; other SDKs and the AWS CLI read AWS_REGION first.
        region = self._region or os.environ.get("AWS_REGION") or self.session.region_name
        if region is None:
            raise BulkinferError("no Region is set", "set AWS_REGION, or pass --region")
        return region

    def client(self, service: str) -> Any:
        """Throttled calls are tried again with jittered back-off."""
        from botocore.config import Config

        key = f"_client_{service}"
        if key not in self.__dict__:
            retries: Any = {"mode": "standard", "max_attempts": 8}
            config = Config(retries=retries, max_pool_connections=32, user_agent_extra="bulkinfer")
            self.__dict__[key] = self.session.client(service, region_name=self.region, config=config)  # type: ignore[call-overload]
        return self.__dict__[key]


@contextmanager
def told(permission: str, what: str) -> Iterator[None]:
    """Turns AWS's errors into ours. `permission`: the action that the call needs; `what`: what it was made for."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise PermissionMissingError(
            f"{what}: no AWS credentials were found", "aws configure, or set AWS_PROFILE"
        ) from None
    except EndpointConnectionError as error:
        raise BulkinferError(f"{what}: {error}", "check AWS_ENDPOINT_URL and the network") from None
    except ClientError as error:
        code = str(error.response["Error"].get("Code"))
        message = str(error.response["Error"].get("Message") or "")
        if code in _EXPIRED:
            raise PermissionMissingError(f"{what}: {message}", "sign in again: the credentials are not valid") from None
        if code in _DENIED:
            policy = POLICIES.get(permission) or POLICIES.get(permission.split(":")[0], "")
            hint = f"it needs {permission}"
            hint += f", which the module's output policy {policy} grants" if policy else ""
            raise PermissionMissingError(f"{what}: access denied", hint) from None
        raise BulkinferError(f"{what}: {code}: {message}") from None
    except BotoCoreError as error:
        raise BulkinferError(f"{what}: {error}") from None
