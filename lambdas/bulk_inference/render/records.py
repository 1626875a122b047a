"""The record contract: one corpus row becomes a shard line `{"recordId", "modelInput"}`, or is rejected by name.

A run that has a template renders every row; one that has none, or whose request asks for it, takes a JSON line that
holds `modelInput` for a record and passes it byte for byte. Whatever made it, a request body is checked as it will be
parsed (core/reach.py). JSON is read strictly (core/json_text.py).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NamedTuple

from bulk_inference.core import names
from bulk_inference.core.json_text import DUPLICATE_KEY as DUPLICATE_KEY
from bulk_inference.core.json_text import NOT_JSON, JsonError, decode, loads
from bulk_inference.core.json_text import TOO_DEEP as TOO_DEEP
from bulk_inference.core.model_families import CONVERSE
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import Chunking
from bulk_inference.corpus.rows import TOO_LARGE as TOO_LARGE
from bulk_inference.corpus.rows import UNDECODABLE, Row
from bulk_inference.corpus.rows import RejectedLineError as RejectedLineError
from bulk_inference.corpus.rows import too_large as too_large
from bulk_inference.render import cache_points
from bulk_inference.render.chunking import MAX_CHUNKS, TooManyChunksError, chunk_key, chunks
from bulk_inference.render.media import IllegalMediaError
from bulk_inference.render.record_bodies import BATCH_REFUSES, refused_in_batch, without_envelope
from bulk_inference.render.rendering import EmptyPromptError, MissingFieldError, Renderer

NOT_OBJECT: Final = "not_object"
LONE_SURROGATE: Final = "lone_surrogate"
MISSING_FIELD: Final = "missing_field"
EMPTY_PROMPT: Final = "empty_prompt"
ILLEGAL_MODEL_INPUT: Final = "illegal_model_input"
ILLEGAL_RECORD_ID: Final = "illegal_record_id"
ILLEGAL_SEQUENCE: Final = "illegal_sequence"
ILLEGAL_CARRY: Final = "illegal_carry"
ILLEGAL_MEDIA: Final = "illegal_media"
ILLEGAL_DOCUMENT: Final = "illegal_document"
TOO_MANY_CHUNKS: Final = "too_many_chunks"
UNREADABLE: Final = "unreadable"
DUPLICATE: Final = "duplicate"
"""Error classes of rows that do not become records; those of single formats stand in rows.py."""

MAX_RECORD_ID_BYTES: Final = 1024
"""UTF-8 bytes: leaves room for the scope in the ledger's partition key (2,048 bytes)."""

MAX_SEQUENCE: Final = 256

_EXACT: Final = 2**53
"""Up to here, a float says which whole number it is."""

_SHOWN_FIELDS: Final = 12
_SHOWN_NAME: Final = 40
"""Characters of a field's name, and names, that an error shows."""

MAX_CARRY_BYTES: Final = 2048
"""UTF-8 bytes of the carried fields of one record, as JSON. They ride in its pointer, of which a state input of 256 KiB
and a queue message must hold several."""

"""Form of the ids made here. A caller's id of this form is aliased like an unsafe one, so that none can collide."""

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")

_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class DocumentPart(NamedTuple):
    """Which part of a document a record is."""

    id: str
    """The caller's id of the document, else a hash of its row."""
    chunk: int
    """Counts from 1."""
    chunks: int


class Record(NamedTuple):
    record_id: str
    """What Bedrock, the ledger and the index know the record by: `[A-Za-z0-9_-]{1,64}`."""
    line: bytes
    """The shard line, without its end."""
    original_id: str | None = None
    """The caller's id where it travels under an alias."""
    sequence: Any = None
    carry: str | None = None
    """Fields that go through to the result, as a JSON object."""
    document: DocumentPart | None = None
    """Where the run chunks its rows, or reduces what another run made of chunks."""
    empty: Sequence[str] = ()
    """Fields that the prompt names and that put nothing into it."""


