"""Corpora that break naive readers. Each row is rendered as it was, or refused by name; never changed, never lost."""

import gzip
import json
from typing import Any

import pyarrow
import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv, Source
from bulk_inference.corpus import compression, reader
from bulk_inference.corpus.compression import Unpacked
from tests.worlds.corpus_world import (
    PREFIX,
    Cutting,
    MemoryBucket,
    cut,
    cut_bucket,
    gzipped,
    jsonl,
    parquet_bytes,
    source,
    zstd,
)

SEPARATORS = "a\u2028b\u0085c\u2029d\x0be\x0cf\x1cg"
MEGABYTE = "x" * 1_000_000


def everywhere(text: str) -> dict[str, tuple[dict[str, bytes], Source]]:
    """One record with this text, in every format."""
    csv = f'id,text\n1,"{text}"\n'.encode()
    lines = jsonl({"id": "1", "text": text})
    return {
        "jsonl": ({"a.jsonl": lines}, source()),
        "jsonl.gz": ({"a.jsonl.gz": gzipped(lines)}, source()),
        "jsonl.zst": ({"a.jsonl.zst": zstd(lines)}, source()),
        "csv": ({"a.csv": csv}, source()),
        "csv.gz": ({"a.csv.gz": gzipped(csv)}, source()),
        "parquet": ({"a.parquet": parquet_bytes({"id": ["1"], "text": [text]})}, source()),
        "text": ({"a.txt": text.encode()}, source(format="text")),
        "text.gz": ({"a.txt.gz": gzipped(text.encode())}, source(format="text")),
    }


FORMATS = tuple(everywhere("x"))


def assert_one(found: Cutting, text: str) -> None:
    assert (found.total("read"), found.total("accepted")) == (1, 1)
    assert found.texts == [text]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "text",
    [SEPARATORS, "two\nlines\r\nand\rmore", "nul\0byte", "\u202eright to left", "emoji 🦜 and 漢字", " blanks "],
    ids=["U+2028 and U+0085", "line ends", "NUL", "direction", "wide", "blanks"],
)
def test_odd_characters_are_rendered_as_they_are(name: str, text: str) -> None:
    objects, given = everywhere(text)[name]
    for block in (1, 7, 10_000):
        assert_one(cut(objects, given, block=block), text)


@pytest.mark.parametrize("name", FORMATS)
def test_a_text_of_a_megabyte(name: str) -> None:
    objects, given = everywhere(MEGABYTE)[name]
    assert_one(cut(objects, given, block=65_536, max_line=2_000_000), MEGABYTE)


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_that_is_too_large_costs_itself(name: str) -> None:
    """Its neighbours, where the format has any, are read."""
    large, small = "y" * 300_000, "small"
    lines = jsonl({"id": "0", "text": small}, {"id": "1", "text": large}, {"id": "2", "text": small})
    csv = f'id,text\n0,{small}\n1,"{large}\n{large}"\n2,{small}\n'.encode()
    objects = {
        "jsonl": {"a.jsonl": lines},
        "jsonl.gz": {"a.jsonl.gz": gzipped(lines)},
        "jsonl.zst": {"a.jsonl.zst": zstd(lines)},
        "csv": {"a.csv": csv},
        "csv.gz": {"a.csv.gz": gzipped(csv)},
        "parquet": {"a.parquet": parquet_bytes({"id": ["0", "1", "2"], "text": [small, large, small]})},
        "text": {"a.txt": small.encode(), "b.txt": large.encode(), "c.txt": small.encode()},
        "text.gz": {"a.txt": small.encode(), "b.txt.gz": gzipped(large.encode()), "c.txt": small.encode()},
    }[name]
    for block in (999, 65_536):
        found = cut(objects, everywhere("x")[name][1], block=block)
        assert (found.classes, found.texts) == (["too_large"], [small, small])


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_byte_order_mark_crlf_and_a_missing_last_newline(mark: bytes, end: bytes, last: bool) -> None:
    jsons = mark + end.join([b'{"id":"1","text":"a"}', b"", b'{"id":"2","text":"b"}']) + (end if last else b"")
    rows = mark + end.join([b"id,text", b"1,a", b"", b"2,b"]) + (end if last else b"")
    for name, body in (("a.jsonl", jsons), ("a.csv", rows)):
        for objects in ({name: body}, {name + ".gz": gzipped(body)}):
            found = cut(objects, block=3, cut_bytes=11)
            assert found.texts == ["a", "b"]
    found = cut({"a.jsonl": jsons})
    for pointer, text in zip(found.pointers, (b'"a"', b'"b"'), strict=True):
        place = pointer["source"]
        assert text in jsons[place["offset"] : place["offset"] + place["length"]]


