"""Amazon EventBridge: the completion bus.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from bulk_inference.aws.refusals import throttled
from bulk_inference.core.errors import ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "bulk-inference"


@cache
def connect() -> "EventBridgeClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client("events", config=Config(retries={"mode": "standard", "max_attempts": 8}))


class CompletionBus:
    """Events that say what became of a run (ports.Bus)."""

    def __init__(self, name: str, client: "EventBridgeClient") -> None:
        self._name = name
        self._client = client

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Raises ThrottledError if EventBridge did not take the event: PutEvents reports that in its answer."""
        event: PutEventsRequestEntryTypeDef = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "EventBusName": self._name,
        }
        with throttled("EventBridge", "PutEvents"):
            answer = self._client.put_events(Entries=[event])
        if answer["FailedEntryCount"]:
            entry = answer["Entries"][0]
            raise ThrottledError(f"EventBridge: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")
