"""A sample of the corpus: rows at a few places, for the estimate, the canary and a first look at mistakes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Source
from bulk_inference.core.tokens import estimate as estimate_tokens
from bulk_inference.corpus import formats
from bulk_inference.corpus.ranges import CutRange
from bulk_inference.corpus.reader import CorpusBucket, parquet_table, part_rows, shape_of_part, unpacked_share
from bulk_inference.corpus.rows import RejectedLineError, Row
from bulk_inference.cut.cutting import sample_records
from bulk_inference.plan.planning import MAX_LINE_BYTES, Sample
from bulk_inference.render.records import Record, RecordReader

SAMPLE_BYTES: Final = 1024 * 1024
SAMPLE_LINES: Final = 200

_PROBES: Final = 5
_DOCUMENTS: Final = 25

UNREADABLE_LINES: Final = 20
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
    no record."""
    lines = tokens = shard_bytes = 0
    size = 0.0
    records: list[Record] = []
    refusal: RejectedLineError | None = None
    for number, probe in enumerate(probes, 1):
        # What one probe leaves of its share, the next ones may take.
        most_lines, most_bytes = SAMPLE_LINES * number // len(probes), SAMPLE_BYTES * number // len(probes)
        part = probe
        if part.rows is None and _has_lines(part, source):
            part = replace(part, end=min(part.end, part.start + SAMPLE_BYTES))
        taken = _taken(bucket, part, source)
        for row, found in sample_records(part_rows(bucket, part, source, MAX_LINE_BYTES, small=True), reader):
            lines += 1
            size += taken(row)
            if isinstance(found, RejectedLineError):
                refusal = refusal or found
            else:
                records.extend(found)
                tokens += sum(estimate_tokens(record.line.decode()) for record in found)
                shard_bytes += sum(len(record.line) + 1 for record in found)
            if lines >= most_lines or size >= most_bytes:
                break
    if not records and refusal is not None and lines >= UNREADABLE_LINES:
        raise InvalidRequestError(
            f"none of {lines} lines of the corpus is a record; the first: {refusal.error_class}: {refusal.message}"
        )
    return Sample(lines, ceil(size), len(records), tokens, shard_bytes), records


def counted(found: Sample, corpus_bytes: int, rows: int) -> Sample:
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
