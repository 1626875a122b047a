"""Templates and request bodies."""

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.model_families import family_named
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import Example, Media, Output, Prompt
from bulk_inference.core.settings import Settings, SourceBucket
from bulk_inference.render.media import IllegalMediaError, MediaPlaces
from bulk_inference.render.rendering import INSTRUCTION, EmptyPromptError, MissingFieldError, Renderer, Template

CLAUDE, NOVA, TITAN = "claude-haiku-4-5", "nova-lite", "titan-embed-text-v2"
EMBED = "nova-2-multimodal-embeddings"
OPEN = {"archive": SourceBucket(prefix="scans/"), "theirs": SourceBucket(tenants=["x"])}
PLACES = MediaPlaces("in-bucket", Reach(Settings("tickets", {}, {}, source_buckets=OPEN), "acme", "in-bucket"))


def body(
    prompt: Prompt,
    record: dict[str, Any],
    *,
    family: str = CLAUDE,
    api: str = "converse",
    output: Output | None = None,
) -> Any:
    return json.loads(Renderer(prompt, family_named(family), api, output=output, places=PLACES).render(record))


class TestTemplate:
    @pytest.mark.parametrize(
        ("text", "rendered"),
        [
            ("{{a}}", "1"),
            ("{{ a }}-{{b}}", '1-x"y'),
            ("{a} } {{ { {{a}}}", "{a} } {{ { 1}"),
            ('{"format": {"a": "{{a}}"}}', '{"format": {"a": "1"}}'),
            (r"\{{a}} {{a}}", "{{a}} 1"),
            ("{{none}}|", "|"),
            ("{{list}}", '[1,"é"]'),
            ("{{flag}} {{half}}", "true 0.5"),
            ("{{deep.er.x}} {{dotted.name}}", "7 8"),
        ],
    )
    def test_renders(self, text: str, rendered: str) -> None:
        fields = {
            "a": 1,
            "b": 'x"y',
            "none": None,
            "list": [1, "é"],
            "flag": True,
            "half": 0.5,
            "deep": {"er": {"x": 7}},
            "dotted.name": 8,
        }
        assert Template(text).render(fields) == rendered

    @pytest.mark.parametrize("text", ["{{gone}}", "{{a.gone}}", "{{a.b.c}}"])
    def test_names_the_missing_field(self, text: str) -> None:
        with pytest.raises(MissingFieldError) as caught:
            Template(text).render({"a": {"b": "text"}})
        assert caught.value.field == text.strip("{}")

    @given(st.text())
    def test_a_value_is_never_read_as_a_template(self, value: str) -> None:
        assert Template("<{{a}}>").render({"a": value + "{{b}}"}) == f"<{value}{{{{b}}}}>"


class TestBodies:
    prompt: ClassVar = Prompt(
        "Q: {{q}}", "Be {{tone}}.", {"maxTokens": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["\n"]}
    )
    record: ClassVar = {"q": 'a "b" \\ \n', "tone": "kind"}

    def test_converse(self) -> None:
        assert body(self.prompt, self.record) == {
            "messages": [{"role": "user", "content": [{"text": 'Q: a "b" \\ \n'}]}],
            "system": [{"text": "Be kind."}],
            "inferenceConfig": {"maxTokens": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["\n"]},
        }

    def test_converse_of_the_bare_minimum(self) -> None:
        assert body(Prompt("{{q}}"), {"q": "x"}) == {"messages": [{"role": "user", "content": [{"text": "x"}]}]}

    def test_claude(self) -> None:
        assert body(self.prompt, self.record, api="invoke_model") == {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "system": "Be kind.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": 'Q: a "b" \\ \n'}]}],
            "temperature": 0,
            "top_p": 0.5,
            "stop_sequences": ["\n"],
        }

    def test_claude_always_states_max_tokens(self) -> None:
        assert body(Prompt("{{q}}"), {"q": "x"}, api="invoke_model")["max_tokens"] > 0

    def test_nova(self) -> None:
        found = body(self.prompt, self.record, family=NOVA, api="invoke_model")
        assert found == {"schemaVersion": "messages-v1", **body(self.prompt, self.record)}

    def test_titan_embeddings(self) -> None:
        prompt = Prompt("{{q}}", None, {"dimensions": 256, "normalize": True})
        assert body(prompt, {"q": "x"}, family=TITAN, api="invoke_model") == {
            "inputText": "x",
            "dimensions": 256,
            "normalize": True,
        }

    def test_unknown_native_body_is_refused(self) -> None:
        with pytest.raises(ValueError, match="llama"):
            Renderer(Prompt("{{q}}"), family_named("llama"), "invoke_model")

    @pytest.mark.parametrize("prompt", [Prompt("{{q}}"), Prompt("x{{t}}", "{{q}}")])
    def test_blank_text_is_refused(self, prompt: Prompt) -> None:
        with pytest.raises(EmptyPromptError):
            body(prompt, {"q": "\u2003\n", "t": "x"})

    @given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
    def test_any_text_arrives_as_it_is(self, user: str, system: str) -> None:
        found = body(Prompt("{{u}}", "{{s}}"), {"u": user, "s": system})
        assert found["messages"][0]["content"][0]["text"] == user
        assert found["system"][0]["text"] == system


