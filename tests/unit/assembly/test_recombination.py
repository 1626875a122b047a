"""What the answers to a document's chunks become together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.assembly.recombination import MergedValue, merge, pack
from bulk_inference.render.chunking import size_of

KEYS = ["id", "name"]
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"a": [1, 2]}, {"a": [2, 3]}], {"a": [1, 2, 2, 3]}),
        ([{"tags": ["Oil", "tar"]}, {"tags": ["oil ", "gas"]}], {"tags": ["Oil", "tar", "gas"]}),
        ([["x"], ["y", "x"]], ["x", "y"]),
        (
            [{"people": [{"name": "Ann", "age": 7}]}, {"people": [{"name": " ann", "job": "smith"}, {"name": "Bo"}]}],
            {"people": [{"name": "Ann", "age": 7, "job": "smith"}, {"name": "Bo"}]},
        ),
        (
            [[{"id": 1, "name": "Ann"}], [{"id": 2, "name": "Ann"}]],
            [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Ann"}],
        ),
        ([[{"id": 1, "name": "Ann"}], [{"name": "Ann", "age": 3}]], [{"id": 1, "name": "Ann", "age": 3}]),
        (
            [[{"id": 1}], [{"id": 1, "parts": ["a"]}], [{"id": 1, "parts": ["a", "b"]}]],
            [{"id": 1, "parts": ["a", "b"]}],
        ),
        ([{"a": None, "b": ""}, {"a": 1, "b": "x"}], {"a": 1, "b": "x"}),
        ([{"a": {"b": 1}}, {"a": {"c": 2}}], {"a": {"b": 1, "c": 2}}),
        ([[{"name": "Ann"}, {"name": "ANN", "age": 3}]], [{"name": "Ann", "age": 3}]),
    ],
)
def test_merged_without_conflict(answers: list[Any], expected: Any) -> None:
    assert merge(answers, KEYS) == MergedValue(expected)


@pytest.mark.parametrize(
    ("answers", "expected", "conflicts"),
    [
        ([{"title": "One"}, {"title": "Two"}], {"title": "One"}, ["$.title"]),
        ([{"a": {"b": 1}}, {"a": {"b": True}}], {"a": {"b": 1}}, ["$.a.b"]),
        ([{"a": [1]}, {"a": {"b": 1}}], {"a": [1]}, ["$.a"]),
        ([[{"name": "Ann", "age": 3}], [{"name": "Ann", "age": 4}]], [{"name": "Ann", "age": 3}], ["$[].age"]),
    ],
)
def test_what_differs_is_told_and_the_first_stays(answers: list[Any], expected: Any, conflicts: list[str]) -> None:
    assert merge(answers, KEYS) == MergedValue(expected, conflicts)


@given(st.lists(values, max_size=5))
def test_merging_the_same_answer_again_changes_nothing_but_lists_of_numbers(answers: list[Any]) -> None:
    merged = merge(answers, KEYS)
    assert merge(answers, KEYS) == merged
    for answer in answers:
        for name in _names(answer):
            assert name in _names(merged.value) or merged.conflicts


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["name"].casefold()} if isinstance(value.get("name"), str) and value["name"] else set()
        return found.union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()


@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=40),
    st.integers(1, 60),
    st.sampled_from(["characters", "tokens"]),
)
def test_packing_keeps_order_and_comes_to_an_end(parts: list[str], size: int, by: str) -> None:
    packed = pack(parts, size, by, "--")
    assert [part for group in packed for part in group] == parts
    if len(parts) > 1:
        assert all(len(group) > 1 for group in packed)
    for group in packed:
        assert len(group) <= 3 or size_of("--".join(group), by) <= size


def test_packing_fills_a_prompt() -> None:
    assert pack(["aaaa", "bbbb", "cccc", "dddd", "eeee"], 12, "characters", "-") == [
        ["aaaa", "bbbb"],
        ["cccc", "dddd", "eeee"],
    ]
