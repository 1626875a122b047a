"""Pools: documents of priority normal and low, gathered by count, bytes or age into runs.

Documents of one tenant, priority, scope and prompt (as it is now) go into one *slot*. The slot's pool is open until it
is full or old enough; then it is closed and becomes the run that it was named after when it was opened.

No document is lost or doubled, whoever dies when:

* a block of documents is written to S3, and then *one transaction* says that the slot's open pool holds it and that
  each of its documents is pooled. A message is deleted only after that, and a message that comes again finds its
  document pooled. A block without its transaction belongs to no pool;
* a pool is closed by one transaction that takes it out of its slot and puts it among the closed ones. Every change of a
  slot asks for the version that was read, so that nothing is appended to a pool that has been closed;
* a closed pool's corpus is made of its blocks in the order of their names, the same on every try, and its run is
  started under its own name: Step Functions starts a name once.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.index_line import canonical
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Clock, ConditionalPut, Intake, Pipeline
from bulk_inference.core.runs_table import BLOCKS, DOCUMENT, POOLS, SLOTS, Item, block_sk, document_pk, pool_pk
from bulk_inference.intake.ceilings import Ceilings, Weight, batches, weigh
from bulk_inference.intake.message import (
    POOLED,
    Admission,
    DocumentMessage,
    RefusedDocumentError,
    conflict,
    document_item,
    judge,
)
from bulk_inference.intake.stored_prompts import StoredPrompt
from bulk_inference.request.limits import canary_of

OPEN, CLOSED, STARTED, SETTLED = "open", "closed", "started", "settled"
"""States of a pool; those of a window of urgent documents are open and settled."""

POOL, WINDOW = "pool", "window"

MOST_DOCUMENTS: Final = 90
"""Appended together: a transaction takes 100 items."""

LEASE_SECONDS: Final = 1000
"""Longer than Lambda lets a worker live."""

STARTED_AT_ONCE: Final = 1_000
"""Documents of a pool that is started by the worker who fills it. A larger one is the schedule's, which has the time:
documents that trickle in make a block each."""

_READERS: Final = 16
_AHEAD: Final = 64
"""Chunks read together, at most, and their bytes: the memory that a corpus takes while it is made."""
_AHEAD_BYTES: Final = 64 * 1024 * 1024

_TRIES: Final = 12
_PAUSE: Final = 0.05
_KEPT_DAYS: Final = 100
"""Longer than Step Functions keeps an execution's name."""


@dataclass(frozen=True)
class PoolLimits:
    """When a pool of one priority is closed: whichever comes first."""

    documents: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Arrival:
    """One message with its document read."""

    message: DocumentMessage
    prompt: StoredPrompt
    line: bytes
    """The document as a corpus line, with its end."""
    message_id: str
    sent_at: int
    """Epoch seconds."""

    @property
    def scope(self) -> str:
        return self.message.scope or self.prompt.scope

    @property
    def ceilings(self) -> Ceilings:
        return Ceilings() if self.prompt.checked is None else Ceilings.of(self.prompt.checked)

    @cached_property
    def weight(self) -> Weight:
        """What it is in a run."""
        return Weight(1) if self.prompt.checked is None else weigh(self.line, self.prompt.checked)


@dataclass(frozen=True)
class PoolServices:
    input: Bucket
    runs: Intake
    pipeline: Pipeline
    clock: Clock
    limits: Callable[[str], PoolLimits]
    """By priority."""
    claim_ttl_days: int
    jitter: Callable[[], float] = field(default=random.random)

    @property
    def expires_at(self) -> int:
        return int(self.clock.now()) + max(self.claim_ttl_days, _KEPT_DAYS) * 86_400


def slot_key(tenant: str, priority: str, scope: str, prompt: StoredPrompt) -> str:
    """Sort key of the slot: one per prompt as it is now."""
    content = hashlib.sha256(canonical([tenant, priority, scope, prompt.name, prompt.digest])).hexdigest()
    return f"{tenant}/{priority}/{content[:24]}"


