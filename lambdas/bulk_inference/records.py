"""The record contract: one corpus line becomes a shard line `{"recordId", "modelInput"}`, or is rejected by name.

A line that holds `modelInput` is in record form already and passes byte for byte; any other object is rendered by the
run's template. JSON is read as RFC 8259 has it, strictly: NaN and Infinity, a key twice in one object and half a
surrogate pair are refused, because the readers downstream would not agree on what they mean.
"""

import json
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from bulk_inference.rendering import EmptyPromptError, MissingFieldError, Renderer

NOT_JSON: Final = "not_json"
NOT_OBJECT: Final = "not_object"
DUPLICATE_KEY: Final = "duplicate_key"
LONE_SURROGATE: Final = "lone_surrogate"
TOO_LARGE: Final = "too_large"
MISSING_FIELD: Final = "missing_field"
EMPTY_PROMPT: Final = "empty_prompt"
ILLEGAL_MODEL_INPUT: Final = "illegal_model_input"
ILLEGAL_RECORD_ID: Final = "illegal_record_id"
ILLEGAL_SEQUENCE: Final = "illegal_sequence"
DUPLICATE: Final = "duplicate"
"""Error classes of lines that do not become records."""

MAX_RECORD_ID_BYTES: Final = 1024
"""UTF-8 bytes: leaves room for the scope in the ledger's partition key (2,048 bytes)."""

MAX_SEQUENCE: Final = 256

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OURS: Final = re.compile(r"(?:id|line)-[0-9a-f]{40}")
"""Form of the ids made here. A caller's id of this form is aliased like an unsafe one, so that none can collide."""

_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class RejectedLineError(Exception):
    """A line that is no record: its error class and a message that names field and rule, never the line's text."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message


class Record(NamedTuple):
    record_id: str
    """What Bedrock, the ledger and the index know the record by: `[A-Za-z0-9_-]{1,64}`."""
    line: bytes
    """The shard line, without its end."""
    original_id: str | None = None
    """The caller's id where it travels under an alias."""
    sequence: Any = None


class RecordReader:
    """Lines of one run to records. Raises RejectedLineError for each line that is none."""

    def __init__(
        self, *, id_field: str | None, sequence_field: str | None, renderer: Renderer | None, max_line_bytes: int
    ) -> None:
        self._id_field = id_field
        self._sequence_field = sequence_field
        self._renderer = renderer
        self._max_line_bytes = max_line_bytes

    def read(self, line: bytes) -> Record:
        """`line` is not blank and holds no line end."""
        fields = parse_object(line)
        sequence = fields.get(self._sequence_field) if self._sequence_field is not None else None
        if sequence is not None and not _is_sequence(sequence):
            raise RejectedLineError(
                ILLEGAL_SEQUENCE,
                f"field {self._sequence_field!r}: must be a number or a string of up to {MAX_SEQUENCE} characters",
            )
        if "modelInput" in fields:
            return self._pass_through(line.strip(b" \t\r"), fields, sequence)
        return self._render(line, fields, sequence)

    def _pass_through(self, line: bytes, fields: Mapping[str, Any], sequence: Any) -> Record:
        model_input = fields["modelInput"]
        if not isinstance(model_input, dict):
            raise RejectedLineError(ILLEGAL_MODEL_INPUT, "modelInput: must be an object (the model's request body)")
        if not model_input:
            raise RejectedLineError(ILLEGAL_MODEL_INPUT, "modelInput: is empty")
        given = fields.get("recordId")
        original = _id_text("recordId", given) if given is not None else None
        record_id, alias_of = _record_id(original, line)
        if record_id == given and len(fields) == 2:
            return Record(record_id, line, None, sequence)
        # Written anew: Bedrock promises nothing about further keys, and the id may be another than the given one.
        body = json.dumps(model_input, ensure_ascii=False, separators=(",", ":"))
        return Record(record_id, self._shard_line(record_id, body), alias_of, sequence)

    def _render(self, line: bytes, fields: Mapping[str, Any], sequence: Any) -> Record:
        original = self._given_id(fields)
        record_id, alias_of = _record_id(original, line)
        if self._renderer is None:
            raise RejectedLineError(
                MISSING_FIELD, "modelInput: missing, and the run has no prompt.template to render the line with"
            )
        try:
            body = self._renderer.render(fields)
        except MissingFieldError as error:
            raise RejectedLineError(
                MISSING_FIELD, f"field {error.field!r}: missing, and the prompt's template names it"
            ) from None
        except EmptyPromptError:
            raise RejectedLineError(EMPTY_PROMPT, "the rendered prompt is blank, which no model takes") from None
        return Record(record_id, self._shard_line(record_id, body), alias_of, sequence)

    def _given_id(self, fields: Mapping[str, Any]) -> str | None:
        if self._id_field is not None:
            value = fields.get(self._id_field)
            if value is None:
                raise RejectedLineError(
                    MISSING_FIELD, f"field {self._id_field!r}: missing, and source.id_field names it"
                )
            return _id_text(self._id_field, value)
        for name in ("recordId", "id"):
            if fields.get(name) is not None:
                return _id_text(name, fields[name])
        return None

    def _shard_line(self, record_id: str, body: str) -> bytes:
        line = f'{{"recordId":"{record_id}","modelInput":{body}}}'.encode()
        if len(line) > self._max_line_bytes:
            raise too_large(len(line), self._max_line_bytes, "the rendered record")
        return line


