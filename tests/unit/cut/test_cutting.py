"""The cutter: every line is accounted for, every piece is legal, a retry gives the same bytes."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.model_families import family_named
from bulk_inference.core.run_spec import Prompt
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.corpus.rows import Row
from bulk_inference.cut import cutting
from bulk_inference.cut.cutting import CutCount, cut_records
from bulk_inference.render.records import RecordReader
from bulk_inference.render.rendering import Renderer
from tests.worlds.inference_world import REACH

MAX_LINE = 400


class Files:
    """Sinks in memory. A piece is there once it is closed."""

    def __init__(self) -> None:
        self.pieces: dict[str, tuple[bytes, bytes]] = {}
        self.failures = b""

    def open_piece(self, piece: str) -> "_Piece":
        return _Piece(self, piece)

    def write_failure(self, line: bytes) -> None:
        self.failures += line

    def index(self, piece: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.pieces[piece][1].split(b"\n")[:-1]]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.failures.split(b"\n")[:-1]]


class _Piece:
    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name, self._shard, self._index = files, name, b"", b""

    def write(self, shard_line: bytes, index_line: bytes) -> None:
        self._shard += shard_line
        self._index += index_line

    def close(self) -> None:
        self._files.pieces[self._name] = (self._shard, self._index)


class ClaimedBy:
    """Records of another run; remembers how it was asked."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = set(ids)
        self.asked: list[int] = []

    def __call__(self, record_ids: Sequence[str]) -> Collection[str]:
        self.asked.append(len(record_ids))
        return self.ids.intersection(record_ids)


def cut(
    data: bytes, *, max_records: int = 5, max_bytes: int = 2000, claimed: ClaimedBy | None = None
) -> tuple[CutCount, Files]:
    files = Files()
    reader = RecordReader(
        id_field=None,
        sequence_field="page",
        renderer=Renderer(Prompt("Say {{text}}"), family_named("claude-haiku-4-5"), "converse"),
        max_line_bytes=MAX_LINE,
        reach=REACH,
        record_form=True,
    )

    def rows_of(part: CutRange) -> Iterable[Row]:
        return lines_of_range([data], part.start, part.end, MAX_LINE)

    count = cut_records(
        Cut("00007", [CutRange("t/corpus/a.jsonl", 0, len(data), len(data), "e")]),
        "corpus-bucket",
        rows_of,
        reader,
        files,
        max_records=max_records,
        max_bytes=max_bytes,
        claimed_elsewhere=claimed,
    )
    return count, files


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


corpus_lines = st.one_of(
    st.builds(lambda n: json.dumps({"id": f"r{n}", "text": "x" * n}).encode(), st.integers(0, 30)),
    st.builds(lambda n: json.dumps({"recordId": f"p {n}", "modelInput": {"n": n}}).encode(), st.integers(0, 9)),
    st.sampled_from([b"", b"  ", b"no json", b"[]", b'{"id":"x"}', b'{"id":[],"text":"x"}', b"y" * (MAX_LINE + 1)]),
)
corpora = st.lists(corpus_lines, max_size=60).map(b"\n".join)


@given(corpora, st.integers(1, 9), st.integers(500, 3000), st.sets(st.integers(0, 30)))
def test_every_line_is_accounted_for_and_every_piece_is_legal(
    data: bytes, max_records: int, max_bytes: int, claimed: set[int]
) -> None:
    elsewhere = ClaimedBy(f"r{n}" for n in claimed)
    for claims in (None, elsewhere):
        count, files = cut(data, max_records=max_records, max_bytes=max_bytes, claimed=claims)
        assert count.read == sum(bool(line.strip()) for line in data.split(b"\n"))
        assert count.read == count.accepted + count.rejected + count.duplicate
        assert count.accepted == sum(piece.records for piece in count.pieces)
        assert [piece.piece for piece in count.pieces] == list(files.pieces)
        for piece in count.pieces:
            shard, _ = files.pieces[piece.piece]
            ids = [json.loads(line)["recordId"] for line in shard.split(b"\n")[:-1]]
            assert piece.records == len(ids) == len(set(ids)) <= max_records
            assert piece.bytes == len(shard) <= max_bytes
            assert piece.records > 0
            if claims:
                assert not claims.ids.intersection(ids)


@given(corpora)
def test_a_retry_gives_the_same_bytes(data: bytes) -> None:
    first, second = cut(data), cut(data)
    assert first[0] == second[0]
    assert (first[1].pieces, first[1].failures) == (second[1].pieces, second[1].failures)


