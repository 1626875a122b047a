"""Corpora of which nothing useful can come are no success: what is wrong is named before anything is submitted."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from tests import cases
from tests.worlds.corpus_world import parquet_bytes
from tests.worlds.ingest_world import World, ingest_world

PREFIX = "default/corpus/c/"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def plan(world: World, objects: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    for name, body in objects.items():
        world.input.put(PREFIX + name, body)
    return world.plan(**{"source": {"prefix": PREFIX}, "run": {"mode": "sync"}} | changes)


def lines(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def good(number: int, first: int = 0) -> list[dict[str, str]]:
    return [{"id": f"r{n}", "text": f"text {n}"} for n in range(first, first + number)]


def test_a_json_array_is_told_to_be_one(world: World) -> None:
    body = cases.corpus("nothing-accepted-succeeds")["array.json"]
    with pytest.raises(InvalidRequestError, match=r"array\.json: it is one JSON array.*jq -c '\.\[\]'"):
        plan(world, {"array.json": body}, **cases.request("nothing-accepted-succeeds"))


def test_a_corpus_of_which_most_rows_lack_the_field_is_refused(world: World) -> None:
    body = cases.corpus("nothing-accepted-succeeds")["mostly.jsonl"]
    with pytest.raises(InvalidRequestError, match=r"\(99\.0 %\).* missing_field.*tolerated_rejected_percentage"):
        plan(world, {"mostly.jsonl": body}, **cases.request("nothing-accepted-succeeds"))


def test_gzip_under_a_plain_name_is_told_to_be_gzip(world: World) -> None:
    body = cases.corpus("gzip-without-suffix")["data.jsonl"]
    with pytest.raises(InvalidRequestError, match=r"data\.jsonl: it begins with 1f 8b.*: it is gzip: name it \*\.gz"):
        plan(world, {"data.jsonl": body}, **cases.request("gzip-without-suffix"))


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("pretty.json", json.dumps(good(30), indent=1).encode(), "it is one JSON array"),
        ("object.json", json.dumps({"rows": good(30)}, indent=1).encode(), "its JSON goes over several lines"),
        ("error.jsonl", b"<html><body>403 Forbidden</body></html>\n", "it is XML or HTML"),
        ("wide.jsonl", lines(*good(30)).decode().encode("utf-16-le"), "it holds NUL bytes.*set source.encoding"),
        ("table.jsonl", b"id,text,more\n" + b"1,a,b\n" * 30, "it looks like CSV: set source.format to csv"),
        ("table.csv", zipped("xl/workbook.xml"), "50 4b 03 04: it is a ZIP archive .*xlsx"),
        ("rows.jsonl", parquet_bytes({"text": ["a"]}), "50 41 52 31: it is Parquet: name it"),
        ("twice.jsonl.gz", gzip.compress(gzip.compress(lines(*good(30)))), "unpacked: it begins with 1f 8b"),
    ],
)
def test_what_an_object_is_is_named(world: World, name: str, body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        plan(world, {name: body})


def test_a_text_that_only_begins_like_a_format_is_read(world: World) -> None:
    assert plan(world, {"a.csv": b"PAR1,text\n" + b"x,y\n" * 20})["report"]["corpus"]["records"] == 20


def test_a_document_that_is_no_text_costs_itself(world: World) -> None:
    objects = {f"{n}.txt": b"some text" for n in range(29)} | {"x.txt": zipped("word/document.xml")}
    request = {"source": {"prefix": PREFIX, "format": "text"}}
    for cut in world.cuts(made := plan(world, objects, **request)):
        assert (found := world.cut(made, cut))["rejected"] == 1, found
    (failure,) = world.jsonl("output", "default/runs/run-1/failures/part-cut-00001.jsonl")
    assert "it is a ZIP archive" in failure["errorMessage"]


def test_a_quote_that_nothing_closes_is_not_one_row(world: World) -> None:
    rows = [b"%d,text %d\n" % (n, n) for n in range(20_000)]
    rows[4] = b'4,"text 4\n'
    with pytest.raises(InvalidRequestError, match=r"bytes \(100\.0 %\) are rejected.*not_csv: 1 row, 19,996 lines, "):
        plan(world, {"a.csv": b"id,text\n" + b"".join(rows)})


def test_a_semicolon_is_taken_for_the_delimiter_only_on_demand(world: World) -> None:
    body = b"id;text\n" + b"".join(b"%d;text %d\n" % (n, n) for n in range(30))
    with pytest.raises(InvalidRequestError, match=r"a\.csv holds no ',' but 1 × ';': set source.csv.delimiter to ';'"):
        plan(world, {"a.csv": body})
    found = plan(world, {}, source={"prefix": PREFIX, "csv": {"delimiter": "auto"}})
    assert "source.csv.delimiter auto: ';' in" in " ".join(found["report"]["notes"])
    assert [one["accepted"] for one in world.cut_all(found)] == [30]


def test_the_columns_that_a_row_has_are_named(world: World) -> None:
    with pytest.raises(InvalidRequestError, match=r"field 'text': missing, .*the row has id, body"):
        plan(world, {"a.jsonl": lines(*[{"id": "1", "body": "x"}] * 30)})


def cut_and_seal(world: World, found: dict[str, Any]) -> dict[str, Any]:
    world.cut_all(found)
    return world.seal(found)


def test_what_the_sample_does_not_show_is_refused_when_all_is_cut(world: World) -> None:
    found = plan(world, {"a.jsonl": lines(*good(250), *([b"broken"] * 2_700))})
    with pytest.raises(InvalidRequestError) as told:
        cut_and_seal(world, found)
    assert str(told.value).startswith(
        "the corpus (counted by cutting; the rejected rows lie in failures/ of the run): 2,700 of 2,950 rows (91.5 %) "
        "and 16,200 of 24,480 bytes (66.2 %) are rejected, more than the 5 % tolerated: not_json: 2,700 rows, "
        "2,700 lines, 16,200 bytes, such as "
    )
    assert not list(world.runs.query("RUN#run-1", "SHARD#")), "nothing has been sealed"


def test_rejected_rows_are_counted_by_class_with_places(world: World) -> None:
    rows = [*good(100), b"broken", {"id": "x"}, b'{"text": "a", "text": "b"}', {"id": "y"}]
    found = plan(world, {"a.jsonl": lines(*rows)})
    (cut,) = world.cut_all(found)
    item = world.runs.get("RUN#run-1", "CUT#00001") or {}
    kinds = {one["errorClass"]: (one["rows"], one["lines"], one["bytes"]) for one in item["rejections"]}
    assert kinds == {"not_json": (1, 1, 6), "missing_field": (2, 2, 22), "duplicate_key": (1, 1, 26)}
    (sample,) = next(one["samples"] for one in item["rejections"] if one["errorClass"] == "not_json")
    assert sample["key"] == f"{PREFIX}a.jsonl"
    offset = int(sample["offset"])
    assert (world.input.get(f"{PREFIX}a.jsonl") or b"")[offset : offset + 6] == b"broken"
    assert found["report"]["corpus"]["rejections"] == [] or cut["rejected"] == 4
    assert cut_and_seal(world, found)["sync"]["records"] == 100


def test_one_poison_line_costs_one_record(world: World) -> None:
    found = plan(world, {"a.jsonl": lines(*good(2), b"x" * 5_000)})
    assert cut_and_seal(world, found)["sync"]["records"] == 2
    assert found["report"]["corpus"]["rejections"][0]["rows"] == 1
    assert "of 3 rows looked at: not_json: 1 row" in " ".join(found["report"]["notes"])


def test_a_tolerance_lets_a_run_go_on_but_none_lets_it_go_on_with_nothing(world: World) -> None:
    limits = {"tolerated_rejected_percentage": 100}
    found = plan(world, {"a.jsonl": lines(*good(1), *([b"broken"] * 15))}, limits=limits)
    assert cut_and_seal(world, found)["sync"]["records"] == 1
    with pytest.raises(InvalidRequestError, match="none of 15 rows is a record: not_json: 15 rows"):
        world.plan("run-2", source={"key": "default/corpus/b.jsonl"}, limits=limits, **_broken(world))


def _broken(world: World) -> dict[str, Any]:
    world.input.put("default/corpus/b.jsonl", b"broken\n" * 15)
    return {}


def test_all_of_it_known_already_is_no_mistake(world: World) -> None:
    scope = {"mode": "sync", "scope": "tickets"}
    world.claim("tickets", "old/sync-1", "r0", "r1", "r2")
    world.runs.put({"pk": "RUN#old", "sk": "META", "run": "old", "tenant": "default", "status": "succeeded"})
    found = plan(world, {"a.jsonl": lines(*good(3))}, run=scope)
    assert cut_and_seal(world, found)["sync"]["records"] == 0


def test_hidden_folders_hold_no_corpus(world: World) -> None:
    found = plan(world, cases.corpus("hidden-folders"), **cases.request("hidden-folders"))
    cut_and_seal(world, found)
    shards = [one for key, body in world.objects("input").items() if "/shards/" in key for one in body.splitlines()]
    texts = {one["recordId"]: one["modelInput"]["messages"][0]["content"][0]["text"] for one in map(json.loads, shards)}
    assert {name: text.rpartition(": ")[2].split("\n")[-1] for name, text in texts.items()} == {
        "a": "new text",
        "b": "two",
    }
    assert (
        f"2 objects are hidden, by a name or folder that begins with . or _, and not read, such as {PREFIX}.ipynb"
        in (" ".join(found["report"]["notes"]))
    )


@pytest.mark.parametrize(
    ("source", "names", "note"),
    [
        ({"prefix": PREFIX}, ["a", "p"], "files of a Delta Lake table are read as they lie"),
        ({"glob": PREFIX + "**/*.jsonl"}, ["a", "p"], "3 objects are hidden"),
        ({"glob": PREFIX + "_old/*.jsonl"}, ["o"], ""),
        ({"keys": [PREFIX + ".git/g.jsonl"]}, ["g"], ""),
        ({"prefix": PREFIX + "_old"}, ["o"], ""),
        ({"prefix": "default/corpus/c"}, ["a", "p", "s"], "beginning of several names (c-old/, c/)"),
    ],
)
def test_what_is_hidden_and_what_is_named(world: World, source: dict[str, Any], names: list[str], note: str) -> None:
    found = {
        "a.jsonl": "a",
        ".git/g.jsonl": "g",
        "_old/o.jsonl": "o",
        "_delta_log/0.jsonl": "d",
        "_day=1/p.jsonl": "p",
        "../c-old/s.jsonl": "s",
    }
    for name, id_ in found.items():
        key = "default/corpus/c-old/s.jsonl" if name.startswith("..") else PREFIX + name
        world.input.put(key, lines({"id": id_, "text": id_}))
    made = world.plan(source=source, run={"mode": "sync"})
    assert note in " ".join(made["report"]["notes"])
    world.cut_all(made)
    indexes = [body for key, body in world.objects("input").items() if "/index/" in key]
    assert sorted(json.loads(line)["recordId"] for body in indexes for line in body.splitlines()) == names
