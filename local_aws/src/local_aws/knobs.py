"""Knobs of the local AWS: how fast, how large and how strict, changeable while it runs.

One mutable object, ``current``, read at every use; read ``knobs.current.x``, never copy it at import.
``GET /_local/knobs`` shows all, ``PUT /_local/knobs`` with a JSON object changes some, ``--knob name=value`` sets
one at start. A name that does not exist or a value out of range is refused and changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Handler = Callable[[dict[str, str], bytes], Awaitable[tuple[int, object]]]


class KnobError(ValueError):
    """A knob's name or value is not acceptable; the message names the knob and the rule."""


def _knob(default: Any, says: str, *, low: float = 0.0, high: float = math.inf) -> Any:
    return field(default=default, metadata={"says": says, "low": low, "high": high})


@dataclass
class Knobs:
    """All knobs with their defaults; seconds unless the name says otherwise."""

    # The clock of a batch inference job
    seconds_submitted: float = _knob(0.05, "time a job stays Submitted")
    seconds_validating: float = _knob(0.2, "time a job stays Validating at least")
    seconds_scheduled: float = _knob(0.2, "time a job stays Scheduled")
    seconds_stopping: float = _knob(0.1, "time a job stays Stopping")
    seconds_per_hour: float = _knob(3600.0, "length of an hour of timeoutDurationInHours", low=0.001)
    records_per_second: float = _knob(0.0, "speed of one batch job; 0 = as fast as the machine allows")
    seconds_manifest_late: float = _knob(0.0, "time between a job's terminal status and its manifest.json.out")

    # Room for batch inference jobs; None = the value of the model's quota
    job_slots: int | None = _knob(None, "non-terminal batch jobs per model, in place of the quota", high=100_000)
    job_slots_full: Literal["queue", "refuse"] = _knob(
        "queue", "a job above the slots waits as Submitted, or Create answers ServiceQuotaExceededException"
    )
    job_name_used_error: Literal["ConflictException", "ValidationException"] = _knob(
        "ConflictException", "what Create answers for a job name that is used already; both have been seen"
    )
    min_records_per_job: int | None = _knob(None, "in place of the quota of every model", high=10_000_000)
    max_records_per_job: int | None = _knob(None, "in place of the quota of every model", high=10_000_000)
    max_records_per_file: int | None = _knob(None, "in place of the quota of every model", high=10_000_000)
    max_file_gb: float | None = _knob(None, "input file size, in place of the quota of every model", high=1000)
    max_job_gb: float | None = _knob(None, "job size, in place of the quota of every model", high=1000)

    # Events of a batch job on the default bus
    event_drop: float = _knob(0.0, "share of events lost", high=1)
    event_duplicate: float = _knob(0.0, "share of events delivered twice", high=1)
    event_delay: float = _knob(0.0, "time before an event is delivered")
    event_delay_jitter: float = _knob(0.0, "up to this much more delay, drawn per event: events change order")

    # On demand inference; None = the value of the model's quota
    tokens_per_minute: int | None = _knob(None, "per model, in place of the quota")
    requests_per_minute: int | None = _knob(None, "per model; None = not enforced, as AWS says since 2026")
    seconds_per_minute: float = _knob(60.0, "length of the minute of the two limits above", low=0.001)
    structured_output: Literal["taken", "refused", "refused_in_batch"] = _knob(
        "taken", "whether models take a JSON Schema for their answer: it depends on the account, as callers report"
    )
    structured_output_refusal: Literal["extra_inputs", "extraneous_key"] = _knob(
        "extra_inputs", "the words of that refusal; both have been seen"
    )
    latency_ms: float = _knob(0.0, "time an on demand answer takes")
    jitter_ms: float = _knob(0.0, "up to this much more, drawn per call")

    # State machines
    time_scale: float = _knob(1.0, "length of a second of Wait states and of intervals between retries")
    timeout_scale: float = _knob(
        1.0, "length of a second of TimeoutSeconds and HeartbeatSeconds of waiting tasks and of executions", low=1e-6
    )

    # Everything
    poison_marker: str = _knob("[[POISON]]", "text in a prompt that makes the model refuse the record; empty = none")
    seed: int = _knob(20240601, "seed of every draw: order of output lines, rates of faults, jitter", high=2**63)


current = Knobs()
_lock = threading.Lock()
_FIELDS = {each.name: each for each in dataclasses.fields(Knobs)}
_TYPES = typing.get_type_hints(Knobs)


def update(values: Mapping[str, object]) -> None:
    """Set knobs by name, all or none; text is read as the knob's type, ``null``/``"none"`` clears an optional one.

    Raises KnobError naming the knob and the rule.
    """
    checked = {name: _checked(name, value) for name, value in values.items()}
    with _lock:
        for name, value in checked.items():
            setattr(current, name, value)


def reset() -> None:
    """Every knob back to its default."""
    update({name: each.default for name, each in _FIELDS.items()})


def parse_assignment(text: str) -> dict[str, object]:
    """``name=value`` as the command line gives it → the mapping that ``update`` takes."""
    name, equals, value = text.partition("=")
    if not equals:
        raise KnobError(f"--knob {text!r}: write it as name=value")
    return {name.strip(): value.strip()}


def described() -> dict[str, dict[str, object]]:
    """Every knob: its value, its default and what it does."""
    return {
        name: {"value": getattr(current, name), "default": each.default, "says": each.metadata["says"]}
        for name, each in _FIELDS.items()
    }


def _checked(name: str, value: object) -> object:
    if name not in _FIELDS:
        raise KnobError(f"knob {name!r} does not exist; there are: {', '.join(sorted(_FIELDS))}")
    kinds = _alternatives(_TYPES[name])
    if type(None) in kinds and (value is None or (isinstance(value, str) and value.lower() in {"none", "null", ""})):
        return None
    choices = typing.get_args(_TYPES[name]) if typing.get_origin(_TYPES[name]) is Literal else ()
    if choices:
        if value not in choices:
            raise KnobError(f"knob {name!r}: must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value
    if str in kinds:
        if not isinstance(value, str):
            raise KnobError(f"knob {name!r}: must be text, not {value!r}")
        return value
    return _number(name, value, whole=int in kinds)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in {typing.Union, types.UnionType} else (kind,)


def _number(name: str, value: object, *, whole: bool) -> int | float:
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise KnobError(f"knob {name!r}: must be {wanted}, not {value!r}")
    try:
        number: int | float = int(value) if whole else float(value)
    except (ValueError, OverflowError):
        raise KnobError(f"knob {name!r}: must be {wanted}, not {value!r}") from None
    low, high = _FIELDS[name].metadata["low"], _FIELDS[name].metadata["high"]
    if (whole and isinstance(value, float) and value != number) or math.isnan(number):
        raise KnobError(f"knob {name!r}: must be {wanted}, not {value!r}")
    if not low <= number <= high:
        raise KnobError(f"knob {name!r}: must be between {low:g} and {high:g}, not {value!r}")
    return number


async def _get(query: dict[str, str], body: bytes) -> tuple[int, object]:
    return 200, described()


async def _put(query: dict[str, str], body: bytes) -> tuple[int, object]:
    try:
        values = json.loads(body)
        if not isinstance(values, dict):
            raise KnobError("the body must be a JSON object of knob names and values")
        update(values)
    except ValueError as problem:
        return 400, {"error": str(problem)}
    return 200, described()


async def _delete(query: dict[str, str], body: bytes) -> tuple[int, object]:
    reset()
    return 200, described()


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/_local/knobs"): _get,
    ("PUT", "/_local/knobs"): _put,
    ("DELETE", "/_local/knobs"): _delete,
}
