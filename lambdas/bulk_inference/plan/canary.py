"""The canary: a few records inferred on demand before anything is submitted, with the very body that jobs will get.

A batch job whose every record fails ends as Completed, hours later; what breaks all records breaks these few as well.
So does a schema that no answer fits: every record would be paid for, and fail twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.answer_text import GUARDRAIL, MAX_TOKENS, NO_TEXT, REFUSAL
from bulk_inference.core.errors import CanaryFailedError, ThrottledError
from bulk_inference.core.json_document import Document
from bulk_inference.core.ports import Model, Outcome
from bulk_inference.core.reach import Reach
from bulk_inference.core.result_line import OTHER, Usage, encode, extract, text_of, usage_of
from bulk_inference.plan.asking import is_refusal
from bulk_inference.structured.answers import Judgement, judge
from bulk_inference.structured.checker import Checker

_MESSAGE_CHARACTERS: Final = 600

_UNFIT_ENOUGH: Final = 2
"""Answers that condemn a schema. A single one may be that one record's, and the failure lane may get a better one."""


@dataclass(frozen=True)
class OnDemand:
    """The run's model, for bodies of its tenant."""

    port: Model
    invoke_id: str
    api: str
    reach: Reach
    write: Callable[[bytes], None]
    """Keeps what the service said of the canary's records, which may quote them: exceptions carry codes alone."""
    where: str
    """The place of that, for people."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """One line for each record: `{"errorClass", "errorCode", "errorMessage", "text"}`."""
        self.write(
            b"".join(
                encode(
                    {
                        "errorClass": one.error_class,
                        "errorCode": one.error_code,
                        "errorMessage": one.error_message,
                        "text": text_of(one.output),
                    }
                )
                for one in outcomes
            )
        )

    def infer(self, body: Mapping[str, Any]) -> Outcome:
        return self.port.infer(self.invoke_id, self.api, body, self.reach)


@dataclass(frozen=True)
class CanaryResult(Document):
    """What the model made of the canary."""

    records: int = 0
    failed: int = 0
    input_tokens: int = 0
    """As the answers say; the canary is paid like any other call."""
    output_tokens: int = 0
    answered: int = 0
    """Answers that say how many tokens they took."""
    note: str | None = None
    """What should be known of it; None if all went well."""


@dataclass(frozen=True)
class Tried:
    """The result, and which of the bodies gave an answer with its tokens."""

    result: CanaryResult
    counted: Sequence[int] = ()


class SchemaRefusedError(Exception):
    """The service takes no schema for its answers."""


_BLAMES_RECORD: Final = "invalid_request"
"""Error class that a record may have brought about by itself: its length, its content."""


def run_canary(
    bodies: Sequence[Mapping[str, Any]], model: OnDemand, checker: Checker | None = None, wanted: int | None = None
) -> Tried:
    """Tries `wanted` of the bodies (None: all), and more of them while each has been refused for what it may have
    brought about by itself. Stops at the first throttle after a success: the point is made. `checker`: of the run's
    schema, if it has one.

    Raises SchemaRefusedError if the service says of the first record that it takes no schema; CanaryFailedError if
    every record failed and trying again would not help, or if no answer of several fits the schema; ThrottledError if
    every record failed for a reason that may pass.
    """
    invoke_id = model.invoke_id
    outcomes = _tried(bodies, model.infer, wanted)
    failed = [outcome for outcome in outcomes if outcome.output is None]
    if failed and len(failed) == len(outcomes):
        model.tell(outcomes)
        _all_failed(failed, invoke_id, model.where)
    usages = [extract(outcome.output)[1] for outcome in outcomes]
    counted = [number for number, usage in enumerate(usages) if usage.input_tokens]
    answers = [outcome.output for outcome in outcomes if outcome.output is not None]
    verdicts = [] if checker is None else [judge(answer, checker) for answer in answers]
    unfit = [verdict for verdict in verdicts if verdict.code is not None]
    if unfit or failed:
        model.tell(outcomes)
    if len(unfit) == len(answers) >= _UNFIT_ENOUGH:
        raise CanaryFailedError(
            f"none of the {len(answers)} answers to canary records from {invoke_id} fits output.schema, so that no job "
            f"was submitted: {_rules(unfit)}"
        )
    notes = [f"{len(failed)} of {len(outcomes)} records failed on demand ({_codes(failed)})"] if failed else []
    notes += _ends(answers)
    if unfit:
        notes.append(f"{len(unfit)} of {len(answers)} answers do not fit output.schema ({_rules(unfit)})")
    return Tried(
        CanaryResult(
            records=len(outcomes),
            failed=len(failed),
            input_tokens=sum(usage.input_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            answered=len(counted),
            note="; ".join(notes) or None,
        ),
        counted,
    )


def _tried(
    bodies: Sequence[Mapping[str, Any]], infer: Callable[[Mapping[str, Any]], Outcome], wanted: int | None
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for number, body in enumerate(bodies):
        if wanted is not None and number >= wanted and not all(_blames_record(one) for one in outcomes):
            break
        outcomes.append(infer(body))
        if len(outcomes) == 1 and outcomes[0].output is None and is_refusal(outcomes[0].error_message):
            # It is the account that refuses: the other records would hear the same.
            raise SchemaRefusedError((outcomes[0].error_message or "")[:_MESSAGE_CHARACTERS])
        if outcomes[-1].retryable and any(outcome.output is not None for outcome in outcomes):
            break
    return outcomes


def _blames_record(outcome: Outcome) -> bool:
    return outcome.output is None and outcome.error_class == _BLAMES_RECORD


def _all_failed(failed: Sequence[Outcome], invoke_id: str, where: str) -> None:
    codes = _codes(failed)
    if all(outcome.retryable for outcome in failed):
        raise ThrottledError(f"canary: {invoke_id} answered none of {len(failed)} records for now ({codes})")
    raise CanaryFailedError(
        f"all {len(failed)} canary records failed on demand with {invoke_id} ({codes}), so that no job was submitted. "
        f"What the service says is in {where}"
    )


def _ends(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many answers were cut, refused, filtered or without text."""
    told = sum((usage_of(answer) for answer in answers), Usage()).ends
    return [f"{number} of {len(answers)} answers {_END_WORDS[end]}" for end, number in told.items()]


_END_WORDS: Final = {
    MAX_TOKENS: "ended at their token limit (raise prompt.inference.maxTokens)",
    REFUSAL: "were refused by the model",
    GUARDRAIL: "were stopped by a guardrail or filter",
    NO_TEXT: "hold no text",
    OTHER: "ended by another stop reason than is known",
}


def _codes(failed: Sequence[Outcome]) -> str:
    return ", ".join(f"{count} × {code}" for code, count in Counter(outcome.error_code for outcome in failed).items())


def _rules(unfit: Sequence[Judgement]) -> str:
    """What is broken, the commonest first: path and rule, never a word of an answer."""
    kinds = Counter(f"{verdict.code}: {verdict.message}" for verdict in unfit).most_common()
    return "; ".join(f"{count} × {kind}" for kind, count in kinds)[:_MESSAGE_CHARACTERS]
