"""Landing: claim, then write what is owned. The order is the promise: see claims.py for the rule.

A unit claims under one owner however often it is tried, so that a crash at any point and a retry end in the same
claims. What was written counts when the unit's lease has committed it (core/leases.py).
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.leases import Lease
from bulk_inference.core.ports import Bucket, Writer
from bulk_inference.core.result_line import Usage, result_line
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.times import expiry
from bulk_inference.land.units import Part
from bulk_inference.ledger import claims
from bulk_inference.ledger.claims import (
    CLAIMS_PER_REQUEST,
    Claim,
    ClaimJudge,
    ClaimStore,
    Inherits,
    claim,
    claim_key,
    held,
    in_groups,
    one_after_the_other,
)

_CLAIM_THREADS: Final = 4
"""Requests of 25 claims in flight at once: one unit then writes some thousands of claims a second."""


@dataclass(frozen=True)
class Landed:
    lines: list[bytes]
    """Result lines of the records that the unit owns, in the order given."""
    lost: list[Pointer]
    """Records that another unit owns."""
    usage: Usage
    """Tokens of all of them: what was lost was paid for, too."""


@dataclass(frozen=True)
class Owner:
    """Who claims."""

    name: str
    """`{run}/{unit}`."""
    epoch: int
    """Of its lease."""
    inherits: Inherits = one_after_the_other

    @classmethod
    def of(cls, lease: Lease) -> "Owner":
        return cls(f"{lease.run}/{lease.unit}", lease.epoch)


def land(
    entries: Sequence[tuple[Pointer, Any]],
    *,
    owner: Owner,
    spec: RunSpec,
    ledger: ClaimStore,
    patience: DeadlineBackoff,
    now: float,
    stands: ClaimJudge = held,
) -> Landed:
    """Claims the records (pointer, modelOutput or Valued) for `owner` and makes the result lines of those it owns.

    Raises ThrottledError when the ledger throttles for longer than the patience: nothing but claims has been written.
    Raises WorkInProgressError when it cannot be told yet whether another run's claim stands.
    """
    wanted = {claim_key(spec.tenant, spec.scope, pointer.record_id): pointer.record_id for pointer, _ in entries}
    expires_at = expiry(spec, now)
    all_claims = (Claim(key, owner.name, spec.run, expires_at, owner.epoch) for key in wanted)

    def send(request: list[Claim]) -> dict[str, str]:
        return claim(ledger, request, now=int(now), patience=patience, stands=stands, inherits=owner.inherits)

    requests = list(in_groups(all_claims, CLAIMS_PER_REQUEST))
    lost = {wanted[key] for answer in _spread(send, requests) for key in answer}
    lines: list[bytes] = []
    total = Usage()
    for pointer, output in entries:
        line, usage = result_line(pointer, output, spec.source.bucket)
        total += usage
        if pointer.record_id not in lost:
            lines.append(line)
    return Landed(lines, [p for p, _ in entries if p.record_id in lost], total)


def give_back(record_ids: Iterable[str], owner: Owner, spec: RunSpec, ledger: ClaimStore) -> int:
    """For records that failed: deletes the claims that a dead attempt of the same owner has left on them, before their
    failure is committed."""
    keys = (claim_key(spec.tenant, spec.scope, one) for one in record_ids)
    return claims.give_back(ledger, keys, owner.name, owner.epoch)


def _spread(send: Callable[[list[Claim]], dict[str, str]], requests: list[list[Claim]]) -> list[dict[str, str]]:
    if len(requests) < 2:
        return [send(request) for request in requests]
    with ThreadPoolExecutor(_CLAIM_THREADS, "claim") as pool:
        return list(pool.map(send, requests))


class PartStream:
    """One object of lines under a name that nobody else writes, begun with the first line and visible when the context
    ends well; none without lines."""

    def __init__(self, bucket: Bucket, name: Callable[[], str]) -> None:
        """`name` gives the key, and is asked for it with the first line."""
        self._bucket = bucket
        self._name = name
        self._key = ""
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._lines = 0

    def write(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._writer is None:
                self._key = self._name()
                self._writer = self._stack.enter_context(self._bucket.creator(self._key))
            self._writer.write(line)
            self._lines += 1

    @property
    def parts(self) -> list[Part]:
        """The part as it is when closed, or none."""
        return [] if self._writer is None else [Part(self._key, self._writer.size, self._lines)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


LANDING_RESERVE_SECONDS: Final = 45.0


LANDING_RESERVE_SHARE: Final = 0.1
"""What is kept for landing: requests that still run by then are given up, and their records handed back."""
