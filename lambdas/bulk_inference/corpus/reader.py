"""The corpus in S3: which objects it is, and their rows as streams bound to the objects' ETags."""

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import Final, Protocol

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.rejections import counted
from bulk_inference.core.run_spec import Csv, Source
from bulk_inference.corpus import compression, formats
from bulk_inference.corpus.compression import DamagedError, Unpacked
from bulk_inference.corpus.csv_rows import AUTO, CsvObject, csv_rows, delimiter_of, header_of
from bulk_inference.corpus.csv_rows import likely_delimiter as commonest_delimiter
from bulk_inference.corpus.disguises import HEAD_BYTES, disguise
from bulk_inference.corpus.encodings import HEAD, Charset, charset_of, peeked, physical_lines, without_end, without_head
from bulk_inference.corpus.formats import Shape
from bulk_inference.corpus.globs import compiled, literal_prefix
from bulk_inference.corpus.jsonl_rows import first_byte, lines_of_range
from bulk_inference.corpus.parquet_rows import RangeReader, Table
from bulk_inference.corpus.ranges import CutRange, Handling, ObjectInfo
from bulk_inference.corpus.rows import EMPTY_DOCUMENT, TOO_LARGE, UNDECODABLE, RejectedLineError, Row

_TAIL_SEGMENT: Final = 256 * 1024
"""Read at a time beyond a range's end, where the rest of its last line lies, and by callers that stop early."""

ONE_WORKER_BYTES: Final[dict[str | None, int]] = {
    None: 4 * 1024**3,
    compression.GZIP: 1024**3,
    compression.ZSTD: 1024**3,
}
"""The largest object that one worker reads within its 15 minutes, by its compression, with half of the time to spare:
docs/measurements.md has the pace."""
_TABLES: Final = {"/_delta_log/": "Delta Lake", "/.hoodie/": "Hudi"}
"""Hidden folders by which tables are known whose other files are not all current."""
_SHOWN_SIBLINGS: Final = 5
_LOOKED_AT: Final = 1_000
"""Objects beside an empty place, of which one may have been meant."""

_LARGE_SHARE: Final = 4
"""A plan says so when an object that only one worker can read is larger than such a part of that."""


UNPACKED_AT_LEAST: Final = 8 * 1024 * 1024
UNPACKED_TIMES: Final = 100
"""Bytes that a compressed object may unpack to: so many, and so many times its own. Text packs to a fifth or a
twentieth; what packs to a hundredth says nothing, and would cost a worker its 15 minutes."""


class OverpackedError(Exception):
    """A compressed object unpacks to more than it may."""


class CorpusBucket(Protocol):
    def list(self, prefix: str) -> Iterator[ObjectInfo]: ...
    def find(self, key: str) -> ObjectInfo | None: ...
    def read(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        segment_bytes: int | None = None,
    ) -> Generator[bytes, None, None]: ...


