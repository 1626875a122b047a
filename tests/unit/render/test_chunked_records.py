"""Rows of a run that chunks: several records each, or one refusal; and what a request may say of chunks."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.model_families import family_named
from bulk_inference.core.run_spec import Chunking, Prompt
from bulk_inference.core.settings import ModelSettings, Settings, TenantSettings
from bulk_inference.corpus.rows import Row
from bulk_inference.render.chunking import chunks
from bulk_inference.render.records import DocumentPart, Record, RecordReader, RejectedLineError
from bulk_inference.render.rendering import Renderer
from bulk_inference.request.parse import RunRequest, parse
from tests.worlds.inference_world import REACH

MODEL, TITAN = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.titan-embed-text-v2:0"
HOW = Chunking("text", "characters", 60, 10)
TEXT = "One sentence is here. Another one follows it. A third one ends the paragraph.\n\nA fourth stands alone."


def reader(template: str = "{{chunk_number}}/{{chunk_count}} {{chunk}}", **changes: Any) -> RecordReader:
    renderer = Renderer(Prompt(template), family_named("claude-haiku-4-5"), "converse")
    given_: dict[str, Any] = {"id_field": None, "sequence_field": None, "max_line_bytes": 10_000, "chunking": HOW}
    given_["reach"] = REACH
    return RecordReader(renderer=renderer, **{**given_, **changes})


def line(fields: Any) -> Row:
    data = json.dumps(fields).encode()
    return Row(1, 0, len(data), data)


def prompt(record: Record) -> str:
    text: str = json.loads(record.line)["modelInput"]["messages"][0]["content"][0]["text"]
    return text


def test_a_row_becomes_a_record_per_chunk() -> None:
    records = reader(sequence_field="n", carry=["kind"]).read_row(
        line({"id": "a/b", "text": TEXT, "n": 7, "kind": "x"})
    )
    cut = [TEXT[one.start : one.end] for one in chunks(TEXT, HOW)]
    assert [prompt(one) for one in records] == [f"{n}/{len(cut)} {piece}" for n, piece in enumerate(cut, 1)]
    assert [one.document for one in records] == [DocumentPart("a/b", n, len(cut)) for n in range(1, len(cut) + 1)]
    assert all(names.parse_chunk(one.record_id) and one.original_id is None for one in records)
    assert len({one.record_id for one in records}) == len(records) > 1
    assert {(one.sequence, one.carry) for one in records} == {(7, '{"kind":"x"}')}


def test_a_short_document_is_one_record() -> None:
    (one,) = reader().read_row(line({"id": "a", "text": "short"}))
    assert (prompt(one), one.document) == ("1/1 short", DocumentPart("a", 1, 1))


def test_rows_of_other_formats_are_chunked_too() -> None:
    row = Row(1, 0, 10, fields={"text": TEXT, "title": "T"}, kind="row")
    first, *_ = reader("{{title}}: {{chunk}}").read_row(row)
    assert prompt(first).startswith("T: One sentence")
    assert first.document is not None
    assert re.fullmatch("line-[0-9a-f]{40}", first.document.id)


def test_the_same_row_makes_the_same_records() -> None:
    row = line({"id": "a", "text": TEXT})
    assert reader().read_row(row) == reader().read_row(row)


@pytest.mark.parametrize(
    ("fields", "error_class"),
    [
        ({"id": "a"}, "missing_field"),
        ({"id": "a", "text": None}, "missing_field"),
        ({"id": "a", "text": 5}, "illegal_document"),
        ({"id": "a", "text": ["x"]}, "illegal_document"),
        ({"id": "a", "text": " \n\n "}, "empty_prompt"),
        ({"id": "a", "text": "x" * 700_000}, "too_many_chunks"),
        ({"recordId": "a", "modelInput": {"x": 1}}, "missing_field"),
        ({"id": [], "text": "x"}, "illegal_record_id"),
    ],
)
def test_a_row_that_cannot_be_chunked_is_refused_by_name(fields: dict[str, Any], error_class: str) -> None:
    with pytest.raises(RejectedLineError) as refused:
        reader().read_row(line(fields))
    assert refused.value.error_class == error_class


def test_a_row_goes_whole_or_not_at_all() -> None:
    """The template's other field is missing: no chunk of the row goes."""
    with pytest.raises(RejectedLineError, match="title"):
        reader("{{title}} {{chunk}}").read_row(line({"id": "a", "text": TEXT}))


def test_a_long_run_of_white_space_makes_no_record() -> None:
    records = reader("{{chunk}}").read_row(line({"id": "a", "text": f"begin{' ' * 500}end"}))
    assert all(prompt(one).strip() for one in records)
    assert [one.document for one in records] == [DocumentPart("a", n, len(records)) for n in range(1, len(records) + 1)]


