"""Priorities: names that Terraform and the functions make alike, and slots that are left for what matters more."""

import pytest

from bulk_inference.core.priorities import PRIORITIES, lane, slots_for


def test_every_priority_has_a_lane() -> None:
    assert [lane("tickets-reprocess", one) for one in PRIORITIES] == [
        "tickets-reprocess-high",
        "tickets-reprocess",
        "tickets-reprocess-low",
    ]


@pytest.mark.parametrize("quota", [1, 2, 3, 20, 100])
def test_low_work_leaves_slots_to_high_work_and_nobody_is_shut_out(quota: int) -> None:
    high, normal, low = (slots_for(one, quota) for one in PRIORITIES)
    assert high == quota
    assert 1 <= low <= normal <= high
    if quota >= 10:
        assert low < normal < high