class TestExamples:
    prompt: ClassVar = Prompt("{{q}}", examples=[Example("ask {{q}} \ue0000\ue000", "say {")])

    def test_converse_and_nova(self) -> None:
        shown = [
            {"role": "user", "content": [{"text": "ask {{q}} \ue0000\ue000"}]},
            {"role": "assistant", "content": [{"text": "say {"}]},
            {"role": "user", "content": [{"text": "x"}]},
        ]
        assert body(self.prompt, {"q": "x"})["messages"] == shown
        assert body(self.prompt, {"q": "x"}, family=NOVA, api="invoke_model")["messages"] == shown

    def test_claude(self) -> None:
        messages = body(self.prompt, {"q": "x"}, api="invoke_model")["messages"]
        assert [one["content"][0]["type"] for one in messages] == ["text"] * 3
        assert messages[1]["content"][0]["text"] == "say {"

    @given(st.text(), st.text())
    def test_no_text_of_an_example_is_taken_for_a_field(self, user: str, answer: str) -> None:
        made = body(Prompt("{{q}}", examples=[Example(user, answer)]), {"q": "x"})
        assert [one["content"][0]["text"] for one in made["messages"]] == [user, answer, "x"]


class TestAdditional:
    def test_converse_has_a_member_for_it(self) -> None:
        prompt = Prompt("{{q}}", additional={"top_k": 5})
        assert body(prompt, {"q": "x"})["additionalModelRequestFields"] == {"top_k": 5}

    def test_native_bodies_hold_it_themselves(self) -> None:
        claude = body(Prompt("{{q}}", additional={"top_k": 5}), {"q": "x"}, api="invoke_model")
        assert claude["top_k"] == 5
        nova = Prompt("{{q}}", None, {"maxTokens": 9}, additional={"inferenceConfig": {"topK": 20}})
        found = body(nova, {"q": "x"}, family=NOVA, api="invoke_model")
        assert found["inferenceConfig"] == {"maxTokens": 9, "topK": 20}


