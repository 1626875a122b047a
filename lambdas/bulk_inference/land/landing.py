"""Landing: claim, then write what is owned. The order is the promise: see claims.py for the rule.

A part's key is made of the unit's id alone, and a unit claims under one owner however often it is tried, so that a
crash at any point and a retry end in the same claims and the same parts.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from bulk_inference.core.index_line import Pointer
from bulk_inference.core.names import Owner
from bulk_inference.core.ports import Bucket, Clock, Writer
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
    DeadlineBackoff,
    chunked,
    claim,
    claim_key,
    held,
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


def land(
    entries: Sequence[tuple[Pointer, Any]],
    *,
    owner: str,
    spec: RunSpec,
    ledger: ClaimStore,
    clock: Clock,
    reserve: float,
    stands: ClaimJudge = held,
) -> Landed:
    """Claims the records (pointer, modelOutput or Valued) for `owner` and makes the result lines of those it owns.

    A ledger that throttles is waited for until `reserve` seconds of the function's time are left. Raises ThrottledError
    when it then still does: nothing but claims has been written. Raises WorkInProgressError when it cannot be told yet
    whether another run's claim stands.
    """
    lost = _claim([pointer.record_id for pointer, _ in entries], owner, spec, ledger, clock, reserve, stands)
    lines: list[bytes] = []
    total = Usage()
    for pointer, output in entries:
        line, usage = result_line(pointer, output, spec.source.bucket)
        total += usage
        if pointer.record_id not in lost:
            lines.append(line)
    return Landed(lines, [p for p, _ in entries if p.record_id in lost], total)


def owner_of(run: str, unit: str) -> str:
    return Owner(run, unit).name


def give_back(record_ids: Iterable[str], owner: str, spec: RunSpec, ledger: ClaimStore) -> int:
    """For records that failed: deletes the claims that a dead try of the same owner has left on them.

    To be called after the parts are written, which no longer hold these records, and before their failure is noted.
    """
    return claims.give_back(ledger, (claim_key(spec.tenant, spec.scope, one) for one in record_ids), owner)


def _claim(
    record_ids: Iterable[str],
    owner: str,
    spec: RunSpec,
    ledger: ClaimStore,
    clock: Clock,
    reserve: float,
    stands: ClaimJudge,
) -> set[str]:
    now = clock.now()
    patience = DeadlineBackoff(clock, reserve)
    wanted = {claim_key(spec.tenant, spec.scope, record_id): record_id for record_id in record_ids}
    requests = list(chunked((Claim(key, owner, spec.run, expiry(spec, now)) for key in wanted), CLAIMS_PER_REQUEST))

    def send(request: list[Claim]) -> dict[str, str]:
        return claim(ledger, request, now=int(now), patience=patience, stands=stands)

    return {wanted[key] for lost in _spread(send, requests) for key in lost}


def _spread(send: Callable[[list[Claim]], dict[str, str]], requests: list[list[Claim]]) -> list[dict[str, str]]:
    if len(requests) < 2:
        return [send(request) for request in requests]
    with ThreadPoolExecutor(_CLAIM_THREADS, "claim") as pool:
        return list(pool.map(send, requests))


class PartStream:
    """One object of lines, begun with the first line and visible when the context ends well; none without lines."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._lines = 0

    def write(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._writer is None:
                self._writer = self._stack.enter_context(self._bucket.writer(self._key))
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
