"""Rows of a corpus: what every reader of a format makes, and what becomes records.

A row is a line of JSONL, a row of a CSV or Parquet file, or a whole text document. The reader of a format knows where
it lies and what it holds; `records.py` makes records of it, or a refusal that names a rule.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

TOO_LARGE: Final = "too_large"
UNDECODABLE: Final = "undecodable"
NOT_CSV: Final = "not_csv"
NOT_PARQUET: Final = "not_parquet"
EMPTY_DOCUMENT: Final = "empty_document"
"""Error classes of rows that a reader refuses by itself."""


class RejectedLineError(Exception):
    """A row that is no record: its error class and a message that names field and rule, never the row's text."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message


class Row(NamedTuple):
    """One row. It holds `data` (a JSON line) or `fields`, or a `refusal`, or none of them: then it is longer than a
    record may be, and its bytes were skipped, not kept."""

    number: int
    """1-based of lines within a range and of CSV rows within an object (the header is none); from 0 of Parquet rows
    within their row group."""
    offset: int
    """Byte offset in the object of the row's first byte, after a byte order mark."""
    length: int
    """Bytes, without the line's end (LF or CRLF)."""
    data: bytes | None = None
    """One line of JSON, UTF-8, without its end."""
    fields: Mapping[str, Any] | None = None
    refusal: RejectedLineError | None = None
    kind: str = "line"
    """`line`; `row`, which is found by its number from the object's beginning on; `packed`, a row inside a compressed
    object, where offsets would mean nothing; `document`."""
    group: int | None = None
    """0-based row group of a Parquet row, which has no bytes of its own."""
    lines: int = 1
    """Physical lines that it covers: a quoted field may hold line ends, and a quote that nothing closes any number."""

    @property
    def is_blank(self) -> bool:
        """A line of white space is not a record."""
        return self.data is not None and (not self.data or self.data.isspace())

    @property
    def place(self) -> str:
        """Members of `source` beside the key, as JSON text without braces."""
        if self.group is not None:
            return f'"rowGroup":{self.group},"row":{self.number}'
        if self.kind == "packed":
            return f'"row":{self.number}'
        place = f'"offset":{self.offset},"length":{self.length}'
        return f'{place},"row":{self.number}' if self.kind == "row" else place

    def where(self, start: int) -> str:
        """The row in words; `start` is the byte at which its range begins."""
        return self._where(start) + (f" (over {self.lines} lines, {self.length} bytes)" if self.lines > 1 else "")

    def _where(self, start: int) -> str:
        if self.group is not None:
            return f"row {self.number} of row group {self.group}"
        if self.kind == "document":
            return "document"
        if self.kind == "line":
            return f"line {self.number}" if start == 0 else f"line {self.number} after byte {start}"
        return f"row {self.number}"


def source_json(key: str, row: Row) -> str:
    """`{"key", …}`: which row of the corpus a record was, as JSON text. `key` is JSON text, too."""
    return f'{{"key":{key},{row.place}}}'


def too_large(length: int, limit: int, what: str = "the line") -> RejectedLineError:
    return RejectedLineError(TOO_LARGE, f"{what} has {length} bytes, more than the {limit} allowed for one record")
