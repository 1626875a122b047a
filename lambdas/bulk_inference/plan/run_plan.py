"""The plan of a run as every other function reads it: built here, from a request and from what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bulk_inference.core.json_document import Json
from bulk_inference.core.run_spec import Cuts, Estimate, Limits, Model, Quotas, RunSettings, RunSpec, Source
from bulk_inference.core.settings import Settings
from bulk_inference.request.parse import RunRequest


@dataclass(frozen=True)
class Decisions:
    """What a request leaves open, resolved."""

    execution_arn: str
    mode: str
    model: Model
    source: Source
    quotas: Quotas
    limits: Limits
    settings: RunSettings
    cuts: Cuts
    estimate: Estimate
    created_at: str
    asked: str = ""
    """How the schema is asked for (asking.py)."""
    report: Mapping[str, Json] = field(default_factory=dict)


def planned_at(now: float) -> str:
    """ISO 8601, UTC, of epoch seconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")


def model_of(request: RunRequest, *, batch: bool) -> Model:
    """`batch`: whether the run may make batch jobs of the model."""
    return Model(
        id=request.model_id,
        invoke_id=request.model.invoke_id,
        family=request.family.key,
        api=request.api,
        batch=batch,
    )


def run_spec(request: RunRequest, settings: Settings, decided: Decisions) -> RunSpec:
    """Everything that the functions of the run need to know about it."""
    return RunSpec(
        run=request.run,
        tenant=request.tenant,
        scope=request.scope,
        execution_arn=decided.execution_arn,
        mode=decided.mode,
        priority=request.priority,
        source=decided.source,
        model=decided.model,
        prompt=request.prompt,
        output=replace(request.output, asked=decided.asked),
        chunking=request.chunking,
        quotas=decided.quotas,
        limits=decided.limits,
        settings=decided.settings,
        cuts=decided.cuts,
        estimate=decided.estimate,
        created_at=decided.created_at,
        request_digest=request.digest,
        output_kms_key_arn=settings.output_kms_key_arn,
        job_vpc=settings.job_vpc,
        job_tags=settings.job_tags,
        prices=request.prices,
        report=dict(decided.report),
    )
