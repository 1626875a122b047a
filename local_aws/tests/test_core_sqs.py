"""Message move tasks of the local SQS.

API reference: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask; Developer Guide: "Configuring a
dead-letter queue redrive".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws


class Queues:
    """A queue whose messages go to a dead-letter queue after one receive."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.sqs = aws.client("sqs")
        self.prefix = f"arn:aws:sqs:{aws.region}:{aws.account}:"
        self.name = name
        self.dead_arn = f"{self.prefix}{name}-dead"
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.main = self.feeding("main")

    def feeding(self, suffix: str) -> str:
        """URL of a queue that names the dead-letter queue in its redrive policy."""
        policy = json.dumps({"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": "1"})
        url: str = self.sqs.create_queue(
            QueueName=f"{self.name}-{suffix}", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"}
        )["QueueUrl"]
        return url

    def kill(self, url: str, *bodies: str) -> None:
        """Send messages to a queue and receive them until they are in the dead-letter queue."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=url, MessageBody=body)
        while self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            pass

    def bodies(self, url: str) -> list[str]:
        """Bodies of what is visible in a queue, each received once."""
        found: list[str] = []
        while messages := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600, AttributeNames=["All"]
        ).get("Messages"):
            found += [message["Body"] for message in messages]
        return sorted(found)

    def count(self, url: str) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    def task(self) -> dict[str, Any]:
        """The newest task of the dead-letter queue."""
        (entry,) = self.sqs.list_message_move_tasks(SourceArn=self.dead_arn)["Results"]
        return dict(entry)

    def ended(self) -> dict[str, Any]:
        """The newest task once it is no longer running."""
        pause = threading.Event()
        for _ in range(600):
            if (entry := self.task())["Status"] not in ("RUNNING", "CANCELLING"):
                return entry
            pause.wait(0.02)
        raise AssertionError(f"still running: {entry}")


@pytest.fixture
def queues(aws: LocalAws, unique: str) -> Queues:
    return Queues(aws, unique)


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_messages_go_back_to_the_queue_each_came_from(queues: Queues) -> None:
    """StartMessageMoveTask without DestinationArn: back to the respective original source queues."""
    other = queues.feeding("other")
    queues.kill(queues.main, "a", "b")
    queues.kill(other, "c")
    queues.sqs.start_message_move_task(SourceArn=queues.dead_arn)
    entry = queues.ended()
    assert (entry["Status"], entry["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 3)
    assert "TaskHandle" not in entry
    assert "DestinationArn" not in entry
    assert queues.count(queues.dead) == 0
    assert (queues.bodies(queues.main), queues.bodies(other)) == (["a", "b"], ["c"])


def test_messages_go_to_the_named_destination_as_new_ones(queues: Queues) -> None:
    """Configuring a dead-letter queue redrive: moved messages are new, with a new id and receive count."""
    queues.kill(queues.main, "a")
    (dead,) = queues.sqs.receive_message(QueueUrl=queues.dead, VisibilityTimeout=0)["Messages"]
    target = queues.sqs.create_queue(QueueName=f"{queues.name}-elsewhere")["QueueUrl"]
    arn = f"{queues.prefix}{queues.name}-elsewhere"
    queues.sqs.start_message_move_task(SourceArn=queues.dead_arn, DestinationArn=arn)
    assert queues.ended()["DestinationArn"] == arn
    (moved,) = queues.sqs.receive_message(QueueUrl=target, AttributeNames=["All"])["Messages"]
    assert moved["Body"] == "a"
    assert moved["MessageId"] != dead["MessageId"]
    assert moved["Attributes"]["ApproximateReceiveCount"] == "1"


def test_source_must_be_a_dead_letter_queue_of_a_queue(queues: Queues) -> None:
    """StartMessageMoveTask: only from queues that are dead-letter queues of other SQS queues."""
    arn = f"{queues.prefix}{queues.name}-main"
    code, message = refusal(queues.sqs.start_message_move_task, SourceArn=arn)
    assert code == "InvalidParameterValue"
    assert "Dead Letter Queue" in message


@pytest.mark.parametrize("member", ["SourceArn", "DestinationArn"])
def test_queue_that_is_not_there_is_not_found(queues: Queues, member: str) -> None:
    """StartMessageMoveTask, errors: ResourceNotFoundException."""
    arguments = {"SourceArn": queues.dead_arn, member: f"{queues.prefix}nowhere"}
    code, message = refusal(queues.sqs.start_message_move_task, **arguments)
    assert code == "ResourceNotFoundException"
    assert member in message


@pytest.mark.parametrize("rate", [0, 501])
def test_rate_is_at_most_500_a_second(queues: Queues, rate: int) -> None:
    """StartMessageMoveTask, MaxNumberOfMessagesPerSecond: the maximum value is 500."""
    code, _ = refusal(queues.sqs.start_message_move_task, SourceArn=queues.dead_arn, MaxNumberOfMessagesPerSecond=rate)
    assert code == "InvalidParameterValue"


def test_one_active_task_per_queue_and_cancelling_stops_it(queues: Queues) -> None:
    """One active task per queue; CancelMessageMoveTask leaves what has been moved and stops the rest."""
    queues.kill(queues.main, *"abcdef")
    handle = queues.sqs.start_message_move_task(SourceArn=queues.dead_arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    running = queues.task()
    assert (running["Status"], running["TaskHandle"]) == ("RUNNING", handle)
    assert (running["MaxNumberOfMessagesPerSecond"], running["ApproximateNumberOfMessagesToMove"]) == (1, 6)
    code, message = refusal(queues.sqs.start_message_move_task, SourceArn=queues.dead_arn)
    assert code == "InvalidParameterValue"
    assert "already a task running" in message
    queues.sqs.cancel_message_move_task(TaskHandle=handle)
    entry = queues.ended()
    assert entry["Status"] == "CANCELLED"
    assert queues.count(queues.dead) == 6 - entry["ApproximateNumberOfMessagesMoved"] > 0


def test_task_that_ended_cannot_be_cancelled(queues: Queues) -> None:
    """CancelMessageMoveTask: only when the current status is RUNNING."""
    queues.kill(queues.main, "a")
    handle = queues.sqs.start_message_move_task(SourceArn=queues.dead_arn)["TaskHandle"]
    queues.ended()
    assert "UnsupportedOperation" in refusal(queues.sqs.cancel_message_move_task, TaskHandle=handle)[0]
    assert refusal(queues.sqs.cancel_message_move_task, TaskHandle="none")[0] == "ResourceNotFoundException"


def test_message_without_an_origin_fails_the_task(queues: Queues) -> None:
    """Without DestinationArn a message that was sent straight to the dead-letter queue has nowhere to go."""
    queues.sqs.send_message(QueueUrl=queues.dead, MessageBody="direct")
    queues.sqs.start_message_move_task(SourceArn=queues.dead_arn)
    entry = queues.ended()
    assert (entry["Status"], entry["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert queues.count(queues.dead) == 1


def test_newest_tasks_are_listed_first(queues: Queues) -> None:
    """ListMessageMoveTasks: the most recent tasks, one unless MaxResults (up to 10) says more."""
    for body in "ab":
        queues.kill(queues.main, body)
        queues.sqs.start_message_move_task(SourceArn=queues.dead_arn)
        queues.ended()
    entries = queues.sqs.list_message_move_tasks(SourceArn=queues.dead_arn, MaxResults=10)["Results"]
    assert len(entries) == 2
    assert entries[0]["StartedTimestamp"] >= entries[1]["StartedTimestamp"]
    assert refusal(queues.sqs.list_message_move_tasks, SourceArn=queues.dead_arn, MaxResults=11)


def test_start_needs_the_rights_to_receive_and_delete(
    aws: LocalAws, queues: Queues, make_role: Callable[..., str]
) -> None:
    """Configuring a dead-letter queue redrive, permissions: also ReceiveMessage, DeleteMessage, GetQueueAttributes."""
    role = make_role({"sqs:StartMessageMoveTask": queues.dead_arn, "sqs:ReceiveMessage": queues.dead_arn})
    client = aws.client("sqs", credentials=aws.assume(role))
    _, message = refusal(client.start_message_move_task, SourceArn=queues.dead_arn)
    assert f"not authorized to perform: sqs:DeleteMessage on resource: {queues.dead_arn}" in message


@pytest.mark.parametrize(
    "name",
    [
        "_act_send_message", "_act_send_message_batch", "_act_delete_message", "_act_delete_message_batch",
        "_expire_retained", "_dlq_sweep", "_collect_msgs",
    ],
)  # fmt: skip
def test_calls_that_rewrite_a_queue_exclude_each_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard queues deliver at least once: a message sent while a poller rewrites the queue's list must stay.

    The poller holds ministack's lock of the queues; every other function that changes them must take it too.
    """
    from ministack.services import sqs as ministacks

    from local_aws import seams, sqs  # noqa: F401 - registers the seams

    held: list[str] = []

    class Lock:
        def __enter__(self) -> None:
            held.append(name)

        def __exit__(self, *_: object) -> None: ...

    class CalledError(Exception):
        pass

    def original(*_: object) -> None:
        assert held == [name]
        raise CalledError

    monkeypatch.setattr(ministacks, "_queues_lock", Lock())
    monkeypatch.setattr(seams, "original", lambda module, name: original)
    with pytest.raises(CalledError):
        seams._seams[f"ministack.services.sqs:{name}"].replacement()
