"""Section `output` of a request: what the results must look like, and in which other forms they are wanted."""

from typing import Any

from bulk_inference.core.model_families import CONVERSE, UNKNOWN, Family
from bulk_inference.core.run_spec import Chunking, Output
from bulk_inference.render.media import MediaPlaces
from bulk_inference.request.fields import Fields
from bulk_inference.request.prompt import parse_prompt
from bulk_inference.request.recombine import parse_recombine
from bulk_inference.structured.admission import problems
from bulk_inference.structured.native import native

_KEYS = ("schema", "ask", "on_truncated", "recombine", "parquet", "ordered")

ASKS = ("auto", "native", "prompt")
ON_TRUNCATED = ("land", "fail")


def parse_output(
    request: Fields, run: str, family: Family, api: str, places: MediaPlaces, chunking: Chunking | None
) -> Output:
    given = request.section("output", _KEYS)
    ask = given.choice("ask", ASKS) or "auto"
    schema = _schema(given, family)
    if "ask" in given and "schema" not in given:
        given.problem("ask", "says how to ask for output.schema, and there is none")
    if ask == "native" and schema is not None:
        _native(given, schema, family, api)
    if family.embeds and "recombine" in given:
        given.problem("recombine", "an embedding is no answer that could be put together with others")
    return Output(
        schema=schema,
        ask=ask,
        on_truncated=given.choice("on_truncated", ON_TRUNCATED) or "land",
        recombine=parse_recombine(
            given,
            run,
            chunking,
            lambda part: parse_prompt(part, family, api, places),
            lambda part: _schema(part, family),
        ),
        parquet=given.flag("parquet") or False,
        ordered=given.flag("ordered") or False,
    )


def _schema(given: Fields, family: Family) -> dict[str, Any] | None:
    schema = given.given.get("schema")
    if "schema" not in given:
        return None
    if family.embeds:
        given.problem("schema", "an embedding is no answer that a schema could describe")
        return None
    found = problems(schema)
    for problem in found:
        place, _, rule = problem.partition(": ")
        given.problem(f"schema{place}", rule)
    return None if found or not isinstance(schema, dict) else schema


def _native(given: Fields, schema: dict[str, Any], family: Family, api: str) -> None:
    # Converse may take a schema for models of which nothing is known here; a native body has no place for one.
    if not family.structured and not (api == CONVERSE and (family is UNKNOWN or family.body is None)):
        given.problem("ask", "this model takes no schema natively: leave it out, or say prompt")
    elif native(schema) is None:
        given.problem(
            "ask",
            "this schema cannot be asked for natively (an object at the root, every object with properties and none "
            "beyond them, no recursion): leave it out, or say prompt",
        )
