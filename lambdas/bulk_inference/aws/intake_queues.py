"""Amazon SQS: the intake queues and their dead-letter queues.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bulk_inference.aws.refusals import throttled
from bulk_inference.core.ports import Attributes, Depth

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class IntakeQueue:
    """One intake queue and its dead-letter queue (consumer.IntakeLane). Every call may raise ThrottledError."""

    def __init__(self, queues_url: str, priority: str, client: "SQSClient") -> None:
        """`queues_url`: of the queues, without `-{priority}`."""
        self._url = f"{queues_url}-{priority}"
        self._dead_letter_url = f"{self._url}-dead-letter"
        self._client = client

    def postpone(self, body: str, attributes: Attributes, seconds: int) -> None:
        self._send(self._url, body, attributes, seconds)

    def hold(self, body: str, attributes: Attributes, seconds: int) -> None:
        self._send(self._dead_letter_url, body, attributes, seconds)

    def back_off(self, receipt: str, seconds: int) -> None:
        with throttled("SQS", "ChangeMessageVisibility"):
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    def depth(self) -> Depth:
        mine, dead = self._attributes(self._url), self._attributes(self._dead_letter_url)
        return Depth(
            visible=mine[""], hidden=mine["NotVisible"], delayed=mine["Delayed"], dead=dead[""] + dead["Delayed"]
        )

    def _send(self, url: str, body: str, attributes: Attributes, seconds: int) -> None:
        with throttled("SQS", "SendMessage"):
            self._client.send_message(
                QueueUrl=url, MessageBody=body, DelaySeconds=seconds, MessageAttributes=_typed(attributes)
            )

    def _attributes(self, url: str) -> dict[str, int]:
        names: Any = [f"ApproximateNumberOfMessages{what}" for what in _COUNTS]
        with throttled("SQS", "GetQueueAttributes"):
            found = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        told: Mapping[str, str] = {str(name): value for name, value in found.items()}
        return {what: int(told.get(f"ApproximateNumberOfMessages{what}", 0)) for what in _COUNTS}


_COUNTS: Final = ("", "NotVisible", "Delayed")


_UNSENDABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS takes in no text:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""


def _typed(attributes: Attributes) -> Any:
    return {
        name: {"DataType": "String", "StringValue": _UNSENDABLE.sub("\ufffd", value)}
        for name, value in attributes.items()
        if value
    }
