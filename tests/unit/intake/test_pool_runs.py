"""Pools and what their runs come to, runs and pools both as the product makes them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from tests.worlds.ingest_world import HAIKU, World, ingest_world
from tests.worlds.pool_world import Pools

PROMPT: dict[str, Any] = {
    "model": {"id": HAIKU},
    "prompt": {"template": "Say {{text}}"},
    "run": {"mode": "sync"},
    "limits": {"canary_records": 5},
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


class Picky:
    """A model that refuses some prompts."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []

    def infer(self, model_id: str, api: str, body: Mapping[str, Any]) -> ModelOutcome:
        self.bodies.append(body)
        if "POISON" in str(body):
            return ModelOutcome(error_class="invalid_request", error_code="V", error_message="input is too long")
        return ModelOutcome(output={})


@pytest.mark.parametrize("texts", [["POISON"], ["POISON"] * 5 + ["good"], ["POISON"] * 20 + ["good"] * 5])
def test_documents_that_the_model_refuses_refuse_no_other_of_their_pool(world: World, texts: list[str]) -> None:
    world.model = Picky()  # type: ignore[assignment]
    pools = Pools(world, PROMPT, documents=len(texts))
    name = pools.send(**{f"d{n:02d}": {"text": text} for n, text in enumerate(texts)})
    pools.run(name, lambda prompt: None if "POISON" in prompt else "said")
    pools.follow()
    told = {f"d{n:02d}": pools.status(f"d{n:02d}") for n in range(len(texts))}
    assert [one["state"] for one in told.values()] == ["failed" if text == "POISON" else "done" for text in texts]
    assert {one["errorClass"] for one in told.values()} - {None} == {"validation"}
    for one in told.values():
        assert world.output.get_range(one["place"]["key"], one["place"]["offset"], one["place"]["length"])
