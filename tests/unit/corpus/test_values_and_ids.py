"""CSV as others write it, values that Parquet holds and nobody can name, text without a sign that it is text, ids."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bulk_inference.core.run_spec import Csv
from tests import cases
from tests.worlds.corpus_world import cut, jsonl, parquet_bytes, rows, source
from tests.worlds.ingest_world import World, ingest_world

PREFIX = "default/corpus/c/"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def fields(body: bytes, name: str = "a.csv", **csv: Any) -> list[Any]:
    return [row.fields or row.refusal for row in rows(body, name, source(csv=Csv(**csv)))]


SPARK = cases.corpus("csv-backslash-escape")


def test_a_backslash_makes_a_quote_plain() -> None:
    found = fields(SPARK["spark.csv"], escape="\\")
    assert [one["text"] for one in found] == ['height 6"', "plain two", "plain three", "plain four"]
    assert [one["text"] for one in fields(SPARK["quotes.csv"], escape="\\")] == ['he said "hi", ok', "plain"]


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b'id,text\n1,"a \\\\"\n2,b\n', ["a \\", "b"]),
        (b'id,text\n1,"a\n\\"b\\"\nc"\n2,d\n', ['a\n"b"\nc', "d"]),
        (b'id,text\n1,"a ""b"""\n2,c\n', ['a "b"', "c"]),
        (b"id,text\n1,a\\,b\n2,c\n", ["a,b", "c"]),
    ],
)
def test_other_rows_with_an_escape(body: bytes, texts: list[str]) -> None:
    assert [one["text"] for one in fields(body, escape="\\")] == texts


def test_without_it_the_refused_row_says_how_much_it_covers() -> None:
    found = cut({"spark.csv": SPARK["spark.csv"]})
    (failure,) = found.refused
    assert failure["errorMessage"].startswith("row 1 (over 4 lines, ")
    assert (found.counts[0].kinds["not_csv"].lines, found.counts[0].kinds["not_csv"].rows) == (4, 1)


@pytest.mark.parametrize(
    ("body", "delimiter"),
    [
        (b"id;text\n1;a, b\n", ";"),
        (b"id\ttext\n1\ta; b\n", "\t"),
        (b"id|text\n1|a\n", "|"),
        (b'"id;x",text\n1,a\n', ","),
        (b"text\na\n", ","),
    ],
)
def test_auto_takes_what_separates_the_names(body: bytes, delimiter: str) -> None:
    assert fields(body, delimiter="auto") == fields(body, delimiter=delimiter)


def test_auto_is_each_objects_own_and_cut_in_ranges_alike() -> None:
    objects = {"a.csv": b"id;text\n1;a\n", "b.csv": b"id,text\n2,b\n"}
    assert cut(objects, source(csv=Csv("auto"))).texts == ["a", "b"]
    body = b"id;text\n" + b"".join(b"%d;t%d\n" % (n, n) for n in range(50))
    found = cut({"a.csv": body}, source(csv=Csv("auto", quoted_newlines=False)), cut_bytes=60)
    assert found.texts == [f"t{n}" for n in range(50)]


def test_infinity_is_no_date(world: World) -> None:
    for name, body in cases.corpus("timestamp-out-of-range").items():
        world.input.put(PREFIX + name, body)
    plan = world.plan(**cases.request("timestamp-out-of-range"))
    world.cut_all(plan)
    (failure,) = world.jsonl("output", "default/runs/run-1/failures/part-cut-00001.jsonl")
    assert (failure["recordId"], failure["errorClass"]) == ("a", "not_parquet")
    assert "field 'until': cannot be read: a date or time beyond what can be named" in failure["errorMessage"]
    (shard,) = [body for key, body in world.objects("input").items() if "/shards/" in key]
    assert "b valid until 2024-01-02T03:04:05" in shard.decode()
    assert b"out of range" not in shard


def column(values: list[Any], kind: Any) -> bytes:
    file = io.BytesIO()
    whole = pyarrow.array(values, pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64())
    parquet.write_table(pyarrow.table({"at": whole.cast(kind)}), file)
    return file.getvalue()


