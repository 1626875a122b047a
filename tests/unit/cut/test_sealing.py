"""Sealing: every batch shard is legal, no piece is lost, what is too small goes sync."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.rows import Row
from bulk_inference.cut import sealing
from bulk_inference.cut.cutting import PieceCount
from bulk_inference.cut.sealing import merge, require_all_cuts, seal

LIMITS: Any = {"min_records": 10, "max_records": 100, "max_bytes": 5000}

pieces_strategy = st.lists(
    st.tuples(st.one_of(st.integers(1, 15), st.integers(1, 100)), st.integers(1, 900)).map(
        lambda pair: (pair[0], min(pair[0] * pair[1], 5000))
    ),
    max_size=30,
).map(lambda counts: [PieceCount(f"{n:05d}-001", records, size) for n, (records, size) in enumerate(counts, 1)])


@given(pieces_strategy, st.randoms())
def test_every_piece_goes_one_way_and_every_shard_is_legal(pieces: list[PieceCount], order: Any) -> None:
    found = seal(pieces, "batch", **LIMITS)
    groups = [*([piece] for piece in found.kept), *found.merges]
    everything = [piece for group in groups for piece in group] + found.sync
    assert sorted(everything, key=lambda piece: piece.piece) == pieces
    for group in groups:
        assert LIMITS["min_records"] <= sum(piece.records for piece in group) <= LIMITS["max_records"]
        assert sum(piece.bytes for piece in group) <= LIMITS["max_bytes"]
    assert all(len(group) > 1 for group in found.merges)
    assert all(piece.records < LIMITS["min_records"] for piece in found.sync)
    shuffled = list(pieces)
    order.shuffle(shuffled)
    assert seal(shuffled, "batch", **LIMITS) == found


def piece(name: str, records: int, size: int = 0) -> PieceCount:
    return PieceCount(name, records, size or records)


def test_tails_are_merged() -> None:
    full, first, second = piece("00001-001", 100), piece("00001-002", 6), piece("00002-001", 7)
    found = seal([full, first, second], "batch", **LIMITS)
    assert (found.kept, found.merges, found.sync) == ([full], [[first, second]], [])


def test_what_stays_below_the_smallest_job_goes_sync() -> None:
    found = seal([piece("00001-001", 100), piece("00001-002", 9)], "batch", **LIMITS)
    assert [one.piece for one in found.sync] == ["00001-002"]


def test_in_mode_sync_nothing_is_merged() -> None:
    pieces = [piece("00001-001", 100), piece("00001-002", 3)]
    assert seal(pieces, "sync", **LIMITS).sync == pieces


def test_copying_has_a_budget_and_what_is_legal_alone_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MERGE_BYTES", 20)
    big = {**LIMITS, "min_records": 2, "max_records": 40}
    small = [piece("a", 1), piece("b", 1), piece("c", 3, 4990), piece("d", 3, 4990)]
    found = seal(small, "batch", **big)
    assert [[one.piece for one in group] for group in found.merges] == [["a", "b"]]
    assert [one.piece for one in found.kept] == ["c", "d"]


class Sink:
    def __init__(self) -> None:
        self.shard = self.index = b""

    def write(self, shard_line: bytes, index_line: bytes) -> None:
        self.shard += shard_line
        self.index += index_line

    def close(self) -> None:
        """Nothing to make visible."""


def lines(text: bytes) -> list[Row]:
    return list(lines_of_range([text], 0, len(text), 1 << 30))


def source(piece_name: str, ids: str) -> tuple[list[Row], list[Row]]:
    shard = index = b""
    for record_id in ids:
        line = json.dumps({"recordId": record_id, "modelInput": {"from": piece_name, "ü": "\u2028"}}).encode()
        pointer = {"recordId": record_id, "shard": piece_name, "offset": len(shard), "length": len(line), "id": "ä"}
        shard += line + b"\n"
        index += json.dumps(pointer).encode() + b"\n"
    return lines(shard), lines(index)


def test_merging_keeps_records_and_rewrites_pointers() -> None:
    sink = Sink()
    merged = merge("merged-001", [source("p1", "ab"), source("p2", "c")], sink)
    assert (merged.records, merged.bytes, merged.duplicate) == (3, len(sink.shard), 0)
    for line, record_id in zip(sink.index.split(b"\n"), "abc", strict=False):
        pointer = json.loads(line)
        assert (pointer["shard"], pointer["recordId"], pointer["id"]) == ("merged-001", record_id, "ä")
        found = json.loads(sink.shard[pointer["offset"] : pointer["offset"] + pointer["length"]])
        assert found["recordId"] == record_id


def test_a_job_never_holds_one_id_twice() -> None:
    sink = Sink()
    merged = merge("merged-001", [source("p1", "ab"), source("p2", "bc"), source("p3", "a")], sink)
    assert (merged.records, merged.duplicate) == (3, 2)
    assert [json.loads(line)["recordId"] for line in sink.shard.split(b"\n")[:-1]] == ["a", "b", "c"]
    assert json.loads(sink.shard.split(b"\n")[1])["modelInput"]["from"] == "p1"


def test_an_index_of_other_length_than_its_shard_is_an_error() -> None:
    shard, index = source("p1", "ab")
    with pytest.raises(ValueError, match="shorter"):
        merge("merged-001", [(shard, index[:1])], Sink())


def test_missing_cuts_are_named() -> None:
    require_all_cuts("r", 2, [{"cut": "00002"}, {"cut": "00001"}])
    with pytest.raises(InvalidRequestError, match=r"2 of 3 cuts .*00001, 00003"):
        require_all_cuts("r", 3, [{"cut": "00002"}])
