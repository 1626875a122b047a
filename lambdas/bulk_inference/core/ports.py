"""What the logic needs of the services, as protocols: aws/ implements them, tests fake them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from bulk_inference.core.jobs import Job, JobRequest
from bulk_inference.core.reach import Reach
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
    def read(self, key: str, *, start: int = 0, etag: str | None = None) -> Iterator[bytes]:
        """With `etag`, raises InvalidRequestError if the object is another one by now."""
        ...

    def get_json(self, key: str) -> Any | None: ...
    def get_range(self, key: str, offset: int, length: int) -> bytes: ...
    def put(self, key: str, body: bytes, content_type: str = ...) -> None: ...
    def put_json(self, key: str, value: Any) -> None: ...
    def writer(self, key: str) -> Writer: ...
    def create(self, key: str, body: bytes, content_type: str = ...) -> None:
        """Writes an object where there is none; the same bytes there are taken for our own. Raises WorkInProgressError
        if the key is taken: a later holder of the unit's lease has withdrawn the name (leases.py)."""
        ...

    def creator(self, key: str) -> Writer:
        """As `create`, for an object of unknown length."""
        ...

    def empty(self, key: str) -> None:
        """Takes the key, and leaves nothing in it: what was there was never committed, what still comes is refused."""
        ...

    def occupy(self, key: str) -> None:
        """Takes the key if it is free, and leaves what is there otherwise."""
        ...

    def replace(self, key: str, body: bytes, content_type: str, check: Callable[[], None]) -> None:
        """Writes a key that is written again and again: looks what is there, checks the lease, and writes on condition
        that nothing has come in between. Raises WorkInProgressError, and what `check` raises."""
        ...


class CopyingBucket(Bucket, Protocol):
    def copy_from(self, bucket: str, key: str, target: str, owner: str | None) -> bool:
        """Copies an object of another or the same bucket to `target`; False if it is not there, or may not be read.
        `owner`: the account that the other bucket must belong to."""
        ...


@dataclass(frozen=True)
class ConditionalPut:
    """One item of a transaction: written if `attribute` of the stored item equals `expected`; None expects no item."""

    item: Item
    attribute: str
    expected: str | int | None


@dataclass(frozen=True)
class Put:
    """One item of a transaction, written whatever is there."""

    item: Item


@dataclass(frozen=True)
class Update:
    """Attributes of one item that a transaction sets, whatever else the item holds."""

    pk: str
    sk: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Increment:
    """Counters of one item to which a transaction adds, made new if there was none, and `values` that it sets."""

    pk: str
    sk: str
    numbers: Mapping[str, int]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Remove:
    """One item that a transaction deletes, if it is there."""

    pk: str
    sk: str


Write: TypeAlias = ConditionalPut | Put | Update | Increment | Remove


class Runs(Protocol):
    """The runs table; keys in runs_table.py. An item that has expired is absent, deleted or not."""

    def get(self, pk: str, sk: str) -> Item | None: ...
    def put(self, item: Item) -> None: ...
    def put_new(self, item: Item) -> Item | None: ...
    def put_if(self, item: Item, attribute: str, expected: str | int | None) -> bool: ...
    def update(
        self, pk: str, sk: str, values: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
    ) -> Item: ...
    def delete_if(self, pk: str, sk: str, attribute: str, expected: str | int) -> bool: ...
    def take(self, pk: str, sk: str, *, below: int, stamp: str) -> bool: ...
    def query(self, pk: str, sk_prefix: str = "") -> Iterator[Item]: ...
    def write_all(self, writes: Sequence[Write]) -> bool:
        """Writes all or nothing: False if one of the conditions does not hold. At most 100 items."""
        ...

    def add(self, pk: str, sk: str, numbers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Adds to counters of an item, made new if there was none, and sets `values`. Not safe to repeat."""
        ...


class Intake(Runs, Protocol):
    """The runs table as the intake needs it: several items at once."""

    def put_all(self, puts: Sequence[ConditionalPut]) -> bool:
        """Writes all items or none: False if one of the conditions does not hold. At most 100 items."""
        ...


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

    def unseen(self) -> int:
        """About how many messages the queue shows only later: ones that were held a second time, or that somebody has
        received who has not come to an end with them."""
        ...

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
    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> Outcome:
        """Sends nothing that points where `reach` does not allow: such a body is refused as invalid_request."""
        ...


@dataclass(frozen=True)
class Depth:
    """Messages of one queue, as SQS counts them: approximately."""

    visible: int
    hidden: int
    """Given out to a consumer, and not deleted."""
    delayed: int
    dead: int
    """In its dead-letter queue."""
