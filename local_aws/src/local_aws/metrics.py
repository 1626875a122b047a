"""Embedded metric format: log events that carry metrics become metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
An event that claims to carry metrics and breaks the specification yields none, and counts as `AWS/Logs`
`EMFValidationErrors` of its log group
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs

from local_aws import seams

_LOGS = "ministack.services.cloudwatch_logs"

MAX_DIMENSIONS = 30
MAX_METRICS = 100
MAX_VALUES = 100
# Time stamps that CloudWatch takes: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
OLDEST_SECONDS = 14 * 24 * 3600
NEWEST_SECONDS = 2 * 3600

UNITS = frozenset(
    f"{size}{per}"
    for kind in ("Bytes", "Bits")
    for size in (kind, *(f"{prefix}{kind.lower()}" for prefix in ("Kilo", "Mega", "Giga", "Tera")))
    for per in ("", "/Second")
) | {"Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"}


@dataclass(frozen=True)
class Datum:
    """One metric of an event: several values are one observation each."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    timestamp: float
    unit: str
    values: tuple[float, ...]


class InvalidMetricsError(ValueError):
    """An event that names metrics and breaks the specification; the text names the member and the rule."""


def extract(message: str, now: float) -> list[Datum]:
    """The metrics of a log event; none when it is no JSON object with `_aws`.`CloudWatchMetrics`.

    `now` in epoch seconds. Raises InvalidMetricsError.
    """
    try:
        root = json.loads(message)
    except ValueError:
        return []
    if not isinstance(root, dict) or "_aws" not in root:
        return []
    metadata = root["_aws"]
    if not isinstance(metadata, dict):
        raise InvalidMetricsError("_aws is not an object")
    if "CloudWatchMetrics" not in metadata:
        return []
    stamp = metadata.get("Timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        raise InvalidMetricsError("_aws.Timestamp is not a number of milliseconds")
    seconds = stamp / 1000
    if not now - OLDEST_SECONDS <= seconds <= now + NEWEST_SECONDS:
        raise InvalidMetricsError("_aws.Timestamp is more than 14 days old or 2 hours ahead")
    directives = metadata["CloudWatchMetrics"]
    if not isinstance(directives, list):
        raise InvalidMetricsError("_aws.CloudWatchMetrics is not an array")
    return [datum for directive in directives for datum in _directive(directive, root, seconds)]


def _directive(directive: Any, root: Mapping[str, Any], stamp: float) -> Iterator[Datum]:
    if not isinstance(directive, dict):
        raise InvalidMetricsError("a member of _aws.CloudWatchMetrics is not an object")
    namespace = _text(directive.get("Namespace"), "Namespace", 1024)
    definitions = directive.get("Metrics")
    if not isinstance(definitions, list) or len(definitions) > MAX_METRICS:
        raise InvalidMetricsError(f"Metrics is not an array of at most {MAX_METRICS}")
    sets = directive.get("Dimensions")
    if not isinstance(sets, list):
        raise InvalidMetricsError("Dimensions is not an array of arrays")
    dimensions = [_dimensions(names, root) for names in sets]
    for definition in definitions:
        if not isinstance(definition, dict):
            raise InvalidMetricsError("a member of Metrics is not an object")
        name = _text(definition.get("Name"), "Metrics.Name", 1024)
        unit = definition.get("Unit", "None")
        if unit not in UNITS:
            raise InvalidMetricsError(f"Unit {unit!r} of metric {name} is not one of CloudWatch's")
        if definition.get("StorageResolution", 60) not in (1, 60):
            raise InvalidMetricsError(f"StorageResolution of metric {name} is neither 1 nor 60")
        values = _values(name, root)
        for chosen in dimensions:
            yield Datum(namespace, name, chosen, stamp, unit, values)


def _dimensions(names: Any, root: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(names, list) or len(names) > MAX_DIMENSIONS:
        raise InvalidMetricsError(f"a dimension set is not an array of at most {MAX_DIMENSIONS}")
    return {
        name: _text(root.get(name), f"the value of dimension {name}", 1024)
        for name in (_text(name, "the name of a dimension", 250) for name in names)
    }


def _values(name: str, root: Mapping[str, Any]) -> tuple[float, ...]:
    target = root.get(name)
    values = target if isinstance(target, list) else [target]
    if not 1 <= len(values) <= MAX_VALUES:
        raise InvalidMetricsError(f"metric {name} has not between 1 and {MAX_VALUES} values")
    numbers = [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if len(numbers) != len(values):
        raise InvalidMetricsError(f"metric {name} is not a number")
    return tuple(numbers)


def _text(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise InvalidMetricsError(f"{what} is not a text of 1 to {most} characters")
    return value


@seams.replaces(_LOGS, "_append_log_events", sha256="e47cae7a15a4cc4668b51832593f304d5bb88fecfa67de3b88c0c115883e987c")
def append_log_events(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Store log events, and the metrics that they carry."""
    seams.original(_LOGS, "_append_log_events")(stream, events)
    stored = 0
    for event in events:
        message = event["message"]
        if '"_aws"' not in message:
            continue
        try:
            found = extract(message, time.time())
        except InvalidMetricsError:
            cloudwatch.record_metric("AWS/Logs", "EMFValidationErrors", 1, "Count", {"LogGroupName": _group_of(stream)})
            continue
        for datum in found:
            cloudwatch._store_datum(
                datum.namespace, datum.name, dict(datum.dimensions), datum.timestamp, datum.unit,
                None, list(datum.values), None, None,
            )  # fmt: skip
        stored += len(found)
    if stored:
        cloudwatch._evaluate_all_alarms()


def _group_of(stream: dict[str, Any]) -> str:
    for name, group in cloudwatch_logs._log_groups.items():
        if any(known is stream for known in group["streams"].values()):
            return str(name)
    return ""
