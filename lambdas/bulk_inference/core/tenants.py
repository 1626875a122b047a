"""What a tenant's runs may use: models, priorities, places to read from, ceilings; and what they get unasked.

The functions' own roles reach every tenant's prefix, so what stands here is what keeps a run inside its own. A tenant's
prefix ends in a slash wherever it is compared: `acme` is no prefix of `acme-2/`. Keys of S3 are plain text: `..` climbs
nowhere there, and is refused because it is a mistake in any case.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from bulk_inference.core.run_spec import RunSettings
from bulk_inference.core.settings import Defaults, Settings, TenantSettings

CEILINGS: Final = ("max_records", "max_tokens", "job_concurrency", "infer_concurrency")
"""Fields of `limits` that a tenant's settings may bound."""


def defaults_of(settings: Settings, tenant: str) -> Defaults:
    """The module's defaults with the tenant's over them."""
    own = settings.tenants.get(tenant, _UNKNOWN).defaults
    given = {field.name: getattr(own, field.name) for field in fields(Defaults) if hasattr(own, field.name)}
    return replace(settings.defaults, **{name: value for name, value in given.items() if value is not None})


def default_priority(settings: Settings, tenant: str) -> str:
    """`normal`, unless the tenant has another default, or may not use it: then the first that it may."""
    own = settings.tenants.get(tenant, _UNKNOWN)
    if own.defaults.priority is not None:
        return own.defaults.priority
    if own.priorities is None or "normal" in own.priorities:
        return "normal"
    return "low" if "low" in own.priorities else own.priorities[0]


def problems(
    settings: Settings, tenant: str, *, model_id: str, priority: str, limits: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(field, rule) for each thing that the tenant may not ask for."""
    own = settings.tenants.get(tenant, _UNKNOWN)
    if own.models is not None and model_id in settings.models and model_id not in own.models:
        yield "model.id", f"tenant {tenant} may use {', '.join(sorted(own.models))}"
    if own.priorities is not None and priority not in own.priorities:
        yield "run.priority", f"tenant {tenant} may use {', '.join(own.priorities)}, not {priority}"
    for name in CEILINGS:
        ceiling, asked = getattr(own, name), limits.get(name)
        if ceiling is not None and asked is not None and asked > ceiling:
            yield f"limits.{name}", f"tenant {tenant} may ask for {ceiling} at most, not {asked}"


def bounded(settings: Settings, tenant: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The request's limits; where it names none of records or tokens, the smaller of the tenant's ceiling and the
    module's default."""
    own = settings.tenants.get(tenant, _UNKNOWN)
    found = {
        "max_records": [own.max_records, settings.defaults.max_records],
        "max_tokens": [own.max_tokens, settings.defaults.max_tokens],
    }
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {**{name: min(values) for name, values in known.items() if values}, **limits}


def within(settings: Settings, tenant: str, resolved: RunSettings) -> RunSettings:
    """What runs at once, not above the tenant's ceilings, whatever it came from."""
    own = settings.tenants.get(tenant, _UNKNOWN)
    return replace(
        resolved,
        job_concurrency=min(resolved.job_concurrency, own.job_concurrency or resolved.job_concurrency),
        infer_concurrency=min(resolved.infer_concurrency, own.infer_concurrency or resolved.infer_concurrency),
    )


def refusal(settings: Settings, tenant: str, input_bucket: str, bucket: str, key: str) -> str | None:
    """Why a run of this tenant may not read an object (or all objects whose keys begin so), or None.

    `key` is text from a request, a record or a message: a key, a prefix, or the part of a glob before its first
    wildcard.
    """
    if ".." in key.split("/"):
        return "must not hold .. as a part of its path"
    if bucket == input_bucket:
        corpus = f"{tenant}/corpus/"
        return None if key.startswith(corpus) else f"must start with {corpus} in the input bucket"
    source = settings.source_buckets.get(bucket)
    if source is None or (source.tenants is not None and tenant not in source.tenants):
        open_to = sorted(
            name for name, one in settings.source_buckets.items() if one.tenants is None or tenant in one.tenants
        )
        return f"tenant {tenant} may not read that bucket: source_buckets opens {', '.join(open_to) or 'none'} to it"
    if not key.startswith(source.folder):
        return f"must start with {source.folder} in bucket {bucket}, as source_buckets has it"
    return None


def planned_refusal(settings: Settings, tenant: str, input_bucket: str, bucket: str, key: str) -> str | None:
    """As refusal, of a key in a plan: there the pipeline also names files of its own, which no request may name. These
    are pools of the intake and prompts of reductions."""
    own = key.startswith(f"{tenant}/intake/") or (key.startswith(f"{tenant}/runs/") and "/reductions/" in key)
    if bucket == input_bucket and own and ".." not in key.split("/"):
        return None
    return refusal(settings, tenant, input_bucket, bucket, key)


_UNKNOWN: Final = TenantSettings(batch_role_arn="")
"""Stands for a tenant that there is not, so that the other problems of its request are found too."""
