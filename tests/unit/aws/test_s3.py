"""S3 streams against moto: segments, parts, conditions, and errors that say what to do."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from moto import mock_aws

from bulk_inference.aws.s3 import Bucket, connect
from bulk_inference.core.errors import AccessDeniedError, InvalidRequestError, ThrottledError, WorkInProgressError

PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="bkt")
        yield s3


def test_reads_any_range_in_segments(client: Any) -> None:
    bucket = Bucket("bkt", client, part_bytes=10)
    data = bytes(range(95))
    bucket.put("k", data)
    for start, end in ((0, None), (0, 95), (3, 40), (40, 41), (90, 200), (95, None), (200, None), (5, 5)):
        assert b"".join(bucket.read("k", start=start, end=end)) == data[start:end]
    assert max(len(chunk) for chunk in bucket.read("k")) == 10


def test_an_empty_object_reads_as_nothing(client: Any) -> None:
    Bucket("bkt", client).put("empty", b"")
    assert list(Bucket("bkt", client).read("empty")) == []


def test_an_object_that_changes_under_the_read_is_named(client: Any) -> None:
    bucket = Bucket("bkt", client, part_bytes=10)
    bucket.put("k", b"a" * 95)
    stored = bucket.find("k")
    assert stored is not None
    reading = bucket.read("k", etag=stored.etag)
    next(reading)
    bucket.put("k", b"b" * 95)
    with pytest.raises(InvalidRequestError, match="s3://bkt/k has changed"):
        list(reading)
    with pytest.raises(InvalidRequestError, match="s3://bkt/k has changed"):
        list(bucket.read("k", etag=stored.etag))


def test_a_broken_connection_is_read_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket("bkt", client)
    bucket.put("k", b"whole")
    answers = iter([IncompleteReadError(actual_bytes=1, expected_bytes=5), None])
    get = client.get_object

    class Broken:
        def __init__(self, body: Any) -> None:
            self._body = body

        def read(self) -> bytes:
            error = next(answers)
            if error:
                raise error
            return self._body.read()  # type: ignore[no-any-return]

    monkeypatch.setattr(client, "get_object", lambda **call: (answer := get(**call)) | {"Body": Broken(answer["Body"])})
    assert bucket.get("k") == b"whole"


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7])
def test_writes_any_length(client: Any, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    bucket = Bucket("bkt", client, part_bytes=PART)
    with bucket.writer("k") as writer:
        for at in range(0, size, 1_000_003):
            writer.write(data[at : at + 1_000_003])
    assert writer.size == size
    assert bucket.get("k") == data
    assert client.list_multipart_uploads(Bucket="bkt").get("Uploads", []) == []


def test_an_exception_leaves_the_key_as_it_was_and_no_upload(client: Any) -> None:
    bucket = Bucket("bkt", client, part_bytes=PART)
    bucket.put("k", b"before")

    def fail_in_mid_upload() -> None:
        with bucket.writer("k") as writer:
            writer.write(b"x" * (2 * PART))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_mid_upload()
    assert bucket.get("k") == b"before"
    assert client.list_multipart_uploads(Bucket="bkt").get("Uploads", []) == []


def test_put_if_absent_lets_the_first_win(client: Any) -> None:
    bucket = Bucket("bkt", client)
    assert bucket.put_if_absent("k", b"first")
    assert not bucket.put_if_absent("k", b"second")
    assert bucket.get("k") == b"first"


def test_list_and_find(client: Any) -> None:
    bucket = Bucket("bkt", client)
    for key in ("a/1", "a/2", "b"):
        bucket.put(key, key.encode())
    assert [(one.key, one.size) for one in bucket.list("a/")] == [("a/1", 3), ("a/2", 3)]
    found = bucket.find("b")
    assert found is not None
    assert '"' not in found.etag
    assert bucket.find("a/") is None
    assert bucket.get_json("none") is None
    assert bucket.get_range("a/2", 1, 2) == b"/2"


def test_a_missing_bucket_is_named(client: Any) -> None:
    bucket = Bucket("nowhere", client)
    for action in (lambda: bucket.find("k"), lambda: list(bucket.read("k")), lambda: bucket.put("k", b"")):
        with pytest.raises(InvalidRequestError, match="bucket nowhere does not exist"):
            action()


def test_a_missing_object_is_named(client: Any) -> None:
    with pytest.raises(InvalidRequestError, match="s3://bkt/k does not exist"):
        list(Bucket("bkt", client).read("k"))


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("AccessDenied", AccessDeniedError, "s3:GetObject.*not authorized to perform"),
        ("SlowDown", ThrottledError, "s3:GetObject"),
        ("PermanentRedirect", InvalidRequestError, "another Region"),
        ("InvalidObjectState", AccessDeniedError, "restore it, then redrive"),
    ],
)
def test_refusals_are_explained(
    client: Any, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception], words: str
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "User: x is not authorized to perform: …"}}, "GetObject")

    monkeypatch.setattr(client, "get_object", refuse)
    with pytest.raises(error, match=words):
        list(Bucket("bkt", client).read("k"))


def test_threads_that_read_side_by_side_keep_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest: assembly and pools read by 16 threads, each of which may fetch a segment ahead."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config: Any = connect.__wrapped__().meta.config
    assert config.max_pool_connections >= 2 * 16


def test_an_object_is_created_once_and_the_same_bytes_are_our_own(client: Any) -> None:
    """A try whose answer was lost has written it: the SDK's next one finds the key taken."""
    bucket = Bucket("bkt", client)
    bucket.create("k", b"mine")
    bucket.create("k", b"mine")
    with pytest.raises(WorkInProgressError, match="bkt/k is taken"):
        bucket.create("k", b"another's")
    assert bucket.get("k") == b"mine"


def test_a_name_that_was_withdrawn_is_refused_to_whoever_comes_late(client: Any) -> None:
    bucket = Bucket("bkt", client, part_bytes=PART)
    bucket.empty("small")
    bucket.occupy("large")
    with pytest.raises(WorkInProgressError), bucket.creator("small") as writer:
        writer.write(b"late")
    with pytest.raises(WorkInProgressError), bucket.creator("large") as writer:
        writer.write(b"x" * (PART + 1))
    assert (bucket.get("small"), bucket.get("large")) == (b"", b"")
    bucket.create("full", b"x")
    bucket.occupy("full")
    assert bucket.get("full") == b"x"
    bucket.empty("full")
    assert bucket.get("full") == b""


def test_a_fixed_name_is_replaced_only_as_it_was_seen_before_the_check(client: Any) -> None:
    bucket = Bucket("bkt", client)
    bucket.replace("k", b"1", "text/plain", lambda: None)
    bucket.replace("k", b"2", "text/plain", lambda: None)
    assert bucket.get("k") == b"2"
    checks = []

    def overtaken() -> None:
        checks.append(1)
        if len(checks) == 1:
            bucket.put("k", b"newer")
        else:
            raise WorkInProgressError("another's turn")

    with pytest.raises(WorkInProgressError, match="another's turn"):
        bucket.replace("k", b"3", "text/plain", overtaken)
    assert bucket.get("k") == b"newer"