def too_large(length: int, limit: int, what: str = "the line") -> RejectedLineError:
    return RejectedLineError(TOO_LARGE, f"{what} has {length} bytes, more than the {limit} allowed for one record")


def parse_object(line: bytes) -> dict[str, Any]:
    """One JSON object, strictly. Raises RejectedLineError: not_json, not_object, duplicate_key, lone_surrogate."""
    try:
        text = line.decode().strip(" \t\r")
        value, end = _DECODE(text)
    except UnicodeDecodeError as error:
        raise RejectedLineError(NOT_JSON, f"not UTF-8: byte {error.start} of the line") from None
    except json.JSONDecodeError as error:
        raise RejectedLineError(NOT_JSON, f"no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RejectedLineError(NOT_JSON, "no JSON that can be read: nested too deeply") from None
    except ValueError:
        # Python refuses to turn thousands of digits into an integer.
        raise RejectedLineError(NOT_JSON, "no JSON that can be read: a number has too many digits") from None
    if end != len(text):
        raise RejectedLineError(NOT_JSON, f"no JSON: text after the value, from character {end + 1} on")
    if not isinstance(value, dict):
        raise RejectedLineError(NOT_OBJECT, f"the line is a JSON {_KINDS[type(value)]}, not an object")
    if b"\\u" in line and _SURROGATE_ESCAPE.search(line) and _has_lone_surrogate(value):
        raise RejectedLineError(LONE_SURROGATE, "a \\u escape is half of a surrogate pair: no Unicode text holds that")
    return value


def _is_sequence(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_SEQUENCE
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _record_id(original: str | None, line: bytes) -> tuple[str, str | None]:
    """The id to use, and the caller's where it is another one."""
    if original is None:
        return "line-" + sha256(line.strip(b" \t\r")).hexdigest()[:40], None
    if _SAFE_ID.fullmatch(original) and not _OURS.fullmatch(original):
        return original, None
    return "id-" + sha256(original.encode()).hexdigest()[:40], original


def _id_text(field: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RejectedLineError(DUPLICATE_KEY, "an object holds the same key twice: which one counts is not defined")
    return fields


def _no_constant(name: str) -> Any:
    raise RejectedLineError(NOT_JSON, f"no JSON: {name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise RejectedLineError(NOT_JSON, "a number is too large for a 64-bit float")
    return number


def _has_lone_surrogate(value: Mapping[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


_DECODE: Final[Callable[[str], tuple[Any, int]]] = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
).raw_decode
"""The value at the start of a text, and where it ends."""

_KINDS: Final[Mapping[type, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
