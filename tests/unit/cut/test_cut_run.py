"""cut_shards and seal_shards on S3 and DynamoDB: what lies where, and that a second try changes nothing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.aws.s3 import Bucket, ObjectWriter
from bulk_inference.core.errors import InvalidRequestError, WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.runs_table import run_pk
from bulk_inference.corpus.rows import Row
from bulk_inference.cut import cut_run, item_batches
from bulk_inference.cut.item_batches import ItemBatch
from bulk_inference.render.records import RecordReader
from tests.worlds.ingest_world import World, ingest_world

LINES: list[Any] = [{"id": f"r{n}", "text": f"text {n}", "page": n} for n in range(130)]
ROOT = "default/runs/run-1/"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def batch(**changes: Any) -> dict[str, Any]:
    return {"run": {"mode": "batch"}, **changes}


def shard_items(world: World) -> list[dict[str, Any]]:
    return list(world.runs.query(run_pk("run-1"), "SHARD#"))


def test_a_corpus_becomes_legal_shards_and_a_sync_remainder(world: World) -> None:
    world.corpus(*LINES[:126], b"no json", LINES[0])
    plan = world.plan(**batch())
    (count,) = world.cut_all(plan)
    sizes = {f"00001-{n:03d}": records for n, records in ((1, 60), (2, 60), (3, 7))}
    assert count == {
        "cut": "00001",
        "pieces": [
            {"piece": piece, "records": records, "bytes": len(world.input.get(f"{ROOT}shards/{piece}.jsonl") or b"")}
            for piece, records in sizes.items()
        ],
        "read": 128,
        "accepted": 127,
        "rejected": 1,
        "duplicate": 0,
        "failures": f"{ROOT}failures/part-cut-00001.jsonl",
    }
    sealed = world.seal(plan)
    assert sealed == {
        "batch": {"key": f"{ROOT}plan/jobs.jsonl", "shards": 2, "records": 120},
        "sync": {"bucket": "input", "prefix": f"{ROOT}sync/", "records": 7, "pieces": 1},
    }
    assert [(job["shard"], job["piece"], job["records"]) for job in world.jsonl("input", f"{ROOT}plan/jobs.jsonl")] == [
        ("00001", "00001-001", 60),
        ("00002", "00001-002", 60),
    ]
    assert {one["shard"]: (one["mode"], one["accepted"]) for one in shard_items(world)} == {
        "00001": ("batch", 60),
        "00002": ("batch", 60),
        "00001-003": ("sync", 7),
    }
    (line,) = world.jsonl("input", f"{ROOT}sync/00001-003.jsonl")
    assert (line["batch"], line["index"], line["records"]) == ("00001-003-00001", "00001-003", 7)
    pointers = world.jsonl("input", f"{ROOT}index/00001-003.jsonl")
    assert [pointer["recordId"] for pointer in pointers] == [f"r{n}" for n in range(120, 126)] + ["r0"]
    (failure,) = world.jsonl("output", f"{ROOT}failures/part-cut-00001.jsonl")
    assert (failure["errorClass"], failure["source"]["bucket"]) == ("not_json", "input")


def test_tails_of_cuts_are_merged_and_duplicates_between_them_dropped(world: World) -> None:
    for n in range(3):
        lines = [{"id": "same", "text": "x"}, *({"id": f"{n}-{m}", "text": "x"} for m in range(5))]
        world.corpus(*lines, key=f"default/corpus/d/{n}.jsonl")
    plan = world.plan(**batch(source={"prefix": "default/corpus/d/"}))
    cut = world.cuts(plan)[0]
    # Three cuts of one object each, as large objects would make.
    spec = world.input.get_json(f"{ROOT}plan/run.json") or {}
    spec["cuts"]["count"] = 3
    world.input.put_json(f"{ROOT}plan/run.json", spec)
    for n, part in enumerate(cut.parts, 1):
        world.cut(plan, replace(cut, cut=f"{n:05d}", parts=[part]))
    sealed = world.seal(plan)
    assert (sealed["batch"]["records"], sealed["sync"]["records"]) == (16, 0)
    (item,) = shard_items(world)
    assert (item["piece"], item["accepted"], item["duplicate"]) == ("merged-001", 16, 2)
    shard = world.input.get(f"{ROOT}shards/merged-001.jsonl") or b""
    for pointer in world.jsonl("input", f"{ROOT}index/merged-001.jsonl"):
        line = json.loads(shard[pointer["offset"] : pointer["offset"] + pointer["length"]])
        assert line["recordId"] == pointer["recordId"]


def test_a_merge_left_below_the_minimum_by_duplicates_goes_sync(world: World) -> None:
    world.corpus(*LINES[:6])
    plan = world.plan(**batch())
    cut = world.cuts(plan)[0]
    spec = world.input.get_json(f"{ROOT}plan/run.json") or {}
    spec["cuts"]["count"] = 2
    world.input.put_json(f"{ROOT}plan/run.json", spec)
    world.cut(plan, cut)
    world.cut(plan, replace(cut, cut="00002"))
    sealed = world.seal(plan)
    assert (sealed["batch"]["shards"], sealed["sync"]["records"]) == (0, 6)
    assert [batch["records"] for batch in world.jsonl("input", f"{ROOT}sync/merged-001.jsonl")] == [6]


def test_in_mode_sync_each_piece_is_cut_into_batches(world: World) -> None:
    world.corpus(*LINES)
    plan = world.plan(run={"mode": "sync"}, limits={"items_per_batch": 25})
    world.cut_all(plan)
    sealed = world.seal(plan)
    assert (sealed["batch"]["shards"], sealed["sync"]["records"], sealed["sync"]["pieces"]) == (0, 130, 3)
    batches = world.jsonl("input", f"{ROOT}sync/00001-001.jsonl")
    assert [(one["batch"], one["records"]) for one in batches] == [
        ("00001-001-00001", 25),
        ("00001-001-00002", 25),
        ("00001-001-00003", 10),
    ]
    index = world.objects("input")[f"{ROOT}index/00001-001.jsonl"]
    pointers = []
    for line in batches:
        found = ItemBatch.from_items([line])
        assert found is not None
        raw = index[found.offset : found.offset + found.length]
        pointers += [pointer["recordId"] for pointer in found.items(raw)]
    assert len(pointers) == len(set(pointers)) == 60


def test_sealing_goes_on_where_a_try_without_time_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of millions of records are cut by several tries, if one has not the time."""
    world.corpus(*LINES)
    plan = world.plan(run={"mode": "sync"}, limits={"max_records_per_shard": 30})
    world.cut_all(plan)
    real, asked, dying = item_batches.cut, list[str](), [True]

    def cut(piece: str, *args: Any, **limits: Any) -> Any:
        asked.append(piece)
        if piece == "00001-003" and dying:
            raise TimeoutError
        return real(piece, *args, **limits)

    monkeypatch.setattr(item_batches, "cut", cut)
    with pytest.raises(TimeoutError):
        world.seal(plan)
    pieces = [f"00001-{number:03d}" for number in range(1, 6)]
    left = [one for one in pieces if world.input.get(f"{ROOT}sync/{one}.jsonl") is None]
    assert "00001-003" in left != pieces
    asked.clear()
    dying.clear()
    assert world.seal(plan)["sync"]["pieces"] == len(pieces)
    assert sorted(asked) == left
    batches = [line for one in pieces for line in world.jsonl("input", f"{ROOT}sync/{one}.jsonl")]
    assert sum(line["records"] for line in batches) == len(LINES)


