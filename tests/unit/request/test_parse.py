"""The run request: every problem at once, each by field and rule."""

import copy
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Csv
from bulk_inference.core.settings import ModelSettings, Settings, SourceBucket, TenantSettings
from bulk_inference.request.parse import STARTED_BY, RunRequest, digest, parse

HAIKU, TITAN, LLAMA = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.titan-embed-text-v2:0", "meta.llama3-1"
SETTINGS = Settings(
    name="tickets",
    models={HAIKU: ModelSettings(HAIKU), TITAN: ModelSettings(TITAN), LLAMA: ModelSettings(LLAMA)},
    tenants={"default": TenantSettings("arn:role"), "acme": TenantSettings("arn:other")},
    source_buckets={"lake": SourceBucket()},
)
LEAST: dict[str, Any] = {"source": {"key": "default/corpus/a.jsonl"}, "model": {"id": HAIKU}}


def request(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(LEAST) | changes


def parsed(given: dict[str, Any], run: str = "run-1") -> RunRequest:
    return parse(run, given, SETTINGS, "in")


def problems(given: dict[str, Any], run: str = "run-1") -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(given, run)
    return str(caught.value)


def test_the_least_request_gets_defaults() -> None:
    found = parsed(LEAST)
    assert (found.tenant, found.scope, found.mode, found.priority, found.api) == (
        "default",
        "run:run-1",
        "auto",
        "normal",
        "converse",
    )
    assert (found.source.bucket, found.family.key) == ("in", "claude-haiku-4-5")


def test_a_full_request() -> None:
    found = parsed(
        {
            "run": {"scope": "tickets.2026", "tenant": "acme", "mode": "batch", "priority": "low"},
            "source": {"bucket": "lake", "prefix": "any/where/", "id_field": "no", "sequence_field": "at"},
            "model": {"id": HAIKU, "api": "invoke_model"},
            "prompt": {
                "template": "Hi {{name}}",
                "system": "s",
                "inference": {"maxTokens": 1, "temperature": 0, "topP": 1, "stopSequences": ["."]},
            },
            "limits": {"max_records_per_shard": 400, "cut_bytes": 65536.0, "tolerated_failure_percentage": 0.5},
            STARTED_BY: "arn:…",
        }
    )
    assert (found.scope, found.tenant, found.source.bucket, found.api) == (
        "tickets.2026",
        "acme",
        "lake",
        "invoke_model",
    )
    assert found.limits == {
        "max_records_per_shard": 400,
        "cut_bytes": 65536,
        "tolerated_failure_percentage": 0.5,
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sauce": {}}, "sauce: unknown key"),
        ({"run": {"mod": "sync"}}, "run.mod: unknown key"),
        ({"limits": {"canary": 1}}, "limits.canary: unknown key"),
        ({"prompt": {"template": "{{a}}", "inference": {"max_tokens": 1}}}, "prompt.inference.max_tokens: unknown key"),
        ({"run": []}, "run: must be an object"),
        ({"run": {"mode": "fast"}}, "run.mode: must be one of auto, batch, sync"),
        ({"run": {"priority": 1}}, "run.priority: must be a string"),
        ({"run": {"tenant": "none"}}, "run.tenant: 'none' is no tenant of this module; there is acme, default"),
        ({"run": {"scope": "a b"}}, "run.scope: must match"),
        ({"source": {}}, "source: needs exactly one of key"),
        ({"source": {"key": "default/corpus/a", "prefix": "default/corpus/"}}, "source: needs exactly one of key"),
        ({"source": {"key": ""}}, "source.key: must be a string that is not empty"),
        ({"source": {"keys": []}}, "source.keys: must hold 1 to 1000"),
        ({"source": {"keys": ["default/corpus/a", "default/corpus/a"]}}, "source.keys: holds 'default/corpus/a' twice"),
        ({"source": {"keys": ["default/corpus/a", "acme/b"]}}, "source.keys[1]: must start with default/"),
        ({"source": {"glob": "*/corpus/a"}}, "source.glob: must start with default/"),
        ({"source": {"glob": "default/*/a"}}, "source.glob: must start with default/corpus/"),
        ({"source": {"glob": "default/corpus/[a"}}, "source.glob: is no pattern: a [ that no ] closes"),
        ({"source": {"key": "default/corpus/a", "format": "xlsx"}}, "source.format: must be one of auto, csv, jsonl"),
        ({"source": {"key": "default/corpus/a", "encoding": "rot13"}}, "source.encoding: 'rot13' is not known"),
        ({"source": {"key": "default/corpus/a", "encoding": "cp037"}}, "source.encoding: 'cp037' is not known"),
        (
            {"source": {"key": "default/corpus/a", "format": "parquet", "encoding": "latin-1"}},
            "source.encoding: texts in Parquet are always UTF-8",
        ),
        ({"source": {"key": "default/corpus/a", "format": "text", "csv": {}}}, "source.csv: is for source.format csv"),
        ({"source": {"key": "default/corpus/a", "csv": {"delimiter": ";;"}}}, "source.csv.delimiter: must be one"),
        ({"source": {"key": "default/corpus/a", "csv": {"delimiter": '"'}}}, "source.csv.delimiter: must be another"),
        ({"source": {"key": "default/corpus/a", "csv": {"header": ["x", "x"]}}}, "source.csv.header: holds 'x' twice"),
        ({"source": {"key": "default/corpus/a", "carry": ["x"] * 2}}, "source.carry: holds 'x' twice"),
        ({"source": {"key": "acme/corpus/a.jsonl"}}, "source.key: must start with default/"),
        ({"source": {"prefix": "default/runs/x/"}}, "source.prefix: must start with default/corpus/"),
        ({"source": {"prefix": "default/"}}, "source.prefix: must start with default/corpus/"),
        ({"model": {}}, "model.id: missing"),
        ({"model": {"id": "gpt"}}, "model.id: 'gpt' is not among this module's models"),
        (
            {"model": {"id": TITAN, "api": "converse"}},
            "model.api: amazon.titan-embed-text-v2:0 takes invoke",
        ),
        ({"prompt": {"system": "s"}}, "prompt.template: missing"),
        ({"prompt": {"template": "all the same"}}, "prompt.template: names no {{field}}"),
        (
            {"prompt": {"template": "{{a}}", "inference": {"maxTokens": 1.5}}},
            "prompt.inference.maxTokens: must be a",
        ),
        ({"prompt": {"template": "{{a}}", "inference": {"temperature": 2}}}, "prompt.inference.temperature: must be a"),
        ({"prompt": {"template": "{{a}}", "inference": {"stopSequences": "."}}}, "prompt.inference.stopSequences"),
        ({"limits": {"job_timeout_hours": 12}}, "limits.job_timeout_hours: must be a whole number from 24 to 168"),
        ({"limits": {"max_attempts": True}}, "limits.max_attempts: must be a whole number"),
        ({"limits": {"items_per_batch": "9"}}, "limits.items_per_batch: must be a whole number"),
    ],
)
def test_a_problem_names_field_and_rule(changes: dict[str, Any], field: str) -> None:
    assert field in problems(request(**changes))


