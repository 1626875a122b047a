"""Amazon S3: streams in ranged segments and multipart uploads, so that memory does not grow with an object.

Refusals of S3 that a person must act on become InvalidRequestError (what, where, what to do), or AccessDeniedError if
the run can go on once that is done; overload and broken connections that outlast the SDK's own retries become
ThrottledError, which the state machines retry.

Objects of a unit of work are created, and never replaced (core/leases.py):
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError

from bulk_inference.core.errors import AccessDeniedError, InvalidRequestError, ThrottledError, WorkInProgressError
from bulk_inference.core.json_text import JsonError, loads

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES: Final = 8 * 1024 * 1024
"""Size of an upload's parts and of a download's segments. 10,000 parts (S3's limit) hold 80 GiB."""

_SEGMENT_TRIES: Final = 5
_CONFLICT_TRIES: Final = 5

_CONDITION_FAILED: Final = frozenset({"PreconditionFailed", "412"})
_CONFLICT: Final = frozenset({"ConditionalRequestConflict", "409"})
"""A concurrent change decides it only now."""

_OVERLOADED: Final = frozenset(
    {
        "SlowDown",
        "503",
        "ServiceUnavailable",
        "InternalError",
        "500",
        "RequestTimeout",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)


@cache
def connect() -> "S3Client":
    """The process's client: made at the first call, kept for the next invocations. As many connections as threads use
    at once: beyond them, each request would open one of its own and throw it away."""
    return boto3.client(
        "s3",
        config=Config(retries={"mode": "standard", "max_attempts": 8}, tcp_keepalive=True, max_pool_connections=50),
    )


@dataclass(frozen=True)
class StoredObject:
    key: str
    size: int
    """Bytes."""
    etag: str
    """Without the quotes that HTTP puts around it."""


class Bucket:
    """One bucket. Every method raises InvalidRequestError or ThrottledError for what S3 refuses (see the module)."""

    def __init__(self, name: str, client: "S3Client", *, part_bytes: int = PART_BYTES) -> None:
        self.name = name
        self._client = client
        self._part_bytes = part_bytes

    def list(self, prefix: str, *, limit: int | None = None) -> Iterator[StoredObject]:
        """Objects whose key starts with `prefix`, in key order (UTF-8 bytes), at most `limit`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name,
            Prefix=prefix,
            PaginationConfig={} if limit is None else {"MaxItems": limit, "PageSize": min(limit, 1000)},
        )
        with _explained(self.name, prefix, "s3:ListBucket"):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield StoredObject(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def find(self, key: str) -> StoredObject | None:
        """Size and ETag of one object, or None. By a list call, which tells a missing bucket from a missing key."""
        found = next(self.list(key, limit=1), None)
        return found if found is not None and found.key == key else None

    def read(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        segment_bytes: int | None = None,
    ) -> Generator[bytes, None, None]:
        """Bytes [start, end) of an object in chunks; the next segment is fetched while this one is worked on.

        With `etag`, an object that has changed since is an InvalidRequestError; without, the first segment's ETag
        binds the ones that follow. Holds two segments in memory at most.
        """
        if end is not None and end <= start:
            return
        segment_bytes = segment_bytes or self._part_bytes
        body, size, etag = self._segment(key, start, end, etag, segment_bytes)
        end = size if end is None else min(end, size)
        position = start + len(body)
        if position >= end:
            if body:
                yield body
            return
        with ThreadPoolExecutor(1, "s3-read") as ahead:
            while position < end:
                coming = ahead.submit(self._segment, key, position, end, etag, segment_bytes)
                yield body
                body = coming.result()[0]
                position += len(body)
            yield body

    def get(self, key: str) -> bytes | None:
        """A whole object that is known to be small, or None if there is none."""
        try:
            with _explained(self.name, key, "s3:GetObject", missing_key=False):
                return self._body(key, None, None)[0]
        except _MissingKeyError:
            return None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, in one request."""
        with _explained(self.name, key, "s3:GetObject"):
            return self._body(key, f"bytes={offset}-{offset + length - 1}", None)[0]

    def get_json(self, key: str) -> Any | None:
        """A small JSON object's value, or None if there is none. Raises InvalidRequestError for what is no JSON."""
        body = self.get(key)
        try:
            return None if body is None else loads(body)
        except JsonError as error:
            raise InvalidRequestError(f"s3://{self.name}/{key} {error}: it was not written by the pipeline") from None

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        with _explained(self.name, key, "s3:PutObject"):
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def put_json(self, key: str, value: Any) -> None:
        self.put(key, json.dumps(value, ensure_ascii=False, indent=1).encode(), "application/json")

    def create(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """Writes an object where there is none. Raises WorkInProgressError if there is another one.

        A try whose answer was lost has written it all the same: then the SDK's next try finds these bytes there.
        """
        if not self.put_if_absent(key, body, content_type) and self.get(key) != body:
            raise _taken(self.name, key)

    def creator(self, key: str, content_type: str = "application/x-ndjson") -> "ObjectWriter":
        """As `create`, for an upload of unknown length."""
        return ObjectWriter(self._client, self.name, key, self._part_bytes, content_type, new=self)

    def empty(self, key: str) -> None:
        self.put(key, b"", "application/x-ndjson")

    def occupy(self, key: str) -> None:
        self.put_if_absent(key, b"", "application/x-ndjson")

    def replace(self, key: str, body: bytes, content_type: str, check: Callable[[], None]) -> None:
        """Writes on condition that the key is as it was before `check`, which raises if it is another's turn."""
        for _ in range(_CONFLICT_TRIES):
            found = self.find(key)
            check()
            condition: dict[str, Any] = {"IfNoneMatch": "*"} if found is None else {"IfMatch": f'"{found.etag}"'}
            try:
                with _explained(self.name, key, "s3:PutObject", conditional=False):
                    self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type, **condition)
                    return
            except ClientError as error:
                if _code(error) not in _CONDITION_FAILED | _CONFLICT:
                    raise
            if self.get(key) == body:
                return
        raise _taken(self.name, key)

    def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Writes an object unless there is one already; whether it was written.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 says that the key exists,
        409 that a concurrent change decides it only now, and asks for another try.
        """
        for last in [False] * (_CONFLICT_TRIES - 1) + [True]:
            try:
                with _explained(self.name, key, "s3:PutObject", conditional=False):
                    self._client.put_object(
                        Bucket=self.name, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*"
                    )
                    return True
            except ClientError as error:
                if _code(error) in _CONDITION_FAILED:
                    return False
                if last or _code(error) not in _CONFLICT:
                    raise
        return False

    def copy_from(self, bucket: str, key: str, target: str, owner: str | None) -> bool:
        """Copies an object of this Region to `target`, inside S3; False if it is not there, is too large for one
        request (5 GB), or may not be read."""
        expected: dict[str, Any] = {} if owner is None else {"ExpectedSourceBucketOwner": owner}
        try:
            with _explained(self.name, target, "s3:PutObject", missing_key=False):
                self._client.copy_object(
                    Bucket=self.name,
                    Key=target,
                    CopySource={"Bucket": bucket, "Key": key},
                    # Tags would need rights of their own on both sides.
                    TaggingDirective="REPLACE",
                    **expected,
                )
        except _MissingKeyError:
            return False
        except (AccessDeniedError, InvalidRequestError):
            # S3 does not say which of the two objects it refuses. Without a right to write, the shard's file fails too.
            return False
        except ClientError as error:
            if _code(error) in ("InvalidRequest", "InvalidArgument"):
                return False
            raise
        return True

    def writer(self, key: str, content_type: str = "application/x-ndjson") -> "ObjectWriter":
        """An upload of unknown length, visible at `key` when closed. The same bytes make the same parts."""
        return ObjectWriter(self._client, self.name, key, self._part_bytes, content_type)

    def _segment(
        self, key: str, start: int, end: int | None, etag: str | None, segment_bytes: int
    ) -> tuple[bytes, int, str]:
        last = start + segment_bytes if end is None else min(end, start + segment_bytes)
        try:
            with _explained(self.name, key, "s3:GetObject"):
                return self._body(key, f"bytes={start}-{last - 1}", etag)
        except ClientError as error:
            # S3 answers so when the object ends before `start`; an empty object has no first byte.
            if _code(error) in ("InvalidRange", "416"):
                return b"", 0, etag or ""
            raise

    def _body(self, key: str, byte_range: str | None, etag: str | None) -> tuple[bytes, int, str]:
        """Bytes, size of the whole object and its ETag. A connection that breaks in mid-body is tried again here,
        because the SDK's retries end with the response's headers."""
        conditions: dict[str, Any] = {}
        if byte_range is not None:
            conditions["Range"] = byte_range
        if etag:
            conditions["IfMatch"] = f'"{etag}"'
        for tries_left in range(_SEGMENT_TRIES - 1, -1, -1):
            answer = self._client.get_object(Bucket=self.name, Key=key, **conditions)
            try:
                body = answer["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                if not tries_left:
                    raise
                continue
            content_range = answer.get("ContentRange")
            size = int(content_range.rpartition("/")[2]) if content_range else len(body)
            return body, size, answer["ETag"].strip('"')
        raise AssertionError("unreachable: the last try returns or raises")


class ObjectWriter:
    """Streams bytes to one object: a single PutObject when they fit in one part, else a multipart upload.

    One part is gathered while another is on its way, so that memory holds two parts. Use as a context manager: an
    exception aborts the upload and leaves the key as it was.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        key: str,
        part_bytes: int,
        content_type: str,
        *,
        new: Bucket | None = None,
    ) -> None:
        """`new`: the bucket, if the key must be free."""
        self._new = new
        self.key = key
        self.size = 0
        """Bytes written so far."""
        self._client = client
        self._bucket = bucket
        self._part_bytes = part_bytes
        self._content_type = content_type
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._sender: ThreadPoolExecutor | None = None
        self._sending: Future[CompletedPartTypeDef] | None = None

    def write(self, data: bytes) -> None:
        self._buffer += data
        self.size += len(data)
        while len(self._buffer) > self._part_bytes:
            part = bytes(memoryview(self._buffer)[: self._part_bytes])
            del self._buffer[: self._part_bytes]
            self._send(part)

    def close(self) -> None:
        """Makes the object visible, empty if nothing was written."""
        # Taken over, so that a closed writer which is still referred to holds no part.
        rest, self._buffer = bytes(self._buffer), bytearray()
        with _explained(self._bucket, self.key, "s3:PutObject"):
            if self._upload_id is None and self._new is not None:
                self._new.create(self.key, rest, self._content_type)
                return
            if self._upload_id is None:
                self._client.put_object(Bucket=self._bucket, Key=self.key, Body=rest, ContentType=self._content_type)
                return
            self._send(rest)
            self._await_part()
            self._stop_sender()
            condition: dict[str, Any] = {} if self._new is None else {"IfNoneMatch": "*"}
            try:
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self.key,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},
                    **condition,
                )
            except ClientError as error:
                if self._new is None or _code(error) not in _CONDITION_FAILED | _CONFLICT:
                    raise
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self.key, UploadId=self._upload_id)
                found = self._new.find(self.key)
                # An upload of this length there is our own, completed by a try whose answer was lost: others only
                # empty the key.
                if found is None or found.size != self.size:
                    raise _taken(self._bucket, self.key) from error

    def abort(self) -> None:
        self._stop_sender()
        if self._upload_id is not None:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self.key, UploadId=self._upload_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _send(self, part: bytes) -> None:
        with _explained(self._bucket, self.key, "s3:PutObject"):
            if self._upload_id is None:
                self._upload_id = self._client.create_multipart_upload(
                    Bucket=self._bucket, Key=self.key, ContentType=self._content_type
                )["UploadId"]
                self._sender = ThreadPoolExecutor(1, "s3-write")
            self._await_part()
            assert self._sender is not None
            self._sending = self._sender.submit(self._upload_part, self._upload_id, len(self._parts) + 1, part)

    def _upload_part(self, upload_id: str, number: int, part: bytes) -> "CompletedPartTypeDef":
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self.key, UploadId=upload_id, PartNumber=number, Body=part
        )
        return {"ETag": answer["ETag"], "PartNumber": number}

    def _await_part(self) -> None:
        if self._sending is not None:
            self._parts.append(self._sending.result())
            self._sending = None

    def _stop_sender(self) -> None:
        if self._sender is not None:
            self._sender.shutdown()
            self._sender = None


