"""A schema is asked for natively only where the canary saw it taken; in batch, and where it is refused, in words."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.errors import CanaryFailedError
from bulk_inference.core.run_spec import RunSpec
from tests.worlds.ingest_world import World, ingest_world

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
LINES = [{"id": f"r{n}", "text": f"text {n}"} for n in range(150)]
CONVERSE_SAYS = "Malformed input request: #: extraneous key [outputConfig] is not permitted, please reformat your input"
CLAUDE_SAYS = "output_config.format: Extra inputs are not permitted"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


class Account:
    """Answers in form; refuses schemas with the given words."""

    def __init__(self, words: str | None) -> None:
        self.words = words
        self.bodies: list[Mapping[str, Any]] = []

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: object = None) -> ModelOutcome:
        self.bodies.append(body)
        if self.words is not None and ("outputConfig" in body or "output_config" in body):
            return ModelOutcome(error_class="invalid_request", error_code="V", error_message=self.words)
        return ModelOutcome(output={"content": [{"text": '{"label": "pump"}'}], "usage": {"input_tokens": 9}})


def plan(world: World, words: str | None, mode: str, **changes: Any) -> tuple[Account, dict[str, Any]]:
    world.model = account = Account(words)  # type: ignore[assignment]
    world.corpus(*LINES)
    output = {"schema": SCHEMA, **changes.pop("output", {})}
    return account, world.plan(run={"mode": mode}, output=output, **changes)


def sent_natively(world: World, found: dict[str, Any]) -> bool:
    """As the cut's records have it."""
    world.cut_all(found)
    (shard, *_) = [body for key, body in world.objects("input").items() if "/shards/" in key]
    return "outputConfig" in json.loads(shard.splitlines()[0])["modelInput"]


@pytest.mark.parametrize("words", [CONVERSE_SAYS, CLAUDE_SAYS])
def test_a_refusal_makes_the_run_ask_in_words(world: World, words: str) -> None:
    account, found = plan(world, words, "sync")
    assert found["report"]["schema"] == {"how": "prompt", "why": "the canary saw it refused natively"}
    assert "output.schema: asked in words: the canary saw it refused natively" in found["report"]["notes"]
    assert ["outputConfig" in body for body in account.bodies] == [True] + [False] * 3
    assert not sent_natively(world, found)


def test_what_the_canary_saw_taken_is_asked_natively(world: World) -> None:
    _, found = plan(world, None, "sync")
    assert found["report"]["schema"] == {"how": "native", "why": "the canary saw it taken on demand"}
    assert sent_natively(world, found)


@pytest.mark.parametrize(("mode", "limits"), [("batch", {}), ("auto", {}), ("sync", {"canary_records": 0})])
def test_in_batch_and_without_a_canary_words_are_the_default(world: World, mode: str, limits: dict[str, Any]) -> None:
    account, found = plan(world, None, mode, limits=limits)
    assert found["report"]["schema"]["how"] == "prompt"
    assert not any("outputConfig" in body for body in account.bodies)
    assert not sent_natively(world, found)


def test_native_keeps_its_meaning(world: World) -> None:
    _, found = plan(world, None, "batch", output={"ask": "native"})
    assert found["report"]["schema"] == {"how": "native", "why": "output.ask of the request"}
    assert sent_natively(world, found)
    world.model = Account(CONVERSE_SAYS)  # type: ignore[assignment]
    with pytest.raises(CanaryFailedError, match=r"was refused its output\.schema"):
        world.plan("run-2", run={"mode": "sync"}, output={"schema": SCHEMA, "ask": "native"})


def test_another_refusal_is_none_of_the_schema(world: World) -> None:
    with pytest.raises(CanaryFailedError, match="all 20 canary records failed on demand"):
        plan(world, "temperature is not supported", "sync")


def test_a_schema_that_cannot_be_put_natively_says_so(world: World) -> None:
    world.model = Account(None)  # type: ignore[assignment]
    world.corpus(*LINES)
    properties = {name: {"type": "string"} for name in ("label", *(f"p{n}" for n in range(25)))}
    found = world.plan(run={"mode": "sync"}, output={"schema": {"type": "object", "properties": properties}})
    assert found["report"]["schema"]["why"] == "this schema cannot be put as models take it natively"


def test_the_request_stays_what_it_was(world: World) -> None:
    plan(world, CONVERSE_SAYS, "sync")
    spec = RunSpec.from_json(world.input.get_json("default/runs/run-1/plan/run.json") or {})
    assert (spec.output.ask, spec.output.asked) == ("auto", "prompt")
