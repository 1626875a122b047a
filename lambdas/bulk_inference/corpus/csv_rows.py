"""Rows of a CSV object, as RFC 4180 has it: quoted fields may hold delimiters, doubled quotes and line ends.

Where a row ends is known only to who has read everything before it, so that an object is read from its beginning, by
one worker, unless the request says that no field holds a line end. Parsing is strict: text after a closing quote, a
quote that nothing closes and a row that is wider or narrower than the header are refused, not guessed at.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv
from bulk_inference.corpus.encodings import Charset, PhysicalLine, physical_lines
from bulk_inference.corpus.rows import NOT_CSV, UNDECODABLE, RejectedLineError, Row

_FIELD_LIMIT: Final = 1 << 30
"""Python's own limit of a field is 131,072 characters; here the limit of a row holds."""


AUTO: Final = "auto"
DELIMITERS: Final = (",", ";", "\t", "|")
"""Those that `auto` tells apart; the first wins a tie."""


class _TooLongError(Exception):
    """The row under way is longer than a record may be. `inside`: it goes on, within a quoted field."""

    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.inside = inside


class _Feed:
    """Lines of an object as the parser takes them; remembers which of them the row under way is made of."""

    def __init__(
        self, lines: Iterator[PhysicalLine], charset: Charset, dialect: Csv, delimiter: str, limit: int
    ) -> None:
        self.undecodable: RejectedLineError | None = None
        self.start = self.end = 0
        self.lines = 0
        """Of the row under way."""
        self._lines = lines
        self._charset = charset
        self._dialect = dialect
        self._delimiter = delimiter
        self._codec = charset.codec
        self._lf, self._crlf = charset.newline, "\r\n".encode(charset.codec)
        self._longest = limit + len(self._crlf)
        self._begun = False

    def begin(self) -> None:
        self._begun = False
        self.lines = 0
        self.undecodable = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        offset, length, data, _ = line = next(self._lines)
        inside, self._begun = self._begun, True
        self.lines += 1
        if not inside:
            self.start = offset
        self.end = offset + length
        if data is None or self.end - self.start > self._longest:
            raise _TooLongError(self._goes_on(line, inside))
        if data.endswith(self._crlf):
            self.end -= len(self._crlf)
        elif data.endswith(self._lf):
            self.end -= len(self._lf)
        try:
            return data.decode(self._codec)
        except UnicodeDecodeError:
            try:
                self._charset.decode(data)
            except RejectedLineError as error:
                self.undecodable = self.undecodable or error
            return data.decode(self._codec, "replace")

    def skip_row(self) -> None:
        """Passes over the rest of a row that goes on within a quoted field: to the line that closes it."""
        for line in self._lines:
            self.end = line.offset + line.length
            self.lines += 1
            if not self._goes_on(line, True):
                return

    def _goes_on(self, line: PhysicalLine, inside: bool) -> bool:
        """Whether the line ends within a quoted field. `inside`: whether it begins within one."""
        if not self._dialect.quote:
            return False
        if line.data is None:
            # Doubled quotes are even: what is left are those that open and close.
            return inside ^ (line.quotes % 2 == 1)
        text = line.data.decode(self._charset.codec, "replace")
        return _goes_on(text, self._dialect.quote, self._delimiter, inside, self._dialect.escape)


@dataclass(frozen=True)
class CsvObject:
    """What is known of an object before its rows are read."""

    key: str
    charset: Charset
    dialect: Csv
    max_row_bytes: int

    def feed(self, blocks: Iterator[bytes], offset: int = 0) -> _Feed:
        dialect = self.dialect
        lines = physical_lines(blocks, self.charset, self.max_row_bytes, offset=offset, quote=dialect.quote)
        return _Feed(lines, self.charset, dialect, delimiter_of(dialect, self.key), self.max_row_bytes)


def csv_rows(
    blocks: Iterator[bytes], of: CsvObject, *, kind: str = "row", columns: Sequence[str] | None = None, offset: int = 0
) -> Iterator[Row]:
    """Rows of an object, its byte order mark taken off, from its beginning or (`columns` given) from a row at `offset`
    on. Memory: one block and one row.

    Raises InvalidRequestError for a header that cannot be one.
    """
    feed = of.feed(blocks, offset)
    parser = _parser(feed, of.dialect, of.key)
    names = list(columns) if columns is not None else of.dialect.names
    wants_header = of.dialect.header and names is None
    number = 0
    for cells, refusal in _parsed(parser, feed):
        if wants_header:
            names, wants_header = _header(cells, refusal, of.key), False
            continue
        number += 1
        length = feed.end - feed.start
        fields = None
        if cells is not None and refusal is None:
            if names is None:
                fields = {f"column_{n}": cell for n, cell in enumerate(cells, 1)}
            elif len(cells) != len(names):
                wide = f"{len(cells)} fields, the header {len(names)}"
                refusal = RejectedLineError(NOT_CSV, f"it has {wide}")
            else:
                fields = dict(zip(names, cells, strict=True))
        yield Row(number, feed.start, length, fields=fields, refusal=refusal, kind=kind, lines=feed.lines)


