"""Map states: the rules of Distributed Map that Step Functions checks late or not at all.

https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html,
…/input-output-itemreader.html, …/input-output-itembatcher.html, …/input-output-resultwriter.html
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.lint.findings import Finding
from tests.lint.machines import Machine, State, states

DISTRIBUTED_ONLY = {
    "ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath", "ToleratedFailureCount", "ToleratedFailureCountPath",
}  # fmt: skip

READERS = {
    "s3:getObject": ({"Bucket", "Key"}, {"VersionId", "ExpectedBucketOwner"}),
    "s3:listObjectsV2": ({"Bucket"}, {"Prefix", "ExpectedBucketOwner"}),
}
"""Reader → (required parameters, optional ones)."""

READER_CONFIG = {
    "InputType", "Transformation", "ManifestType", "ItemsPointer", "CSVDelimiter", "CSVHeaderLocation", "CSVHeaders",
    "MaxItems", "MaxItemsPath",
}  # fmt: skip

MAX_ITEMS = 100_000_000
MAX_BATCH_BYTES = 262_144
MAX_CONCURRENCY = 10_000
MAX_LABEL = 40
EXPRESS_SECONDS = 300

Report = Callable[[str, str], Finding]


def check(machine: Machine) -> Iterator[Finding]:
    """All findings of this module."""
    labels: set[str] = set()
    for state in states(machine):
        if state.type != "Map":
            continue
        yield from check_map(machine, state)
        label = state.body.get("Label")
        if label in labels:
            yield machine.finding(state.name, "map-label", f"Label {label} stands twice in this machine")
        if label is not None:
            labels.add(label)


def check_map(machine: Machine, state: State) -> Iterator[Finding]:
    """All rules for one Map state."""
    body = state.body

    def report(rule: str, message: str) -> Finding:
        return machine.finding(state.name, rule, message)

    if "ItemProcessor" not in body:
        yield report("map-processor", "needs an ItemProcessor")
        return
    config = body["ItemProcessor"].get("ProcessorConfig", {})
    mode = config.get("Mode", "INLINE")
    if mode not in ("INLINE", "DISTRIBUTED"):
        yield report("map-processor", f"Mode must be INLINE or DISTRIBUTED, not {mode!r}")
    if "Retry" in body:
        yield report("map-retry", "a Retry on a Map starts a new Map Run over all items: retry inside the child")
    yield from check_number(report, "map-concurrency", body, "MaxConcurrency", 0, MAX_CONCURRENCY)
    if mode != "DISTRIBUTED":
        for field in sorted(DISTRIBUTED_ONLY & body.keys()):
            yield report("map-processor", f"{field} needs ProcessorConfig.Mode DISTRIBUTED")
        return
    yield from check_complete(report, body)
    if state.execution_type is not None:
        yield report("map-processor", "a Distributed Map inside a child doubles Map Runs: flatten it")
    if config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield report("map-processor", "DISTRIBUTED needs ExecutionType STANDARD or EXPRESS")
    yield from check_label(report, body.get("Label"))
    yield from check_number(report, "map-tolerance", body, "ToleratedFailurePercentage", 0, 100)
    yield from check_number(report, "map-tolerance", body, "ToleratedFailureCount", 0, MAX_ITEMS)
    if "ItemReader" in body:
        yield from check_reader(report, body["ItemReader"])
        if "ItemsPath" in body:
            yield report("map-reader", "ItemReader and ItemsPath exclude each other: both say where items come from")
    if "ItemBatcher" in body:
        yield from check_batcher(report, body["ItemBatcher"])
    if "ResultWriter" in body:
        yield from check_writer(report, body["ResultWriter"])


def check_number(
    report: Report, rule: str, fields: dict[str, Any], name: str, low: int, high: int
) -> Iterator[Finding]:
    """A literal number lies in AWS's range."""
    value = fields.get(name)
    if value is not None and not (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    ):
        yield report(rule, f"{name} must be from {low} to {high}, not {value!r}")