def test_a_second_try_of_any_function_changes_no_byte(world: World) -> None:
    world.corpus(*LINES, b"no json")
    plan = world.plan(**batch())
    counts, sealed = world.cut_all(plan), world.seal(plan)
    before = world.objects("input"), world.objects("output"), shard_items(world)
    # As if the first try had died before it wrote its item.
    world.runs.delete(run_pk("run-1"), "CUT#00001")
    assert (world.cut_all(plan), world.seal(plan)) == (counts, sealed)
    assert (world.objects("input"), world.objects("output"), shard_items(world)) == before


def test_what_another_run_of_the_scope_landed_is_not_inferred_again(world: World) -> None:
    world.corpus(*LINES)
    scope = {"run": {"mode": "batch", "scope": "tickets"}}
    plan = world.plan(**scope)
    world.claim("tickets", "earlier/unit-1", "r1", "r2")
    world.claim("tickets", "run-1/unit-1", "r3")
    world.claim("other", "earlier/unit-1", "r4")
    (count,) = world.cut_all(plan)
    assert (count["accepted"], count["duplicate"]) == (128, 2)
    # A late second try answers from its item, though more has been claimed since.
    world.claim("tickets", "later/unit-1", "r9")
    assert world.cut_all(plan) == [count]


def test_sealing_waits_for_every_cut(world: World) -> None:
    world.corpus(*LINES)
    plan = world.plan(**batch())
    with pytest.raises(InvalidRequestError, match=r"1 of 1 cuts .*00001"):
        world.seal(plan)


