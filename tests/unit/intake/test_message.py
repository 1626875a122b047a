"""Messages, stored prompts and documents: what is taken, and how a refusal names what is wrong."""

import gzip
import json
from typing import Any

import pytest

from bulk_inference.intake.documents import corpus_line
from bulk_inference.intake.message import MAX_INLINE_BYTES, DocumentMessage, RefusedDocumentError, named, parse
from bulk_inference.intake.stored_prompts import read
from tests.worlds.intake_world import PROMPT, SETTINGS, Intake, message


def refusal(body: str) -> RefusedDocumentError:
    with pytest.raises(RefusedDocumentError) as caught:
        parse(body)
    return caught.value


def test_a_message_names_a_document_or_holds_a_small_record() -> None:
    told = parse(message("a", notify=True, scope="mail", tenant="acme"))
    assert (told.id, told.prompt, told.tenant, told.scope, told.notify) == ("a", "sum", "acme", "mail", True)
    assert told.record == {"text": "text of a"}
    told = parse(message("a", record=None, document={"key": "default/corpus/a.txt"}))
    assert (told.key, told.bucket, told.tenant, told.notify) == ("default/corpus/a.txt", None, "default", False)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("no json", "is not JSON"),
        ('{"version": NaN}', "NaN is not a JSON number"),
        ("[1]", "no JSON object"),
        (message("a", version=2), "version: must be 1"),
        (message("a", promt="x"), "promt: unknown key (did you mean prompt?)"),
        (message(""), "id: must be a string that is not empty"),
        (message("x" * 1025), "id: must be Unicode text of at most 1024 bytes"),
        (message("\ud800"), "id: must be Unicode text"),
        (message("a", prompt=None), "prompt: missing"),
        (message("a", prompt="../b"), "prompt: must match"),
        (message("a", record=None), "either document"),
        (message("a", document={"key": "k"}), "either document"),
        (message("a", record=None, document={"bucket": "b"}), "document.key: missing"),
        (message("a", record=["x"]), "record: must be an object"),
        (message("a", record={"text": "x" * MAX_INLINE_BYTES}), "record: is larger than 32768 bytes"),
        (message("a", record={"text": "\udfff"}), "half of a surrogate pair"),
        (message("a", notify="yes"), "notify: must be true or false"),
    ],
)
def test_a_bad_message_names_field_and_rule_and_is_no_matter_of_time(body: str, problem: str) -> None:
    told = refusal(body)
    assert problem in told.message
    assert (told.error_class, told.passing) == ("bad_message", False)


def test_all_problems_are_named_and_no_word_of_the_record() -> None:
    told = refusal(message("a", version=3, prompt="a b", record={"secret": "x" * 40_000}))
    assert {"version", "prompt", "record"} <= {one.split(":")[0] for one in told.message.split("; ")}
    assert "secret" not in told.message


def test_the_status_of_a_bad_message_can_be_told_if_it_names_its_document() -> None:
    assert named(message("a", record=None)) == ("default", "a", "intake.sum")
    assert named(message("a", scope="mail", promt=1)) == ("default", "a", "mail")
    assert named(message("a", prompt=7)) is None
    assert named("no json") is None


def test_the_same_content_has_the_same_digest() -> None:
    one = parse(message("a", record={"x": 1, "y": 2}))
    assert one.content == parse(message("b", record={"y": 2, "x": 1})).content
    assert one.content != parse(message("a", record={"x": 1})).content
    assert one.content != parse(message("a", record={"x": 1, "y": 2}, prompt="other")).content


def stored(request: Any) -> str:
    with pytest.raises(RefusedDocumentError) as caught:
        read("default", "sum", request if isinstance(request, bytes) else json.dumps(request).encode(), "input")
    assert (caught.value.error_class, caught.value.passing) == ("bad_prompt", True)
    return caught.value.message


