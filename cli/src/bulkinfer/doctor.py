"""Whether this caller can do what the tool does, one check a line; nothing is left behind."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from bulkinfer.aws import told
from bulkinfer.client import Client
from bulkinfer.errors import BulkinferError

_CLOCK_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Finding:
    """One check."""

    check: str
    ok: bool
    told: str
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"ok": "ok" if self.ok else "FAILED", "check": self.check, "told": self.told, "what to do": self.hint}


def examine(client: Client) -> Iterator[Finding]:
    """Each check runs whatever became of the others, unless there is no identity or no deployment."""
    first = _checked("identity", lambda: _identity(client))
    yield first
    if not first.ok:
        return
    found = _checked("deployment", lambda: f"{client.deployment.name}, tenant {client.tenant.name}")
    yield found
    if not found.ok:
        return
    yield _checked("clock", lambda: _clock(client))
    yield _checked(
        "list corpora", lambda: _list(client, client.deployment.input_bucket, f"{client.tenant.name}/corpus/")
    )
    yield _checked("write corpora", lambda: _write(client))
    yield _checked(
        "list results", lambda: _list(client, client.deployment.output_bucket, f"{client.tenant.name}/runs/")
    )
    yield _checked("list runs", lambda: _runs(client))
    yield _checked("look at a run", lambda: _describe(client))


def _checked(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except BulkinferError as error:
        return Finding(what, False, str(error), error.hint)


def _identity(client: Client) -> str:
    with told("sts:GetCallerIdentity", "asking who you are"):
        return str(client.aws.client("sts").get_caller_identity()["Arn"])


def _clock(client: Client) -> str:
    with told("sts:GetCallerIdentity", "asking for the time"):
        headers = client.aws.client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
    date = headers.get("date")
    if date is None:
        return "the endpoint tells no time"
    apart = abs(time.time() - parsedate_to_datetime(date).timestamp())
    if apart > _CLOCK_SECONDS:
        raise BulkinferError(
            f"this machine's clock is {apart:.0f} s off AWS's", "set the clock: requests are signed with it"
        )
    return f"{apart:.0f} s apart"


def _list(client: Client, bucket: str, prefix: str) -> str:
    with told("s3:ListBucket", f"listing s3://{bucket}/{prefix}"):
        found = client.aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return f"s3://{bucket}/{prefix}" + ("" if found.get("KeyCount") else " (nothing there yet)")


def _write(client: Client) -> str:
    """By beginning and giving up a multipart upload, which makes no object."""
    s3, bucket, key = (
        client.aws.client("s3"),
        client.deployment.input_bucket,
        f"{client.tenant.name}/corpus/.bulkinfer-doctor",
    )
    with told("s3:PutObject", f"writing to s3://{bucket}/{client.tenant.name}/corpus/"):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
    return f"encrypted with {upload.get('ServerSideEncryption', 'the default')}"


def _runs(client: Client) -> str:
    with told("states:ListExecutions", "listing runs"):
        found = client.aws.client("stepfunctions").list_executions(
            stateMachineArn=client.tenant.state_machine_arn, maxResults=1
        )
    return "there are runs" if found["executions"] else "no run yet"


def _describe(client: Client) -> str:
    """Of a run that there is not: that it is not there is an answer, too."""
    client.attach(f"{client.tenant.run_prefix}bulkinfer-doctor").execution()
    return "allowed"
