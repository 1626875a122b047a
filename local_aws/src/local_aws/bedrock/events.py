"""The EventBridge event of a batch job's status, put on the default bus from inside, as AWS services do.

Page "Monitor Amazon Bedrock job state changes using Amazon EventBridge": one event per change, best effort; `time` and
`creationTime` are not ISO 8601 there, and the detail holds no counts and no S3 locations.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_aws import faults, knobs

SOURCE = "aws.bedrock"
DETAIL_TYPE = "Batch Inference Job State Change"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StateChange:
    """What one event says about a job."""

    account: str
    region: str
    job_arn: str
    job_name: str
    model_arn: str
    status: str
    message: str
    created_at: float
    changed_at: float
    input_uri: str = ""

    @property
    def detail(self) -> dict[str, str]:
        return {
            "version": "0.0",
            "accountId": self.account,
            "batchJobName": self.job_name,
            "batchJobArn": self.job_arn,
            "batchModelId": self.model_arn,
            "status": self.status,
            "failureMessage": self.message,
            "creationTime": creation_time(self.created_at),
        }


def emit(change: StateChange) -> None:
    """Deliver the event: not at all, later or more than once as knobs and fault plan say. Returns at once."""
    identity = f"{change.job_arn} {change.status}"
    rules = faults.strikes(
        "event",
        identity,
        source=SOURCE,
        detailType=DETAIL_TYPE,
        status=change.status,
        jobName=change.job_name,
        jobArn=change.job_arn,
        inputUri=change.input_uri,
    )
    if any(rule.do == "drop" for rule in rules) or faults.share(knobs.current.event_drop, "event drop", identity):
        return
    copies = max([1, *(int(rule.options["copies"]) for rule in rules if rule.do == "duplicate")])
    if faults.share(knobs.current.event_duplicate, "event duplicate", identity):
        copies = max(copies, 2)
    fixed = knobs.current.event_delay + sum(float(rule.options["seconds"]) for rule in rules if rule.do == "delay")
    # At-least-once delivery repeats the same event: same id.
    event_id = str(uuid.uuid4())
    for copy in range(copies):
        delay = fixed + knobs.current.event_delay_jitter * faults.draw("event jitter", identity, copy)
        if delay > 0:
            timer = threading.Timer(delay, _deliver, (change, event_id))
            timer.daemon = True
            timer.start()
        else:
            _deliver(change, event_id)


def envelope_time(seconds: float) -> str:
    """`Wed Aug 28 22:58:30 UTC 2024`, as the page shows the envelope's `time`."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


def creation_time(seconds: float) -> str:
    """`Aug 28, 2024, 10:47:53 PM`, as the page shows `creationTime`."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%b} {moment.day}, {moment.year}, {moment.hour % 12 or 12}:{moment:%M:%S %p}"


def _deliver(change: StateChange, event_id: str) -> None:
    from ministack.core.responses import request_scope
    from ministack.services import eventbridge

    event: dict[str, Any] = {
        "EventId": event_id,
        "Source": SOURCE,
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(change.detail),
        "EventBusName": "default",
        "Time": envelope_time(change.changed_at),
        "Resources": [change.job_arn],
        "Account": change.account,
        "Region": change.region,
    }
    try:
        with request_scope(change.account, change.region):
            eventbridge._dispatch_event(event)
    except Exception:
        # The job goes on whatever happens to its event; the bus is best effort.
        logger.exception("event of %s not delivered", change.job_arn)