@given(corpora)
def test_index_lines_point_at_the_record_and_at_its_source(data: bytes) -> None:
    count, files = cut(data)
    for piece in count.pieces:
        shard, _ = files.pieces[piece.piece]
        for pointer in files.index(piece.piece):
            assert pointer["shard"] == piece.piece
            line = json.loads(shard[pointer["offset"] : pointer["offset"] + pointer["length"]])
            assert line["recordId"] == pointer["recordId"]
            source = pointer["source"]
            assert source["key"] == "t/corpus/a.jsonl"
            origin = json.loads(data[source["offset"] : source["offset"] + source["length"]])
            assert str(origin.get("recordId") or origin.get("id")) == pointer.get("id", pointer["recordId"])


def test_index_carries_original_id_and_sequence_and_no_text() -> None:
    _, files = cut(jsonl({"id": 'a "b"/ü', "text": "SECRET", "page": "7\n"}))
    (pointer,) = files.index("00007-001")
    assert (pointer["id"], pointer["sequence"]) == ('a "b"/ü', "7\n")
    assert b"SECRET" not in files.pieces["00007-001"][1]


def test_failure_lines_name_line_field_and_rule() -> None:
    data = b'\n{"id": "a", "text": "x"}\n{"id": "b"}\r\n' + b"z" * 500 + b'\n{"id": "a", "text": "y"}\n'
    count, files = cut(data)
    assert (count.read, count.accepted, count.rejected, count.duplicate) == (4, 1, 2, 1)
    missing, large, double = files.failed
    assert missing == {
        "recordId": "b",
        "errorClass": "missing_field",
        "errorCode": "RejectedLine",
        "errorMessage": "line 3: field 'text': missing, and the prompt names it; the row has id",
        "attempt": 0,
        "source": {"bucket": "corpus-bucket", "key": "t/corpus/a.jsonl", "offset": 26, "length": 11},
    }
    assert (large["errorClass"], large["source"]["length"]) == ("too_large", 500)
    assert large["errorMessage"] == "line 4: the line has 500 bytes, more than the 400 allowed for one record"
    assert (double["recordId"], double["errorClass"], double["errorCode"]) == ("a", "duplicate", "DuplicateLine")


def test_a_piece_never_outgrows_its_bytes() -> None:
    count, files = cut(jsonl(*({"id": name, "text": "x" * 100} for name in "abcdefg")), max_records=100, max_bytes=600)
    assert [piece.records for piece in count.pieces] == [3, 3, 1]
    assert all(len(shard) <= 600 for shard, _ in files.pieces.values())


def test_a_range_in_mid_object_says_from_where_its_lines_count() -> None:
    files = Files()
    reader = RecordReader(id_field=None, sequence_field=None, renderer=None, max_line_bytes=MAX_LINE, reach=REACH)
    part = CutRange("k", 3, 9, 9, "e")
    cut_records(
        Cut("00001", [part]),
        "b",
        lambda part: lines_of_range([b"\nbad\nx\n"], part.start, part.end, MAX_LINE),
        reader,
        files,
        max_records=5,
        max_bytes=500,
    )
    assert [one["errorMessage"].partition(":")[0] for one in files.failed] == [
        "line 1 after byte 3",
        "line 2 after byte 3",
    ]


def test_the_same_id_in_two_pieces_is_left_to_the_ledger() -> None:
    count, _ = cut(jsonl(*({"id": name, "text": "x"} for name in "abca")), max_records=2)
    assert (count.accepted, count.duplicate) == (4, 0)


def test_claims_of_another_run_are_asked_for_a_hundred_at_a_time() -> None:
    elsewhere = ClaimedBy(f"r{n}" for n in range(0, 250, 2))
    data = jsonl(*({"id": f"r{n}", "text": "x"} for n in range(250)))
    count, _ = cut(data, max_records=500, max_bytes=10**6, claimed=elsewhere)
    assert elsewhere.asked == [100, 100, 50]
    assert (count.accepted, count.duplicate) == (125, 125)


def test_records_that_wait_for_their_claims_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "LOOKUP_BYTES", 1000)
    elsewhere = ClaimedBy([])
    cut(jsonl(*({"id": f"r{n}", "text": "x" * 200} for n in range(20))), claimed=elsewhere)
    assert max(elsewhere.asked) <= 4


def test_more_pieces_than_counts_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "MAX_PIECES", 2)
    with pytest.raises(InvalidRequestError, match="max_records_per_shard"):
        cut(jsonl(*({"id": name, "text": "x"} for name in "abc")), max_records=1)


def test_nothing_readable_makes_no_file() -> None:
    count, files = cut(b"\n \r\n\t\n")
    assert (count.read, files.pieces, files.failures) == (0, {}, b"")