@dataclass(frozen=True, kw_only=True)
class RecordReader:
    """Rows of one run to records. Raises RejectedLineError for each row that is none."""

    id_field: str | None
    sequence_field: str | None
    renderer: Renderer | None
    max_line_bytes: int
    reach: Reach
    """Of the run's tenant."""
    carry: Sequence[str] = ()
    untyped: bool = False
    """Fields are texts all (CSV), so that a sequence of digits counts as a number."""
    strip_cache_points: bool = False
    """From lines in record form, for jobs."""
    record_form: bool | None = None
    """Whether a row with `modelInput` is a request body of its own; None: where nothing renders rows."""
    api: str = CONVERSE
    """Of such bodies."""
    batch: bool = False
    """Whether they go into batch jobs."""
    chunking: Chunking | None = None
    reduces: bool = False
    """Rows are those that assembly.py writes, each the parts of a document for one prompt."""

    @property
    def fields(self) -> Sequence[str]:
        """Those that the run reads of a row."""
        own = [name for name in (self.id_field, self.chunking.field if self.chunking else None) if name]
        return [*own, *self.carry, *([] if self.renderer is None else self.renderer.fields)]

    def id_of(self, row: Row, key: str) -> str | None:
        """The caller's id of a row that was rejected, if it can be read; of a document its key."""
        try:
            fields = row.fields if row.fields is not None else parse_object(row.data or b"")
            return self._given_id(fields)
        except RejectedLineError:
            return key if row.kind == "document" else None

    @property
    def unusual(self) -> Sequence[str]:
        """Placeholders that may be no field's name (rendering.py)."""
        return () if self.renderer is None else self.renderer.unusual

    @property
    def in_single_braces(self) -> Sequence[str]:
        return () if self.renderer is None else self.renderer.in_single_braces

    @property
    def _takes_records(self) -> bool:
        return self.renderer is None if self.record_form is None else self.record_form

    def read_row(self, row: Row) -> Sequence[Record]:
        """What one row becomes. Rows that are blank are none of this function's."""
        if row.refusal is not None:
            raise row.refusal
        if row.data is not None:
            return self._read_document(row.data) if self.chunking or self.reduces else (self.read(row.data),)
        if row.fields is None:
            raise too_large(row.length, self.max_line_bytes, "the line" if row.kind == "line" else "it")
        if self.chunking is not None:
            content = b"" if self._given_id(row.fields) is not None else _encoded(row.fields, for_hash=True)
            return self._chunked(row.fields, content, self.chunking)
        return (self.read_fields(row.fields),)

    def read(self, line: bytes) -> Record:
        """`line` is not blank and holds no line end."""
        fields = parse_object(line)
        sequence, carry = self._sequence(fields), self._carried(fields)
        if self._takes_records and "modelInput" in fields:
            return self._pass_through(line.strip(b" \t\r"), fields, sequence, carry)
        original = self._given_id(fields)
        record_id, alias_of = _record_id(original, line.strip(b" \t\r") if original is None else b"")
        body = self._render(record_id, fields)
        return Record(record_id, body, alias_of, sequence, carry, empty=self._empty(fields))

    def read_fields(self, fields: Mapping[str, Any]) -> Record:
        """A row of a format that has fields, not lines. Without an id, its recordId is a hash of all its fields."""
        sequence, carry = self._sequence(fields), self._carried(fields)
        original = self._given_id(fields)
        content = b"" if original is not None else _encoded(fields, for_hash=True)
        record_id, alias_of = _record_id(original, content)
        body = self._render(record_id, fields)
        return Record(record_id, body, alias_of, sequence, carry, empty=self._empty(fields))

    def _read_document(self, line: bytes) -> Sequence[Record]:
        fields = parse_object(line)
        if self.chunking is None:
            return (self._parts_of_document(fields),)
        return self._chunked(fields, line.strip(b" \t\r"), self.chunking)

    def _chunked(self, fields: Mapping[str, Any], content: bytes, how: Chunking) -> list[Record]:
        """One record per chunk of the row's text. A row goes whole or not at all: if one chunk cannot be rendered, the
        row is rejected. Chunks of nothing but white space are left out."""
        if self._takes_records and "modelInput" in fields:
            raise RejectedLineError(
                ILLEGAL_DOCUMENT, "modelInput: the run chunks its rows, and a row in record form cannot be chunked"
            )
        text = fields.get(how.field)
        if text is None:
            raise _missing(how.field, "chunking.field names it", fields)
        if not isinstance(text, str):
            raise RejectedLineError(ILLEGAL_DOCUMENT, f"field {how.field!r}: what is chunked must be text")
        sequence, carry = self._sequence(fields), self._carried(fields)
        document = self._given_id(fields) or _record_id(None, content)[0]
        key = chunk_key(document, text, how)
        try:
            pieces = [
                piece for one in chunks(text, how) if (piece := text[one.start : one.end]) and not piece.isspace()
            ]
        except TooManyChunksError:
            raise RejectedLineError(
                TOO_MANY_CHUNKS, f"field {how.field!r}: makes more than {MAX_CHUNKS} chunks; raise chunking.size"
            ) from None
        if not pieces:
            raise RejectedLineError(EMPTY_PROMPT, f"field {how.field!r}: is blank")
        records = []
        for number, piece in enumerate(pieces, 1):
            own = {**fields, "chunk": piece, "chunk_number": number, "chunk_count": len(pieces)}
            record_id = names.chunk(key, number)
            part = DocumentPart(document, number, len(pieces))
            body = self._render(record_id, own)
            records.append(Record(record_id, body, None, sequence, carry, part, self._empty(own)))
        return records

    def _parts_of_document(self, fields: Mapping[str, Any]) -> Record:
        """A row of assembly.py: `{"key", "documentId", "chunk", "chunks", "round", "parts", "sequence"?, "carry"?}`."""
        part = DocumentPart(fields["documentId"], fields["chunk"], fields["chunks"])
        record_id = names.chunk(fields["key"], part.chunk)
        carry = fields.get("carry")
        own = {
            **(carry or {}),
            "parts": fields["parts"],
            "part_number": part.chunk,
            "part_count": part.chunks,
            "document_id": part.id,
            "round": fields["round"],
        }
        body = self._render(record_id, own)
        carried = None if carry is None else _encoded(carry).decode()
        return Record(record_id, body, None, fields.get("sequence"), carried, part)

    def _sequence(self, fields: Mapping[str, Any]) -> Any:
        value = fields.get(self.sequence_field) if self.sequence_field is not None else None
        if value is None:
            return None
        if self.untyped and isinstance(value, str):
            if not value:
                return None
            if _WHOLE.fullmatch(value):
                return int(value)
        if not _is_sequence(value):
            raise RejectedLineError(
                ILLEGAL_SEQUENCE,
                f"field {self.sequence_field!r}: must be a number or a string of up to {MAX_SEQUENCE} characters",
            )
        return value

    def _carried(self, fields: Mapping[str, Any]) -> str | None:
        if not self.carry:
            return None
        carried = {name: fields[name] for name in self.carry if name in fields}
        text = _encoded(carried)
        if len(text) > MAX_CARRY_BYTES:
            raise RejectedLineError(
                ILLEGAL_CARRY,
                f"source.carry: the fields have {len(text)} bytes, more than the {MAX_CARRY_BYTES} of a pointer",
            )
        return text.decode() if carried else None

    def _pass_through(self, line: bytes, fields: Mapping[str, Any], sequence: Any, carry: str | None) -> Record:
        model_input = fields["modelInput"]
        if not isinstance(model_input, dict):
            raise RejectedLineError(ILLEGAL_MODEL_INPUT, "modelInput: must be an object (the model's request body)")
        if not model_input:
            raise RejectedLineError(ILLEGAL_MODEL_INPUT, "modelInput: is empty")
        if self.batch and (refused := refused_in_batch(model_input, self.api)) is not None:
            raise RejectedLineError(
                ILLEGAL_MODEL_INPUT,
                f"modelInput.{refused}: Converse's batch jobs take no {BATCH_REFUSES[refused]} and would fail the "
                "record: set run.mode to sync, or model.api to invoke_model with native bodies",
            )
        model_input = without_envelope(model_input, self.api)
        given = fields.get("recordId")
        original = _id_text("recordId", given) if given is not None else None
        record_id, alias_of = _record_id(original, line)
        self._check(model_input)
        cached = self.strip_cache_points and cache_points.may_hold(line)
        model_input = cache_points.strip(model_input) if cached else model_input
        if record_id == given and len(fields) == 2 and model_input is fields["modelInput"]:
            return Record(record_id, line, None, sequence, carry)
        # Written anew: Bedrock promises nothing about further keys, and the id may be another than the given one.
        body = json.dumps(model_input, ensure_ascii=False, separators=(",", ":"))
        return Record(record_id, self._shard_line(record_id, body), alias_of, sequence, carry)

    def _check(self, model_input: Any) -> None:
        """The functions' roles reach more than a tenant may name."""
        if (why := self.reach.misplaced(model_input)) is not None:
            raise RejectedLineError(ILLEGAL_MEDIA, why)

    def _render(self, record_id: str, fields: Mapping[str, Any]) -> bytes:
        """The shard line."""
        if self.renderer is None:
            raise RejectedLineError(
                MISSING_FIELD, "modelInput: missing, and the run has no prompt.template to render the line with"
            )
        try:
            body = self.renderer.render(fields)
        except MissingFieldError as error:
            raise _missing(error.field, "the prompt names it", fields) from None
        except EmptyPromptError:
            raise RejectedLineError(EMPTY_PROMPT, "the rendered prompt is blank, which no model takes") from None
        except IllegalMediaError as error:
            raise RejectedLineError(ILLEGAL_MEDIA, str(error)) from None
        line = self._shard_line(record_id, body)
        try:
            self._check(loads(body))
        except JsonError as error:
            raise RejectedLineError(error.kind, f"the request body: {error}") from None
        return line

    def _empty(self, fields: Mapping[str, Any]) -> Sequence[str]:
        return () if self.renderer is None else self.renderer.empty(fields)

    def _given_id(self, fields: Mapping[str, Any]) -> str | None:
        if self.id_field is not None:
            value = fields.get(self.id_field)
            if value is None:
                raise _missing(self.id_field, "source.id_field names it", fields)
            return _id_text(self.id_field, value)
        for name in ("recordId", "id"):
            if fields.get(name) is not None:
                return _id_text(name, fields[name])
        return None

    def _shard_line(self, record_id: str, body: str) -> bytes:
        line = f'{{"recordId":"{record_id}","modelInput":{body}}}'.encode()
        if len(line) > self.max_line_bytes:
            raise too_large(len(line), self.max_line_bytes, "the rendered record")
        return line


