"""Answers of every family: their text, tokens and end, each from a sample of AWS's pages; and what is no answer."""

import json
from typing import Any

import pytest

from bulk_inference.core.answer_text import ended, without_reasoning
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.model_families import FAMILIES
from bulk_inference.core.result_line import INVOCATION_METRICS, Usage, extract, result_line, text_of, usage_of
from bulk_inference.structured.answers import TRUNCATED, judge
from bulk_inference.structured.checker import checker
from tests.cases import CASES

PAGES = "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-"


def converse(*content: Any, stop: str = "end_turn") -> dict[str, Any]:
    message = {"role": "assistant", "content": list(content)}
    return {"output": {"message": message}, "stopReason": stop, "usage": {"inputTokens": 5, "outputTokens": 7}}


def chat(content: Any, stop: str = "stop", **message: Any) -> dict[str, Any]:
    told = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    return {"choices": [{"index": 0, "message": told, "finish_reason": stop}], "usage": usage}


def counted(body: dict[str, Any]) -> dict[str, Any]:
    """With what the headers say, as Runtime keeps it."""
    return {**body, INVOCATION_METRICS: {"inputTokenCount": 5, "outputTokenCount": 7}}


CLAUDE = {
    "type": "message",
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 7},
}
NOVA = converse({"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "hello"})
LLAMA = {"generation": "hello", "prompt_token_count": 5, "generation_token_count": 7, "stop_reason": "stop"}
EMBEDDING = {"embedding": [0.1], "inputTextTokenCount": 5}

SAMPLES: dict[str, list[dict[str, Any]]] = {
    # By the beginning of a family's key: native bodies, each as its page has it.
    "claude": [CLAUDE, {"completion": "hello", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"}],
    "nova": [NOVA],
    "llama": [LLAMA],
    "mistral": [counted({"outputs": [{"text": "hello", "stop_reason": "stop"}]}), chat("hello")],
    "deepseek": [counted({"choices": [{"text": "hello", "stop_reason": "stop"}]}), chat("<think>hm</think>hello")],
    "gpt-oss": [chat("<reasoning>hm</reasoning>hello")],
    "qwen3": [chat("hello"), chat("<think>\n\n</think>\n\nhello")],
    "gemma-3": [chat("hello")],
    "minimax": [chat("<think>hm</think>\nhello")],
    "kimi-k2": [chat("hello", reasoning_content="hm")],
    "nemotron": [chat([{"type": "text", "text": "hello"}])],
    "glm": [chat("hello", reasoning_content="hm")],
    # Not for batch, but reachable by id.
    "titan": [
        {"inputTextTokenCount": 5, "results": [{"tokenCount": 7, "outputText": "hello", "completionReason": "FINISH"}]}
    ],
    "cohere": [
        counted({"generations": [{"text": "hello", "finish_reason": "COMPLETE"}]}),
        counted({"text": "hello", "finish_reason": "COMPLETE"}),
        {
            "message": {"content": [{"type": "text", "text": "hello"}]},
            "finish_reason": "COMPLETE",
            "usage": {"tokens": {"input_tokens": 5, "output_tokens": 7}},
        },
    ],
    "ai21": [
        chat("hello"),
        counted({"completions": [{"data": {"text": "hello"}, "finishReason": {"reason": "stop"}}]}),
    ],
}
ANSWERS = [(family, sample) for family, samples in SAMPLES.items() for sample in samples]


@pytest.mark.parametrize(("family", "answer"), ANSWERS, ids=[family for family, _ in ANSWERS])
def test_the_answer_of_every_family_is_read(family: str, answer: dict[str, Any]) -> None:
    text, usage = extract(answer)
    assert text is not None
    assert text.strip() == "hello"
    assert ended(answer) is None
    if family != "claude" or "usage" in answer:
        assert (usage.input_tokens, usage.output_tokens, usage.unknown) == (5, 7, 0)


def test_every_family_has_a_sample() -> None:
    """A family that is new to the table needs its page's answer here."""
    embeds = {family.key for family in FAMILIES if family.embeds or "embed" in family.key}
    missing = [
        one.key for one in FAMILIES if one.key not in embeds and not any(one.key.startswith(name) for name in SAMPLES)
    ]
    assert not missing


@pytest.mark.parametrize("answer", [EMBEDDING, {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.1]}]}])
def test_an_embedding_lacks_no_text(answer: dict[str, Any]) -> None:
    assert (text_of(answer), ended(answer)) == (None, None)


SCHEMA = checker(json.loads((CASES / "reasoning-in-text" / "schema.json").read_text()))
REASONING = [json.loads(line) for line in (CASES / "reasoning-in-text" / "answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", REASONING, ids=[one["case"] for one in REASONING])
def test_what_was_thought_is_no_answer(case: dict[str, Any]) -> None:
    verdict = judge(case["modelOutput"], SCHEMA)
    if "cut" in case["case"]:
        assert (verdict.code, verdict.value, text_of(case["modelOutput"])) == (TRUNCATED, None, None)
    else:
        assert (verdict.code, verdict.value) == (None, {"label": "pump"})
        assert text_of(case["modelOutput"]) == '{"label":"pump"}'


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("a first guess\n</think>\n\nhello", "hello"),
        ("<thinking>a</thinking>\n<reasoning>b</reasoning> hello", "hello"),
        ("<THINK>a</THINK>hello", "hello"),
        ("<think>a</think>", None),
        ("<think>a</reasoning>hello", None),
        # Tags within an answer are its own.
        ('{"html": "<think>x</think>"}', '{"html": "<think>x</think>"}'),
        ("Models write <think> before they answer.", "Models write <think> before they answer."),
        ("  hello ", "  hello "),
    ],
)
def test_only_what_stands_before_the_answer_is_thought(said: str, text: str | None) -> None:
    assert without_reasoning(said) == text


