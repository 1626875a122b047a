"""Decisions about a run before it starts: the mode, its limits inside the quotas."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.rejections import Rejection, RowCount
from bulk_inference.core.run_spec import Estimate, Limits, Quotas, RunSettings
from bulk_inference.core.settings import Defaults

_T = TypeVar("_T")

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""One corpus line, and one shard line. Converse and InvokeModel take bodies of up to 20 to 25 MB."""

BATCH_WORTH: Final = 10
"""Mode auto takes batch from this many minimum jobs on: below, a job's queueing costs more than it saves."""

BYTES_PER_BATCH: Final = 100_000
"""Of the 262,144 bytes of a child's input; BatchInput and the envelope need room too."""

STATE_MACHINE_SECONDS: Final = 1_209_600
"""Fourteen days: TimeoutSeconds of the state machines, and how long a redrive stays possible."""
_JOB_MARGIN_SECONDS: Final = 3_600
"""Between a job's own timeout and its task's: room for the event, and for the reconciliation that replaces it."""


@dataclass(frozen=True)
class Sample:
    """What the first lines of the corpus turned out to be."""

    lines: int
    """Lines that are not blank."""
    bytes: int
    """Of those lines, ends included."""
    records: int
    input_tokens: int
    """Of those records together."""
    shard_bytes: int = 0
    """Of those records as they are sent, ends of lines included."""
    read: RowCount = field(default_factory=RowCount)
    """Those lines, as cutting counts them."""
    rejections: Sequence[Rejection] = ()
    """Of those lines, by error class."""
    refusal: str = ""
    """The first one, in words."""
    broken_off: bool = False
    """Whether a probe was left before its end."""
    empty: Mapping[str, int] = field(default_factory=dict)
    """Records by a field that the prompt names and that put nothing into it."""
    names: Collection[str] = ()
    """Of the rows' fields, where the prompt has braces that may be placeholders."""


def estimate(corpus_bytes: int, sample: Sample, max_tokens: int | None) -> Estimate:
    """Scales the sample up to the corpus. Rejected lines count as lines, not as tokens. Says nothing of answers."""
    if not sample.lines or not corpus_bytes:
        return Estimate()
    lines = max(round(corpus_bytes * sample.lines / sample.bytes), sample.lines)
    records = round(lines * sample.records / sample.lines)
    mean_tokens = sample.input_tokens / sample.records if sample.records else 0
    return Estimate(
        records=records,
        input_tokens=round(records * mean_tokens),
        max_output_tokens=records * (max_tokens or 0),
        sampled_records=sample.records,
        shard_bytes=round(records * sample.shard_bytes / sample.records) if sample.records else 0,
    )


def choose_mode(wanted: str, records: int, quotas: Quotas, batch_capable: bool, model: str) -> tuple[str, str]:
    """Mode (`batch` or `sync`) and the reason. Raises InvalidRequestError for batch of a model that has none."""
    minimum = quotas.min_records_per_job.value
    if wanted == "batch":
        if not batch_capable:
            raise InvalidRequestError(
                f"run.mode: {model} is not known to take batch jobs: use sync or auto, or set batch = true for it in "
                "the module's models if AWS lists it as supported"
            )
        if records < minimum:
            return "batch", (
                f"as requested; about {records} records are fewer than the {minimum} of the smallest job, "
                "so that they go on demand"
            )
        return "batch", "as requested"
    if wanted == "sync":
        return "sync", "as requested"
    if not batch_capable:
        return "sync", f"{model} is not known to take batch jobs"
    if records < BATCH_WORTH * minimum:
        return "sync", f"about {records} records, fewer than {BATCH_WORTH} jobs of the minimum {minimum}"
    return "batch", f"about {records} records, at least {BATCH_WORTH} jobs of the minimum {minimum}"


def resolve_limits(request: dict[str, Any], defaults: Defaults, quotas: Quotas, mode: str) -> tuple[Limits, list[str]]:
    """The run's limits inside the model's quotas, and a note for each wish that a quota cut short.

    Raises InvalidRequestError where a shard could never reach the smallest job.
    """
    notes: list[str] = []

    def within(name: str, wanted: int | None, ceiling: int, of: str) -> int:
        if wanted is None or wanted <= ceiling:
            return ceiling if wanted is None else wanted
        notes.append(f"limits.{name}: {wanted} lowered to {ceiling}, the {of}")
        return ceiling

    records_ceiling = min(quotas.max_records_per_job.value, quotas.max_records_per_file.value)
    bytes_ceiling = min(quotas.max_file_bytes.value, quotas.max_job_bytes.value)

    def wanted(name: str) -> Any:
        return _either(request.get(name), getattr(defaults, name))

    max_records = within(
        "max_records_per_shard", wanted("max_records_per_shard"), records_ceiling, "model's records per job"
    )
    max_bytes = within("max_bytes_per_shard", wanted("max_bytes_per_shard"), bytes_ceiling, "model's bytes per file")
    minimum = quotas.min_records_per_job.value
    if mode == "batch" and max_records < minimum:
        raise InvalidRequestError(
            f"limits.max_records_per_shard: {max_records} is below the {minimum} records of this model's smallest job"
        )
    limits = Limits(
        min_records_per_shard=minimum,
        max_records_per_shard=max_records,
        max_bytes_per_shard=max_bytes,
        max_line_bytes=min(MAX_LINE_BYTES, max_bytes - 1),
        cut_bytes=wanted("cut_bytes"),
        canary_records=wanted("canary_records"),
        max_attempts=wanted("max_attempts"),
        job_timeout_hours=wanted("job_timeout_hours"),
        claim_ttl_days=defaults.claim_ttl_days,
        max_records=wanted("max_records"),
        max_tokens=wanted("max_tokens"),
        tolerated_rejected_percentage=wanted("tolerated_rejected_percentage"),
    )
    return limits, notes


def resolve_settings(
    request: dict[str, Any], defaults: Defaults, limits: Limits, *, cutters: int, jobs: int, workers: int
) -> RunSettings:
    """The numbers that the state machines read; how many at once was decided before (concurrency.py)."""
    return RunSettings(
        cut_concurrency=cutters,
        job_concurrency=jobs,
        infer_concurrency=workers,
        items_per_batch=items_per_batch(request, defaults),
        bytes_per_batch=BYTES_PER_BATCH,
        tolerated_failure_percentage=_either(
            request.get("tolerated_failure_percentage"), defaults.tolerated_failure_percentage
        ),
        job_timeout_seconds=limits.job_timeout_hours * 3600 + _JOB_MARGIN_SECONDS,
        inference_timeout_seconds=STATE_MACHINE_SECONDS,
    )


def items_per_batch(request: dict[str, Any], defaults: Defaults) -> int:
    return int(_either(request.get("items_per_batch"), defaults.items_per_batch))


def _either(first: _T | None, second: _T) -> _T:
    return second if first is None else first
