"""JSON from outside: strictly, and no deeper than code that recurses can go."""

import json
from typing import Any

import pytest

from bulk_inference.core.json_text import MAX_DEPTH, JsonError, decode, is_too_deep, loads


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("read", [loads, lambda text: decode(text)[0]])
@pytest.mark.parametrize("extra", ["", ', "x": [1, 2, {"a": []}]'])
def test_depth_has_one_bound_whatever_reads(read: Any, extra: str) -> None:
    fits, over = (f'{{"a": {nested(depth)}{extra}}}' for depth in (MAX_DEPTH - 1, MAX_DEPTH))
    assert read(fits) == json.loads(fits)
    for text in (over, nested(3_000), '{"a":' * 3_000 + "1" + "}" * 3_000, nested(200_000)):
        with pytest.raises(JsonError) as told:
            read(text)
        assert told.value.kind == "too_deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(loads(json.dumps([[n] for n in range(10_000)]))) == 10_000
    assert not is_too_deep("[" * 1000, "[" * 1000)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', "[" + "9" * 5000 + "]", "{", ""])
def test_a_strict_reader_refuses_what_readers_disagree_on(text: str) -> None:
    with pytest.raises(JsonError) as told:
        decode(text)
    assert "9" not in str(told.value)
