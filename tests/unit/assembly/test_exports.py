"""Results in other forms: the same records, all of them."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest

from bulk_inference.assembly import exports, part_groups
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.result_line import encode
from tests.worlds.assembly_world import Run, chunked, label
from tests.worlds.ingest_world import World, ingest_world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as world:
        yield world


def rows(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in run.world.output.list(run.places.parquet_prefix):
        found += pyarrow.parquet.read_table(io.BytesIO(run.world.output.get(one.key) or b"")).to_pylist()
    return found


def ordered(run: Run) -> list[dict[str, Any]]:
    return run.world.jsonl("output", run.places.ordered)


def test_parquet_holds_every_result_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_groups, "GROUP_BYTES", 1000)
    monkeypatch.setattr(exports, "ROW_GROUP", 3)
    run = chunked(world, 9, 30, parquet=True)
    run.answer(lambda prompt: None if "doc-1 2/" in prompt else label(prompt))
    told = run.assemble()["parquet"]
    assert told["files"] > 3
    run.answer(lambda prompt: label(prompt) if "doc-1 2/" in prompt else None, name="late")
    run.assemble()
    found = rows(run)
    assert len({row["record_id"] for row in found}) == len(found) == len(run.sent())
    for row in found:
        assert row["text"] == f"{row['document_id']} {row['chunk']}/{row['chunks']}"
        assert (row["input_tokens"], row["output_tokens"]) == (10, 2)
        assert json.loads(row["model_output"])["usage"] == {"inputTokens": 10, "outputTokens": 2}
        assert json.loads(row["source"])["key"] == "default/corpus/a.jsonl"


def test_odd_values_reach_parquet_unchanged_or_escaped() -> None:
    lines: list[dict[str, Any]] = [
        {"recordId": "a", "text": "half \ud83d", "modelOutput": {"x": "\ud83d"}, "sequence": 7},
        {"recordId": "b", "text": None, "modelOutput": [0.1], "value": {"é": 1}, "sequence": "x", "carry": {"n": 1}},
    ]
    body, count = exports.parquet(encode(line) for line in lines)
    first, second = pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()
    assert count == 2
    assert (first["text"], json.loads(first["model_output"]), first["sequence"]) == (None, {"x": "\ud83d"}, "7")
    assert (second["text"], second["value"], second["sequence"]) == (None, '{"é":1}', "x")
    assert json.loads(second["carry"]) == {"n": 1}


def test_without_the_layer_a_run_that_wants_parquet_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidRequestError, match=r"output\.parquet: needs pyarrow"):
        chunked(world, 1, parquet=True)


def test_results_in_the_order_of_the_corpus(world: World) -> None:
    world.corpus(*({"id": f"b{n}", "text": "x"} for n in range(12)), key="default/corpus/b.jsonl")
    world.corpus(*({"id": f"a{n}", "text": "x"} for n in range(12)))
    run = Run(world, "run-1", source={"prefix": "default/corpus/"}, output={"ordered": True})
    run.answer(lambda prompt: "ok")
    told = run.assemble()["ordered"]
    assert (told["written"], told["lines"], told["by"]) == (True, 24, "place in the corpus")
    assert [line["recordId"] for line in ordered(run)] == [f"a{n}" for n in range(12)] + [f"b{n}" for n in range(12)]


def test_results_by_sequence(world: World) -> None:
    world.corpus(*({"id": f"r{n}", "text": "x", "at": at} for n, at in enumerate(["b", 10, "a", 9.5, None, 2])))
    source = {"key": "default/corpus/a.jsonl", "sequence_field": "at"}
    run = Run(world, "run-1", source=source, output={"ordered": True})
    run.answer(lambda prompt: "ok")
    run.assemble()
    assert [line.get("sequence") for line in ordered(run)] == [2, 9.5, 10, "a", "b", None]


def test_a_run_that_is_too_large_to_be_put_in_order_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MAX_ORDERED_BYTES", 100)
    world.corpus({"id": "a", "text": "x"})
    run = Run(world, "run-1", output={"ordered": True})
    run.answer(lambda prompt: "ok")
    told = run.assemble()["ordered"]
    assert not told["written"]
    assert "more than the 100" in told["why"]
    assert ordered(run) == []
