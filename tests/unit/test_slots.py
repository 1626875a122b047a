"""Slots are counted over the whole account, by base model."""

import pytest

from bulk_inference.errors import JobSlotsFullError
from bulk_inference.slots import base_model, in_flight, require_slot
from tests.unit.inference_world import FakeJobs, World

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
    require_slot(jobs, HAIKU, 6)
    with pytest.raises(JobSlotsFullError, match="5 jobs"):
        require_slot(jobs, HAIKU, 5)
