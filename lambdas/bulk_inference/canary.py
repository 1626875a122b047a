"""The canary: a few records inferred on demand before anything is submitted, with the very body that jobs will get.

A batch job whose every record fails ends as Completed, hours later; what breaks all records breaks these few as well.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from bulk_inference.errors import CanaryFailedError, ThrottledError

_MESSAGE_CHARACTERS: Final = 600


class Outcome(Protocol):
    @property
    def output(self) -> dict[str, Any] | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def error_message(self) -> str | None: ...
    @property
    def retryable(self) -> bool: ...


class Model(Protocol):
    def infer(self, model_id: str, api: str, body: Mapping[str, Any]) -> Outcome: ...


def run_canary(bodies: Sequence[Mapping[str, Any]], model: Model, invoke_id: str, api: str) -> str | None:
    """A sentence for the plan if some records failed; None if all went well, or there was none.

    Stops at the first throttle after a success: the point is made. Raises CanaryFailedError if every record failed and
    trying again would not help; ThrottledError if every record failed for a reason that may pass.
    """
    outcomes: list[Outcome] = []
    for body in bodies:
        outcomes.append(model.infer(invoke_id, api, body))
        if outcomes[-1].retryable and any(outcome.output is not None for outcome in outcomes):
            break
    failed = [outcome for outcome in outcomes if outcome.output is None]
    if not failed:
        return None
    codes = ", ".join(f"{count} × {code}" for code, count in Counter(outcome.error_code for outcome in failed).items())
    if len(failed) < len(outcomes):
        return f"canary: {len(failed)} of {len(outcomes)} records failed on demand ({codes})"
    words = (failed[-1].error_message or "")[:_MESSAGE_CHARACTERS]
    if all(outcome.retryable for outcome in failed):
        raise ThrottledError(f"canary: {invoke_id} answered none of {len(failed)} records for now ({codes}): {words}")
    lasting = next(outcome for outcome in failed if not outcome.retryable)
    raise CanaryFailedError(
        f"all {len(failed)} canary records failed on demand with {invoke_id} ({codes}), so that no job was submitted. "
        f"The service says: {(lasting.error_message or '')[:_MESSAGE_CHARACTERS]}"
    )
