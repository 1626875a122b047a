"""Items of a Distributed Map from S3, streamed.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .errors import StateError

_CHUNK = 1 << 20
_DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}

Item = tuple[Any, str | None]
"""An item and the URI of the object it came from, where LOAD_AND_FLATTEN read it."""


def read(s3: Any, action: str, config: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Item]:
    """Items as `action` (`getObject` or `listObjectsV2`) and ReaderConfig give them; `s3` is a boto3 client.

    Raises StateError(States.ItemReaderFailed).
    """
    try:
        if action == "getObject":
            for item in _object(s3, config, parameters):
                yield item, None
            return
        for listed in _list(s3, parameters):
            if config.get("Transformation", "NONE") == "NONE":
                yield listed, None
            elif not (listed["Key"].endswith("/") and listed["Size"] == 0):
                # Only the place of a listed object is its own: the owner check stays that of the listing.
                source = {**_only(parameters, "Bucket", "ExpectedBucketOwner"), "Key": listed["Key"]}
                uri = f"s3://{parameters['Bucket']}/{listed['Key']}"
                for item in _object(s3, config, source):
                    yield item, uri
    except (ClientError, BotoCoreError) as error:
        raise StateError("States.ItemReaderFailed", str(error)) from error


def _only(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}


def _list(s3: Any, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        **_only(parameters, "Bucket", "Prefix", "ExpectedBucketOwner", "StartAfter")
    )
    for page in pages:
        for entry in page.get("Contents", []):
            yield {
                "Etag": entry["ETag"],
                "Key": entry["Key"],
                "LastModified": int(entry["LastModified"].timestamp()),
                "Size": entry["Size"],
                "StorageClass": entry.get("StorageClass", "STANDARD"),
            }


def _object(s3: Any, config: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Any]:
    key = parameters["Key"]
    body = s3.get_object(**_only(parameters, "Bucket", "Key", "VersionId", "ExpectedBucketOwner"))["Body"]
    chunks: Iterable[bytes] = body.iter_chunks(_CHUNK)
    if key.endswith(".zstd"):
        raise _failed(f"{key}: ZSTD compression is not supported by the local AWS")
    if key.endswith(".gz"):
        chunks = _gunzip(key, chunks)
    kind = config["InputType"]
    if kind == "JSONL":
        return _json_lines(key, chunks)
    if kind == "CSV":
        return _csv(chunks, config)
    return _json_array(key, b"".join(chunks), config)


def _failed(message: str) -> StateError:
    return StateError("States.ItemReaderFailed", message)


def _gunzip(key: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            while chunk:
                yield unpacker.decompress(chunk)
                chunk = unpacker.unused_data
                if unpacker.eof:
                    # A gzip file may hold several members one after the other.
                    unpacker = zlib.decompressobj(wbits=31)
                else:
                    break
    except zlib.error as error:
        raise _failed(f"{key}: not in GZIP format: {error}") from error


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their newline. Only `\\n` ends a line: other separators of Unicode occur inside JSON text."""
    rest = b""
    for chunk in chunks:
        complete = (rest + chunk).split(b"\n")
        rest = complete.pop()
        yield from complete
    if rest:
        yield rest


def _json_lines(key: str, chunks: Iterable[bytes]) -> Iterator[Any]:
    for number, line in enumerate(lines(chunks), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except ValueError as error:
            raise _failed(f"{key}: line {number} is not valid JSON: {error}") from error


def _json_array(key: str, content: bytes, config: Mapping[str, Any]) -> Iterator[Any]:
    try:
        value = json.loads(content)
        for name in config.get("ItemsPointer", "").split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _failed(f"{key}: the items cannot be found: {error}") from error
    if not isinstance(value, list):
        raise _failed(f"{key}: the items are not a JSON array")
    yield from value


def _csv(chunks: Iterable[bytes], config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    text = io.TextIOWrapper(io.BufferedReader(_Stream(chunks)), encoding="utf-8-sig", newline="")
    rows = csv.reader(text, delimiter=_DELIMITERS[config.get("CSVDelimiter", "COMMA")])
    header = config["CSVHeaders"] if config["CSVHeaderLocation"] == "GIVEN" else next(rows, [])
    for row in rows:
        if row:
            # Missing fields are empty text, surplus fields are left out.
            yield dict(zip(header, row + [""] * (len(header) - len(row)), strict=False))


class _Stream(io.RawIOBase):
    """Chunks of bytes as a readable file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
