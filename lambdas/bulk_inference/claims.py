"""Claims: who landed a record. One ledger item per record and scope, written before the record's result is.

The rule is *there is no claim, or the claim is mine*. The owner is the deterministic id of the unit of work, the same
on every try, so that a retry after a crash owns what the first try claimed, and nobody else does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final, Protocol, TypeVar

from bulk_inference.errors import ThrottledError

CLAIMS_PER_REQUEST: Final = 25
"""Statements that BatchExecuteStatement takes."""

LOOKUPS_PER_REQUEST: Final = 100
"""Keys that BatchGetItem takes."""

_TRIES: Final = 8
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 3.0

T = TypeVar("T")


def claim_key(tenant: str, scope: str, record_id: str) -> str:
    """Partition key of a claim. It ends in the recordId, so claims spread over all partitions."""
    return f"{tenant}/{scope}#{record_id}"


@dataclass(frozen=True)
class Claim:
    key: str
    owner: str
    """`{run}/{unit}`: the unit of work that lands the record; its result parts are named after the unit."""
    run: str
    expires_at: int
    """Epoch seconds. DynamoDB deletes an expired item up to days later: until then the rule treats it as absent."""


class Insertion(Enum):
    """What became of one conditional insert."""

    WRITTEN = "written"
    EXISTS = "exists"
    THROTTLED = "throttled"


class ClaimStore(Protocol):
    """The ledger's table as the rule sees it. Implemented by aws/dynamodb.py."""

    def insert(self, claims: Sequence[Claim]) -> list[Insertion]:
        """Writes each claim whose key is free, at most 25; the answers stand in the order of the claims."""
        ...

    def find(self, keys: Sequence[str]) -> dict[str, Claim]:
        """The claims that exist, strongly consistent, at most 100 keys."""
        ...

    def take_over(self, claim: Claim, now: int) -> bool:
        """Replaces the claim of the same key if that has expired by `now` (epoch seconds)."""
        ...


def claim(store: ClaimStore, claims: Sequence[Claim], *, now: int, sleep: Callable[[float], None]) -> dict[str, str]:
    """Claims every record it may; returns the losers as {key: owner that has it}.

    Keys must differ from each other. Raises ThrottledError when DynamoDB goes on throttling; what was claimed by then
    stays claimed by its owner, so a retry goes on from there.
    """
    lost: dict[str, str] = {}
    for chunk in chunked(claims, CLAIMS_PER_REQUEST):
        taken = _insert(store, chunk, sleep)
        if taken:
            lost.update(_losers(store, taken, now))
    return lost


def _insert(store: ClaimStore, claims: Sequence[Claim], sleep: Callable[[float], None]) -> list[Claim]:
    """Inserts with retries of the throttled ones; returns the claims whose key was taken."""
    taken: list[Claim] = []
    waiting = list(claims)
    for attempt in range(_TRIES):
        outcomes = store.insert(waiting)
        taken += [one for one, outcome in zip(waiting, outcomes, strict=True) if outcome is Insertion.EXISTS]
        waiting = [one for one, outcome in zip(waiting, outcomes, strict=True) if outcome is Insertion.THROTTLED]
        if not waiting:
            return taken
        sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt))
    raise ThrottledError(f"the ledger throttled {len(waiting)} claims {_TRIES} times in a row")


def _losers(store: ClaimStore, taken: Sequence[Claim], now: int) -> dict[str, str]:
    existing = store.find([one.key for one in taken])
    lost: dict[str, str] = {}
    for one in taken:
        other = existing.get(one.key)
        if other is not None and other.owner == one.owner:
            continue
        if other is not None and other.expires_at > now:
            lost[one.key] = other.owner
        elif not store.take_over(one, now):
            # Somebody else was quicker with an expired claim, or with one that vanished between the two reads.
            winner = store.find([one.key]).get(one.key)
            if winner is None or winner.owner != one.owner:
                lost[one.key] = winner.owner if winner else "unknown"
    return lost


def owners(store: ClaimStore, tenant: str, scope: str, record_ids: Iterable[str], *, now: int) -> Mapping[str, str]:
    """{recordId: owner} of those that are claimed in the scope and not expired. Any number of ids."""
    found: dict[str, str] = {}
    for chunk in chunked(record_ids, LOOKUPS_PER_REQUEST):
        keys = {claim_key(tenant, scope, record_id): record_id for record_id in chunk}
        found.update({keys[key]: one.owner for key, one in store.find(list(keys)).items() if one.expires_at > now})
    return found


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
