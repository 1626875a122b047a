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
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import ThrottledError, UnitFailedError, WorkInProgressError
from bulk_inference.core.index_line import canonical
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Bus, Clock, Intake
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import (
    Cuts,
    Estimate,
    Limits,
    RunSettings,
    RunSpec,
)
from bulk_inference.core.runs_table import DOCUMENT, META, POOLS, TALLY, Item, document_pk, pool_pk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import run_item
from bulk_inference.core.times import expiry
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.cut.cut_run import CutServices, cut_run
from bulk_inference.cut.cutting import PieceCount
from bulk_inference.cut.sealing import shard_item
from bulk_inference.intake.document_outcomes import DocumentOutcome, OutcomeServices, conclude, landed_elsewhere
from bulk_inference.intake.message import (
    BAD_PROMPT,
    DONE,
    FAILED,
    INFERRING,
    Admission,
    RefusedDocumentError,
    conflict,
    document_item,
    judge,
)
from bulk_inference.intake.pooling import OPEN, WINDOW, Arrival
from bulk_inference.intake.stored_prompts import StoredPrompt, check
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.land.units import Unit
from bulk_inference.plan.asking import first as ask_first
from bulk_inference.plan.planning import MAX_LINE_BYTES
from bulk_inference.plan.quotas import resolve
from bulk_inference.plan.run_plan import Decisions, model_of, planned_at, run_spec
from bulk_inference.request.parse import RunRequest
from bulk_inference.sync.infer_batch import Batch, infer_batch

PRIORITY: Final = "high"

WINDOW_SECONDS: Final = 3600

BUSY: Final = "BUSY#"
"""Sort keys of documents that are being inferred, by their unit."""

_MOST: Final = 1 << 40
_TRIES: Final = 5


@dataclass(frozen=True)
class WindowServices:
    input: Bucket
    output: Bucket
    runs: Intake
    bus: Bus
    clock: Clock
    settings: Settings
    cuts: CutServices
    shop_of: Callable[[str, str], UnitContext]
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
    busy = {"pk": pool_pk(run), "sk": f"{BUSY}{cut}", "unit": cut, "sentAt": item["sentAt"]}
    services.runs.put({**busy, "expires_at": services.expires_at})
    open_window(run, arrival.prompt, arrival.scope, services)
    places = Places(item["tenant"], run)
    counts = cut_run(run, item["tenant"], _cut(cut, places, arrival.line, services), services.cuts)
    put_shards(run, counts, services.runs, services.expires_at)
    unit = _infer(cut, item, counts, places, services) if counts["pieces"] else None
    outcome = _outcome(item, counts, unit, places, services)
    if conclude(item["pk"], run, outcome, services.outcomes):
        services.runs.add(pool_pk(run), TALLY, {outcome.state: 1}, {"expires_at": services.expires_at})
    not_busy(item, services.runs)
    return outcome.state


def not_busy(item: Item, runs: Intake) -> None:
    """Nobody works on the document any more."""
    runs.delete_if(pool_pk(item["run"]), f"{BUSY}{unit_of(item)}", "unit", unit_of(item))


def unit_of(item: Item) -> str:
    """Name of the cut and the unit of work that a try at a document is."""
    return f"{names.DOCUMENT}{hashlib.sha256(canonical([item['pk'], item['take']])).hexdigest()[:20]}"


def _begin(arrival: Arrival, services: WindowServices) -> Item | None:
    """The document's item, which says in which window it is; None for a document that came before."""
    message, scope = arrival.message, arrival.scope
    key = document_pk(message.tenant, scope, message.id)
    for _ in range(_TRIES):
        known = services.runs.get(key, DOCUMENT)
        verdict = judge(known, message, arrival.message_id)
        if verdict is Admission.CONFLICT and known is not None:
            raise conflict(known)
        if verdict is Admission.GOES_ON:
            return known
        if verdict is Admission.KNOWN:
            return None
        now = services.clock.now()
        item = document_item(
            known,
            message,
            scope,
            PRIORITY,
            message_id=arrival.message_id,
            sent_at=arrival.sent_at,
            now=now,
            expires_at=services.expires_at,
        )
        run = (known or {}).get("run")
        goes_on = known is not None and known["take"] == item["take"] and names.is_pool_run(str(run), PRIORITY)
        item |= {"state": INFERRING, "run": run if goes_on else window_of(arrival.prompt, scope, now)}
        if services.runs.put_if(item, "version", None if known is None else known["version"]):
            return item
    raise WorkInProgressError(f"document {message.id}: others change its item")


def window_of(prompt: StoredPrompt, scope: str, now: float) -> str:
    """Run of the window that is open now."""
    hour = datetime.fromtimestamp(now // WINDOW_SECONDS * WINDOW_SECONDS, UTC).strftime("%Y%m%dT%H")
    unique = hashlib.sha256(canonical([prompt.tenant, scope, prompt.name, prompt.digest])).hexdigest()[:8]
    return names.pool_run(PRIORITY, prompt.name, hour, unique)


def open_window(run: str, prompt: StoredPrompt, scope: str, services: WindowServices) -> None:
    """Writes what every function needs to know of the run, once. Raises RefusedDocumentError of class bad_prompt."""
    if services.runs.get(run_pk(run), META) is not None:
        return
    places = Places(prompt.tenant, run)
    request = prompt.run_request(f"{places.pool}documents/", scope, PRIORITY, prefix=True)
    parsed = check(prompt, run, request, services.settings, services.input.name)
    spec = window_spec(parsed, services.settings, services.input.name, services.clock.now())
    if services.input.find(places.spec) is None:
        services.input.put_json(places.spec, spec.to_json())
    now = int(services.clock.now())
    services.runs.put_new(
        {
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
    )
    services.runs.put_new(run_item(spec, now))


def window_spec(request: RunRequest, settings: Settings, input_bucket: str, now: float) -> RunSpec:
    """The resolved run of a window. No quota decides anything in it: documents go one by one."""
    return run_spec(
        request,
        settings,
        input_bucket,
        Decisions(
            execution_arn=f"window:{request.run}",
            mode="sync",
            model=model_of(request, settings, batch=False),
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
        services.input.put(key, line, "application/x-ndjson")
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
    unit_context = services.shop_of(item["tenant"], item["run"])
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
    elsewhere = landed_elsewhere(
        [item["id"]],
        item["tenant"],
        item["scope"],
        ledger=services.cuts.ledger,
        output=services.output,
        runs=services.runs,
        now=services.clock.now(),
    )
    if elsewhere.promised:
        raise WorkInProgressError(f"document {item['id']}: another run of its scope is at work on it")
    return elsewhere.landed.get(item["id"], DocumentOutcome(DONE, None, None))
