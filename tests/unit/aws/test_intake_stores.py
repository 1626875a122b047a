"""Transactions of the runs table and the intake queues, against moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from bulk_inference.aws.dynamodb import RunsTable
from bulk_inference.aws.intake_queues import IntakeQueue
from bulk_inference.core.ports import ConditionalPut, Depth


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def table(aws: None) -> RunsTable:
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="runs",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    return RunsTable("runs", client, lambda: 0)


def put(pk: str, version: int, expected: int | None) -> ConditionalPut:
    return ConditionalPut({"pk": pk, "sk": "s", "version": version}, "version", expected)


def test_all_items_are_written_or_none(table: RunsTable) -> None:
    assert table.put_all([put("a", 1, None), put("b", 1, None)])
    assert not table.put_all([put("a", 2, 1), put("b", 2, 7)])
    assert not table.put_all([put("c", 1, None), put("b", 2, None)])
    assert [(table.get(pk, "s") or {}).get("version") for pk in ("a", "b", "c")] == [1, 1, None]
    assert table.put_all([put("a", 2, 1), put("b", 2, 1), put("c", 1, None)])
    assert [(table.get(pk, "s") or {}).get("version") for pk in ("a", "b", "c")] == [2, 2, 1]


def test_counters_add_up_and_may_sink(table: RunsTable) -> None:
    table.add("a", "TALLY", {"done": 1, "failed": 2}, {"expires_at": 9})
    table.add("a", "TALLY", {"done": 1, "failed": -1}, {"expires_at": 9})
    assert table.get("a", "TALLY") == {"pk": "a", "sk": "TALLY", "done": 2, "failed": 1, "expires_at": 9}


def test_messages_are_held_with_their_reason_and_counted(aws: None) -> None:
    sqs = boto3.client("sqs")
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("t-intake-low", "t-intake-low-dead-letter")}
    queue = IntakeQueue(urls["t-intake-low"].removesuffix("-low"), "low", sqs)
    queue.hold("{}", {"errorClass": "bad_message", "errorMessage": "id: missing"}, 0)
    queue.postpone("{}", {"postponed": "1"}, 0)
    queue.postpone("{}", {}, 900)
    assert queue.depth() == Depth(visible=1, hidden=0, delayed=1, dead=1)
    answer: Any = sqs.receive_message(QueueUrl=urls["t-intake-low-dead-letter"], MessageAttributeNames=["All"])
    told = answer["Messages"][0]["MessageAttributes"]
    assert {name: value["StringValue"] for name, value in told.items()} == {
        "errorClass": "bad_message",
        "errorMessage": "id: missing",
    }
    (message,) = sqs.receive_message(QueueUrl=urls["t-intake-low"])["Messages"]
    assert queue.depth().hidden == 1
    queue.back_off(message["ReceiptHandle"], 0)
    assert queue.depth().hidden == 0
