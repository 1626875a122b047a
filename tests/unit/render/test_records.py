"""The record contract: what a corpus line becomes, and by which name it is refused."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.model_families import family_named
from bulk_inference.core.run_spec import Prompt
from bulk_inference.render import records
from bulk_inference.render.records import MAX_RECORD_ID_BYTES, Record, RecordReader, RejectedLineError
from bulk_inference.render.rendering import Renderer
from tests.worlds.inference_world import REACH

SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
BODY = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def reader(**changes: Any) -> RecordReader:
    renderer = Renderer(Prompt("Say {{text}}"), family_named("claude-haiku-4-5"), "converse")
    given_: dict[str, Any] = {
        "id_field": None,
        "sequence_field": None,
        "renderer": renderer,
        "max_line_bytes": 10_000,
        "reach": REACH,
        "record_form": True,
        **changes,
    }
    return RecordReader(**given_)


def refused(line: bytes, **changes: Any) -> RejectedLineError:
    with pytest.raises(RejectedLineError) as caught:
        reader(**changes).read(line)
    return caught.value


def record(line: dict[str, Any] | bytes, **changes: Any) -> Record:
    return reader(**changes).read(line if isinstance(line, bytes) else json.dumps(line).encode())


class TestUnderATemplate:
    """A row cannot choose its own request: template, system prompt and limits are the run's."""

    def test_model_input_is_a_field_like_any_other(self) -> None:
        found = record({"recordId": "a", "text": "x", "modelInput": BODY}, record_form=None)
        assert json.loads(found.line)["modelInput"]["messages"][0]["content"] == [{"text": "Say x"}]

    def test_a_row_of_nothing_but_model_input_lacks_its_field(self) -> None:
        assert refused(json.dumps({"recordId": "a", "modelInput": BODY}).encode(), record_form=None).error_class == (
            "missing_field"
        )


class TestRecordForm:
    def test_passes_byte_for_byte(self) -> None:
        # Odd spacing, an escape, a number that a rewrite would change: none of it is ours to touch.
        line = b'{ "modelInput":{"a": 1.10, "b":"\\u00e9 \xc3\xa9" ,"c":1E2}, "recordId" : "rec_1" }'
        assert record(line) == Record("rec_1", line)

    def test_needs_no_template(self) -> None:
        assert record({"recordId": "a", "modelInput": BODY}, renderer=None).record_id == "a"

    def test_is_written_anew_without_keys_that_bedrock_does_not_know(self) -> None:
        found = record({"recordId": "a", "modelInput": BODY, "page": 3, "note": "x"}, sequence_field="page")
        assert json.loads(found.line) == {"recordId": "a", "modelInput": BODY}
        assert found.sequence == 3

    def test_without_id_gets_one_from_its_content(self) -> None:
        first, second = record({"modelInput": BODY}), record({"modelInput": {"messages": []}})
        assert json.loads(first.line)["recordId"] == first.record_id != second.record_id
        assert record({"modelInput": BODY}).record_id == first.record_id

    @pytest.mark.parametrize("value", [None, "text", [], {}, 3])
    def test_refuses_a_model_input_that_is_no_request_body(self, value: Any) -> None:
        error = refused(json.dumps({"recordId": "a", "modelInput": value}).encode())
        assert (error.error_class, error.message.partition(":")[0]) == ("illegal_model_input", "modelInput")


class TestPlainObject:
    def test_is_rendered(self) -> None:
        found = record({"id": "a", "text": 'quotes " and \n'})
        assert json.loads(found.line) == {
            "recordId": "a",
            "modelInput": {"messages": [{"role": "user", "content": [{"text": 'Say quotes " and \n'}]}]},
        }

    def test_missing_field_is_named(self) -> None:
        error = refused(b'{"id": "a", "txt": "x"}')
        assert error.error_class == "missing_field"
        assert "'text'" in error.message

    def test_blank_prompt_is_refused(self) -> None:
        blank = Renderer(Prompt("{{text}}"), family_named("claude-haiku-4-5"), "converse")
        assert refused(b'{"id": "a", "text": " \\n"}', renderer=blank).error_class == "empty_prompt"

    def test_without_template_says_what_is_missing(self) -> None:
        error = refused(b'{"id": "a", "text": "x"}', renderer=None)
        assert error.error_class == "missing_field"
        assert "modelInput" in error.message
        assert "prompt.template" in error.message

    def test_too_large_once_rendered(self) -> None:
        assert refused(b'{"text": "%s"}' % (b"x" * 90), max_line_bytes=150).error_class == "too_large"


