"""SQS: tasks that move messages out of a dead-letter queue, and queues that lose no message under concurrent calls.

Sources: API reference of StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask (botocore shapes of the
same names) and https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html.
The reference does not say which error answers a source that is no dead-letter queue and a second task on a source;
InvalidParameterValue is what callers report.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import sqs

from local_aws import seams

_SERVICE = "ministack.services.sqs"
MAX_RATE = 500
MAX_LISTED = 10
_TICK_SECONDS = 0.05
_UNLIMITED_PER_TICK = 500


@dataclass
class MoveTask:
    """One message movement task."""

    handle: str
    source_arn: str
    destination_arn: str | None
    rate: int | None
    to_move: int
    started_ms: int
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None

    def listed(self) -> dict[str, Any]:
        """The entry of ListMessageMoveTasks: members without a value are left out."""
        entry = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started_ms,
        }
        return {name: value for name, value in entry.items() if value is not None}


_tasks: list[MoveTask] = []
_running: set[asyncio.Task[None]] = set()


def install() -> None:
    """Add the three actions to ministack's SQS, and make its calls exclude each other."""
    sqs._queues_lock = threading.RLock()
    sqs._HANDLERS.update(
        {
            "StartMessageMoveTask": _start,
            "ListMessageMoveTasks": _list,
            "CancelMessageMoveTask": _cancel,
        }
    )


def source_of(handle: str) -> str | None:
    """ARN of the queue that a task handle is about, None when the handle is not one of ours."""
    try:
        source = json.loads(base64.b64decode(handle, validate=True))["sourceArn"]
    except (ValueError, KeyError, TypeError):
        return None
    return source if isinstance(source, str) else None


