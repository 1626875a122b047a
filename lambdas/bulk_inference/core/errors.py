"""Exceptions that the state machines know by name.

A Python exception's class name is the error name that Step Functions matches in Retry and Catch
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html). `make lint` checks that every
name of ours in `asl/` is a class here.
"""

from typing import Final


class BulkInferenceError(Exception):
    """Base of every error of ours."""


BAD_DATA: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Python raises over data that is not as it should be. Where one record is parsed, checked, rendered or judged,
each of them is that record's failure and nobody else's; what AWS's SDK raises is none of them."""


class InvalidRequestError(BulkInferenceError):
    """The run request or its corpus cannot be used as it is: what is wrong, where, and what to do. Not retried."""


class AccessDeniedError(BulkInferenceError):
    """Something outside the run keeps its functions from an object: a right is missing, or the object is archived.
    Neither retried nor caught by the state machines, so that a redrive goes on from there once it is mended."""


class CanaryFailedError(BulkInferenceError):
    """Every canary record failed on demand: no job is submitted. Carries the model's message. Not retried."""


class ThrottledError(BulkInferenceError):
    """AWS throttled a call beyond the SDK's own retries. Retried by the state machine with jittered backoff."""


class WorkInProgressError(BulkInferenceError):
    """Another invocation holds the same unit of work. Retried by the state machine."""


class JobSlotsFullError(BulkInferenceError):
    """The account has no free batch-job slot for this model. Retried by the state machine until one is free."""


class JobRejectedError(BulkInferenceError):
    """Bedrock refused to create the job (its message is in the text). The shard is not resubmitted unchanged."""


class JobNotTerminalError(BulkInferenceError):
    """The job still runs although its task was answered or timed out. Retried by the state machine."""


class ShardFailedError(BulkInferenceError):
    """The shard's job failed as a whole; its records count as failed. Counts against the Map's tolerance."""


class UnitFailedError(BulkInferenceError):
    """A unit of work passed the error tolerance, after landing what it had. Counts against the Map's tolerance."""


class IncompleteRunError(BulkInferenceError):
    """All is accounted for, but records are pending: their units of work died. A redrive of the run has them done."""


class ConservationError(BulkInferenceError):
    """The sums of a run do not hold; the text names the shard or unit and the numbers."""
