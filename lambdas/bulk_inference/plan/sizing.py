"""How large a run is to be: shards, jobs, tokens, minutes, money. Estimates, said as such; and what is too large."""

from dataclasses import dataclass

from bulk_inference.core.json_document import Document
from bulk_inference.core.run_spec import Estimate, Limits
from bulk_inference.core.tokens import DEFAULT_MAX_TOKENS, FILLED_PART
from bulk_inference.cut.sealing import TAIL_DIVISOR
from bulk_inference.plan.concurrency import CALLS_PER_MINUTE_PER_WORKER


@dataclass(frozen=True)
class Work(Document):
    """What a run is made of, about."""

    shards: int
    """Files: of one job each in mode batch; in mode sync the pieces whose records are inferred one by one."""
    jobs: int
    waves: int
    """Jobs ÷ jobs at once, rounded up."""
    sync_records: int
    """Records that go on demand: all in mode sync, else what is too little for a job."""
    sync_batches: int
    """Item batches, each one unit of work of infer_batch."""


def work(mode: str, estimate: Estimate, cuts: int, limits: Limits, items_per_batch: int) -> Work:
    """Takes the records to be spread evenly over the cuts, and seals them as sealing.py does. `waves` is 0."""
    records = estimate.records
    if not records or not cuts:
        return Work(0, 0, 0, 0, 0)
    full = limits.max_records_per_shard
    if estimate.shard_bytes:
        full = max(1, min(full, limits.max_bytes_per_shard * records // estimate.shard_bytes))
    each = -(-records // cuts)
    used_cuts = -(-records // each)
    whole, tail = divmod(each, full)
    if mode == "sync":
        return Work(used_cuts * (whole + bool(tail)), 0, 0, records, -(-records // items_per_batch))
    smallest = limits.min_records_per_shard
    shards, left = used_cuts * whole, 0
    if tail >= max(smallest, full // TAIL_DIVISOR):
        shards += used_cuts
    elif tail:
        per_group = max(1, full // tail)
        groups, rest = divmod(used_cuts, per_group)
        if per_group * tail >= smallest:
            shards += groups
        else:
            left += groups * per_group * tail
        if rest * tail >= smallest:
            shards += 1
        else:
            left += rest * tail
    left = min(left, records)
    return Work(shards, shards, 0, left, -(-left // items_per_batch))


@dataclass(frozen=True)
class Answers:
    """How many tokens an answer is thought to have."""

    tokens: float
    basis: str


def assumed_answers(max_tokens: int | None, *, embedding: bool) -> Answers:
    """Before any answer has been seen."""
    if embedding:
        return Answers(0, "an embedding has no output tokens")
    if max_tokens is None:
        most = DEFAULT_MAX_TOKENS // FILLED_PART
        return Answers(most, f"output: assumed, {most} tokens an answer, since the request sets no maxTokens")
    return Answers(-(-max_tokens // FILLED_PART), f"output: assumed, an eighth of maxTokens ({max_tokens})")


@dataclass(frozen=True)
class Minutes(Document):
    value: float
    basis: str


def sync_minutes(
    records: int, tokens_per_request: float, tokens_per_minute: int | None, at_once: int
) -> Minutes | None:
    """How long `records` take on demand; None without records. `tokens_per_request`: that count against the quota once
    the answer is there, output at its burndown rate."""
    if not records:
        return None
    by_workers = records / (at_once * CALLS_PER_MINUTE_PER_WORKER)
    if tokens_per_minute is None:
        return Minutes(
            _rounded(by_workers),
            f"estimate: {at_once} workers at {CALLS_PER_MINUTE_PER_WORKER} calls a minute; tokens per minute unknown",
        )
    by_tokens = records * tokens_per_request / tokens_per_minute
    if by_tokens >= by_workers:
        return Minutes(
            _rounded(by_tokens), f"estimate: all tokens at {tokens_per_minute} tokens per minute, no retries"
        )
    return Minutes(
        _rounded(by_workers), f"estimate: {at_once} workers at {CALLS_PER_MINUTE_PER_WORKER} calls a minute, no retries"
    )


def _rounded(minutes: float) -> float:
    return round(minutes, 1) if minutes >= 1 else round(minutes, 3)
