"""Leases: which of several workers' word counts, for every unit of work (docs/decisions/0024-leases-and-fences.md).

A unit of work has one item with an *epoch*. Who acquires the lease raises it; whatever a worker saves is saved in one
transaction with that item, on condition of its own epoch. So a worker that was frozen, and whose unit another worker
has taken over meanwhile, can save nothing more.

Objects cannot be written in such a transaction. Their names hold the lease's *generation*, which rises when the last
holder may have left something that it did not commit: so nobody writes a name that another worker has written, and a
holder of a risen generation first empties the names of those before it. Whoever wants a name for an object of a unit
has to ask the lease (`Lease.part`), and stores of objects create, but do not replace (ports.Bucket.create).

Item `LEASE#{run}/{unit}`, `LEASE`: `epoch`, `until` (epoch seconds; 0: given back), `generation`, `dirty`, `withdrawn`,
`holder`.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.core.errors import ThrottledError, WorkInProgressError
from bulk_inference.core.names import in_generation
from bulk_inference.core.ports import ConditionalPut, Runs, Write
from bulk_inference.core.runs_table import LEASE, Item, lease_pk

LEASE_SECONDS: Final = 60
"""For how long a lease is held without a renewal: how long a killed worker keeps others waiting at most. Nothing but
this waiting depends on clocks."""

RENEWAL_SECONDS: Final = 20.0

_KEPT_SECONDS: Final = 400 * 86_400
"""Longer than anything that a lease protects: an epoch that begins anew would let an old worker's word count again."""


@dataclass
class Lease:
    """One worker's hold of one unit of work."""

    run: str
    unit: str
    epoch: int
    generation: int
    withdrawn: int
    """Generations below this one have nothing left that was not committed."""
    _item: Item
    _runs: Runs
    _now: Callable[[], float]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _dirty: bool = False

    @property
    def stale(self) -> range:
        """Generations that may have left objects which nobody has committed."""
        return range(self.withdrawn, self.generation)

    def part(self, name: str) -> str:
        """The name under which this worker writes an object of its unit; until the next commit it counts as left over
        should the worker not come to it."""
        self._dirty = True
        return in_generation(name, self.generation)

    def adopt(self) -> None:
        """What earlier holders have left is seen to: the next commit says what has become of it."""
        self.withdrawn = self.generation

    def withdraw(self, names: Sequence[str], empty: Callable[[str], None]) -> None:
        """Empties what earlier holders may have written under these names and not committed. `empty` gets a name with
        its generation; the key may hold nothing yet, and must be taken all the same."""
        for generation in self.stale:
            for name in names:
                empty(in_generation(name, generation))
        self.adopt()

    def commit(self, *writes: Write, last: bool = False) -> None:
        """Saves all of this, or nothing; what was written under names of this lease and is named in it now counts.

        `last` gives the lease back. Raises WorkInProgressError if another worker has the lease, or a condition of the
        writes does not hold; ThrottledError.
        """
        with self._lock:
            item = self._renewed(until=0 if last else self._until())
            if not self._runs.write_all([self._conditional(item), *writes]):
                raise WorkInProgressError(f"unit {self.unit} of run {self.run} has been taken over by another worker")
            self._item, self._dirty = item, False

    def check(self) -> None:
        """Raises WorkInProgressError if another worker has the lease: for objects whose name is fixed."""
        item = self._runs.get(self._item["pk"], LEASE)
        if item is None or item["epoch"] != self.epoch:
            raise WorkInProgressError(f"unit {self.unit} of run {self.run} has been taken over by another worker")

    def renew(self) -> bool:
        """False if another worker has the lease."""
        with self._lock:
            item = self._renewed(until=self._until())
            if not self._runs.put_if(item, "epoch", self.epoch):
                return False
            self._item = item
            return True

    def release(self) -> None:
        """Gives the lease back, unless the last commit has done so. What was begun and not committed is noted."""
        with self._lock:
            if self._item["until"] or self._dirty:
                self._runs.put_if(self._renewed(until=0), "epoch", self.epoch)

    def _until(self) -> int:
        return int(self._now()) + LEASE_SECONDS

    def _renewed(self, *, until: int) -> Item:
        # In a commit that names what was begun, nothing is left over any more; a renewal says nothing of that, because
        # a holder that does not give its lease back counts as one that left something.
        dirty = self._dirty and not until
        return {**self._item, "until": until, "dirty": dirty, "withdrawn": self.withdrawn}

    def _conditional(self, item: Item) -> ConditionalPut:
        return ConditionalPut({**item, "dirty": False}, "epoch", self.epoch)


