"""What a unit of work has at hand: its run, the places of it, and the services it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_inference.claims import ClaimStore
from bulk_inference.places import Places
from bulk_inference.pointers import Pointer, fetch
from bulk_inference.ports import BatchJobs, Bucket, Clock, Model, Queue, Runs
from bulk_inference.runs import LATES, run_pk, unit_sk
from bulk_inference.spec import RunSpec
from bulk_inference.units import Unit, expiry


@dataclass(frozen=True)
class Workshop:
    spec: RunSpec
    input: Bucket
    output: Bucket
    runs: Runs
    ledger: ClaimStore
    queue: Queue
    jobs: BatchJobs
    model: Model
    clock: Clock

    @property
    def places(self) -> Places:
        return Places(self.spec.tenant, self.spec.run)

    @property
    def expires_at(self) -> int:
        return expiry(self.spec, self.clock.now())

    def unit(self, unit: str) -> Unit | None:
        item = self.runs.get(run_pk(self.spec.run), unit_sk(unit))
        return None if item is None else Unit.from_json(item)

    def save(self, unit: Unit) -> None:
        self.runs.put(unit.item(self.spec.run, self.expires_at))

    def late(self, unit: str) -> int:
        """How many of the unit's failed records have left that state by way of the failure lane."""
        return sum(1 for _ in self.runs.query(run_pk(self.spec.run), f"{LATES}{unit}#"))

    def body(self, pointer: Pointer) -> Mapping[str, Any]:
        return fetch(pointer, self.places, self.input.get_range, self.output.get_range)
