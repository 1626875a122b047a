"""Rows that became no records are read again in another way, and those that did are not."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.settings import Settings
from bulk_inference.failure_lane.redrive import RedriveServices, carry_out, parse
from tests.worlds.ingest_world import NOW, SETTINGS, World, ingest_world

PREFIX = "default/corpus/c/"
ANYTHING = {"tolerated_rejected_percentage": 100}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


class Pipeline:
    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, Any]] = {}

    def start(self, run: str, request: Mapping[str, Any]) -> bool:
        self.started[run] = request
        return True


class Clock:
    def now(self) -> float:
        return float(NOW)


def ended(world: World, objects: Mapping[str, bytes], **changes: Any) -> None:
    for name, body in objects.items():
        world.input.put(PREFIX + name, body)
    found = world.plan(**{"source": {"prefix": PREFIX}, "run": {"mode": "sync"}, "limits": ANYTHING} | changes)
    world.cut_all(found)
    world.runs.update("RUN#run-1", "META", {"status": "succeeded"})


def resubmit(world: World, **more: Any) -> tuple[dict[str, Any], Pipeline]:
    def spec_of(tenant: str, run: str) -> RunSpec:
        return RunSpec.from_json(world.input.get_json(f"{tenant}/runs/{run}/plan/run.json") or {})

    pipeline = Pipeline()
    services = RedriveServices(
        world.input,
        world.output,
        world.runs,
        None,  # type: ignore[arg-type]
        pipeline,  # type: ignore[arg-type]
        Clock(),  # type: ignore[arg-type]
        spec_of,
        lambda: Settings.from_json(SETTINGS),
        None,  # type: ignore[arg-type]
    )
    answer = carry_out(parse({"action": "resubmit", "run": "run-1", "rejected": True, "as": "again", **more}), services)
    return answer, pipeline


def records(world: World, pipeline: Pipeline, **changes: Any) -> list[str]:
    found = world.plan("again", **{**pipeline.started["again"], "limits": ANYTHING, **changes})
    world.cut_all(found)
    shards = [body for key, body in world.objects("input").items() if "runs/again/shards/" in key]
    return sorted(json.loads(line)["recordId"] for body in shards for line in body.splitlines())


def test_with_another_encoding(world: World) -> None:
    texts = ["plain", "grün", "süß"]
    body = b"".join(
        json.dumps({"id": f"r{n}", "text": t}, ensure_ascii=False).encode("latin-1") + b"\n"
        for n, t in enumerate(texts)
    )
    ended(world, {"a.jsonl": body})
    answer, pipeline = resubmit(world, source={"encoding": "latin-1"})
    assert (answer["resubmitted"], answer["state"]) == (2, "started")
    assert records(world, pipeline) == ["r1", "r2"]


def test_with_another_template_and_one_class_alone(world: World) -> None:
    ended(world, {"a.jsonl": b'{"id":"a","text":"x"}\n{"id":"b","body":"y"}\nbroken\n'})
    answer, pipeline = resubmit(world, prompt={"template": "Say {{body}}"}, error_classes=["missing_field"])
    assert answer["resubmitted"] == 1
    assert records(world, pipeline) == ["b"]


def test_with_another_dialect_the_object_is_read_whole(world: World) -> None:
    ended(world, {"a.csv": b'id,text\n1,"height 6\\""\n2,plain\n', "b.csv": b"id,text\n3,c\n"})
    _, pipeline = resubmit(world, source={"csv": {"escape": "\\"}})
    assert records(world, pipeline) == ["1", "2"]


def test_what_cannot_be_read_otherwise_is_refused(world: World) -> None:
    for given, words in (
        ({"source": {"prefix": "x"}}, r"source\.prefix: is no way to read rows"),
        ({"rejected": False, "source": {"encoding": "latin-1"}}, "source: only with rejected"),
        ({"rejected": "yes"}, "rejected: must be true or false"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            parse({"action": "resubmit", "run": "run-1", "rejected": True, **given})
