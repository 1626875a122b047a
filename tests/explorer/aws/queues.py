"""Amazon SQS in memory: standard queues. A message that is received is hidden for a while and then comes again, until
it is deleted by the receipt of its latest receive, or has come too often and goes to the dead-letter queue."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.explorer.aws.service import Service, error

ACCOUNT = "123456789012"
URL = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/"
ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:"


@dataclass
class Message:
    id: str
    body: str
    attributes: dict[str, Any]
    sent_at: float
    visible_at: float
    receives: int = 0
    receipt: str = ""


@dataclass
class Queue:
    visibility: int
    dead_letters: str | None = None
    """Name of the queue that a message goes to when it has been received `most` times."""
    most: int = 5
    messages: list[Message] = field(default_factory=list)


class Queues(Service):
    name = "sqs"
    busy = "RequestThrottled"

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.queues: dict[str, Queue] = {}
        self.moving: list[tuple[str, str]] = []
        """Moves of messages that have begun: source and destination."""
        self.numbers = 0

    def copy(self, now: Callable[[], float]) -> "Queues":
        new = Queues(now)
        new.queues, new.moving = copy.deepcopy(self.queues), list(self.moving)
        new.numbers = self.numbers
        return new

    # What the service does by itself.

    def move(self) -> int:
        """Goes on with the moves that were begun; how many messages."""
        moved = 0
        for source, destination in self.moving:
            visible = [one for one in self.queues[source].messages if one.visible_at <= self.now()]
            for one in visible:
                self.queues[source].messages.remove(one)
                self._put(destination, one.body, one.attributes, 0)
            moved += len(visible)
        self.moving = []
        return moved

    def next_at(self, name: str) -> float | None:
        """When a message of the queue can be received; None if there is none."""
        return min((one.visible_at for one in self.queues[name].messages), default=None)

    def put(self, name: str, body: str) -> None:
        """Somebody sends a message."""
        self._put(name, body, {}, 0)

    def _put(self, name: str, body: str, attributes: Mapping[str, Any], delay: int) -> str:
        self.numbers += 1
        now = self.now()
        self.queues[name].messages.append(Message(f"m{self.numbers}", body, dict(attributes), now, now + delay))
        return f"m{self.numbers}"

    # The client.

    def send_message(
        self,
        QueueUrl: str,
        MessageBody: str,
        DelaySeconds: int = 0,
        MessageAttributes: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        assert 0 <= DelaySeconds <= 900
        return self.write(
            "SendMessage",
            _name(QueueUrl),
            lambda part: {"MessageId": self._put(_name(QueueUrl), MessageBody, MessageAttributes or {}, DelaySeconds)},
        )

    def send_message_batch(self, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        assert 0 < len(Entries) <= 10

        def apply(part: bool) -> dict[str, Any]:
            most = len(Entries) - 1 if part else len(Entries)
            for one in Entries[:most]:
                self._put(
                    _name(QueueUrl), one["MessageBody"], one.get("MessageAttributes", {}), one.get("DelaySeconds", 0)
                )
            return {
                "Successful": [{"Id": one["Id"]} for one in Entries[:most]],
                "Failed": [{"Id": one["Id"], "SenderFault": False, "Code": "InternalError"} for one in Entries[most:]],
            }

        return self.write("SendMessageBatch", _name(QueueUrl), apply)

    def receive_message(
        self,
        QueueUrl: str,
        MaxNumberOfMessages: int = 1,
        VisibilityTimeout: int | None = None,
        WaitTimeSeconds: int = 0,
        **_: Any,
    ) -> dict[str, Any]:
        """A receive hides: an effect, too."""

        def apply(part: bool) -> dict[str, Any]:
            return {"Messages": self.receive(_name(QueueUrl), MaxNumberOfMessages, VisibilityTimeout)}

        return self.write("ReceiveMessage", _name(QueueUrl), apply)

    def receive(self, name: str, most: int, hidden: int | None = None) -> list[dict[str, Any]]:
        queue, now = self.queues[name], self.now()
        found: list[dict[str, Any]] = []
        for one in list(queue.messages):
            if len(found) == most or one.visible_at > now:
                continue
            if queue.dead_letters is not None and one.receives >= queue.most:
                queue.messages.remove(one)
                self._put(queue.dead_letters, one.body, one.attributes, 0)
                continue
            one.receives += 1
            one.receipt = f"{one.id}-{one.receives}"
            one.visible_at = now + (queue.visibility if hidden is None else hidden)
            found.append(
                {
                    "MessageId": one.id,
                    "ReceiptHandle": one.receipt,
                    "Body": one.body,
                    "MessageAttributes": one.attributes,
                    "Attributes": {
                        "ApproximateReceiveCount": str(one.receives),
                        "SentTimestamp": str(int(one.sent_at * 1000)),
                    },
                }
            )
        return found

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            self.delete(_name(QueueUrl), ReceiptHandle)
            return {}

        return self.write("DeleteMessage", _name(QueueUrl), apply)

    def delete(self, name: str, receipt: str) -> None:
        queue = self.queues[name]
        queue.messages = [one for one in queue.messages if one.receipt != receipt]

    def delete_message_batch(self, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        assert 0 < len(Entries) <= 10

        def apply(part: bool) -> dict[str, Any]:
            for one in Entries:
                self.delete(_name(QueueUrl), one["ReceiptHandle"])
            return {"Successful": [{"Id": one["Id"]} for one in Entries], "Failed": []}

        return self.write("DeleteMessageBatch", _name(QueueUrl), apply)

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            if not self._show(_name(QueueUrl), ReceiptHandle, VisibilityTimeout):
                raise error("MessageNotInflight", "ChangeMessageVisibility")
            return {}

        return self.write("ChangeMessageVisibility", _name(QueueUrl), apply)

    def change_message_visibility_batch(self, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            shown = [self._show(_name(QueueUrl), one["ReceiptHandle"], one["VisibilityTimeout"]) for one in Entries]
            return {
                "Successful": [{"Id": one["Id"]} for one, good in zip(Entries, shown, strict=True) if good],
                "Failed": [
                    {"Id": one["Id"], "SenderFault": True, "Code": "MessageNotInflight"}
                    for one, good in zip(Entries, shown, strict=True)
                    if not good
                ],
            }

        return self.write("ChangeMessageVisibilityBatch", _name(QueueUrl), apply)

    def _show(self, name: str, receipt: str, seconds: int) -> bool:
        for one in self.queues[name].messages:
            if one.receipt == receipt and one.visible_at > self.now():
                one.visible_at = self.now() + seconds
                return True
        return False

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: Sequence[str]) -> dict[str, Any]:
        self.read()
        name, now = _name(QueueUrl), self.now()
        messages = self.queues[name].messages
        hidden = [one for one in messages if one.visible_at > now and one.receives]
        delayed = [one for one in messages if one.visible_at > now and not one.receives]
        return {
            "Attributes": {
                "QueueArn": ARN + name,
                "ApproximateNumberOfMessages": str(len(messages) - len(hidden) - len(delayed)),
                "ApproximateNumberOfMessagesNotVisible": str(len(hidden)),
                "ApproximateNumberOfMessagesDelayed": str(len(delayed)),
            }
        }

    def list_message_move_tasks(self, SourceArn: str, MaxResults: int = 1) -> dict[str, Any]:
        self.read()
        running = [one for one in self.moving if one[0] == SourceArn.rpartition(":")[2]]
        return {"Results": [{"Status": "RUNNING"} for _ in running]}

    def start_message_move_task(self, SourceArn: str, DestinationArn: str, **_: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            self.moving.append((SourceArn.rpartition(":")[2], DestinationArn.rpartition(":")[2]))
            return {"TaskHandle": "task"}

        return self.write("StartMessageMoveTask", SourceArn, apply)


def _name(url: str) -> str:
    return url.rpartition("/")[2]
