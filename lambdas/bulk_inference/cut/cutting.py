"""One cut of a corpus to shard pieces: a stream of rows in, pieces, their index and rejected rows out.

Nothing here touches a store: sinks do. The same cut and the same claims make the same bytes under the same names, so
that a retry overwrites what a dead invocation left. Memory: the piece's set of ids (at most `max_records_per_shard`)
and, where another run's claims are asked for, up to 100 records or 8 MiB that wait for the answer.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bulk_inference.core import names
from bulk_inference.core.errors import BAD_DATA, InvalidRequestError
from bulk_inference.core.rejections import MAX_SAMPLES, Rejection, RowCount
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.corpus.rows import RejectedLineError, Row, source_json
from bulk_inference.render.records import DUPLICATE, UNREADABLE, Record, RecordReader

LOOKUP_RECORDS: Final = 100
"""Keys in one BatchGetItem."""
LOOKUP_BYTES: Final = 8 * 1024 * 1024

MAX_PIECES: Final = 999
"""Of one cut: their counts are one item of the runs table (400 KB) and one state output (256 KiB)."""

ClaimedElsewhere = Callable[[Sequence[str]], Collection[str]]
"""Of these recordIds, the ones that another run of the same scope has landed."""


class PieceSink(Protocol):
    """Where one piece goes; close() makes it visible."""

    def write(self, shard_line: bytes, index_line: bytes) -> None: ...

    def close(self) -> None: ...


class Sinks(Protocol):
    def open_piece(self, piece: str) -> PieceSink: ...

    def write_failure(self, line: bytes) -> None: ...


@dataclass(frozen=True)
class PieceCount:
    piece: str
    records: int
    bytes: int


@dataclass
class CutCount:
    """read = accepted + rejected + duplicate. Blank lines are not read."""

    cut: str
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    documents: int = 0
    """Rows that were chunked; the other counts are of their chunks."""
    pieces: list[PieceCount] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    """Of these rows."""
    kinds: dict[str, Rejection] = field(default_factory=dict)
    """Rejected rows by error class."""
    empty: dict[str, int] = field(default_factory=dict)
    """Records by the field that the prompt names and that put nothing into it."""

    def read_row(self, row: Row) -> None:
        self.rows += 1
        self.bytes += row.length

    def reject(self, row: Row, key: str, error_class: str) -> None:
        """`key`: JSON text."""
        self.read += 1
        self.rejected += 1
        known = self.kinds.get(error_class, Rejection(error_class))
        place = [json.loads(source_json(key, row))] if len(known.samples) < MAX_SAMPLES else []
        self.kinds[error_class] = known + Rejection(error_class, 1, row.lines, row.length, place)

    def to_json(self) -> dict[str, Any]:
        return {
            "cut": self.cut,
            "pieces": [{"piece": one.piece, "records": one.records, "bytes": one.bytes} for one in self.pieces],
            "read": self.read,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "duplicate": self.duplicate,
            **({"documents": self.documents} if self.documents else {}),
            "rowCount": RowCount(self.rows, self.bytes).to_json(),
            "rejections": [one.to_json() for one in self.kinds.values()],
            **({"emptyFields": self.empty} if self.empty else {}),
        }


def cut_records(
    cut: Cut,
    bucket: str,
    rows_of: Callable[[CutRange], Iterable[Row]],
    reader: RecordReader,
    sinks: Sinks,
    *,
    max_records: int,
    max_bytes: int,
    claimed_elsewhere: ClaimedElsewhere | None = None,
    piece_name: Callable[[str], str] = str,
) -> CutCount:
    """Reads every part of `cut` (objects of `bucket`) and writes its records to pieces of at most `max_records` lines
    and `max_bytes` bytes. A recordId that the piece holds already is a duplicate; across pieces the ledger decides.
    `piece_name` makes the name under which a piece is written."""
    count = CutCount(cut.cut)
    pieces = _Pieces(cut.cut, piece_name, sinks, max_records, max_bytes)
    waiting = _Waiting(pieces, claimed_elsewhere) if claimed_elsewhere else None

    def refuse(part: CutRange, row: Row, error: RejectedLineError, record_id: str | None) -> None:
        sinks.write_failure(_failure_line(bucket, part, row, error, record_id))

    for part in cut.parts:
        key = json.dumps(part.key, ensure_ascii=False)
        for row in rows_of(part):
            if row.is_blank:
                continue
            count.read_row(row)
            try:
                records = read_row(reader, row)
            except RejectedLineError as error:
                count.reject(row, key, error.error_class)
                refuse(part, row, error, reader.id_of(row, part.key))
                continue
            source = source_json(key, row)
            count.documents += int(records[0].document is not None)
            for record in records:
                count.read += 1
                for name in record.empty:
                    count.empty[name] = count.empty.get(name, 0) + 1
                if record.record_id in pieces.ids or (waiting and record.record_id in waiting.ids):
                    count.duplicate += 1
                    name = record.original_id or record.record_id
                    again = RejectedLineError(DUPLICATE, "recordId: an earlier line of this piece has it")
                    refuse(part, row, again, name)
                elif waiting is None:
                    pieces.write(record, source)
                    count.accepted += 1
                else:
                    landed, new = waiting.add(record, source)
                    count.duplicate += landed
                    count.accepted += new
    if waiting is not None:
        landed, new = waiting.flush()
        count.duplicate += landed
        count.accepted += new
    pieces.close()
    count.pieces = pieces.counts
    return count


def read_row(reader: RecordReader, row: Row) -> Sequence[Record]:
    """What a row becomes. Whatever else it sets off in Python is its own refusal, too: of many rows, one in a form that
    nobody has thought of must not end the run. Raises RejectedLineError."""
    try:
        return reader.read_row(row)
    except BAD_DATA as error:
        raise RejectedLineError(UNREADABLE, f"the row cannot be made a record: {type(error).__name__}") from None


class _Pieces:
    """Rolls over to a new piece when the next record would not fit."""

    def __init__(
        self, cut: str, piece_name: Callable[[str], str], sinks: Sinks, max_records: int, max_bytes: int
    ) -> None:
        self.ids: set[str] = set()
        """recordIds in the open piece."""
        self.counts: list[PieceCount] = []
        self._cut = cut
        self._piece_name = piece_name
        self._sinks = sinks
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._sink: PieceSink | None = None
        self._piece = ""
        self._bytes = 0

    def write(self, record: Record, source: str) -> None:
        size = len(record.line) + 1
        if self._sink is not None and (len(self.ids) == self._max_records or self._bytes + size > self._max_bytes):
            self.close()
        if self._sink is None:
            if len(self.counts) == MAX_PIECES:
                raise InvalidRequestError(
                    f"cut {self._cut} makes more than {MAX_PIECES} pieces: raise limits.max_records_per_shard or "
                    "limits.max_bytes_per_shard, or lower limits.cut_bytes"
                )
            self._piece = self._piece_name(names.piece(self._cut, len(self.counts) + 1))
            self._sink = self._sinks.open_piece(self._piece)
        self._sink.write(
            record.line + b"\n", index_line(record, self._piece, self._bytes, size - 1, source).encode() + b"\n"
        )
        self.ids.add(record.record_id)
        self._bytes += size

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None
            self.counts.append(PieceCount(self._piece, len(self.ids), self._bytes))
            self.ids = set()
            self._bytes = 0


class _Waiting:
    """Records whose claims by other runs are asked for together."""

    def __init__(self, pieces: _Pieces, claimed_elsewhere: ClaimedElsewhere) -> None:
        self.ids: set[str] = set()
        self._pieces = pieces
        self._claimed_elsewhere = claimed_elsewhere
        self._records: list[tuple[Record, str]] = []
        self._bytes = 0

    def add(self, record: Record, source: str) -> tuple[int, int]:
        """Numbers of records that were found claimed, and that went to pieces; zeros while they still wait."""
        self.ids.add(record.record_id)
        self._records.append((record, source))
        self._bytes += len(record.line)
        if len(self._records) < LOOKUP_RECORDS and self._bytes < LOOKUP_BYTES:
            return 0, 0
        return self.flush()

    def flush(self) -> tuple[int, int]:
        claimed = self._claimed_elsewhere([record.record_id for record, _ in self._records]) if self._records else ()
        new = [(record, source) for record, source in self._records if record.record_id not in claimed]
        for record, source in new:
            self._pieces.write(record, source)
        landed = len(self._records) - len(new)
        self._records, self._bytes, self.ids = [], 0, set()
        return landed, len(new)


def index_line(record: Record, piece: str, offset: int, length: int, source: str) -> str:
    """One pointer: where the record's shard line lies, and (JSON text `source`) which corpus row it was.

    Written out by hand, as it is once per record: the ids of a record and a piece need no escaping.
    """
    extra = ""
    if record.original_id is not None:
        extra = f',"id":{json.dumps(record.original_id, ensure_ascii=False)}'
    if record.sequence is not None:
        extra += f',"sequence":{json.dumps(record.sequence, ensure_ascii=False)}'
    if record.carry is not None:
        extra += f',"carry":{record.carry}'
    if record.document is not None:
        part = record.document
        named = json.dumps(part.id, ensure_ascii=False)
        extra += f',"document":{{"id":{named},"chunk":{part.chunk},"chunks":{part.chunks}}}'
    return (
        f'{{"recordId":"{record.record_id}","shard":"{piece}","offset":{offset},"length":{length}{extra}'
        f',"source":{source}}}'
    )


def _failure_line(bucket: str, part: CutRange, row: Row, error: RejectedLineError, record_id: str | None) -> bytes:
    failure = {
        "recordId": record_id,
        "errorClass": error.error_class,
        "errorCode": "DuplicateLine" if error.error_class == DUPLICATE else "RejectedLine",
        "errorMessage": f"{row.where(part.start)}: {error.message}",
        "attempt": 0,
        "source": {"bucket": bucket, **json.loads(source_json(json.dumps(part.key), row))},
    }
    return json.dumps(failure, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def sample_records(
    rows: Iterable[Row], reader: RecordReader
) -> Iterator[tuple[Row, Sequence[Record] | RejectedLineError]]:
    """What the first rows of a corpus become, blank ones left out: for the canary and the estimate."""
    for row in rows:
        if not row.is_blank:
            try:
                yield row, read_row(reader, row)
            except RejectedLineError as error:
                yield row, error
