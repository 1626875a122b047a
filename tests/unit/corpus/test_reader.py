"""Objects as rows, whatever their format: what is read is accounted for, carried along and found again."""

import csv
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv
from bulk_inference.corpus.compression import Unpacked
from bulk_inference.corpus.csv_rows import CsvObject, csv_rows
from bulk_inference.corpus.encodings import charset_of, physical_lines
from bulk_inference.corpus.ranges import CutRange, select
from bulk_inference.corpus.reader import part_rows
from tests.worlds.corpus_world import (
    COLUMNS,
    CUT_BYTES,
    PREFIX,
    MemoryBucket,
    as_csv,
    cut,
    gzipped,
    jsonl,
    parquet_bytes,
    source,
    zstd,
)


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES)
def test_every_document_below_a_prefix_is_one_record(texts: list[str], cut_bytes: int) -> None:
    objects = {f"{n:03d}.txt": text.encode() for n, text in enumerate(texts)}
    found = cut(objects, source(format="text"), cut_bytes=cut_bytes)
    # Three bytes that look like a mark of byte order are one.
    assert found.texts == [text.removeprefix("\ufeff") for text in texts] or found.total("rejected")
    assert found.total("read") == len(texts)
    assert sum(len(one["id"]) for one in found.pointers) == len(PREFIX + "000.txt") * found.total("accepted")


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


def test_a_corpus_of_keys_keeps_their_order_and_every_one_is_needed() -> None:
    objects = {"b.jsonl": jsonl({"id": "1", "text": "b"}), "a.jsonl": jsonl({"id": "2", "text": "a"})}
    assert cut(objects, source(keys=[PREFIX + "b.jsonl", PREFIX + "a.jsonl"])).texts == ["b", "a"]
    with pytest.raises(
        InvalidRequestError, match=r"source\.keys\[1\]: s3://b/default/corpus/c/no\.jsonl does not exist"
    ):
        cut(objects, source(keys=[PREFIX + "b.jsonl", PREFIX + "no.jsonl"]))


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


def _endless(line: bytes, size: int) -> Iterator[bytes]:
    for _ in range(size // (len(line) * 100)):
        yield line * 100


@pytest.mark.parametrize("name", ["csv", "utf-16", "gzip", "zstd"])
def test_an_object_is_read_as_a_stream(name: str) -> None:
    """What is held at the most is a part of what passes."""
    plain, wide = charset_of(None, b""), charset_of("utf-16-le", b"")
    readers: dict[str, Callable[[], Iterable[object]]] = {
        "csv": lambda: csv_rows(
            _endless(b'1,"%s\nb"\n' % (b"a" * 500), 1_000_000),
            CsvObject("a.csv", plain, Csv(names=["id", "text"]), 10_000),
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
