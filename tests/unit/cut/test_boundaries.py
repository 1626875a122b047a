"""Numbers at which something changes: a job's smallest and largest size, a shard's bytes, a state input."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_inference.core.index_line import Pointer
from bulk_inference.plan.planning import BYTES_PER_BATCH
from bulk_inference.render.records import MAX_CARRY_BYTES, MAX_RECORD_ID_BYTES, MAX_SEQUENCE
from tests.worlds.corpus_world import cut, jsonl, source
from tests.worlds.ingest_world import HAIKU, SETTINGS, World, ingest_world

MINIMUM, QUOTA = 100, 200
STATE_INPUT_BYTES = 262_144


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        quotas = {"minRecordsPerJob": MINIMUM, "maxRecordsPerJob": QUOTA}
        made.settings({**SETTINGS, "models": {HAIKU: {"invokeId": HAIKU, "overrides": quotas}}})
        yield made


@pytest.mark.parametrize(
    ("records", "shards", "on_demand"),
    [
        (0, [], 0),
        (1, [], 1),
        (MINIMUM - 1, [], MINIMUM - 1),
        (MINIMUM, [MINIMUM], 0),
        (MINIMUM + 1, [MINIMUM + 1], 0),
        (QUOTA - 1, [QUOTA - 1], 0),
        (QUOTA, [QUOTA], 0),
        (QUOTA + 1, [QUOTA], 1),
        (QUOTA + MINIMUM, [QUOTA, MINIMUM], 0),
    ],
)
def test_records_around_the_smallest_and_the_largest_job(
    world: World, records: int, shards: list[int], on_demand: int
) -> None:
    world.corpus(*({"id": f"r{n}", "text": "x"} for n in range(records)))
    plan = world.plan(run={"mode": "batch"})
    if not records:
        assert plan["next"] == "finish"
        return
    world.cut_all(plan)
    sealed = world.seal(plan)
    jobs = world.jsonl("input", "default/runs/run-1/plan/jobs.jsonl")
    assert [job["records"] for job in jobs] == shards
    assert (sealed["batch"]["records"], sealed["sync"]["records"]) == (sum(shards), on_demand)


@pytest.mark.parametrize(("spare", "pieces"), [(0, [4]), (-1, [3, 1]), (1, [4])])
def test_a_shard_at_its_limit_of_bytes(world: World, spare: int, pieces: list[int]) -> None:
    world.corpus(*({"id": f"r{n}", "text": "x" * 5000} for n in range(4)))
    whole = world.plan("whole", run={"mode": "batch"})
    size = world.cut_all(whole)[0]["pieces"][0]["bytes"]
    plan = world.plan("tight", run={"mode": "batch"}, limits={"max_bytes_per_shard": size + spare})
    (count,) = world.cut_all(plan)
    assert [piece["records"] for piece in count["pieces"]] == pieces
    assert all(piece["bytes"] <= size + spare for piece in count["pieces"])


def test_a_record_that_fills_a_shard_alone_and_one_byte_more() -> None:
    """The largest line is one byte shorter than a shard: its line end needs room, too."""
    line = jsonl({"id": "1", "text": "x" * 1000})
    shard_line = len(cut({"a.jsonl": line}).files.pieces["00001-001"][0]) - 1
    assert cut({"a.jsonl": line}, max_line=shard_line).total("accepted") == 1
    found = cut({"a.jsonl": line}, max_line=shard_line - 1)
    assert found.classes == ["too_large"]
    assert "the rendered record has" in found.refused[0]["errorMessage"]


def test_a_record_larger_than_a_state_input_is_a_small_pointer() -> None:
    body = jsonl({"id": "1", "text": "x" * (STATE_INPUT_BYTES + 1)})
    found = cut({"a.jsonl": body}, max_line=10**6)
    assert found.total("accepted") == 1
    assert len(json.dumps(found.pointers[0])) < 300


def test_the_longest_pointers_fit_into_a_batch_by_the_dozen() -> None:
    """All that a row can put into its pointer, at its longest, in characters that JSON escapes."""
    field: dict[str, Any] = {
        "id": "\x01" * MAX_RECORD_ID_BYTES,
        "text": "x",
        "page": "\x01" * MAX_SEQUENCE,
        "more": "x" * (MAX_CARRY_BYTES - len('{"more":""}')),
    }
    found = cut({"ü" * 400 + ".jsonl": jsonl(field)}, source(sequence_field="page", carry=["more"]))
    (pointer,) = found.pointers
    assert (pointer["id"], pointer["carry"]["more"]) == (field["id"], field["more"])
    ascii_only = len(json.dumps(Pointer.from_json(pointer).to_json()))
    assert ascii_only * 6 < BYTES_PER_BATCH < STATE_INPUT_BYTES / 2


@pytest.mark.parametrize(("size", "accepted"), [(MAX_RECORD_ID_BYTES, 1), (MAX_RECORD_ID_BYTES + 1, 0)])
def test_ids_at_their_limit(size: int, accepted: int) -> None:
    assert cut({"a.csv": b"id,text\n%s,x\n" % (b"i" * size)}).total("accepted") == accepted
