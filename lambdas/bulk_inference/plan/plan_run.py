"""Starting a run: request, quotas, corpus, mode, canary, and the plan that every other function reads."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from bulk_inference.core import ports, tenants
from bulk_inference.core.ceilings import refuse_larger
from bulk_inference.core.environment import require_layer
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.json_document import Json
from bulk_inference.core.keys import Places
from bulk_inference.core.model_families import geography_of
from bulk_inference.core.ports import Bucket, Runs
from bulk_inference.core.reach import Reach
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import (
    Cuts,
    Estimate,
    Limits,
    Model,
    Quotas,
    RunSettings,
    RunSpec,
    Source,
    wanted,
)
from bulk_inference.core.runs_table import QUOTA, live_item, quota_pk
from bulk_inference.core.settings import Defaults, Settings
from bulk_inference.core.stored_run import run_item
from bulk_inference.core.times import expiry
from bulk_inference.core.tokens import estimate as estimate_tokens
from bulk_inference.core.tokens import reserved
from bulk_inference.corpus import formats
from bulk_inference.corpus.jsonl_rows import BOM
from bulk_inference.corpus.ranges import Cut, CutRange, cut_line, pack_ranges, plan_cuts
from bulk_inference.corpus.reader import Corpus, CorpusBucket
from bulk_inference.plan import concurrency, planning, quotas, sampling, sizing
from bulk_inference.plan.canary import CanaryResult, OnDemand, Tried, run_canary
from bulk_inference.plan.planning import Sample
from bulk_inference.plan.report import Concurrencies, Planned, as_text, report
from bulk_inference.plan.run_plan import Decisions, model_of, planned_at, run_spec
from bulk_inference.render.media import MediaPlaces
from bulk_inference.render.records import Record, RecordReader
from bulk_inference.render.rendering import renderer_for
from bulk_inference.request import parse
from bulk_inference.request.limits import CANARY_WORTH
from bulk_inference.request.parse import RunRequest
from bulk_inference.structured.checker import checker

_T = TypeVar("_T")


class PlanBucket(Bucket, Protocol):
    def put_if_absent(self, key: str, body: bytes, content_type: str = ...) -> bool: ...


@dataclass(frozen=True)
class PlanServices:
    input_bucket: PlanBucket
    output_bucket: Bucket
    settings_key: str
    source_bucket: Callable[[str], CorpusBucket]
    """By name."""
    runs: Runs
    quotas: quotas.QuotaSource
    model: ports.Model
    now: float
    """Epoch seconds."""


def start_run(run: str, execution_arn: str, request: dict[str, Json], services: PlanServices) -> dict[str, Any]:
    """Plans the run once: a second call with an equal request answers the same plan. A dry run leaves its report and
    nothing else: no plan, no item, so that a run of that name can still be started.

    Raises InvalidRequestError (also for a run id that another request has used), CanaryFailedError, ThrottledError.
    """
    settings = _settings(services)
    parsed = parse.parse(run, request, settings, services.input_bucket.name)
    places = Places(parsed.tenant, parsed.run)
    if parsed.dry_run:
        return _only_report(parsed, execution_arn, places, services, settings)
    spec = _planned(places, parsed, services)
    if spec is None:
        drawn = _draw_up(parsed, execution_arn, places, services, settings)
        body = json.dumps(drawn.to_json(), ensure_ascii=False, indent=1).encode()
        written = services.input_bucket.put_if_absent(places.spec, body, "application/json")
        # Another invocation of the same run was first: its plan holds.
        spec = drawn if written else _planned(places, parsed, services) or drawn
    known = services.runs.put_new(run_item(spec, services.now))
    if known is None or known["status"] == "running":
        services.runs.put(live_item(spec.run, spec.execution_arn, expiry(spec, services.now)))
    _publish(spec, places, services)
    return _answer(spec, places, services)


def _only_report(
    request: RunRequest, execution_arn: str, places: Places, services: PlanServices, settings: Settings
) -> dict[str, Any]:
    if services.input_bucket.find(places.spec) is not None:
        raise InvalidRequestError(
            f"run.dry_run: run {request.run!r} has been planned for good already: give the dry run another run.id"
        )
    spec = _draw_up(request, execution_arn, places, services, settings)
    _publish(spec, places, services)
    return {
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "mode": spec.mode,
        "next": "report",
        "report": spec.report,
        "places": {"reportBucket": services.output_bucket.name, "reportKey": places.plan_report},
    }


def _publish(spec: RunSpec, places: Places, services: PlanServices) -> None:
    """The report, for people and tools. The plan of an older bundle has none."""
    if spec.report:
        services.output_bucket.put_json(places.plan_report, spec.report)
        services.output_bucket.put(places.plan_text, as_text(spec.report).encode(), "text/plain; charset=utf-8")


def _settings(services: PlanServices) -> Settings:
    value = services.input_bucket.get_json(services.settings_key)
    if value is None:
        raise InvalidRequestError(
            f"s3://{services.input_bucket.name}/{services.settings_key} does not exist: "
            "apply the module, which writes it"
        )
    try:
        return Settings.from_json(value)
    except ValueError as error:
        raise InvalidRequestError(f"s3://{services.input_bucket.name}/{services.settings_key}: {error}") from error


def _planned(places: Places, request: RunRequest, services: PlanServices) -> RunSpec | None:
    value = services.input_bucket.get_json(places.spec)
    if value is None:
        return None
    spec = RunSpec.from_json(value)
    if spec.request_digest != request.digest:
        raise InvalidRequestError(
            f"run {request.run!r} exists already with another request (planned {spec.created_at}): start the new "
            "request under another execution name"
        )
    return spec


def _draw_up(
    request: RunRequest, execution_arn: str, places: Places, services: PlanServices, settings: Settings
) -> RunSpec:
    if request.output.parquet:
        require_layer()
    limits_of = quotas.resolve(request.model, _found_quotas(request, services))
    reach = Reach(settings, request.tenant, services.input_bucket.name)
    found = _look_at_corpus(request, tenants.defaults_of(settings, request.tenant), places, services, reach)
    decided = _decide(request, settings, limits_of, found)
    model = model_of(request, batch=_batch_capable(request))
    created_at = planned_at(services.now)
    return run_spec(
        request,
        settings,
        Decisions(
            execution_arn=execution_arn,
            mode=decided.mode,
            model=model,
            source=found.source,
            quotas=limits_of,
            limits=decided.limits,
            settings=decided.settings,
            cuts=found.cuts,
            estimate=replace(decided.estimate, notes=[decided.why, *decided.notes]),
            created_at=created_at,
            report=report(_reported(request, model, limits_of, found, decided, created_at)),
        ),
    )


@dataclass(frozen=True)
class _Decided:
    """What planning decides about a run, in the order in which one thing follows from another."""

    mode: str
    why: str
    limits: Limits
    canary: CanaryResult
    estimate: Estimate
    tokens_basis: str
    work: sizing.Work
    concurrency: Concurrencies
    settings: RunSettings
    notes: Sequence[str]


def _decide(request: RunRequest, settings: Settings, limits_of: Quotas, found: "_Found") -> _Decided:
    """Raises InvalidRequestError for a run over its limits, CanaryFailedError."""
    defaults = tenants.defaults_of(settings, request.tenant)
    max_tokens = request.prompt.inference.get("maxTokens")
    answers = sizing.assumed_answers(max_tokens, embedding=request.family.embeds)
    guessed = _with_answers(planning.estimate(found.cuts.bytes, found.sample, max_tokens), answers.tokens)
    batch = _batch_capable(request)
    mode, why = planning.choose_mode(request.mode, guessed.records, limits_of, batch, request.model_id)
    limits, limit_notes = planning.resolve_limits(request.limits, defaults, limits_of, mode)
    basis = "counted" if found.whole else f"estimated from {found.sample.records} of them"
    refuse_larger(limits, guessed.records, guessed.input_tokens + guessed.output_tokens, basis)
    canary, estimate, tokens_basis = _try(request, found, limits, guessed, answers)
    refuse_larger(limits, estimate.records, estimate.input_tokens + estimate.output_tokens, tokens_basis)
    work = sizing.work(mode, estimate, found.cuts.count, limits, planning.items_per_batch(request.limits, defaults))
    chosen = _concurrencies(request, settings, limits_of, _Load(mode, estimate, work, found.cuts.count))
    return _Decided(
        mode=mode,
        why=why,
        limits=limits,
        canary=canary,
        estimate=estimate,
        tokens_basis=tokens_basis,
        work=replace(work, waves=-(-work.jobs // chosen.jobs.value)),
        concurrency=chosen,
        settings=planning.resolve_settings(
            request.limits,
            defaults,
            limits,
            cutters=chosen.cutting.value,
            jobs=chosen.jobs.value,
            workers=chosen.inference.value,
        ),
        notes=[
            *quotas.fallback_notes(limits_of, batch=batch),
            *found.notes,
            *limit_notes,
            *([] if found.cuts.count else ["the corpus is empty"]),
        ],
    )


def _reported(
    request: RunRequest, model: Model, limits_of: Quotas, found: "_Found", decided: _Decided, planned_at: str
) -> Planned:
    return Planned(
        run=request.run,
        tenant=request.tenant,
        scope=request.scope,
        dry_run=request.dry_run,
        planned_at=planned_at,
        mode=decided.mode,
        why=decided.why,
        model=model,
        corpus_bytes=found.cuts.bytes,
        cuts=found.cuts.count,
        whole=found.whole,
        estimate=decided.estimate,
        tokens_basis=decided.tokens_basis,
        work=decided.work,
        concurrency=decided.concurrency,
        minutes=_minutes(request, decided.mode, decided.estimate, limits_of, decided.concurrency),
        canary=decided.canary,
        prices=request.prices,
        limits=decided.limits,
        quotas=limits_of,
        notes=decided.notes,
    )


@dataclass(frozen=True)
class _Found:
    """The corpus as far as it was looked at."""

    source: Source
    """Its format resolved."""
    cuts: Cuts
    sample: Sample
    records: Sequence[Record]
    notes: Sequence[str]
    trial: Callable[[Sequence[dict[str, Any]], int], Tried]
    """Infers so many bodies on demand, more of them only as canary.py says."""

    @property
    def whole(self) -> bool:
        """Whether the sample is all of it."""
        return self.sample.bytes >= self.cuts.bytes


def _look_at_corpus(
    request: RunRequest, defaults: Defaults, places: Places, services: PlanServices, reach: Reach
) -> _Found:
    """Plans the cuts (a dry run writes them nowhere) and reads a sample."""
    bucket = services.source_bucket(request.source.bucket)
    corpus = Corpus(request.source, bucket)
    cut_bytes = request.limits.get("cut_bytes") or defaults.cut_bytes
    key = places.cuts(uuid.uuid4().hex[:12])
    if request.source.ranges is not None:
        planned = pack_ranges(_ranges(request.source.ranges, bucket, services, reach, request.source.bucket), cut_bytes)
    else:
        planned = plan_cuts(corpus, cut_bytes, corpus.handling)
    spread = _Spread(sampling.places(request.source))
    if request.dry_run:
        cuts = _survey(planned, key, spread, lambda line: None)
    else:
        with services.input_bucket.writer(key) as file:
            cuts = _survey(planned, key, spread, file.write)
    source = replace(request.source, format=corpus.format)
    media = MediaPlaces(request.source.bucket, reach)
    renderer = renderer_for(request.prompt, request.family, request.api, output=request.output, places=media)
    reader = RecordReader(
        id_field=request.source.id_field,
        sequence_field=request.source.sequence_field,
        carry=source.carry,
        untyped=source.format == formats.CSV,
        renderer=renderer,
        max_line_bytes=planning.MAX_LINE_BYTES,
        chunking=request.chunking,
        reduces=source.reduces is not None,
        reach=reach,
        record_form=source.record_form,
    )
    sample, records = sampling.sample(bucket, source, spread.probes(source), reader)
    rows = spread.rows(source)
    canary_model = _on_demand(request, places, services, reach)
    schema = None if request.output.schema is None else checker(request.output.schema)
    return _Found(
        source,
        cuts,
        sample if rows is None else sampling.counted(sample, cuts.bytes, rows),
        records,
        corpus.notes(),
        lambda bodies, wanted: run_canary(bodies, canary_model, schema, wanted),
    )


def _on_demand(request: RunRequest, places: Places, services: PlanServices, reach: Reach) -> OnDemand:
    output, key = services.output_bucket, places.canary_words
    return OnDemand(
        services.model,
        request.model.invoke_id,
        request.api,
        reach,
        lambda said: output.put(key, said, "application/x-ndjson"),
        f"s3://{output.name}/{key}",
    )


def _with_answers(estimate: Estimate, tokens_each: float) -> Estimate:
    return replace(estimate, output_tokens=round(estimate.records * tokens_each))


def _try(
    request: RunRequest, found: _Found, limits: Limits, estimate: Estimate, answers: sizing.Answers
) -> tuple[CanaryResult, Estimate, str]:
    """The canary, and the estimate corrected by what its answers say; where the numbers of tokens come from.

    A dry run costs nothing unless its own request says how many records to try.
    """
    basis = f"input: estimated from characters; {answers.basis}"
    wanted = request.limits.get("canary_records", 0) if request.dry_run else limits.canary_records
    count = min(wanted, len(found.records))
    lines = [record.line for record in _to_try(found.records, count)]
    tried = found.trial([json.loads(line)["modelInput"] for line in lines], count)
    canary = tried.result
    if not wanted and limits.canary_records:
        canary = replace(canary, note="not run: a dry run tries records only if its request sets canary_records")
    if not tried.counted:
        return canary, estimate, basis
    guessed = sum(estimate_tokens(lines[number].decode()) for number in tried.counted)
    corrected = replace(estimate, input_tokens=round(estimate.input_tokens * canary.input_tokens / max(guessed, 1)))
    corrected = _with_answers(corrected, canary.output_tokens / len(tried.counted))
    return canary, corrected, f"estimated from the answers to {canary.answered} canary records"


def _to_try(records: Sequence[Record], count: int) -> list[Record]:
    """The canary's records, and behind them as many as it tries before it condemns the run.

    Spread over the sample, so that one odd beginning does not speak for all.
    """
    if not count:
        return []
    first = [len(records) * n // count for n in range(count)]
    others = _evenly([n for n in range(len(records)) if n not in first], max(0, CANARY_WORTH - count))
    return [records[n] for n in [*first, *others]]


@dataclass(frozen=True)
class _Load:
    """How much there is to do."""

    mode: str
    estimate: Estimate
    work: sizing.Work
    cuts: int


def _concurrencies(request: RunRequest, settings: Settings, limits_of: Quotas, load: _Load) -> Concurrencies:
    estimate, work = load.estimate, load.work
    defaults, terraform = tenants.defaults_of(settings, request.tenant), settings.concurrency
    ceilings = settings.tenants[request.tenant]
    each = estimate.input_tokens // estimate.records if estimate.records else 0
    held = reserved(each, request.prompt.inference.get("maxTokens"), request.family.burndown)
    jobs = concurrency.wish(request.limits.get("job_concurrency"), defaults.job_concurrency)
    workers = concurrency.wish(request.limits.get("infer_concurrency"), defaults.infer_concurrency)
    batches = work.sync_batches if load.mode == "sync" else None
    return Concurrencies(
        cutting=concurrency.cutters(load.cuts, terraform),
        jobs=concurrency.job_slots(jobs, limits_of.max_jobs_in_flight, ceilings.job_concurrency, work.jobs),
        inference=concurrency.workers(
            workers, limits_of.tokens_per_minute, held, ceilings.infer_concurrency, batches, terraform
        ),
        reprocessing=concurrency.reprocessors(request.priority, terraform),
    )


def _minutes(
    request: RunRequest, mode: str, estimate: Estimate, limits_of: Quotas, chosen: Concurrencies
) -> sizing.Minutes | None:
    """None in mode batch: AWS promises no time."""
    if mode == "batch" or not estimate.records:
        return None
    settled = (estimate.input_tokens + request.family.burndown * estimate.output_tokens) / estimate.records
    rate = limits_of.tokens_per_minute
    return sizing.sync_minutes(estimate.records, settled, rate.value if rate else None, chosen.inference.value)


def _batch_capable(request: RunRequest) -> bool:
    return request.family.batch if request.model.batch is None else request.model.batch


def _found_quotas(request: RunRequest, services: PlanServices) -> dict[str, float]:
    """From the cache of the runs table if it is fresh and asked the same, else from Service Quotas."""
    wanted = quotas.wanted(request.family, request.model, geography_of(request.model.invoke_id))
    if not _batch_capable(request):
        wanted = {name: one for name, one in wanted.items() if name == quotas.TOKENS_PER_MINUTE}
    asked = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()
    key = quota_pk(request.model_id)
    cached = services.runs.get(key, QUOTA)
    if cached and cached["asked"] == asked and services.now - cached["readAt"] < quotas.CACHE_SECONDS:
        return dict(cached["found"])
    found = quotas.look_up(wanted, services.quotas) if wanted else {}
    services.runs.put(
        {
            "pk": key,
            "sk": QUOTA,
            "asked": asked,
            "found": found,
            "readAt": int(services.now),
            "expires_at": int(services.now) + quotas.CACHE_SECONDS,
        }
    )
    return found


def _ranges(key: str, bucket: CorpusBucket, services: PlanServices, reach: Reach, name: str) -> Iterator[CutRange]:
    """The ranges that redrive_failures has written. A record's offset leaves a byte order mark out, but a line begins
    with it."""
    for raw, _ in split(services.input_bucket.read(key)):
        part = CutRange.from_json(json.loads(raw))
        if (why := reach.planned_refusal(name, part.key)) is not None:
            raise InvalidRequestError(f"source.ranges: a range names an object that it may not read: {why}")
        if part.start == len(BOM) and b"".join(bucket.read(part.key, end=len(BOM), etag=part.etag)) == BOM:
            part = replace(part, start=0)
        yield part


def _survey(planned: Iterable[Cut], key: str, spread: "_Spread", write: Callable[[bytes], None]) -> Cuts:
    count = size = 0
    for cut in planned:
        spread.add(cut)
        count += 1
        size += cut.bytes
        write(cut_line(cut))
    return Cuts(key, count, size)


class _Spread:
    """Keeps a few of many cuts, spread evenly over all, whatever their number turns out to be."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._kept: list[Cut] = []
        self._stride = 1
        self._seen = 0
        self._parts = self._selected = 0

    def add(self, cut: Cut) -> None:
        if self._seen % self._stride == 0:
            self._kept.append(cut)
            if len(self._kept) > 2 * self._wanted:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._seen += 1
        self._parts += len(cut.parts)
        self._selected += sum(last - first + 1 for part in cut.parts for *_, first, last in part.rows or ())

    def rows(self, source: Source) -> int | None:
        """How many rows the corpus has, where that is known before they are read."""
        return self._parts if source.format == formats.TEXT else self._selected or None

    def probes(self, source: Source) -> list[CutRange]:
        """Parts to begin reading at, the corpus' first one among them."""
        cuts = _evenly(self._kept, self._wanted)
        each = -(-self._wanted // len(cuts)) if cuts else 0
        parts = [part for cut in cuts for part in _evenly(cut.parts, each)]
        if len(parts) == 1:
            parts = sampling.within(parts[0], source, self._wanted)
        return parts[: self._wanted]


def _evenly(things: Sequence[_T], wanted: int) -> list[_T]:
    count = min(wanted, len(things))
    return [things[len(things) * n // count] for n in range(count)]


def _answer(spec: RunSpec, places: Places, services: PlanServices) -> dict[str, Any]:
    return {
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "mode": spec.mode,
        "next": "cut" if spec.cuts.count else "finish",
        "cuts": spec.cuts.to_json(),
        "settings": spec.settings.to_json(),
        "report": spec.report,
        "assembly": wanted(spec),
        "places": {
            "inputBucket": services.input_bucket.name,
            "outputBucket": services.output_bucket.name,
            "mapRunsPrefix": places.map_runs_prefix,
        },
    }
