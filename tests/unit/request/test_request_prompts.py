"""Sections prompt and output of a request: every mistake by its field and rule, and the way back from a plan."""

from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Output, Prompt
from bulk_inference.core.settings import ModelSettings, Settings, TenantSettings
from bulk_inference.request import parse
from bulk_inference.request.prompt import as_request

CLAUDE, NOVA = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"
TITAN, EMBED, LLAMA = "amazon.titan-embed-text-v2:0", "amazon.nova-2-multimodal-embeddings-v1:0", "meta.llama3-8b-v1:0"
SETTINGS = Settings(
    "n", {one: ModelSettings(one) for one in (CLAUDE, NOVA, TITAN, EMBED, LLAMA)}, {"default": TenantSettings("role")}
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def parsed(model: str, prompt: dict[str, Any], output: dict[str, Any] | None = None, api: str | None = None) -> Any:
    request: dict[str, Any] = {
        "source": {"prefix": "default/corpus/x/"},
        "model": {"id": model, **({"api": api} if api else {})},
        "prompt": prompt,
        **({"output": output} if output is not None else {}),
    }
    return parse.parse("run", request, SETTINGS, "in-bucket")


FULL: dict[str, Any] = {
    "template": "{{q}}",
    "system": "Be brief.",
    "inference": {"maxTokens": 5},
    "examples": [{"user": "1+1", "assistant": "2"}],
    "images": [{"uri_field": "photo", "format": "png"}],
    "documents": [{"uri": "default/corpus/a.pdf", "bucket_owner": "123456789012", "name": "terms"}],
    "cache": ["system", "examples"],
    "additional": {"inferenceConfig": {"topK": 20}},
}


def test_a_whole_prompt_is_understood_and_can_be_asked_for_again() -> None:
    prompt = parsed(NOVA, FULL, api="invoke_model").prompt
    assert as_request(prompt) == FULL
    assert parsed(NOVA, as_request(prompt)).prompt == prompt
    assert as_request(Prompt()) == {}


def test_an_image_alone_is_a_prompt_of_a_model_that_embeds_it() -> None:
    assert parsed(EMBED, {"images": [{"uri_field": "photo"}]}).prompt.images[0].uri_field == "photo"


@pytest.mark.parametrize(
    ("model", "prompt", "said"),
    [
        (CLAUDE, {"template": "{{q}}", "examples": [{"user": "x"}]}, "prompt.examples[0].assistant: missing"),
        (CLAUDE, {"template": "{{q}}", "examples": [{"user": "x", "assistant": " "}]}, "prompt.examples[0].assistant"),
        (CLAUDE, {"template": "{{q}}", "images": [{"uri_field": "p"}]}, "prompt.images: this model reads no image"),
        (LLAMA, {"template": "{{q}}", "documents": [{"uri_field": "p"}]}, "prompt.documents: this model reads no"),
        (NOVA, {"template": "{{q}}", "images": [{}]}, "prompt.images[0]: needs either uri"),
        (NOVA, {"template": "{{q}}", "images": [{"uri": "a", "uri_field": "b"}]}, "prompt.images[0]: needs either"),
        (NOVA, {"template": "{{q}}", "images": [{"uri_field": "p", "name": "x"}]}, "prompt.images[0].name"),
        (NOVA, {"template": "{{q}}", "images": [{"uri": "other/a.png"}]}, "prompt.images[0].uri: must start with"),
        (NOVA, {"template": "{{q}}", "images": [{"uri": "default/corpus/a.bmp"}]}, "prompt.images[0].uri: its name"),
        (NOVA, {"template": "{{q}}", "documents": [{"uri_field": "p", "name": "a.pdf"}]}, "prompt.documents[0].name"),
        (NOVA, {"template": "{{q}}", "documents": [{"uri_field": "p", "format": "png"}]}, "documents[0].format"),
        (NOVA, {"template": "{{q}}", "images": [{"uri_field": "p", "bucket_owner": "me"}]}, "images[0].bucket_owner"),
        (CLAUDE, {"template": "{{q}}", "cache": ["tools"]}, "prompt.cache: must be a list of"),
        (CLAUDE, {"template": "{{q}}", "cache": ["examples"]}, "prompt.cache: names examples, and there are none"),
        (CLAUDE, {"template": "{{q}}", "cache": ["system"]}, "prompt.cache: names system, and there is none"),
        (CLAUDE, {"template": "{{q}}", "system": "{{q}}", "cache": ["system"]}, "differs from record to record"),
        (CLAUDE, {"template": "hello"}, "prompt.template: names no {{field}}"),
        (TITAN, {"template": "{{q}}", "system": "x"}, "prompt.system: an embedding model takes"),
        (TITAN, {"template": "{{q}}", "inference": {"dimensions": 3}}, "prompt.inference.dimensions: must be 256"),
        (EMBED, {"template": "{{q}}", "images": [{"uri_field": "p"}]}, "an embedding is of one thing"),
    ],
)
def test_a_mistake_in_a_prompt_is_named(model: str, prompt: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(model, prompt)
    assert said in str(caught.value)


def test_members_that_the_request_sets_itself_are_not_additional() -> None:
    with pytest.raises(InvalidRequestError, match=r"prompt\.additional\.messages: is set by the other fields"):
        parsed(CLAUDE, {"template": "{{q}}", "additional": {"messages": []}}, api="invoke_model")


@pytest.mark.parametrize(
    ("model", "output", "said"),
    [
        (CLAUDE, {"schema": {"type": "objekt"}}, "output.schema.type: must be one of"),
        (
            CLAUDE,
            {"schema": {"properties": {"a": {"items": 1}}}},
            "output.schema.properties.a.items: must be an object",
        ),
        (CLAUDE, {"schema": []}, "output.schema: must be an object"),
        (
            CLAUDE,
            {"schema": {"type": "array"}, "ask": "native"},
            "output.ask: this schema cannot be asked for natively",
        ),
        (NOVA, {"schema": SCHEMA, "ask": "native"}, "output.ask: this model takes no schema natively"),
        (NOVA, {"ask": "prompt"}, "output.ask: says how to ask for output.schema"),
        (TITAN, {"schema": SCHEMA}, "output.schema: an embedding is no answer"),
    ],
)
def test_a_mistake_in_an_output_is_named(model: str, output: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(model, {"template": "{{q}}"}, output)
    assert said in str(caught.value)


@pytest.mark.parametrize(("model", "ask"), [(CLAUDE, "native"), (NOVA, "auto"), (NOVA, "prompt"), (LLAMA, "native")])
def test_a_schema_is_taken(model: str, ask: str) -> None:
    found = parsed(model, {"template": "{{q}}"}, {"schema": SCHEMA, "ask": ask}).output
    assert (found.schema, found.ask) == (SCHEMA, ask)
    assert parsed(model, {"template": "{{q}}"}).output == Output()