def check_complete(report: Report, body: dict[str, Any]) -> Iterator[Finding]:
    """What AWS has a default for that nobody means: say it."""
    if not {"ItemReader", "ItemsPath"} & body.keys():
        yield report("map-complete", "without ItemReader or ItemsPath its whole input would have to be a list")
    if not {"ItemSelector", "ItemBatcher"} & body.keys():
        yield report("map-complete", "without ItemSelector or ItemBatcher a child knows no run")
    if "ResultWriter" not in body:
        yield report("map-complete", "without ResultWriter the children's results must fit into 256 KB of state")
    if not {"MaxConcurrency", "MaxConcurrencyPath"} & body.keys():
        yield report("map-complete", "without MaxConcurrency 10,000 children start at once")
    if not any(key.startswith("ToleratedFailure") for key in body):
        yield report("map-complete", "say how many children may fail, even if it is none")
    if body["ItemProcessor"].get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS":
        longest = max((_seconds(each) for each in body["ItemProcessor"].get("States", {}).values()), default=0)
        if longest > EXPRESS_SECONDS:
            yield report(
                "map-complete", f"an EXPRESS child ends after {EXPRESS_SECONDS} s, a state of it may take longer"
            )


def _seconds(body: dict[str, Any]) -> float:
    """How long a state may take; one whose time comes by a path may take any."""
    return float("inf") if "TimeoutSecondsPath" in body else float(body.get("TimeoutSeconds", 0))


def check_label(report: Report, label: Any) -> Iterator[Finding]:
    """Without a Label Step Functions invents one, and a policy cannot name the child executions."""
    if not isinstance(label, str) or not label:
        yield report("map-label", "needs a Label: policies name child executions by it")
    elif len(label) > MAX_LABEL:
        yield report("map-label", f"Label has {len(label)} characters, at most {MAX_LABEL} are allowed")
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", label):
        yield report("map-label", f"Label {label!r} may hold letters, digits, - and _ only: it stands in ARNs")


def _names(parameters: dict[str, Any]) -> set[str]:
    return {key.removesuffix(".$") for key in parameters}


def _resource(reader: dict[str, Any]) -> str:
    return re.sub(r"^arn:[a-z-]+:states:::", "", str(reader.get("Resource", "")))


def check_reader(report: Report, reader: dict[str, Any]) -> Iterator[Finding]:
    """Resource, parameters, and which fields of ReaderConfig go together."""
    resource = _resource(reader)
    if resource not in READERS:
        yield report("map-reader", f"Resource must be {' or '.join(sorted(READERS))}, not {resource!r}")
        return
    required, optional = READERS[resource]
    given = _names(reader.get("Parameters", {}))
    for name in sorted(required - given):
        yield report("map-reader", f"{resource} needs the parameter {name}")
    for name in sorted(given - required - optional):
        yield report("map-reader", f"{resource} has no parameter {name}")
    for name in sorted(reader.keys() - {"Resource", "Parameters", "ReaderConfig"}):
        yield report("map-reader", f"ItemReader has no field {name}")
    yield from _check_reader_config(report, resource, reader.get("ReaderConfig", {}), given)


def _check_reader_config(report: Report, resource: str, config: dict[str, Any], given: set[str]) -> Iterator[Finding]:
    kind, transformation = config.get("InputType"), config.get("Transformation", "NONE")
    manifest = config.get("ManifestType")
    for name in sorted(config.keys() - READER_CONFIG):
        yield report("map-reader", f"ReaderConfig has no field {name}")
    if transformation not in ("NONE", "LOAD_AND_FLATTEN"):
        yield report("map-reader", f"Transformation must be NONE or LOAD_AND_FLATTEN, not {transformation!r}")
    if kind not in (None, "CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"):
        yield report("map-reader", f"InputType must be CSV, JSON, JSONL, PARQUET or MANIFEST, not {kind!r}")
    if manifest not in (None, "ATHENA_DATA", "S3_INVENTORY"):
        yield report("map-reader", f"ManifestType must be ATHENA_DATA or S3_INVENTORY, not {manifest!r}")
    if resource == "s3:getObject":
        if transformation == "LOAD_AND_FLATTEN":
            yield report("map-reader", "LOAD_AND_FLATTEN reads the objects of a listing: it needs s3:listObjectsV2")
        if kind is None and manifest != "S3_INVENTORY":
            yield report("map-reader", "s3:getObject needs an InputType")
    elif transformation == "LOAD_AND_FLATTEN" and kind is None:
        yield report("map-reader", "LOAD_AND_FLATTEN needs an InputType")
    elif transformation == "NONE" and kind is not None:
        yield report("map-reader", "the items of a plain listing are objects: InputType needs LOAD_AND_FLATTEN")
    if manifest == "S3_INVENTORY" and kind is not None:
        yield report("map-reader", "ManifestType S3_INVENTORY excludes InputType")
    if kind == "PARQUET" and "VersionId" in given:
        yield report("map-reader", "VersionId is not possible with PARQUET")
    if "ItemsPointer" in config and kind != "JSON":
        yield report("map-reader", "ItemsPointer needs InputType JSON")
    yield from _check_csv(report, kind, config)
    if "MaxItems" in config and "MaxItemsPath" in config:
        yield report("exclusive", "MaxItems and MaxItemsPath exclude each other")
    yield from check_number(report, "map-reader", config, "MaxItems", 1, MAX_ITEMS)


