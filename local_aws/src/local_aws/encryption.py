"""KMS behind other services: whoever reads or writes what a customer's key protects needs rights on the key.

S3 asks KMS with the caller's rights, and so do SQS and, for the table's key, DynamoDB; CloudWatch Logs and EventBridge
ask as services and must be named by the key's policy. A key that is missing, disabled or on its way out refuses all.
Nothing is encrypted here: only the rights and the state of the key are checked, at every call (AWS keeps an answer for
up to five minutes). Keys that AWS manages ask nobody.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html (permissions),
.../mpuoverview.html (parts), .../bucket-key.html (encryption context);
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html;
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html and the denial in
aws/aws-cdk issue 10010 (kms:Decrypt, for writes too);
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html.
"""

from __future__ import annotations

import contextvars
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from ministack.services import s3

from local_aws import iam, seams
from local_aws.calls import Call
from local_aws.gate import Refusal, refuses

_S3 = "ministack.services.s3"
SSE: Final = "x-amz-server-side-encryption"
SSE_KEY: Final = "x-amz-server-side-encryption-aws-kms-key-id"
SSE_BUCKET_KEY: Final = "x-amz-server-side-encryption-bucket-key-enabled"

#: ETags that were replaced while the running request was served: S3's digest → what the object has.
_etags: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("local_aws_etags", default=None)


def install() -> None:
    """Objects keep whether they were written with their bucket's key, as S3 tells on every read."""
    if SSE_BUCKET_KEY not in s3._SSE_STORED_HEADERS:
        s3._SSE_STORED_HEADERS = (*s3._SSE_STORED_HEADERS, SSE_BUCKET_KEY)
    iam.NEEDS["s3"] = _s3_needs
    iam.NEEDS["sqs"] = _sqs_needs
    iam.NEEDS["dynamodb"] = _dynamodb_needs


# Keys


def arn_of(key: str) -> str | None:
    """The ARN of a customer's key by id, ARN or alias; None when there is none (or AWS manages it)."""
    from ministack.services import kms

    record = kms._resolve_key(key) if key else None
    return str(record["Arn"]) if record else None


def unusable(key: str) -> tuple[str, str] | None:
    """Code and message of KMS when a key cannot be used, None when it can. A key that AWS manages always can."""
    from ministack.services import kms

    if not key or "alias/aws/" in key:
        return None
    record = kms._resolve_key(key)
    if record is None:
        return "NotFoundException", f"Key '{key}' does not exist"
    if record["KeyState"] == "Disabled":
        return "DisabledException", f"{record['Arn']} is disabled."
    if record["KeyState"] != "Enabled":
        return "KMSInvalidStateException", f"{record['Arn']} is {_in_words(record['KeyState'])}."
    return None


