"""AWS Step Functions: answers to task tokens.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bulk_inference.errors import ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_NOBODY_WAITS: Final = frozenset({"TaskTimedOut", "TaskDoesNotExist"})
"""TaskTimedOut also says that the task was answered before."""


@cache
def connect() -> "SFNClient":
    """The process's client: made at the first call, kept for the next invocations."""
    return boto3.client("stepfunctions", config=Config(retries={"mode": "standard", "max_attempts": 8}))


class TaskTokens:
    """Tasks that wait (ports.Tasks)."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        """False if nobody waits on the token any more. Raises ThrottledError."""
        try:
            self._client.send_task_success(taskToken=token, output=json.dumps(output))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _NOBODY_WAITS:
                return False
            if code == "ThrottlingException":
                raise ThrottledError(f"Step Functions throttled SendTaskSuccess: {error}") from error
            raise
        return True
