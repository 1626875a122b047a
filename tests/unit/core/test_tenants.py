"""A run stays inside its tenant: what it may read, use and ask for."""

from typing import Any

import pytest

from bulk_inference.core import tenants
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import RunSettings
from bulk_inference.core.settings import Defaults, ModelSettings, Settings, SourceBucket, TenantDefaults, TenantSettings
from bulk_inference.request.parse import RunRequest
from bulk_inference.request.parse import parse as parse_request

NOVA, CLAUDE = "amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0"

SETTINGS = Settings(
    name="tickets",
    models={NOVA: ModelSettings(NOVA), CLAUDE: ModelSettings(CLAUDE)},
    tenants={
        "acme": TenantSettings(
            "arn:acme",
            models=[NOVA],
            priorities=["low", "high"],
            max_records=1000,
            job_concurrency=2,
            infer_concurrency=5,
            defaults=TenantDefaults(mode="sync", canary_records=0, job_concurrency=9),
        ),
        "acme-2": TenantSettings("arn:acme-2"),
    },
    defaults=Defaults(max_records=5000, max_tokens=70),
    source_buckets={
        "shared": SourceBucket(),
        "private": SourceBucket(prefix="mail/", tenants=["acme"]),
    },
)


def parse(tenant: str, **sections: dict[str, Any]) -> RunRequest:
    request: dict[str, Any] = {
        "run": {"tenant": tenant},
        "source": {"prefix": f"{tenant}/corpus/"},
        "model": {"id": NOVA},
        "prompt": {"template": "{{text}}"},
    }
    for name, section in sections.items():
        request[name] = {**request.get(name, {}), **section}
    return parse_request("run-1", request, SETTINGS, "in-bucket")


def refused(tenant: str, **sections: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse(tenant, **sections)
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "acme-2/corpus/",
        "acme",
        "acm",
        "",
        "/acme/corpus/",
        "acme-2/../acme/corpus/",
        "acme/../acme-2/corpus/",
        "acme/corpus/..",
        "config/settings.json",
        "acme/runs/run-0/plan/run.json",
        "acme/ru",
        "acme/",
        "acme/inbox/x.jsonl",
        "acme/intake/pool/corpus.jsonl",
        "acme/prompts/",
        "ACME/corpus/",
        "acme\u2215corpus/",
    ],
)
def test_a_key_of_another_place_is_refused(key: str) -> None:
    assert tenants.refusal(SETTINGS, "acme", "in-bucket", "in-bucket", key)
    if key:
        assert "source.prefix" in refused("acme", source={"prefix": key})


@pytest.mark.parametrize("key", ["acme/corpus/", "acme/corpus/a..b.jsonl", "acme/corpus/runs/x.jsonl"])
def test_a_key_of_its_own_is_read(key: str) -> None:
    assert tenants.refusal(SETTINGS, "acme", "in-bucket", "in-bucket", key) is None


def test_the_output_bucket_is_no_source() -> None:
    """It holds every tenant's results, and is none of source_buckets."""
    assert "may not read that bucket" in refused("acme", source={"bucket": "out-bucket", "prefix": "acme-2/runs/"})


def test_a_source_bucket_is_read_by_its_tenants_below_its_prefix() -> None:
    assert parse("acme", source={"bucket": "private", "prefix": "mail/2026/"}).source.bucket == "private"
    assert "must start with mail/" in refused("acme", source={"bucket": "private", "prefix": "hr/"})
    assert "may not read that bucket" in refused("acme-2", source={"bucket": "private", "prefix": "mail/"})
    assert parse("acme-2", source={"bucket": "shared", "prefix": "any/"}).source.bucket == "shared"


def test_failures_of_another_tenant_are_out_of_reach() -> None:
    """A resubmission reads a list that lies in the tenant's own run folder."""
    request = {
        "run": {"tenant": "acme"},
        "source": {"ranges": "acme-2/runs/run-1/plan/ranges.jsonl", "failures_of": "run-0"},
        "model": {"id": NOVA},
    }
    with pytest.raises(InvalidRequestError, match=r"source\.ranges: must be acme/runs/run-1/plan/ranges\.jsonl"):
        parse_request("run-1", request, SETTINGS, "in-bucket")


def test_models_and_priorities_are_the_tenants() -> None:
    message = refused("acme", model={"id": CLAUDE}, run={"priority": "normal"})
    assert f"model.id: tenant acme may use {NOVA}" in message
    assert "run.priority: tenant acme may use low, high, not normal" in message
    assert parse("acme-2", model={"id": CLAUDE}).model_id == CLAUDE


def test_more_than_a_ceiling_is_refused_and_the_ceiling_holds_unasked() -> None:
    assert "limits.max_records: tenant acme may ask for 1000 at most, not 1001" in refused(
        "acme", limits={"max_records": 1001}
    )
    assert parse("acme", limits={"max_records": 1000}).limits["max_records"] == 1000
    assert parse("acme").limits == {"max_records": 1000, "max_tokens": 70}
    assert parse("acme-2").limits == {"max_records": 5000, "max_tokens": 70}


def test_defaults_are_the_tenants_over_the_modules() -> None:
    defaults = tenants.defaults_of(SETTINGS, "acme")
    assert (defaults.mode, defaults.canary_records, defaults.job_concurrency) == ("sync", 0, 9)
    assert defaults.max_attempts == SETTINGS.defaults.max_attempts
    assert tenants.defaults_of(SETTINGS, "acme-2") == SETTINGS.defaults
    assert parse("acme").mode == "sync"
    assert parse("acme").priority == "low"
    assert parse("acme-2").priority == "normal"


def test_no_more_at_once_than_the_tenant_may() -> None:
    resolved = RunSettings(1, 20, 3, 100, 1000, 10, 60, 60)
    assert tenants.within(SETTINGS, "acme", resolved).job_concurrency == 2
    assert tenants.within(SETTINGS, "acme", resolved).infer_concurrency == 3
    assert tenants.within(SETTINGS, "acme-2", resolved) == resolved


def test_an_unknown_tenant_is_named_among_the_other_problems() -> None:
    message = refused("globex", model={"id": "nothing"})
    assert "'globex' is no tenant" in message
    assert "model.id" in message