FAR = 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "far", "near", "text"),
    [
        (pyarrow.timestamp("us", "UTC"), FAR, 0, "1970-01-01T00:00:00Z"),
        (pyarrow.timestamp("us"), -FAR, 1, "1970-01-01T00:00:00.000001"),
        (pyarrow.timestamp("ms"), FAR, 0, "1970-01-01T00:00:00"),
        (pyarrow.date32(), 2**31 - 1, 0, "1970-01-01"),
    ],
)
def test_what_arrow_cannot_name_never_becomes_text(kind: Any, far: int, near: int, text: str) -> None:
    refused, good = rows(column([far, near], kind), "a.parquet", source())
    assert refused.refusal is not None
    assert (refused.refusal.error_class, good.fields) == ("not_parquet", {"at": text})


def test_infinity_in_a_list_costs_its_row_too() -> None:
    file = io.BytesIO()
    inner = pyarrow.array([0, FAR]).cast(pyarrow.timestamp("us"))
    table = pyarrow.table({"at": pyarrow.ListArray.from_arrays([0, 1, 2], inner)})
    parquet.write_table(table, file)
    good, refused = rows(file.getvalue(), "a.parquet", source())
    assert good.fields == {"at": ["1970-01-01T00:00:00"]}
    assert refused.refusal is not None


def test_dates_that_can_be_named_stay_as_they_are() -> None:
    table = {"d": [date(1, 1, 1), date(9999, 12, 31)], "t": [datetime(1, 1, 1, tzinfo=UTC), None]}
    found = [row.fields for row in rows(parquet_bytes(table), "a.parquet", source())]
    assert found == [{"d": "0001-01-01", "t": "0001-01-01T00:00:00Z"}, {"d": "9999-12-31", "t": None}]


def test_text_that_is_binary_is_noted_or_read_as_text(world: World) -> None:
    for name, body in cases.corpus("parquet-text-as-binary").items():
        world.input.put(PREFIX + name, body)
    request = cases.request("parquet-text-as-binary")
    notes = world.plan(**request)["report"]["notes"]
    assert [note[:60] for note in notes if "binary" in note] == [
        f"column 'text' of {PREFIX}rows.parquet is binary, and is read a"[:60]
    ]
    request["source"]["parquet"] = {"binary": "text"}
    plan = world.plan("run-2", **request)
    assert not any("binary" in note for note in plan["report"]["notes"])
    world.cut_all(plan)
    (shard,) = [body for key, body in world.objects("input").items() if "run-2/shards/" in key]
    assert "About:\\nThe pump" in shard.decode()


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pyarrow.binary(), b"abc", "abc"),
        (pyarrow.large_binary(), "gr\u00fc\u00df".encode(), "gr\u00fc\u00df"),
        (pyarrow.list_(pyarrow.binary()), [b"a", None], ["a", None]),
        (pyarrow.binary(3), b"xyz", "xyz"),
    ],
)
def test_bytes_as_text(kind: Any, value: Any, text: Any) -> None:
    body = parquet_bytes({"v": pyarrow.array([value], kind)})
    (row,) = rows(body, "a.parquet", source(parquet_binary="text"))
    assert row.fields == {"v": text}


def test_bytes_that_are_no_text_cost_their_row() -> None:
    body = parquet_bytes({"v": pyarrow.array([b"\xff", b"ok"], pyarrow.binary())})
    refused, good = rows(body, "a.parquet", source(parquet_binary="text"))
    assert refused.refusal is not None
    assert (refused.refusal.error_class, good.fields) == ("undecodable", {"v": "ok"})


def test_whole_floats_are_ids() -> None:
    body = parquet_bytes({"id": [1.0, None, 2.5, 3e20], "text": ["a", "b", "c", "d"]})
    found = cut({"a.parquet": body})
    assert [one["recordId"] for one in found.pointers][:1] == ["1"]
    assert [one["errorClass"] for one in found.refused] == ["illegal_record_id"] * 2
    assert [one["recordId"] for one in cut({"a.jsonl": jsonl({"id": 7.0, "text": "x"})}).pointers] == ["7"]


def test_rejected_rows_keep_their_id() -> None:
    texts = cut({"empty.txt": b" ", "a.txt": b"x", "bad.txt": b"\xff\xfe\xfa"}, source(format="text"))
    assert sorted(one["recordId"] for one in texts.refused) == [PREFIX + "bad.txt", PREFIX + "empty.txt"]
    lines = cut({"a.jsonl": jsonl({"id": "r1"}, {"id": 2}) + b"broken\n"})
    assert [one["recordId"] for one in lines.refused] == ["r1", "2", None]
    assert [one["recordId"] for one in cut({"a.csv": b"id,txt\n9,x\n"}).refused] == ["9"]
    assert json.dumps(texts.refused)
