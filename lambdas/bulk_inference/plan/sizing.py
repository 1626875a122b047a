"""How large a run is to be: shards, jobs, tokens, minutes, money. Estimates, said as such; and what is too large."""

from dataclasses import dataclass
from typing import Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Document, Estimate, Limits, Prices
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


def refuse_larger(limits: Limits, records: int, tokens: int, basis: str) -> None:
    """Raises InvalidRequestError that names each limit which the run exceeds. `basis`: where the numbers are from."""
    problems = [
        f"limits.{name}: {number} {what} ({basis}) are more than the {most} that this run may have"
        for name, number, what, most in (
            ("max_records", records, "records", limits.max_records),
            ("max_tokens", tokens, "input and output tokens", limits.max_tokens),
        )
        if most is not None and number > most
    ]
    if problems:
        raise InvalidRequestError(
            "; ".join(problems) + ": raise the limit in the request, or give the run a smaller corpus"
        )


def true_tokens(estimate: Estimate, records: int, shard_bytes: int) -> int:
    """Input and output tokens again, from what was cut: input by bytes, output by records."""
    per_byte = estimate.input_tokens / estimate.shard_bytes if estimate.shard_bytes else 0
    per_record = estimate.output_tokens / estimate.records if estimate.records else 0
    return round(per_byte * shard_bytes + per_record * records)


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


_MILLION: Final = 1_000_000


def money(prices: Prices, input_tokens: float, output_tokens: float, *, batch: bool) -> float:
    """In units of the prices' currency."""
    factor = prices.batch_factor if batch else 1
    both = input_tokens * prices.input_per_million + output_tokens * prices.output_per_million
    return round(both * factor / _MILLION, 6)


def _rounded(minutes: float) -> float:
    return round(minutes, 1) if minutes >= 1 else round(minutes, 3)