def test_an_embedding_model_has_other_parameters() -> None:
    titan = {"model": {"id": TITAN}}
    good = {"template": "{{a}}", "inference": {"dimensions": 512, "normalize": False}}
    assert parsed(request(**titan, prompt=good)).api == "invoke_model"
    bad = {"template": "{{a}}", "system": "s", "inference": {"dimensions": 5, "maxTokens": 1}}
    found = problems(request(**titan, prompt=bad))
    assert "prompt.system:" in found
    assert "prompt.inference.dimensions:" in found
    assert "prompt.inference.maxTokens: unknown key" in found


def test_a_template_needs_a_known_native_body() -> None:
    given = request(model={"id": LLAMA, "api": "invoke_model"}, prompt={"template": "{{a}}"})
    assert "prompt.template: native request bodies are known for" in problems(given)
    assert parsed(request(model={"id": LLAMA, "api": "invoke_model"})).api == "invoke_model"


def test_every_problem_is_in_one_error() -> None:
    found = problems({"run": {"mode": "x"}, "source": {}, "limits": {"a": 1, "canary_records": -1}}, run="no good")
    for field in ("execution name", "run.mode", "source", "model", "limits.a", "limits.canary_records"):
        assert f"{field}: " in found
    assert "6 problem(s)" in found


@pytest.mark.parametrize("run", ["", "-a", "a" * 65, "a.b", "a\n"])
def test_a_run_id_must_leave_room_for_nested_names(run: str) -> None:
    assert "execution name" in problems(LEAST, run)


def test_the_digest_is_of_the_request_and_not_of_its_spelling() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1, STARTED_BY: "arn"}) != digest({"a": 1})


def test_a_source_in_full() -> None:
    section = {
        "glob": "default/corpus/2026-*/*.csv",
        "format": "csv",
        "encoding": "Latin-1",
        "csv": {"delimiter": "\t", "quote": "", "header": ["a", "b"], "quoted_newlines": False},
        "carry": ["a"],
    }
    found = parsed(request(source=section)).source
    assert (found.glob, found.format, found.encoding, found.carry) == (section["glob"], "csv", "iso8859-1", ["a"])
    assert found.csv == Csv("\t", "", True, ["a", "b"], False)


@pytest.mark.parametrize(("given", "kind"), [([], "a list"), ("x", "a string"), (None, "null"), (7, "a number")])
def test_what_is_no_object_is_refused_like_any_other(given: Any, kind: str) -> None:
    said = problems(given)
    assert said.startswith("the request of run 'run-1' must be a JSON object such as ")
    assert said.endswith(f"not {kind}")
