"""Quotas of one model: an operator's override, else Service Quotas by code, then by exact name, else a stated fallback.

Names and units: https://docs.aws.amazon.com/general/latest/gr/bedrock.html. Comparison is by equality, because
"Records per batch inference job for X" is also the end of "Minimum number of records per batch inference job for X".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bulk_inference.core.model_families import Family
from bulk_inference.core.run_spec import Quota, Quotas
from bulk_inference.core.settings import ModelSettings

OVERRIDE: Final = "override"
SERVICE_QUOTAS: Final = "service-quotas"
DEFAULT: Final = "default"

CACHE_SECONDS: Final = 86_400

_GIGABYTE: Final = 1_000_000_000
_BYTES_MARGIN: Final = 0.9
"""AWS does not say whether its GB is 10^9 or 2^30 bytes, nor what it counts: the smaller, and a tenth off."""

_FALLBACKS: Final[Mapping[str, int]] = {
    "min_records_per_job": 100,
    "max_records_per_job": 100_000,
    "max_records_per_file": 100_000,
    "max_file_bytes": int(1 * _GIGABYTE * _BYTES_MARGIN),
    "max_job_bytes": int(5 * _GIGABYTE * _BYTES_MARGIN),
    "max_jobs_in_flight": 20,
}
"""What AWS publishes as default for every model seen; of jobs in flight the lower, older value of 20 (now 100)."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "min_records_per_job": ("Minimum number of records per batch inference job for {}",),
    "max_records_per_job": ("Records per batch inference job for {}",),
    "max_records_per_file": ("Records per input file per batch inference job for {}",),
    "max_file_bytes": (
        "Batch inference input file size (in GB) for {}",
        "Batch inference input file size for {} (in GB)",
    ),
    "max_job_bytes": ("Batch inference job size (in GB) for {}", "Batch inference job size for {} (in GB)"),
    "max_jobs_in_flight": ("Sum of in-progress and submitted batch inference jobs using a base model for {}",),
}
TOKENS_PER_MINUTE: Final = "tokens_per_minute"


class QuotaSource(Protocol):
    """Service Quotas of service `bedrock` in this account and Region: applied values, else AWS's defaults."""

    def by_code(self, code: str) -> tuple[str, float] | None:
        """Name and value, or None if the code is not (any longer) one."""
        ...

    def by_name(self, names: Collection[str]) -> Mapping[str, float]:
        """Values of those of the names that exist, compared without regard to case; keys are casefolded."""
        ...


@dataclass(frozen=True)
class Wanted:
    """One quota to look up."""

    names: tuple[str, ...]
    code: str | None = None


def wanted(family: Family, model: ModelSettings, geography: str | None) -> dict[str, Wanted]:
    """What to ask Service Quotas for, by field of Quotas. Overridden quotas and those without a name are left out."""
    found: dict[str, Wanted] = {}
    label = model.quota_label or family.batch_label
    same_model = label == family.batch_label
    codes = family.codes
    by_field = {
        "min_records_per_job": codes.min_records,
        "max_records_per_job": codes.records_per_job,
        "max_records_per_file": codes.records_per_file,
        "max_file_bytes": codes.file_gigabytes,
        "max_job_bytes": codes.job_gigabytes,
        "max_jobs_in_flight": codes.jobs,
    }
    for name, patterns in _NAMES.items():
        if label is not None and getattr(model.overrides, name) is None:
            found[name] = Wanted(_spellings(patterns, label), by_field[name] if same_model else None)
    on_demand = model.on_demand_quota_label or family.on_demand_label
    if on_demand is not None and model.tokens_per_minute is None:
        way, code = {
            None: ("On-demand", codes.minute),
            "global": ("Global cross-region", codes.minute_global),
        }.get(geography, ("Cross-region", codes.minute_cross_region))
        names = _spellings((f"{way} model inference tokens per minute for {{}}",), on_demand)
        found[TOKENS_PER_MINUTE] = Wanted(names, code if on_demand == family.on_demand_label else None)
    return found


def look_up(wanted: Mapping[str, Wanted], source: QuotaSource) -> dict[str, float]:
    """Values as Service Quotas gives them, of those that it knows. A code counts only under one of its names: AWS has
    given codes new meanings before."""
    found: dict[str, float] = {}
    for name, one in wanted.items():
        answer = source.by_code(one.code) if one.code is not None else None
        if answer is not None and answer[0].casefold() in {spelling.casefold() for spelling in one.names}:
            found[name] = answer[1]
    missing = {name: one for name, one in wanted.items() if name not in found}
    if missing:
        values = source.by_name({spelling for one in missing.values() for spelling in one.names})
        for name, one in missing.items():
            for spelling in one.names:
                if spelling.casefold() in values:
                    found.setdefault(name, values[spelling.casefold()])
    return found


def resolve(model: ModelSettings, found: Mapping[str, float]) -> Quotas:
    """Overrides first, then what was found (look_up), then the fallbacks; each with where it came from."""

    def quota(name: str) -> Quota:
        override: int | None = getattr(model.overrides, name)
        if override is not None:
            return Quota(override, OVERRIDE)
        if name in found:
            margin = _GIGABYTE * _BYTES_MARGIN if name in ("max_file_bytes", "max_job_bytes") else 1
            return Quota(int(found[name] * margin), SERVICE_QUOTAS)
        return Quota(_FALLBACKS[name], DEFAULT)

    tokens = None
    if model.tokens_per_minute is not None:
        tokens = Quota(model.tokens_per_minute, OVERRIDE)
    elif TOKENS_PER_MINUTE in found:
        tokens = Quota(int(found[TOKENS_PER_MINUTE]), SERVICE_QUOTAS)
    return Quotas(
        min_records_per_job=quota("min_records_per_job"),
        max_records_per_job=quota("max_records_per_job"),
        max_records_per_file=quota("max_records_per_file"),
        max_file_bytes=quota("max_file_bytes"),
        max_job_bytes=quota("max_job_bytes"),
        max_jobs_in_flight=quota("max_jobs_in_flight"),
        tokens_per_minute=tokens,
    )


def fallback_notes(quotas: Quotas, *, batch: bool) -> list[str]:
    """What was not found, and what stands for it. `batch`: whether the batch quotas matter to this model."""
    guessed = [name for name in _NAMES if batch and getattr(quotas, name).source == DEFAULT]
    notes = [f"not found in Service Quotas, so AWS's published default: {', '.join(guessed)}"] if guessed else []
    if quotas.tokens_per_minute is None:
        notes.append(
            "not found in Service Quotas, so unknown: tokens_per_minute; set it in the module's model_settings"
        )
    return notes


def _spellings(patterns: tuple[str, ...], label: str) -> tuple[str, ...]:
    """Some of AWS's names end with a stray full stop."""
    return tuple(pattern.format(label) + end for pattern in patterns for end in ("", "."))
