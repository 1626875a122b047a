"""Rows of a Parquet object, row group by row group, as fields that JSON can hold.

A byte range owns the row groups that begin inside it, as it owns the lines of a JSONL object that do, so that any cut
into ranges gives each group to exactly one of them. pyarrow reads; it is not in this bundle but in a layer of its own.

Values: numbers, booleans, strings, lists and structs as JSON has them; a map as an object; decimals, dates, times and
timestamps as texts that lose no digit (ISO 8601, `Z` where the column is an instant); durations as a whole number of
the column's unit; binary as base64, or as text where the request says so, or as a UUID's text where the column does.
NaN and infinities stay floats. A date or time that Arrow cannot name, such as PostgreSQL's infinity, is no value.
"""

import base64
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import SEEK_CUR, SEEK_END, RawIOBase
from typing import Any, Final, NamedTuple, TypeAlias

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.corpus.rows import NOT_PARQUET, UNDECODABLE, RejectedLineError, Row

_BUFFER_BYTES: Final = 1024 * 1024
"""Read ahead in each column. Without it, pyarrow would hold a row group's columns whole."""
_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of a batch of rows, uncompressed, by its row group's mean; Python's objects of them take some times as much."""
_BATCH_ROWS: Final = 1024

Type: TypeAlias = Any
"""pyarrow.DataType. pyarrow has no types of its own for checkers, and need not be installed."""

Convert = Callable[[Any], Any]
Selection: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]
"""Rows to read, of each row group: (first, last), inclusive."""


class RangeReader(RawIOBase):
    """An object in S3 as a file: each read is one request."""

    def __init__(self, size: int, read_range: Callable[[int, int], bytes]) -> None:
        """`read_range`: bytes [start, end)."""
        self._size = size
        self._read_range = read_range
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = {SEEK_CUR: self._position, SEEK_END: self._size}.get(whence, 0)
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._position + size, self._size)
        if end <= self._position:
            return b""
        data = self._read_range(self._position, end)
        self._position += len(data)
        return data


class Group(NamedTuple):
    """One row group."""

    number: int
    """0-based, in the object."""
    rows: int
    start: int
    """Byte of the object at which it begins."""
    packed: int
    """Bytes in the object."""
    bytes: int
    """Uncompressed."""


class Table:
    """One Parquet object. Raises InvalidRequestError for one that cannot be read at all, or without pyarrow."""

    def __init__(self, file: RangeReader, name: str, *, binary_is_text: bool = False) -> None:
        pyarrow, parquet = _pyarrow()
        self._pyarrow = pyarrow
        try:
            self._file = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            self._schema = self._file.schema_arrow
        except (pyarrow.ArrowException, OSError) as error:
            raise InvalidRequestError(f"{name} is no Parquet file that can be read: {_first_line(error)}") from None
        names = self._schema.names
        if len(set(names)) < len(names):
            twice = min(one for one, count in Counter(names).items() if count > 1)
            raise InvalidRequestError(f"{name} has two columns {twice!r}: rename one")
        columns = self._file.schema
        uuids = {columns.column(n).path for n in range(len(columns)) if columns.column(n).logical_type.type == "UUID"}
        self._names = names
        as_text = {field.name for field in self._schema if binary_is_text and field.name not in uuids}
        self._columns = [
            _column(pyarrow, field.type, field.name in uuids, field.name in as_text) for field in self._schema
        ]
        self.binary = [
            field.name for field in self._schema if _is_binary(pyarrow.types, field.type) and field.name not in uuids
        ]
        """Columns of bytes of which nothing says what they hold."""

    def groups(self, start: int, end: int) -> list[Group]:
        """Row groups that begin in bytes [start, end)."""
        metadata = self._file.metadata
        found = [_group(metadata.row_group(n), n) for n in range(metadata.num_row_groups)]
        return [group for group in found if start <= group.start < end]

    def rows(self, group: Group, selection: Sequence[tuple[int, int]] | None = None) -> Iterator[Row]:
        """Rows of a group, numbered from 0. Rows of a group that is damaged are refused, each by itself."""
        number = 0
        mean = max(group.bytes // max(group.rows, 1), 1)
        size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // mean))
        # What a row takes of the object: it has no bytes of its own.
        length = group.packed // max(group.rows, 1)
        refusal: RejectedLineError | None = None
        try:
            for batch in self._file.iter_batches(size, row_groups=[group.number], use_threads=False):
                if _wanted(selection, number, number + batch.num_rows - 1):
                    for fields, why in self._fields(batch):
                        if _wanted(selection, number, number):
                            yield Row(number, 0, length, fields=fields, refusal=why, group=group.number, kind="row")
                        number += 1
                else:
                    number += batch.num_rows
        except (self._pyarrow.ArrowException, OSError) as error:
            refusal = RejectedLineError(NOT_PARQUET, f"its row group cannot be read: {_first_line(error)}")
        for rest in range(number, group.rows):
            if _wanted(selection, rest, rest):
                why = refusal or RejectedLineError(NOT_PARQUET, "its row group ends before it")
                yield Row(rest, 0, length, refusal=why, group=group.number, kind="row")

    def _fields(self, batch: Any) -> Iterator[tuple[dict[str, Any] | None, RejectedLineError | None]]:
        columns = [column.values(self._names[n], batch.column(n)) for n, column in enumerate(self._columns)]
        for values in zip(*columns, strict=True):
            refused = next((value for value in values if isinstance(value, RejectedLineError)), None)
            # Of a row that is refused, the other fields may still tell which one it is.
            fields = dict(zip(self._names, values, strict=True))
            yield {name: one for name, one in fields.items() if not isinstance(one, RejectedLineError)}, refused


class _Column(NamedTuple):
    casts: tuple[Type, ...]
    """What Arrow makes of the column first, one after the other."""
    convert: Convert | None
    """What Python makes of each value then; None: nothing."""

    def values(self, name: str, column: Any) -> list[Any]:
        """A value for each row, or the refusal of the row."""
        try:
            return self._values(column)
        except (ValueError, OverflowError, NotImplementedError):
            # UnicodeDecodeError and Arrow's own are ValueErrors. One value is at fault: which one?
            return [self._one(name, column.slice(n, 1)) for n in range(len(column))]

    def _values(self, column: Any) -> list[Any]:
        for kind in self.casts:
            column = column.cast(kind)
        values: list[Any] = column.to_pylist()
        convert = self.convert
        return values if convert is None else [None if value is None else convert(value) for value in values]

    def _one(self, name: str, column: Any) -> Any:
        try:
            return self._values(column)[0]
        except UnicodeDecodeError as error:
            return RejectedLineError(UNDECODABLE, f"field {name!r}: not UTF-8: byte {error.start} of it")
        except _DuplicateKeyError:
            return RejectedLineError("duplicate_key", f"field {name!r}: a map holds the same key twice")
        except (ValueError, OverflowError, NotImplementedError) as error:
            return RejectedLineError(NOT_PARQUET, f"field {name!r}: cannot be read: {_first_line(error)}")


class _DuplicateKeyError(ValueError):
    pass


def _is_binary(types: Any, kind: Type) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _column(pyarrow: Any, kind: Type, is_uuid: bool, binary_is_text: bool) -> _Column:
    if is_uuid:
        return _Column((), lambda value: str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value)))
    # Of an instant, the zone is a hint for display, and a text in it would need the machine's table of zones.
    unzoned = _mapped(
        pyarrow, kind, lambda one: pyarrow.timestamp(one.unit) if pyarrow.types.is_timestamp(one) else one
    )
    target = _mapped(pyarrow, kind, lambda one: _target(pyarrow, one))
    casts = tuple(one for one, before in ((unzoned, kind), (target, unzoned)) if not one.equals(before))
    return _Column(casts, _converter(pyarrow.types, kind, binary_is_text))


def _unzoned(pyarrow: Any, kind: Type) -> Type:
    return pyarrow.timestamp(kind.unit) if pyarrow.types.is_timestamp(kind) else kind


def _target(pyarrow: Any, kind: Type) -> Type:
    """The type of which every value is one that Python and JSON hold exactly."""
    types = pyarrow.types
    if types.is_decimal(kind) or types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return pyarrow.string()
    return pyarrow.int64() if types.is_duration(kind) else kind


def _mapped(pyarrow: Any, kind: Type, leaf: Convert) -> Type:
    """A type with other leaves: plain lists for lists of any form, values for dictionaries and extensions."""
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _mapped(pyarrow, kind.storage_type, leaf)
    if types.is_dictionary(kind):
        return _mapped(pyarrow, kind.value_type, leaf)
    if types.is_struct(kind):
        return pyarrow.struct([pyarrow.field(one.name, _mapped(pyarrow, one.type, leaf)) for one in kind])
    if types.is_map(kind):
        return pyarrow.map_(_mapped(pyarrow, kind.key_type, leaf), _mapped(pyarrow, kind.item_type, leaf))
    if types.is_large_list(kind):
        return pyarrow.large_list(_mapped(pyarrow, kind.value_type, leaf))
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return pyarrow.list_(_mapped(pyarrow, kind.value_type, leaf))
    return leaf(kind)


def _converter(types: Any, kind: Type, binary_is_text: bool = False) -> Convert | None:
    """From a value of the target type to one of JSON."""

    def inner_of(inner: Type) -> Convert | None:
        return _converter(types, inner, binary_is_text)

    if hasattr(kind, "storage_type"):
        return inner_of(kind.storage_type)
    if types.is_dictionary(kind):
        return inner_of(kind.value_type)
    if types.is_timestamp(kind):
        return _instant if kind.tz is not None else _iso
    if types.is_time(kind):
        return _shortened
    if types.is_date(kind):
        return _named
    if _is_binary(types, kind):
        return (lambda value: value.decode()) if binary_is_text else (lambda value: base64.b64encode(value).decode())
    if types.is_struct(kind):
        inner = {one.name: convert for one in kind if (convert := inner_of(one.type)) is not None}
        return _struct(inner) if inner else None
    if types.is_map(kind):
        return _map(inner_of(kind.key_type), inner_of(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        convert = inner_of(kind.value_type)
        return None if convert is None else lambda value: [None if one is None else convert(one) for one in value]
    return None


def _struct(inner: Mapping[str, Convert]) -> Convert:
    def convert(value: dict[str, Any]) -> dict[str, Any]:
        return {name: one if one is None or name not in inner else inner[name](one) for name, one in value.items()}

    return convert


def _map(of_key: Convert | None, of_item: Convert | None) -> Convert:
    def convert(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in pairs:
            key = key if of_key is None else of_key(key)
            name = key if isinstance(key, str) else json.dumps(key)
            if name in found:
                raise _DuplicateKeyError(name)
            found[name] = item if item is None or of_item is None else of_item(item)
        return found

    return convert


def _named(text: str) -> str:
    """Arrow's cast does not fail for what it cannot name, but writes `<value out of range: …>`."""
    if text.startswith("<"):
        raise ValueError("a date or time beyond what can be named, as infinity is")
    return text


def _shortened(text: str) -> str:
    text = _named(text)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _iso(text: str) -> str:
    return _shortened(_named(text).replace(" ", "T", 1))


def _instant(text: str) -> str:
    return _iso(text) + "Z"


def _group(metadata: Any, index: int) -> Group:
    starts = []
    packed = 0
    for n in range(metadata.num_columns):
        column = metadata.column(n)
        # Old writers put 0 for a dictionary page that there is not.
        starts += [at for at in (column.dictionary_page_offset, column.data_page_offset) if at]
        packed += column.total_compressed_size
    return Group(index, metadata.num_rows, min(starts, default=0), packed, metadata.total_byte_size)


def _wanted(selection: Sequence[tuple[int, int]] | None, first: int, last: int) -> bool:
    return selection is None or any(start <= last and first <= end for start, end in selection)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InvalidRequestError(
            "Parquet objects need pyarrow, which is in a layer of its own: apply the module with parquet = { … }, or "
            "bring the corpus as JSONL or CSV"
        ) from None
    return pyarrow, parquet
