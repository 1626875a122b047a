"""Answers to a run's schema: fenced, chatty, ambiguous, broken off."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.structured.answers import judge
from bulk_inference.structured.checker import checker

OBJECT = checker({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
ARRAY = checker({"type": "array", "items": {"type": "integer"}})


def converse(text: str, stop: str = "end_turn") -> dict[str, Any]:
    return {"output": {"message": {"content": [{"text": text}]}}, "stopReason": stop}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '\ufeff \n{"a": 1}\n',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```\n',
        'Here you are:\n\n```json\n{"a": 1}\n```\nAnything else?',
        'Sure! {"a": 1} is what I found.',
        'As {braces} in [prose] go, see [1]: {"a": 1}',
        'The note says "}" and {"a": 1}',
    ],
)
def test_one_value_without_doubt_is_taken(text: str) -> None:
    assert judge(converse(text), OBJECT).value == {"a": 1}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1} or {"a": 2}', "AmbiguousJson"),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 1}\n```', "AmbiguousJson"),
        ('```json\n{"a": 1}\n```\nunlike {"a": 2}', "AmbiguousJson"),
        ('{"a": 1', "NotJson"),
        ('{"b": {"a": 1}, "c"', "NotJson"),
        ('[{"a": 1}', "NotJson"),
        ('{"a": 1, "a": 2}', "NotJson"),
        ('{"a": NaN}', "NotJson"),
        ('{"a": 1e999}', "NotJson"),
        ("I would rather not say.", "NotJson"),
        ("", "NoText"),
        ('{"a": "1"}', "SchemaMismatch"),
        ('[{"a": 1}]', "SchemaMismatch"),
        ('The list is [{"a": 1}]', "NotJson"),
        ("7", "SchemaMismatch"),
        ("[" * 100_000, "NotJson"),
        ('{"a":' * 100_000, "NotJson"),
    ],
)
def test_a_doubtful_or_unfit_value_is_a_failure(text: str, code: str) -> None:
    verdict = judge(converse(text), OBJECT)
    assert (verdict.value, verdict.code) == (None, code)


def test_the_message_names_path_and_rule_and_no_text_of_the_answer() -> None:
    assert judge(converse('{"a": "secret"}'), OBJECT).message == "$.a: breaks the schema's rule type"


def test_an_array_is_found_where_the_schema_wants_one() -> None:
    assert judge(converse('{"a": 1} gives [1, 2]'), ARRAY).value == [1, 2]


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (converse('{"a": 1', "max_tokens"), "Truncated"),
        (converse("{}", "max_tokens"), "Truncated"),
        ({"content": [{"type": "text", "text": '{"a"'}], "stop_reason": "max_tokens"}, "Truncated"),
        ({"choices": [{"message": {"content": '{"a"'}, "finish_reason": "length"}]}, "Truncated"),
        (converse("I cannot help with that.", "guardrail_intervened"), "Stopped"),
        (converse("No.", "refusal"), "Stopped"),
    ],
)
def test_an_answer_that_was_cut_says_so(output: Any, code: str) -> None:
    assert judge(output, OBJECT).code == code


def test_an_answer_that_fits_counts_although_it_reached_the_limit() -> None:
    assert judge(converse('{"a": 1}', "max_tokens"), OBJECT).value == {"a": 1}


@given(st.text(max_size=60), st.text(max_size=60), st.integers())
def test_prose_around_one_value_never_changes_it(before: str, after: str, number: int) -> None:
    text = f'{before}\n{{"a": {number}}}\n{after}'
    verdict = judge(converse(text), OBJECT)
    assert verdict.code is not None or verdict.value == {"a": number}
    if not set(before + after) & set("{[`"):
        assert verdict.value == {"a": number}


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_answer_makes_judging_fail(output: Any) -> None:
    judge(output, OBJECT)
    judge(converse(json.dumps(output)), OBJECT)
