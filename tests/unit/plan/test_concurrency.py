"""How much runs at once: each decision names the limit that made it."""

import pytest

from bulk_inference.core.run_spec import Quota
from bulk_inference.core.settings import Concurrency
from bulk_inference.plan.concurrency import Decision, Wish, cutters, job_slots, reprocessors, wish, workers

FREE = Concurrency()
UNSET = Wish(None, "defaults")
SLOTS = Quota(7, "service-quotas")


def shown(decision: Decision | None) -> tuple[int, str]:
    assert decision is not None
    return decision.value, decision.limit


def test_the_requests_wish_comes_before_the_modules() -> None:
    assert wish(3, 9) == Wish(3, "request")
    assert wish(None, 9) == Wish(9, "defaults")


@pytest.mark.parametrize(
    ("cuts", "reserved", "expected"),
    [(3, None, (3, "records")), (0, None, (1, "records")), (80, None, (50, "lambda")), (80, 4, (4, "lambda"))],
)
def test_cutting(cuts: int, reserved: int | None, expected: tuple[int, str]) -> None:
    assert shown(cutters(cuts, Concurrency(cut_shards=reserved))) == expected


@pytest.mark.parametrize(
    ("wanted", "ceiling", "jobs", "expected"),
    [
        (UNSET, None, 50, (7, "job_slots")),
        (Wish(4, "request"), None, 50, (4, "request")),
        (Wish(4, "defaults"), None, 50, (4, "defaults")),
        (Wish(40, "request"), None, 50, (7, "job_slots")),
        (UNSET, 3, 50, (3, "tenant")),
        (Wish(2, "request"), 3, 50, (2, "request")),
        (UNSET, None, 5, (7, "records")),
    ],
)
def test_jobs(wanted: Wish, ceiling: int | None, jobs: int, expected: tuple[int, str]) -> None:
    assert shown(job_slots(wanted, SLOTS, ceiling, jobs)) == expected


def minutely(value: int) -> Quota:
    return Quota(value, "override")


@pytest.mark.parametrize(
    ("wanted", "rate", "ceiling", "batches", "reserved", "expected"),
    [
        (UNSET, None, None, None, None, (10, "fallback")),
        (UNSET, None, None, None, 4, (4, "lambda")),
        (UNSET, minutely(600_000), None, None, None, (2, "tokens_per_minute")),
        (UNSET, minutely(1), None, None, None, (1, "tokens_per_minute")),
        (UNSET, minutely(10**9), None, None, None, (500, "lambda")),
        (UNSET, minutely(10**9), None, None, 20, (20, "lambda")),
        (UNSET, minutely(10**9), 12, None, 20, (12, "tenant")),
        (Wish(30, "request"), minutely(1), None, None, None, (30, "request")),
        (Wish(30, "request"), minutely(1), None, None, 8, (8, "lambda")),
        (Wish(30, "defaults"), None, None, 3, None, (30, "records")),
        (UNSET, None, None, 10, None, (10, "fallback")),
    ],
)
def test_inference(
    wanted: Wish,
    rate: Quota | None,
    ceiling: int | None,
    batches: int | None,
    reserved: int | None,
    expected: tuple[int, str],
) -> None:
    terraform = Concurrency(infer_batch=reserved)
    assert shown(workers(wanted, rate, 1000, ceiling, batches, terraform)) == expected


def test_the_reason_shows_the_numbers() -> None:
    decision = workers(UNSET, minutely(600_000), 1000, None, 1, FREE)
    assert "600000 tokens per minute (override), about 1000 held by one request" in decision.why
    assert "all of about 1 batch; " in decision.why


def test_failed_records_go_at_the_pace_of_their_queue() -> None:
    terraform = Concurrency(reprocess_high=6, reprocess_normal=5, reprocess_low=2)
    lanes = {priority: shown(reprocessors(priority, terraform)) for priority in ("high", "normal", "low")}
    assert lanes == {"high": (6, "sqs"), "normal": (5, "sqs"), "low": (2, "sqs")}
    assert reprocessors("high", FREE) is None
