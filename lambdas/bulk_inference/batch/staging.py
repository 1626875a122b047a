"""Images and documents of a job, laid beside its records.

Bedrock wants everything that a job's records point to in one folder with them, names the folder as the job's input, and
takes every JSONL file in it for records of the job
(https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html). So each attempt that points to objects
gets a folder of its own: copies of the objects, and the shard's file with the copies' places, written last. On-demand
calls read the objects where they are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Final

from bulk_inference.core.errors import JobRejectedError
from bulk_inference.core.json_text import JsonError, loads
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import CopyingBucket
from bulk_inference.core.reach import URI, Reach, locations
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.render.media import format_of

_COPIES: Final = 32
"""Requests in flight."""


def stage(spec: RunSpec, piece: str, attempt: str, bucket: CopyingBucket, reach: Reach) -> str:
    """Key of the attempt's input: its folder, or the shard's file where no record points to an object.

    Every record is parsed, whatever the run is expected to hold, and what it points to is copied only as far as `reach`
    allows: the copy is made with this function's rights, which are every tenant's. Raises JobRejectedError (more bytes
    than a job may have), ThrottledError. A second call goes on where a first one died. An object that is not copied is
    left to its record: Bedrock, which has the tenant's rights alone, refuses that record, and says the same of an
    object that there is and of one that there is not.
    """
    places = Places(spec.tenant, spec.run)
    shard = places.shard(piece)
    folder = f"{places.shard(attempt).removesuffix('.jsonl')}/"
    records = f"{folder}{piece}.jsonl"
    present = {one.key: one.size for one in bucket.list(folder)}
    if records not in present:
        wanted = {uri: (f"{folder}media/{name_of(uri)}", owner) for uri, owner in _pointed(bucket.read(shard), reach)}
        if not wanted:
            return shard
        _copy(wanted, present.keys(), bucket)
        present = {one.key: one.size for one in bucket.list(folder)}
        copies = {uri: f"s3://{bucket.name}/{key}" for uri, (key, _) in wanted.items() if key in present}
        with bucket.writer(records) as writer:
            for line, _ in split(bucket.read(shard)):
                writer.write(_moved(line, copies) + b"\n")
        present[records] = writer.size
    most = spec.quotas.max_job_bytes
    if (size := sum(present.values())) > most.value:
        raise JobRejectedError(
            f"records, images and documents of shard {piece} have {size} bytes together, more than the {most.value} of "
            "a job: set limits.max_records_per_shard"
        )
    return folder


def name_of(uri: str) -> str:
    """Of a copy: no name that Bedrock's URI pattern could refuse, and the extension that tells the format."""
    extension = format_of(uri)
    digest = sha256(uri.encode()).hexdigest()[:32]
    return f"{digest}.{extension}" if extension.isalnum() and extension.isascii() else digest


def _pointed(shard: Iterable[bytes], reach: Reach) -> Iterator[tuple[str, str | None]]:
    """(uri, owner of its bucket) of everything that records may point to."""
    for line, _ in split(shard):
        for location in locations(_body(line)):
            uri, owner = location.get("uri"), location.get("bucketOwner")
            if isinstance(uri, str) and reach.refused_uri(uri) is None:
                yield uri, owner if isinstance(owner, str) else None


def _body(line: bytes) -> Any:
    """The modelInput; None of a line that is no record, which Bedrock refuses by itself."""
    try:
        record = loads(line)
    except JsonError:
        return None
    return record.get("modelInput") if isinstance(record, dict) else None


def _copy(wanted: Mapping[str, tuple[str, str | None]], present: Iterable[str], bucket: CopyingBucket) -> None:
    there = set(present)

    def copy(uri: str) -> None:
        key, owner = wanted[uri]
        match = URI.fullmatch(uri)
        if match is not None and key not in there:
            bucket.copy_from(match.group(1), match.group(2), key, owner)

    with ThreadPoolExecutor(_COPIES, "stage") as pool:
        for _ in pool.map(copy, wanted):
            pass


def _moved(line: bytes, copies: Mapping[str, str]) -> bytes:
    """The line with the copies' places; byte for byte where there are none. They lie in this account's bucket, so that
    no owner is named."""
    body = _body(line)
    found = [(one, copies[one["uri"]]) for one in locations(body) if str(one.get("uri")) in copies]
    if not found:
        return line
    for location, copy in found:
        location["uri"] = copy
        location.pop("bucketOwner", None)
    record = {**loads(line), "modelInput": body}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
