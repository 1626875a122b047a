"""Queue, task tokens and bus at the AWS edge: partial refusals, repeated answers."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from bulk_inference.aws.events import CompletionBus
from bulk_inference.aws.sqs import ReprocessQueue
from bulk_inference.aws.stepfunctions import TaskTokens
from bulk_inference.core.errors import ThrottledError

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/q"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
def test_a_token_on_which_nobody_waits_is_done_with(code: str) -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_client_error("send_task_success", code)
        assert TaskTokens(states).succeed("t", {}) is False


def test_an_answer_is_json() -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_response("send_task_success", {}, {"taskToken": "t", "output": '{"jobName": "n"}'})
        assert TaskTokens(states).succeed("t", {"jobName": "n"}) is True


def test_other_refusals_of_an_answer_are_errors() -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_client_error("send_task_success", "ThrottlingException")
        with pytest.raises(ThrottledError):
            TaskTokens(states).succeed("t", {})
        stub.add_client_error("send_task_success", "AccessDeniedException")
        with pytest.raises(ClientError):
            TaskTokens(states).succeed("t", {})


def test_an_event_that_the_bus_did_not_take_is_an_error() -> None:
    """PutEvents answers 200 and says in its body what failed."""
    events = client("events")
    entry = {"Source": "bulk-inference", "DetailType": "T", "Detail": json.dumps({"run": "r"}), "EventBusName": "bus"}
    with Stubber(events) as stub:
        stub.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
        CompletionBus("bus", events).put("T", {"run": "r"})
        failed = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"}]}
        stub.add_response("put_events", failed)
        with pytest.raises(ThrottledError, match="slow"):
            CompletionBus("bus", events).put("T", {"run": "r"})
