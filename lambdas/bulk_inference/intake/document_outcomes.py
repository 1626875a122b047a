"""What became of a document: written to its item, and told on the completion bus where its message wished so.

Several see the same end of a document: the worker that inferred it, who looks at its run afterwards, the schedule. Each
writes what it saw, and what has landed stays landed. The event goes out before the item says that it has: it comes at
least once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import Bus, Clock, ConditionalPut, Intake
from bulk_inference.core.runs_table import DOCUMENT, META, Item, run_pk
from bulk_inference.intake import window_marks
from bulk_inference.intake.message import DONE, FAILED
from bulk_inference.land.scope_landings import ScopeLandings
from bulk_inference.ledger.claims import Claim

DETAIL_TYPE: Final = "Bulk Inference Document Finished"

_TRIES: Final = 5
_PAUSE: Final = 0.05


@dataclass(frozen=True)
class DocumentOutcome:
    """The end of a document, until something better comes of it."""

    state: str
    """`done` or `failed`."""
    run: str | None
    """Where it landed or failed; None: before any run."""
    place: Mapping[str, Any] | None
    """Where its line lies: `{"bucket", "key", "offset"?, "length"?}`, or `{"bucket", "prefix"}`."""
    error_class: str | None = None
    error_message: str | None = None
    """Of ours, never the service's words, which may quote the document."""


@dataclass(frozen=True)
class OutcomeServices:
    runs: Intake
    bus: Bus
    clock: Clock


def conclude(
    pk: str,
    of_run: str | None,
    outcome: DocumentOutcome,
    services: OutcomeServices,
    mine: Callable[[Item], bool] = lambda item: True,
) -> bool:
    """Writes the outcome of one document; False if its item says so already, or has gone on to another run.

    `of_run`: the run that the document was in when this was seen; None: whichever. `mine`: whether the item as it is
    now is still what the outcome is about.
    """
    told: set[str] = set()
    for attempt in range(_TRIES):
        item = services.runs.get(pk, DOCUMENT)
        if item is None or (of_run is not None and item.get("run") != of_run) or not mine(item):
            return False
        if item["state"] == DONE and (outcome.state == FAILED or item["told"] in (DONE, "nobody")):
            return False
        changed = _with(item, outcome, services.clock.now())
        if changed == {**item, "version": changed["version"], "at": changed["at"]}:
            return False
        if item["notify"] and outcome.state not in {item["told"], *told}:
            services.bus.put(DETAIL_TYPE, detail_of(changed))
            told.add(outcome.state)
        try:
            if _write(item, changed, services):
                return True
        except ThrottledError:
            # Others end at the same moment, and are counted in the same item.
            if attempt == _TRIES - 1:
                raise
            services.clock.sleep(_PAUSE * 2**attempt)
    return False


def _write(item: Item, changed: Item, services: OutcomeServices) -> bool:
    beside = window_marks.ended(item, changed)
    if not beside:
        return services.runs.put_if(changed, "version", item["version"])
    # An end of a document and what its window knows of it are one.
    counted = {**changed, "tallied": changed["state"]}
    return services.runs.write_all([ConditionalPut(counted, "version", item["version"]), *beside])


@dataclass(frozen=True)
class Elsewhere:
    """What other units of the scope have done about documents that they have claimed."""

    landed: Mapping[str, DocumentOutcome]
    """Where that one's results lie, as the claim tells it, by the document's id."""
    promised: frozenset[str]
    """A claim is no landing: these are still being worked on."""


def landed_elsewhere(documents: Sequence[str], landings: ScopeLandings) -> Elsewhere:
    """Of these ids, those that another unit has claimed."""
    # A claim knows a document by its id, or by the alias under which an id travels that Bedrock would not take.
    caller = {name: one for one in documents for name in names.sent_as(one)}
    found: dict[str, DocumentOutcome] = {}
    promised: set[str] = set()
    for name, claim in landings.claims(caller).items():
        if landings.has_landed(claim):
            found[caller[name]] = landed_at(claim, landings)
        elif (landings.runs.get(run_pk(claim.run), META) or {}).get("status") == "running":
            promised.add(caller[name])
    return Elsewhere(found, frozenset(promised))


def landed_at(claim: Claim, landings: ScopeLandings) -> DocumentOutcome:
    return DocumentOutcome(DONE, claim.run, {"bucket": landings.output.name, "prefix": landings.prefix(claim)})


def _with(item: Item, outcome: DocumentOutcome, now: float) -> Item:
    return {
        **item,
        "version": item["version"] + 1,
        "state": outcome.state,
        "landedIn": outcome.run,
        "place": None if outcome.place is None else dict(outcome.place),
        "errorClass": outcome.error_class,
        "errorMessage": outcome.error_message,
        "told": outcome.state if item["notify"] else "nobody",
        "at": int(now),
    }


def detail_of(item: Item) -> dict[str, Any]:
    """Detail of the event: ids and places."""
    detail = {
        "id": item["id"],
        "tenant": item["tenant"],
        "scope": item["scope"],
        "prompt": item["prompt"],
        "priority": item["priority"],
        "status": item["state"],
        "run": item.get("landedIn"),
        "errorClass": item.get("errorClass"),
        "result" if item["state"] == DONE else "failure": item.get("place"),
    }
    return {name: value for name, value in detail.items() if value is not None}