def test_a_corpus_object_that_changes_under_the_run_is_named(world: World) -> None:
    world.corpus(*LINES)
    plan = world.plan(**batch())
    world.corpus(*LINES, {"id": "new", "text": "x"})
    with pytest.raises(InvalidRequestError, match=r"s3://input/default/corpus/a\.jsonl has changed"):
        world.cut_all(plan)
    assert not [key for key in world.objects("input") if "/shards/" in key]


def test_a_run_that_was_never_planned_is_said(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="start the run by the pipeline"):
        world.seal({"run": "none", "tenant": "default"})


def test_closed_pieces_hold_no_memory(world: World) -> None:
    """Of a cut with many pieces, only the open one may keep buffers."""
    files = cut_run._CutFiles(world.input, world.output, Places("default", "r"), "cut-1")
    with files:
        piece = files.open_piece("a")
        piece.write(b"x" * 1000, b"y")
        piece.close()
        assert isinstance(piece, cut_run.PieceFiles)
        assert len(piece._shard._buffer) == 0  # type: ignore[attr-defined]


def test_a_cutter_that_thaws_after_the_seal_changes_nothing_that_was_sealed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared scope, where another run has landed a record meanwhile, the second cutter makes other pieces."""
    world.corpus(*({"id": f"r{n}", "text": f"t{n}"} for n in range(8)), {"id": "bad"})
    plan = world.plan("run-1", run={"scope": "tickets", "mode": "sync"})
    (cut,) = world.cuts(plan)
    creator, sealed = Bucket.creator, list[Any]()

    def slow(self: Bucket, key: str, content_type: str = "application/x-ndjson") -> ObjectWriter:
        if "/shards/" in key and not sealed:
            sealed.append(None)
            world.claim("tickets", "run-7/sync-q", "r2")
            lease = world.runs.get("LEASE#run-1/cut-00001", "LEASE") or {}
            world.runs.put({**lease, "until": 1})
            world.cut(plan, cut)
            sealed.append(world.seal(plan))
        return creator(self, key, content_type)

    monkeypatch.setattr(Bucket, "creator", slow)
    with pytest.raises(WorkInProgressError):
        world.cut(plan, cut)
    (counts,) = world.runs.query("RUN#run-1", "CUT#")
    (shard,) = world.runs.query("RUN#run-1", "SHARD#")
    assert (counts["accepted"], shard["accepted"], counts["duplicate"]) == (7, 7, 1)
    (line,) = world.jsonl("input", f"default/runs/run-1/sync/{shard['piece']}.jsonl")
    piece = ItemBatch.from_items([line])
    assert piece is not None
    raw = world.input.get_range(f"default/runs/run-1/index/{piece.index}.jsonl", piece.offset, piece.length)
    assert len(piece.items(raw)) == 7
    failures = [key for key, body in world.objects("output").items() if "/failures/" in key and body]
    assert failures == [counts["failures"]]
    assert world.cut(plan, cut)["accepted"] == 7


def test_two_cutters_at_once_are_one(world: World) -> None:
    world.corpus({"id": "a", "text": "t"})
    plan = world.plan("run-1")
    (cut,) = world.cuts(plan)
    world.leases.acquire("run-1", "cut-00001")
    with pytest.raises(WorkInProgressError, match="cut-00001"):
        world.cut(plan, cut)


@pytest.mark.parametrize("key", ["other/corpus/a.jsonl", "config/other.json", "default/runs/run-0/plan/run.json"])
def test_a_cut_of_another_tenants_object_is_not_read(world: World, key: str) -> None:
    """It comes as an argument, and the function's role reaches all of them."""
    world.corpus(*LINES)
    plan = world.plan(**batch())
    cut = world.cuts(plan)[0]
    world.corpus({"id": "theirs", "text": "secret"}, key=key)
    with pytest.raises(InvalidRequestError, match="may not read"):
        world.cut(plan, replace(cut, parts=[replace(cut.parts[0], key=key)]))


def test_a_row_that_nobody_has_thought_of_costs_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.corpus(*LINES[:3])
    plan = world.plan(**batch())
    real = RecordReader.read_row

    def odd(self: RecordReader, row: Row) -> Any:
        if b'"r1"' in (row.data or b""):
            raise RecursionError("SECRET")
        return real(self, row)

    monkeypatch.setattr(RecordReader, "read_row", odd)
    counts = world.cut(plan, world.cuts(plan)[0])
    assert (counts["accepted"], counts["rejected"]) == (2, 1)
    (failure,) = world.jsonl("output", f"{ROOT}failures/part-cut-00001.jsonl")
    assert (failure["errorClass"], "SECRET" in json.dumps(failure)) == ("unreadable", False)