def header_of(blocks: Iterator[bytes], of: CsvObject) -> list[str]:
    """Names in an object's first row. Raises InvalidRequestError."""
    feed = of.feed(blocks)
    for cells, refusal in _parsed(_parser(feed, of.dialect, of.key), feed):
        return _header(cells, refusal, of.key)
    return []


def delimiter_of(dialect: Csv, key: str) -> str:
    """As the request says, else a tab for `.tsv` and a comma for everything else."""
    return dialect.delimiter or ("\t" if ".tsv" in key.lower().rpartition("/")[2] else ",")


def likely_delimiter(first: str, quote: str) -> str | None:
    """What separates the cells of a first row: the commonest of comma, semicolon, tab and bar outside of quotes; None
    where there is none of them."""
    plain = re.sub(f"{re.escape(quote)}.*?{re.escape(quote)}", "", first) if quote else first
    most = max(DELIMITERS, key=plain.count)
    return most if most in plain else None


def _goes_on(line: str, quote: str, delimiter: str, inside: bool, escape: str = "") -> bool:
    """As _Feed's, by the rules: a quote opens a field at its beginning only, and a quote inside that is not doubled
    closes it. What then is no delimiter and no line end breaks the rules, and the row ends with the line."""
    if escape:
        # What is escaped neither opens nor closes anything.
        line = re.sub(f"{re.escape(escape)}.", "  ", line, flags=re.DOTALL)
    position = 0
    while True:
        if inside:
            position = line.find(quote, position)
            if position < 0:
                return True
            if line.startswith(quote, position + 1):
                position += 2
                continue
            inside, position = False, position + 1
            if line[position : position + 1] != delimiter:
                return False
            position += 1
        elif line.startswith(quote, position):
            inside, position = True, position + 1
        else:
            position = line.find(delimiter, position) + 1
            if not position:
                return False


def _parser(feed: _Feed, dialect: Csv, key: str) -> Iterator[list[str]]:
    csv.field_size_limit(_FIELD_LIMIT)
    delimiter = delimiter_of(dialect, key)
    if not dialect.quote:
        return csv.reader(
            feed,
            delimiter=delimiter,
            quotechar=None,
            escapechar=dialect.escape or None,
            quoting=csv.QUOTE_NONE,
            strict=True,
        )
    escape = dialect.escape or None
    return csv.reader(feed, delimiter=delimiter, quotechar=dialect.quote, escapechar=escape, strict=True)


def _parsed(parser: Iterator[list[str]], feed: _Feed) -> Iterator[tuple[list[str] | None, RejectedLineError | None]]:
    """Cells of each row that is not blank, or why it has none; neither for a row that is too long."""
    while True:
        feed.begin()
        try:
            cells = next(parser)
        except StopIteration:
            return
        except _TooLongError as error:
            if error.inside:
                feed.skip_row()
            yield None, None
            continue
        except csv.Error as error:
            yield None, feed.undecodable or RejectedLineError(NOT_CSV, f"no CSV: {error}")
            continue
        if feed.undecodable is not None:
            yield None, feed.undecodable
        elif cells:
            yield cells, None


def _header(cells: list[str] | None, refusal: RejectedLineError | None, key: str) -> list[str]:
    if cells is None:
        why = refusal.message if refusal is not None else "it is longer than a record may be"
        encoding = "; name its encoding by source.encoding" if refusal and refusal.error_class == UNDECODABLE else ""
        raise InvalidRequestError(f"{key}: its first row cannot be a header: {why}{encoding}")
    names = [name if name.strip() else f"column_{n}" for n, name in enumerate(cells, 1)]
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if (before := first.setdefault(name, number)) != number:
            # By number: what is taken for a header may be a row.
            raise InvalidRequestError(
                f"{key}: its header names columns {before} and {number} alike: rename one, or give names by "
                "source.csv.header"
            )
    return names
