"""Refusals that pass, told from refusals that last: one rule for every service.

Overload, a fault on AWS's side and a call that got no answer, all beyond the SDK's own retries, become ThrottledError:
the state machines retry it, and queues deliver again. Everything else is for the caller to understand.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from bulk_inference.core.errors import ThrottledError

PASSING: Final = frozenset(
    {
        # Overload.
        "KmsThrottled",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "TransactionConflict",
        # A fault on AWS's side.
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "RequestTimeout",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
"""Error codes, of whole requests and of single entries or statements, without a prefix such as that of SQS."""

_STATUSES: Final = frozenset({429, 500, 502, 503, 504})


def code(error: ClientError) -> str:
    """The error's code; of `AWS.SimpleQueueService.NonExistentQueue`, what follows the last dot."""
    return str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]


def passes(error: ClientError) -> bool:
    """Whether the same call may succeed later."""
    return code(error) in PASSING or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _STATUSES


@contextmanager
def throttled(service: str, action: str) -> Iterator[None]:
    """Raises ThrottledError for what passes, naming service and action; other refusals go through as they are."""
    try:
        yield
    except ClientError as error:
        if passes(error):
            raise ThrottledError(f"{service} refused {action} for now: {error}") from error
        raise
    except (HTTPClientError, NoConnectionError) as error:
        raise ThrottledError(f"{service} did not answer {action}: {error}") from error
