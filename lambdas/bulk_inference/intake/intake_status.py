"""What is known of documents that came one by one: of one by its id, of a pool by its run, and in numbers by priority.

SQS cannot be asked for a message by its id. A document whose message no consumer has seen is `unknown`, like one that
was never sent; the numbers of waiting messages are told beside it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.ports import Clock, Depth, Intake
from bulk_inference.core.priorities import PRIORITIES
from bulk_inference.core.runs_table import DOCUMENT, META, POOLS, SLOTS, Item, document_pk, run_pk
from bulk_inference.intake.message import DONE, FAILED, INFERRING, POOLED, WAITING, RefusedDocumentError
from bulk_inference.intake.pooling import CLOSED, SETTLED, STARTED, WINDOW
from bulk_inference.intake.window_marks import busy, counts
from bulk_inference.request.fields import Fields, Problems

IN_FLIGHT: Final = "in_flight"
UNKNOWN: Final = "unknown"

_KEYS: Final = ("id", "tenant", "scope", "prompt", "run")

_TOLD: Final = ("prompt", "priority", "sentAt", "at", "notify")
_OF_POOL: Final = ("tenant", "scope", "prompt", "promptDigest", "priority", "openedAt", "closedAt", "startedAt")


@dataclass(frozen=True)
class StatusServices:
    runs: Intake
    clock: Clock
    depth: Callable[[str], Depth]
    """By priority."""
    scope_of: Callable[[str, str], str]
    """By tenant and stored prompt; raises RefusedDocumentError."""


def answer(request: Mapping[str, Any], services: StatusServices) -> dict[str, Any]:
    """`{"id", "prompt" or "scope", "tenant"?}`: one document. `{"run"}`: a pool or window. `{}`: the statistics.

    Raises InvalidRequestError that names every problem.
    """
    problems: Problems = []
    fields = Fields(request, problems)
    fields.only(_KEYS)
    document, run, tenant = fields.text("id"), fields.text("run"), fields.text("tenant") or "default"
    scope, prompt = fields.text("scope"), fields.text("prompt")
    if document is not None and run is not None:
        fields.problem("", "asks either for an id or for a run")
    if document is not None and (scope is None) == (prompt is None):
        fields.problem("id", "needs either scope or prompt beside it: an id is one document per scope")
    if problems:
        raise InvalidRequestError("; ".join(problems))
    if run is not None:
        return of_run(run, services)
    if document is None:
        return {"priorities": statistics(services)}
    try:
        return of_document(tenant, scope or services.scope_of(tenant, prompt or ""), document, services)
    except RefusedDocumentError as error:
        raise InvalidRequestError(error.message) from error


def of_document(tenant: str, scope: str, document: str, services: StatusServices) -> dict[str, Any]:
    item = services.runs.get(document_pk(tenant, scope, document), DOCUMENT)
    told: dict[str, Any] = {"id": document, "tenant": tenant, "scope": scope}
    if item is None:
        waiting = {one: services.depth(one) for one in PRIORITIES}
        return {
            **told,
            "status": UNKNOWN,
            "messagesWaiting": {one: depth.visible + depth.hidden + depth.delayed for one, depth in waiting.items()},
        }
    told |= {name: item[name] for name in _TOLD}
    told["status"] = _status(item, services)
    more = {"run": item.get("landedIn") or item.get("run"), "errorMessage": item.get("errorMessage")}
    more["errorClass"] = item.get("errorClass")
    more["result" if item["state"] == DONE else "failure"] = item.get("place")
    return told | {name: value for name, value in more.items() if value is not None}


def _status(item: Item, services: StatusServices) -> str:
    if item["state"] in (WAITING, DONE, FAILED):
        return str(item["state"])
    if item["state"] == INFERRING:
        return IN_FLIGHT
    pool = services.runs.get(POOLS, item["run"])
    # A pool that left the list has long been settled.
    return POOLED if pool is None or pool["state"] == CLOSED else IN_FLIGHT


def of_run(run: str, services: StatusServices) -> dict[str, Any]:
    """A pool that has been closed, or a window. Raises InvalidRequestError for any other run."""
    item = services.runs.get(POOLS, run)
    slot = next((one for one in services.runs.query(SLOTS) if one.get("run") == run), None) if item is None else None
    found = item or slot
    if found is None:
        raise InvalidRequestError(f"run: {run} is no pool of the intake, or was settled more than a day ago")
    meta = services.runs.get(run_pk(run), META) or {}
    done, failed = _ended(found, services)
    told = {"run": run, "state": found.get("state", "open"), "kind": found.get("kind", "pool")}
    told |= {name: found[name] for name in _OF_POOL if name in found}
    documents: int = found["documents"]
    if found.get("kind") == WINDOW:
        documents = done + failed + sum(1 for _ in _busy(run, services))
    return {
        **told,
        "documents": documents,
        "done": done,
        "failed": failed,
        "runStatus": meta.get("status"),
        "runCounts": meta.get("counts"),
    }


def statistics(services: StatusServices) -> dict[str, dict[str, Any]]:
    """By priority: `waiting` in the queue, `pooled`, `inFlight`, `done` and `failed` (of pools that go on, or ended
    within a day), `deadLetters`, `oldestSeconds` (of documents that a consumer took and that have not ended)."""
    now = int(services.clock.now())
    numbers: dict[str, dict[str, Any]] = {}
    oldest: dict[str, list[int]] = {one: [] for one in PRIORITIES}
    for one in PRIORITIES:
        depth = services.depth(one)
        hidden = 0 if one == "high" else depth.hidden
        numbers[one] = {
            "waiting": depth.visible + depth.delayed + hidden,
            "pooled": 0,
            "inFlight": 0,
            "done": 0,
            "failed": 0,
            "deadLetters": depth.dead,
        }
    for slot in services.runs.query(SLOTS):
        if slot["documents"]:
            numbers[slot["priority"]]["pooled"] += slot["documents"]
            oldest[slot["priority"]].append(slot["oldestSentAt"])
    for pool in services.runs.query(POOLS):
        of = numbers[pool["priority"]]
        done, failed = _ended(pool, services)
        of["done"] += done
        of["failed"] += failed
        if pool["kind"] == WINDOW:
            begun = list(_busy(pool["run"], services))
            of["inFlight"] += len(begun)
            oldest[pool["priority"]] += begun
        elif pool["state"] != SETTLED:
            of["inFlight" if pool["state"] == STARTED else "pooled"] += pool["documents"]
            oldest[pool["priority"]].append(pool["oldestSentAt"])
    for priority, found in oldest.items():
        numbers[priority]["oldestSeconds"] = max(0, now - min(found)) if found else 0
    return numbers


def _ended(pool: Item, services: StatusServices) -> tuple[int, int]:
    """Documents of a pool or window that are done, and that have failed."""
    if pool.get("kind") == WINDOW:
        return counts(pool["run"], services.runs)
    return int(pool.get("done", 0)), int(pool.get("failed", 0))


def _busy(run: str, services: StatusServices) -> Iterator[int]:
    return (int(item["sentAt"]) for item in busy(run, services.runs))
