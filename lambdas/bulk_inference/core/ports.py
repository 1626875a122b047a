"""What the logic needs of the services, as protocols: aws/ implements them, tests fake them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from bulk_inference.core.jobs import Job, JobRequest
from bulk_inference.core.runs_table import Item

Attributes = Mapping[str, str]
"""Message attributes of SQS, all of them strings."""


@dataclass(frozen=True)
class Clock:
    """Time of one invocation."""

    now: Callable[[], float]
    """Epoch seconds."""
    remaining: Callable[[], float]
    """Seconds until the function is killed."""
    sleep: Callable[[float], None]


class StoredObject(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...


class Writer(Protocol):
    """An upload that becomes visible when closed, and not at all when an exception leaves the context."""

    @property
    def size(self) -> int: ...
    def write(self, data: bytes) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Bucket(Protocol):
    """One S3 bucket."""

    @property
    def name(self) -> str: ...
    def list(self, prefix: str) -> Iterator[StoredObject]: ...
    def find(self, key: str) -> StoredObject | None: ...
    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]: ...
    def get_json(self, key: str) -> Any | None: ...
    def get_range(self, key: str, offset: int, length: int) -> bytes: ...
    def put(self, key: str, body: bytes, content_type: str = ...) -> None: ...
    def put_json(self, key: str, value: Any) -> None: ...
    def writer(self, key: str) -> Writer: ...


class CopyingBucket(Bucket, Protocol):
    def copy_from(self, bucket: str, key: str, target: str, owner: str | None) -> bool:
        """Copies an object of another or the same bucket to `target`; False if it is not there, or may not be read.
        `owner`: the account that the other bucket must belong to."""
        ...


class Runs(Protocol):
    """The runs table; keys in runs_table.py."""

    def get(self, pk: str, sk: str) -> Item | None: ...
    def put(self, item: Item) -> None: ...
    def put_new(self, item: Item) -> Item | None: ...
    def put_if(self, item: Item, attribute: str, expected: str | int | None) -> bool: ...
    def update(
        self, pk: str, sk: str, values: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
    ) -> Item: ...
    def delete_if(self, pk: str, sk: str, attribute: str, expected: str) -> bool: ...
    def take(self, pk: str, sk: str, *, below: int, stamp: str) -> bool: ...
    def query(self, pk: str, sk_prefix: str = "") -> Iterator[Item]: ...


class Intake(Runs, Protocol):
    """The runs table as the intake needs it: several items at once, and counters."""

    def put_all(self, puts: Sequence["ConditionalPut"]) -> bool:
        """Writes all items or none: False if one of the conditions does not hold. At most 100 items."""
        ...

    def add(self, pk: str, sk: str, numbers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Adds to counters of an item, made new if there was none, and sets `values`. Not safe to repeat."""
        ...


@dataclass(frozen=True)
class ConditionalPut:
    """One item of a put_all: written if `attribute` of the stored item equals `expected`; None expects no item."""

    item: Item
    attribute: str
    expected: str | int | None


class BatchJobs(Protocol):
    """Bedrock's control plane for batch jobs."""

    def create(self, request: JobRequest) -> str:
        """The job's ARN. Raises JobNameTakenError, JobSlotsFullError, JobRejectedError, ThrottledError."""
        ...

    def get(self, arn: str) -> Job | None: ...
    def find(self, name: str) -> Job | None: ...
    def list(
        self, *, status: str | None = None, name_contains: str | None = None, submitted_after: float | None = None
    ) -> Iterator[Job]: ...

    def stop(self, arn: str) -> bool:
        """False if the job had ended already."""
        ...


class Tasks(Protocol):
    """Task tokens of Step Functions."""

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        """False if nobody waits on the token any more."""
        ...


@dataclass(frozen=True)
class Execution:
    """One execution of a state machine, as DescribeExecution tells it."""

    arn: str
    status: str
    ended_at: float | None = None
    """Epoch seconds; None while it runs."""
    error: str = ""
    cause: str = ""
    redrives: int = 0


@dataclass(frozen=True)
class MapRun:
    """One Map Run: its label, how its items ended, what it tolerates."""

    label: str
    status: str
    total: int
    failed: int
    tolerated_percentage: float
    failures: Sequence[tuple[str, str]] = ()
    """(error, cause) of some of the children that failed."""


class Executions(Protocol):
    """Executions of the state machines."""

    def describe(self, arn: str) -> Execution | None:
        """None if Step Functions does not know it (any more)."""
        ...

    def ended(self, arn: str) -> float | None:
        """Epoch seconds when the execution ended, 0 if nobody knows it any more, None while it runs."""
        ...

    def stop(self, arn: str, cause: str) -> bool:
        """False if it does not run."""
        ...

    def map_runs(self, arn: str) -> Sequence[MapRun]:
        """Its Map Runs, with a sample of their failures."""
        ...


class Queue(Protocol):
    """The reprocess queue."""

    def send(self, messages: Sequence[Mapping[str, Any]]) -> None: ...


class Lane(Protocol):
    """The reprocess queue that an invocation's messages came from, and its dead-letter queue."""

    def postpone(self, body: str, seconds: int) -> None:
        """Sends a message to the end of the queue, to be seen after so many seconds (at most 900)."""
        ...

    def hold(self, body: str, seconds: int) -> None:
        """Sends a message to the dead-letter queue, to be seen after so many seconds (at most 900)."""
        ...

    def back_off(self, receipt: str, seconds: int) -> None:
        """Lets a message that is not deleted come back after so many seconds."""
        ...


class Letter(Protocol):
    """A message that was received from the dead-letter queue."""

    @property
    def body(self) -> str: ...


class DeadLetters(Protocol):
    """The dead-letter queue of the failure lane."""

    def move(self, priority: str, per_second: int | None) -> bool:
        """Begins to move every message to the reprocess queue of the priority; False if a move is under way already."""
        ...

    def receive(self, hidden_seconds: int) -> Sequence[Letter]:
        """Some messages, hidden from others for so many seconds; none when the queue shows none."""
        ...

    def send_back(self, letters: Sequence[Letter], priority: str) -> None:
        """Sends copies to the reprocess queue of the priority, and then deletes the letters."""
        ...

    def delete(self, letters: Sequence[Letter]) -> None: ...

    def release(self, letters: Sequence[Letter]) -> None:
        """Shows letters that were received and not wanted to others again."""
        ...


class Pipeline(Protocol):
    """The pipeline's state machine."""

    def start(self, run: str, request: Mapping[str, Any]) -> bool:
        """Starts a run. False if an execution of that name exists that is not running with the same request."""
        ...


class Bus(Protocol):
    """The completion bus."""

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None: ...


class Outcome(Protocol):
    """One on-demand inference: `output` (the response body), or an error of a class of its own."""

    @property
    def output(self) -> dict[str, Any] | None: ...
    @property
    def error_class(self) -> str | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def error_message(self) -> str | None: ...
    @property
    def retryable(self) -> bool: ...


class Model(Protocol):
    def infer(self, model_id: str, api: str, body: Mapping[str, Any]) -> Outcome: ...


@dataclass(frozen=True)
class Depth:
    """Messages of one queue, as SQS counts them: approximately."""

    visible: int
    hidden: int
    """Given out to a consumer, and not deleted."""
    delayed: int
    dead: int
    """In its dead-letter queue."""
