"""Errors of executions and of the API, and how Retry and Catch match them.

Sources: https://states-language.net/#errors and
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html.
"""

from __future__ import annotations

from collections.abc import Sequence

PAYLOAD_LIMIT = 262_144
"""Bytes of a task's, state's or execution's input or output, in UTF-8
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

# Errors that a wildcard does not cover.
_NOT_BY_WILDCARD = frozenset({"States.DataLimitExceeded", "States.Runtime"})


class StateError(Exception):
    """A state failed with an error name and a cause."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause

    def output(self) -> dict[str, str]:
        """The error output that a Catch hands on."""
        return {"Error": self.error, "Cause": self.cause}


class PathError(Exception):
    """A path names nothing in the data; the engine turns it into a StateError that names the state."""


class ApiError(Exception):
    """An API call is refused: the error code of the service model and its message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def matches(names: Sequence[str], error: str) -> bool:
    """Whether an ErrorEquals list covers an error name.

    States.Runtime is never retried or caught, not even by name; States.DataLimitExceeded only by its name;
    States.TaskFailed stands for everything but a timeout.
    """
    if error == "States.Runtime":
        return False
    if error in names:
        return True
    if error in _NOT_BY_WILDCARD:
        return False
    if "States.ALL" in names:
        return True
    return "States.TaskFailed" in names and error != "States.Timeout"


def check_size(text: str, what: str) -> None:
    """Raise States.DataLimitExceeded when a payload is over the limit. `what` begins the sentence."""
    # Most payloads are far below the limit: count bytes only when characters could exceed it.
    if len(text) * 4 > PAYLOAD_LIMIT and len(text.encode()) > PAYLOAD_LIMIT:
        raise StateError(
            "States.DataLimitExceeded", f"{what} with a size exceeding the maximum number of bytes service limit."
        )
