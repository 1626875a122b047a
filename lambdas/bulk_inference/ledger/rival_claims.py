"""Whether a claim of another run still stands: asked where several runs share a scope.

A run that dies between claiming a record and landing it leaves a claim that nobody will honour. Such a claim may be
taken over once it is sure that its unit of work has not landed the record, and never will on the strength of this
claim. The judge makes it sure: it holds the lease of that unit for a moment, so that no worker of before can commit any
more, takes the names under which one might still write, and reads the parts. A worker that comes later raises the epoch
of the claim before it relies on it, and the takeover is on condition of the epoch that was seen
(docs/decisions/0024-leases-and-fences.md).
"""

from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases
from bulk_inference.core.names import (
    REPROCESSED,
    in_generation,
    next_parts,
    parse_owner,
    parts_of_unit,
    sent_as,
    stands_alone,
)
from bulk_inference.core.ports import Bucket, Executions, Runs
from bulk_inference.core.result_line import parse_id, split
from bulk_inference.core.runs_table import META, Item, run_pk, unit_sk
from bulk_inference.ledger.claims import Claim, ClaimStanding


class Landings:
    """What lies in the result parts of units; remembers what it has read, so it lives for one invocation only."""

    def __init__(self, tenant: str, output: Bucket) -> None:
        self._tenant = tenant
        self._output = output

    def of(self, run: str, unit: str) -> frozenset[str]:
        """recordIds in the parts of a unit, as the claims know them: a caller's id may travel under an alias.

        What a dead worker has left and a later one has withdrawn is empty, and so in none.
        """
        places, found = Places(self._tenant, run), set[str]()
        begin, belongs = parts_of_unit(unit)
        prefix = f"{places.results_prefix}part-"
        for part in self._output.list(f"{prefix}{begin}"):
            if part.size and belongs(part.key.removeprefix(prefix).removesuffix(".jsonl")):
                for raw, _ in split(self._output.read(part.key)):
                    if (caller_id := parse_id(raw)) is not None:
                        found.update(sent_as(caller_id))
        return frozenset(found)


class LandedClaims:
    """Which claims have been honoured; remembers what it has read, so it lives for one invocation only."""

    def __init__(self, tenant: str, *, output: Bucket, runs: Runs) -> None:
        self._runs = runs
        self._landings = Landings(tenant, output)
        self._landed: dict[str, frozenset[str] | None] = {}
        """By owner: the records that the unit has landed; None: all that it has claimed."""

    def has(self, claim: Claim) -> bool:
        """A settled unit has given back every claim on a record that it did not land; but a worker that was frozen, and
        whose unit another one has settled, may claim once more. A unit that is not settled may still withdraw what it
        has landed."""
        owner = parse_owner(claim.owner)
        run, unit = owner.run, owner.unit
        if claim.owner not in self._landed:
            item = self._runs.get(run_pk(run), unit_sk(unit)) or {}
            lane = unit.startswith(REPROCESSED)
            if not item.get("settled") and not lane:
                return False
            self._landed[claim.owner] = self._landings.of(run, unit) if lane or item.get("generation") else None
        landed = self._landed[claim.owner]
        return landed is None or claim.key.partition("#")[2] in landed


class RivalClaims:
    """Judges claims of other runs of one tenant; remembers what it has found, so it lives for one invocation only."""

    def __init__(
        self,
        tenant: str,
        run: str,
        *,
        output: Bucket,
        runs: Runs,
        executions: Executions,
        leases: Leases | None,
    ) -> None:
        """Without `leases` nothing is made sure: what might still be landed is undecided."""
        self._tenant = tenant
        self._run = run
        self._output = output
        self._runs = runs
        self._executions = executions
        self._leases = leases
        self._landings = Landings(tenant, output)
        self._landed = LandedClaims(tenant, output=output, runs=runs)
        self._settled: set[str] = set()
        self._fenced: dict[str, tuple[int, frozenset[str]]] = {}
        """By owner: up to which epoch its workers can do nothing more, and what they have landed."""

    def __call__(self, claim: Claim) -> ClaimStanding:
        owner = parse_owner(claim.owner)
        run, unit = owner.run, owner.unit
        if run == self._run:
            return ClaimStanding.HELD
        record_id = claim.key.partition("#")[2]
        if self._is_settled(run, unit):
            return ClaimStanding.HELD if self._landed.has(claim) else ClaimStanding.FREE
        if not stands_alone(unit) and not self._is_over(run):
            return ClaimStanding.HELD
        if self._leases is None:
            landed = self._landings.of(run, unit)
            return ClaimStanding.HELD if record_id in landed else ClaimStanding.UNDECIDED
        fenced = self._fenced.get(claim.owner)
        if fenced is None or claim.epoch > fenced[0]:
            try:
                fenced = self._fenced[claim.owner] = self._fence(run, unit, self._leases)
            except WorkInProgressError:
                return ClaimStanding.UNDECIDED
        return ClaimStanding.HELD if record_id in fenced[1] else ClaimStanding.FREE

    def _is_settled(self, run: str, unit: str) -> bool:
        owner = f"{run}/{unit}"
        if owner not in self._settled and (self._unit(run, unit) or {}).get("settled"):
            self._settled.add(owner)
        return owner in self._settled

    def _is_over(self, run: str) -> bool:
        """A run without its item is older than its claims: its item was written first, and expired first."""
        meta = self._runs.get(run_pk(run), META)
        return meta is None or self._executions.ended(meta["executionArn"]) is not None

    def _fence(self, run: str, unit: str, leases: Leases) -> tuple[int, frozenset[str]]:
        places = Places(self._tenant, run)
        with leases.hold(run, unit) as lease:
            for name in next_parts(unit, self._unit(run, unit)):
                for generation in lease.stale:
                    self._output.occupy(places.results(in_generation(name, generation)))
                    self._output.occupy(places.failures(in_generation(name, generation)))
            return lease.epoch, self._landings.of(run, unit)

    def _unit(self, run: str, unit: str) -> Item | None:
        return self._runs.get(run_pk(run), unit_sk(unit))
