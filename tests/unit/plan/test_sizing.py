"""How large a run is to be, and what is refused as too large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.ceilings import refuse_larger, true_tokens
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.prices import money
from bulk_inference.core.run_spec import Estimate
from bulk_inference.core.settings import Prices
from bulk_inference.cut.cutting import PieceCount
from bulk_inference.cut.sealing import seal
from bulk_inference.plan.sizing import assumed_answers, sync_minutes, work
from tests.worlds.run_limits import limits


@given(st.integers(0, 30_000), st.integers(1, 30), st.integers(1, 300), st.integers(2, 40))
def test_the_shards_of_a_plan_are_those_of_sealing(records: int, cuts: int, smallest: int, times: int) -> None:
    """Over cuts of equally many records, as the estimate takes them."""
    most = smallest * times
    each = -(-records // cuts)
    pieces = []
    for cut in range(1, -(-records // max(each, 1)) + 1):
        sizes = [most] * (each // most) + [each % most] * bool(each % most)
        pieces += [PieceCount(f"{cut:05d}-{n}", size, size) for n, size in enumerate(sizes)]
    sealed = seal(pieces, "batch", min_records=smallest, max_records=most, max_bytes=10**12)
    run_limits = limits(min_records_per_shard=smallest, max_records_per_shard=most)
    planned = work("batch", Estimate(records=records), cuts, run_limits, 100)
    assert planned.jobs == planned.shards == len(sealed.kept) + len(sealed.merges)
    assert planned.sync_records == min(records, sum(piece.records for piece in sealed.sync))


def test_bytes_bound_a_shard_as_records_do() -> None:
    planned = work("batch", Estimate(records=4000, shard_bytes=4_000_000), 1, limits(max_bytes_per_shard=500_000), 100)
    assert planned.jobs == 8


def test_mode_sync_has_batches_and_no_jobs() -> None:
    planned = work("sync", Estimate(records=1050), 1, limits(), 100)
    assert (planned.shards, planned.jobs, planned.sync_records, planned.sync_batches) == (2, 0, 1050, 11)
    assert work("sync", Estimate(), 0, limits(), 100).sync_batches == 0


@pytest.mark.parametrize(("records", "tokens", "named"), [(11, 5, "max_records"), (5, 11, "max_tokens")])
def test_what_is_too_large_is_refused_by_its_limit(records: int, tokens: int, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^limits\.{named}: 11 .* \(counted\) are more than the 10 "):
        refuse_larger(limits(max_records=10, max_tokens=10), records, tokens, "counted", exact=True)


def test_what_is_as_large_as_allowed_passes() -> None:
    assert refuse_larger(limits(max_records=10, max_tokens=10), 10, 10, "counted", exact=True) == []
    (note,) = refuse_larger(limits(max_records=10, max_tokens=10), 20, 10, "estimated")
    assert note.endswith("an estimate, so that the count decides when all is cut")
    with pytest.raises(InvalidRequestError):
        refuse_larger(limits(max_records=10, max_tokens=10), 21, 10, "estimated")
    refuse_larger(limits(), 10**9, 10**12, "counted")


def test_true_tokens_follow_bytes_and_records() -> None:
    planned = Estimate(records=10, input_tokens=100, output_tokens=50, shard_bytes=1000)
    assert true_tokens(planned, 10, 1000) == 150
    assert true_tokens(planned, 20, 1000) == 200
    assert true_tokens(planned, 10, 3000) == 350
    assert true_tokens(Estimate(), 10, 3000) == 0


def test_answers_before_any_was_seen() -> None:
    assert assumed_answers(800, embedding=False).tokens == 100
    assert assumed_answers(None, embedding=False).tokens == 128
    assert assumed_answers(None, embedding=True).tokens == 0


def test_minutes_are_those_of_the_slower_of_tokens_and_workers() -> None:
    slow_tokens = sync_minutes(1000, 500, 10_000, 10)
    assert slow_tokens is not None
    assert (slow_tokens.value, "10000 tokens per minute" in slow_tokens.basis) == (50, True)
    slow_workers = sync_minutes(48_000, 1, 10**9, 2)
    assert slow_workers is not None
    assert (slow_workers.value, "2 workers" in slow_workers.basis) == (100, True)
    unknown = sync_minutes(240, 500, None, 1)
    assert unknown is not None
    assert (unknown.value, "unknown" in unknown.basis) == (1, True)
    assert sync_minutes(0, 0, None, 1) is None


def test_money_by_the_million_and_less_in_batch() -> None:
    prices = Prices(2, 10, batch_factor=0.5)
    assert money(prices, 1_000_000, 100_000, batch=False) == 3
    assert money(prices, 1_000_000, 100_000, batch=True) == 1.5
    assert money(Prices(2, 10), 1_000_000, 100_000, batch=True) == 3
