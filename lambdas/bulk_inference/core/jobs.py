"""Batch jobs of Bedrock: their names and tokens, what CreateModelInvocationJob accepts, their statuses.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelInvocationJob.html. The SDK checks lengths but no
patterns, so the patterns stand here: a job that Bedrock would refuse is refused before its token is stored.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Final

from bulk_inference.core.errors import JobRejectedError
from bulk_inference.core.names import Attempt
from bulk_inference.core.settings import JobVpc

TERMINAL: Final = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
IN_FLIGHT: Final = ("Submitted", "Validating", "Scheduled", "InProgress", "Stopping")
"""Every status that is not terminal. AWS does not say which of them hold a slot, so all do."""

_NAME: Final = re.compile(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9+\-.]){0,63}")
_TOKEN: Final = re.compile(r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}")
_URI: Final = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+(?:/[-!_*'().a-z0-9A-Z]+)*)?/?")
_TAG: Final = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")

_NAME_LIMIT: Final = 63
_TOKEN_LIMIT: Final = 256
_URI_LIMIT: Final = 1024
_HOURS: Final = (24, 168)


class JobNameTakenError(Exception):
    """A job of this name exists. Names are never free again: there is no call that deletes a job."""


@dataclass(frozen=True)
class JobRequest:
    """One call of CreateModelInvocationJob."""

    name: str
    token: str
    role_arn: str
    model_id: str
    invocation_type: str
    """`Converse` or `InvokeModel`."""
    input_uri: str
    output_uri: str
    timeout_hours: int
    kms_key_arn: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    vpc: JobVpc | None = None


@dataclass(frozen=True)
class Job:
    """A job as Get and List tell it. Counters are None where AWS leaves them out."""

    arn: str
    name: str
    status: str
    model_id: str
    message: str = ""
    processed: int | None = None
    ended_at: float | None = None
    """Epoch seconds."""

    @property
    def id(self) -> str:
        """Last segment of the ARN: the folder below the output URI that Bedrock writes to."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


def identity(run: str, shard: str, attempt: int, model_id: str, input_digest: str) -> str:
    """SHA-256 (hex) of what makes an attempt what it is; legal as clientRequestToken.

    Bedrock ignores a repeated token, so that the same attempt starts nothing twice, and another attempt, model or input
    must have another one.
    """
    return hashlib.sha256(json.dumps([run, shard, attempt, model_id, input_digest]).encode()).hexdigest()


def job_name(name: str, run: str, shard: str, attempt: int, token: str) -> str:
    """`{name}-{run}-{shard}-a{attempt}-{10 hex digits of the token}`, so that a job that is seen in the console leads
    back to its run; of a long run's id its beginning. At most 63 characters for a name of at most 24."""
    end = f"{Attempt(shard, attempt).name}-{token[:10]}"
    room = _NAME_LIMIT - len(name) - len(end) - 2
    middle = run.replace("_", "-")[:room].strip("-")
    return f"{name}-{middle}-{end}" if middle else f"{name}-{end}"


def check(request: JobRequest) -> None:
    """Raises JobRejectedError naming the member and the rule that Bedrock would refuse it by."""
    rules = (
        ("jobName", request.name, _NAME, _NAME_LIMIT),
        ("clientRequestToken", request.token, _TOKEN, _TOKEN_LIMIT),
        ("inputDataConfig.s3Uri", request.input_uri, _URI, _URI_LIMIT),
        ("outputDataConfig.s3Uri", request.output_uri, _URI, _URI_LIMIT),
        *((f"tags.{key}", value, _TAG, 256) for key, value in request.tags.items()),
    )
    for member, value, pattern, limit in rules:
        if len(value) > limit or not pattern.fullmatch(value):
            raise JobRejectedError(f"{member} {value!r} must match {pattern.pattern} in at most {limit} characters")
    least, most = _HOURS
    if not least <= request.timeout_hours <= most:
        raise JobRejectedError(f"timeoutDurationInHours {request.timeout_hours} must lie between {least} and {most}")
