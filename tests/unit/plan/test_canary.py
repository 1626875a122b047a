"""The canary: what it lets pass, what it stops."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.errors import CanaryFailedError, ThrottledError
from bulk_inference.core.reach import Reach
from bulk_inference.plan.canary import CanaryResult, OnDemand, Tried, run_canary
from bulk_inference.structured.checker import checker
from tests.worlds.inference_world import REACH, converse

GOOD = ModelOutcome(output={"content": [{"text": "x"}]})
BAD = ModelOutcome(
    error_class="invalid_request", error_code="ValidationException", error_message="temperature and top_p"
)
BUSY = ModelOutcome(error_class="throttled", error_code="ThrottlingException", error_message="slow down")


class Model:
    def __init__(self, *outcomes: ModelOutcome) -> None:
        self._outcomes = list(outcomes)
        self.calls = 0

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> ModelOutcome:
        self.calls += 1
        return self._outcomes.pop(0)


def counted(input_tokens: int, output_tokens: int) -> ModelOutcome:
    return ModelOutcome(output={"usage": {"inputTokens": input_tokens, "outputTokens": output_tokens}})


SAID: list[bytes] = []
"""What was kept of the service's words, the last of all."""


def asking(model: Model) -> OnDemand:
    return OnDemand(model, "m", "converse", REACH, SAID.append, "s3://out/words")


def run(*outcomes: ModelOutcome) -> Tried:
    return run_canary([{}] * len(outcomes), asking(Model(*outcomes)))


def test_success_and_no_record_pass_silently() -> None:
    assert (run(GOOD, GOOD).result.records, run(GOOD, GOOD).result.note) == (2, None)
    assert run() == Tried(CanaryResult(), [])


def test_answers_that_were_cut_are_told() -> None:
    cut = ModelOutcome(output={"content": [{"text": "x"}], "stop_reason": "max_tokens"})
    empty = ModelOutcome(output={"content": [], "stop_reason": "refusal"})
    assert run(*[cut] * 5).result.note == "5 of 5 answers ended at their token limit (raise prompt.inference.maxTokens)"
    assert run(GOOD, empty, ModelOutcome(output={"content": []})).result.note == (
        "1 of 3 answers were refused by the model; 1 of 3 answers hold no text"
    )


def test_one_poison_record_does_not_stop_the_run() -> None:
    assert run(BAD, GOOD).result.note == "1 of 2 records failed on demand (1 × ValidationException)"


def test_tokens_are_those_of_answers_that_say_them() -> None:
    found = run(counted(10, 3), GOOD, counted(20, 5))
    assert found.counted == [0, 2]
    assert (found.result.input_tokens, found.result.output_tokens, found.result.answered) == (30, 8, 2)


def test_all_failed_stops_with_codes_and_the_services_words_are_kept_in_s3() -> None:
    """An exception's text goes into logs, histories and items; the service may quote a prompt."""
    with pytest.raises(CanaryFailedError) as told:
        run(BAD, BUSY, BAD)
    assert "2 × ValidationException, 1 × ThrottlingException" in str(told.value)
    assert "s3://out/words" in str(told.value)
    assert "temperature and top_p" not in str(told.value)
    kept = [json.loads(line)["errorMessage"] for line in SAID[-1].splitlines()]
    assert kept == ["temperature and top_p", "slow down", "temperature and top_p"]


def test_all_throttled_is_tried_again() -> None:
    with pytest.raises(ThrottledError) as told:
        run(BUSY, BUSY)
    assert "slow down" not in str(told.value)


def test_a_throttle_after_a_success_ends_the_canary() -> None:
    model = Model(GOOD, BUSY, GOOD)
    run_canary([{}] * 3, asking(model))
    assert model.calls == 2


# Answers that do not fit the run's schema.

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def judged(*texts: str | ModelOutcome) -> Tried:
    outcomes = [one if isinstance(one, ModelOutcome) else ModelOutcome(output=converse(one)) for one in texts]
    return run_canary([{}] * len(outcomes), asking(Model(*outcomes)), checker(SCHEMA))


def test_no_answer_that_fits_the_schema_stops_the_run_and_names_path_and_rule() -> None:
    with pytest.raises(CanaryFailedError) as told:
        judged('{"a": "SECRET"}', '{"a": "SECRET"}', "SECRET prose")
    assert "none of the 3 answers to canary records from m fits output.schema" in str(told.value)
    assert "2 × SchemaMismatch: $.a: breaks the schema's rule type; 1 × NotJson" in str(told.value)
    assert "SECRET" not in str(told.value)


def test_refused_records_beside_answers_that_do_not_fit_change_nothing() -> None:
    with pytest.raises(CanaryFailedError, match=r"output\.schema"):
        judged(BAD, "{}", "{}")


def test_one_answer_that_fits_is_enough_and_the_others_are_noted() -> None:
    found = judged("{}", '{"a": 1}').result
    assert (
        found.note
        == "1 of 2 answers do not fit output.schema (1 × SchemaMismatch: $: breaks the schema's rule required)"
    )
    assert (found.failed, found.answered) == (0, 2)


def test_a_single_answer_condemns_no_schema() -> None:
    """Of a run of one record, or a reduction, whose canary is one: the failure lane asks again."""
    assert "1 of 1 answers" in str(judged("{}").result.note)


def test_without_a_schema_any_answer_will_do() -> None:
    assert run(ModelOutcome(output=converse("prose")), ModelOutcome(output=converse("prose"))).result.note is None