class Corpus:
    """Iterates over the objects of a source: below a prefix in key order, keys in the order given.

    Counts what it takes and what it leaves out; `format` is known after the first object.
    """

    def __init__(self, source: Source, bucket: CorpusBucket) -> None:
        self.format = source.format
        self.taken = 0
        self.skipped = 0
        """Objects below the prefix, or of the glob, that are not of the format by their name."""
        self.first_skipped = ""
        self.hidden = 0
        """Objects below the prefix, or of the glob, in hidden folders or of hidden names."""
        self.first_hidden = ""
        self._tables: set[str] = set()
        """Kinds of data lake tables of which hidden folders tell."""
        self._siblings: set[str] = set()
        """What follows a prefix that does not end in a slash, up to the next one: a few of them."""
        self._whole: dict[str, list[int]] = {}
        """Sizes of objects that one worker reads alone: (number, largest), by their kind."""
        self._source = source
        self._bucket = bucket

    def __iter__(self) -> Iterator[ObjectInfo]:
        """Raises InvalidRequestError: no such object or bucket, access denied, objects of several formats or of none; a
        prefix or glob without any object, unless the request allows for that."""
        source = self._source
        if source.prefix is not None:
            below = self._visible(self._bucket.list(source.prefix), len(source.prefix))
            yield from self._listed(below, "source.prefix", by_name=True)
        elif source.glob is not None:
            pattern = compiled(source.glob)
            listed = self._bucket.list(literal_prefix(source.glob))
            found: Iterator[ObjectInfo] = (one for one in listed if pattern.fullmatch(one.key))
            if not formats.is_hidden(source.glob):
                found = self._visible(found, len(literal_prefix(source.glob)))
            yield from self._listed(found, "source.glob", by_name=False)
        elif source.keys is not None:
            for number, key in enumerate(source.keys):
                yield self._named(key, f"source.keys[{number}]")
        else:
            yield self._named(source.key or "", "source.key")

    def handling(self, found: ObjectInfo) -> Handling:
        """How an object that was taken is cut. Raises InvalidRequestError for one that no single worker can read."""
        shape = formats.shape_of(found.key, self.format, by_name=False)
        assert shape is not None, "only objects that have a shape are taken"
        if formats.is_cut_in_ranges(shape, self._source):
            return Handling()
        weight = formats.weight(shape, found.size)
        if shape.format == formats.TEXT:
            return Handling(False, weight, even_empty=True)
        most = ONE_WORKER_BYTES[shape.codec]
        if found.size > most:
            raise InvalidRequestError(
                f"{found.key} has {found.size} bytes, and {_why_whole(shape)}: one worker can read {most} of "
                f"{shape.label} in its 15 minutes. {_remedy(shape)}"
            )
        entry = self._whole.setdefault(shape.label, [0, 0])
        entry[0] += 1
        entry[1] = max(entry[1], found.size)
        return Handling(False, weight)

    def notes(self) -> list[str]:
        """What the plan should say of the objects."""
        notes = []
        if self.skipped:
            notes.append(
                f"{counted(self.skipped, 'object')} {_are(self.skipped)} not {self.format} by name and not read, such "
                f"as {self.first_skipped}"
            )
        if self.hidden:
            notes.append(
                f"{counted(self.hidden, 'object')} {_are(self.hidden)} hidden, by a name or folder that begins with . "
                f"or _, and not read, such as {self.first_hidden}"
            )
        notes += [
            f"the files of a {table} table are read as they lie, those that it has deleted or replaced, too: export "
            "the rows that count"
            for table in sorted(self._tables)
        ]
        if len(self._siblings) > 1:
            shown = ", ".join(sorted(self._siblings))
            notes.append(
                f"source.prefix {self._source.prefix} is the beginning of several names ({shown}), and all are read: "
                "end it in / to read one folder"
            )
        for label, (count, largest) in sorted(self._whole.items()):
            shape = Shape(label.rpartition(" ")[2], label.rpartition(" ")[0] or None)
            note = (
                f"{count} {label} object{'s are' if count > 1 else ' is'} read by one worker each: {_why_whole(shape)}"
            )
            if largest > ONE_WORKER_BYTES[shape.codec] // _LARGE_SHARE:
                note += f"; the largest has {largest} bytes, which takes some minutes. {_remedy(shape)}"
            notes.append(note)
        return notes

    def _visible(self, objects: Iterator[ObjectInfo], start: int) -> Iterator[ObjectInfo]:
        """Without hidden objects. `start`: of the keys' part that the request does not name."""
        for found in objects:
            beyond = found.key[start:]
            if formats.is_hidden(beyond):
                self.hidden += 1
                self.first_hidden = self.first_hidden or found.key
                self._tables.update(table for folder, table in _TABLES.items() if folder in f"/{beyond}")
            else:
                yield found

    def _named(self, key: str, field: str) -> ObjectInfo:
        found = self._bucket.find(key)
        if found is None:
            raise InvalidRequestError(
                f"{field}: s3://{self._source.bucket}/{key} does not exist: upload the corpus first, or correct the key"
            )
        shape = formats.shape_of(key, self._source.format, by_name=False)
        if shape is None:
            raise InvalidRequestError(f"{field}: {_unreadable(key, self._source.format)}")
        self._take(shape, key, field)
        return found

    def _listed(self, objects: Iterator[ObjectInfo], field: str, *, by_name: bool) -> Iterator[ObjectInfo]:
        for found in objects:
            # A key that ends in a slash is a folder as the console makes them.
            if found.key.endswith("/"):
                continue
            shape = formats.shape_of(found.key, self._source.format, by_name=by_name)
            if shape is None:
                self.skipped += 1
                self.first_skipped = self.first_skipped or found.key
                continue
            self._take(shape, found.key, field)
            if by_name and not (self._source.prefix or "/").endswith("/") and len(self._siblings) < _SHOWN_SIBLINGS:
                self._siblings.add(_sibling(found.key, self._source.prefix or ""))
            yield found
        if not self.taken and not self.skipped and not self._source.allow_empty:
            raise InvalidRequestError(f"{field}: {self._nothing()}")
        if not self.taken and self.skipped:
            wanted = self._source.format
            raise InvalidRequestError(
                f"{field}: none of {self.skipped} objects is read (the first: {self.first_skipped}): "
                f"{'a format is told by names' if wanted == formats.AUTO else f'{wanted} objects are named'} "
                f"{formats.suffixes(wanted)}. Set source.format, or name objects by source.key, keys or glob"
            )

    def _nothing(self) -> str:
        where = self._source.prefix if self._source.prefix is not None else self._source.glob or ""
        if self.hidden:
            return (
                f"all of {counted(self.hidden, 'object')} {_are(self.hidden)} hidden by a name or folder that begins "
                f"with . or _ (the first: {self.first_hidden}): name that folder itself, or name objects by keys"
            )
        return (
            f"there is no object at s3://{self._source.bucket}/{where}{self._near(where)}: upload the corpus first, "
            "correct the place, or set source.allow_empty where a run may find nothing"
        )

    def _near(self, where: str) -> str:
        """A question that names a folder beside the one that is not there."""
        parent, _, name = literal_prefix(where).rstrip("/").rpartition("/")
        if not parent:
            return ""
        with suppress(InvalidRequestError):
            listed = islice(self._bucket.list(f"{parent}/"), _LOOKED_AT)
            beside = {one.key[len(parent) + 1 :].partition("/")[0] for one in listed}
            close = get_close_matches(name, sorted(beside), n=1, cutoff=0.6)
            return f" (did you mean {parent}/{close[0]}?)" if close else ""
        return ""

    def _take(self, shape: Shape, key: str, field: str) -> None:
        if self.format == formats.AUTO:
            self.format = shape.format
        elif shape.format != self.format:
            raise InvalidRequestError(
                f"{field}: the corpus holds {self.format} and {shape.format} ({key}): set source.format to the one "
                "that is meant, or part them by prefix or glob"
            )
        self.taken += 1


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _sibling(key: str, prefix: str) -> str:
    """The first folder, or object, of a key beyond a prefix."""
    folder, slash, _ = key[len(prefix) :].partition("/")
    return prefix.rpartition("/")[2] + folder + slash if slash else prefix.rpartition("/")[2] + "*"