def _in_words(state: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", state).lower()


def context(service: str, region: str, **encryption_context: str) -> dict[str, object]:
    """The condition keys of a call that `service` makes to KMS for somebody. Names of the encryption context with
    `__` for a colon: `aws__s3__arn`."""
    pairs = {name.replace("__", ":"): value for name, value in encryption_context.items()}
    return {
        "kms:ViaService": f"{service}.{region}.amazonaws.com",
        "kms:EncryptionContextKeys": list(pairs),
        **{f"kms:EncryptionContext:{name}": value for name, value in pairs.items()},
    }


# S3


def through_s3(bucket: str, key: str, headers: Mapping[str, str], region: str = "us-east-1") -> dict[str, object]:
    """With the bucket's own key in between, the encryption context is the bucket's ARN, else the object's."""
    whole = str(headers.get(SSE_BUCKET_KEY, "")).lower() == "true"
    return context("s3", region, aws__s3__arn=f"arn:aws:s3:::{bucket}" if whole else f"arn:aws:s3:::{bucket}/{key}")


def of_write(bucket: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of the encryption that a write gets: what it asks for, else the bucket's default."""
    if headers.get(SSE):
        asked = {name: headers[name] for name in (SSE, SSE_KEY) if headers.get(name)}
        if asked.get(SSE_KEY) and (headers.get(SSE_BUCKET_KEY) or _has_bucket_key(bucket)):
            asked[SSE_BUCKET_KEY] = str(headers.get(SSE_BUCKET_KEY, "true")).lower()
        return asked
    default: dict[str, str] = dict(s3._bucket_default_sse_headers(bucket))
    if default.get(SSE_KEY) and _has_bucket_key(bucket):
        default[SSE_BUCKET_KEY] = "true"
    return default


def of_object(bucket: str, key: str, version: str | None = None) -> dict[str, str]:
    """Headers of an object's encryption; none for an object that is not there."""
    record = (s3._buckets.get(bucket) or {"objects": {}})["objects"].get(key) or {}
    stored: dict[str, str] = s3._stored_sse_headers(record)
    return stored


def _has_bucket_key(bucket: str) -> bool:
    return bool(re.search(r"<BucketKeyEnabled>\s*true\s*<", s3._bucket_encryption.get(bucket) or ""))


def _s3_needs(call: Call) -> Iterator[iam.Check]:
    """To read: kms:Decrypt. To write: kms:GenerateDataKey. To write in parts: that for the beginning, kms:Decrypt for
    each part and the end. HEAD reads no data."""
    bucket, _, key = call.path.lstrip("/").partition("/")
    if not key:
        return
    if call.method == "GET" and set(call.query) <= {"versionId", "partNumber", "x-id"} | {
        name for name in call.query if name.startswith("response-")
    }:
        yield from _on_key("kms:Decrypt", bucket, key, of_object(bucket, key), call.region)
    if call.method == "PUT" and set(call.query) <= {"partNumber", "uploadId", "x-id"}:
        if source := call.headers.get("x-amz-copy-source"):
            source_bucket, _, source_key = unquote(source).lstrip("/").partition("?")[0].partition("/")
            stored = of_object(source_bucket, source_key)
            yield from _on_key("kms:Decrypt", source_bucket, source_key, stored, call.region)
        if upload := call.first("uploadId"):
            yield from _on_key("kms:Decrypt", bucket, key, _of_upload(upload), call.region)
        else:
            yield from _on_key("kms:GenerateDataKey", bucket, key, of_write(bucket, call.headers), call.region)
    if call.method == "POST" and "uploads" in call.query:
        yield from _on_key("kms:GenerateDataKey", bucket, key, of_write(bucket, call.headers), call.region)
    elif call.method == "POST" and (upload := call.first("uploadId")):
        yield from _on_key("kms:Decrypt", bucket, key, _of_upload(upload), call.region)


def _on_key(action: str, bucket: str, key: str, headers: Mapping[str, str], region: str) -> Iterator[iam.Check]:
    arn = arn_of(headers.get(SSE_KEY, "")) if headers.get(SSE, "").startswith("aws:kms") else None
    if arn:
        yield iam.Check(action, (arn,), through_s3(bucket, key, headers, region))


def _of_upload(upload: str) -> dict[str, str]:
    stored: dict[str, str] = s3._stored_sse_headers(s3._multipart_uploads.get(upload) or {})
    return stored


@seams.replaces(
    _S3, "_resolve_sse_write_headers", sha256="2affef5a7d37a0556777621b7caff2c465142cd151ba318d8d849ce991a623c0"
)
def resolve_sse_write_headers(headers: dict[str, str], bucket_name: str) -> Any:
    """The encryption of a write, refused when its key cannot be used; kept with it is whether the bucket's key is."""
    resolved, error = seams.original(_S3, "_resolve_sse_write_headers")(headers, bucket_name)
    if error is not None or not resolved.get(SSE, "").startswith("aws:kms"):
        return resolved, error
    if problem := unusable(resolved.get(SSE_KEY, "")):
        return None, s3._error(f"KMS.{problem[0]}", problem[1], 400)
    arn = arn_of(resolved.get(SSE_KEY, ""))
    # S3 answers with the key's ARN, whatever it was named by.
    named = {SSE_KEY: arn} if arn else {}
    return {**resolved, **named, **_bucket_key(of_write(bucket_name, headers))}, None


def _bucket_key(headers: Mapping[str, str]) -> dict[str, str]:
    return {SSE_BUCKET_KEY: "true"} if headers.get(SSE_BUCKET_KEY) == "true" else {}


@refuses("s3")
def _read_under_an_unusable_key(call: Call) -> Refusal | None:
    bucket, _, key = call.path.lstrip("/").partition("/")
    if call.method != "GET" or not key or {"uploadId", "tagging", "acl", "attributes"} & set(call.query):
        return None
    stored = of_object(bucket, key)
    if not stored.get(SSE, "").startswith("aws:kms"):
        return None
    problem = unusable(stored.get(SSE_KEY, ""))
    return Refusal(f"KMS.{problem[0]}", problem[1]) if problem else None


# ETags: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: under SSE-KMS the ETag is no MD5 digest of the
# data; identical bytes have another one after each write (aws/aws-sdk-java-v2 issue 7082).


@seams.replaces(
    _S3, "_record_object_version", sha256="9af490c3d6ff2f016e4b278605b817aad660b278043e3c9c6c6a211611ecdc7b"
)
def record_object_version(bucket_name: str, key: str, prior_obj: Any, obj: dict[str, Any], data: Any) -> Any:
    """Every new object passes here before anybody hears of it: under a key it gets an ETag of its own."""
    if str(obj.get("preserved_headers", {}).get(SSE, "")).startswith("aws:kms"):
        digest = str(obj["etag"])
        parts = re.search(r"-\d+(?=\"?$)", digest)
        obj["etag"] = f'"{secrets.token_hex(16)}{parts[0] if parts else ""}"'
        known = _etags.get()
        if known is not None:
            known[digest.strip('"')] = obj["etag"].strip('"')
    return seams.original(_S3, "_record_object_version")(bucket_name, key, prior_obj, obj, data)


@seams.replaces(_S3, "_fire_s3_event_async", sha256="d42619f0eb8691d5841f182cd3c9c4fde8ffb7649369258a73974201a2195d75")
def fire_s3_event_async(*arguments: Any, **named: Any) -> Any:
    """Events name the ETag that the object has."""
    if isinstance(named.get("etag"), str):
        named["etag"] = _renamed(named["etag"])
    return seams.original(_S3, "_fire_s3_event_async")(*arguments, **named)


@seams.replaces(_S3, "_dispatch", sha256="52562ee7c18bd9e7d3328fdda153a451c7ddba408dc43e040e9d524344e5e767")
def dispatch(
    method: str, bucket: str, key: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    """The answer names the ETag that the object has."""
    token = _etags.set({})
    try:
        status, answer_headers, answer = seams.original(_S3, "_dispatch")(
            method, bucket, key, headers, body, query_params
        )
        known = _etags.get()
        if known and method in ("PUT", "POST"):
            if "ETag" in answer_headers:
                answer_headers["ETag"] = _renamed(answer_headers["ETag"])
            for digest, etag in known.items():
                answer = answer.replace(digest.encode(), etag.encode())
        return status, answer_headers, answer
    finally:
        _etags.reset(token)


def _renamed(etag: str) -> str:
    known = _etags.get() or {}
    bare = etag.strip('"')
    return etag.replace(bare, known[bare]) if bare in known else etag


# SQS


_SEND: Final = ("kms:GenerateDataKey", "kms:Decrypt")


def of_queue(arn: str) -> str | None:
    """ARN of the customer's key of a queue, by the queue's ARN; None without one."""
    from ministack.services import sqs

    queue = sqs._queue_by_arn(arn)
    return arn_of((queue or {}).get("attributes", {}).get("KmsMasterKeyId", ""))


def sending(queue_arn: str, region: str = "us-east-1") -> Iterator[iam.Check]:
    """What sending to a queue needs of its key."""
    if key := of_queue(queue_arn):
        for action in _SEND:
            yield iam.Check(action, (key,), context("sqs", region, aws__sqs__arn=queue_arn))


def receiving(queue_arn: str, region: str = "us-east-1") -> Iterator[iam.Check]:
    """What receiving from a queue needs of its key."""
    if key := of_queue(queue_arn):
        yield iam.Check("kms:Decrypt", (key,), context("sqs", region, aws__sqs__arn=queue_arn))


def _sqs_needs(call: Call) -> Iterator[iam.Check]:
    operation = call.operation()
    if operation in ("SendMessage", "SendMessageBatch", "ReceiveMessage"):
        queue = iam.resource_of(call)
        yield from (receiving if operation == "ReceiveMessage" else sending)(queue, call.region)
    elif operation == "StartMessageMoveTask":
        yield from receiving(call.text("SourceArn"), call.region)
        if destination := call.text("DestinationArn"):
            yield from sending(destination, call.region)


@refuses("sqs", "SendMessage", "SendMessageBatch", "ReceiveMessage")
def _queue_under_an_unusable_key(call: Call) -> Refusal | None:
    from ministack.services import sqs

    queue = sqs._queues.get(str(call.json().get("QueueUrl", ""))) or {}
    problem = unusable(queue.get("attributes", {}).get("KmsMasterKeyId", ""))
    return Refusal(f"KMS.{problem[0]}", problem[1]) if problem else None


# DynamoDB

_DATA_OPERATIONS: Final = frozenset(
    {
        "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem",
        "TransactGetItems", "TransactWriteItems", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction",
    }
)  # fmt: skip


def _dynamodb_needs(call: Call) -> Iterator[iam.Check]:
    """Whoever reads or writes items needs kms:Decrypt on the table's key, by which the table key is opened."""
    if call.operation() not in _DATA_OPERATIONS:
        return
    for name in sorted(set(_tables(call))):
        from ministack.services import dynamodb

        table = dynamodb._tables.get(name) or {}
        key = arn_of((table.get("SSEDescription") or {}).get("KMSMasterKeyArn", ""))
        if key:
            told = context(
                "dynamodb", call.region, aws__dynamodb__tableName=name,
                aws__dynamodb__subscriberId=call.account,
            )  # fmt: skip
            yield iam.Check("kms:Decrypt", (key,), told)


def _tables(call: Call) -> Iterator[str]:
    """Names of the tables of a request."""
    body = call.json()
    named = [body.get("TableName"), *(body.get("RequestItems") or {})]
    for item in body.get("TransactItems") or []:
        named += [part.get("TableName") for part in item.values() if isinstance(part, dict)]
    named += [resource for check in iam.statements_of(call) for resource in check.resources]
    for each in named:
        if isinstance(each, str):
            yield each.partition("table/")[2].partition("/")[0] if each.startswith("arn:") else each


@refuses("dynamodb", *sorted(_DATA_OPERATIONS))
def _table_under_an_unusable_key(call: Call) -> Refusal | None:
    from ministack.services import dynamodb

    for name in sorted(set(_tables(call))):
        description = (dynamodb._tables.get(name) or {}).get("SSEDescription") or {}
        if problem := unusable(str(description.get("KMSMasterKeyArn", ""))):
            return Refusal("AccessDeniedException", f"KMS key access denied error: {problem[1]}")
    return None


# Log groups


@refuses("logs", "CreateLogGroup", "AssociateKmsKey")
def _log_group_under_a_foreign_key(call: Call) -> Refusal | None:
    """The service that writes log events must be let in by the key's policy, for this group."""
    body = call.json()
    key = body.get("kmsKeyId")
    if not key:
        return None
    if unusable(str(key)):
        return Refusal("InvalidParameterException", "The specified KMS Key Id could not be found.")
    name = body.get("logGroupName") or str(body.get("resourceIdentifier", "")).partition(":log-group:")[2]
    group = f"arn:aws:logs:{call.region}:{call.account}:log-group:{name}"
    told = {f"kms:EncryptionContext:{where}:logs:arn": group for where in ("aws", "aws-cn", "aws-us-gov")}
    told["kms:EncryptionContextKeys"] = ["aws:logs:arn"]  # type: ignore[assignment]
    arn = arn_of(str(key)) or ""
    # What the page "Encrypt log data" asks the key's policy for.
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey",
                   "kms:DescribeKey"):  # fmt: skip
        if not iam.service_may(f"logs.{call.region}.amazonaws.com", action, arn, told):
            return Refusal(
                "AccessDeniedException",
                f"The specified KMS key does not exist or is not allowed to be used with Arn '{group}'",
            )
    return None
