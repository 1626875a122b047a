"""Names, tokens and URIs of jobs, by the patterns of CreateModelInvocationJob (botocore model of bedrock)."""

from dataclasses import replace

import pytest

from bulk_inference.core.errors import JobRejectedError
from bulk_inference.core.jobs import IN_FLIGHT, TERMINAL, check, identity, job_name
from tests.worlds.job_requests import GOOD


def test_what_we_send_is_legal() -> None:
    check(GOOD)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"name": "under_score"}, "jobName"),
        ({"name": "-leading"}, "jobName"),
        ({"name": "a" * 64}, "jobName"),
        ({"token": "a_b"}, "clientRequestToken"),
        ({"token": "trailing-"}, "clientRequestToken"),
        ({"token": "a" * 257}, "clientRequestToken"),
        ({"input_uri": "s3://bucket/dt=2026-06-27/x.jsonl"}, "inputDataConfig"),
        ({"input_uri": "s3://bucket/a//b.jsonl"}, "inputDataConfig"),
        ({"input_uri": "s3://bucket/a b.jsonl"}, "inputDataConfig"),
        ({"output_uri": "s3://bucket/" + "a" * 1020}, "outputDataConfig"),
        ({"timeout_hours": 23}, "timeoutDurationInHours"),
        ({"timeout_hours": 169}, "timeoutDurationInHours"),
    ],
)
def test_what_bedrock_would_refuse_is_refused_by_its_member(change: dict[str, object], member: str) -> None:
    with pytest.raises(JobRejectedError, match=member):
        check(replace(GOOD, **change))  # type: ignore[arg-type]


def test_the_longest_legal_name_of_a_module_makes_a_legal_job_name() -> None:
    token = identity("r", "00001", 999, "m", "d")
    name = job_name("a" * 24, "r" * 64, "00001", 999, token)
    assert len(name) <= 63
    check(replace(GOOD, name=name, token=token))


def test_every_part_of_an_attempt_makes_another_token() -> None:
    tokens = {
        identity("r", "00001", 1, "m", "d"),
        identity("r2", "00001", 1, "m", "d"),
        identity("r", "00002", 1, "m", "d"),
        identity("r", "00001", 2, "m", "d"),
        identity("r", "00001", 1, "m2", "d"),
        identity("r", "00001", 1, "m", "d2"),
    }
    assert len(tokens) == 6
    assert identity("r", "00001", 1, "m", "d") in tokens


def test_the_ten_statuses_are_terminal_or_in_flight() -> None:
    assert sorted([*TERMINAL, *IN_FLIGHT]) == [
        "Completed",
        "Expired",
        "Failed",
        "InProgress",
        "PartiallyCompleted",
        "Scheduled",
        "Stopped",
        "Stopping",
        "Submitted",
        "Validating",
    ]


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("nightly-2027-01-15", "tickets-nightly-2027-01-15-00001-a1-0123456789"),
        ("acme_nightly", "tickets-acme-nightly-00001-a1-0123456789"),
        ("r" * 64, f"tickets-{'r' * 35}-00001-a1-0123456789"),
        ("_", "tickets-00001-a1-0123456789"),
    ],
)
def test_a_job_leads_back_to_its_run(run: str, name: str) -> None:
    token = "0123456789abcdef"
    assert job_name("tickets", run, "00001", 1, token) == name
    assert len(name) <= 63
