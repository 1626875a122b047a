"""The script that asks a real account asks the local one here: every question gets an answer, and nothing is left."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws import LocalAws
from tests.confirm import __main__ as script
from tests.confirm.bench import PREFIX, Bench, LateError, Place
from tests.confirm.questions import QUESTIONS, Question

ROOT = Path(__file__).parents[2]
KNOBS = {"seconds_validating": 0.1, "seconds_scheduled": 0.1, "records_per_second": 400, "job_slots": 3}
ANSWERS = {
    "token": "the repeat answers the same ARN",
    "name": "while it runs: ConflictException",
    "quota": "one above",
    "events": "seen: Completed",
    "record-ids": "Completed",
    "partial": "stop: taken; Stopped",
    "manifest": "after the terminal status",
    "task-tokens": "/*: taken",
    "empty-listing": "SUCCEEDED",
    "list-bucket": "Completed",
    "caller-invoke": "taken",
    "redrive-event": "redriveCount=1; events:",
    "schema-batch": "doesn't support the outputConfig",
    "schema-models": "taken",
    "missing-image": "Completed",
    "s3-location": "without s3:GetObject: ",
    "cache-control": 'errors: {"cached"',
    "kms-via": "Completed",
    "network-tags": "not asked: name SUBNETS",
    "map-results-key": "without kms:Encrypt: SUCCEEDED",
}
"""What the local AWS answers: it shows that a question is put well, not what AWS does."""


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws(knobs=KNOBS) as running:
        yield running


@pytest.fixture(scope="module")
def place(aws: LocalAws) -> Place:
    return Place(
        functools.partial(aws.client),
        aws.account,
        aws.region,
        model="amazon.nova-lite-v1:0",
        profile="us.amazon.nova-lite-v1:0",
        poll_seconds=0.1,
        job_seconds=60,
        settle_seconds=0,
    )


def left(aws: LocalAws) -> list[str]:
    """What an account holds whose name is the script's."""
    names = [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]]
    names += [role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]]
    names += aws.client("sqs").list_queues().get("QueueUrls", [])
    names += [rule["Name"] for rule in aws.client("events").list_rules()["Rules"]]
    machines = aws.client("stepfunctions").list_state_machines()["stateMachines"]
    names += [machine["name"] for machine in machines if machine.get("status") != "DELETING"]
    kms = aws.client("kms")
    for key in kms.list_keys()["Keys"]:
        described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if described["KeyState"] == "Enabled":
            names.append(described["Description"])
    jobs = aws.client("bedrock").list_model_invocation_jobs()["invocationJobSummaries"]
    names += [job["jobName"] for job in jobs if job["status"] not in ("Completed", "Stopped", "Stopping", "Failed")]
    return [name for name in names if PREFIX in name]


@pytest.mark.parametrize("question", [each for each in QUESTIONS if each.id in ANSWERS], ids=lambda each: each.id)
def test_every_question_is_answered_and_leaves_nothing(aws: LocalAws, place: Place, question: Question) -> None:
    answer = script.ask(question, place, question.id[:8])
    assert ANSWERS[question.id] in answer
    assert left(aws) == []


def test_only_what_is_too_large_for_here_is_not_asked() -> None:
    assert {question.id for question in QUESTIONS} - ANSWERS.keys() == {"media-size"}


def test_a_question_that_breaks_leaves_nothing(aws: LocalAws, place: Place) -> None:
    def breaks(bench: Bench) -> str:
        bucket = bench.bucket()
        bench.place.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
        bench.role("lambda.amazonaws.com", [{"Action": "s3:*", "Resource": "*"}])
        bench.queue({"source": ["nobody"]})
        bench.key()
        raise LateError("waited in vain")

    question = Question("breaks", "?", "-", "-", breaks)
    assert script.ask(question, place, "breaks") == "could not be asked: LateError: waited in vain"
    assert left(aws) == []


def test_nothing_is_made_unless_it_is_told_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "real", _never)
    assert script.main(["--account", "123456789012"]) == 0
    shown = capsys.readouterr().out
    for question in QUESTIONS:
        assert question.id in shown
        assert question.heavy or question.costs in shown
    assert "Nothing has been made" in shown


def test_another_account_is_refused(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="are of account 123456789012, not of 999999999999"):
        script.main(["--account", "999999999999", "--yes", "empty-listing"])


def test_a_wrong_id_is_named() -> None:
    with pytest.raises(SystemExit, match="No such question: nonsense"):
        script.main(["--account", "123456789012", "nonsense"])


def test_the_page_and_the_script_have_the_same_questions() -> None:
    """docs/unconfirmed.md: every open point has a command, every command a point."""
    page = (ROOT / "docs" / "unconfirmed.md").read_text(encoding="utf-8").partition("## Answered")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE) == [question.id for question in QUESTIONS]


def _never(*_: Any) -> None:
    raise AssertionError("a dry run touches no account")
