"""The corpus in S3: which objects it is, and their lines as streams bound to the objects' ETags."""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from typing import Final, Protocol

from bulk_inference.errors import InvalidRequestError
from bulk_inference.lines import first_byte, lines_of_range
from bulk_inference.planning import ObjectInfo, Part, is_corpus_object, refuse_compressed
from bulk_inference.rows import Row
from bulk_inference.spec import Source

_TAIL_SEGMENT: Final = 256 * 1024
"""Read at a time beyond a range's end, where the rest of its last line lies."""


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
    """Iterates over the objects of a source, in key order. Counts what it leaves out below a prefix."""

    def __init__(self, source: Source, bucket: CorpusBucket) -> None:
        self.skipped = 0
        """Objects below the prefix that are no JSONL by their name."""
        self.first_skipped = ""
        self._source = source
        self._bucket = bucket

    def __iter__(self) -> Iterator[ObjectInfo]:
        """Raises InvalidRequestError: no such object or bucket, access denied, a compressed object, or a prefix below
        which nothing is JSONL. A prefix without any object is an empty corpus."""
        if self._source.key is not None:
            refuse_compressed(self._source.key)
            found = self._bucket.find(self._source.key)
            if found is None:
                raise InvalidRequestError(
                    f"source.key: s3://{self._source.bucket}/{self._source.key} does not exist: upload the corpus "
                    "first, or correct the key"
                )
            yield found
            return
        prefix = self._source.prefix or ""
        taken = 0
        for entry in self._bucket.list(prefix):
            if is_corpus_object(entry.key):
                taken += 1
                yield entry
            elif not entry.key.endswith("/"):
                # A key that ends in a slash is a folder as the console makes them.
                self.skipped += 1
                self.first_skipped = self.first_skipped or entry.key
        if not taken and self.skipped:
            raise InvalidRequestError(
                f"source.prefix: none of {self.skipped} objects below s3://{self._source.bucket}/{prefix} is named "
                f"*.jsonl, *.ndjson or *.json (the first is {self.first_skipped}); name one object by source.key if it "
                "is JSONL under another name"
            )


def part_lines(bucket: CorpusBucket, part: Part, max_line_bytes: int, *, small: bool = False) -> Iterator[Row]:
    """Lines that begin in the part, read as it was planned: an object that has changed is an InvalidRequestError.

    `small`: fetch little at a time, for a caller that stops early.
    """
    segment = _TAIL_SEGMENT if small else None
    with (
        closing(
            bucket.read(part.key, start=first_byte(part.start), end=part.end, etag=part.etag, segment_bytes=segment)
        ) as own,
        closing(
            bucket.read(part.key, start=part.end, end=part.size, etag=part.etag, segment_bytes=_TAIL_SEGMENT)
        ) as beyond,
    ):
        yield from lines_of_range(chain(own, beyond), part.start, part.end, max_line_bytes)
