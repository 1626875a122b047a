"""Slots are counted over the whole account, by base model."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bulk_inference.batch.slots import base_model, forget, in_flight, require_slot
from bulk_inference.core.errors import JobSlotsFullError
from bulk_inference.core.jobs import IN_FLIGHT, Job
from tests.worlds.inference_world import NOW, FakeJobs, FakeRuns, World

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(
    "model_id",
    [
        HAIKU,
        f"us.{HAIKU}",
        f"global.{HAIKU}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
        f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.{HAIKU}",
    ],
)
def test_a_model_is_the_same_by_whatever_name(model_id: str) -> None:
    assert base_model(model_id) == HAIKU


@pytest.mark.parametrize("model_id", ["amazon.nova-lite-v1:0", "moonshotai.kimi-k2.5", "deepseek.v3.2"])
def test_dots_that_are_no_geography_stay(model_id: str) -> None:
    assert base_model(model_id) == model_id


def test_jobs_of_others_take_slots_and_ended_jobs_do_not() -> None:
    jobs = FakeJobs(World())
    for number, status in enumerate(["Submitted", "Validating", "Scheduled", "InProgress", "Stopping"]):
        jobs.add(f"foreign-{number}", status, model=f"us.{HAIKU}")
    for number, status in enumerate(["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]):
        jobs.add(f"ended-{number}", status, model=HAIKU)
    jobs.add("other-model", "InProgress", model="amazon.nova-lite-v1:0")
    assert in_flight(jobs.list(), HAIKU) == 5
    take(jobs, 6)
    with pytest.raises(JobSlotsFullError, match="5 jobs"):
        take(jobs, 5)


def take(jobs: FakeJobs, most: int, runs: FakeRuns | None = None, at: float = NOW) -> None:
    runs = runs or FakeRuns(World())
    require_slot(jobs, f"us.{HAIKU}", most, runs=runs, now=at, jitter=lambda: 0.5)


class CountedJobs(FakeJobs):
    """Jobs that say how often they were listed."""

    def __init__(self) -> None:
        super().__init__(World())
        self.lists = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def list(self, **filters: Any) -> Iterator[Job]:
        self.lists += 1
        self.meanwhile()
        return super().list(**filters)


def test_those_that_submit_together_share_a_count_and_take_no_slot_twice() -> None:
    jobs, runs = CountedJobs(), FakeRuns(World())
    jobs.add("foreign", "InProgress", model=HAIKU)
    for number in range(4):
        take(jobs, 5, runs, NOW + number)
    for number in range(4, 10):
        with pytest.raises(JobSlotsFullError, match="5 jobs"):
            take(jobs, 5, runs, NOW + number)
    assert jobs.lists == len(IN_FLIGHT)


def test_an_old_count_is_made_anew() -> None:
    jobs, runs = CountedJobs(), FakeRuns(World())
    take(jobs, 1, runs)
    with pytest.raises(JobSlotsFullError):
        take(jobs, 1, runs, NOW + 29)
    take(jobs, 1, runs, NOW + 31)
    assert jobs.lists == 2 * len(IN_FLIGHT)


def test_a_job_that_ends_makes_room_at_once() -> None:
    jobs, runs = CountedJobs(), FakeRuns(World())
    ended = jobs.add("ours", "InProgress", model=HAIKU)
    with pytest.raises(JobSlotsFullError):
        take(jobs, 1, runs)
    jobs.set("ours", "Completed")
    forget(ended.model_id, runs)
    take(jobs, 1, runs, NOW + 1)


def test_a_slot_that_is_taken_while_another_counts_stays_taken() -> None:
    """Its job may not have been listed."""
    jobs, runs = CountedJobs(), FakeRuns(World())
    take(jobs, 2, runs)

    def meanwhile() -> None:
        jobs.meanwhile = lambda: None
        take(jobs, 2, runs, NOW + 29)

    jobs.meanwhile = meanwhile
    take(jobs, 2, runs, NOW + 40)
    with pytest.raises(JobSlotsFullError, match="2 jobs"):
        take(jobs, 2, runs, NOW + 41)


def test_of_two_that_count_at_once_the_second_uses_the_first_ones_count() -> None:
    jobs, runs = CountedJobs(), FakeRuns(World())

    def meanwhile() -> None:
        jobs.meanwhile = lambda: None
        take(jobs, 2, runs)

    jobs.meanwhile = meanwhile
    take(jobs, 2, runs)
    with pytest.raises(JobSlotsFullError, match="2 jobs"):
        take(jobs, 2, runs)


def test_a_count_that_others_make_anew_at_every_look_is_no_full_account() -> None:
    """Many jobs end at the same moment, and each of them makes the count old."""
    jobs, runs = CountedJobs(), FakeRuns(World())
    runs.take = lambda *key, **what: False  # type: ignore[method-assign]
    take(jobs, 2, runs)
    runs.put_if = lambda *what: False  # type: ignore[method-assign]
    take(jobs, 2, runs, NOW + 60)


def test_low_work_finds_its_share_taken_in_the_same_count() -> None:
    jobs, runs = CountedJobs(), FakeRuns(World())
    for _ in range(6):
        take(jobs, 10, runs)
    with pytest.raises(JobSlotsFullError):
        take(jobs, 6, runs)
    take(jobs, 10, runs)


def test_of_two_that_come_for_the_last_slot_of_a_count_one_gets_it() -> None:
    """Both have read the count before either took its slot: what decides is the write."""
    jobs, runs = FakeJobs(World()), FakeRuns(World())
    for number in range(2):
        jobs.add(f"foreign-{number}", "InProgress", model=HAIKU)
    run_take, met = runs.take, list[int]()

    def slow(pk: str, sk: str, *, below: int, stamp: str) -> bool:
        if not met:
            met.append(1)
            take(jobs, 3, runs)
        return run_take(pk, sk, below=below, stamp=stamp)

    runs.take = slow  # type: ignore[method-assign]
    with pytest.raises(JobSlotsFullError):
        take(jobs, 3, runs)