def _check_csv(report: Report, kind: Any, config: dict[str, Any]) -> Iterator[Finding]:
    location = config.get("CSVHeaderLocation")
    if kind != "CSV":
        for name in sorted(key for key in config if key.startswith("CSV")):
            yield report("map-reader", f"{name} needs InputType CSV")
    elif location not in ("FIRST_ROW", "GIVEN"):
        yield report("map-reader", "CSV needs CSVHeaderLocation FIRST_ROW or GIVEN")
    elif (location == "GIVEN") != ("CSVHeaders" in config):
        yield report("map-reader", "CSVHeaders and CSVHeaderLocation GIVEN belong together")


def check_batcher(report: Report, batcher: dict[str, Any]) -> Iterator[Finding]:
    """A batch has at least one limit, and each limit is a number or a path."""
    limits = ("MaxItemsPerBatch", "MaxInputBytesPerBatch")
    for name in sorted(
        batcher.keys() - {f"{limit}{suffix}" for limit in limits for suffix in ("", "Path")} - {"BatchInput"}
    ):
        yield report("map-batcher", f"ItemBatcher has no field {name}")
    for limit in limits:
        if limit in batcher and f"{limit}Path" in batcher:
            yield report("exclusive", f"{limit} and {limit}Path exclude each other")
        if not str(batcher.get(f"{limit}Path", "$")).startswith("$"):
            yield report("path", f"{limit}Path is {batcher[f'{limit}Path']!r}, which is no path")
    if not any(key.startswith(limits) for key in batcher):
        yield report("map-batcher", "needs MaxItemsPerBatch, MaxInputBytesPerBatch or one of their Path forms")
    yield from check_number(report, "map-batcher", batcher, "MaxItemsPerBatch", 1, MAX_ITEMS)
    yield from check_number(report, "map-batcher", batcher, "MaxInputBytesPerBatch", 1, MAX_BATCH_BYTES)
    if not isinstance(batcher.get("BatchInput", {}), dict):
        yield report("map-batcher", "BatchInput must be an object")


def check_writer(report: Report, writer: dict[str, Any]) -> Iterator[Finding]:
    """One of the three documented combinations: WriterConfig, Resource with Parameters, or all three."""
    for name in sorted(writer.keys() - {"Resource", "Parameters", "WriterConfig"}):
        yield report("map-writer", f"ResultWriter has no field {name}")
    if not writer:
        yield report("map-writer", "an empty ResultWriter is not allowed")
    if ("Resource" in writer) != ("Parameters" in writer):
        yield report("map-writer", "Resource and Parameters belong together")
    if "Resource" in writer:
        if _resource(writer) != "s3:putObject":
            yield report("map-writer", f"Resource must be s3:putObject, not {_resource(writer)!r}")
        given = _names(writer.get("Parameters", {}))
        for name in sorted({"Bucket", "Prefix"} - given):
            yield report("map-writer", f"needs the parameter {name}")
        for name in sorted(given - {"Bucket", "Prefix", "ExpectedBucketOwner"}):
            yield report("map-writer", f"has no parameter {name}")
    config = writer.get("WriterConfig")
    if config is None:
        return
    for name in sorted(config.keys() - {"Transformation", "OutputType"}):
        yield report("map-writer", f"WriterConfig has no field {name}")
    for name, allowed in (("Transformation", ("NONE", "COMPACT", "FLATTEN")), ("OutputType", ("JSON", "JSONL"))):
        if config.get(name) not in allowed:
            yield report(
                "map-writer", f"WriterConfig.{name} must be one of {', '.join(allowed)}, not {config.get(name)!r}"
            )
