"""Documents of priority high: each is inferred at once, by the worker that got its message.

They land where the records of any run do. The run of such documents is a *window*: all of one tenant, scope and prompt
that begin within the same hour. Nobody executes it. A document is a cut of its own in it, with one line of corpus; it
is cut, inferred, claimed and landed by the functions that do it for every run, and goes into the failure lane like any
record. When the hour is over the window is closed: manifest, report and event are those of a run.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from bulk_inference.core import names
from bulk_inference.core.errors import ThrottledError, UnitFailedError, WorkInProgressError
from bulk_inference.core.index_line import canonical
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Bus, Clock, ConditionalPut, Intake, Write
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import (
    Cuts,
    Estimate,
    Limits,
    RunSettings,
    RunSpec,
)
from bulk_inference.core.runs_table import DOCUMENT, META, POOLS, Item, document_pk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import run_item
from bulk_inference.core.times import expiry
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.cut.cut_run import CutServices, cut_run
from bulk_inference.cut.cutting import PieceCount
from bulk_inference.cut.sealing import shard_item
from bulk_inference.intake import window_marks
from bulk_inference.intake.document_outcomes import DocumentOutcome, OutcomeServices, conclude, landed_elsewhere
from bulk_inference.intake.message import (
    BAD_PROMPT,
    DONE,
    FAILED,
    INFERRING,
    NOT_ACCOUNTED,
    Admission,
    RefusedDocumentError,
    conflict,
    document_item,
    judge,
)
from bulk_inference.intake.pooling import OPEN, WINDOW, Arrival
from bulk_inference.intake.stored_prompts import StoredPrompt, check
from bulk_inference.intake.window_marks import PRIORITY, unit_of
from bulk_inference.land.scope_landings import ScopeLandings
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.land.units import Unit
from bulk_inference.plan.asking import first as ask_first
from bulk_inference.plan.planning import MAX_LINE_BYTES
from bulk_inference.plan.quotas import resolve
from bulk_inference.plan.run_plan import Decisions, model_of, planned_at, run_spec
from bulk_inference.request.parse import RunRequest
from bulk_inference.sync.infer_batch import Batch, infer_batch

WINDOW_SECONDS: Final = 3600


_MOST: Final = 1 << 40
_TRIES: Final = 5


class WindowBucket(Bucket, Protocol):
    def put_if_absent(self, key: str, body: bytes, content_type: str = ...) -> bool: ...


@dataclass(frozen=True)
class WindowServices:
    input: WindowBucket
    output: Bucket
    runs: Intake
    bus: Bus
    clock: Clock
    settings: Settings
    cuts: CutServices
    unit_context_of: Callable[[str, str], UnitContext]
    """By tenant and run."""
    once: Callable[[str, str, Callable[[], dict[str, Any]]], dict[str, Any]]
    """By run and unit: does the work unless another worker is at it, or has just done it."""

    @property
    def outcomes(self) -> OutcomeServices:
        return OutcomeServices(self.runs, self.bus, self.clock)

    @property
    def expires_at(self) -> int:
        return int(self.clock.now()) + self.settings.defaults.claim_ttl_days * 86_400


def infer_now(arrival: Arrival, services: WindowServices) -> str:
    """Infers the document and writes its end down: `done` or `failed`; `known` if it came before.

    Raises RefusedDocumentError; ThrottledError or WorkInProgressError when the message is to come again.
    """
    if arrival.prompt.chunks:
        raise RefusedDocumentError(
            BAD_PROMPT,
            f"prompt: {arrival.prompt.name} cuts documents into chunks, which only a run puts together again: send the "
            "document to the queue of priority normal or low",
        )
    item = _begin(arrival, services)
    if item is None:
        return "known"
    run, cut = item["run"], unit_of(item)
    open_window(run, arrival.prompt, arrival.scope, services)
    places = Places(item["tenant"], run)
    counts = cut_run(run, item["tenant"], _cut(cut, places, arrival.line, services), services.cuts)
    put_shards(run, counts, services.runs, services.expires_at)
    unit = _infer(cut, item, counts, places, services) if counts["pieces"] else None
    outcome = _outcome(item, counts, unit, places, services)
    conclude(item["pk"], run, outcome, services.outcomes)
    return outcome.state


def _begin(arrival: Arrival, services: WindowServices) -> Item | None:
    """The document's item, which says in which window it is; None for a document that came before."""
    message, scope = arrival.message, arrival.scope
    key = document_pk(message.tenant, scope, message.id)
    for _ in range(_TRIES):
        known = services.runs.get(key, DOCUMENT)
        verdict = judge(known, message, arrival.message_id)
        if verdict is Admission.CONFLICT and known is not None:
            raise conflict(known)
        if verdict is Admission.GOES_ON and known is not None and _has_window(known, arrival, services):
            item = {**known, "version": known["version"] + 1, "at": int(services.clock.now())}
            if services.runs.write_all([ConditionalPut(item, "version", known["version"]), window_marks.began(item)]):
                return item
            continue
        if verdict is Admission.KNOWN:
            return None
        if (admitted := _admit(known, arrival, services)) is not None:
            return admitted
    raise WorkInProgressError(f"document {message.id}: others change its item")


