"""Decisions about a run before it starts: the cut plan, the mode, its limits inside the quotas."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Protocol, TypeVar

from bulk_inference.errors import InvalidRequestError
from bulk_inference.spec import Defaults, Document, Estimate, Limits, Quotas, RunSettings

_T = TypeVar("_T")

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""One corpus line, and one shard line. Converse and InvokeModel take bodies of up to 20 to 25 MB."""

MAX_CUTS: Final = 99_999
_MAX_CUT_JSON: Final = 100_000
"""Characters of one cut's line: it becomes part of a state input, which holds 256 KiB."""
_MAX_PARTS: Final = 500

BATCH_WORTH: Final = 10
"""Mode auto takes batch from this many minimum jobs on: below, a job's queueing costs more than it saves."""

BYTES_PER_BATCH: Final = 100_000
"""Of the 262,144 bytes of a child's input; BatchInput and the envelope need room too."""

STATE_MACHINE_SECONDS: Final = 1_209_600
"""Fourteen days: TimeoutSeconds of the state machines, and how long a redrive stays possible."""
_JOB_MARGIN_SECONDS: Final = 3_600
"""Between a job's own timeout and its task's: room for the event, and for the reconciliation that replaces it."""

_READABLE: Final = frozenset({".jsonl", ".ndjson", ".json"})
_COMPRESSED: Final = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip", ".lz4", ".snappy"})


class ObjectInfo(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...


@dataclass(frozen=True)
class Part(Document):
    """Bytes [start, end) of one corpus object, as it was when the run was planned."""

    key: str
    start: int
    end: int
    size: int
    """Bytes of the whole object."""
    etag: str


@dataclass(frozen=True)
class Cut(Document):
    """What one invocation of cut_shards reads."""

    cut: str
    """Five digits."""
    parts: list[Part]

    @property
    def bytes(self) -> int:
        return sum(part.end - part.start for part in self.parts)


def is_corpus_object(key: str) -> bool:
    """Whether an object below a prefix is read: JSONL by its name, no marker (`_SUCCESS`), no hidden file."""
    path = PurePosixPath(key)
    return path.suffix.lower() in _READABLE and not path.name.startswith(("_", "."))


def refuse_compressed(key: str) -> None:
    """Raises InvalidRequestError for an object that cannot be cut in byte ranges."""
    if PurePosixPath(key).suffix.lower() in _COMPRESSED:
        raise InvalidRequestError(
            f"source.key: {key} is compressed, and a compressed object cannot be read in ranges: upload plain JSONL"
        )


def plan_cuts(objects: Iterable[ObjectInfo], cut_bytes: int) -> Iterator[Cut]:
    """Objects to cuts of about `cut_bytes`: large objects in even ranges, small ones together; empty ones left out.

    Raises InvalidRequestError when there would be more cuts than names for them.
    """
    number = 0
    gathered: list[Part] = []

    def named(parts: list[Part]) -> Cut:
        nonlocal number
        number += 1
        return _numbered(number, parts, cut_bytes)

    for found in objects:
        if found.size == 0:
            continue
        if found.size > cut_bytes:
            if gathered:
                yield named(gathered)
                gathered = []
            for part in _ranges(found, cut_bytes):
                yield named([part])
            continue
        part = Part(found.key, 0, found.size, found.size, found.etag)
        if gathered and not _fits([*gathered, part], cut_bytes):
            yield named(gathered)
            gathered = []
        gathered.append(part)
    if gathered:
        yield named(gathered)


def pack_ranges(parts: Iterable[Part], cut_bytes: int) -> Iterator[Cut]:
    """Ranges that are given, such as single lines, to cuts; in their order. Raises InvalidRequestError as above."""
    number = 0
    gathered: list[Part] = []
    for part in parts:
        if gathered and not _fits([*gathered, part], cut_bytes):
            number += 1
            yield _numbered(number, gathered, cut_bytes)
            gathered = []
        gathered.append(part)
    if gathered:
        yield _numbered(number + 1, gathered, cut_bytes)


def _numbered(number: int, parts: list[Part], cut_bytes: int) -> Cut:
    if number > MAX_CUTS:
        raise InvalidRequestError(
            f"limits.cut_bytes: {cut_bytes} bytes make more than {MAX_CUTS} cuts of this corpus: raise it"
        )
    return Cut(f"{number:05d}", parts)


def _ranges(found: ObjectInfo, cut_bytes: int) -> Iterator[Part]:
    count = -(-found.size // cut_bytes)
    for n in range(count):
        yield Part(found.key, found.size * n // count, found.size * (n + 1) // count, found.size, found.etag)


def _fits(parts: list[Part], cut_bytes: int) -> bool:
    return (
        len(parts) <= _MAX_PARTS
        and sum(part.end - part.start for part in parts) <= cut_bytes
        and sum(len(part.key.encode()) * 2 + 120 for part in parts) <= _MAX_CUT_JSON
    )


def cut_line(cut: Cut) -> bytes:
    return json.dumps(cut.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


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
                f"mode batch as requested; about {records} records are fewer than the {minimum} of the smallest job, "
                "so that they go on demand"
            )
        return "batch", "mode batch as requested"
    if wanted == "sync":
        return "sync", "mode sync as requested"
    if not batch_capable:
        return "sync", f"mode sync: {model} is not known to take batch jobs"
    if records < BATCH_WORTH * minimum:
        return "sync", f"mode sync: about {records} records, fewer than {BATCH_WORTH} jobs of the minimum {minimum}"
    return "batch", f"mode batch: about {records} records, at least {BATCH_WORTH} jobs of the minimum {minimum}"


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
