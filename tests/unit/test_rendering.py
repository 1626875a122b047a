"""Templates and request bodies."""

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.models import family_named
from bulk_inference.rendering import EmptyPromptError, MissingFieldError, Renderer, Template
from bulk_inference.spec import Prompt

CLAUDE, NOVA, TITAN = "claude-haiku-4-5", "nova-lite", "titan-embed-text-v2"


def body(prompt: Prompt, record: dict[str, Any], *, family: str = CLAUDE, api: str = "converse") -> Any:
    return json.loads(Renderer(prompt, family_named(family), api).render(record))


class TestTemplate:
    @pytest.mark.parametrize(
        ("text", "rendered"),
        [
            ("{{a}}", "1"),
            ("{{ a }}-{{b}}", '1-x"y'),
            ("{a} } {{ { {{a}}}", "{a} } {{ { 1}"),
            ('{"format": {"a": "{{a}}"}}', '{"format": {"a": "1"}}'),
            ("{{not a field}} {{}} {{1}}", "{{not a field}} {{}} {{1}}"),
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
