"""The objects of a batch job in S3, read and written inside the process, with the job role's permissions.

Nothing here goes over HTTP: the emulator's store is in this process, and a job of a hundred thousand records would
be copied three times on the way. Permissions are therefore asked for explicitly, as S3 would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local_aws.bedrock import roles

_KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_SSE = "x-amz-server-side-encryption"


class StorageError(Exception):
    """An object or bucket that the job needs is not there or cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Uri:
    """`s3://bucket/key`; `key` without a leading slash, empty for the whole bucket."""

    bucket: str
    key: str

    @property
    def folder(self) -> str:
        """The key as a folder: empty, or ending with a slash."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class InputFile:
    """One JSONL object of the input. `name` is what its output file is called after."""

    uri: Uri
    name: str
    size: int


def parse(uri: str) -> Uri:
    """A URI that has passed the service's pattern."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Uri(bucket, key)


def bucket_exists(bucket: str) -> bool:
    """Whether the account has a bucket of this name."""
    from ministack.services import s3

    return bucket in s3._buckets


def require_read(role_arn: str, uri: Uri) -> None:
    """The role may list the folder or file and read what is there. Raises RoleDeniedError."""
    prefix = uri.key
    roles.require(role_arn, "s3:ListBucket", f"arn:aws:s3:::{uri.bucket}", {"s3:prefix": prefix})
    probe = uri.key if uri.key.endswith(".jsonl") else uri.folder + "input.jsonl"
    roles.require(role_arn, "s3:GetObject", f"arn:aws:s3:::{uri.bucket}/{probe}")


def require_write(role_arn: str, uri: Uri, job_id: str) -> None:
    """The role may write below the output URI. Raises RoleDeniedError."""
    roles.require(role_arn, "s3:PutObject", f"arn:aws:s3:::{uri.bucket}/{uri.folder}{job_id}/manifest.json.out")


def input_files(uri: Uri) -> list[InputFile]:
    """The objects ending with `.jsonl` at the URI: the one it names, or all below the folder, in key order.

    Raises StorageError when there is none.
    """
    from ministack.services import s3

    bucket = s3._buckets.get(uri.bucket)
    if bucket is None:
        raise StorageError(f"The bucket {uri.bucket} does not exist.")
    objects: dict[str, Any] = bucket["objects"]
    if uri.key in objects and not uri.key.endswith("/"):
        named = {uri.key: uri.key.rsplit("/", 1)[-1]}
    else:
        named = {key: key.removeprefix(uri.folder) for key in sorted(objects) if key.startswith(uri.folder)}
    found = [
        InputFile(Uri(uri.bucket, key), name, int(objects[key]["size"]))
        for key, name in named.items()
        if key.endswith(".jsonl")
    ]
    if not found:
        raise StorageError(f"The input {uri} holds no file with the extension .jsonl.")
    return found


def read(role_arn: str | None, file: InputFile) -> bytes:
    """The object's bytes; the role needs s3:GetObject, and kms:Decrypt when it is encrypted with a key. None: no role,
    the account's own user, who may.

    Raises RoleDeniedError, or StorageError when the object is gone.
    """
    from ministack.services import s3

    if role_arn is not None:
        roles.require(role_arn, "s3:GetObject", f"arn:aws:s3:::{file.uri.bucket}/{file.uri.key}")
    record = (s3._buckets.get(file.uri.bucket) or {"objects": {}})["objects"].get(file.uri.key)
    data: bytes | None = s3._get_object_data(file.uri.bucket, file.uri.key)
    if record is None or data is None:
        raise StorageError(f"The input file {file.uri} does not exist.")
    headers = record.get("preserved_headers", {})
    if role_arn is not None and str(headers.get(_SSE, "")).startswith("aws:kms"):
        arn = _key_arn(str(headers.get(_KMS_KEY, "")))
        roles.require(role_arn, "kms:Decrypt", arn, _through_s3(file.uri.bucket))
    return data


def encryption(role_arn: str, bucket: str, key_id: str | None) -> dict[str, str]:
    """Headers of what is written: the job's key, else the bucket's default; the role needs kms:GenerateDataKey and
    kms:Decrypt on the key. Raises RoleDeniedError, or StorageError when the key does not exist."""
    from ministack.services import s3

    headers: dict[str, str] = {_SSE: "aws:kms", _KMS_KEY: key_id} if key_id else s3._bucket_default_sse_headers(bucket)
    if headers.get(_SSE, "").startswith("aws:kms") and headers.get(_KMS_KEY):
        arn = _key_arn(headers[_KMS_KEY])
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            roles.require(role_arn, action, arn, _through_s3(bucket))
        if key_id:
            return {_SSE: "aws:kms", _KMS_KEY: arn}
    return {}


def write(role_arn: str, uri: Uri, body: bytes, headers: dict[str, str]) -> None:
    """Put an object as S3 would: default encryption, versions and notifications included.

    Raises RoleDeniedError, or StorageError with S3's answer.
    """
    from ministack.services import s3

    roles.require(role_arn, "s3:PutObject", f"arn:aws:s3:::{uri.bucket}/{uri.key}")
    status, _, answer = s3._dispatch(
        "PUT", uri.bucket, uri.key, {"content-type": "application/octet-stream", **headers}, body, {}
    )
    if status >= 300:
        code = re.search(rb"<Code>(.*?)</Code>", answer)
        raise StorageError(f"Writing {uri} failed: {code[1].decode() if code else status}")


def lines(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of every line, split at the newline byte only; a last line without one counts."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield start, end
        start = end + 1


def _through_s3(bucket: str) -> dict[str, object]:
    """What KMS is told when S3 asks on a role's behalf, with the bucket's own key in between: the page "Reducing the
    cost of SSE-KMS with Amazon S3 Bucket Keys" says that the encryption context is then the bucket's ARN."""
    return {
        "kms:ViaService": "s3.us-east-1.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}",
    }


def _key_arn(key_id: str) -> str:
    from ministack.services import kms

    record = kms._resolve_key(key_id)
    if record is None:
        raise StorageError(f"The KMS key {key_id} does not exist.")
    return str(record["Arn"])
