"""What a unit of work has at hand: its run, the places of it, and the services it works with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bulk_inference.core.errors import BAD_DATA, WorkInProgressError
from bulk_inference.core.failure_line import SCHEMA
from bulk_inference.core.index_line import Pointer, fetch
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.model_families import family_named
from bulk_inference.core.names import next_parts, own_scope
from bulk_inference.core.ports import BatchJobs, Bucket, Clock, Executions, Model, Outcome, Put, Queue, Runs
from bulk_inference.core.reach import Reach
from bulk_inference.core.result_line import Valued
from bulk_inference.core.run_spec import FAIL, RunSpec
from bulk_inference.core.runs_table import LATES, run_pk, unit_sk
from bulk_inference.core.settings import Settings
from bulk_inference.core.times import expiry
from bulk_inference.land.landing import Owner
from bulk_inference.land.units import Unit
from bulk_inference.ledger.claims import ClaimJudge, ClaimStore, current_claims, held, is_free
from bulk_inference.ledger.rival_claims import RivalClaims
from bulk_inference.render import cache_points
from bulk_inference.structured.answers import cut_off, judge
from bulk_inference.structured.checker import Checker, checker


@dataclass(frozen=True)
class Judged:
    """An answer that was held against the run's schema (ports.Outcome). One that does not fit has its output too."""

    output: Any
    error_class: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    retryable: bool = False
    """Not at once: the failure lane tries again."""


@dataclass(frozen=True)
class UnitContext:
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
    leases: Leases
    settings: Callable[[], Settings]
    """As Terraform wrote them."""

    @cached_property
    def reach(self) -> Reach:
        """What bodies may point to, whoever wrote them."""
        return Reach(self.settings(), self.spec.tenant, self.input.name)

    @cached_property
    def stands(self) -> ClaimJudge:
        """Judge of other runs' claims. Where the scope is the run's own, there are none."""
        if self.spec.scope == own_scope(self.spec.run):
            return held
        return RivalClaims(
            self.spec.tenant,
            self.spec.run,
            output=self.output,
            runs=self.runs,
            executions=self.executions,
            leases=self.leases,
        )

    def require_decided(self, record_ids: Iterable[str]) -> None:
        """Raises WorkInProgressError while it cannot be told whether another run's claim on one of them stands: better
        before they are inferred than after."""
        if self.stands is held:
            return
        claims = current_claims(self.ledger, self.spec.tenant, self.spec.scope, record_ids, now=int(self.clock.now()))
        for one in claims.values():
            is_free(one, self.stands)

    def held_elsewhere(self, record_id: str, owner: Owner) -> bool:
        """Whether another owner's claim on the record stands: asked before it is paid for. Raises
        WorkInProgressError while that cannot be told."""
        if self.stands is held:
            return False
        claims = current_claims(self.ledger, self.spec.tenant, self.spec.scope, [record_id], now=int(self.clock.now()))
        one = claims.get(record_id)
        return (
            one is not None
            and one.owner != owner.name
            and not owner.inherits(owner.name, one.owner)
            and not is_free(one, self.stands)
        )

    @property
    def places(self) -> Places:
        return Places(self.spec.tenant, self.spec.run)

    @property
    def expires_at(self) -> int:
        return expiry(self.spec, self.clock.now())

    def begun(self, lease: Lease) -> Unit | None:
        """The lease's unit as it was committed last. What earlier holders have left beside that is withdrawn.

        Raises WorkInProgressError if another worker has taken the lease over and committed since: a worker that was
        frozen before it read this would write under the next names of its own generation, which nobody withdraws.
        """
        item = self.runs.get(run_pk(lease.run), unit_sk(lease.unit))
        if item is not None and int(item.get("generation", 0)) > lease.generation:
            raise WorkInProgressError(f"unit {lease.unit} of run {lease.run} has been taken over by another worker")
        if lease.stale:
            lease.withdraw(next_parts(lease.unit, item), self._withdraw)
        return None if item is None else Unit.from_json(item)

    def _withdraw(self, part: str) -> None:
        self.output.empty(self.places.results(part))
        self.output.empty(self.places.failures(part))

    def unit(self, unit: str) -> Unit | None:
        item = self.runs.get(run_pk(self.spec.run), unit_sk(unit))
        return None if item is None else Unit.from_json(item)

    def commit(self, lease: Lease, unit: Unit, *, last: bool = False) -> Unit:
        """Saves the unit; as saved. Raises WorkInProgressError if another worker has its lease."""
        saved = replace(unit, version=unit.version + 1, generation=lease.generation)
        lease.commit(Put(saved.item(self.spec.run, self.expires_at)), last=last)
        return saved

    def late(self, unit: str) -> int:
        """How many of the unit's failed records have left that state by way of the failure lane."""
        return sum(1 for _ in self.runs.query(run_pk(self.spec.run), f"{LATES}{unit}#"))

    @cached_property
    def checker(self) -> Checker | None:
        schema = self.spec.output.schema
        return None if schema is None else checker(schema)

    def call(self, pointer: Pointer) -> Callable[[], Outcome]:
        """The record's on-demand inference. One that cannot be read is refused, and nobody else suffers from it."""
        try:
            body = fetch(pointer, self.places, self.input.get_range, self.output.get_range)
        except BAD_DATA as error:
            refusal = Judged(None, "invalid_request", type(error).__name__, "the record cannot be read")
            return lambda: refusal
        return lambda: self.infer(body)

    def infer(self, body: Mapping[str, Any]) -> Outcome:
        """One on-demand inference, with the run's cache points, its answer judged by the run's schema."""
        model = self.spec.model
        body = cache_points.add(body, self.spec.prompt, model.api, family_named(model.family).body)
        outcome = self.model.infer(model.invoke_id, model.api, body, self.reach)
        return outcome if outcome.error_class is not None else self.judge(outcome.output)

    def judge(self, output: Any) -> Judged:
        """What an answer (a response body) comes to: its output (a Valued where the run has a schema), or a failure."""
        if self.spec.output.on_truncated == FAIL and (cut := cut_off(output)) is not None:
            return Judged(output, SCHEMA, cut.code, cut.message)
        if self.checker is None:
            return Judged(output)
        try:
            verdict = judge(output, self.checker)
        except BAD_DATA as error:
            return Judged(output, SCHEMA, type(error).__name__, "the answer cannot be judged")
        if verdict.code is None:
            return Judged(Valued(output, verdict.value))
        return Judged(output, SCHEMA, verdict.code, verdict.message)