def _unreadable(key: str, format_: str) -> str:
    if compression.is_foreign(key):
        return f"{key} is packed in a way that is not read: gzip (.gz) and Zstandard (.zst) are, or upload it plain"
    if format_ == formats.PARQUET or (format_ == formats.AUTO and compression.codec_of(key)):
        plain = formats.shape_of(compression.plain_name(key), format_, by_name=False)
        if plain is not None and plain.format == formats.PARQUET:
            return f"{key} is a compressed Parquet file: Parquet compresses inside, upload it as it is"
    return f"{key}: its name does not tell its format: set source.format to jsonl, csv, parquet or text"


def _why_whole(shape: Shape) -> str:
    if shape.codec is not None:
        return f"{shape.codec} cannot be read from its middle"
    if shape.format == formats.CSV:
        return "where a row of CSV begins is known only from the file's beginning"
    return "lines of UTF-16 and UTF-32 are found only from the file's beginning"


def _remedy(shape: Shape) -> str:
    if shape.format == formats.CSV and shape.codec is None:
        ways = "Split it, bring it as Parquet or JSONL"
        return f"{ways}, or set source.csv.quoted_newlines to false if no field holds a line end."
    return "Split it, or bring it uncompressed." if shape.codec else "Split it, or bring it as UTF-8."