class TestStrictJson:
    @pytest.mark.parametrize(
        ("line", "error_class"),
        [
            (b"plain text", "not_json"),
            (b'{"text": "cut off', "not_json"),
            (b'{"text": "a"} {"text": "b"}', "not_json"),
            (b'{"text": "tab\tin a string"}', "not_json"),
            (b'{"text": "\xff"}', "undecodable"),
            ('{"text": "x"}'.encode("utf-16"), "undecodable"),
            (b'{"text": NaN}', "not_json"),
            (b'{"text": -Infinity}', "not_json"),
            (b'{"text": 1e999}', "not_json"),
            (b'{"text": ' + b"9" * 5000 + b"}", "not_json"),
            (b'{"text": ' + b"[" * 100_000 + b"}", "too_deep"),
            (b'{"text": "a", "text": "b"}', "duplicate_key"),
            (b'{"text": "a", "deep": [{"k": 1, "k": 1}]}', "duplicate_key"),
            (b'{"text": "\\ud83d alone"}', "lone_surrogate"),
            (b'{"recordId": "a", "modelInput": {"t": "\\uDE00"}}', "lone_surrogate"),
            (b"[1, 2]", "not_object"),
            (b'"text"', "not_object"),
            (b"null", "not_object"),
            (b"true", "not_object"),
        ],
    )
    def test_refuses(self, line: bytes, error_class: str) -> None:
        assert refused(line).error_class == error_class

    def test_takes_a_whole_surrogate_pair(self) -> None:
        assert "\U0001f600" in record(b'{"text": "\\ud83d\\ude00"}').line.decode()

    def test_takes_nulls_and_unknown_keys(self) -> None:
        assert record(b'{"id": null, "recordId": null, "text": "a", "other": null}').record_id.startswith("line-")

    def test_message_never_holds_the_lines_text(self) -> None:
        for line in (b'{"text": "SECRET', b'{"SECRET": "SECRET", "SECRET": 1}', b'"SECRET"', b'{"text": SECRET}'):
            assert "SECRET" not in refused(line).message


class TestRecordId:
    @pytest.mark.parametrize("name", ["recordId", "id"])
    def test_default_fields(self, name: str) -> None:
        assert record({name: "abc", "text": "x"}).record_id == "abc"

    def test_record_id_goes_before_id(self) -> None:
        assert record({"id": "b", "recordId": "a", "text": "x"}).record_id == "a"

    def test_field_of_the_request(self) -> None:
        assert record({"id": "b", "key": "a", "text": "x"}, id_field="key").record_id == "a"

    def test_field_of_the_request_must_be_there(self) -> None:
        for line in (b'{"id": "b", "text": "x"}', b'{"key": null, "text": "x"}'):
            error = refused(line, id_field="key")
            assert error.error_class == "missing_field"
            assert "'key'" in error.message

    def test_whole_number_is_its_decimal_text(self) -> None:
        found = record({"recordId": 42, "modelInput": BODY})
        assert (found.record_id, found.original_id) == ("42", None)
        assert json.loads(found.line)["recordId"] == "42"

    @pytest.mark.parametrize("value", [1.5, True, [], {}, ""])
    def test_other_kinds_are_refused(self, value: Any) -> None:
        error = refused(json.dumps({"id": value, "text": "x"}).encode())
        assert (error.error_class, "'id'" in error.message) == ("illegal_record_id", True)

    def test_too_long_is_refused(self) -> None:
        assert refused(json.dumps({"id": "é" * 513, "text": "x"}).encode()).error_class == "illegal_record_id"
        assert record({"id": "é" * (MAX_RECORD_ID_BYTES // 2), "text": "x"}).original_id

    @pytest.mark.parametrize("value", ["a b", "a/b", "ü", "a" * 65, "a\n", "id-" + "0" * 40, "line-" + "f" * 40])
    def test_unsafe_travels_under_an_alias(self, value: str) -> None:
        found = record({"id": value, "text": "x"})
        assert found.original_id == value
        assert re.fullmatch("id-[0-9a-f]{40}", found.record_id)
        assert found.record_id != value

    @given(st.one_of(st.text(min_size=1, max_size=80), st.integers()))
    def test_any_id_becomes_a_safe_one_that_stays_its_own(self, value: str | int) -> None:
        line = json.dumps({"id": value, "text": "x"}).encode()
        found = record(line)
        assert SAFE.fullmatch(found.record_id)
        assert (found.original_id or found.record_id) == str(value)
        assert record(line) == found

    def test_crlf_and_lf_give_the_same_content_id(self) -> None:
        assert record(b'{"text": "x"}\r').record_id == record(b'{"text": "x"}').record_id


class TestSequence:
    @pytest.mark.parametrize("value", [3, 1.5, "00012", None])
    def test_rides_along(self, value: Any) -> None:
        assert record({"text": "x", "page": value}, sequence_field="page").sequence == value

    @pytest.mark.parametrize("value", [[], {}, True, "x" * 257])
    def test_refused_when_it_cannot_be_sorted_by(self, value: Any) -> None:
        line = json.dumps({"text": "x", "page": value}).encode()
        assert refused(line, sequence_field="page").error_class == "illegal_sequence"


def test_every_error_class_has_its_own_name() -> None:
    names = [value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)]
    assert len(names) == len(set(names)) >= 11


def test_a_rendered_record_is_as_long_as_its_bound_and_no_longer() -> None:
    line = {"id": "a", "text": "x"}
    size = len(record(line).line)
    assert len(record(line, max_line_bytes=size).line) == size
    assert refused(json.dumps(line).encode(), max_line_bytes=size - 1).message.startswith("the rendered record")
