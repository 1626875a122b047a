"""What a unit of work has at hand: its run, the places of it, and the services it works with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bulk_inference.claims import ClaimStore, Standing, Stands, held, standing_claims
from bulk_inference.errors import WorkInProgressError
from bulk_inference.places import Places
from bulk_inference.pointers import Pointer, fetch
from bulk_inference.ports import BatchJobs, Bucket, Clock, Executions, Model, Queue, Runs
from bulk_inference.runs import LATES, run_pk, unit_sk
from bulk_inference.spec import RunSpec, own_scope
from bulk_inference.standing import Rivals
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
    executions: Executions

    @cached_property
    def stands(self) -> Stands:
        """Judge of other runs' claims. Where the scope is the run's own, there are none."""
        if self.spec.scope == own_scope(self.spec.run):
            return held
        return Rivals(
            self.spec.tenant,
            self.spec.run,
            output=self.output,
            runs=self.runs,
            executions=self.executions,
            now=self.clock.now,
        )

    def require_decided(self, record_ids: Iterable[str]) -> None:
        """Raises WorkInProgressError while it cannot be told whether another run's claim on one of them stands: better
        before they are inferred than after."""
        if self.stands is held:
            return
        claims = standing_claims(self.ledger, self.spec.tenant, self.spec.scope, record_ids, now=int(self.clock.now()))
        for one in claims.values():
            if self.stands(one) is Standing.UNDECIDED:
                raise WorkInProgressError(
                    f"run {one.run} is over, but a worker of it may still land what it has claimed"
                )

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