def pool(arrivals: Sequence[Arrival], priority: str, services: PoolServices) -> list[str | RefusedDocumentError]:
    """Puts the documents into the open pools of their slots; for each what became of it: `pooled`, `known`, or why it
    was refused. A pool that is full is closed and its run is started.

    Raises ThrottledError; then nothing is known of any of them, and all may come again.
    """
    outcomes: dict[int, str | RefusedDocumentError] = {}
    slots: dict[str, list[int]] = {}
    for number, one in enumerate(arrivals):
        slots.setdefault(slot_key(one.message.tenant, priority, one.scope, one.prompt), []).append(number)
    weights = [one.weight for one in arrivals]
    for slot, numbers in slots.items():
        for chosen in batches(numbers, weights, arrivals[numbers[0]].ceilings, MOST_DOCUMENTS):
            found = _append(slot, [arrivals[n] for n in chosen], priority, services)
            outcomes.update(zip(chosen, found, strict=True))
    return [outcomes[number] for number in range(len(arrivals))]


def _append(
    slot: str, arrivals: Sequence[Arrival], priority: str, services: PoolServices
) -> list[str | RefusedDocumentError]:
    for attempt in range(_TRIES):
        if attempt:
            services.clock.sleep(_PAUSE * 2 ** min(attempt, 6) * (0.5 + services.jitter()))
        stored = services.runs.get(SLOTS, slot)
        if stored is not None and (_is_full(stored, priority, services) or _would_burst(stored, arrivals)):
            close(stored, services)
            continue
        outcomes, taken = _sort_out(arrivals, priority, services)
        if not taken:
            return outcomes
        opened = stored if stored is not None and stored["documents"] else None
        if opened is None:
            opened = _opened(slot, stored, arrivals[0], priority, services)
            # The same bytes whoever writes them: the slot is one prompt's.
            places = Places(arrivals[0].message.tenant, opened["run"])
            services.input.put_json(places.pool_request, dict(arrivals[0].prompt.request))
        filled = _fill(stored, opened, [(arrivals[number], item) for number, item in taken], services)
        if filled is not None:
            _start_if_full(filled, priority, services)
            return outcomes
    raise ThrottledError(f"the pool of slot {slot} was changed by others {_TRIES} times in a row")


def _fill(
    stored: Item | None, opened: Item, taken: Sequence[tuple[Arrival, Item]], services: PoolServices
) -> Item | None:
    """The slot's item once a block of documents is in its open pool; None if another worker was first."""
    lines = b"".join(arrival.line for arrival, _ in taken)
    attempts = [(item["pk"], item["take"]) for _, item in taken]
    block = hashlib.sha256(canonical(attempts) + lines).hexdigest()[:32]
    places = Places(taken[0][0].message.tenant, opened["run"])
    services.input.put(places.pool_block(block), lines, "application/x-ndjson")
    weight = sum((arrival.weight for arrival, _ in taken), _weight_of(opened))
    filled: Item = {
        **opened,
        "version": opened["version"] + 1,
        "records": weight.records,
        "tokens": weight.tokens,
        "documents": opened["documents"] + len(taken),
        "bytes": opened["bytes"] + len(lines),
        "oldestSentAt": min([opened["oldestSentAt"], *(arrival.sent_at for arrival, _ in taken)]),
        "expires_at": services.expires_at,
    }
    written: Item = {
        "pk": pool_pk(opened["run"]),
        "sk": block_sk(block),
        "expires_at": services.expires_at,
        "documents": len(taken),
        "bytes": len(lines),
    }
    puts = [
        ConditionalPut(filled, "version", None if stored is None else stored["version"]),
        ConditionalPut(written, "sk", None),
    ]
    now = int(services.clock.now())
    for _, item in taken:
        item |= {"state": POOLED, "run": opened["run"], "at": now}
        puts.append(ConditionalPut(item, "version", item["version"] - 1 or None))
    return filled if _put_all(puts, services) else None