def _start(data: dict[str, Any], _url: str) -> dict[str, Any]:
    source_arn = _required(data, "SourceArn")
    source = _queue(source_arn, "SourceArn")
    destination_arn = data.get("DestinationArn")
    if destination_arn is not None:
        _queue(destination_arn, "DestinationArn")
    rate = data.get("MaxNumberOfMessagesPerSecond")
    if rate is not None and not 1 <= int(rate) <= MAX_RATE:
        raise _invalid(
            f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. "
            f"Reason: Must be between 1 and {MAX_RATE}, if provided."
        )
    if not any(_dead_letters_of(queue) == source_arn for queue in _queues()):
        raise _invalid("Source queue must be configured as a Dead Letter Queue.")
    if any(task.source_arn == source_arn and task.status in ("RUNNING", "CANCELLING") for task in _tasks):
        raise _invalid(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    identity = json.dumps({"taskId": str(uuid.uuid4()), "sourceArn": source_arn})
    handle = base64.b64encode(identity.encode()).decode()
    to_move = len(_visible(source))
    task = MoveTask(handle, source_arn, destination_arn, rate, to_move, int(time.time() * 1000))
    _tasks.append(task)
    running = asyncio.get_running_loop().create_task(_run(task))
    _running.add(running)
    running.add_done_callback(_running.discard)
    return {"TaskHandle": handle}


def _list(data: dict[str, Any], _url: str) -> dict[str, Any]:
    source_arn = _required(data, "SourceArn")
    _queue(source_arn, "SourceArn")
    limit = data.get("MaxResults") or 1
    if not 1 <= int(limit) <= MAX_LISTED:
        raise _invalid(f"Value {limit} for parameter MaxResults is invalid. Reason: Must be between 1 and 10.")
    newest_first = [task.listed() for task in reversed(_tasks) if task.source_arn == source_arn]
    return {"Results": newest_first[: int(limit)]}


def _cancel(data: dict[str, Any], _url: str) -> dict[str, Any]:
    handle = _required(data, "TaskHandle")
    task = next((task for task in _tasks if task.handle == handle), None)
    if task is None:
        raise sqs._Err("ResourceNotFoundException", "Task does not exist.", 404)
    if task.status != "RUNNING":
        raise sqs._Err("UnsupportedOperation", "Only active tasks can be cancelled.")
    task.status = "CANCELLING"
    return {"ApproximateNumberOfMessagesMoved": task.moved}


async def _run(task: MoveTask) -> None:
    """Move what is visible in the source, at the task's rate, until nothing is left or the task is cancelled."""
    began = time.monotonic()
    while True:
        if task.status == "CANCELLING":
            task.status = "CANCELLED"
            return
        allowed = _UNLIMITED_PER_TICK
        if task.rate is not None:
            allowed = 1 + int((time.monotonic() - began) * task.rate) - task.moved
        with sqs._queues_lock:
            left = _move(task, allowed)
        if task.status == "FAILED":
            return
        if not left:
            task.status = "COMPLETED"
            return
        await asyncio.sleep(_TICK_SECONDS)


def _move(task: MoveTask, limit: int) -> bool:
    """Move up to `limit` messages; whether visible messages are left. Sets the task to FAILED when one cannot go."""
    source = sqs._queue_by_arn(task.source_arn)
    if source is None:
        task.status, task.failure = "FAILED", "AWS.SimpleQueueService.NonExistentQueue"
        return False
    visible = _visible(source)
    for message in visible[: max(0, limit)]:
        arn = task.destination_arn or (message.get("sys") or {}).get("DeadLetterQueueSourceArn")
        target = sqs._queue_by_arn(arn) if arn else None
        if target is None:
            task.status = "FAILED"
            task.failure = "AWS.SimpleQueueService.NonExistentQueue" if arn else "CouldNotDetermineMessageSource"
            return True
        source["messages"] = [other for other in source["messages"] if other is not message]
        target["messages"].append(_as_new(message))
        task.moved += 1
    sqs.esm_wake.set()
    return len(visible) > limit


def _as_new(message: dict[str, Any]) -> dict[str, Any]:
    """The message as the move sends it: body and attributes, with a new id, send time and receive count."""
    now = time.time()
    system = {name: value for name, value in (message.get("sys") or {}).items() if name != "DeadLetterQueueSourceArn"}
    return {
        **message,
        "id": str(uuid.uuid4()),
        "receipt_handle": None,
        "sent_at": now,
        "enqueued_at": now,
        "visible_at": now,
        "receive_count": 0,
        "first_receive_at": None,
        "sys": {**system, "SentTimestamp": str(int(now * 1000))},
    }


def _visible(queue: dict[str, Any]) -> list[dict[str, Any]]:
    now = time.time()
    return [message for message in queue["messages"] if message["visible_at"] <= now]


def _queues() -> Iterator[dict[str, Any]]:
    yield from sqs._queues.values()


def _dead_letters_of(queue: dict[str, Any]) -> str | None:
    """ARN of the queue that a queue's RedrivePolicy names."""
    try:
        arn = json.loads(queue["attributes"]["RedrivePolicy"])["deadLetterTargetArn"]
    except (KeyError, TypeError, ValueError):
        return None
    return arn if isinstance(arn, str) else None


def _queue(arn: str, parameter: str) -> dict[str, Any]:
    queue: dict[str, Any] | None = sqs._queue_by_arn(arn)
    if queue is None:
        text = f"The resource that you specified for the {parameter} parameter doesn't exist."
        raise sqs._Err("ResourceNotFoundException", text, 404)
    return queue


def _required(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not value:
        raise sqs._Err("MissingParameter", f"The request must contain the parameter {name}.")
    return str(value)


def _invalid(text: str) -> Exception:
    error: Exception = sqs._Err("InvalidParameterValue", text)
    return error


def _exclusive(name: str, sha256: str) -> None:
    """Run one of ministack's queue functions under the queues' lock.

    Pollers of event source mappings rewrite a queue's list of messages in threads of their own; a message appended
    between their reading and their writing of the list would be lost.
    """

    def locked(*arguments: Any, **named: Any) -> Any:
        with sqs._queues_lock:
            return seams.original(_SERVICE, name)(*arguments, **named)

    function = getattr(sqs, name)
    seams.replaces(_SERVICE, name, sha256=sha256)(locked)
    for action, handler in sqs._HANDLERS.items():
        if handler is function:
            sqs._HANDLERS[action] = locked


for _name, _sha256 in {
    "_act_send_message": "3abd766508c885c6556ecfb378ba579d18d3781c7cf28c09784917db23da505f",
    "_act_send_message_batch": "2cab381a76df25bfb8727a533aa702e1b33936fd50c2b3202e4d4862acb2ab94",
    "_act_delete_message": "8d700665e3d6d9b3c349ccda41bb380414aae01fd177596fe4c82f5a68e61822",
    "_act_delete_message_batch": "877517c32f0fe6364a3224d853c22141c330d853977dc03080c5cc60f792e8a0",
    "_expire_retained": "c0da3361632bea2795ae6a11153306fba2fbd9fb38fa218979f1c80758a9a0c5",
    "_dlq_sweep": "6a77691e16715a0d5d433deef257ceaf4751dd44c61dc8d6962588b77d8804d6",
    "_collect_msgs": "308a6eb1b3d4c8ad5e5e63b0abb0e8ae9556d70f8c8126bfa221b0b3dbf6360a",
}.items():
    _exclusive(_name, _sha256)
