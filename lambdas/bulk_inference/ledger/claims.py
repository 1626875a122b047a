"""Claims: whose a record is. One ledger item per record and scope, written before the record's result is.

The rule is *there is no claim, or the claim is mine*. The owner is the deterministic id of the unit of work, the same
on every attempt, so that a retry after a crash owns what the first attempt claimed, and nobody else does. The epoch is
that of the worker's lease: a worker that was frozen, and whose unit another one has, changes nothing of the other's.

A claim is a promise to land the record, and no evidence that it has landed. Promises that are not kept any more must
not shadow the record:

* a unit that fails a record which an earlier, dead attempt of the same unit had claimed *gives the claim back*;
* a claim passes on with its record: to the next attempt at a shard, to the remainder, to the failure lane;
* the claim of a run that is over, whose unit did not land the record, is *taken over* by a later run of the same scope.
  Whether it is so, a `ClaimJudge` says (rival_claims.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.core.names import same_records

CLAIMS_PER_REQUEST: Final = 25
"""Statements that BatchExecuteStatement takes."""

LOOKUPS_PER_REQUEST: Final = 100
"""Keys that BatchGetItem takes."""


_LOOKS: Final = 8

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
    epoch: int = 0
    """Of the owner's lease, when it claimed (leases.py); 0: by a bundle that had none."""


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

Inherits = Callable[[str, str], bool]
"""(an owner, another one) → whether records that the second has claimed are the first one's now."""


def held(claim: Claim) -> ClaimStanding:
    """For scopes that belong to one run: every claim stands."""
    return ClaimStanding.HELD


class ClaimStore(Protocol):
    """The ledger's table as the rule sees it. Implemented by aws/dynamodb.py."""

    def insert(self, claims: Sequence[Claim]) -> list[Insertion]:
        """Writes each claim whose key is free, at most 25; the answers stand in the order of the claims."""
        ...

    def find(self, keys: Sequence[str]) -> dict[str, Claim]:
        """The claims that exist, strongly consistent, at most 100 keys."""
        ...

    def take_over(self, claim: Claim, now: int, seen: Claim | None = None) -> bool:
        """Writes the claim if its key is free, or what is there has expired by `now` (epoch seconds), or has owner and
        epoch of `seen`."""
        ...

    def give_back(self, seen: Claim) -> bool:
        """Deletes the claim if owner and epoch are still those of `seen`."""
        ...


def one_after_the_other(mine: str, theirs: str) -> bool:
    """Whether the first owner got its records by a commit of the second (part_names.same_records)."""
    return same_records((mine, theirs))


def claim(
    store: ClaimStore,
    claims: Sequence[Claim],
    *,
    now: int,
    patience: DeadlineBackoff,
    stands: ClaimJudge = held,
    inherits: Inherits = one_after_the_other,
) -> dict[str, str]:
    """Claims every record it may; returns the losers as {key: owner that has it}.

    Keys must differ from each other. `inherits` says whether the claims of another owner are this one's now. Raises
    ThrottledError when DynamoDB throttles for longer than the patience, WorkInProgressError when it cannot be told yet
    whether somebody else's claim stands, or a later worker of the same unit has claimed; what was claimed by then stays
    claimed by its owner, so a retry goes on from there.
    """
    lost: dict[str, str] = {}
    for group in in_groups(claims, CLAIMS_PER_REQUEST):
        taken = _insert(store, group, patience)
        if taken:
            lost.update(patience.of(partial(_losers, store, taken, now, stands, inherits), f"{len(taken)} lookups"))
    return lost


def give_back(store: ClaimStore, keys: Iterable[str], owner: str, epoch: int) -> int:
    """Deletes the claims that `owner` has among the keys, but for those of a later epoch: these are another worker's;
    how many there were."""
    given = 0
    for group in in_groups(keys, LOOKUPS_PER_REQUEST):
        mine = [one for one in store.find(group).values() if one.owner == owner and one.epoch <= epoch]
        given += sum(store.give_back(one) for one in mine)
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


def _losers(
    store: ClaimStore, taken: Sequence[Claim], now: int, stands: ClaimJudge, inherits: Inherits
) -> dict[str, str]:
    """Reads who has the claims; takes over those that are ours, or that nobody will honour. Each is written on
    condition of what was read, and read again if that has changed: nothing is made of a guess."""
    lost: dict[str, str] = {}
    waiting = {one.key: one for one in taken}
    for _ in range(_LOOKS):
        existing = store.find(list(waiting))
        for key, one in list(waiting.items()):
            other = existing.get(key)
            if other is not None and other.expires_at <= now:
                other = None
            if other is not None and other.owner == one.owner and other.epoch >= one.epoch:
                if other.epoch > one.epoch:
                    raise WorkInProgressError(f"a later worker of {one.owner} has claimed its records")
                del waiting[key]
            elif other is not None and not _passes(one, other, stands, inherits):
                lost[key] = other.owner
                del waiting[key]
            elif store.take_over(one, now, other):
                del waiting[key]
        if not waiting:
            return lost
    raise ThrottledError(f"{len(waiting)} claims changed hands {_LOOKS} times while they were looked at")


def _passes(one: Claim, other: Claim, stands: ClaimJudge, inherits: Inherits) -> bool:
    return other.owner == one.owner or inherits(one.owner, other.owner) or is_free(other, stands)


def is_free(other: Claim, stands: ClaimJudge) -> bool:
    """Whether somebody else's claim may be taken over. Raises WorkInProgressError while that cannot be told."""
    standing = stands(other)
    if standing is ClaimStanding.UNDECIDED:
        raise WorkInProgressError(f"a worker of {other.owner} may still land what it has claimed")
    return standing is ClaimStanding.FREE


def current_claims(
    store: ClaimStore, tenant: str, scope: str, record_ids: Iterable[str], *, now: int
) -> Mapping[str, Claim]:
    """{recordId: claim} of those that are claimed in the scope and not expired. Any number of ids."""
    found: dict[str, Claim] = {}
    for group in in_groups(record_ids, LOOKUPS_PER_REQUEST):
        keys = {claim_key(tenant, scope, record_id): record_id for record_id in group}
        found.update({keys[key]: one for key, one in store.find(list(keys)).items() if one.expires_at > now})
    return found


def in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