def _start_if_full(filled: Item, priority: str, services: PoolServices) -> None:
    if not _is_full(filled, priority, services) or not close(filled, services):
        return
    if filled["documents"] <= STARTED_AT_ONCE:
        found = services.runs.get(POOLS, filled["run"])
        if found is not None:
            start(found, services)


def _put_all(puts: Sequence[ConditionalPut], services: PoolServices) -> bool:
    try:
        return services.runs.put_all(puts)
    except ThrottledError:
        # Two transactions met. Which of them holds is read again.
        return False


def _sort_out(
    arrivals: Sequence[Arrival], priority: str, services: PoolServices
) -> tuple[list[str | RefusedDocumentError], list[tuple[int, Item]]]:
    """What becomes of each arrival, and the items of those that go into the pool, by their numbers."""
    outcomes: list[str | RefusedDocumentError] = []
    taken: dict[str, tuple[int, Item]] = {}
    for number, one in enumerate(arrivals):
        key = document_pk(one.message.tenant, one.scope, one.message.id)
        known = taken[key][1] | {"state": POOLED} if key in taken else services.runs.get(key, DOCUMENT)
        verdict = judge(known, one.message, one.message_id)
        if verdict is Admission.NEW:
            now, expires_at = services.clock.now(), services.expires_at
            item = document_item(
                known,
                one.message,
                one.scope,
                priority,
                message_id=one.message_id,
                sent_at=one.sent_at,
                now=now,
                expires_at=expires_at,
            )
            taken[key] = (number, item)
            outcomes.append("pooled")
        elif verdict is Admission.CONFLICT and known is not None:
            outcomes.append(conflict(known))
        else:
            outcomes.append("known")
    return outcomes, list(taken.values())


def _opened(slot: str, stored: Item | None, first: Arrival, priority: str, services: PoolServices) -> Item:
    """A new pool in the slot, empty still. Its run's name is its own: it holds the moment and the slot's version."""
    now = services.clock.now()
    version = 0 if stored is None else int(stored["version"])
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    unique = hashlib.sha256(canonical([slot, version, stamp])).hexdigest()[:8]
    return {
        "pk": SLOTS,
        "sk": slot,
        "version": version,
        "run": names.pool_run(priority, first.prompt.name, stamp, unique),
        "documents": 0,
        "bytes": 0,
        "records": 0,
        "tokens": 0,
        "openedAt": int(now),
        "oldestSentAt": first.sent_at,
        "tenant": first.message.tenant,
        "scope": first.scope,
        "priority": priority,
        "prompt": first.prompt.name,
        "promptDigest": first.prompt.digest,
    }


def _is_full(slot: Item, priority: str, services: PoolServices) -> bool:
    limits = services.limits(priority)
    return bool(slot["documents"]) and (
        slot["documents"] >= limits.documents
        or slot["bytes"] >= limits.bytes
        or services.clock.now() - slot["openedAt"] >= limits.seconds
    )


def _would_burst(slot: Item, arrivals: Sequence[Arrival]) -> bool:
    """Whether a run over the slot's pool and these might be refused as too large."""
    whole = sum((one.weight for one in arrivals), _weight_of(slot))
    return bool(slot["documents"]) and not arrivals[0].ceilings.holds(whole)


def _weight_of(slot: Item) -> Weight:
    """A slot of an older bundle counts its documents alone."""
    return Weight(int(slot["records" if "records" in slot else "documents"]), int(slot.get("tokens", 0)))


def close(slot: Item, services: PoolServices) -> bool:
    """Takes the slot's pool, as it was read, out of the slot; False if it has been changed or closed since."""
    emptied: Item = {**slot, "version": slot["version"] + 1, "documents": 0, "bytes": 0, "run": None}
    closed: Item = {
        **{name: slot[name] for name in _OF_POOL if name in slot},
        "pk": POOLS,
        "sk": slot["run"],
        "kind": POOL,
        "state": CLOSED,
        "closedAt": int(services.clock.now()),
        "leasedUntil": 0,
        "expires_at": services.expires_at,
    }
    return _put_all([ConditionalPut(emptied, "version", slot["version"]), ConditionalPut(closed, "sk", None)], services)


