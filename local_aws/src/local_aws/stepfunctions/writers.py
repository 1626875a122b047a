"""Results of a Distributed Map: in the state's output, or exported to S3.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from . import paths
from .errors import PAYLOAD_LIMIT, StateError
from .records import Execution, MapRun, iso

_FILE_LIMIT = 5 * 1000**3


def entry(child: Execution) -> dict[str, Any]:
    """A child execution with its metadata, as Transformation NONE gives it."""
    text, output, _ = child.load()
    status, reason = child.redrive_status()
    shown = {
        "Cause": child.cause,
        "Error": child.error,
        "ExecutionArn": child.arn,
        "Input": text,
        "InputDetails": {"Included": True},
        "Name": child.name,
        "Output": output,
        "OutputDetails": {"Included": True} if output is not None else None,
        "RedriveCount": child.redrives,
        "RedriveStatus": status,
        "RedriveStatusReason": reason,
        "StartDate": iso(child.start),
        "StateMachineArn": child.machine.arn,
        "Status": child.status,
        "StopDate": iso(child.stop) if child.stop is not None else None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def transformed(children: Iterable[Execution], transformation: str) -> Iterator[Any]:
    """Successful children as Transformation NONE, COMPACT or FLATTEN gives them."""
    for child in children:
        if transformation == "NONE":
            yield entry(child)
            continue
        output = json.loads(child.load()[1] or "null")
        if transformation == "FLATTEN" and isinstance(output, list):
            yield from output
        else:
            yield output


def state_output(run: MapRun, config: Mapping[str, Any]) -> Any:
    """The result of a run that is not exported: an array, or JSON Lines as text.

    Raises StateError(States.DataLimitExceeded) when it passes the limit.
    """
    transformation = config.get("Transformation", "COMPACT")
    values: list[Any] = []
    size = 2
    for child in run.children:
        for value in transformed([child], transformation) if child.status == "SUCCEEDED" else [entry(child)]:
            size += len(paths.dumps(value).encode()) + 1
            if size > PAYLOAD_LIMIT:
                raise StateError(
                    "States.DataLimitExceeded",
                    "The state/task returned a result with a size exceeding the maximum number of bytes service limit.",
                )
            values.append(value)
    if config.get("OutputType", "JSON") == "JSONL":
        return "".join(paths.dumps(value) + "\n" for value in values)
    return values


def export(s3: Any, run: MapRun, parameters: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """Write the result files and manifest.json; where the manifest is ({"Bucket", "Key"}).

    `s3` is a boto3 client. Raises StateError(States.ResultWriterFailed).
    """
    bucket = parameters["Bucket"]
    folder = "/".join(part for part in (str(parameters.get("Prefix", "")).rstrip("/"), run.uuid) if part)
    kind = config.get("OutputType", "JSON")
    succeeded = transformed(
        (child for child in run.children if child.status == "SUCCEEDED"), config.get("Transformation", "NONE")
    )
    failed = (entry(child) for child in run.children if child.status in {"FAILED", "TIMED_OUT", "ABORTED"})
    pending = (
        {"Input": text, "InputDetails": {"Included": True}, "StateMachineArn": run.machine.arn, "Status": "PENDING"}
        for text in run.pending_inputs()
    )
    try:
        files = {
            name: list(_files(s3, bucket, f"{folder}/{name}", values, kind))
            for name, values in (("FAILED", failed), ("PENDING", pending), ("SUCCEEDED", succeeded))
        }
        manifest = {"DestinationBucket": bucket, "MapRunArn": run.arn, "ResultFiles": files}
        s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=paths.dumps(manifest).encode())
    except (ClientError, BotoCoreError) as error:
        raise StateError("States.ResultWriterFailed", str(error)) from error
    return {"Bucket": bucket, "Key": f"{folder}/manifest.json"}


def _files(s3: Any, bucket: str, stem: str, values: Iterable[Any], kind: str) -> Iterator[dict[str, Any]]:
    """Write values into files of limited size; key and size of each."""
    rest = iter(values)
    value = next(rest, _END)
    number = 0
    while value is not _END:
        with tempfile.TemporaryFile() as file:
            size = 0
            while value is not _END:
                line = paths.dumps(value).encode()
                if size and size + len(line) > _FILE_LIMIT:
                    break
                size += file.write(_before(kind, first=size == 0) + line + (b"\n" if kind == "JSONL" else b""))
                value = next(rest, _END)
            size += file.write(b"" if kind == "JSONL" else b"]")
            key = f"{stem}_{number}.{kind.lower()}"
            _put(s3, bucket, key, file)
            yield {"Key": key, "Size": size}
            number += 1


_END = object()


def _before(kind: str, *, first: bool) -> bytes:
    if kind == "JSONL":
        return b""
    return b"[" if first else b","


def _put(s3: Any, bucket: str, key: str, file: BinaryIO) -> None:
    file.seek(0)
    s3.put_object(Bucket=bucket, Key=key, Body=file)
