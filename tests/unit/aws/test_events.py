"""The event bus at the AWS edge."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from bulk_inference.aws.events import CompletionBus
from bulk_inference.core.errors import ThrottledError


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


def client(service: Any) -> Any:
    return boto3.client(service, region_name="us-east-1")


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