def test_nobody_can_give_a_record_the_id_of_a_chunk() -> None:
    (first, *_) = reader().read_row(line({"id": "a", "text": TEXT}))
    impostor = reader("{{text}}", chunking=None).read(json.dumps({"id": first.record_id, "text": "x"}).encode())
    assert impostor.record_id != first.record_id
    assert impostor.original_id == first.record_id


@given(st.text(min_size=1).filter(str.strip), st.integers(20, 90))
def test_every_character_that_is_no_white_space_reaches_a_prompt(text: str, size: int) -> None:
    if any("\ud800" <= one <= "\udfff" for one in text):
        return
    records = reader("{{chunk}}", chunking=Chunking("text", "characters", size)).read_row(
        line({"id": "a", "text": text})
    )
    assert "".join("".join(prompt(one).split()) for one in records) == "".join(text.split())


# Requests.

SETTINGS = Settings(
    name="tickets",
    models={one: ModelSettings(one) for one in (MODEL, TITAN)},
    tenants={"default": TenantSettings("arn:role")},
)
CHUNKING = {"field": "text", "size": 1000}
PROMPT = {"template": "{{chunk}}"}
REDUCE = {"method": "reduce", "prompt": {"template": "{{parts}}"}}


def request(run: str = "run-1", model: str = MODEL, **sections: Any) -> RunRequest:
    body = {"source": {"prefix": "default/corpus/"}, "model": {"id": model}, "chunking": CHUNKING, "prompt": PROMPT}
    return parse(run, {name: one for name, one in (body | sections).items() if one is not None}, SETTINGS, "in")


def test_a_request_that_chunks() -> None:
    asked = request(output={"recombine": REDUCE, "ordered": True})
    assert asked.chunking == Chunking("text", "characters", 1000, 0)
    recombine = asked.output.recombine
    assert recombine is not None
    assert (recombine.method, recombine.size, recombine.separator) == ("reduce", 1000, "\n\n")
    assert recombine.prompt.template == "{{parts}}"
    assert (asked.output.ordered, asked.output.parquet) == (True, False)


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"chunking": {"size": 1000}}, "chunking.field: missing"),
        ({"chunking": {"field": "text"}}, "chunking.size: missing"),
        ({"chunking": {**CHUNKING, "size": 49}}, "chunking.size: must be a whole number from 50"),
        ({"chunking": {**CHUNKING, "overlap": 501}}, "chunking.overlap: must be at most half of chunking.size, 500"),
        ({"chunking": {**CHUNKING, "by": "words"}}, "chunking.by: must be one of characters, tokens"),
        ({"prompt": {"template": "{{text}}"}}, "chunking: needs a prompt.template that names {{chunk}}"),
        ({"prompt": {"template": "{{chunk}} {{text}}"}}, "chunking.field: prompt names {{text}}"),
        ({"output": {"recombine": {}}}, "output.recombine.method: missing"),
        ({"output": {"recombine": {"method": "sum"}}}, "output.recombine.method: must be one of"),
        ({"output": {"recombine": {"method": "concat", "keys": ["id"]}}}, "output.recombine.keys: does not apply"),
        ({"output": {"recombine": {"method": "merge_json", "keys": []}}}, "output.recombine.keys: must name a field"),
        ({"output": {"recombine": {"method": "reduce"}}}, "output.recombine.prompt: missing"),
        (
            {"output": {"recombine": {"method": "reduce", "prompt": {"template": "{{chunk}}"}}}},
            "output.recombine.prompt.template: must name {{parts}}",
        ),
        ({"output": {"recombine": {**REDUCE, "schema": {"type": "objekt"}}}}, "output.recombine.schema"),
        (
            {"output": {"recombine": {"method": "concat"}}, "chunking": None, "prompt": {"template": "{{a}}"}},
            "output.recombine: needs the section chunking",
        ),
        ({"output": {"recombine": {"method": "concat"}}, "model": TITAN}, "output.recombine: an embedding"),
        ({"output": {"recombine": REDUCE}, "run": "x" * 60}, "the run's id may have 59 characters"),
        ({"source": {"key": "default/corpus/a", "reduces": "run-0"}}, "source.reduces: comes with a prefix"),
    ],
)  # fmt: skip
def test_what_a_request_may_not_say(sections: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        request(**sections)
    assert problem in str(refused.value)


def test_only_the_reductions_of_a_run_may_be_read_below_its_own_files() -> None:
    prefix = "default/runs/run-0/reductions/0001/"
    prompt = {"template": "{{parts}}"}
    source = {"prefix": prefix, "reduces": "run-0"}
    assert request(source=source, chunking=None, prompt=prompt).source.reduces == "run-0"
    for other in ({"prefix": prefix}, {**source, "prefix": "default/runs/run-0/plan/"}, {**source, "reduces": "run"}):
        with pytest.raises(InvalidRequestError):
            request(source=other, chunking=None, prompt=prompt)
