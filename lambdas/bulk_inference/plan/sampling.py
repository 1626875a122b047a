"""A sample of the corpus: rows at a few places, for the estimate, the canary and a first look at mistakes."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Final, TypeVar

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.rejections import Rejection, RowCount, counted, described, merged, refuse_excess
from bulk_inference.core.run_spec import Limits, Source
from bulk_inference.core.tokens import estimate as estimate_tokens
from bulk_inference.corpus import formats
from bulk_inference.corpus.csv_rows import AUTO
from bulk_inference.corpus.disguises import HEAD_BYTES, not_lines
from bulk_inference.corpus.ranges import CutRange
from bulk_inference.corpus.reader import (
    CorpusBucket,
    delimiter_in,
    likely_delimiter,
    parquet_table,
    part_rows,
    shape_of_part,
    unpacked_share,
)
from bulk_inference.corpus.rows import RejectedLineError, Row, source_json
from bulk_inference.cut.cutting import sample_records
from bulk_inference.plan.planning import MAX_LINE_BYTES, Sample
from bulk_inference.render.records import Record, RecordReader, parse_object

_T = TypeVar("_T")

SAMPLE_BYTES: Final = 1024 * 1024
SAMPLE_LINES: Final = 200

_SHOWN_NAMES: Final = 20

_MOST: Final = 50
"""Percent of a sample: rows lie together in it, so that a smaller share may be one bad spot."""

_PROBES: Final = 5
_DOCUMENTS: Final = 25

HOPELESS_LINES: Final = 20
"""If so many rows are sampled and none of them is a record, the request is at fault and not the rows."""


def places(source: Source) -> int:
    """From how many places of the corpus a sample is taken at most. A document is a place, and one record."""
    return _DOCUMENTS if source.format == formats.TEXT else _PROBES


def within(part: CutRange, source: Source, wanted: int) -> list[CutRange]:
    """Ranges that begin evenly spread over one large object of lines; others are read from their beginning."""
    size = part.end - part.start
    if size <= SAMPLE_BYTES or part.rows is not None or not _has_lines(part, source):
        return [part]
    return [replace(part, start=part.start + size * n // wanted) for n in range(wanted)]


def sample(
    bucket: CorpusBucket, source: Source, probes: Sequence[CutRange], reader: RecordReader
) -> tuple[Sample, list[Record]]:
    """The first rows at each probe and the records among them. Raises InvalidRequestError if there are many rows and
    no record, or an object shows by its first row that it is of another format."""
    found = _Sampled()
    for number, probe in enumerate(probes, 1):
        # What one probe leaves of its share, the next ones may take.
        most_lines, most_bytes = SAMPLE_LINES * number // len(probes), SAMPLE_BYTES * number // len(probes)
        part = probe
        if part.rows is None and _has_lines(part, source):
            part = replace(part, end=min(part.end, part.start + SAMPLE_BYTES))
        found.broken_off |= part.end < probe.end
        taken = _taken(bucket, part, source)
        rows = part_rows(bucket, part, source, MAX_LINE_BYTES, small=True)
        for first, (row, made) in _numbered(sample_records(rows, reader)):
            if reader.unusual or reader.in_single_braces:
                found.names |= _names(row)
            if not first and (found.lines >= most_lines or found.size >= most_bytes):
                found.broken_off = True
                break
            if isinstance(made, RejectedLineError):
                if first and part.start == 0 and source.format == formats.JSONL:
                    _refuse_no_lines(bucket, part, source, row)
                found.reject(part, row, made, taken(row))
            else:
                found.take(row, made, taken(row))
    _refuse_unknown(reader, found)
    if not found.records and found.refusal and found.lines >= HOPELESS_LINES:
        raise InvalidRequestError(
            f"none of {found.lines} lines of the corpus is a record; the first: {found.refusal}"
            + _hint(bucket, source, probes)
        )
    return found.sample(), found.records


@dataclass
class _Sampled:
    """Sums while rows stream by."""

    lines: int = 0
    size: float = 0.0
    tokens: int = 0
    shard_bytes: int = 0
    records: list[Record] = field(default_factory=list)
    rows: RowCount = field(default_factory=RowCount)
    rejections: list[Rejection] = field(default_factory=list)
    refusal: str = ""
    broken_off: bool = False
    names: set[str] = field(default_factory=set)
    """Of the rows' fields, where the prompt has placeholders that may be none."""
    empty: dict[str, int] = field(default_factory=dict)

    def take(self, row: Row, made: Sequence[Record], taken: float) -> None:
        self._read(row, taken)
        self.records.extend(made)
        self.tokens += sum(estimate_tokens(record.line.decode()) for record in made)
        self.shard_bytes += sum(len(record.line) + 1 for record in made)
        for name in (name for record in made for name in record.empty):
            self.empty[name] = self.empty.get(name, 0) + 1

    def reject(self, part: CutRange, row: Row, error: RejectedLineError, taken: float) -> None:
        self._read(row, taken)
        self.refusal = self.refusal or f"{error.error_class}: {row.where(part.start)} of {part.key}: {error.message}"
        place = json.loads(source_json(json.dumps(part.key), row))
        self.rejections = merged([*self.rejections, Rejection(error.error_class, 1, row.lines, row.length, [place])])

    def _read(self, row: Row, taken: float) -> None:
        self.lines += 1
        self.size += taken
        self.rows += RowCount(1, row.length)

    def sample(self) -> Sample:
        return Sample(
            self.lines,
            ceil(self.size),
            len(self.records),
            self.tokens,
            self.shard_bytes,
            self.rows,
            self.rejections,
            self.refusal,
            self.broken_off,
            self.empty,
            self.names,
        )