class TestMedia:
    def test_an_image_and_documents_stand_before_the_text(self) -> None:
        prompt = Prompt(
            "{{q}}",
            images=[Media(uri_field="photo")],
            documents=[Media(uri="s3://archive/scans/a.pdf", bucket_owner="123456789012"), Media(uri_field="more")],
        )
        record = {"q": "x", "photo": "acme/corpus/p/1.JPG", "more": ["acme/corpus/b.md", "s3://archive/scans/c.htm"]}
        assert body(prompt, record, family=NOVA)["messages"][0]["content"] == [
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://in-bucket/acme/corpus/p/1.JPG"}}}},
            {
                "document": {
                    "format": "pdf",
                    "source": {"s3Location": {"uri": "s3://archive/scans/a.pdf", "bucketOwner": "123456789012"}},
                    "name": "document 1",
                }
            },
            {
                "document": {
                    "format": "md",
                    "source": {"s3Location": {"uri": "s3://in-bucket/acme/corpus/b.md"}},
                    "name": "document 2",
                }
            },
            {
                "document": {
                    "format": "html",
                    "source": {"s3Location": {"uri": "s3://archive/scans/c.htm"}},
                    "name": "document 201",
                }
            },
            {"text": "x"},
        ]

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (7, "the place of an object"),
            ([], "a list of 1 to 20"),
            ("https://example.com/a.png", "must start with acme/corpus/"),
            ("s3://B/a.png", "must be an S3 URI of at most"),
            ("acme/corpus/a.tiff", "its name must end in"),
            ("acme/corpus/a", "its name must end in"),
            ("other/corpus/a.png", "must start with acme/corpus/"),
            ("acme/corpus/../../other/a.png", "must not hold .."),
            ("acme/runs/r/results/a.png", "must start with acme/corpus/"),
            ("s3://archive/secret/a.png", "must start with scans/"),
            ("s3://theirs/a.png", "may not read that bucket"),
            ("s3://unknown/a.png", "may not read that bucket"),
        ],
    )
    def test_what_may_not_be_named_is_told_with_its_field(self, value: Any, said: str) -> None:
        with pytest.raises(IllegalMediaError, match="field 'photo'") as caught:
            body(Prompt("{{q}}", images=[Media(uri_field="photo")]), {"q": "x", "photo": value}, family=NOVA)
        assert said in str(caught.value)

    def test_a_missing_place_is_a_missing_field(self) -> None:
        with pytest.raises(MissingFieldError):
            body(Prompt("{{q}}", images=[Media(uri_field="photo")]), {"q": "x", "photo": None}, family=NOVA)

    def test_an_embedding_is_of_a_text_or_an_image(self) -> None:
        text = body(Prompt("{{q}}", None, {"dimensions": 256}), {"q": "x"}, family=EMBED, api="invoke_model")
        assert text["singleEmbeddingParams"] == {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 256,
            "text": {"truncationMode": "END", "value": "x"},
        }
        prompt = Prompt(images=[Media(uri_field="photo")])
        image = body(prompt, {"photo": "acme/corpus/1.png"}, family=EMBED, api="invoke_model")
        assert image["singleEmbeddingParams"]["image"] == {
            "format": "png",
            "source": {"s3Location": {"uri": "s3://in-bucket/acme/corpus/1.png"}},
        }


class TestSchemas:
    schema: ClassVar = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    closed: ClassVar = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "additionalProperties": False,
    }

    def test_converse_takes_it_as_text(self) -> None:
        made = body(Prompt("{{q}}"), {"q": "x"}, output=Output(self.schema))
        wanted = made["outputConfig"]["textFormat"]
        assert wanted["type"] == "json_schema"
        assert json.loads(wanted["structure"]["jsonSchema"]["schema"]) == self.closed
        assert made["messages"][0]["content"] == [{"text": "x"}]

    def test_claude_takes_it_as_an_object(self) -> None:
        made = body(Prompt("{{q}}"), {"q": "x"}, api="invoke_model", output=Output(self.schema))
        assert made["output_config"] == {"format": {"type": "json_schema", "schema": self.closed}}

    @pytest.mark.parametrize(
        ("family", "output"),
        [
            (NOVA, Output(schema)),
            (CLAUDE, Output(schema, "prompt")),
            (CLAUDE, Output({"type": "array", "items": {"type": "string"}})),
        ],
    )
    def test_else_words_ask_for_it(self, family: str, output: Output) -> None:
        made = body(Prompt("{{q}}"), {"q": "x"}, family=family, output=output)
        assert "outputConfig" not in made
        asked = made["messages"][0]["content"][1]["text"]
        assert json.loads(asked.removeprefix(INSTRUCTION)) == output.schema

    def test_a_schema_that_looks_like_a_template_is_none(self) -> None:
        output = Output({"type": "string", "description": "of {{q}}"}, "prompt")
        assert "of {{q}}" in body(Prompt("{{q}}"), {"q": "x"}, output=output)["messages"][0]["content"][1]["text"]