def parse_object(line: bytes) -> dict[str, Any]:
    """One JSON object, strictly. Raises RejectedLineError: not_json, not_object, duplicate_key, lone_surrogate,
    too_deep."""
    try:
        text = line.decode().strip(" \t\r")
        value, end = decode(text)
    except UnicodeDecodeError as error:
        raise RejectedLineError(UNDECODABLE, f"not UTF-8: byte {error.start} of the line") from None
    except JsonError as error:
        raise RejectedLineError(error.kind, str(error)) from None
    if end != len(text):
        raise RejectedLineError(NOT_JSON, f"no JSON: text after the value, from character {end + 1} on")
    if not isinstance(value, dict):
        raise RejectedLineError(NOT_OBJECT, f"the line is a JSON {_KINDS[type(value)]}, not an object")
    if b"\\u" in line and _SURROGATE_ESCAPE.search(line) and _has_lone_surrogate(value):
        raise RejectedLineError(LONE_SURROGATE, "a \\u escape is half of a surrogate pair: no Unicode text holds that")
    return value


def _missing(field: str, who: str, fields: Mapping[str, Any]) -> RejectedLineError:
    """Names of columns are no text of a row, and mostly the way to what was meant."""
    given = [name[:_SHOWN_NAME] for name in list(fields)[:_SHOWN_FIELDS]]
    more = f" and {len(fields) - _SHOWN_FIELDS} more" if len(fields) > _SHOWN_FIELDS else ""
    state = "null" if fields.get(field, field) is None else "missing"
    return RejectedLineError(
        MISSING_FIELD, f"field {field!r}: {state}, and {who}; the row has {', '.join(given) or 'no field'}{more}"
    )


