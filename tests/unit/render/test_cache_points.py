"""Cache points: added to on-demand calls, taken out of what jobs read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.model_families import family_named
from bulk_inference.core.run_spec import Example, Prompt
from bulk_inference.render.cache_points import add, may_hold, strip
from bulk_inference.render.rendering import Renderer

PROMPT = Prompt("{{q}}", "Be brief.", examples=[Example("1+1", "2")], cache=["system", "examples"])
POINT = {"cachePoint": {"type": "default"}}


def rendered(family: str, api: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(Renderer(PROMPT, family_named(family), api).render({"q": "2+2"}))
    return body


@pytest.mark.parametrize(("family", "api"), [("claude-haiku-4-5", "converse"), ("nova-lite", "invoke_model")])
def test_points_follow_the_parts_that_all_records_share(family: str, api: str) -> None:
    body = rendered(family, api)
    made = add(body, PROMPT, api, family_named(family).body)
    assert made["system"] == [{"text": "Be brief."}, POINT]
    assert made["messages"][1]["content"] == [{"text": "2"}, POINT]
    assert (made["messages"][0], made["messages"][2]) == (body["messages"][0], body["messages"][2])
    assert strip(made) == body


def test_claude_marks_the_last_block_of_a_part() -> None:
    made = add(rendered("claude-haiku-4-5", "invoke_model"), PROMPT, "invoke_model", "claude")
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    assert made["system"] == [marked]
    assert made["messages"][1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert b"cache_control" not in json.dumps(strip(made)).encode()


def test_a_body_of_another_shape_stays_as_it_is() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "ready"}]}], "system": [{"text": "own"}]}
    assert add(body, PROMPT, "converse", "claude") is body


def test_a_text_that_speaks_of_cache_points_is_no_cache_point() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": '{"cachePoint": {"type": "default"}}'}]}]}
    assert strip(body) is body


@given(
    st.recursive(
        st.none() | st.text(max_size=3) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "cachePoint", "cache_control"]), inner),
    )
)
def test_what_holds_no_point_is_the_same_object(body: Any) -> None:
    found = strip(body)
    assert strip(found) == found
    if not may_hold(json.dumps(body).encode()):
        assert found is body
