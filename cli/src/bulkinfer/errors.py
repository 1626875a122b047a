"""Errors: each says what is wrong, where, and the command that mends it, and has the exit status that a shell sees."""

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
NOT_SUCCEEDED: Final = 3
WITH_FAILURES: Final = 4
TIMEOUT: Final = 5
PERMISSION: Final = 6
DETACHED: Final = 130


class BulkinferError(Exception):
    """What went wrong; `hint` is what to do about it."""

    status = ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(BulkinferError):
    """The command or request is wrong; nothing was started."""

    status = USAGE


class PermissionMissingError(BulkinferError):
    """AWS refused a call; `hint` names the output policy that grants it."""

    status = PERMISSION


class RunFailedError(BulkinferError):
    """The run ended, and did not succeed."""

    status = NOT_SUCCEEDED


class WaitTimeoutError(BulkinferError):
    """The run goes on; the waiting ended."""

    status = TIMEOUT
