"""One row type for success and failure, read from the lines of a run's results and failures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class RowError:
    """Why a record has no answer."""

    error_class: str
    code: str
    message: str
    attempt: int | None = None


@dataclass(frozen=True)
class Row:
    """What a run has of one record."""

    id: str
    """The caller's recordId."""
    text: str | None = None
    value: Any = None
    """The parsed answer, where the run declares a schema."""
    usage: Mapping[str, int] | None = None
    """`inputTokens`, `outputTokens`, …"""
    error: RowError | None = None
    source: Mapping[str, Any] | None = None
    """Which row of the corpus it was: bucket, key and place."""
    carry: Mapping[str, Any] | None = None
    sequence: Any = None
    line: Mapping[str, Any] | None = None
    """The whole line, as it lies in S3."""

    @classmethod
    def from_line(cls, raw: bytes | str) -> Self:
        """From a line of `results/` or `failures/`; keys that are not known are kept in `line`."""
        line = json.loads(raw)
        error = None
        if "errorClass" in line:
            error = RowError(
                str(line["errorClass"]),
                str(line.get("errorCode") or ""),
                str(line.get("errorMessage") or ""),
                line.get("attempt"),
            )
        return cls(
            id=str(line.get("recordId") or ""),
            text=line.get("text"),
            value=line.get("value"),
            usage=line.get("usage"),
            error=error,
            source=line.get("source"),
            carry=line.get("carry"),
            sequence=line.get("sequence"),
            line=line,
        )

    def to_dict(self) -> dict[str, Any]:
        """Flat enough for a table or a data frame."""
        usage, error = self.usage or {}, self.error
        return {
            "id": self.id,
            "text": self.text,
            "value": self.value,
            "input_tokens": usage.get("inputTokens"),
            "output_tokens": usage.get("outputTokens"),
            "error_class": error.error_class if error else None,
            "error_code": error.code if error else None,
            "error_message": error.message if error else None,
            **({"carry": dict(self.carry)} if self.carry else {}),
            **({"sequence": self.sequence} if self.sequence is not None else {}),
        }
