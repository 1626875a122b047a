"""Where in a scope records have landed: asked for records that have not landed in a run of their own.

A record lands once in a scope, so that a run may find its record landed by another one: a document's chunks may lie in
two runs, and a document that failed in its pool may have landed in a run over the pool's failures. The claim says which
unit that is, and the unit's parts whether it has done so (rival_claims.LandedClaims): a claim is never evidence.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bulk_inference.core import names
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Runs
from bulk_inference.core.result_line import split
from bulk_inference.ledger.claims import Claim, ClaimStore, current_claims
from bulk_inference.ledger.rival_claims import LandedClaims


@dataclass(frozen=True)
class ScopeLandings:
    """Lives for one invocation: it remembers what it has read."""

    tenant: str
    scope: str
    output: Bucket
    runs: Runs
    ledger: ClaimStore
    now: float
    """Epoch seconds."""

    @cached_property
    def _landed(self) -> LandedClaims:
        return LandedClaims(self.tenant, output=self.output, runs=self.runs)

    def claims(self, record_ids: Iterable[str]) -> Mapping[str, Claim]:
        """By recordId (as sent): whoever has claimed it."""
        return current_claims(self.ledger, self.tenant, self.scope, record_ids, now=int(self.now))

    def has_landed(self, claim: Claim) -> bool:
        return self._landed.has(claim)

    def landed(self, record_ids: Iterable[str]) -> dict[str, Claim]:
        """Of these, those that have landed, with the claims that say where."""
        return {record_id: one for record_id, one in self.claims(record_ids).items() if self.has_landed(one)}

    def prefix(self, claim: Claim) -> str:
        """What the keys of the claim's result parts begin with."""
        begin, _ = names.parts_of_unit(names.parse_owner(claim.owner).unit)
        return Places(self.tenant, claim.run).results(begin).removesuffix(".jsonl")

    def lines(self, record_ids: Iterable[str], *, besides: str) -> Iterator[Mapping[str, Any]]:
        """Result lines of those that have landed in other runs than `besides`. Each unit's parts are read once."""
        wanted: dict[str, set[str]] = {}
        for record_id, claim in self.landed(record_ids).items():
            if claim.run != besides:
                wanted.setdefault(claim.owner, set()).add(record_id)
        for owner, ids in sorted(wanted.items()):
            yield from self._lines_of(owner, ids)

    def _lines_of(self, owner: str, record_ids: set[str]) -> Iterator[Mapping[str, Any]]:
        of = names.parse_owner(owner)
        begin, belongs = names.parts_of_unit(of.unit)
        prefix = f"{Places(self.tenant, of.run).results_prefix}part-"
        for part in self.output.list(f"{prefix}{begin}"):
            if part.size and belongs(part.key.removeprefix(prefix).removesuffix(".jsonl")):
                for raw, _ in split(self.output.read(part.key)):
                    # Most lines are others': their ids are looked for before they are parsed.
                    if any(one.encode() in raw for one in record_ids):
                        line = json.loads(raw)
                        if line.get("recordId") in record_ids:
                            yield line