_OF_POOL: Final = (
    "run",
    "documents",
    "bytes",
    "records",
    "tokens",
    "openedAt",
    "oldestSentAt",
    "tenant",
    "scope",
    "priority",
    "prompt",
    "promptDigest",
)


def close_old(services: PoolServices) -> int:
    """Closes every open pool that is old or full; how many."""
    slots = [one for one in services.runs.query(SLOTS) if _is_full(one, one["priority"], services)]
    return sum(close(one, services) for one in slots)


def start(closed: Item, services: PoolServices) -> bool:
    """Starts the run of a closed pool; False if somebody else does, or has done so. Safe to repeat at any time.

    The corpus is written once: an object that is written again has another ETag, and a run that reads it would take it
    for changed. Hence the lease, which outlives every worker.
    """
    if closed["kind"] != POOL or closed["state"] != CLOSED or (leased := lease(closed, services)) is None:
        return False
    places = Places(closed["tenant"], closed["run"])
    prompt = StoredPrompt(
        closed["prompt"], closed["tenant"], services.input.get_json(places.pool_request) or {}, closed["promptDigest"]
    )
    if services.input.find(places.pool_corpus) is None:
        with services.input.writer(places.pool_corpus) as corpus:
            for data in _documents(closed["run"], places, services):
                corpus.write(data)
    request = _request(prompt, places, closed)
    # False says that an execution of this name exists and is over: it is this pool's, which nobody else names.
    services.pipeline.start(closed["run"], request)
    started = {**leased, "state": STARTED, "startedAt": int(services.clock.now()), "leasedUntil": 0}
    return services.runs.put_if(started, "leasedUntil", leased["leasedUntil"])


def _request(prompt: StoredPrompt, places: Places, closed: Item) -> dict[str, Any]:
    """Of the pool's run. Its documents have nothing to do with each other: a few that the model refuses must not refuse
    the others."""
    request = prompt.run_request(places.pool_corpus, closed["scope"], closed["priority"])
    if canary_of(closed["documents"], 1):
        return request
    return {**request, "limits": {**request.get("limits", {}), "canary_records": 0}}


def _documents(run: str, places: Places, services: PoolServices) -> Iterator[bytes]:
    """The pool's blocks in the order of their names, some read at once: a hundred thousand one by one would take longer
    than a function lives."""

    def read(block: Item) -> bytes:
        return b"".join(services.input.read(places.pool_block(str(block["sk"]).removeprefix(BLOCKS))))

    with ThreadPoolExecutor(_READERS, "blocks") as threads:
        for some in _together(services.runs.query(pool_pk(run), BLOCKS)):
            yield from threads.map(read, some)


def _together(blocks: Iterable[Item]) -> Iterator[list[Item]]:
    some: list[Item] = []
    size = 0
    for block in blocks:
        if some and (len(some) == _AHEAD or size + block["bytes"] > _AHEAD_BYTES):
            yield some
            some, size = [], 0
        some.append(block)
        size += block["bytes"]
    if some:
        yield some


def lease(item: Item, services: PoolServices) -> Item | None:
    """The pool's item under a lease of the caller's; None if somebody else has one. Given up by writing 0."""
    now = int(services.clock.now())
    if item["leasedUntil"] > now:
        return None
    leased = {**item, "leasedUntil": now + LEASE_SECONDS}
    return leased if services.runs.put_if(leased, "leasedUntil", item["leasedUntil"]) else None


def limits_of(variables: Any) -> PoolLimits:
    """Limits of one priority as Terraform wrote them: documents, minutes, megabytes."""
    return PoolLimits(int(variables["documents"]), float(variables["minutes"]) * 60, int(variables["megabytes"]) << 20)
