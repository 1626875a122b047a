"""Every format of a source: whatever is read is accounted for, whatever the cuts; rendered is what was there."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv
from bulk_inference.corpus.compression import Unpacked
from bulk_inference.corpus.csv_rows import csv_rows
from bulk_inference.corpus.encodings import charset_of, physical_lines
from bulk_inference.corpus.ranges import CutRange, cut_line, pack_ranges, select
from bulk_inference.corpus.reader import part_rows
from bulk_inference.corpus.rows import Row
from tests.worlds.corpus_world import (
    PREFIX,
    Cutting,
    MemoryBucket,
    cut,
    cut_bucket,
    gzipped,
    jsonl,
    parquet_bytes,
    rows,
    source,
    zstd,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: bool(text.strip()))
COLUMNS = st.lists(TEXTS, min_size=1, max_size=40)
CUT_BYTES = st.integers(20, 3000)
CHUNKS = st.integers(1, 400)


def as_csv(texts: list[str], **options: Any) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, **options)
    writer.writerow(["id", "text"])
    writer.writerows((f"r{n}", text) for n, text in enumerate(texts))
    return file.getvalue()


def assert_all_rendered(found: Cutting, texts: list[str]) -> None:
    assert (found.total("read"), found.total("accepted"), found.total("rejected")) == (len(texts), len(texts), 0)
    assert found.texts == texts
    assert [one["recordId"] for one in found.pointers] == [f"r{n}" for n in range(len(texts))]


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES, CHUNKS)
def test_jsonl_whatever_the_cuts(texts: list[str], cut_bytes: int, chunk: int) -> None:
    body = jsonl(*({"id": f"r{n}", "text": text} for n, text in enumerate(texts)))
    assert_all_rendered(cut({"a.jsonl": body}, cut_bytes=cut_bytes, chunk=chunk), texts)
    assert_all_rendered(cut({"a.jsonl.gz": gzipped(body)}, cut_bytes=cut_bytes, chunk=chunk), texts)
    assert_all_rendered(cut({"a.ndjson.zst": zstd(body)}, cut_bytes=cut_bytes, chunk=chunk), texts)


@settings(deadline=None)
@given(COLUMNS, st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]), CHUNKS)
def test_jsonl_in_other_encodings(texts: list[str], encoding: str, chunk: int) -> None:
    text = "".join(json.dumps({"id": f"r{n}", "text": text}, ensure_ascii=False) + "\n" for n, text in enumerate(texts))
    found = cut({"a.jsonl": text.encode(encoding)}, source(encoding=encoding), chunk=chunk, cut_bytes=50)
    assert_all_rendered(found, texts)


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES, CHUNKS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be", "gb18030"]))
def test_csv_whatever_the_chunks(texts: list[str], cut_bytes: int, chunk: int, encoding: str) -> None:
    """A lone carriage return is quoted by the writer, and comes back as it was."""
    body = as_csv(texts, quoting=csv.QUOTE_ALL).encode(encoding)
    declared = None if encoding in ("utf-8", "utf-8-sig", "utf-16") else encoding
    found = cut({"a.csv": body}, source(encoding=declared), cut_bytes=cut_bytes, chunk=chunk)
    assert_all_rendered(found, texts)
    assert_all_rendered(cut({"a.csv.gz": gzipped(body)}, source(encoding=declared), chunk=chunk), texts)


@settings(deadline=None)
@given(st.lists(TEXTS.map(lambda text: "".join(text.split()) or "x"), min_size=1, max_size=40), CUT_BYTES, CHUNKS)
def test_csv_without_line_ends_in_fields_is_cut_in_ranges(texts: list[str], cut_bytes: int, chunk: int) -> None:
    body = as_csv(texts).encode()
    found = cut({"a.csv": body}, source(csv=Csv(quoted_newlines=False)), cut_bytes=cut_bytes, chunk=chunk)
    assert_all_rendered(found, texts)
    assert len(found.parts) == -(-len(body) // cut_bytes)


@settings(max_examples=40, deadline=None)
@given(COLUMNS, st.integers(1, 10), CUT_BYTES)
def test_parquet_whatever_the_cuts(texts: list[str], group_rows: int, cut_bytes: int) -> None:
    table = {"id": [f"r{n}" for n in range(len(texts))], "text": texts}
    body = parquet_bytes(table, row_group_size=group_rows)
    assert_all_rendered(cut({"a.parquet": body}, cut_bytes=cut_bytes), texts)


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES)
def test_every_document_below_a_prefix_is_one_record(texts: list[str], cut_bytes: int) -> None:
    objects = {f"{n:03d}.txt": text.encode() for n, text in enumerate(texts)}
    found = cut(objects, source(format="text"), cut_bytes=cut_bytes)
    # Three bytes that look like a mark of byte order are one.
    assert found.texts == [text.removeprefix("\ufeff") for text in texts] or found.total("rejected")
    assert found.total("read") == len(texts)
    assert sum(len(one["id"]) for one in found.pointers) == len(PREFIX + "000.txt") * found.total("accepted")


MESS = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b'""', b"\xff", b"\0", b"x,y", "é".encode()]))


@settings(deadline=None)
@given(MESS.map(b"".join), CHUNKS, st.booleans())
def test_any_bytes_as_csv_are_read_or_refused(body: bytes, chunk: int, header: bool) -> None:
    """Whatever the bytes: rows do not overlap, cover the object in order, and each is fields or a refusal."""

    def read(chunk: int) -> list[Row]:
        return rows(body, "a.csv", source(csv=Csv(header=header)), chunk=chunk)

    try:
        found = read(chunk)
    except InvalidRequestError:
        with pytest.raises(InvalidRequestError, match="header"):
            read(10_000)
        return
    assert [row[:5] for row in found] == [row[:5] for row in read(10_000)]
    end = 0
    for number, row in enumerate(found, 1):
        assert row.number == number
        assert row.offset >= end
        assert (row.fields is None) != (row.refusal is None)
        end = row.offset + row.length
    assert end <= len(body)


@settings(deadline=None)
@given(st.binary(max_size=300), CHUNKS)
def test_any_bytes_as_jsonl_are_accounted_for(body: bytes, chunk: int) -> None:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    found = cut({"a.jsonl": body}, source(), cut_bytes=20, chunk=chunk)
    lines = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert found.total("read") == len(lines)
    assert found.total("read") == found.total("accepted") + found.total("rejected") + found.total("duplicate")


@settings(deadline=None)
@given(COLUMNS, st.data())
def test_failed_rows_are_found_again(texts: list[str], data: st.DataObject) -> None:
    """What a failure line says of its row is enough to read that row, and no other, again."""
    table = {"id": [f"r{n}" for n in range(len(texts))], "text": texts}
    body = jsonl(*({"id": f"r{n}", "text": text} for n, text in enumerate(texts)))
    objects = {
        "a.csv": as_csv(texts, quoting=csv.QUOTE_ALL).encode(),
        "a.jsonl.gz": gzipped(body),
        "a.parquet": parquet_bytes(table, row_group_size=3),
    }
    wanted = data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1))
    for name, content in objects.items():
        bucket = MemoryBucket({PREFIX + name: content})
        stored = bucket.find(PREFIX + name)
        assert stored is not None
        whole = CutRange(stored.key, 0, stored.size, stored.size, stored.etag)
        places = []
        for number, row in enumerate(part_rows(bucket, whole, source(), 10_000)):
            if number in wanted:
                place = json.loads(f"{{{row.place}}}")
                places.append((place["rowGroup"], place["row"]) if "rowGroup" in place else (place["row"],))
        again = [
            row
            for part in select(whole, places)
            for row in part_rows(bucket, CutRange.from_json(part.to_json()), source(), 10_000)
        ]
        ids = [(row.fields or json.loads(row.data or b"{}"))["id"] for row in again]
        assert ids == [f"r{n}" for n in sorted(wanted)]


def test_offsets_of_csv_rows_are_true_bytes() -> None:
    body = 'id,text\r\n1,"a\nü"\r\n\r\n2,b\n3,c'.encode()
    found = rows(body, "a.csv")
    assert [body[row.offset : row.offset + row.length] for row in found] == ['1,"a\nü"'.encode(), b"2,b", b"3,c"]
    assert [row.number for row in found] == [1, 2, 3]


def test_a_corpus_of_keys_keeps_their_order_and_every_one_is_needed() -> None:
    objects = {"b.jsonl": jsonl({"id": "1", "text": "b"}), "a.jsonl": jsonl({"id": "2", "text": "a"})}
    assert cut(objects, source(keys=[PREFIX + "b.jsonl", PREFIX + "a.jsonl"])).texts == ["b", "a"]
    with pytest.raises(
        InvalidRequestError, match=r"source\.keys\[1\]: s3://b/default/corpus/c/no\.jsonl does not exist"
    ):
        cut(objects, source(keys=[PREFIX + "b.jsonl", PREFIX + "no.jsonl"]))


@pytest.mark.parametrize(
    ("glob", "matches"),
    [
        ("*.jsonl", "a.jsonl"),
        ("**.jsonl", "a.jsonl d/b.jsonl d/e/c.jsonl"),
        ("**/*.jsonl", "a.jsonl d/b.jsonl d/e/c.jsonl"),
        ("d/*", "d/b.jsonl"),
        ("d/?.jsonl", "d/b.jsonl"),
        ("[!ab].jsonl", ""),
        ("**/[bc].jsonl", "d/b.jsonl d/e/c.jsonl"),
        ("d/*.jsonl", "d/b.jsonl"),
    ],
)
def test_globs(glob: str, matches: str) -> None:
    names = ["a.jsonl", "d/b.jsonl", "d/e/c.jsonl"]
    objects = {name: jsonl({"id": name, "text": name}) for name in names}
    assert cut(objects, source(glob=PREFIX + glob)).texts == matches.split()


def test_objects_of_two_formats_are_no_corpus() -> None:
    objects = {"a.csv": b"id,text\n1,x\n", "b.jsonl": jsonl({"text": "x"})}
    with pytest.raises(InvalidRequestError, match=r"holds csv and jsonl .*set source\.format"):
        cut(objects)
    found = cut(objects, source(format="csv"))
    assert (found.texts, found.notes[0][:30]) == (["x"], "1 objects are not csv by their")


@pytest.mark.parametrize(
    ("name", "format_", "taken"),
    [
        ("a.jsonl", "auto", "jsonl"),
        ("a.NDJSON.GZ", "auto", "jsonl"),
        ("a.tsv", "auto", "csv"),
        ("a.pq", "auto", "parquet"),
        ("a.txt", "text", "text"),
        ("a.json", "text", "text"),
        ("a.md.gz", "text", "text"),
        ("a.txt", "auto", None),
        ("a.csv", "jsonl", None),
        ("_SUCCESS", "text", None),
        (".hidden.jsonl", "auto", None),
        ("a.jsonl.bz2", "auto", None),
        ("a.parquet.gz", "parquet", None),
    ],
)
def test_what_is_taken_below_a_prefix(name: str, format_: str, taken: str | None) -> None:
    objects = {"sub/": b"", name: {"parquet": parquet_bytes({"text": ["x"]})}.get(taken or "", b"text\nx\n")}
    if name.lower().endswith(".gz"):
        objects[name] = gzipped(objects[name])
    if taken is None:
        with pytest.raises(InvalidRequestError, match="none of 1 objects is read"):
            cut(objects, source(format=format_))
    else:
        assert cut(objects, source(format=format_)).format == taken


def test_csv_as_the_request_says() -> None:
    def fields(body: str, **given: Any) -> list[Any]:
        return [row.fields or row.refusal for row in rows(body.encode(), "a.csv", source(csv=Csv(**given)))]

    assert fields("a;b\n1;2\n", delimiter=";") == [{"a": "1", "b": "2"}]
    assert fields("1,2\n", header=False) == [{"column_1": "1", "column_2": "2"}]
    assert fields("1,2\n", names=["x", "y"]) == [{"x": "1", "y": "2"}]
    assert fields("a,b\n'1,5','2''3'\n", quote="'") == [{"a": "1,5", "b": "2'3"}]
    assert fields('a,b\n"1,2"\n', quote="") == [{"a": '"1', "b": '2"'}]
    assert fields(",b\n1,2\n") == [{"column_1": "1", "b": "2"}]
    assert [row.fields for row in rows(b"a\tb\n1\t2\n", "a.tsv")] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("header", "words"),
    [(b"a,b,a\n", "names 'a' twice"), (b'"a\n', "no CSV"), (b"\xff,b\n", "name its encoding by source.encoding")],
)
def test_a_header_that_cannot_be_one_names_the_object(header: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"c/a\.csv.*{words}"):
        rows(header + b"1,2,3\n", "a.csv")


def test_parquet_types_as_texts_and_numbers() -> None:
    second = datetime(2026, 3, 4, 5, 6, 7)  # noqa: DTZ001 - a column may hold a local time
    table = pyarrow.table(
        {
            "int": pyarrow.array([2**62], pyarrow.int64()),
            "float": pyarrow.array([0.1]),
            "nan": pyarrow.array([float("nan")]),
            "null": pyarrow.array([None], pyarrow.string()),
            "bool": pyarrow.array([True]),
            "decimal": pyarrow.array([Decimal("12.30")]),
            "date": pyarrow.array([second.date()]),
            "time": pyarrow.array([second.time()]),
            "local": pyarrow.array([second], pyarrow.timestamp("ns")),
            "instant": pyarrow.array([second], pyarrow.timestamp("us", "Europe/Berlin")),
            "duration": pyarrow.array([90], pyarrow.duration("s")),
            "binary": pyarrow.array([b"\xff\0"]),
            "word": pyarrow.array(["x"]).dictionary_encode(),
            "struct": pyarrow.array([{"at": second, "tags": [{"k": Decimal("1.0")}, None]}]),
            "map": pyarrow.array([[("a", 1), ("b", None)]], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
        }
    )
    (row,) = rows(parquet_bytes(table), "a.parquet")
    found = dict(row.fields or {})
    assert str(found.pop("nan")) == "nan"
    assert found == {
        "int": 2**62,
        "float": 0.1,
        "null": None,
        "bool": True,
        "decimal": "12.30",
        "date": "2026-03-04",
        "time": "05:06:07",
        "local": "2026-03-04T05:06:07",
        "instant": "2026-03-04T05:06:07Z",
        "duration": 90,
        "binary": "/wA=",
        "word": "x",
        "struct": {"at": "2026-03-04T05:06:07", "tags": [{"k": "1.0"}, None]},
        "map": {"a": 1, "b": None},
    }


def test_nested_columns_render_as_json() -> None:
    body = parquet_bytes({"id": [7], "text": [{"a": [1, 2], "b": "ü"}], "price": [1.5]})
    found = cut({"a.parquet": body}, template="{{text}} {{text.b}} {{price}}")
    assert found.texts == ['{"a":[1,2],"b":"ü"} ü 1.5']
    assert found.pointers[0]["recordId"] == "7"


def test_carried_fields_and_sequences_ride_in_the_pointer() -> None:
    objects = {"a.csv": b"id,text,page,lang\n1,x,12,de\n2,y,,en\n3,z,p-9,fr\n"}
    found = cut(objects, source(sequence_field="page", carry=["lang", "none"]))
    assert [(one.get("sequence"), one["carry"]) for one in found.pointers] == [
        (12, {"lang": "de"}),
        (None, {"lang": "en"}),
        ("p-9", {"lang": "fr"}),
    ]
    found = cut(
        {"a.jsonl": jsonl({"id": "1", "text": "x", "page": "12", "lang": {"b": [1]}})},
        source(sequence_field="page", carry=["lang"]),
    )
    assert (found.pointers[0]["sequence"], found.pointers[0]["carry"]) == ("12", {"lang": {"b": [1]}})


def test_fields_that_are_too_much_to_carry_cost_their_record() -> None:
    body = jsonl({"id": "1", "text": "x", "more": "y" * 3000}, {"id": "2", "text": "x", "more": "z"})
    found = cut({"a.jsonl": body}, source(carry=["more"]))
    assert (found.classes, found.total("accepted")) == (["illegal_carry"], 1)


def test_a_row_without_an_id_gets_one_of_its_content() -> None:
    for name, body in (
        ("a.csv", b"text,n\nx,1\nx,2\nx,1\n"),
        ("a.parquet", parquet_bytes({"text": ["x"] * 3, "n": [1, 2, 1]})),
    ):
        found = cut({name: body})
        assert (found.total("accepted"), found.total("duplicate")) == (2, 1)
        assert all(one["recordId"].startswith("line-") for one in found.pointers)


def test_what_only_one_worker_can_read_is_said_and_bounded() -> None:
    objects = {"a.csv": b"id,text\n1,x\n", "b.csv.gz": gzipped(b"id,text\n2,y\n")}
    notes = " / ".join(cut(objects, cut_bytes=5).notes)
    assert "1 csv object is read by one worker each: where a row of CSV begins" in notes
    assert "1 gzip csv object is read by one worker each: gzip cannot be read from its middle" in notes

    class Huge(MemoryBucket):
        def _stored(self, key: str) -> Any:
            stored = super()._stored(key)
            return type(stored)(stored.key, 5 * 1024**3, stored.etag)

    with pytest.raises(InvalidRequestError, match=r"a\.csv has 5368709120 bytes.*quoted_newlines"):
        cut_bucket(Huge({PREFIX + "a.csv": objects["a.csv"]}))
    with pytest.raises(InvalidRequestError, match=r"b\.csv\.gz has 5368709120 bytes.*uncompressed"):
        cut_bucket(Huge({PREFIX + "b.csv.gz": objects["b.csv.gz"]}))


def _endless(line: bytes, size: int) -> Iterator[bytes]:
    for _ in range(size // (len(line) * 100)):
        yield line * 100


@pytest.mark.parametrize("name", ["csv", "utf-16", "gzip", "zstd"])
def test_an_object_is_read_as_a_stream(name: str) -> None:
    """What is held at the most is a part of what passes."""
    plain, wide = charset_of(None, b""), charset_of("utf-16-le", b"")
    readers: dict[str, Callable[[], Iterable[object]]] = {
        "csv": lambda: csv_rows(
            _endless(b'1,"%s\nb"\n' % (b"a" * 500), 1_000_000), plain, Csv(names=["id", "text"]), "a.csv", 10_000
        ),
        "utf-16": lambda: physical_lines(_endless(("line" * 100 + "\n").encode("utf-16-le"), 1_000_000), wide, 10_000),
        "gzip": lambda: Unpacked(iter([gzipped(bytes(32_000_000))]), "gzip"),
        "zstd": lambda: Unpacked(iter([zstd(bytes(32_000_000))]), "zstd"),
    }
    rows_of = readers[name]()
    tracemalloc.start()
    try:
        count = sum(1 for _ in rows_of)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 20
    assert peak < (5_000_000 if name in ("gzip", "zstd") else 500_000)


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 20_000)), min_size=1), st.booleans())
def test_selected_rows_are_all_named(places: set[tuple[int, int]], grouped: bool) -> None:
    whole = CutRange("k" * 1024, 0, 10**10, 10**10, "e" * 32)
    rows_of: list[tuple[int, ...]] = sorted(places if grouped else {(number,) for _, number in places})
    parts = list(select(whole, rows_of))
    named = [(*before, n) for part in parts for *before, first, last in part.rows or () for n in range(first, last + 1)]
    assert named == rows_of


def test_as_many_rows_as_possible_make_cuts_that_state_inputs_hold() -> None:
    whole = CutRange("k" * 1024, 0, 10**10, 10**10, "e" * 32)
    scattered = [(n // 10_000, n % 10_000 * 2) for n in range(30_000)]
    cuts = list(pack_ranges(select(whole, scattered), 256 * 1024**2))
    assert len(cuts) == 15
    assert all(len(json.dumps(json.loads(cut_line(one)))) < 200_000 for one in cuts)
