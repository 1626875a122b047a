"""Run requests out of options: a request file is the base, options are laid over it. Names of runs."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bulkinfer.errors import UsageError

_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MOST_NAME: Final = 50


def text_or_file(value: str | None, option: str) -> str | None:
    """`@FILE` is that file's text."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option}: {value[1:]}: {error.strerror}") from None


def json_file(path: str | None, option: str) -> dict[str, Any] | None:
    """A JSON object from a file."""
    if path is None:
        return None
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{option}: {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{option}: {path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{option}: {path} holds {type(value).__name__}, not an object")
    return value


def schema_of(value: Any) -> dict[str, Any] | None:
    """A JSON Schema, or the schema of a pydantic class (which need not be installed here)."""
    if value is None or isinstance(value, Mapping):
        return None if value is None else dict(value)
    if hasattr(value, "model_json_schema"):
        found: dict[str, Any] = value.model_json_schema()
        return found
    raise UsageError("schema: must be a JSON Schema (dict) or a pydantic model class")


def build(base: Mapping[str, Any] | None, **given: Any) -> dict[str, Any]:
    """A request: `base` with what is given (None: not given) laid over it. Without a model or a source it is refused
    where that is noticed first, by the pipeline's own check."""
    request: dict[str, Any] = json.loads(json.dumps(base or {}))
    places = {
        "mode": ("run", "mode"),
        "scope": ("run", "scope"),
        "priority": ("run", "priority"),
        "model": ("model", "id"),
        "prompt": ("prompt", "template"),
        "system": ("prompt", "system"),
        "schema": ("output", "schema"),
        "format": ("source", "format"),
        "id_field": ("source", "id_field"),
        "max_records": ("limits", "max_records"),
    }
    for name, value in given.items():
        if value is None:
            continue
        if name == "max_tokens":
            request.setdefault("prompt", {}).setdefault("inference", {})["maxTokens"] = value
            continue
        section, member = places[name]
        request.setdefault(section, {})[member] = value
    return request


def run_id(wanted: str | None, base: str, content: Mapping[str, Any]) -> str:
    """The id that is wanted, or one made of the content, so that the same command given twice is one run."""
    if wanted is not None:
        if not _RUN.fullmatch(wanted):
            raise UsageError(f"--id {wanted}: must match {_RUN.pattern}")
        return wanted
    slug = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-").lower() or "run"
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{slug[:_MOST_NAME]}-{digest}"