def test_cited_text_belongs_to_the_text() -> None:
    answer = json.loads((CASES / "cited-text-dropped" / "answer.json").read_text())
    assert text_of(answer) == "The lease ends on 3 May 2027."


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"citationsContent": {"content": [{"text": "all "}, {"text": "cited"}]}}], "all cited"),
        ([{"citationsContent": {"citations": []}}, {"text": "rest"}], "rest"),
        ([{"citationsContent": {"content": [{"text": '{"label":"pump"}'}]}}], '{"label":"pump"}'),
    ],
)
def test_answers_of_cited_blocks(content: list[Any], text: str) -> None:
    assert text_of(converse(*content)) == text


def test_deepseeks_text_is_read() -> None:
    answer = json.loads((CASES / "deepseek-choices-text" / "answer.json").read_text())
    assert text_of(answer) == '{"label":"pump"}'
    assert judge(answer, SCHEMA).value == {"label": "pump"}


def test_content_given_as_parts_is_read() -> None:
    parts = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "hel"}, "lo"]
    assert text_of(chat(parts)) == "hello"


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (converse({"text": "a"}, stop="max_tokens"), "max_tokens"),
        (chat("a", stop="length"), "max_tokens"),
        ({**LLAMA, "stop_reason": "length"}, "max_tokens"),
        (counted({"generations": [{"text": "a", "finish_reason": "MAX_TOKENS"}]}), "max_tokens"),
        ({**CLAUDE, "stop_reason": "refusal"}, "refusal"),
        (converse({"text": "I can't."}, stop="guardrail_intervened"), "guardrail"),
        ({**CLAUDE, "amazon-bedrock-guardrailAction": "INTERVENED"}, "guardrail"),
        (chat("", stop="content_filter"), "guardrail"),
        (converse(), "no_text"),
        (converse({"reasoningContent": {}}), "no_text"),
        (chat("<think>a</think> "), "no_text"),
        (converse({"text": "a"}, stop="malformed_model_output"), "malformed_model_output"),
        (converse({"toolUse": {}}, stop="tool_use"), None),
    ],
)
def test_how_an_answer_ended(answer: dict[str, Any], end: str | None) -> None:
    assert ended(answer) == end
    line = json.loads(result_line(Pointer("r"), answer, "b")[0])
    assert line.get("ended") == end
    if end is not None:
        assert list(line)[:2] == ["recordId", "ended"], "at the top of the line"
        name = end if end in ("max_tokens", "refusal", "guardrail", "no_text") else "other"
        assert usage_of(answer).ends == {name: 1}
        assert (usage_of(answer) + usage_of(answer)).ends == {name: 2}


def test_ends_go_through_items() -> None:
    usage = Usage(cut=3, no_text=1)
    assert Usage.from_json({**usage.to_json(), "unknownUsage": 0, "ends": usage.ends}) == usage
