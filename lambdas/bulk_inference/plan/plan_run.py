"""Starting a run: request, quotas, corpus, mode, canary, and the plan that every other function reads."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from bulk_inference.core import ports, tenants
from bulk_inference.core.ceilings import refuse_larger
from bulk_inference.core.environment import require_layer
from bulk_inference.core.errors import CanaryFailedError, InvalidRequestError
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
from bulk_inference.core.runs_table import META, QUOTA, live_item, quota_pk, run_pk
from bulk_inference.core.settings import Defaults, Settings
from bulk_inference.core.stored_run import CLOSED, run_item
from bulk_inference.core.times import expiry
from bulk_inference.core.tokens import estimate as estimate_tokens
from bulk_inference.core.tokens import reserved
from bulk_inference.corpus import formats
from bulk_inference.corpus.jsonl_rows import BOM
from bulk_inference.corpus.ranges import Cut, CutRange, cut_line, pack_ranges, plan_cuts
from bulk_inference.corpus.reader import Corpus, CorpusBucket
from bulk_inference.plan import concurrency, planning, quotas, sampling, sizing
from bulk_inference.plan.asking import NATIVE, Asking, refused, seen
from bulk_inference.plan.asking import first as ask_first
from bulk_inference.plan.canary import CanaryResult, OnDemand, SchemaRefusedError, Tried, run_canary
from bulk_inference.plan.planning import Sample
from bulk_inference.plan.report import Concurrencies, Planned, as_text, report
from bulk_inference.plan.run_plan import Decisions, model_of, planned_at, run_spec
from bulk_inference.render.media import MediaPlaces
from bulk_inference.render.record_bodies import refused_in_batch
from bulk_inference.render.records import Record, RecordReader
from bulk_inference.render.rendering import renderer_for
from bulk_inference.request import parse
from bulk_inference.request.limits import CANARY_WORTH
from bulk_inference.request.parse import RunRequest
from bulk_inference.structured.checker import checker

_T = TypeVar("_T")


class PlanBucket(Bucket, Protocol):
    def put_if_absent(self, key: str, body: bytes, content_type: str = ...) -> bool: ...


_REDRIVABLE_SECONDS: Final = 30 * 86_400
"""Longer than an execution can be redriven:
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html"""


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
    _refuse_used_name(spec, services)
    return spec


def _refuse_used_name(spec: RunSpec, services: PlanServices) -> None:
    """Step Functions takes a name again 90 days after its execution ended; the files of the run of then are still
    there, and its items may not be. Raises InvalidRequestError."""
    meta = services.runs.get(run_pk(spec.run), META)
    age = services.now - datetime.fromisoformat(spec.created_at).timestamp()
    # A run's own execution plans no more once it has come to an end, and may be redriven for 14 days.
    if (meta is None and age > _REDRIVABLE_SECONDS) or (meta or {}).get("status") in CLOSED:
        raise InvalidRequestError(
            f"run {spec.run!r} has had its time (planned {spec.created_at}), and its results are still there: start "
            "the request under another execution name"
        )


def _draw_up(
    request: RunRequest, execution_arn: str, places: Places, services: PlanServices, settings: Settings
) -> RunSpec:
    if request.output.parquet:
        require_layer()
    limits_of = quotas.resolve(request.model, _found_quotas(request, services))
    reach = Reach(settings, request.tenant, services.input_bucket.name)
    found = _look_at_corpus(request, tenants.defaults_of(settings, request.tenant), places, services, reach)
    decided, found = _decide(request, settings, limits_of, found)
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
            asked=found.asking.how,
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


def _decide(request: RunRequest, settings: Settings, limits_of: Quotas, found: "_Found") -> tuple[_Decided, "_Found"]:
    """And the corpus as it was looked at last. Raises InvalidRequestError for a run over its limits or a corpus that is
    none, CanaryFailedError."""
    defaults = tenants.defaults_of(settings, request.tenant)
    max_tokens = request.prompt.inference.get("maxTokens")
    answers = sizing.assumed_answers(max_tokens, embedding=request.family.embeds)
    guessed = _with_answers(planning.estimate(found.bytes, found.sample, max_tokens), answers.tokens)
    mode, why, found = _in_mode(request, limits_of, found, guessed.records)
    limits, limit_notes = planning.resolve_limits(request.limits, defaults, limits_of, mode)
    basis = "counted" if found.whole else f"estimated from {found.sample.records} of them"
    sampling.refuse_rejected(found.sample, limits, whole=found.whole)
    if found.whole:
        refuse_larger(limits, guessed.records, 0, basis, exact=True)
    refuse_larger(limits, guessed.records, guessed.input_tokens + guessed.output_tokens, basis)
    found, canary, estimate, tokens_basis = _try(request, found, limits, guessed, answers)
    spent = estimate.input_tokens + estimate.output_tokens
    large_notes = refuse_larger(limits, estimate.records, spent, tokens_basis)
    work = sizing.work(mode, estimate, found.cuts.count, limits, planning.items_per_batch(request.limits, defaults))
    chosen = _concurrencies(request, settings, limits_of, _Load(mode, estimate, work, found.cuts.count))
    decided = _Decided(
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
            *quotas.fallback_notes(limits_of, batch=_batch_capable(request)),
            *([f"output.schema: {found.asking.in_words}"] if found.asking.how else []),
            *found.notes,
            *limit_notes,
            *large_notes,
            *([] if found.cuts.count else ["the corpus is empty"]),
        ],
    )
    return decided, found


def _in_mode(request: RunRequest, limits_of: Quotas, found: "_Found", records: int) -> tuple[str, str, "_Found"]:
    """The mode, why, and the corpus as it is looked at for it: batch jobs do not take all that goes on demand."""
    batch = _batch_capable(request)
    mode, why = planning.choose_mode(request.mode, records, limits_of, batch, request.model_id)
    if mode == "batch" and request.mode == "auto":
        if (member := found.refused_in_batch(request.api)) is not None:
            mode, why = "sync", f"records have {member}, which Converse's batch jobs do not take"
        elif found.asking.how == NATIVE and request.output.ask == "auto":
            found = found.asked(ask_first(request.output, request.family, mode, canary=True))
    return mode, why, found


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
        rejections=found.sample.rejections,
        asking=found.asking,
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

    whole: bool
    """Whether the sample is all of it."""
    asking: Asking
    """How its schema is asked for."""
    asked: "Callable[[Asking], _Found]"
    """The same sample, its schema asked for otherwise."""

    def refused_in_batch(self, api: str) -> str | None:
        """A member that batch jobs do not take and that a record of the sample has."""
        bodies = (json.loads(record.line)["modelInput"] for record in self.records if b'"toolConfig"' in record.line)
        return next((name for body in bodies if (name := refused_in_batch(body, api)) is not None), None)

    @property
    def bytes(self) -> int:
        """What the sample is scaled up to: of a whole one, itself (headers and blank lines are no rows)."""
        return self.sample.bytes if self.whole else self.cuts.bytes


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
    probes = spread.probes(source)
    rows = spread.rows(source)
    canary_model = _on_demand(request, places, services, reach)
    schema = None if request.output.schema is None else checker(request.output.schema)

    def trial(bodies: Sequence[dict[str, Any]], wanted: int) -> Tried:
        return run_canary(bodies, canary_model, schema, wanted)

    def look(asking: Asking) -> _Found:
        reader = _reader(request, source, asking, media, reach)
        sample, records = sampling.sample(bucket, source, probes, reader)
        return _Found(
            source,
            cuts,
            sample if rows is None else sampling.counted_rows(sample, cuts.bytes, rows),
            records,
            [*corpus.notes(), *sampling.notes(bucket, source, probes, sample, reader)],
            trial,
            not sample.broken_off and spread.is_all(probes),
            asking,
            look,
        )

    canary = bool(request.limits.get("canary_records", defaults.canary_records))
    return look(ask_first(request.output, request.family, request.mode, canary=canary))


def _reader(request: RunRequest, source: Source, asking: Asking, media: MediaPlaces, reach: Reach) -> RecordReader:
    output = replace(request.output, asked=asking.how)
    return RecordReader(
        id_field=source.id_field,
        sequence_field=source.sequence_field,
        carry=source.carry,
        untyped=source.format == formats.CSV,
        renderer=renderer_for(request.prompt, request.family, request.api, output=output, places=media),
        max_line_bytes=planning.MAX_LINE_BYTES,
        api=request.api,
        batch=request.mode == "batch",
        chunking=request.chunking,
        reduces=source.reduces is not None,
        reach=reach,
        record_form=source.record_form,
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
) -> tuple[_Found, CanaryResult, Estimate, str]:
    """The canary, and the estimate corrected by what its answers say; where the numbers of tokens come from. A schema
    that is refused is asked for in words, unless the request insists.

    A dry run costs nothing unless its own request says how many records to try.
    """
    basis = f"input: estimated from characters; {answers.basis}"
    wanted = request.limits.get("canary_records", 0) if request.dry_run else limits.canary_records
    count = min(wanted, len(found.records))
    try:
        lines, tried = _tried(found, count)
    except SchemaRefusedError as refusal:
        if found.asking.how != NATIVE or request.output.ask == NATIVE:
            raise CanaryFailedError(
                f"the canary was refused its output.schema by {request.model.invoke_id}, so that no job was submitted: "
                f"leave output.ask out, or say prompt. The service says: {refusal}"
            ) from None
        found = found.asked(refused())
        try:
            lines, tried = _tried(found, count)
        except SchemaRefusedError as again:
            raise CanaryFailedError(f"{request.model.invoke_id} says: {again}") from None
    canary = tried.result
    found = replace(found, asking=seen(found.asking, canary.records))
    if not wanted and limits.canary_records:
        canary = replace(canary, note="not run: a dry run tries records only if its request sets canary_records")
    if not tried.counted:
        return found, canary, estimate, basis
    guessed = sum(estimate_tokens(lines[number].decode()) for number in tried.counted)
    corrected = replace(estimate, input_tokens=round(estimate.input_tokens * canary.input_tokens / max(guessed, 1)))
    corrected = _with_answers(corrected, canary.output_tokens / len(tried.counted))
    return found, canary, corrected, f"estimated from the answers to {canary.answered} canary records"


def _tried(found: _Found, count: int) -> tuple[list[bytes], Tried]:
    lines = [record.line for record in _to_try(found.records, count)]
    return lines, found.trial([json.loads(line)["modelInput"] for line in lines], count)


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
        self._parts = self._selected = self._bytes = 0

    def add(self, cut: Cut) -> None:
        if self._seen % self._stride == 0:
            self._kept.append(cut)
            if len(self._kept) > 2 * self._wanted:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._seen += 1
        self._parts += len(cut.parts)
        self._bytes += cut.bytes
        self._selected += sum(last - first + 1 for part in cut.parts for *_, first, last in part.rows or ())

    def rows(self, source: Source) -> int | None:
        """How many rows the corpus has, where that is known before they are read."""
        return self._parts if source.format == formats.TEXT else self._selected or None

    def is_all(self, probes: Sequence[CutRange]) -> bool:
        """Whether these parts are the whole corpus."""
        return len(probes) == self._parts and self._bytes == sum(part.end - part.start for part in probes)

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