def part_rows(
    bucket: CorpusBucket, part: CutRange, source: Source, max_line_bytes: int, *, small: bool = False
) -> Iterator[Row]:
    """Rows that begin in the part, read as it was planned: an object that has changed is an InvalidRequestError.

    `small`: fetch little at a time, for a caller that stops early.
    """
    shape = shape_of_part(part, source)
    reader = _Reader(bucket, part, source, shape, max_line_bytes, _TAIL_SEGMENT if small else None)
    if shape.format == formats.PARQUET:
        return reader.parquet()
    if shape.format == formats.TEXT:
        return reader.document()
    rows = given_up(reader.csv() if shape.format == formats.CSV else reader.jsonl())
    return rows if part.rows is None else _selected(rows, part.rows)


def shape_of_part(part: CutRange, source: Source) -> Shape:
    """How the object of a part is read."""
    return formats.shape_of(part.key, source.format, by_name=False) or Shape(formats.JSONL, None)


def parquet_table(bucket: CorpusBucket, part: CutRange, source: Source, segment_bytes: int | None = None) -> Table:
    """Raises InvalidRequestError for an object that is no Parquet."""

    def read_range(start: int, end: int) -> bytes:
        with closing(
            bucket.read(part.key, start=start, end=end, etag=part.etag, segment_bytes=segment_bytes)
        ) as blocks:
            return b"".join(blocks)

    name = f"s3://{source.bucket}/{part.key}"
    return Table(RangeReader(part.size, read_range), name, binary_is_text=source.parquet_binary == "text")


def delimiter_in(bucket: CorpusBucket, part: CutRange, source: Source, max_line_bytes: int) -> str:
    """What separates the cells of one CSV object."""
    reader = _Reader(bucket, part, source, shape_of_part(part, source), max_line_bytes, None)
    return delimiter_of(reader.dialect(), part.key)


def likely_delimiter(bucket: CorpusBucket, part: CutRange, source: Source, max_line_bytes: int) -> str | None:
    """In words, that another delimiter is meant than the one in use; None if the first row does not look so."""
    reader = _Reader(bucket, part, source, shape_of_part(part, source), max_line_bytes, None)
    first, used = reader.first_line(), delimiter_of(source.csv, part.key)
    likely = commonest_delimiter(first, source.csv.quote)
    if source.csv.delimiter == AUTO or likely is None or used in first:
        return None
    return (
        f"the first row of {part.key} holds no {used!r} but {first.count(likely)} × {likely!r}: set "
        f"source.csv.delimiter to {likely!r}, or to auto"
    )


def unpacked_share(bucket: CorpusBucket, part: CutRange, codec: str) -> float:
    """Bytes of a compressed object that one byte of its content takes, from its beginning."""
    end = min(part.size, _TAIL_SEGMENT)
    with closing(bucket.read(part.key, start=0, end=end, etag=part.etag)) as raw:
        unpacked = 0
        # It ends early, unless it is small.
        with suppress(DamagedError):
            for block in Unpacked(raw, codec):
                unpacked += len(block)
    return end / max(unpacked, 1)


