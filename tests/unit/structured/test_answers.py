"""Answers to a run's schema: fenced, chatty, ambiguous, broken off."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core import json_text
from bulk_inference.structured import answers
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


# Answers are hostile: what is looked for in them is looked for in time linear in their length.


@pytest.mark.parametrize(
    "text",
    [
        "[1," * 20_000,
        "[1,[1," * 10_000,
        '{"a":' * 30_000,
        "[[" * 30_000 + "x",
        "{" * 100_000,
        "[" * 100_000,
        '["' * 50_000,
        "[1, 2} " * 10_000,
        '{"a": 1, "a": 2} ' * 5_000,
        "```x\n" * 20_000,
        "```\n[1,\n```\n" * 8_000,
        " " * 200_000 + "```\n" * 10,
    ],
)
def test_no_answer_is_read_again_and_again(text: str) -> None:
    """Counted, not timed: characters that the parser was given."""
    read = 0
    real = json_text._STRICT

    def counting(text: str, start: int) -> Any:
        nonlocal read
        try:
            value, end = real(text, start)
        except json.JSONDecodeError as error:
            read += error.pos - start
            raise
        except (RecursionError, ValueError):
            read += 5_000
            raise
        read += end - start
        return value, end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_STRICT", counting)
        judge(converse(text), checker({"type": "object"}))
    assert read < 8 * len(text) + 50_000


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a\n```json\n{}\n```\nb", ["{}\n"]),
        ("```\n{}\n```", ["{}\n"]),
        ("  ``` json\n{}\n\t```  ", ["{}\n"]),
        ("```\n{}", []),
        ("```a`b\n{}\n```", []),
        ("```\n1\n```\n```\n2\n```", ["1\n", "2\n"]),
        ("```\n```", [""]),
        ("text ```\n{}\n```\n{}", []),
    ],
)
def test_fences(text: str, inside: list[str]) -> None:
    assert answers._fenced(text)[0] == inside


def test_an_answer_deeper_than_json_may_be_is_none() -> None:
    verdict = judge(converse('{"a": ' + "[" * 3_000 + "]" * 3_000 + "}"), checker({"type": "object"}))
    assert verdict.code == "NotJson"


def test_a_reason_that_nobody_knows_is_not_quoted() -> None:
    output = {"output": {"message": {"content": [{"text": "x"}]}}, "stopReason": "SECRET words"}
    assert judge(output, checker({"type": "object"})).message == "the answer was ended: stop reason unknown"