def _is_sequence(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_SEQUENCE
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _encoded(fields: Mapping[str, Any], *, for_hash: bool = False) -> bytes:
    """JSON, UTF-8. Raises RejectedLineError for what JSON or UTF-8 cannot hold; a hash may hold NaN."""
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=for_hash, allow_nan=for_hash)
        return text.encode()
    except UnicodeEncodeError:
        raise RejectedLineError(LONE_SURROGATE, "half of a surrogate pair: no Unicode text holds that") from None
    except ValueError:
        raise RejectedLineError(
            ILLEGAL_CARRY, "source.carry: NaN and infinities are no JSON, so that no result can carry them"
        ) from None


def _record_id(original: str | None, content: bytes) -> tuple[str, str | None]:
    """The id to use, and the caller's where it is another one."""
    if original is None:
        return names.content_id(content), None
    if names.RECORD.fullmatch(original) and not names.is_ours(original):
        return original, None
    return names.alias(original), original


def _id_text(field: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        # A column of whole numbers in which one is missing is a column of floats to pandas.
        return str(int(value))
    if not isinstance(value, str):
        raise RejectedLineError(
            ILLEGAL_RECORD_ID, f"field {field!r}: a recordId is a string or a whole number, not {_KINDS[type(value)]}"
        )
    if not value or len(value.encode()) > MAX_RECORD_ID_BYTES:
        raise RejectedLineError(
            ILLEGAL_RECORD_ID,
            f"field {field!r}: a recordId has 1 to {MAX_RECORD_ID_BYTES} bytes, this has {len(value.encode())}",
        )
    return value


def _has_lone_surrogate(value: Mapping[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


_KINDS: Final[Mapping[type, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
