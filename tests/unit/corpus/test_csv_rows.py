"""CSV: rows with line ends in fields, dialects, encodings, any bytes at all."""

import csv
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv
from bulk_inference.corpus.rows import Row
from tests.worlds.corpus_world import (
    BLOCKS,
    COLUMNS,
    CUT_BYTES,
    TEXTS,
    as_csv,
    assert_all_rendered,
    cut,
    gzipped,
    rows,
    source,
)


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES, BLOCKS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be", "gb18030"]))
def test_csv_whatever_the_blocks(texts: list[str], cut_bytes: int, block: int, encoding: str) -> None:
    """A lone carriage return is quoted by the writer, and comes back as it was."""
    body = as_csv(texts, quoting=csv.QUOTE_ALL).encode(encoding)
    declared = None if encoding in ("utf-8", "utf-8-sig", "utf-16") else encoding
    found = cut({"a.csv": body}, source(encoding=declared), cut_bytes=cut_bytes, block=block)
    assert_all_rendered(found, texts)
    assert_all_rendered(cut({"a.csv.gz": gzipped(body)}, source(encoding=declared), block=block), texts)


@settings(deadline=None)
@given(st.lists(TEXTS.map(lambda text: "".join(text.split()) or "x"), min_size=1, max_size=40), CUT_BYTES, BLOCKS)
def test_csv_without_line_ends_in_fields_is_cut_in_ranges(texts: list[str], cut_bytes: int, block: int) -> None:
    body = as_csv(texts).encode()
    found = cut({"a.csv": body}, source(csv=Csv(quoted_newlines=False)), cut_bytes=cut_bytes, block=block)
    assert_all_rendered(found, texts)
    assert len(found.parts) == -(-len(body) // cut_bytes)


MESS = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b'""', b"\xff", b"\0", b"x,y", "é".encode()]))


@settings(deadline=None)
@given(MESS.map(b"".join), BLOCKS, st.booleans())
def test_any_bytes_as_csv_are_read_or_refused(body: bytes, block: int, header: bool) -> None:
    """Whatever the bytes: rows do not overlap, cover the object in order, and each is fields or a refusal."""

    def read(block: int) -> list[Row]:
        return rows(body, "a.csv", source(csv=Csv(header=header)), block=block)

    try:
        found = read(block)
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


def test_offsets_of_csv_rows_are_true_bytes() -> None:
    body = 'id,text\r\n1,"a\nü"\r\n\r\n2,b\n3,c'.encode()
    found = rows(body, "a.csv")
    assert [body[row.offset : row.offset + row.length] for row in found] == ['1,"a\nü"'.encode(), b"2,b", b"3,c"]
    assert [row.number for row in found] == [1, 2, 3]


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
    [
        (b"a,b,a\n", "names columns 1 and 3 alike"),
        (b'"a\n', "no CSV"),
        (b"\xff,b\n", "name its encoding by source.encoding"),
    ],
)
def test_a_header_that_cannot_be_one_names_the_object(header: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"c/a\.csv.*{words}"):
        rows(header + b"1,2,3\n", "a.csv")
