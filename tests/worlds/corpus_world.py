"""A corpus in memory, planned, cut and read as plan_run and cut_shards do it, without S3 and tables."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow
from hypothesis import strategies as st
from pyarrow import parquet

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.model_families import family_named
from bulk_inference.core.run_spec import Prompt, Source
from bulk_inference.corpus import formats
from bulk_inference.corpus.ranges import CutRange, plan_cuts
from bulk_inference.corpus.reader import Corpus, part_rows
from bulk_inference.corpus.rows import Row
from bulk_inference.cut.cutting import CutCount, cut_records
from bulk_inference.render.records import RecordReader
from bulk_inference.render.rendering import Renderer
from tests.worlds.inference_world import REACH

PREFIX = "default/corpus/c/"
MAX_LINE = 100_000


@dataclass(frozen=True)
class Stored:
    key: str
    size: int
    etag: str


class MemoryBucket:
    """Objects by key. Reads come in blocks of `block` bytes, each conditional on the ETag as ranged GETs are."""

    name = "b"

    def __init__(self, objects: dict[str, bytes], block: int = 1000) -> None:
        self.objects = objects
        self.block = block
        self.reads = 0

    def list(self, prefix: str) -> Iterator[Stored]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield self._stored(key)

    def find(self, key: str) -> Stored | None:
        return self._stored(key) if key in self.objects else None

    def _stored(self, key: str) -> Stored:
        body = self.objects[key]
        return Stored(key, len(body), hashlib.md5(body).hexdigest())

    def read(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        segment_bytes: int | None = None,
    ) -> Generator[bytes, None, None]:
        end = len(self.objects[key]) if end is None else end
        while start < end:
            self.reads += 1
            stored = self.find(key)
            if stored is None or (etag is not None and stored.etag != etag):
                raise InvalidRequestError(f"s3://b/{key} has changed since the run was planned")
            block = self.objects[key][start : min(start + self.block, end)]
            if not block:
                return
            yield block
            start += len(block)


class Files:
    """Sinks in memory. A piece is there once it is closed."""

    def __init__(self) -> None:
        self.pieces: dict[str, tuple[bytes, bytes]] = {}
        self.failures = b""

    def open_piece(self, piece: str) -> "_Piece":
        return _Piece(self, piece)

    def write_failure(self, line: bytes) -> None:
        self.failures += line


class _Piece:
    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name, self._shard, self._index = files, name, b"", b""

    def write(self, shard_line: bytes, index_line: bytes) -> None:
        self._shard += shard_line
        self._index += index_line

    def close(self) -> None:
        self._files.pieces[self._name] = (self._shard, self._index)


@dataclass
class Cutting:
    """What became of a corpus."""

    counts: list[CutCount] = field(default_factory=list)
    files: Files = field(default_factory=Files)
    parts: list[CutRange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    format: str = ""

    def total(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.counts)

    @property
    def texts(self) -> list[str]:
        """Prompts, in the corpus' order."""
        return [body["modelInput"]["messages"][0]["content"][0]["text"] for body in self._lines(0)]

    @property
    def pointers(self) -> list[dict[str, Any]]:
        return self._lines(1)

    @property
    def refused(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files.failures.split(b"\n")[:-1]]

    @property
    def classes(self) -> list[str]:
        return [one["errorClass"] for one in self.refused]

    def _lines(self, which: int) -> list[dict[str, Any]]:
        pieces = [pair[which] for _, pair in sorted(self.files.pieces.items())]
        return [json.loads(line) for piece in pieces for line in piece.split(b"\n")[:-1]]


def source(**given: Any) -> Source:
    """Everything below PREFIX, unless another place is given."""
    where = {} if {"key", "keys", "prefix", "glob"} & given.keys() else {"prefix": PREFIX}
    return Source(bucket="b", **{"format": formats.AUTO, **where, **given})


def cut(
    objects: dict[str, bytes],
    given: Source | None = None,
    *,
    template: str = "{{text}}",
    cut_bytes: int = 10**9,
    block: int = 1000,
    max_records: int = 1000,
    max_line: int = MAX_LINE,
) -> Cutting:
    """Plans and cuts objects, whose names are below PREFIX."""
    bucket = MemoryBucket({PREFIX + name: body for name, body in objects.items()}, block)
    return cut_bucket(bucket, given, template=template, cut_bytes=cut_bytes, max_records=max_records, max_line=max_line)


def cut_bucket(
    bucket: MemoryBucket,
    given: Source | None = None,
    *,
    template: str = "{{text}}",
    cut_bytes: int = 10**9,
    max_records: int = 1000,
    max_line: int = MAX_LINE,
) -> Cutting:
    given = given or source()
    corpus = Corpus(given, bucket)
    found = Cutting()
    cuts = list(plan_cuts(corpus, cut_bytes, corpus.handling))
    resolved = Source(**{**vars(given), "format": corpus.format})
    reader = RecordReader(
        id_field=given.id_field,
        sequence_field=given.sequence_field,
        renderer=Renderer(Prompt(template), family_named("claude-haiku-4-5"), "converse"),
        max_line_bytes=max_line,
        carry=given.carry,
        untyped=corpus.format == formats.CSV,
        reach=REACH,
    )

    def rows_of(part: CutRange) -> Iterable[Row]:
        return part_rows(bucket, part, resolved, max_line)

    for one in cuts:
        found.parts += one.parts
        found.counts.append(
            cut_records(one, "b", rows_of, reader, found.files, max_records=max_records, max_bytes=10**8)
        )
    found.notes = corpus.notes()
    found.format = corpus.format
    return found


def rows(
    body: bytes, name: str, given: Source | None = None, *, block: int = 1000, max_line: int = MAX_LINE
) -> list[Row]:
    """Rows of one whole object."""
    key = PREFIX + name
    bucket = MemoryBucket({key: body}, block)
    stored = bucket.find(key)
    assert stored is not None
    return list(part_rows(bucket, CutRange(key, 0, len(body), len(body), stored.etag), given or source(), max_line))


def parquet_bytes(table: "pyarrow.Table | dict[str, Any]", **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(table) if isinstance(table, dict) else table, file, **options)
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(data, asbytes=True))


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: bool(text.strip()))


COLUMNS = st.lists(TEXTS, min_size=1, max_size=40)


CUT_BYTES = st.integers(20, 3000)


BLOCKS = st.integers(1, 400)


def as_csv(texts: list[str], **options: Any) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, **options)
    writer.writerow(["id", "text"])
    writer.writerows((f"r{n}", text) for n, text in enumerate(texts))
    return file.getvalue()


def assert_all_rendered(found: Cutting, texts: list[str]) -> None:
    assert (found.total("read"), found.total("accepted"), found.total("rejected")) == (len(texts), len(texts), 0)
    assert found.texts == texts
    assert [one["recordId"] for one in found.pointers] == [f"r{n}" for n in range(len(texts))]
