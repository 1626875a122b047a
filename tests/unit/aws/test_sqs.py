"""The failure lane's queues at the AWS edge: partial refusals, postponed, held and moved messages."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from bulk_inference.aws.sqs import DeadLetterQueue, MessageLane, ReprocessQueue, sibling_url
from bulk_inference.core.errors import ThrottledError

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/tickets-reprocess"


DEAD = f"{URL}-dead-letter"


ARN = "arn:aws:sqs:us-east-1:123456789012:tickets-reprocess"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


def client(service: Any) -> Any:
    return boto3.client(service, region_name="us-east-1")


def entries(*numbers: int) -> list[dict[str, str]]:
    return [{"Id": str(position), "MessageBody": f'{{"n":{number}}}'} for position, number in enumerate(numbers)]


def sent(*ids: str) -> dict[str, Any]:
    return {"Successful": [{"Id": one, "MessageId": one, "MD5OfMessageBody": "0" * 32} for one in ids]}


def refused(code: str, *ids: str, fault: bool = False) -> dict[str, Any]:
    return {"Failed": [{"Id": one, "Code": code, "SenderFault": fault} for one in ids]}


def both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {"Successful": [], "Failed": [], **first, **second}


def test_messages_go_ten_to_a_request() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        for numbers in (range(10), range(10, 12)):
            answer = both(sent(*(str(n) for n in range(len(numbers)))), {})
            stub.add_response("send_message_batch", answer, {"QueueUrl": URL, "Entries": entries(*numbers)})
        ReprocessQueue(URL, sqs).send([{"n": n} for n in range(12)])
        stub.assert_no_pending_responses()


def test_only_the_entries_that_were_refused_are_sent_again() -> None:
    sqs, slept = client("sqs"), list[float]()
    with Stubber(sqs) as stub:
        stub.add_response("send_message_batch", both(sent("0"), refused("ServiceUnavailable", "1")))
        again = {"QueueUrl": URL, "Entries": entries(7, 8)[1:]}
        stub.add_response("send_message_batch", both(sent("1"), {}), again)
        ReprocessQueue(URL, sqs, sleep=slept.append).send([{"n": 7}, {"n": 8}])
        stub.assert_no_pending_responses()
    assert len(slept) == 1


def test_endless_refusal_is_an_error_that_the_state_machine_retries() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        for _ in range(6):
            stub.add_response("send_message_batch", both(refused("InternalError", "0"), {}))
        with pytest.raises(ThrottledError, match="InternalError"):
            ReprocessQueue(URL, sqs, sleep=lambda seconds: None).send([{"n": 1}])


def test_a_message_that_sqs_never_takes_is_no_throttle() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        stub.add_response("send_message_batch", both(refused("InvalidMessageContents", "0", fault=True), {}))
        with pytest.raises(ValueError, match="InvalidMessageContents"):
            ReprocessQueue(URL, sqs).send([{"n": 1}])


@pytest.fixture
def sqs() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("sqs", region_name="us-east-1")
        for name in ("reprocess", "reprocess-high", "reprocess-low", "reprocess-dead-letter"):
            client.create_queue(QueueName=f"tickets-{name}")
        yield client


def bodies(sqs: Any, url: str) -> list[str]:
    return [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]


def url(sqs: Any, name: str) -> str:
    return str(sqs.get_queue_url(QueueName=f"tickets-{name}")["QueueUrl"])


def test_a_queue_is_found_beside_another() -> None:
    assert sibling_url(URL, f"{ARN}-high") == f"{URL}-high"
    local = "http://127.0.0.1:4566/000000000000/tickets-reprocess"
    assert sibling_url(local, f"{ARN}-low") == f"{local}-low"


def test_a_message_is_postponed_held_and_backed_off() -> None:
    client = boto3.client("sqs", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_response("send_message", {}, {"QueueUrl": URL, "MessageBody": "a", "DelaySeconds": 30})
        stub.add_response("send_message", {}, {"QueueUrl": DEAD, "MessageBody": "b", "DelaySeconds": 0})
        wanted = {"QueueUrl": URL, "ReceiptHandle": "r", "VisibilityTimeout": 15}
        stub.add_response("change_message_visibility", {}, wanted)
        lane = MessageLane(URL, DEAD, client)
        lane.postpone("a", 30)
        lane.hold("b", 0)
        lane.back_off("r", 15)
        stub.assert_no_pending_responses()


def test_letters_are_hidden_sent_back_and_shown_again(sqs: Any) -> None:
    dead = url(sqs, "reprocess-dead-letter")
    for number in range(12):
        sqs.send_message(QueueUrl=dead, MessageBody=json.dumps({"n": number}))
    queue = DeadLetterQueue(dead, url(sqs, "reprocess"), sqs)
    letters = [*queue.receive(900), *queue.receive(900)]
    assert len(letters) == 12
    assert queue.receive(900) == []
    queue.send_back(letters[:11], "low")
    counted = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    assert counted["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1", "what was sent back is deleted"
    queue.release(letters[11:])
    assert [one.body for one in queue.receive(900)] == [letters[11].body]
    low = url(sqs, "reprocess-low")
    assert sorted(bodies(sqs, low) + bodies(sqs, low)) == sorted(
        json.dumps({"n": n}, separators=(",", ":")) for n in range(11)
    )


def attributes(stub: Stubber, url: str, arn: str) -> None:
    wanted = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
    stub.add_response("get_queue_attributes", {"Attributes": {"QueueArn": arn}}, wanted)


@pytest.mark.parametrize(
    ("status", "begun"), [("RUNNING", False), ("CANCELLING", False), ("COMPLETED", True), (None, True)]
)
def test_one_move_at_a_time_to_a_destination_that_is_named(status: str | None, begun: bool) -> None:
    client = boto3.client("sqs", region_name="us-east-1")
    with Stubber(client) as stub:
        attributes(stub, DEAD, f"{ARN}-dead-letter")
        results = [] if status is None else [{"Status": status}]
        stub.add_response("list_message_move_tasks", {"Results": results})
        if begun:
            attributes(stub, f"{URL}-high", f"{ARN}-high")
            wanted = {"SourceArn": f"{ARN}-dead-letter", "DestinationArn": f"{ARN}-high"}
            stub.add_response("start_message_move_task", {}, {**wanted, "MaxNumberOfMessagesPerSecond": 9})
        assert DeadLetterQueue(DEAD, URL, client).move("high", 9) is begun
        stub.assert_no_pending_responses()


def test_a_throttled_queue_is_a_throttle() -> None:
    client = boto3.client("sqs", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_client_error("receive_message", "RequestThrottled")
        with pytest.raises(ThrottledError):
            DeadLetterQueue(DEAD, URL, client).receive(900)


def test_letters_that_show_only_later_are_counted(sqs: Any) -> None:
    dead = url(sqs, "reprocess-dead-letter")
    queue = DeadLetterQueue(dead, url(sqs, "reprocess"), sqs)
    assert queue.unseen() == 0
    sqs.send_message(QueueUrl=dead, MessageBody="{}", DelaySeconds=900)
    assert queue.unseen() == 1
