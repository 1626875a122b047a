"""Failures: their classes, the failure line of a record, and the message that puts it into the failure lane."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.index_line import Pointer
from bulk_inference.core.result_line import encode

THROTTLE: Final = "throttle"
MODEL: Final = "model"
VALIDATION: Final = "validation"
SCHEMA: Final = "schema"
TOO_LARGE: Final = "too_large"
UNPROCESSED: Final = "unprocessed"
DUPLICATE: Final = "duplicate"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class ErrorClass:
    retryable: bool
    """Whether the same record, sent unchanged, may go well later. If not, only a person can help it."""
    meaning: str


CLASSES: Final[Mapping[str, ErrorClass]] = {
    THROTTLE: ErrorClass(True, "Bedrock let the request through too late or not at all; the record is not to blame"),
    MODEL: ErrorClass(True, "the model failed, timed out or was not available"),
    VALIDATION: ErrorClass(False, "Bedrock refuses this request: body, parameters or content"),
    SCHEMA: ErrorClass(True, "the answer is not of the form that the run declares; another answer may be"),
    TOO_LARGE: ErrorClass(False, "the prompt is longer than the model's context"),
    UNPROCESSED: ErrorClass(True, "no attempt brought a line of the record"),
    DUPLICATE: ErrorClass(False, "another line or unit has the recordId: there is nothing to try"),
    UNKNOWN: ErrorClass(True, "the service's answer fits no other class"),
}
"""Every class of a record that failed, and the one place that says which are tried again."""


def retryable(error_class: str) -> bool:
    """A class that is not known, from a message of a newer bundle, is tried: that ends in the dead-letter queue too."""
    known = CLASSES.get(error_class)
    return known is None or known.retryable


_BY_STATUS: Final = {400: VALIDATION, 408: MODEL, 413: TOO_LARGE, 424: MODEL, 429: THROTTLE, 500: MODEL, 503: MODEL}
"""errorCode of an error line is the HTTP status that the same call would have had on demand."""

_BY_NAME: Final = {
    "ThrottlingException": THROTTLE,
    "ServiceQuotaExceededException": THROTTLE,
    "ModelTimeoutException": MODEL,
    "ModelErrorException": MODEL,
    "ModelNotReadyException": MODEL,
    "ServiceUnavailableException": MODEL,
    "ValidationException": VALIDATION,
}
"""The same in names, should a line give those."""

_BY_OUTCOME: Final = {
    "throttled": THROTTLE,
    "model_timeout": MODEL,
    "model_error": MODEL,
    "unavailable": MODEL,
    "invalid_request": VALIDATION,
}
"""Error classes of aws/bedrock_runtime.py."""

_TOO_LARGE: Final = re.compile(
    r"input is too long|prompt is too long|too many (?:input )?tokens|maximum context|context (?:length|window)", re.I
)

MESSAGE_VERSION: Final = 1

CORPUS_WORDS: Final = frozenset({"carry", "sequence"})
"""Members of a pointer that are values of the corpus: they stay in S3, where the record's index line has them."""


@dataclass(frozen=True)
class Failure:
    """Why one record did not land."""

    pointer: Pointer
    error_class: str
    error_code: str
    error_message: str
    """The service's words, which may quote the prompt: for the failures file only."""
    attempt: int
    text: str | None = None
    """What the model said instead, where the run declares a schema: for the failures file only, too."""

    def line(self, source_bucket: str) -> bytes:
        """`{"recordId", "errorClass", "errorCode", "errorMessage", "attempt", "source", "shard"?, "sentAs"?, "carry"?,
        "text"?}` with its newline. `shard` is the piece that the record lay in, `sentAs` its alias where it travelled
        under one.
        """
        line: dict[str, Any] = {
            "recordId": self.pointer.caller_id,
            "errorClass": self.error_class,
            "errorCode": self.error_code,
            "errorMessage": self.error_message,
            "attempt": self.attempt,
            "source": self.pointer.where(source_bucket),
        }
        if self.pointer.shard is not None:
            line["shard"] = self.pointer.shard
        if self.pointer.original_id is not None:
            line["sentAs"] = self.pointer.record_id
        if self.pointer.carry is not None:
            line["carry"] = self.pointer.carry
        if self.text is not None:
            line["text"] = self.text
        return encode(line)

    def message(self, run: str, tenant: str, unit: str, piece: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """What the reprocess queue gets: ids and places, no prompt, no output, no words of the model."""
        return {
            "version": MESSAGE_VERSION,
            "run": run,
            "tenant": tenant,
            "unit": unit,
            "piece": piece,
            "recordId": self.pointer.record_id,
            "item": {name: value for name, value in item.items() if name not in CORPUS_WORDS},
            "errorClass": self.error_class,
            "errorCode": self.error_code,
            "attempt": self.attempt,
        }


def class_of_line(code: str, message: str) -> str:
    """Class of an error line of a batch job. The status decides: a throttle speaks of too many tokens, too. Words only
    tell which refusals of a request are refusals of its length."""
    kind = _BY_STATUS.get(int(code), UNKNOWN) if code.isdigit() else _BY_NAME.get(code, UNKNOWN)
    return _refined(kind, message)


def class_of_outcome(error_class: str, message: str) -> str:
    """Class of an on-demand refusal, or of an answer that does not fit."""
    return SCHEMA if error_class == SCHEMA else _refined(_BY_OUTCOME.get(error_class, UNKNOWN), message)


def _refined(kind: str, message: str) -> str:
    return TOO_LARGE if kind == VALIDATION and _TOO_LARGE.search(message) else kind
