"""Starting a run: request, quotas, corpus, mode, canary, and the plan that every other function reads."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from bulk_inference import planning, quotas, requests, tenants
from bulk_inference.canary import Model as CanaryModel
from bulk_inference.canary import run_canary
from bulk_inference.corpus import Corpus, CorpusBucket, part_lines
from bulk_inference.cutting import sample_records
from bulk_inference.errors import InvalidRequestError
from bulk_inference.lines import BOM
from bulk_inference.models import geography_of
from bulk_inference.places import Places
from bulk_inference.planning import Cut, Sample
from bulk_inference.ports import Bucket, Runs
from bulk_inference.records import Record, RecordReader, RejectedLineError
from bulk_inference.rendering import Renderer
from bulk_inference.requests import RunRequest
from bulk_inference.results import split
from bulk_inference.runs import META, QUOTA, live_item, quota_pk, run_pk
from bulk_inference.spec import Cuts, Estimate, Json, Model, RunSpec, Settings
from bulk_inference.tokens import estimate as estimate_tokens
from bulk_inference.units import expiry

SAMPLE_BYTES: Final = 1024 * 1024
SAMPLE_LINES: Final = 200
_SAMPLE_PARTS: Final = 5
"""A sample is taken from the beginnings of so many objects at most."""

HOPELESS_LINES: Final = 20
"""If so many lines are sampled and none of them is a record, the request is at fault and not the lines."""


class PlanBucket(Bucket, Protocol):
    def put_if_absent(self, key: str, body: bytes, content_type: str = ...) -> bool: ...


@dataclass(frozen=True)
class StartWorld:
    input_bucket: PlanBucket
    output_bucket_name: str
    settings_key: str
    source_bucket: Callable[[str], CorpusBucket]
    """By name."""
    runs: Runs
    quotas: quotas.QuotaSource
    model: CanaryModel
    now: float
    """Epoch seconds."""


def start_run(run: str, execution_arn: str, request: dict[str, Json], world: StartWorld) -> dict[str, Any]:
    """Plans the run once: a second call with an equal request answers the same plan.

    Raises InvalidRequestError (also for a run id that another request has used), CanaryFailedError, ThrottledError.
    """
    parsed = requests.parse(run, request, _settings(world), world.input_bucket.name)
    places = Places(parsed.tenant, run)
    spec = _planned(places, parsed, world)
    if spec is None:
        drawn = _draw_up(parsed, execution_arn, places, world)
        body = json.dumps(drawn.to_json(), ensure_ascii=False, indent=1).encode()
        written = world.input_bucket.put_if_absent(places.spec, body, "application/json")
        # Another invocation of the same run was first: its plan holds.
        spec = drawn if written else _planned(places, parsed, world) or drawn
    known = world.runs.put_new(_run_item(spec, world.now))
    if known is None or known["status"] == "running":
        world.runs.put(live_item(spec.run, spec.execution_arn, expiry(spec, world.now)))
    return _answer(spec, places, world)


def _settings(world: StartWorld) -> Settings:
    value = world.input_bucket.get_json(world.settings_key)
    if value is None:
        raise InvalidRequestError(
            f"s3://{world.input_bucket.name}/{world.settings_key} does not exist: apply the module, which writes it"
        )
    try:
        return Settings.from_json(value)
    except ValueError as error:
        raise InvalidRequestError(f"s3://{world.input_bucket.name}/{world.settings_key}: {error}") from error


def _planned(places: Places, request: RunRequest, world: StartWorld) -> RunSpec | None:
    value = world.input_bucket.get_json(places.spec)
    if value is None:
        return None
    spec = RunSpec.from_json(value)
    if spec.request_digest != request.digest:
        raise InvalidRequestError(
            f"run {request.run!r} exists already with another request (planned {spec.created_at}): start the new "
            "request under another execution name"
        )
    return spec


def _draw_up(request: RunRequest, execution_arn: str, places: Places, world: StartWorld) -> RunSpec:
    limits_of = quotas.resolve(request.model, _found_quotas(request, world))
    settings = _settings(world)
    defaults = tenants.defaults_of(settings, request.tenant)
    notes = quotas.fallback_notes(limits_of) if _batch_capable(request) else []
    bucket = world.source_bucket(request.source.bucket)
    corpus = Corpus(request.source, bucket)
    cut_bytes = request.limits.get("cut_bytes") or defaults.cut_bytes
    if request.source.ranges is not None:
        planned = planning.pack_ranges(_ranges(request.source.ranges, bucket, world), cut_bytes)
    else:
        planned = planning.plan_cuts(corpus, cut_bytes)
    cuts, first_cut = _write_cuts(planned, places, world)
    if corpus.skipped:
        notes.append(
            f"{corpus.skipped} objects are no JSONL by their name and not read, such as {corpus.first_skipped}"
        )

    renderer = Renderer(request.prompt, request.family, request.api) if request.prompt.template is not None else None
    reader = RecordReader(
        id_field=request.source.id_field,
        sequence_field=request.source.sequence_field,
        renderer=renderer,
        max_line_bytes=planning.MAX_LINE_BYTES,
    )
    sample, records = _sample(bucket, first_cut, reader)
    max_tokens = request.prompt.inference.get("maxTokens")
    estimate = planning.estimate(cuts.bytes, sample, max_tokens)
    mode, why = planning.choose_mode(
        request.mode, estimate.records, limits_of, _batch_capable(request), request.model_id
    )
    limits, limit_notes = planning.resolve_limits(request.limits, defaults, limits_of, mode)
    run_settings, concurrency_notes = planning.resolve_settings(
        request.limits,
        defaults,
        limits_of,
        limits,
        cuts.count,
        estimate.input_tokens // estimate.records if estimate.records else 0,
        max_tokens,
        request.family.burndown,
    )
    canary_note = run_canary(
        _canary_bodies(records, limits.canary_records), world.model, request.model.invoke_id, request.api
    )
    notes += [why, *limit_notes, *concurrency_notes, *([canary_note] if canary_note else [])]
    if not cuts.count:
        notes.append("the corpus is empty")
    return RunSpec(
        run=request.run,
        tenant=request.tenant,
        scope=request.scope,
        execution_arn=execution_arn,
        mode=mode,
        priority=request.priority,
        source=request.source,
        model=Model(
            id=request.model_id,
            invoke_id=request.model.invoke_id,
            family=request.family.key,
            api=request.api,
            batch=_batch_capable(request),
            batch_role_arn=settings.tenants[request.tenant].batch_role_arn,
        ),
        prompt=request.prompt,
        quotas=limits_of,
        limits=limits,
        settings=tenants.within(settings, request.tenant, run_settings),
        cuts=cuts,
        estimate=_with_notes(estimate, notes),
        created_at=datetime.fromtimestamp(world.now, UTC).isoformat(timespec="seconds"),
        request_digest=request.digest,
        output_kms_key_arn=settings.output_kms_key_arn,
        job_vpc=settings.job_vpc,
        job_tags=settings.job_tags,
    )


def _with_notes(estimate: Estimate, notes: list[str]) -> Estimate:
    return replace(estimate, notes=notes)


def _batch_capable(request: RunRequest) -> bool:
    return request.family.batch if request.model.batch is None else request.model.batch


def _found_quotas(request: RunRequest, world: StartWorld) -> dict[str, float]:
    """From the cache of the runs table if it is fresh and asked the same, else from Service Quotas."""
    wanted = quotas.wanted(request.family, request.model, geography_of(request.model.invoke_id))
    if not _batch_capable(request):
        wanted = {name: one for name, one in wanted.items() if name == quotas.TOKENS_PER_MINUTE}
    asked = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()
    key = quota_pk(request.model_id)
    cached = world.runs.get(key, QUOTA)
    if cached and cached["asked"] == asked and world.now - cached["readAt"] < quotas.CACHE_SECONDS:
        return dict(cached["found"])
    found = quotas.look_up(wanted, world.quotas) if wanted else {}
    world.runs.put(
        {
            "pk": key,
            "sk": QUOTA,
            "asked": asked,
            "found": found,
            "readAt": int(world.now),
            "expires_at": int(world.now) + quotas.CACHE_SECONDS,
        }
    )
    return found


def _ranges(key: str, bucket: CorpusBucket, world: StartWorld) -> Iterator[planning.Part]:
    """The ranges that redrive_failures has written. A record's offset leaves a byte order mark out, but a line begins
    with it."""
    for raw, _ in split(world.input_bucket.read(key)):
        part = planning.Part.from_json(json.loads(raw))
        if part.start == len(BOM) and b"".join(bucket.read(part.key, end=len(BOM), etag=part.etag)) == BOM:
            part = replace(part, start=0)
        yield part


def _write_cuts(planned: Iterable[Cut], places: Places, world: StartWorld) -> tuple[Cuts, Cut | None]:
    first: Cut | None = None
    count = size = 0
    with world.input_bucket.writer(places.cuts) as file:
        for cut in planned:
            first = first or cut
            count += 1
            size += cut.bytes
            file.write(planning.cut_line(cut))
    return Cuts(places.cuts, count, size), first


def _sample(bucket: CorpusBucket, cut: Cut | None, reader: RecordReader) -> tuple[Sample, list[Record]]:
    """The first lines of the corpus and the records among them. Raises InvalidRequestError if there are many lines and
    no record."""
    lines = size = tokens = 0
    records: list[Record] = []
    refusal: RejectedLineError | None = None
    for part in cut.parts[:_SAMPLE_PARTS] if cut else ():
        part = replace(part, end=min(part.end, part.start + SAMPLE_BYTES))
        for line, found in sample_records(part_lines(bucket, part, planning.MAX_LINE_BYTES, small=True), reader):
            lines += 1
            size += line.length + 1
            if isinstance(found, RejectedLineError):
                refusal = refusal or found
            else:
                records.extend(found)
                tokens += sum(estimate_tokens(record.line.decode()) for record in found)
            if lines >= SAMPLE_LINES or size >= SAMPLE_BYTES:
                break
        if lines >= SAMPLE_LINES or size >= SAMPLE_BYTES:
            break
    if not records and refusal is not None and lines >= HOPELESS_LINES:
        raise InvalidRequestError(
            f"none of the first {lines} lines of the corpus is a record; the first: {refusal.error_class}: "
            f"{refusal.message}"
        )
    return Sample(lines, size, len(records), tokens), records


def _canary_bodies(records: Sequence[Record], wanted: int) -> list[dict[str, Any]]:
    """Spread over the sample, so that one odd beginning does not speak for all."""
    count = min(wanted, len(records))
    return [json.loads(records[len(records) * n // count].line)["modelInput"] for n in range(count)]


def _run_item(spec: RunSpec, now: float) -> dict[str, Any]:
    return {
        "pk": run_pk(spec.run),
        "sk": META,
        "expires_at": expiry(spec, now),
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "executionArn": spec.execution_arn,
        "mode": spec.mode,
        "model": spec.model.id,
        "status": "running",
        "createdAt": spec.created_at,
    }


def _answer(spec: RunSpec, places: Places, world: StartWorld) -> dict[str, Any]:
    return {
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "mode": spec.mode,
        "next": "cut" if spec.cuts.count else "finish",
        "cuts": spec.cuts.to_json(),
        "settings": spec.settings.to_json(),
        "places": {
            "inputBucket": world.input_bucket.name,
            "outputBucket": world.output_bucket_name,
            "mapRunsPrefix": places.map_runs_prefix,
        },
    }
