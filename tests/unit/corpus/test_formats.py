"""Which objects are a corpus, and of which format."""

import pytest

from bulk_inference.core.errors import InvalidRequestError
from tests.worlds.corpus_world import cut, gzipped, jsonl, parquet_bytes, source


def test_objects_of_two_formats_are_no_corpus() -> None:
    objects = {"a.csv": b"id,text\n1,x\n", "b.jsonl": jsonl({"text": "x"})}
    with pytest.raises(InvalidRequestError, match=r"holds csv and jsonl .*set source\.format"):
        cut(objects)
    found = cut(objects, source(format="csv"))
    assert (found.texts, found.notes[0][:28]) == (["x"], "1 object is not csv by name ")


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
