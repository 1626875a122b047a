"""Metrics from log events in embedded metric format.

Page: "Specification: Embedded metric format"; botocore shapes GetMetricData, ListMetrics (cloudwatch).
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from local_aws import LocalAws


def event(**changes: Any) -> dict[str, Any]:
    """A valid event; `aws` replaces members of `_aws`, `directive` those of its directive, the rest root members."""
    directive = {
        "Namespace": "Test",
        "Dimensions": [["service"]],
        "Metrics": [{"Name": "Landed", "Unit": "Count"}],
        **changes.pop("directive", {}),
    }
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive], **changes.pop("aws", {})}
    return {"_aws": metadata, "service": "worker", "Landed": 7, **changes}


@pytest.fixture
def log(aws: LocalAws, unique: str) -> Callable[[dict[str, Any] | str], None]:
    """`log(event)`: put one event into a log group named as `unique`."""
    logs = aws.client("logs")
    logs.create_log_group(logGroupName=unique)
    logs.create_log_stream(logGroupName=unique, logStreamName="stream")

    def put(message: dict[str, Any] | str) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        entry = {"timestamp": int(time.time() * 1000), "message": text}
        logs.put_log_events(logGroupName=unique, logStreamName="stream", logEvents=[entry])

    return put


def metrics(aws: LocalAws, namespace: str) -> list[dict[str, Any]]:
    return list(aws.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"])


def total(aws: LocalAws, namespace: str, name: str, dimensions: dict[str, str], statistic: str = "Sum") -> float:
    now = datetime.datetime.now(datetime.UTC)
    metric = {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": statistic}}
    answer = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[query],
        StartTime=now - datetime.timedelta(hours=1),
        EndTime=now + datetime.timedelta(hours=1),
    )
    return float(sum(answer["MetricDataResults"][0]["Values"]))


def test_event_becomes_a_metric(aws: LocalAws, log: Callable[..., None], unique: str) -> None:
    log(event(directive={"Namespace": unique}))
    log(event(directive={"Namespace": unique}, Landed=5))
    assert total(aws, unique, "Landed", {"service": "worker"}) == 12


def test_each_dimension_set_is_a_metric_of_its_own(aws: LocalAws, log: Callable[..., None], unique: str) -> None:
    """DimensionSet: one metric per set; the empty set has no dimensions."""
    log(event(directive={"Namespace": unique, "Dimensions": [["service", "model"], []]}, model="nova"))
    found = {tuple(sorted(d["Name"] for d in metric["Dimensions"])) for metric in metrics(aws, unique)}
    assert found == {("model", "service"), ()}


def test_array_of_values_counts_each(aws: LocalAws, log: Callable[..., None], unique: str) -> None:
    """Metric target members: a number or an array of numbers."""
    log(event(directive={"Namespace": unique}, Landed=[1, 2, 3]))
    assert total(aws, unique, "Landed", {"service": "worker"}) == 6
    assert total(aws, unique, "Landed", {"service": "worker"}, "SampleCount") == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"aws": {"Timestamp": None}},
        {"aws": {"Timestamp": 1}},
        {"directive": {"Namespace": ""}},
        {"directive": {"Dimensions": ["service"]}},
        {"directive": {"Dimensions": [["missing"]]}},
        {"directive": {"Dimensions": [[f"d{n}" for n in range(31)]]}},
        {"directive": {"Metrics": [{"Name": f"m{n}"} for n in range(101)]}},
        {"directive": {"Metrics": [{"Name": "Landed", "Unit": "Records"}]}},
        {"directive": {"Metrics": [{"Name": "Landed", "StorageResolution": 30}]}},
        {"Landed": "7"},
        {"Landed": list(range(101))},
        {"service": 3},
    ],
    ids=[
        "no time stamp", "time stamp too old", "empty namespace", "flat dimensions", "dimension without a value",
        "31 dimensions", "101 metrics", "unknown unit", "resolution 30", "value is a text", "101 values",
        "dimension is a number",
    ],
)  # fmt: skip
def test_invalid_event_yields_no_metric_and_is_counted(
    aws: LocalAws, log: Callable[..., None], unique: str, changes: dict[str, Any]
) -> None:
    """Constraints of the specification; AWS/Logs EMFValidationErrors per log group."""
    members = {**changes, **{f"d{n}": "x" for n in range(31)}, **{f"m{n}": 1 for n in range(101)}}
    directive = {"Namespace": unique, **changes.get("directive", {})}
    log(event(**{**members, "directive": directive}))
    assert metrics(aws, unique) == []
    assert total(aws, "AWS/Logs", "EMFValidationErrors", {"LogGroupName": unique}) == 1


@pytest.mark.parametrize("message", ["plain text", '{"level": "INFO"}', '{"_aws": {}}', '{"_aws": ', "[1]"])
def test_other_lines_are_left_alone(aws: LocalAws, log: Callable[..., None], unique: str, message: str) -> None:
    log(message)
    assert total(aws, "AWS/Logs", "EMFValidationErrors", {"LogGroupName": unique}) == 0


def test_line_printed_by_a_function_becomes_a_metric(
    aws: LocalAws, make_function: Callable[..., str], invoke: Callable[..., Any], unique: str
) -> None:
    """Embedded metrics from Lambda: what a function prints is enough; no PutMetricData, no permission for it."""
    source = f"def handler(event, context): print({json.dumps(event(directive={'Namespace': unique}))!r})"
    invoke(make_function(source))
    assert total(aws, unique, "Landed", {"service": "worker"}) == 7