def _names(row: Row) -> set[str]:
    if row.fields is not None:
        return set(row.fields)
    try:
        return set(parse_object(row.data or b""))
    except RejectedLineError:
        return set()


def _refuse_unknown(reader: RecordReader, found: _Sampled) -> None:
    """A placeholder that no row has a field for is no text, and must not go to the model as one."""
    if found.records or not found.names or not reader.unusual:
        return
    unknown = [name for name in dict.fromkeys(reader.unusual) if name not in found.names]
    if unknown:
        shown = ", ".join(f"{{{{{name}}}}}" for name in unknown)
        known = ", ".join(sorted(found.names)[:_SHOWN_NAMES])
        raise InvalidRequestError(
            f"prompt: {shown}: a placeholder is the name of a field or {{{{outer.inner}}}}, and no row that was looked "
            f"at has such a field (they have {known}). Write \\{{{{…}}}} for braces that are text"
        )


def _numbered(rows: Iterable[_T]) -> Iterator[tuple[bool, _T]]:
    return ((number == 0, row) for number, row in enumerate(rows))


def _refuse_no_lines(bucket: CorpusBucket, part: CutRange, source: Source, row: Row) -> None:
    """A first line that is no record may show that the whole object is none of JSON lines."""
    first = row.data
    if first is None and shape_of_part(part, source).codec is None:
        with closing(bucket.read(part.key, start=0, end=HEAD_BYTES, etag=part.etag)) as raw:
            first = b"".join(raw)
    if first is not None and (why := not_lines(first)) is not None:
        raise InvalidRequestError(f"s3://{source.bucket}/{part.key}: {why}")


def refuse_rejected(found: Sample, limits: Limits, *, whole: bool) -> None:
    """Raises InvalidRequestError where the rejected rows are certainly more than the run tolerates: all of the corpus
    was read, or most of a large sample is rejected. Otherwise the exact count decides, when all is cut."""
    tolerated = limits.tolerated_rejected_percentage
    rejected = sum(one.rows for one in found.rejections)
    certain = found.lines >= HOPELESS_LINES and 100 * rejected >= max(_MOST, 2 * tolerated) * found.lines
    if whole or certain:
        basis = "all of it was read" if whole else f"a sample of {found.lines} rows"
        refuse_excess(found.read, found.rejections, found.records, tolerated, f"{basis}; the first: {found.refusal}")


def notes(
    bucket: CorpusBucket, source: Source, probes: Sequence[CutRange], found: Sample, reader: RecordReader
) -> list[str]:
    """What the plan says of the rows that were looked at."""
    told = []
    if found.rejections:
        told.append(
            f"of {counted(found.read.rows, 'row')} looked at: {described(found.rejections)}; the first: {found.refusal}"
        )
    told += [
        f"of {counted(found.records, 'record')} looked at, {number:,} {'has' if number == 1 else 'have'} nothing in "
        f"field {name!r}, which the prompt names"
        for name, number in found.empty.items()
    ]
    told += [
        f"the prompt holds {{{name}}} as text, and the rows have a field of that name: write {{{{{name}}}}} if it is "
        "meant"
        for name in dict.fromkeys(reader.in_single_braces)
        if name in found.names
    ]
    if source.format == formats.PARQUET and probes and source.parquet_binary != "text":
        binary = parquet_table(bucket, probes[0], source).binary
        told += [
            f"column {name!r} of {probes[0].key} is binary, and is read as base64: set source.parquet.binary to text "
            "if it holds text (as Impala, Hive and Spark have written it)"
            for name in dict.fromkeys(reader.fields)
            if name in binary
        ]
    if source.format == formats.CSV and probes:
        if source.csv.delimiter == AUTO:
            delimiter = delimiter_in(bucket, probes[0], source, MAX_LINE_BYTES)
            told.append(
                f"source.csv.delimiter auto: {delimiter!r} in {probes[0].key}, each object by its own first row"
            )
        elif (hint := likely_delimiter(bucket, probes[0], source, MAX_LINE_BYTES)) is not None:
            told.append(hint)
    return told


def _hint(bucket: CorpusBucket, source: Source, probes: Sequence[CutRange]) -> str:
    """What is probably meant, where CSV was read by the wrong delimiter."""
    if source.format != formats.CSV or not probes:
        return ""
    likely = likely_delimiter(bucket, probes[0], source, MAX_LINE_BYTES)
    return "" if likely is None else f". {likely}"


def counted_rows(found: Sample, corpus_bytes: int, rows: int) -> Sample:
    """The sample of a corpus whose rows were counted: of the bytes it stands for as many as of the rows."""
    return replace(found, bytes=ceil(corpus_bytes * found.lines / rows)) if rows else found


def _has_lines(part: CutRange, source: Source) -> bool:
    shape = shape_of_part(part, source)
    return shape.format != formats.PARQUET and formats.is_cut_in_ranges(shape, source)


def _taken(bucket: CorpusBucket, part: CutRange, source: Source) -> Callable[[Row], float]:
    """Bytes of the object that a row takes."""
    shape = shape_of_part(part, source)
    if shape.format == formats.TEXT:
        return lambda row: part.size
    if shape.format == formats.PARQUET:
        groups = parquet_table(bucket, part, source).groups(part.start, part.end)
        mean = (part.end - part.start) / max(sum(group.rows for group in groups), 1)
        return lambda row: mean
    if shape.codec is not None:
        share = unpacked_share(bucket, part, shape.codec)
        return lambda row: (row.length + 1) * share
    return lambda row: row.length + 1
