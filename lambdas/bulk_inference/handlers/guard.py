"""One invocation at a time for one unit of work, by Powertools Idempotency in the ledger's table.

The ledger guards records, this guards units: two invocations of one unit at once would pay twice and race for its item.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, cast

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)

from bulk_inference.aws import dynamodb
from bulk_inference.core.errors import BulkInferenceError, ThrottledError, WorkInProgressError
from bulk_inference.core.leases import LEASE_SECONDS

REMEMBERED_SECONDS: Final = 600
"""How long a repeated invocation gets the first one's answer. Beyond, the unit's own item answers the same."""


@cache
def _persistence(table: str) -> DynamoDBPersistenceLayer:
    return DynamoDBPersistenceLayer(
        table_name=table, key_attr="pk", expiry_attr="expires_at", boto3_client=dynamodb.connect()
    )


class _Brief:
    """Lambda's context, as far as the guard asks for it: the time for which an invocation counts as alive."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def get_remaining_time_in_millis(self) -> int:
        return min(1000 * LEASE_SECONDS, int(self._context.get_remaining_time_in_millis()))


def guarded(
    work: Callable[[], dict[str, Any]], *, table: str, function: str, key: Mapping[str, Any], context: Any
) -> dict[str, Any]:
    """Does the work unless the same key is being worked on, or has been just now; then the first answer is given.

    An invocation that dies blocks its key no longer than a lease lasts (core/leases.py), and no longer than its own
    time would have lasted, which `context` tells: beyond that, the lease of the unit keeps others away from one that
    lives. One that raises frees it at once. The answer is stored: it must not hold text of records. Raises
    WorkInProgressError.
    """
    config = IdempotencyConfig(
        expires_after_seconds=REMEMBERED_SECONDS, hash_function="sha256", raise_on_no_idempotency_key=True
    )
    config.register_lambda_context(cast(Any, _Brief(context)))

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="key",
        persistence_store=_persistence(table),
        config=config,
        key_prefix=f"idempotency/{function}",
    )
    def once(*, key: Mapping[str, Any]) -> dict[str, Any]:
        return work()

    try:
        answer: dict[str, Any] = once(key=dict(key))
    except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError) as error:
        raise WorkInProgressError(f"{function} is at work on {dict(key)}") from error
    except IdempotencyPersistenceLayerError as error:
        # Powertools names every refusal of DynamoDB so, and puts it in the place of what the work itself raised.
        own = _own_error_behind(error)
        if own is not None:
            raise own from None
        raise ThrottledError(f"the ledger refused {function}'s mark on {dict(key)}: {error}") from error
    return answer


def _own_error_behind(error: BaseException) -> BulkInferenceError | None:
    """What the work raised, when an error of the guard came up while that was handled."""
    behind = error.__cause__ or error.__context__
    while behind is not None:
        if isinstance(behind, BulkInferenceError):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None
