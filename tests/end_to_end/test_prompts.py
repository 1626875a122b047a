"""Prompts beyond one text, and answers of a declared form: the same in both modes. All runs are started at once."""

import json
from typing import Any

import pytest

from tests.end_to_end.conftest import MODEL, assert_conserves, jsonl, request, tickets
from tests.harness.stack import Stack

NOVA, TITAN = "amazon.nova-lite-v1:0", "amazon.titan-embed-text-v2:0"
COUNT = 101
MODES = ("batch", "sync")

FEW_SHOT = {
    "template": "Ticket: {{text}}",
    "system": 'Answer like {"kind": "…"}.',
    "examples": [{"user": "Ticket: it is loud", "assistant": '{"kind": "noise"}'}],
    "inference": {"maxTokens": 100},
}
NATIVE: dict[str, dict[str, Any]] = {
    "claude": {"model": {"id": MODEL, "api": "invoke_model"}, "prompt": {**FEW_SHOT, "additional": {"top_k": 5}}},
    "nova": {"model": {"id": NOVA, "api": "invoke_model"}, "prompt": FEW_SHOT},
    "titan": {"model": {"id": TITAN}, "prompt": {"template": "{{text}}", "inference": {"dimensions": 256}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"product": {"type": "string"}, "day": {"type": "integer", "minimum": 0}},
    "required": ["product", "day"],
}
SHAPES = {"t-00001": "fenced", "t-00002": "chatty", "t-00003": "wrong", "t-00004": "twice", "t-00005": "truncated"}
"""What becomes of the first answer to a record."""

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
TEXT = b"Pumps are checked every spring."


def whole(section: dict[str, Any]) -> dict[str, Any]:
    """A request takes the parts of the test's default, whose inference parameters are another model's."""
    return {"prompt": {"inference": {}, **section["prompt"]}, "model": section["model"]}


def requests() -> dict[str, dict[str, Any]]:
    made = {f"{name}-{mode}": request("prompts", mode, **whole(one)) for name, one in NATIVE.items() for mode in MODES}
    media = {"images": [{"uri_field": "photo"}], "documents": [{"uri": "default/corpus/prompts-media/manual.md"}]}
    for mode in MODES:
        made[f"media-{mode}"] = request("prompts", mode, model={"id": NOVA}, prompt=media)
        # A model that takes a schema, and one that must be told.
        model = {"id": MODEL if mode == "batch" else NOVA}
        limits = {"canary_records": 0}
        made[f"schema-{mode}"] = request("prompts", mode, model=model, output={"schema": SCHEMA}, limits=limits)
    return made


@pytest.fixture(scope="module")
def runs(stack: Stack) -> dict[str, dict[str, Any]]:
    """Manifests by run."""
    records = [
        {**one, "text": f"{one['id']} {one['text']}", "photo": f"default/corpus/prompts-media/{n % 2}.png"}
        for n, one in enumerate(tickets(COUNT))
    ]
    stack.upload("default/corpus/prompts/tickets.jsonl", jsonl(records))
    stack.upload("default/corpus/prompts-media/0.png", PNG)
    stack.upload("default/corpus/prompts-media/1.png", PNG + b"x")
    stack.upload("default/corpus/prompts-media/manual.md", TEXT)
    stack.aws.local("GET", "/_local/bodies")
    stack.aws.local(
        "PUT",
        "/_local/faults",
        [
            {
                "target": "record",
                "match": {"recordId": record_id, "jobName": {"contains": "-00001-a1-"}, "mode": "batch"},
                "do": "reshape",
                "as": shape,
            }
            for record_id, shape in SHAPES.items()
        ]
        + [
            {
                "target": "record",
                "match": {"prompt": {"regex": f"{record_id} Ticket[\\s\\S]*JSON Schema"}, "mode": "sync"},
                "do": "reshape",
                "as": shape,
                "times": 1,
            }
            for record_id, shape in SHAPES.items()
        ],
    )
    started = {f"prompts-{name}": stack.start(f"prompts-{name}", body) for name, body in requests().items()}
    manifests = {}
    for name, execution in started.items():
        ended = stack.wait(execution, timeout=180)
        assert ended["status"] == "SUCCEEDED", f"{name}: {ended.get('error')}: {ended.get('cause')}"
        manifest = stack.manifest(name)
        assert manifest is not None
        assert_conserves(manifest)
        manifests[name.removeprefix("prompts-")] = manifest
    return manifests


def results(stack: Stack, run: str) -> dict[str, dict[str, Any]]:
    return {line["recordId"]: line for line in stack.lines(f"prompts-{run}", "results")}


def test_both_modes_send_the_same_body(stack: Stack, runs: dict[str, dict[str, Any]]) -> None:
    notes = [one for one in stack.aws.local("GET", "/_local/bodies") if one["api"] == "InvokeModel"]
    for model in ("anthropic.claude-haiku-4-5", "amazon.nova-lite", "amazon.titan-embed"):
        sent = {
            mode: {one["digest"] for one in notes if (one["mode"], model in one["modelId"]) == (mode, True)}
            for mode in MODES
        }
        assert len(sent["batch"]) == COUNT
        assert sent["batch"] == sent["sync"]


def test_native_bodies_are_answered_and_their_tokens_counted(stack: Stack, runs: dict[str, dict[str, Any]]) -> None:
    for name in NATIVE:
        found = [results(stack, f"{name}-{mode}") for mode in MODES]
        assert len(found[0]) == len(found[1]) == COUNT
        for mode in MODES:
            tokens = runs[f"{name}-{mode}"]["tokens"]
            assert (tokens["input"] > 0, tokens["unknown"]) == (True, 0)
    embedded = results(stack, "titan-batch")["t-00000"]
    assert (embedded["text"], len(embedded["modelOutput"]["embedding"])) == (None, 256)
    assert embedded["usage"]["inputTokens"] > 0
    assert embedded["modelOutput"] == results(stack, "titan-sync")["t-00000"]["modelOutput"]


@pytest.mark.parametrize("mode", MODES)
def test_images_and_documents_are_read_from_their_places(stack: Stack, runs: dict[str, Any], mode: str) -> None:
    found = results(stack, f"media-{mode}")
    assert len(found) == COUNT
    for number in (0, 1):
        seen = json.loads(found[f"t-0001{number}"]["text"])["seen"]
        assert [(one["kind"], one["bytes"]) for one in seen] == [("image", len(PNG) + number), ("document", len(TEXT))]


@pytest.mark.parametrize("mode", MODES)
def test_answers_fit_the_schema_or_are_failures_that_are_tried_again(
    stack: Stack, runs: dict[str, Any], mode: str
) -> None:
    failures = {line["recordId"]: line for line in stack.lines(f"prompts-schema-{mode}", "failures")}
    assert {name: line["errorCode"] for name, line in failures.items()} == {
        "t-00003": "SchemaMismatch",
        "t-00004": "AmbiguousJson",
        "t-00005": "Truncated",
    }
    assert {line["errorClass"] for line in failures.values()} == {"schema"}
    assert failures["t-00003"]["text"] == '{"unasked": true}'
    assert failures["t-00003"]["errorMessage"] == "$: breaks the schema's rule required"
    stack.until(lambda: len(results(stack, f"schema-{mode}")) == COUNT, "the failure lane lands what had failed")
    for line in results(stack, f"schema-{mode}").values():
        assert set(line["value"]) == {"product", "day"}, line
        assert isinstance(line["value"]["day"], int)
