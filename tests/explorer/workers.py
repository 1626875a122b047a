"""Workers that stop where they are told to: before or after any one of their effects.

A worker is one invocation of a function, in a thread of its own. Only one thread runs at any time: whoever starts or
thaws a worker waits until that has ended or frozen, so that an interleaving is the same each time it is played.

An *effect* is a request that may change something: a write to S3, DynamoDB, SQS, Step Functions, Bedrock, EventBridge,
and a call of a model, which costs money. The fakes of aws.py count them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The worker is gone: nothing of ours may catch it, and nothing that it still tries has an effect."""


class Fault(Enum):
    """What befalls a worker at one of its effects."""

    FREEZE_BEFORE = "freeze-before"
    """It stops before the effect, and goes on when the other has run."""
    FREEZE_AFTER = "freeze-after"
    KILL_BEFORE = "kill-before"
    KILL_AFTER = "kill-after"
    LATE = "late"
    """It is killed, and its request arrives when the other has run."""
    REFUSE = "refuse"
    """The service refuses this and all further requests of the kind for now."""
    PART = "part"
    """As REFUSE, but the first entries of a request of many get through each time."""
    AGAIN = "again"
    """The answer is lost: the SDK sends the request once more."""
    DENY = "deny"
    """A permission is missing for this request alone; it is granted before the next one."""

    @property
    def freezes(self) -> bool:
        return self in (Fault.FREEZE_BEFORE, Fault.FREEZE_AFTER, Fault.LATE)

    @property
    def kills(self) -> bool:
        return self in (Fault.KILL_BEFORE, Fault.KILL_AFTER)


@dataclass(frozen=True)
class Strike:
    fault: Fault
    at: int
    """Number of the effect, from 1."""
    words: str = ""
    """Only effects whose label holds them are counted."""


@dataclass
class Worker:
    """One invocation."""

    name: str
    work: Callable[[], Any]
    strike: Strike | None = None
    effects: list[str] = field(default_factory=list)
    answer: Any = None
    error: BaseException | None = None
    frozen: bool = False
    ended: bool = False
    dead: bool = False
    struck: bool = False
    _refused: str | None = None
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _thread: threading.Thread | None = None

    def run(self) -> "Worker":
        """Runs or thaws it, until it ends or freezes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)
            self._thread.start()
        else:
            self.frozen = False
            self._go.release()
        self._stopped.acquire()
        if self.ended:
            self._thread.join()
        return self

    def kill(self) -> None:
        """Ends a frozen worker."""
        if self.frozen:
            self.dead = True
            self.run()

    def _main(self) -> None:
        _current.worker = self
        try:
            self.answer = self.work()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._stopped.release()

    def _freeze(self) -> None:
        self.frozen = True
        self._stopped.release()
        self._go.acquire()
        self.require_alive()

    def require_alive(self) -> None:
        if self.dead:
            raise Killed(self.name)

    def _die(self) -> None:
        self.dead = True
        raise Killed(self.name)

    def effect(self, kind: str, label: str, apply: Callable[[bool], T], refuse: Callable[[str], Exception]) -> T:
        """Does one effect, or what is to befall the worker in its place. `apply` gets whether only a part of the
        request is to get through; `refuse` makes the service's error by the words `refuse` and `deny`."""
        self.require_alive()
        self.effects.append(label)
        strike = self.strike
        number = sum(strike.words in one for one in self.effects) if strike else 0
        if strike is None or number < strike.at or (self.struck and self._refused != kind):
            return apply(False)
        self.struck = True
        fault = strike.fault
        if fault is Fault.KILL_BEFORE:
            self._die()
        if fault is Fault.DENY:
            raise refuse("deny")
        if fault is Fault.REFUSE:
            self._refused = kind
            raise refuse("refuse")
        if fault is Fault.PART:
            self._refused = kind
            return apply(True)
        if fault is Fault.LATE:
            self.frozen = True
            self._stopped.release()
            self._go.acquire()
        if fault is Fault.FREEZE_BEFORE:
            self._freeze()
        try:
            if fault is Fault.AGAIN:
                apply(False)
            return apply(False)
        finally:
            if fault in (Fault.KILL_AFTER, Fault.LATE):
                self._die()
            if fault is Fault.FREEZE_AFTER:
                self._freeze()


class _Current(threading.local):
    worker: Worker | None = None


_current = _Current()


def current() -> Worker | None:
    """The worker of this thread; None in the hands of the explorer itself."""
    return _current.worker
