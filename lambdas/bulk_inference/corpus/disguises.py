"""What an object is that is not what its name says: told by its first bytes, with what to do about it."""

import re
from typing import Final

from bulk_inference.corpus import formats

HEAD_BYTES: Final = 16

_MAGIC: Final = (
    (b"\x1f\x8b", "gzip", "name it *.gz after its format, for example rows.jsonl.gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "name it *.zst after its format, for example rows.jsonl.zst"),
    (b"\xfd7zXZ\0", "xz", "unpack it, or compress it by gzip"),
    (b"PK\x03\x04", "a ZIP archive (so are .xlsx and .docx files)", "unpack it, or export it as CSV or text"),
    (b"Obj\x01", "Avro", "export it as Parquet or JSONL"),
    (b"SQLite format 3\0", "an SQLite database", "export it as CSV or JSONL"),
)
"""Each holds a byte that no text begins with."""

_BINARY: Final = (
    (b"PAR1", "Parquet", "name it *.parquet, or set source.format to parquet"),
    (b"BZh", "bzip2", "unpack it, or compress it by gzip"),
    (b"ORC", "ORC", "export it as Parquet or JSONL"),
    (b"%PDF-", "PDF", "extract its text, or let the model read it by prompt.documents"),
)
"""Letters: a text may begin so, unless control characters follow."""

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x80-\xff]")


def disguise(head: bytes, format_: str) -> str | None:
    """`it begins with 1f 8b: it is gzip: …` for an object that is read as JSONL, CSV or text, None for what may be so.

    `head`: its first HEAD_BYTES bytes, as they lie in the bucket.
    """
    if format_ == formats.PARQUET:
        return None
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            return _told(magic, what, remedy)
    for magic, what, remedy in _BINARY:
        if head.startswith(magic) and (_CONTROL.search(head, len(magic)) or magic == b"%PDF-"):
            return _told(magic, what, remedy)
    return None


def not_lines(first: bytes) -> str | None:
    """What the first line of a JSONL object shows the object to be, if it is not lines of JSON; for an object of which
    the first line is no record."""
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"["):
        return "it is one JSON array: write each of its elements on a line, for example by jq -c '.[]'"
    if text.strip() == b"{":
        return "its JSON goes over several lines: write each object on one line, for example by jq -c '.'"
    if text.startswith(b"<"):
        return "it is XML or HTML, maybe an error page that was saved: look at it"
    if b"\0" in text[:HEAD_BYTES]:
        return "it holds NUL bytes, as UTF-16 and UTF-32 do: set source.encoding, for example to utf-16"
    if b'"' not in text and text.count(b",") + text.count(b";") + text.count(b"\t") > 1:
        return "it looks like CSV: set source.format to csv"
    return None


def _told(magic: bytes, what: str, remedy: str) -> str:
    return f"it begins with {magic[:4].hex(' ')}: it is {what}: {remedy}"