def _admit(known: Item | None, arrival: Arrival, services: WindowServices) -> Item | None:
    """The document's item as one that is being inferred, and its mark; None if another worker has changed it."""
    now = services.clock.now()
    item = document_item(
        known,
        arrival.message,
        arrival.scope,
        PRIORITY,
        message_id=arrival.message_id,
        sent_at=arrival.sent_at,
        now=now,
        expires_at=services.expires_at,
    )
    goes_on = (
        known is not None
        and known["take"] == item["take"]
        and window_marks.in_window(known)
        and _has_window(known, arrival, services)
    )
    run = known["run"] if known is not None and goes_on else window_of(arrival.prompt, arrival.scope, now)
    item |= {"state": INFERRING, "run": run, "tallied": window_marks.tallied(known) if goes_on else None}
    moved = known is not None and known["state"] == INFERRING and not goes_on
    writes: list[Write] = [
        ConditionalPut(item, "version", None if known is None else known["version"]),
        window_marks.began(item),
        *([window_marks.gone(known)] if known is not None and moved else []),
    ]
    return item if services.runs.write_all(writes) else None


def _has_window(known: Item, arrival: Arrival, services: WindowServices) -> bool:
    """Whether the document's window is open, or is this prompt's to be opened. A prompt that has changed since the
    document began has windows of another name: it must not open this one."""
    run = str(known["run"])
    return (
        run.endswith(f"-{_digest(arrival.prompt, arrival.scope)}") or services.runs.get(run_pk(run), META) is not None
    )


def _digest(prompt: StoredPrompt, scope: str) -> str:
    """What the name of a window says of its prompt."""
    return hashlib.sha256(canonical([prompt.tenant, scope, prompt.name, prompt.digest])).hexdigest()[:8]