def _taken(bucket: str, key: str) -> WorkInProgressError:
    return WorkInProgressError(f"s3://{bucket}/{key} is taken: another worker has the unit that it belongs to")


class _MissingKeyError(Exception):
    """There is no such object, and the caller has an answer for that."""


@contextmanager
def _explained(
    bucket: str, key: str, action: str, *, missing_key: bool = True, conditional: bool = True
) -> Iterator[None]:
    """Turns refusals of one S3 call into our errors; the flags leave some of them to the caller."""
    where = f"s3://{bucket}/{key}"
    try:
        yield
    except ClientError as error:
        code, message = _code(error), error.response.get("Error", {}).get("Message", "")
        if code in ("NoSuchKey", "404"):
            if not missing_key:
                raise _MissingKeyError from error
            raise InvalidRequestError(f"{where} does not exist: it was deleted, or the key is wrong") from error
        if code == "NoSuchBucket":
            raise InvalidRequestError(f"bucket {bucket} does not exist: correct the bucket's name") from error
        if code in ("AccessDenied", "403", "AllAccessDisabled"):
            raise AccessDeniedError(
                f"access to {where} is denied: this function's role needs {action} there, and the bucket's "
                f"policy and KMS key must allow it (for another bucket, name it in source_buckets of the module). "
                f"Allow it, then redrive the run. S3 says: {message}"
            ) from error
        if code in ("PreconditionFailed", "412") and conditional:
            raise InvalidRequestError(
                f"{where} has changed since the run was planned: start a new run over the new object, and leave corpus "
                "objects alone while a run reads them"
            ) from error
        if code in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
            raise InvalidRequestError(f"bucket {bucket} lies in another Region: copy the corpus to this one") from error
        if code == "InvalidObjectState":
            raise AccessDeniedError(f"{where} is archived: restore it, then redrive the run") from error
        if code in _OVERLOADED:
            raise ThrottledError(f"S3 refused {action} on {where} for now: {code}: {message}") from error
        raise
    except (HTTPClientError, NoConnectionError, IncompleteReadError) as error:
        raise ThrottledError(f"S3 did not answer {action} on {where}: {error}") from error


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
