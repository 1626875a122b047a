"""Claims: who landed a record. One ledger item per record and scope, written before the record's result is.

The rule is *there is no claim, or the claim is mine*. The owner is the deterministic id of the unit of work, the same
on every try, so that a retry after a crash owns what the first try claimed, and nobody else does.

A claim is a promise to land the record. Two promises cannot be kept any more, and must not shadow the record:

* a unit that fails a record which an earlier, dead try of the same unit had claimed *gives the claim back*;
* the claim of a run that is over, whose unit did not land the record, is *taken over* by a later run of the same scope.
  Whether it is so, `ClaimJudge` says (rival_claims.py).
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.core.ports import Clock

CLAIMS_PER_REQUEST: Final = 25
"""Statements that BatchExecuteStatement takes."""

LOOKUPS_PER_REQUEST: Final = 100
"""Keys that BatchGetItem takes."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0

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


class ClaimStanding(Enum):
    """What a claim of somebody else is worth."""

    HELD = "held"
    """Its owner has landed the record, or may still."""
    FREE = "free"
    """Its owner is gone and has not landed the record."""
    UNDECIDED = "undecided"
    """Its owner's run is over, but a worker of it may still write for a while."""


ClaimJudge = Callable[[Claim], ClaimStanding]


def held(claim: Claim) -> ClaimStanding:
    """For scopes that belong to one run: every claim stands."""
    return ClaimStanding.HELD


class DeadlineBackoff:
    """How long a throttled ledger is waited for: until `reserve` seconds of the function's time are left.

    A table that has been warm for long can be throttled for minutes when a large run begins: whoever gave up at once
    would have the records inferred, or the job's output read, once more.
    """

    def __init__(self, clock: Clock, reserve: float, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._reserve = reserve
        self._jitter = jitter

    def pause(self, tries: int, what: str) -> None:
        """After the so-manieth try. Raises ThrottledError when there is no time left to wait."""
        # Jitter: many units of work are throttled at the same moment. The power is bounded for those who wait long.
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 16)) * (0.5 + 0.5 * self._jitter())
        if self._clock.remaining() - pause <= self._reserve:
            raise ThrottledError(f"the ledger throttled {what} {tries} times in a row")
        self._clock.sleep(pause)

    def of(self, call: Callable[[], T], what: str) -> T:
        """The call's answer. Raises ThrottledError."""
        tries = 0
        while True:
            try:
                return call()
            except ThrottledError:
                tries += 1
                self.pause(tries, what)


class ClaimStore(Protocol):
    """The ledger's table as the rule sees it. Implemented by aws/dynamodb.py."""

    def insert(self, claims: Sequence[Claim]) -> list[Insertion]:
        """Writes each claim whose key is free, at most 25; the answers stand in the order of the claims."""
        ...

    def find(self, keys: Sequence[str]) -> dict[str, Claim]:
        """The claims that exist, strongly consistent, at most 100 keys."""
        ...

    def take_over(self, claim: Claim, now: int, owner: str | None = None) -> bool:
        """Replaces the claim of the same key if that has expired by `now` (epoch seconds), or is `owner`'s."""
        ...

    def give_back(self, key: str, owner: str) -> bool:
        """Deletes the claim if it is `owner`'s."""
        ...


def claim(
    store: ClaimStore, claims: Sequence[Claim], *, now: int, patience: DeadlineBackoff, stands: ClaimJudge = held
) -> dict[str, str]:
    """Claims every record it may; returns the losers as {key: owner that has it}.

    Keys must differ from each other. Raises ThrottledError when DynamoDB throttles for longer than the patience,
    WorkInProgressError when it cannot be told yet whether somebody else's claim stands; what was claimed by then stays
    claimed by its owner, so a retry goes on from there.
    """
    lost: dict[str, str] = {}
    for chunk in chunked(claims, CLAIMS_PER_REQUEST):
        taken = _insert(store, chunk, patience)
        if taken:
            lost.update(patience.of(partial(_losers, store, taken, now, stands), f"{len(taken)} lookups"))
    return lost


def give_back(store: ClaimStore, keys: Iterable[str], owner: str) -> int:
    """Deletes the claims that `owner` has among the keys; how many there were."""
    given = 0
    for chunk in chunked(keys, LOOKUPS_PER_REQUEST):
        mine = [key for key, one in store.find(chunk).items() if one.owner == owner]
        given += sum(store.give_back(key, owner) for key in mine)
    return given


def _insert(store: ClaimStore, claims: Sequence[Claim], patience: DeadlineBackoff) -> list[Claim]:
    """Inserts with retries of the throttled ones; returns the claims whose key was taken."""
    taken: list[Claim] = []
    waiting, tries = list(claims), 0
    while True:
        outcomes = patience.of(partial(store.insert, waiting), f"{len(waiting)} claims")
        taken += [one for one, outcome in zip(waiting, outcomes, strict=True) if outcome is Insertion.EXISTS]
        throttled = [one for one, outcome in zip(waiting, outcomes, strict=True) if outcome is Insertion.THROTTLED]
        if not throttled:
            return taken
        # What got through says that the table is not closed: the pauses begin anew.
        tries = tries + 1 if len(throttled) == len(waiting) else 1
        waiting = throttled
        patience.pause(tries, f"{len(waiting)} claims")


def _losers(store: ClaimStore, taken: Sequence[Claim], now: int, stands: ClaimJudge) -> dict[str, str]:
    existing = store.find([one.key for one in taken])
    lost: dict[str, str] = {}
    for one in taken:
        other = existing.get(one.key)
        if other is not None and other.owner == one.owner:
            continue
        live = other is not None and other.expires_at > now
        if other is not None and live and not _free(other, stands):
            lost[one.key] = other.owner
        elif not store.take_over(one, now, other.owner if other is not None and live else None):
            # Somebody else was quicker with this claim, or with one that vanished between the two reads.
            winner = store.find([one.key]).get(one.key)
            if winner is None or winner.owner != one.owner:
                lost[one.key] = winner.owner if winner else "unknown"
    return lost


def _free(other: Claim, stands: ClaimJudge) -> bool:
    standing = stands(other)
    if standing is ClaimStanding.UNDECIDED:
        raise WorkInProgressError(f"run {other.run} is over, but a worker of it may still land what it has claimed")
    return standing is ClaimStanding.FREE


def current_claims(
    store: ClaimStore, tenant: str, scope: str, record_ids: Iterable[str], *, now: int
) -> Mapping[str, Claim]:
    """{recordId: claim} of those that are claimed in the scope and not expired. Any number of ids."""
    found: dict[str, Claim] = {}
    for chunk in chunked(record_ids, LOOKUPS_PER_REQUEST):
        keys = {claim_key(tenant, scope, record_id): record_id for record_id in chunk}
        found.update({keys[key]: one for key, one in store.find(list(keys)).items() if one.expires_at > now})
    return found


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
