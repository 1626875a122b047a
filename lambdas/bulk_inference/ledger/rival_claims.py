"""Whether a claim of another run still stands: asked where several runs share a scope.

A run that dies between claiming a record and landing it leaves a claim that nobody will honour. Such a claim may be
taken over once three things are sure: the run's execution is over, no worker of it can still be writing, and its unit
of work has not landed the record. The last is read from the result parts themselves: a worker may have died after it
wrote one and before it noted so.
"""

from collections.abc import Callable
from typing import Final

from bulk_inference.core import names
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Executions, Runs
from bulk_inference.core.result_line import parse_id, split
from bulk_inference.core.runs_table import META, run_pk, unit_sk
from bulk_inference.ledger.claims import Claim, ClaimStanding

LONGEST_INVOCATION_SECONDS: Final = 900
"""Lambda's own limit: a worker that was started before its execution ended is gone so long after."""


class RivalClaims:
    """Judges claims of other runs of one tenant; remembers what it has read, so it lives for one invocation only."""

    def __init__(
        self, tenant: str, run: str, *, output: Bucket, runs: Runs, executions: Executions, now: Callable[[], float]
    ) -> None:
        self._tenant = tenant
        self._run = run
        self._output = output
        self._runs = runs
        self._executions = executions
        self._now = now
        self._gone_at: dict[str, float | None] = {}
        self._settled: dict[str, bool] = {}
        self._landed: dict[str, set[str]] = {}

    def __call__(self, claim: Claim) -> ClaimStanding:
        owner = names.parse_owner(claim.owner)
        run, unit = owner.run, owner.unit
        if run == self._run or names.stands_alone(unit) or self._is_settled(run, unit):
            return ClaimStanding.HELD
        gone_at = self._workers_gone_at(run)
        if gone_at is None:
            return ClaimStanding.HELD
        # Taken before the parts are read: what is not in them then comes no more.
        gone = self._now() >= gone_at
        if claim.key.partition("#")[2] in self._landed_by(run, unit, final=gone):
            return ClaimStanding.HELD
        return ClaimStanding.FREE if gone else ClaimStanding.UNDECIDED

    def _is_settled(self, run: str, unit: str) -> bool:
        """A settled unit has given back every claim on a record that it did not land."""
        owner = names.Owner(run, unit).name
        if owner not in self._settled:
            self._settled[owner] = bool((self._runs.get(run_pk(run), unit_sk(unit)) or {}).get("settled"))
        return self._settled[owner]

    def _workers_gone_at(self, run: str) -> float | None:
        """Epoch seconds from when no worker of the run can be alive; None while the run lives."""
        if run not in self._gone_at:
            meta = self._runs.get(run_pk(run), META)
            # A run without its item is older than its claims: its item was written first, and expired first.
            ended = 0.0 if meta is None else self._executions.ended(meta["executionArn"])
            stopped = 0.0 if meta is None else float(meta.get("stoppedAt") or 0)
            self._gone_at[run] = None if ended is None else max(ended, stopped) + LONGEST_INVOCATION_SECONDS
        return self._gone_at[run]

    def _landed_by(self, run: str, unit: str, *, final: bool) -> set[str]:
        """recordIds in the parts of a unit, as the claims know them: a caller's id may travel under an alias."""
        owner = names.Owner(run, unit).name
        if owner not in self._landed or not final:
            places, found = Places(self._tenant, run), set[str]()
            prefix, belongs = _parts(unit, places)
            for part in self._output.list(prefix):
                if belongs(part.key):
                    for raw, _ in split(self._output.read(part.key)):
                        if (caller_id := parse_id(raw)) is not None:
                            found |= set(names.sent_as(caller_id))
            self._landed[owner] = found
        return self._landed[owner]


def _parts(unit: str, places: Places) -> tuple[str, Callable[[str], bool]]:
    """Prefix of a unit's result parts, and whether a key below it is one of them."""
    begin, belongs = names.parts_of_unit(unit)
    prefix = places.results(begin).removesuffix(".jsonl")
    return prefix, lambda key: belongs(places.part_of(key))