@contextmanager
def unattended(lease: Lease) -> Iterator[None]:
    """Nobody renews the lease but its commits: for work that takes less than LEASE_SECONDS, and for tests."""
    yield


@contextmanager
def renewed(lease: Lease) -> Iterator[None]:
    """A thread renews the lease while the work lasts. It freezes with its process, as it should."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWAL_SECONDS):
            try:
                if not lease.renew():
                    return
            except ThrottledError:
                continue

    thread = threading.Thread(target=renew, name=f"lease-{lease.unit}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Leases:
    """Where leases come from, in one invocation."""

    runs: Runs
    now: Callable[[], float]
    """Epoch seconds."""
    keeper: Callable[[Lease], Any] = renewed
    """Context in which a lease is held."""

    @contextmanager
    def hold(self, run: str, unit: str) -> Iterator[Lease]:
        """The unit's lease for as long as the context lasts. An exception gives it back too; a worker that is killed
        does not come to that. Raises WorkInProgressError while another worker has it, ThrottledError."""
        lease = self.acquire(run, unit)
        try:
            with self.keeper(lease):
                yield lease
        except Exception:
            self._give_back_quietly(lease)
            raise
        lease.release()

    def acquire(self, run: str, unit: str) -> Lease:
        """Raises WorkInProgressError, ThrottledError."""
        now, holder = int(self.now()), uuid.uuid4().hex
        first: Item = {
            "pk": lease_pk(run, unit),
            "sk": LEASE,
            "epoch": 1,
            "until": now + LEASE_SECONDS,
            "generation": 0,
            "dirty": False,
            "withdrawn": 0,
            "holder": holder,
            "expires_at": now + _KEPT_SECONDS,
        }
        known = self.runs.put_new(first)
        # An answer that was lost: the SDK's second try has found what the first one wrote.
        if known is None or known["holder"] == holder:
            return self._lease(run, unit, first)
        if known["until"] > now:
            raise WorkInProgressError(f"unit {unit} of run {run} is being worked on")
        # Not given back: its holder was killed, or is frozen.
        left = bool(known["until"]) or bool(known["dirty"])
        following = {
            **first,
            "epoch": int(known["epoch"]) + 1,
            "generation": int(known["generation"]) + left,
            "withdrawn": int(known["withdrawn"]),
        }
        if not self.runs.put_if(following, "epoch", known["epoch"]):
            mine = self.runs.get(first["pk"], LEASE)
            if mine is None or mine["holder"] != holder:
                raise WorkInProgressError(f"unit {unit} of run {run} has just been begun by another worker")
        return self._lease(run, unit, following)

    def is_known(self, run: str, unit: str) -> bool:
        """Whether any worker has ever had it."""
        return self.runs.get(lease_pk(run, unit), LEASE) is not None

    def _lease(self, run: str, unit: str, item: Item) -> Lease:
        return Lease(run, unit, item["epoch"], item["generation"], item["withdrawn"], item, self.runs, self.now)

    def _give_back_quietly(self, lease: Lease) -> None:
        """What the work has raised says more than that its lease could not be given back: that lapses by itself."""
        try:
            lease.release()
        except ThrottledError:
            return
