"""Amazon S3 in memory.

Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import io
from collections.abc import Mapping
from hashlib import md5
from typing import Any

from tests.explorer.aws.service import Pages, Service, error


class Objects(Service):
    name = "s3"
    busy = "SlowDown"
    denied = "AccessDenied"

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}

    def copy(self) -> "Objects":
        new = Objects()
        new.buckets = {name: dict(objects) for name, objects in self.buckets.items()}
        new.uploads = {name: dict(parts) for name, parts in self.uploads.items()}
        return new

    def keys(self, bucket: str, prefix: str) -> list[str]:
        return sorted((key for key in self.buckets[bucket] if key.startswith(prefix)), key=str.encode)

    # The client.

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_objects_v2", operation
        return Pages(self._list)

    def _list(self, Bucket: str, Prefix: str = "", PaginationConfig: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.read()
        most = (PaginationConfig or {}).get("MaxItems")
        objects = self._objects(Bucket, "ListObjectsV2")
        found = self.keys(Bucket, Prefix)[:most]
        return {"Contents": [{"Key": k, "Size": len(objects[k]), "ETag": _etag(objects[k])} for k in found]}

    def list_objects_v2(self, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, **_: Any) -> dict[str, Any]:
        return self._list(Bucket, Prefix, {"MaxItems": MaxKeys})

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self.read()
        body = self._objects(Bucket, "HeadObject").get(Key)
        if body is None:
            raise error("404", "HeadObject", "Not Found", 404)
        return {"ContentLength": len(body), "ETag": _etag(body)}

    def get_object(self, Bucket: str, Key: str, Range: str | None = None, IfMatch: str | None = None) -> dict[str, Any]:
        self.read()
        body = self._objects(Bucket, "GetObject").get(Key)
        if body is None:
            raise error("NoSuchKey", "GetObject", status=404)
        if IfMatch is not None and IfMatch.strip('"') != _etag(body).strip('"'):
            raise error("PreconditionFailed", "GetObject", status=412)
        answer: dict[str, Any] = {"ETag": _etag(body)}
        if Range is None:
            return {**answer, "Body": io.BytesIO(body)}
        first, last = (int(one) for one in Range.removeprefix("bytes=").split("-"))
        if first >= len(body):
            raise error("InvalidRange", "GetObject", status=416)
        last = min(last, len(body) - 1)
        answer["ContentRange"] = f"bytes {first}-{last}/{len(body)}"
        return {**answer, "Body": io.BytesIO(body[first : last + 1])}

    def put_object(
        self,
        Bucket: str,
        Key: str,
        Body: bytes = b"",
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            objects = self._objects(Bucket, "PutObject")
            _check(objects, Key, IfMatch, IfNoneMatch, "PutObject")
            objects[Key] = bytes(Body)
            return {"ETag": _etag(objects[Key])}

        return self.write("PutObject", f"{Bucket}/{Key}", apply)

    def delete_object(self, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            objects = self._objects(Bucket, "DeleteObject")
            if IfMatch is not None and Key in objects:
                _check(objects, Key, IfMatch, None, "DeleteObject")
            objects.pop(Key, None)
            return {}

        return self.write("DeleteObject", f"{Bucket}/{Key}", apply)

    def delete_objects(self, Bucket: str, Delete: Mapping[str, Any]) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            for one in Delete["Objects"]:
                self._objects(Bucket, "DeleteObjects").pop(one["Key"], None)
            return {}

        return self.write("DeleteObjects", Bucket, apply)

    def copy_object(self, Bucket: str, Key: str, CopySource: Mapping[str, str], **_: Any) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            body = self._objects(CopySource["Bucket"], "CopyObject").get(CopySource["Key"])
            if body is None:
                raise error("NoSuchKey", "CopyObject", status=404)
            self._objects(Bucket, "CopyObject")[Key] = body
            return {"CopyObjectResult": {"ETag": _etag(body)}}

        return self.write("CopyObject", f"{Bucket}/{Key}", apply)

    # Multipart uploads: nothing is to be seen before the last request, so that the others are no effects.

    def create_multipart_upload(self, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        self.read()
        upload = f"upload-{len(self.uploads) + 1}"
        self.uploads[upload] = {}
        return {"UploadId": upload}

    def upload_part(self, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, Any]:
        self.read()
        self.uploads[UploadId][PartNumber] = bytes(Body)
        return {"ETag": _etag(Body)}

    def complete_multipart_upload(
        self,
        Bucket: str,
        Key: str,
        UploadId: str,
        MultipartUpload: Mapping[str, Any],
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
    ) -> dict[str, Any]:
        def apply(part: bool) -> dict[str, Any]:
            objects = self._objects(Bucket, "CompleteMultipartUpload")
            _check(objects, Key, IfMatch, IfNoneMatch, "CompleteMultipartUpload")
            parts = self.uploads[UploadId]
            objects[Key] = b"".join(parts[one["PartNumber"]] for one in MultipartUpload["Parts"])
            return {"ETag": _etag(objects[Key])}

        return self.write("CompleteMultipartUpload", f"{Bucket}/{Key}", apply)

    def abort_multipart_upload(self, UploadId: str, **_: Any) -> dict[str, Any]:
        self.read()
        self.uploads.pop(UploadId, None)
        return {}

    def _objects(self, bucket: str, operation: str) -> dict[str, bytes]:
        if bucket not in self.buckets:
            raise error("NoSuchBucket", operation, status=404)
        return self.buckets[bucket]


def _etag(body: bytes) -> str:
    return f'"{md5(body).hexdigest()}"'


def _check(
    objects: Mapping[str, bytes], key: str, if_match: str | None, if_none_match: str | None, operation: str
) -> None:
    if if_none_match is not None:
        assert if_none_match == "*", "S3 takes no other value"
        if key in objects:
            raise error("PreconditionFailed", operation, status=412)
    if if_match is not None:
        if key not in objects:
            raise error("NoSuchKey", operation, status=404)
        if if_match.strip('"') != _etag(objects[key]).strip('"'):
            raise error("PreconditionFailed", operation, status=412)