def test_documents_of_several_encodings_tell_by_their_marks() -> None:
    text = "Grüße – 漢字"
    objects = {
        f"{n}.txt": text.encode(encoding) for n, encoding in enumerate(["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    }
    assert cut(objects, source(format="text")).texts == [text] * 4


@pytest.mark.parametrize("encoding", ["iso8859-1", "cp1252", "shift_jis", "gb18030", "big5", "utf-16-be"])
def test_declared_encodings(encoding: str) -> None:
    text = {"iso8859-1": "Grüße", "cp1252": "“Grüße” €"}.get(encoding, "漢字、日本語" if encoding != "big5" else "漢字")
    csv = f"id,text\n1,{text}\n".encode(encoding)
    line = json.dumps({"id": "1", "text": text}, ensure_ascii=False).encode(encoding)
    for objects in ({"a.csv": csv}, {"a.jsonl": line}):
        assert_one(cut(objects, source(encoding=encoding)), text)
    assert_one(cut({"a.txt": text.encode(encoding)}, source(format="text", encoding=encoding)), text)


def test_utf_16_without_saying_so_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match=r"a\.jsonl is utf-16-le by its byte order mark"):
        cut({"a.jsonl": jsonl({"text": "x"}).decode().encode("utf-16")})


def test_bytes_that_are_no_text_cost_their_record_and_not_the_file() -> None:
    bad = b"caf\xe9"
    table = pyarrow.table(
        {
            "id": ["0", "1", "2"],
            "text": pyarrow.array([b"ok", bad, b"ok"]).view(pyarrow.string()),
        }
    )
    lines = [b'{"id":"%d","text":"%s"}' % (n, text) for n, text in enumerate([b"ok", bad, b"ok"])]
    corpora: list[tuple[dict[str, bytes], Source]] = [
        ({"a.jsonl": b"\n".join(lines)}, source()),
        ({"a.jsonl.gz": gzipped(b"\n".join(lines))}, source()),
        ({"a.csv": b'id,text\n0,ok\n1,"a\n%s"\n2,ok\n' % bad}, source()),
        ({"a.parquet": parquet_bytes(table)}, source()),
        ({"a.txt": b"ok", "b.txt": bad, "c.txt": b"ok"}, source(format="text")),
        ({"a.csv": b"id,text\n0,ok\n1,\x81\n2,ok\n"}, source(encoding="cp1252")),
    ]
    for objects, given in corpora:
        found = cut(objects, given)
        assert (found.classes, found.texts) == (["undecodable"], ["ok", "ok"]), objects


def test_lone_surrogates() -> None:
    lines = [b'{"id":"1","text":"\\ud800"}', b'{"id":"2","text":"\\ud83e\\udd9c"}', b'{"id":"3","text":"\xed\xa0\x80"}']
    found = cut({"a.jsonl": b"\n".join(lines)})
    assert (found.classes, found.texts) == (["lone_surrogate", "undecodable"], ["🦜"])
    half = "id,text\n1,".encode("utf-16") + b"\x00\xd8" + "\n2,ok\n".encode("utf-16-le")
    found = cut({"a.csv": half})
    assert (found.classes, found.texts) == (["undecodable"], ["ok"])


def test_nan_and_infinities() -> None:
    numbers = [b"NaN", b"-Infinity", b"1e999", b"1.5"]
    found = cut({"a.jsonl": b"\n".join(b'{"id":"%d","text":%s}' % pair for pair in enumerate(numbers))})
    assert (found.classes, found.texts) == (["not_json"] * 3, ["1.5"])
    values = [float("nan"), float("inf"), 1.5]
    table = {"id": ["1", "2", "3"], "text": values}
    assert cut({"a.parquet": parquet_bytes(table)}).texts == ["NaN", "Infinity", "1.5"]
    # No result line could hold it.
    found = cut({"a.parquet": parquet_bytes(table)}, source(carry=["text"]))
    assert (found.classes, found.texts) == (["illegal_carry"] * 2, ["1.5"])
    found = cut({"a.parquet": parquet_bytes(table)}, source(sequence_field="text"))
    assert (found.classes, found.texts) == (["illegal_sequence"] * 2, ["1.5"])


def test_duplicate_keys_and_columns() -> None:
    found = cut(
        {"a.jsonl": b'{"id":"1","text":"a","text":"b"}\n{"id":"2","text":{"k":1,"k":1}}\n{"id":"3","text":"x"}'}
    )
    assert (found.classes, found.texts) == (["duplicate_key"] * 2, ["x"])
    with pytest.raises(InvalidRequestError, match=r"a\.csv: its header names columns"):
        cut({"a.csv": b"id,text,text\n1,a,b\n"})
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    with pytest.raises(InvalidRequestError, match=r"a\.parquet has two columns 'text'"):
        cut({"a.parquet": parquet_bytes(twice)})
    pairs = pyarrow.array([[("k", 1), ("k", 2)], [("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    found = cut({"a.parquet": parquet_bytes({"id": ["1", "2"], "text": pairs})})
    assert (found.classes, found.texts) == (["duplicate_key"], ['{"k":1}'])


def test_ten_thousand_tiny_files() -> None:
    count = 10_000
    documents = {f"{n % 100:02d}/{n:05d}.txt": b"text %d" % n for n in range(count)}
    documents["00/empty.txt"] = b""
    found = cut(documents, source(format="text"), max_records=100_000)
    assert (found.total("read"), found.total("accepted"), found.classes) == (count + 1, count, ["empty_document"])
    assert len(found.counts) >= 20
    lines = {f"{n:05d}.jsonl": jsonl({"id": f"r{n}", "text": "x"}) for n in range(count)}
    assert cut(lines, max_records=100_000).total("accepted") == count


def test_csv_that_is_malformed_costs_its_rows() -> None:
    body = (
        b"id,text\n"
        b"1,fine\n"
        b'2,"quoted" and more\n'
        b"3,too,many\n"
        b"4\n"
        b'5,5" pipe\n'
        b'6,"a ""quoted"" word"\n'
        b"7,carriage\rreturn\n"
        b"8,fine\n"
        b'9,"never closed\n'
    )
    found = cut({"a.csv": body})
    assert found.texts == ["fine", '5" pipe', 'a "quoted" word', "fine"]
    assert found.classes == ["not_csv"] * 5
    messages = [one["errorMessage"] for one in found.refused]
    assert messages[0] == "row 2: no CSV: ',' expected after '\"'"
    assert messages[1:3] == ["row 3: it has 3 fields, the header 2", "row 4: it has 1 fields, the header 2"]
    last = found.refused[-1]["source"]
    assert body[last["offset"] : last["offset"] + last["length"]] == b'9,"never closed'


def test_a_quote_that_nothing_closes_does_not_hold_the_object_in_memory() -> None:
    body = b'id,text\n1,a\n2,"' + b"x\n" * 100_000 + b'3,"b"\n4,c\n'
    found = cut({"a.csv": body}, max_line=10_000)
    assert found.classes == ["too_large"]
    # What follows the quote that was taken for the closing one is read again.
    assert found.texts == ["a", "c"]
    assert found.total("read") == 3


def test_rows_that_lie_about_line_ends_are_refused() -> None:
    found = cut({"a.csv": b'id,text\n1,"a\nb"\n2,ok\n'}, source(csv=Csv(quoted_newlines=False)))
    assert (found.classes, found.texts) == (["not_csv", "not_csv"], ["ok"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.zst"])
def test_empty_files(name: str) -> None:
    for body in (b"", b"\n", b"\xef\xbb\xbf"):
        packed = gzipped(body) if name.endswith(".gz") else zstd(body) if name.endswith(".zst") else body
        found = cut({name: packed})
        assert (found.total("read"), found.files.failures) == (0, b"")


def test_tables_without_rows() -> None:
    assert cut({"a.csv": b"id,text\n"}).total("read") == 0
    assert cut({"a.parquet": parquet_bytes({"id": [], "text": []})}).total("read") == 0
    # An object of no bytes at all is no Parquet, and no record either.
    assert cut({"a.parquet": b"", "b.parquet": parquet_bytes({"text": ["x"]})}).total("read") == 1


def test_empty_documents_are_refused_each() -> None:
    objects = {"a.txt": b"", "b.txt": b" \n\t", "c.txt": b"\xef\xbb\xbf", "d.txt.gz": gzipped(b""), "e.txt": b"x"}
    found = cut(objects, source(format="text"), template="Summarise: {{text}}")
    assert (found.classes, found.total("accepted")) == (["empty_document"] * 4, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_changes_while_it_is_read_is_named(name: str) -> None:
    """The first byte is read of one object, the rest of another: neither is a corpus."""
    objects, given = everywhere("z" * 5_000)[name]
    ((key, body),) = objects.items()

    class Shrinking(MemoryBucket):
        def read(self, key: str, **given: Any) -> Any:
            for block in super().read(key, **given):
                yield block
                self.objects[key] = body[: len(body) // 2]

    bucket = Shrinking({PREFIX + key: body}, block=min(1000, len(body) // 3))
    with pytest.raises(InvalidRequestError, match=rf"c/{key} has changed"):
        cut_bucket(bucket, given)


@pytest.mark.parametrize("pack", [gzipped, zstd])
def test_a_compressed_object_that_is_cut_off_is_named(pack: Any) -> None:
    name = "a.jsonl.gz" if pack is gzipped else "a.jsonl.zst"
    whole = pack(jsonl(*({"id": str(n), "text": f"text {n * 7919}"} for n in range(5000))))
    for body in (whole[: len(whole) // 2], b"no such format", whole[:-3]):
        with pytest.raises(InvalidRequestError, match=rf"{name} cannot be unpacked"):
            cut({name: body}, max_records=100_000)
    cut_off = {name.replace("jsonl", "txt"): whole[:-3], "b.txt": b"ok"}
    found = cut(cut_off, source(format="text"), max_line=1_000_000)
    assert (found.classes, found.texts) == (["undecodable"], ["ok"])


@pytest.mark.parametrize("pack", [gzipped, zstd])
def test_several_members_in_a_compressed_object(pack: Any) -> None:
    first, second = jsonl({"id": "1", "text": "a"}), jsonl({"id": "2", "text": "b"})
    name = "a.jsonl.gz" if pack is gzipped else "a.jsonl.zst"
    for block in (1, 1000):
        assert cut({name: pack(first) + pack(second)}, block=block).texts == ["a", "b"]
    if pack is gzipped:
        assert cut({name: pack(first) + b"\0" * 512}).texts == ["a"]


def test_a_bomb_is_unpacked_piece_by_piece() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    sizes = [len(piece) for piece in Unpacked([bomb], "gzip")]
    assert (sum(sizes), max(sizes) <= 1024 * 1024) == (200_000_000, True)
    found = cut({"a.txt.gz": bomb}, source(format="text"))
    assert found.classes == ["too_large"]


@pytest.mark.parametrize(("name", "filling"), [("b.jsonl.gz", b"\n"), ("b.csv.gz", b"\n")])
def test_an_object_that_unpacks_to_far_more_than_it_has_is_given_up_alone(
    name: str, filling: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "UNPACKED_AT_LEAST", 1024)
    monkeypatch.setattr(compression, "_OUT", 4096)
    good = b"".join(b'{"text": "row %d"}\n' % n for n in range(3)) if "jsonl" in name else b"text\na\nb\nc\n"
    bomb = gzip.compress(good + filling * 300_000, 9)
    plain = {"a.jsonl.gz" if "jsonl" in name else "a.csv.gz": gzip.compress(good)}
    found = cut({**plain, name: bomb}, max_records=10_000_000)
    assert found.classes[-1] == "too_large"
    assert found.total("accepted") + found.total("duplicate") == 6
    assert "unpacks to more than" in found.refused[-1]["errorMessage"]


def test_a_parquet_file_that_is_damaged() -> None:
    with pytest.raises(InvalidRequestError, match=r"a\.parquet is no Parquet file"):
        cut({"a.parquet": b"PAR1 and so on, but not really PAR1"})
    table = {"id": [f"r{n}" for n in range(3000)], "text": [f"text {n * 7919}" for n in range(3000)]}
    body = bytearray(parquet_bytes(table, row_group_size=1000, use_dictionary=False))
    body[len(body) // 2 : len(body) // 2 + 50] = b"\xff" * 50
    found = cut({"a.parquet": bytes(body)}, max_records=10_000)
    assert found.total("read") == 3000
    assert set(found.classes) == {"not_parquet"}
    # Rows of the page before the damage may be read; those after it in the row group are not.
    assert 1 <= found.total("rejected") <= 1000
    assert {one["source"]["rowGroup"] for one in found.refused} == {1}


def test_parquet_without_pyarrow_is_refused_by_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidRequestError, match="apply the module with parquet"):
        cut({"a.parquet": b"PAR1"})
    if sys.version_info < (3, 14):
        with pytest.raises(InvalidRequestError, match="apply the module with parquet"):
            cut({"a.jsonl.zst": b"any"})
