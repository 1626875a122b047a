"""Amazon SQS: the reprocess queues and their dead-letter queue.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from bulk_inference.aws.refusals import throttled
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import Letter
from bulk_inference.core.priorities import lane
from bulk_inference.ledger.claims import in_groups

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_MESSAGES_PER_REQUEST: Final = 10
_TRIES: Final = 6
_FIRST_PAUSE: Final = 0.1


@cache
def connect() -> "SQSClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client("sqs", config=Config(retries={"mode": "standard", "max_attempts": 8}))


class ReprocessQueue:
    """Sends messages (ports.Queue)."""

    def __init__(self, url: str, client: "SQSClient", *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url
        self._client = client
        self._sleep = sleep

    def send(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Sends all messages, ten to a request; entries that SQS refuses for now are sent again.

        Raises ThrottledError when some are still refused; the others are on the queue then, and a retry of the unit
        sends them once more, which the consumer bears.
        """
        for group in in_groups(messages, _MESSAGES_PER_REQUEST):
            # ASCII, because SQS takes no control characters and a lone surrogate has no UTF-8 form.
            bodies = [json.dumps(message, separators=(",", ":")) for message in group]
            self._send(bodies)

    def _send(self, bodies: Sequence[str]) -> None:
        waiting: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)
        ]
        for attempt in range(_TRIES):
            refused = self._request(waiting)
            waiting = [entry for entry in waiting if entry["Id"] in refused]
            if not waiting:
                return
            self._sleep(_FIRST_PAUSE * 2**attempt)
        raise ThrottledError(f"SQS refused {len(waiting)} messages {_TRIES} times: {sorted(set(refused.values()))}")

    def _request(self, entries: "list[SendMessageBatchRequestEntryTypeDef]") -> dict[str, str]:
        """Ids of the entries that were refused for now, with the reason."""
        try:
            with throttled("SQS", "SendMessageBatch"):
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except ThrottledError as error:
            return {entry["Id"]: str(error) for entry in entries}
        failed = answer.get("Failed", [])
        if faults := [entry for entry in failed if entry["SenderFault"]]:
            raise ValueError(f"SQS takes no such message: {faults[0]['Code']}: {faults[0].get('Message', '')}")
        return {entry["Id"]: entry["Code"] for entry in failed}


_HIDDEN: Final = ("ApproximateNumberOfMessagesDelayed", "ApproximateNumberOfMessagesNotVisible")
"""Sent to be seen later, and received by somebody who has not come to an end with them."""


class MessageLane:
    """One reprocess queue and the dead-letter queue behind it (ports.Lane). Every call may raise ThrottledError."""

    def __init__(self, url: str, dead_letter_url: str, client: "SQSClient") -> None:
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._client = client

    def postpone(self, body: str, seconds: int) -> None:
        with throttled("SQS", "SendMessage"):
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=seconds)

    def hold(self, body: str, seconds: int) -> None:
        with throttled("SQS", "SendMessage"):
            self._client.send_message(QueueUrl=self._dead_letter_url, MessageBody=body, DelaySeconds=seconds)

    def back_off(self, receipt: str, seconds: int) -> None:
        with throttled("SQS", "ChangeMessageVisibility"):
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)


def sibling_url(url: str, queue_arn: str) -> str:
    """URL of a queue of the same account and Region as the queue of `url`."""
    return f"{url.rpartition('/')[0]}/{queue_arn.rpartition(':')[2]}"


@dataclass(frozen=True)
class ReceivedLetter:
    body: str
    receipt: str


class DeadLetterQueue:
    """The dead-letter queue (ports.DeadLetters). Every call may raise ThrottledError."""

    def __init__(self, url: str, reprocess_url: str, client: "SQSClient") -> None:
        """`reprocess_url`: the reprocess queue of priority normal."""
        self._url = url
        self._reprocess_url = reprocess_url
        self._client = client

    def move(self, priority: str, per_second: int | None) -> bool:
        """The destination is named: SQS knows no source of the messages that were put here by us."""
        source = self._arn(self._url)
        rate: dict[str, Any] = {} if per_second is None else {"MaxNumberOfMessagesPerSecond": per_second}
        with throttled("SQS", "StartMessageMoveTask"):
            # One task at a time may run on a queue.
            latest = self._client.list_message_move_tasks(SourceArn=source, MaxResults=1).get("Results", [])
            if any(task.get("Status") in ("RUNNING", "CANCELLING") for task in latest):
                return False
            destination = self._arn(lane(self._reprocess_url, priority))
            self._client.start_message_move_task(SourceArn=source, DestinationArn=destination, **rate)
        return True

    def receive(self, hidden_seconds: int) -> list[Letter]:
        with throttled("SQS", "ReceiveMessage"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_MESSAGES_PER_REQUEST,
                VisibilityTimeout=hidden_seconds,
                WaitTimeSeconds=1,
            )
        return [ReceivedLetter(one["Body"], one["ReceiptHandle"]) for one in answer.get("Messages", [])]

    def send_back(self, letters: Sequence[Letter], priority: str) -> None:
        ReprocessQueue(lane(self._reprocess_url, priority), self._client).send(
            [json.loads(one.body) for one in letters]
        )
        self.delete(letters)

    def delete(self, letters: Sequence[Letter]) -> None:
        for group in in_groups(_receipts(letters), _MESSAGES_PER_REQUEST):
            with throttled("SQS", "DeleteMessage"):
                self._client.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(group)],
                )

    def unseen(self) -> int:
        with throttled("SQS", "GetQueueAttributes"):
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(_HIDDEN))
        return sum(int(answer["Attributes"][name]) for name in _HIDDEN)

    def release(self, letters: Sequence[Letter]) -> None:
        for group in in_groups(_receipts(letters), _MESSAGES_PER_REQUEST):
            with throttled("SQS", "ChangeMessageVisibility"):
                self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for n, receipt in enumerate(group)
                    ],
                )

    def _arn(self, url: str) -> str:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]


def _receipts(letters: Iterable[Letter]) -> Iterator[str]:
    return (one.receipt for one in letters if isinstance(one, ReceivedLetter))
