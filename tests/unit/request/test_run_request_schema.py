"""docs/run-request.schema.json says of a request what the parser says of it, as far as a schema can."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import fastjsonschema
import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.model_families import APIS
from bulk_inference.core.priorities import PRIORITIES
from bulk_inference.core.run_spec import METHODS
from bulk_inference.core.settings import ModelSettings, Settings, SourceBucket, TenantSettings
from bulk_inference.corpus.formats import FORMATS
from bulk_inference.request.output import ASKS
from bulk_inference.request.parse import MODES, STARTED_BY, parse

SCHEMA: Final = json.loads((Path(__file__).parents[3] / "docs" / "run-request.schema.json").read_text())
FITS: Final = fastjsonschema.compile(SCHEMA)

MODEL, NOVA, TITAN = (
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "amazon.nova-lite-v1:0",
    "amazon.titan-embed-text-v2:0",
)
SETTINGS = Settings(
    name="tickets",
    models={one: ModelSettings(one) for one in (MODEL, NOVA, TITAN)},
    tenants={"default": TenantSettings("arn:role")},
    source_buckets={"lake": SourceBucket()},
)
LEAST: dict[str, Any] = {"source": {"key": "default/corpus/a.jsonl"}, "model": {"id": MODEL}}


def with_(path: str, value: Any) -> dict[str, Any]:
    """The least request with one field set; `a[].b` is a field of the only item of a list."""
    request = copy.deepcopy(LEAST)
    holder: Any = request
    steps = re.findall(r"\w+|\[\]", path)
    for step, following in zip(steps, [*steps[1:], ""], strict=True):
        empty: Any = [] if following == "[]" else {}
        if step == "[]":
            holder.append({} if following else value)
            holder = holder[0]
        elif following:
            holder = holder.setdefault(step, empty)
        else:
            holder[step] = value
    return request


def parser_says(request: dict[str, Any]) -> str | None:
    """The problems, or None."""
    try:
        parse("run-1", request, SETTINGS, "in")
    except InvalidRequestError as error:
        return str(error)
    return None


def schema_takes(request: dict[str, Any]) -> bool:
    try:
        FITS(request)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every object whose keys the schema knows: its path and its keys."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    for one in schema.get("allOf", []):
        yield from objects(one, path)
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")
    if schema.get("additionalProperties") is False:
        yield path, set(schema["properties"]) - {STARTED_BY}
    for name, one in schema.get("properties", {}).items():
        yield from objects(one, f"{path}.{name}" if path else name)


OBJECTS: Final = dict(objects(SCHEMA))


@pytest.mark.parametrize("path", sorted(OBJECTS))
def test_schema_and_parser_know_the_same_keys(path: str) -> None:
    """An unknown key makes the parser list those that it knows there."""
    request = with_(f"{path}.zzz".lstrip("."), 1)
    if path.startswith("output.recombine"):
        # Without chunks there is nothing to recombine, and a prompt belongs to reduce.
        request["chunking"] = {"field": "text", "size": 1000}
        request["prompt"] = {"template": "{{chunk}}"}
        request["output"]["recombine"] = {"method": "reduce", **request["output"]["recombine"]}
    found = re.search(
        rf"{re.escape(path.replace('[]', '[0]'))}\.?zzz: unknown key[^;]*; known here: ([\w, ]+)",
        str(parser_says(request)),
    )
    assert found, parser_says(request)
    assert set(found[1].split(", ")) == OBJECTS[path]
    assert not schema_takes(request)


def test_inference_parameters_are_known_to_both() -> None:
    kinds = SCHEMA["definitions"]["prompt"]["properties"]["inference"]["anyOf"]
    for model, kind in ((MODEL, kinds[0]), (TITAN, kinds[1])):
        request = with_("prompt.inference.zzz", 1) | {"model": {"id": model}}
        found = re.search(r"prompt\.inference\.zzz: unknown key; known here: ([\w, ]+)", str(parser_says(request)))
        assert found
        assert set(found[1].split(", ")) <= set(kind["properties"])


GOOD: Final[dict[str, dict[str, Any]]] = {
    "least": LEAST,
    "prefix": {**LEAST, "source": {"prefix": "default/corpus/", "id_field": "n", "sequence_field": "at"}},
    "keys": {**LEAST, "source": {"keys": ["default/corpus/a.txt", "default/corpus/b.txt"], "format": "text"}},
    "glob": {**LEAST, "source": {"glob": "default/corpus/**/*.parquet", "format": "parquet", "carry": ["a", "b"]}},
    "csv": {
        **LEAST,
        "source": {
            "prefix": "default/corpus/",
            "format": "csv",
            "encoding": "cp1252",
            "csv": {"delimiter": ";", "quote": "", "header": ["id", "text"], "quoted_newlines": False},
        },
    },
    "csv-header": {**LEAST, "source": {"key": "default/corpus/a.csv", "csv": {"delimiter": " ", "header": False}}},
    "media": {
        **LEAST,
        "model": {"id": NOVA},
        "prompt": {
            "template": "Compare.",
            "images": [{"uri_field": "photo", "format": "png", "bucket_owner": "123456789012"}],
            "documents": [{"uri_field": "contract", "name": "Contract 1"}],
        },
    },
    "few-shot": {
        **LEAST,
        "prompt": {
            "template": "{{text}}",
            "system": "s",
            "examples": [{"user": "a", "assistant": "b"}],
            "cache": ["system", "examples"],
            "additional": {"top_k": 5},
        },
    },
    "documents": {
        **LEAST,
        "prompt": {"template": "Summarise: {{chunk}}"},
        "chunking": {"field": "text", "by": "tokens", "size": 1000, "overlap": 500},
        "output": {
            "schema": {"type": "object"},
            "ask": "prompt",
            "parquet": True,
            "ordered": False,
            "recombine": {"method": "reduce", "prompt": {"template": "{{parts}}"}, "size": 500, "separator": ""},
        },
    },
    "merged": {
        **LEAST,
        "prompt": {"template": "{{chunk}}"},
        "chunking": {"field": "text", "size": 4_000_000},
        "output": {"recombine": {"method": "merge_json", "keys": ["isbn"]}},
    },
    "other-bucket": {**LEAST, "source": {"bucket": "lake", "key": "a.jsonl"}},
    "started-by": {**LEAST, STARTED_BY: "arn:aws:states:us-east-1:123456789012:execution:p:e"},
    "run": {**LEAST, "run": {"id": "run-1", "scope": "s", "tenant": "default", "mode": "batch", "priority": "low"}},
    "dry": {**LEAST, "run": {"id": "another", "dry_run": True}},
    "prompt": {
        **LEAST,
        "prompt": {
            "template": "{{a}}",
            "system": "s",
            "inference": {"maxTokens": 5.0, "temperature": 0, "topP": 0.5, "stopSequences": ["."]},
        },
    },
    "embedding": {
        **LEAST,
        "model": {"id": TITAN, "api": "invoke_model"},
        "prompt": {"template": "{{a}}", "inference": {"dimensions": 512, "normalize": True}},
    },
    "limits": {
        **LEAST,
        "limits": {
            "max_records": 10,
            "max_tokens": 1e6,
            "max_records_per_shard": 400,
            "max_bytes_per_shard": 10_000,
            "cut_bytes": 65_536,
            "job_concurrency": 1,
            "infer_concurrency": 10_000,
            "items_per_batch": 1000,
            "tolerated_failure_percentage": 0.5,
            "canary_records": 0,
            "job_timeout_hours": 168,
            "max_attempts": 10,
        },
    },
    "prices": {
        **LEAST,
        "prices": {"input_per_million": 0, "output_per_million": 2.5, "batch_factor": 0.5, "currency": "EUR"},
    },
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_requests_are_good_to_both(name: str) -> None:
    assert parser_says(GOOD[name]) is None
    assert schema_takes(GOOD[name])


BAD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no source": ({"model": {"id": MODEL}}, "source: missing"),
    "no model": ({"source": LEAST["source"]}, "model: missing"),
    "no model id": ({**LEAST, "model": {}}, "model.id: missing"),
    "unknown section": ({**LEAST, "promt": {}}, "promt: unknown key (did you mean prompt?)"),
    "two places": ({**LEAST, "source": {"key": "default/a", "prefix": "default/b"}}, "source: needs"),
    "no place": ({**LEAST, "source": {}}, "source: needs"),
    "section of another type": (with_("limits", []), "limits: must be an object"),
    "blank text": (with_("source.key", "  "), "source.key: must be a string that is not empty"),
    "misspelled key": (with_("limits.max_record", 3), "limits.max_record: unknown key (did you mean max_records?)"),
    "camel case": (with_("limits.maxRecords", 3), "limits.maxRecords: unknown key (did you mean max_records?)"),
    "misspelled mode": (with_("run.mode", "bacth"), "run.mode: must be one of auto, batch, sync, not 'bacth' (did you"),
    "dry run in words": (with_("run.dry_run", "yes"), "run.dry_run: must be true or false"),
    "id": (with_("run.id", "a/b"), "run.id: must be a letter or digit"),
    "text for a number": (with_("limits.max_tokens", "9"), "limits.max_tokens: must be a whole number from 1"),
    "half a number": (with_("limits.max_records", 1.5), "limits.max_records: must be a whole number"),
    "true for a number": (with_("limits.max_attempts", True), "limits.max_attempts: must be a whole number"),
    "below": (with_("limits.job_timeout_hours", 23), "limits.job_timeout_hours: must be a whole number from 24 to 168"),
    "above": (with_("limits.canary_records", 51), "limits.canary_records: must be a whole number from 0 to 50"),
    "percentage": (with_("limits.tolerated_failure_percentage", 101), "must be a number from 0 to 100"),
    "half prices": (with_("prices.input_per_million", 1), "prices.output_per_million: missing"),
    "negative price": (
        with_("prices", {"input_per_million": -1, "output_per_million": 1}),
        "prices.input_per_million: must be a number from 0",
    ),
    "factor": (
        with_("prices", {"input_per_million": 1, "output_per_million": 1, "batch_factor": 2}),
        "prices.batch_factor: must be a number from 0 to 1",
    ),
    "currency": (
        with_("prices", {"input_per_million": 1, "output_per_million": 1, "currency": "$"}),
        "prices.currency: must be three capital letters",
    ),
    "temperature": (
        with_("prompt", {"template": "{{a}}", "inference": {"temperature": 2}}),
        "prompt.inference.temperature: must be a number from 0 to 1",
    ),
    "no keys": (with_("source", {"keys": []}), "source.keys: must hold 1 to 1000"),
    "a key twice": (with_("source", {"keys": ["default/a", "default/a"]}), "source.keys: holds 'default/a' twice"),
    "format": (with_("source.format", "xml"), "source.format: must be one of"),
    "long delimiter": (with_("source.csv.delimiter", "||"), "source.csv.delimiter: must be one character"),
    "header in words": (with_("source.csv.header", "first"), "source.csv.header: must be true or false"),
    "half an example": (
        with_("prompt", {"template": "{{a}}", "examples": [{"user": "a"}]}),
        "prompt.examples[0].assistant: missing",
    ),
    "image nowhere": (
        with_("prompt", {"template": "{{a}}", "images": [{"format": "png"}]}),
        "prompt.images[0]: needs either uri",
    ),
    "cache of nothing known": (
        with_("prompt", {"template": "{{a}}", "cache": ["template"]}),
        "prompt.cache: must be a list of",
    ),
    "chunks of no field": (with_("chunking", {"size": 1000}), "chunking.field: missing"),
    "chunks of no size": (with_("chunking", {"field": "a"}), "chunking.size: missing"),
    "unit": (with_("chunking.by", "words"), "chunking.by: must be one of"),
    "ask": (with_("output.ask", "politely"), "output.ask: must be one of"),
    "schema": (with_("output.schema", "object"), "output.schema"),
    "method": (
        {**LEAST, "prompt": {"template": "{{chunk}}"}, "chunking": {"field": "a", "size": 1000}}
        | {"output": {"recombine": {"method": "merge"}}},
        "output.recombine.method: must be one of",
    ),
    "stop sequences": (
        with_("prompt", {"template": "{{a}}", "inference": {"stopSequences": [""]}}),
        "prompt.inference.stopSequences: must be a list of strings",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_requests_are_bad_to_both(name: str) -> None:
    request, words = BAD[name]
    assert words in str(parser_says(request))
    assert not schema_takes(request)


def test_bounds_are_those_of_the_parser() -> None:
    for name, rule in SCHEMA["properties"]["limits"]["properties"].items():
        for inside, outside in ((rule["minimum"], rule["minimum"] - 1), (rule["maximum"], rule["maximum"] + 1)):
            assert parser_says(with_(f"limits.{name}", inside)) is None
            assert f"limits.{name}: must be" in str(parser_says(with_(f"limits.{name}", outside)))


def test_every_field_is_described() -> None:
    def bare(schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, one in schema.get("properties", {}).items():
            if "description" not in one and "$ref" not in one and path not in ("inference", "examples"):
                yield f"{path}.{name}"
            yield from bare(one, name)

    assert list(bare(SCHEMA, "")) == []


def choices(path: str) -> list[str]:
    """What the schema lists for a field."""
    place: Any = SCHEMA
    for step in path.split("."):
        place = place["properties"][step]
    listed: list[str] = place["enum"]
    return listed


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("run.mode", MODES),
        ("run.priority", PRIORITIES),
        ("source.format", FORMATS),
        ("model.api", APIS),
        ("output.ask", ASKS),
        ("output.recombine.method", METHODS),
    ],
)
def test_the_schema_lists_what_the_code_knows(path: str, known: tuple[str, ...]) -> None:
    """A format, mode or API that is added to the code alone could not be asked for by whoever trusts the schema."""
    assert choices(path) == list(known)