def window_of(prompt: StoredPrompt, scope: str, now: float) -> str:
    """Run of the window that is open now."""
    hour = datetime.fromtimestamp(now // WINDOW_SECONDS * WINDOW_SECONDS, UTC).strftime("%Y%m%dT%H")
    return names.pool_run(PRIORITY, prompt.name, hour, _digest(prompt, scope))


def open_window(run: str, prompt: StoredPrompt, scope: str, services: WindowServices) -> None:
    """Writes what every function needs to know of the run, once. Raises RefusedDocumentError of class bad_prompt."""
    if services.runs.get(run_pk(run), META) is not None:
        return
    places = Places(prompt.tenant, run)
    request = prompt.run_request(f"{places.pool}documents/", scope, PRIORITY, prefix=True)
    parsed = check(prompt, run, request, services.settings, services.input.name)
    spec = window_spec(parsed, services.settings, services.clock.now())
    body = json.dumps(spec.to_json(), ensure_ascii=False, indent=1).encode()
    services.input.put_if_absent(places.spec, body, "application/json")
    now = int(services.clock.now())
    # Both or none: one without the other would be a window that never closes, or cannot be.
    services.runs.put_all(
        [
            ConditionalPut(_pool_item(run, prompt, scope, spec, now), "run", None),
            ConditionalPut(run_item(spec, now), "run", None),
        ]
    )


def _pool_item(run: str, prompt: StoredPrompt, scope: str, spec: RunSpec, now: int) -> Item:
    return {
        "pk": POOLS,
        "sk": run,
        "kind": WINDOW,
        "state": OPEN,
        "run": run,
        "tenant": prompt.tenant,
        "scope": scope,
        "priority": PRIORITY,
        "prompt": prompt.name,
        "promptDigest": prompt.digest,
        "openedAt": now,
        "closesAt": now // WINDOW_SECONDS * WINDOW_SECONDS + WINDOW_SECONDS,
        "oldestSentAt": now,
        "documents": 0,
        "leasedUntil": 0,
        "expires_at": expiry(spec, now),
    }


def window_spec(request: RunRequest, settings: Settings, now: float) -> RunSpec:
    """The resolved run of a window. No quota decides anything in it: documents go one by one."""
    return run_spec(
        request,
        settings,
        Decisions(
            execution_arn=f"window:{request.run}",
            mode="sync",
            model=model_of(request, batch=False),
            source=request.source,
            quotas=resolve(request.model, {}),
            limits=Limits(
                min_records_per_shard=1,
                max_records_per_shard=_MOST,
                max_bytes_per_shard=_MOST,
                max_line_bytes=MAX_LINE_BYTES,
                cut_bytes=_MOST,
                canary_records=0,
                max_attempts=1,
                job_timeout_hours=24,
                claim_ttl_days=settings.defaults.claim_ttl_days,
            ),
            settings=RunSettings(
                cut_concurrency=1,
                job_concurrency=1,
                infer_concurrency=1,
                items_per_batch=1,
                bytes_per_batch=1,
                tolerated_failure_percentage=100,
                job_timeout_seconds=WINDOW_SECONDS,
                inference_timeout_seconds=WINDOW_SECONDS,
            ),
            cuts=Cuts(Places(request.tenant, request.run).cuts("none"), 0, 0),
            estimate=Estimate(notes=["documents of priority high, inferred one by one as they came"]),
            created_at=planned_at(now),
            # No canary tries whether a schema is taken natively.
            asked=ask_first(request.output, request.family, "sync", canary=False).how,
        ),
    )


def _cut(cut: str, places: Places, line: bytes, services: WindowServices) -> Cut:
    """The document as one line of corpus. What the first try wrote stays: written again, it would be another object."""
    key = places.document(cut)
    found = services.input.find(key)
    if found is None:
        services.input.put_if_absent(key, line, "application/x-ndjson")
        found = services.input.find(key)
    if found is None:
        raise ThrottledError(f"{key} has been written, and is not there")
    return Cut(cut, [CutRange(key, 0, found.size, found.size, found.etag)])


def put_shards(run: str, counts: dict[str, Any], runs: Intake, expires_at: int) -> None:
    """What seal_shards writes of a sync piece."""
    for counted in counts["pieces"]:
        piece = PieceCount(counted["piece"], counted["records"], counted["bytes"])
        runs.put(shard_item(run, piece.piece, "sync", piece, expires_at=expires_at))


def _infer(cut: str, item: Item, counts: dict[str, Any], places: Places, services: WindowServices) -> Unit:
    unit_context = services.unit_context_of(item["tenant"], item["run"])
    lines = [
        json.loads(raw)
        for piece in counts["pieces"]
        for raw, _ in split(services.input.read(places.index(piece["piece"])))
    ]
    batch = Batch.from_event(
        {"BatchInput": {"run": item["run"], "tenant": item["tenant"], "unit": cut}, "Items": lines}
    )
    unit = unit_context.unit(cut)
    if unit is None or not unit.settled:

        def whole() -> dict[str, Any]:
            progress = infer_batch(batch, unit_context)
            if progress["rest"]:
                # Raised inside: an answer that is not the end must not be remembered as one.
                raise ThrottledError(f"document {item['id']}: timed out waiting for Bedrock capacity")
            return progress

        try:
            services.once(item["run"], cut, whole)
        except UnitFailedError as error:
            raise RefusedDocumentError("refused", str(error), passing=True) from error
        unit = unit_context.unit(cut)
    if unit is None or not unit.settled:
        raise WorkInProgressError(f"document {item['id']}: its unit {cut} is not settled")
    return unit


def _outcome(
    item: Item, counts: dict[str, Any], unit: Unit | None, places: Places, services: WindowServices
) -> DocumentOutcome:
    run, bucket = item["run"], services.output.name
    if unit is not None and unit.counts.landed:
        part = unit.results[0]
        return DocumentOutcome(DONE, run, {"bucket": bucket, "key": part.key, "offset": 0, "length": part.bytes})
    if unit is not None and unit.counts.failed:
        place = {"bucket": bucket, "key": unit.failures[0].key, "offset": 0, "length": unit.failures[0].bytes}
        return DocumentOutcome(FAILED, run, place, unit.errors[0].error_class, "the model gave no answer that counts")
    if counts["rejected"]:
        key = str(counts.get("failures") or places.failures(names.cut_part(counts["cut"])))
        line = next(raw for raw, _ in split(services.output.read(key)))
        told = json.loads(line)
        place = {"bucket": bucket, "key": key, "offset": 0, "length": len(line) + 1}
        return DocumentOutcome(FAILED, run, place, told["errorClass"], told["errorMessage"])
    return _of_a_duplicate(item, places, services)


def _of_a_duplicate(item: Item, places: Places, services: WindowServices) -> DocumentOutcome:
    """Another run of the scope has claimed the document. Raises WorkInProgressError while that is at work on it."""
    landings = ScopeLandings(
        item["tenant"],
        item["scope"],
        services.output,
        services.runs,
        services.cuts.ledger,
        services.clock.now(),
    )
    elsewhere = landed_elsewhere([item["id"]], landings)
    if elsewhere.promised:
        raise WorkInProgressError(f"document {item['id']}: another run of its scope is at work on it")
    # Else nobody has landed it, after all. With a place, this attempt is over: the next one is another.
    place = {"bucket": services.output.name, "prefix": places.results_prefix}
    why = "another run that had claimed it did not land it"
    return elsewhere.landed.get(item["id"], DocumentOutcome(FAILED, item["run"], place, NOT_ACCOUNTED, why))