def test_a_stored_prompt_is_a_request_without_source() -> None:
    prompt = read("acme", "sum", json.dumps({**PROMPT, "run": {"mode": "batch"}}).encode(), "input")
    assert prompt.scope == "intake.sum"
    request = prompt.run_request("acme/intake/r/corpus.jsonl", "mail", "low")
    assert request["run"] == {"mode": "batch", "tenant": "acme", "scope": "mail", "priority": "low"}
    assert request["source"] == {"key": "acme/intake/r/corpus.jsonl", "id_field": "recordId"}
    assert read("acme", "sum", json.dumps({**PROMPT, "run": {"scope": "own"}}).encode(), "input").scope == "own"


def test_what_a_stored_prompt_may_not_say_is_named() -> None:
    assert "source: not in a stored prompt" in stored({**PROMPT, "source": {"key": "x"}})
    told = stored({**PROMPT, "run": {"priority": "high", "tenant": "x", "dry_run": True}})
    assert all(f"run.{name}: not in a stored prompt" in told for name in ("priority", "tenant", "dry_run"))
    assert "s3://input/default/prompts/sum.json: is not JSON" in stored(b"{")
    assert "no JSON object" in stored([1])


def line(key: str, body: bytes | None, **more: Any) -> dict[str, Any]:
    intake = Intake()
    bucket = intake.lake if more.get("bucket") == "lake" else intake.input
    if body is not None:
        bucket.objects[key] = body
    place = {"key": key} | {name: value for name, value in more.items() if name == "bucket"}
    world = type("Library", (), {"own": "input", "bucket": staticmethod(intake.bucket)})()
    told: DocumentMessage = parse(message("a", record=None, document=place))
    found: dict[str, Any] = json.loads(corpus_line(told, world, SETTINGS))
    return found


def test_documents_are_text_or_one_json_object_under_the_callers_id() -> None:
    text = b"Dear  sir\r\n"
    assert line("default/corpus/a.txt", text) == {
        "recordId": "a",
        "id": "default/corpus/a.txt",
        "text": text.decode(),
        "key": "default/corpus/a.txt",
        "name": "a.txt",
    }
    assert line("mail/a.JSON", b'\xef\xbb\xbf{"id": 7,\n "text": "x"}\n', bucket="lake") == {
        "recordId": "a",
        "id": 7,
        "text": "x",
    }


@pytest.mark.parametrize(
    ("key", "body", "bucket", "error_class", "problem", "passing"),
    [
        ("default/corpus/a.txt", None, None, "bad_document", "does not exist", True),
        ("default/corpus/a.txt", b" \n", None, "empty_document", "no text", False),
        ("default/corpus/a.txt", b"\xff", None, "undecodable", "not UTF-8", False),
        ("default/corpus/a.json", b'{"a": 1, "a": 2}', None, "duplicate_key", "same key twice", False),
        ("default/corpus/a.json", b"[1]", None, "not_object", "array", False),
        ("default/corpus/a.txt", b"x" * (9 << 20), None, "too_large", "8388608 bytes", False),
        ("acme/corpus/a.txt", b"x", None, "bad_message", "must start with default/", False),
        ("default/runs/r/plan/run.json", b"{}", None, "bad_message", "must start with default/corpus/", False),
        ("a.txt", b"x", "elsewhere", "bad_message", "may not read that bucket", False),
        ("a.txt", b"x", "lake", "bad_message", "must start with mail/", False),
    ],
)
def test_a_document_that_cannot_be_used_says_why(
    key: str, body: bytes | None, bucket: str | None, error_class: str, problem: str, passing: bool
) -> None:
    with pytest.raises(RefusedDocumentError) as caught:
        line(key, body, **({"bucket": bucket} if bucket else {}))
    assert (caught.value.error_class, caught.value.passing) == (error_class, passing)
    assert problem in caught.value.message


def test_text_is_kept_as_it_is_compressed_or_not() -> None:
    body = "a\u2028b\u0085c\r\nd".encode()
    for key, data in (("default/corpus/x.md", body), ("default/corpus/x.md.gz", gzip.compress(body))):
        assert line(key, data)["text"].encode() == body
    assert line("default/corpus/x.json.gz", gzip.compress(b'{"a": 1}')) == {"recordId": "a", "a": 1}
