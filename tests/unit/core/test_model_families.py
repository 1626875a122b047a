"""Which family a model belongs to, by its id, its profile's id or one of their ARNs."""

import pytest

from bulk_inference.core.model_families import (
    FAMILIES,
    GEOGRAPHIES,
    UNKNOWN,
    family_named,
    family_of,
    geography_of,
    model_id_of,
)

REGION = "arn:aws:bedrock:us-east-1:123456789012:"
ROWS = {
    "anthropic.claude-haiku-4-5-20251001-v1:0": "claude-haiku-4-5",
    "anthropic.claude-sonnet-4-5-20250929-v1:0": "claude-sonnet-4-5",
    "anthropic.claude-sonnet-4-6": "claude-sonnet-4-6",
    "anthropic.claude-opus-4-5-20251101-v1:0": "claude-opus-4-5",
    "anthropic.claude-opus-4-6-v1": "claude-opus-4-6",
    "anthropic.claude-opus-5": "claude-opus-5",
    "anthropic.claude-sonnet-4-20250514-v1:0": "claude-sonnet-4",
    "anthropic.claude-3-7-sonnet-20250219-v1:0": "claude-3-7-sonnet",
    "anthropic.claude-3-5-haiku-20241022-v1:0": "claude-3-5-haiku",
    "anthropic.claude-3-5-sonnet-20240620-v1:0": "claude-3-5-sonnet",
    "anthropic.claude-3-5-sonnet-20241022-v2:0": "claude-3-5-sonnet-v2",
    "anthropic.claude-3-haiku-20240307-v1:0": "claude-3-haiku",
    "anthropic.claude-opus-4-7-v1": "claude",
    "amazon.nova-2-lite-v1:0": "nova-2-lite",
    "amazon.nova-micro-v1:0": "nova-micro",
    "amazon.nova-lite-v1:0": "nova-lite",
    "amazon.nova-pro-v1:0": "nova-pro",
    "amazon.nova-premier-v1:0": "nova-premier",
    "amazon.nova-2-multimodal-embeddings-v1:0": "nova-2-multimodal-embeddings",
    "amazon.titan-embed-text-v2:0": "titan-embed-text-v2",
    "amazon.titan-embed-image-v1": "titan-embed-image",
    "openai.gpt-oss-120b-1:0": "gpt-oss-120b",
    "openai.gpt-oss-20b-1:0": "gpt-oss-20b",
    "meta.llama3-3-70b-instruct-v1:0": "llama",
    "mistral.mistral-large-2407-v1:0": "mistral",
    "deepseek.r1-v1:0": "deepseek",
    "qwen.qwen3-32b-v1:0": "qwen3",
    "google.gemma-3-27b-it": "gemma-3",
    "minimax.minimax-m2": "minimax",
    "moonshot.kimi-k2-thinking": "kimi-k2",
    "nvidia.nemotron-nano-12b-v2": "nemotron",
    "zai.glm-4.6": "glm",
    "acme.model": "unknown",
}


@pytest.mark.parametrize(("model_id", "family"), ROWS.items())
def test_a_model_belongs_to_its_family_wherever_it_is_called(model_id: str, family: str) -> None:
    assert family_of(model_id).key == family
    assert family_of(f"us.{model_id}").key == family
    assert family_of(f"arn:aws:bedrock:us-east-1::foundation-model/{model_id}").key == family
    assert family_of(f"{REGION}inference-profile/global.{model_id}").key == family


def test_every_family_has_a_row_and_a_key_of_its_own() -> None:
    keys = [family.key for family in FAMILIES]
    assert sorted(keys) == sorted(set(keys))
    assert {*ROWS.values()} == {*keys, UNKNOWN.key}


def test_a_resolved_run_finds_its_family_by_key() -> None:
    assert all(family_named(family.key) is family for family in FAMILIES)
    assert family_named("of another bundle") is UNKNOWN


def test_an_application_profile_belongs_to_the_family_of_its_quota_label() -> None:
    profile = f"{REGION}application-inference-profile/abc"
    assert family_of(profile) is UNKNOWN
    assert family_of(profile, "Claude Haiku 4.5") is family_named("claude-haiku-4-5")


def test_a_profile_says_its_geography() -> None:
    assert geography_of(f"{REGION}inference-profile/global.x.y") == "global"
    assert [geography_of(f"{one}.anthropic.claude") for one in GEOGRAPHIES] == list(GEOGRAPHIES)
    assert geography_of("anthropic.claude-3-haiku-20240307-v1:0") is None
    assert model_id_of("us-gov.anthropic.claude-3-haiku-20240307-v1:0") == "anthropic.claude-3-haiku-20240307-v1:0"


def test_claude_models_that_no_row_knows_make_no_batch_jobs() -> None:
    assert not family_of("anthropic.claude-opus-4-7-v1").batch
