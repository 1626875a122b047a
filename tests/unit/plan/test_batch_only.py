"""What only batch jobs refuse is found in planning, for each form that a record comes in."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from tests import cases
from tests.worlds.ingest_world import World, ingest_world

PREFIX = "default/corpus/c/"
CASE = cases.corpus("canary-blind-to-batch")
NO_PROMPT: dict[str, Any] = {"prompt": {}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def plan(world: World, body: bytes, mode: str = "batch", **changes: Any) -> dict[str, Any]:
    world.input.put(f"{PREFIX}a.jsonl", body)
    request = {**cases.request("canary-blind-to-batch"), **NO_PROMPT, "run": {"mode": mode}}
    return world.plan(**request | changes)


def sent(world: World, found: dict[str, Any]) -> list[dict[str, Any]]:
    world.cut_all(found)
    shards = [body for key, body in world.objects("input").items() if "/shards/" in key]
    return [json.loads(line)["modelInput"] for body in shards for line in body.splitlines()]


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_model_id_is_no_part_of_a_body(world: World, mode: str) -> None:
    found = plan(world, CASE["with-model-id.jsonl"], mode)
    bodies = sent(world, found)
    assert len(bodies) == 120
    assert not any("modelId" in body for body in [*bodies, *world.model.bodies])
    assert set(bodies[0]) == {"messages", "inferenceConfig"}


def test_tools_are_refused_by_name_before_any_job(world: World) -> None:
    with pytest.raises(InvalidRequestError, match=r"modelInput\.toolConfig: Converse's batch jobs take no tools"):
        plan(world, CASE["with-tools.jsonl"])
    assert not world.model.bodies


@pytest.mark.parametrize("mode", ["auto", "sync"])
def test_tools_go_on_demand(world: World, mode: str) -> None:
    found = plan(world, CASE["with-tools.jsonl"], mode)
    assert found["mode"] == "sync"
    if mode == "auto":
        assert found["report"]["mode"]["why"] == ("records have toolConfig, which Converse's batch jobs do not take")
    assert all("toolConfig" in body for body in sent(world, found))


def test_tools_that_the_sample_did_not_show_cost_their_records(world: World) -> None:
    plain = CASE["with-model-id.jsonl"].splitlines()
    lines = [*(line.replace(b'"m', b'"a', 1) for line in plain), *(line.replace(b'"m', b'"b', 1) for line in plain)]
    odd = CASE["with-tools.jsonl"].splitlines()[:2]
    found = plan(world, b"\n".join([*lines, *odd]), "auto")
    assert found["mode"] == "batch"
    assert len(sent(world, found)) == 240
    failures = world.jsonl("output", "default/runs/run-1/failures/part-cut-00001.jsonl")
    assert [one["errorClass"] for one in failures] == ["illegal_model_input"] * 2


def test_an_empty_tool_config_is_none(world: World) -> None:
    line = {
        "recordId": "a",
        "modelInput": {"messages": [{"role": "user", "content": [{"text": "x"}]}], "toolConfig": None},
    }
    assert plan(world, json.dumps(line).encode())["mode"] == "batch"
