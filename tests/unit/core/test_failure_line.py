"""Failures: classes, lines, and messages that say nothing of the text."""

import json

import pytest

from bulk_inference.core.failure_line import CLASSES, Failure, class_of_line, class_of_outcome, retryable
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.result_line import parse
from tests.cases import CASES


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("400", "bad parameter", "validation"),
        ("400", "Input is too long for requested model.", "too_large"),
        ("429", "slow down", "throttle"),
        ("408", "", "model"),
        ("424", "", "model"),
        ("500", "", "model"),
        ("503", "", "model"),
        ("418", "", "unknown"),
        ("", "", "unknown"),
        ("InternalServerException", "", "unknown"),
        ("429", "Too many tokens, please wait before trying again.", "throttle"),
        ("503", "Too many tokens in flight", "model"),
        ("500", "the context window could not be allocated", "model"),
        ("413", "", "too_large"),
        ("400", "too many input tokens", "too_large"),
        ("ThrottlingException", "Too many tokens per day", "throttle"),
        ("", "Too many tokens", "unknown"),
    ],
)
def test_classes_of_error_lines(code: str, message: str, expected: str) -> None:
    assert class_of_line(code, message) == expected


@pytest.mark.parametrize(
    ("error_class", "expected"),
    [
        ("throttled", "throttle"),
        ("model_timeout", "model"),
        ("model_error", "model"),
        ("unavailable", "model"),
        ("invalid_request", "validation"),
        ("something new", "unknown"),
    ],
)
def test_classes_of_refusals_on_demand(error_class: str, expected: str) -> None:
    assert class_of_outcome(error_class, "") == expected
    words = class_of_outcome(error_class, "Too many tokens, please wait before trying again.")
    assert words == ("too_large" if expected == "validation" else expected), "words only refine a refusal"


def test_a_throttle_in_words_is_a_throttle() -> None:
    line = parse((CASES / "throttle-words" / "output-line.jsonl").read_bytes())
    assert line is not None
    assert retryable(class_of_line(line.error_code, line.error_message))
    assert class_of_line(line.error_code, line.error_message) == "throttle"


def test_the_line_has_the_words_and_the_message_has_not() -> None:
    pointer = Pointer("id-1", "p", 3, 5, original_id="T 1", source={"key": "k", "offset": 1, "length": 2})
    failure = Failure(pointer, "validation", "400", "SECRET prompt quoted", 2)
    assert json.loads(failure.line("corpus")) == {
        "recordId": "T 1",
        "errorClass": "validation",
        "errorCode": "400",
        "errorMessage": "SECRET prompt quoted",
        "attempt": 2,
        "source": {"bucket": "corpus", "key": "k", "offset": 1, "length": 2},
        "shard": "p",
        "sentAs": "id-1",
    }
    message = failure.message("r", "t", "00001-a2", "00001", pointer.to_json())
    assert "SECRET" not in json.dumps(message)
    assert message["recordId"] == "id-1"
    assert message["item"]["offset"] == 3


def test_what_is_tried_again_is_said_once_for_every_class() -> None:
    assert {name for name in CLASSES if retryable(name)} == {"throttle", "model", "schema", "unprocessed", "unknown"}
    assert {name for name in CLASSES if not retryable(name)} == {"validation", "too_large", "duplicate"}
    assert retryable("a class of a newer bundle")
