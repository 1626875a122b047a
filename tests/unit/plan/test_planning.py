"""Plans: cuts that cover the corpus exactly, modes and limits inside the quotas."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Quota, Quotas
from bulk_inference.core.settings import Defaults
from bulk_inference.corpus import ranges
from bulk_inference.corpus.ranges import Cut, CutRange, cut_line, plan_cuts
from bulk_inference.plan.planning import Sample, choose_mode, estimate, resolve_limits, resolve_settings


@dataclass(frozen=True)
class Stored:
    key: str
    size: int
    etag: str = "e"


def quotas(**values: int) -> Quotas:
    known = {
        "min_records_per_job": 100,
        "max_records_per_job": 50_000,
        "max_records_per_file": 40_000,
        "max_file_bytes": 900,
        "max_job_bytes": 4500,
        "max_jobs_in_flight": 7,
    } | values
    return Quotas(**{name: Quota(value, "service-quotas") for name, value in known.items()})


@given(st.lists(st.integers(0, 500), max_size=30), st.integers(1, 100))
def test_cuts_cover_every_byte_once(sizes: list[int], cut_bytes: int) -> None:
    objects = [Stored(f"k{n:03d}", size) for n, size in enumerate(sizes)]
    cuts = list(plan_cuts(objects, cut_bytes))
    assert [cut.cut for cut in cuts] == [f"{n:05d}" for n in range(1, len(cuts) + 1)]
    assert all(0 < cut.bytes <= cut_bytes for cut in cuts)
    parts = [part for cut in cuts for part in cut.parts]
    for stored in objects:
        own = [part for part in parts if part.key == stored.key]
        assert sum(part.end - part.start for part in own) == stored.size
        assert all(before.end == after.start for before, after in pairwise(own))
        assert all(part.size == stored.size and part.start < part.end for part in own)


def test_small_objects_share_a_cut_and_large_ones_are_cut_evenly() -> None:
    cuts = list(plan_cuts([Stored("a", 4), Stored("b", 5), Stored("c", 25)], 10))
    assert [(part.key, part.start, part.end) for cut in cuts for part in cut.parts] == [
        ("a", 0, 4),
        ("b", 0, 5),
        ("c", 0, 8),
        ("c", 8, 16),
        ("c", 16, 25),
    ]
    assert [len(cut.parts) for cut in cuts] == [2, 1, 1, 1]


def test_a_cut_stays_small_enough_for_a_state_input() -> None:
    objects = [Stored(f"{n:05d}/" + "ü" * 500, 1) for n in range(2000)]
    assert all(len(cut_line(cut)) < 200_000 for cut in plan_cuts(objects, 10**9))


def test_too_many_cuts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "MAX_CUTS", 3)
    with pytest.raises(InvalidRequestError, match="cut_bytes"):
        list(plan_cuts([Stored("a", 40)], 10))


def test_a_cut_survives_json() -> None:
    cut = Cut("00001", [CutRange("ü", 1, 2, 3, "e")])
    assert Cut.from_json(cut.to_json()) == cut


def test_the_estimate_scales_the_sample() -> None:
    found = estimate(10_000, Sample(lines=10, bytes=1000, records=5, input_tokens=50), 20)
    assert (found.records, found.input_tokens, found.max_output_tokens) == (50, 500, 1000)
    assert estimate(0, Sample(0, 0, 0, 0), 20).records == 0


@pytest.mark.parametrize(
    ("wanted", "records", "capable", "mode"),
    [
        ("auto", 1000, True, "batch"),
        ("auto", 999, True, "sync"),
        ("auto", 10**6, False, "sync"),
        ("sync", 10**6, True, "sync"),
        ("batch", 5, True, "batch"),
    ],
)
def test_mode(wanted: str, records: int, capable: bool, mode: str) -> None:
    assert choose_mode(wanted, records, quotas(), capable, "m")[0] == mode


def test_batch_of_a_model_without_batch_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"run\.mode"):
        choose_mode("batch", 10**6, quotas(), False, "m")


def test_limits_are_the_tightest_quota_unless_the_request_is_tighter() -> None:
    limits, notes = resolve_limits({}, Defaults(), quotas(), "batch")
    assert (limits.max_records_per_shard, limits.max_bytes_per_shard, notes) == (40_000, 900, [])
    assert limits.max_line_bytes < limits.max_bytes_per_shard
    limits, notes = resolve_limits({"max_records_per_shard": 400, "max_attempts": 1}, Defaults(), quotas(), "batch")
    assert (limits.max_records_per_shard, limits.max_attempts, notes) == (400, 1, [])


def test_a_wish_over_the_quota_is_lowered_and_said() -> None:
    limits, notes = resolve_limits({"max_records_per_shard": 50_000}, Defaults(), quotas(), "batch")
    assert limits.max_records_per_shard == 40_000
    assert "limits.max_records_per_shard: 50000 lowered to 40000" in notes[0]


def test_a_shard_that_can_never_be_a_job_is_refused_in_batch_only() -> None:
    with pytest.raises(InvalidRequestError, match=r"limits\.max_records_per_shard: 99 is below the 100"):
        resolve_limits({"max_records_per_shard": 99}, Defaults(), quotas(), "batch")
    assert resolve_limits({"max_records_per_shard": 99}, Defaults(), quotas(), "sync")[0].max_records_per_shard == 99


def test_the_modules_defaults_bound_a_shard_too() -> None:
    defaults = Defaults(max_records_per_shard=300, max_records=7)
    limits, _ = resolve_limits({}, defaults, quotas(), "batch")
    assert (limits.max_records_per_shard, limits.max_records, limits.max_tokens) == (300, 7, None)
    limits, _ = resolve_limits({"max_records_per_shard": 400, "max_records": 9}, defaults, quotas(), "batch")
    assert (limits.max_records_per_shard, limits.max_records) == (400, 9)


def test_a_jobs_task_outlasts_the_job() -> None:
    limits, _ = resolve_limits({"job_timeout_hours": 30}, Defaults(), quotas(), "batch")
    found = resolve_settings({}, Defaults(), limits, cutters=1, jobs=2, workers=3)
    assert found.job_timeout_seconds > 30 * 3600
    assert (found.cut_concurrency, found.job_concurrency, found.infer_concurrency) == (1, 2, 3)
