"""Formats of corpus objects: given by the request, or inferred from an extension; which are cut in ranges."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from bulk_inference.core.run_spec import Source
from bulk_inference.corpus import compression, encodings

AUTO: Final = "auto"
JSONL: Final = "jsonl"
CSV: Final = "csv"
PARQUET: Final = "parquet"
TEXT: Final = "text"
FORMATS: Final = (AUTO, JSONL, CSV, PARQUET, TEXT)

_SUFFIXES: Final[Mapping[str, frozenset[str]]] = {
    JSONL: frozenset({".jsonl", ".ndjson", ".json"}),
    CSV: frozenset({".csv", ".tsv"}),
    PARQUET: frozenset({".parquet", ".pq"}),
    TEXT: frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm", ".xml", ".json", ".eml"}),
}
_TOLD: Final = (JSONL, CSV, PARQUET)
"""Formats that a name tells. A text document is one only if the request says so: a readme is no corpus."""

_EXPANSION: Final = 6
"""Bytes that one byte of a compressed text is thought to become: how many of them are read by one worker."""


class Shape(NamedTuple):
    """How one object is read."""

    format: str
    codec: str | None
    """`gzip` or `zstd`."""

    @property
    def label(self) -> str:
        """In words: `csv`, `gzip jsonl`."""
        return f"{self.codec} {self.format}" if self.codec else self.format


def suffixes(format_: str) -> str:
    """Names of a format's objects, as an error shows them."""
    wanted = set().union(*(_SUFFIXES[one] for one in _TOLD)) if format_ == AUTO else _SUFFIXES[format_]
    return ", ".join(f"*{suffix}" for suffix in sorted(wanted))


def shape_of(key: str, format_: str, *, by_name: bool) -> Shape | None:
    """How an object is read; None if it is not. `by_name`: only an object whose name fits the format is one, which
    below a prefix keeps readmes out of the corpus."""
    if compression.is_foreign(key):
        return None
    codec = compression.codec_of(key)
    path = PurePosixPath(compression.plain_name(key))
    suffix = path.suffix.lower()
    if format_ == AUTO:
        format_ = next((one for one in _TOLD if suffix in _SUFFIXES[one]), "")
        if not format_:
            return None
    elif by_name and suffix not in _SUFFIXES[format_]:
        return None
    return None if format_ == PARQUET and codec else Shape(format_, codec)


def is_hidden(path: str) -> bool:
    """Whether a folder of the path, or the object itself, has a name that readers of data lakes pass over: `.name`, and
    `_name` (markers, checkpoints, uncommitted files), but not `_column=value`, which is a partition."""
    return any(one.startswith(".") or (one.startswith("_") and "=" not in one) for one in path.split("/"))


def is_cut_in_ranges(shape: Shape, source: Source) -> bool:
    """Whether several workers can read one object, each a range of its bytes."""
    if shape.codec is not None or shape.format == TEXT:
        return False
    if shape.format == PARQUET:
        return True
    return encodings.unit_of(source.encoding) == 1 and (shape.format == JSONL or not source.csv.quoted_newlines)


def weight(shape: Shape, size: int) -> int:
    """Bytes that a worker reads of an object of this size."""
    return size * _EXPANSION if shape.codec else size


def fields_are_texts(format_: str) -> bool:
    return format_ in (CSV, TEXT)