def given_up(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of an object, and one that is refused where the object unpacks to more than it may: what is before it
    counts, and the objects beside it too."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except OverpackedError as error:
        yield Row(number + 1, 0, 0, refusal=RejectedLineError(TOO_LARGE, str(error)), kind="packed")


def _selected(rows: Iterator[Row], intervals: list[list[int]]) -> Iterator[Row]:
    wanted = iter(intervals)
    first, last = next(wanted, (1, 0))
    for row in rows:
        while row.number > last:
            following = next(wanted, None)
            if following is None:
                return
            first, last = following
        if row.number >= first:
            yield row


class _Reader:
    """One part of one object."""

    def __init__(
        self,
        bucket: CorpusBucket,
        part: CutRange,
        source: Source,
        shape: Shape,
        max_line_bytes: int,
        segment_bytes: int | None,
    ) -> None:
        self._bucket = bucket
        self._part = part
        self._source = source
        self._shape = shape
        self._limit = max_line_bytes
        self._segment = segment_bytes
        self._name = f"s3://{source.bucket}/{part.key}"

    def _bytes(self, start: int, end: int, segment_bytes: int | None = None) -> Generator[bytes, None, None]:
        return self._bucket.read(
            self._part.key, start=start, end=end, etag=self._part.etag, segment_bytes=segment_bytes or self._segment
        )

    def jsonl(self) -> Iterator[Row]:
        if self._shape.codec is None and formats.is_cut_in_ranges(self._shape, self._source):
            yield from self._range(self._source.encoding)
            return
        with closing(self._bytes(0, self._part.size)) as raw:
            charset, blocks = self._opened(raw)
            kind = "packed" if self._shape.codec else "row"
            for number, line in enumerate(physical_lines(blocks, charset, self._limit, offset=charset.mark), 1):
                length, data = without_end(line, charset)
                yield self._transcoded(Row(number, line.offset, length, data, kind=kind), charset)

    def _range(self, encoding: str | None) -> Iterator[Row]:
        """Lines that begin in a range of bytes."""
        part = self._part
        charset = charset_of(encoding, b"")
        with (
            closing(self._bytes(first_byte(part.start), part.end)) as own,
            closing(self._bytes(part.end, part.size, _TAIL_SEGMENT)) as beyond,
        ):
            blocks: Iterator[bytes] = chain(own, beyond)
            head, blocks = peeked(blocks, HEAD_BYTES) if part.start == 0 else (b"", blocks)
            self._refuse_disguise(head)
            if encoding is None and charset_of(None, head).unit > 1:
                raise InvalidRequestError(
                    f"{self._name} is {charset_of(None, head).codec} by its byte order mark: set source.encoding to it"
                )
            for row in lines_of_range(blocks, part.start, part.end, self._limit):
                yield row if encoding is None else self._transcoded(row, charset)

    def _transcoded(self, row: Row, charset: Charset) -> Row:
        if row.data is None or charset.codec == "utf-8":
            return row
        try:
            return row._replace(data=charset.decode(row.data).encode())
        except RejectedLineError as error:
            return row._replace(data=None, refusal=error)
        except UnicodeEncodeError:
            why = RejectedLineError(UNDECODABLE, "half of a surrogate pair: no Unicode text holds that")
            return row._replace(data=None, refusal=why)

    def csv(self) -> Iterator[Row]:
        if formats.is_cut_in_ranges(self._shape, self._source):
            yield from self._csv_range()
            return
        with closing(self._bytes(0, self._part.size)) as raw:
            charset, blocks = self._opened(raw)
            kind = "packed" if self._shape.codec else "row"
            yield from csv_rows(blocks, self._csv_object(charset), kind=kind, offset=charset.mark)

    def _csv_object(self, charset: Charset) -> CsvObject:
        return CsvObject(self._part.key, charset, self.dialect(), self._limit)

    def dialect(self) -> Csv:
        """How this object is written: a delimiter that is to be found out is told by its first row."""
        dialect = self._source.csv
        if dialect.delimiter != AUTO:
            return dialect
        found = commonest_delimiter(self.first_line(), dialect.quote)
        return replace(dialect, delimiter=found or delimiter_of(Csv(), self._part.key))

    def first_line(self) -> str:
        """Text of the first line that is not blank; empty if it is too long."""
        with closing(self._bytes(0, self._part.size, _TAIL_SEGMENT)) as raw:
            charset, blocks = self._opened(raw)
            for line in physical_lines(blocks, charset, self._limit):
                text = (line.data or b"").decode(charset.codec, "replace").strip("\r\n")
                if text.strip() or line.data is None:
                    return text
        return ""

    def _csv_range(self) -> Iterator[Row]:
        """Rows without line ends inside: each line is one, whoever reads it."""
        part, dialect = self._part, self.dialect()
        of = self._csv_object(charset_of(self._source.encoding, b""))
        columns = dialect.names
        if dialect.header and columns is None:
            with closing(self._bytes(0, part.size, _TAIL_SEGMENT)) as raw:
                _, blocks = self._opened(raw)
                columns = header_of(blocks, of)
        number = 0
        has_header = dialect.header and dialect.names is None and part.start == 0
        for line in self._range(None):
            if line.is_blank:
                continue
            if has_header:
                has_header = False
                continue
            number += 1
            if line.data is None:
                yield line._replace(number=number)
                continue
            for row in csv_rows(iter([line.data]), of, columns=columns):
                yield row._replace(number=number, offset=line.offset, length=line.length, kind="line")

    def document(self) -> Iterator[Row]:
        part = self._part
        name = PurePosixPath(part.key).name
        row = Row(1, 0, part.size, kind="document")
        try:
            data = self._document_bytes()
            if data is None:
                yield row
                return
            if (why := disguise(data[:HEAD_BYTES], formats.TEXT)) is not None:
                yield row._replace(refusal=RejectedLineError(UNDECODABLE, why))
                return
            charset = charset_of(self._source.encoding, data[:HEAD])
            text = charset.decode(data[charset.mark :])
        except DamagedError as error:
            yield row._replace(refusal=RejectedLineError(UNDECODABLE, str(error)))
            return
        except RejectedLineError as error:
            yield row._replace(refusal=error)
            return
        if not text.strip():
            yield row._replace(refusal=RejectedLineError(EMPTY_DOCUMENT, "it holds no text"))
            return
        yield row._replace(fields={"id": part.key, "text": text, "key": part.key, "name": name})

    def _document_bytes(self) -> bytes | None:
        """None if it is longer than a record may be."""
        if self._shape.codec is None and self._part.size > self._limit:
            return None
        with closing(self._bytes(0, self._part.size)) as raw:
            held = bytearray()
            for block in raw if self._shape.codec is None else Unpacked(raw, self._shape.codec):
                held += block
                if len(held) > self._limit:
                    return None
            return bytes(held)

    def parquet(self) -> Iterator[Row]:
        part = self._part
        table = parquet_table(self._bucket, part, self._source, self._segment)
        chosen: dict[int, list[tuple[int, int]]] = {}
        for number, first, last in part.rows or ():
            chosen.setdefault(number, []).append((first, last))
        for group in table.groups(part.start, part.end):
            if part.rows is None:
                yield from table.rows(group)
            elif group.number in chosen:
                yield from table.rows(group, chosen[group.number])

    def _opened(self, raw: Iterator[bytes]) -> tuple[Charset, Iterator[bytes]]:
        """Encoding of an object that is read from its beginning, and its bytes after the byte order mark."""
        blocks = raw if self._shape.codec is None else self._unpacked(raw, self._shape.codec)
        head, blocks = peeked(blocks, HEAD_BYTES)
        self._refuse_disguise(head)
        charset = charset_of(self._source.encoding, head)
        return charset, without_head(blocks, charset.mark)

    def _refuse_disguise(self, head: bytes) -> None:
        """How many rows are in it, nobody can tell, so that no account of this object would be true."""
        if (why := disguise(head, self._shape.format)) is not None:
            inside = f"{self._name}, unpacked" if self._shape.codec else self._name
            raise InvalidRequestError(f"{inside}: {why}")

    def _unpacked(self, raw: Iterator[bytes], codec: str) -> Iterator[bytes]:
        most = UNPACKED_AT_LEAST + UNPACKED_TIMES * self._part.size
        unpacked = 0
        try:
            for block in Unpacked(raw, codec):
                unpacked += len(block)
                if unpacked > most:
                    raise OverpackedError(
                        f"the object has {self._part.size} bytes and unpacks to more than {most}: it is given up here"
                    )
                yield block
        except DamagedError as error:
            # How many rows are lost, nobody can tell: no account of this object would be true.
            raise InvalidRequestError(f"{self._name} cannot be unpacked: {error}: upload it again") from None
