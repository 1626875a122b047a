"""Amazon SQS: the reprocess queue.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bulk_inference.claims import chunked
from bulk_inference.errors import ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_MESSAGES_PER_REQUEST: Final = 10
_TRIES: Final = 6
_FIRST_PAUSE: Final = 0.1
_PASSING: Final = frozenset({"RequestThrottled", "ThrottlingException", "KmsThrottled", "ServiceUnavailable"})


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
        for chunk in chunked(messages, _MESSAGES_PER_REQUEST):
            # ASCII, because SQS takes no control characters and a lone surrogate has no UTF-8 form.
            bodies = [json.dumps(message, separators=(",", ":")) for message in chunk]
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
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code.rpartition(".")[2] in _PASSING:
                return {entry["Id"]: code for entry in entries}
            raise
        failed = answer.get("Failed", [])
        if faults := [entry for entry in failed if entry["SenderFault"]]:
            raise ValueError(f"SQS takes no such message: {faults[0]['Code']}: {faults[0].get('Message', '')}")
        return {entry["Id"]: entry["Code"] for entry in failed}
