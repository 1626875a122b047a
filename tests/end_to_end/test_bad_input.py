"""Bad input: an error that says what is wrong and where, and nothing else harmed."""

import json
from typing import Any

import pytest

from tests.end_to_end.conftest import assert_conserves, jsonl, request, run, tickets
from tests.harness.stack import Stack

GOOD = jsonl(tickets(12))
BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    # error class: line, what its message must name, recordId in the failure line
    "not_json": (b'{"id": "b-1", "text": "no end\n', "line", ""),
    "not_object": (b"[1, 2]\n", "object", ""),
    "missing_field": (b'{"id": "b-3"}\n', "text", "b-3"),
    "illegal_record_id": (b'{"id": {"a": 1}, "text": "x"}\n', "id", ""),
    "duplicate": (b'{"id": "t-00003", "text": "again"}\n', "recordId", "t-00003"),
    "too_large": (b'{"id": "b-6", "text": "' + b"x" * 9_000_000 + b'"}\n', "bytes", ""),
}


def test_each_bad_line_is_named_and_its_neighbours_land(stack: Stack) -> None:
    body = GOOD + b"".join(line for line, _, _ in BAD_LINES.values()) + jsonl(tickets(12, start=12))
    stack.upload("default/corpus/bad-lines/mixed.jsonl", body)
    limits = {"tolerated_rejected_percentage": 100}
    manifest = run(stack, "bad-lines", request("bad-lines", "sync", limits=limits))
    assert_conserves(manifest)
    assert manifest["counts"]["landed"] == 24
    assert manifest["counts"]["duplicate"] == 1
    assert manifest["counts"]["rejected"] == len(BAD_LINES) - 1
    told = {kind["errorClass"]: (kind["rows"], kind["lines"]) for kind in manifest["rejections"]}
    assert told == {error_class: (1, 1) for error_class in BAD_LINES if error_class != "duplicate"}
    failures = {line["errorClass"]: line for line in stack.lines("bad-lines", "failures")}
    assert set(failures) == set(BAD_LINES)
    for error_class, (line, names, record_id) in BAD_LINES.items():
        failure = failures[error_class]
        assert names in failure["errorMessage"], failure
        assert failure.get("recordId") in (record_id, None) or record_id == "", failure
        source = failure["source"]
        assert body[source["offset"] : source["offset"] + source["length"]].rstrip(b"\n") == line.rstrip(b"\n")


def test_a_corpus_that_is_mostly_no_records_is_refused_and_accounted_for(stack: Stack) -> None:
    """Good at its beginning, where the sample is: all is cut, and nothing is submitted."""
    body = jsonl(tickets(220)) + b"broken\n" * 2000
    stack.upload("default/corpus/mostly/a.jsonl", body)
    execution = stack.wait(stack.start("mostly", request("mostly", "batch")), timeout=120)
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    # The sentence alone, without the function's stack trace.
    assert execution["cause"].startswith("the corpus (counted by cutting")
    assert execution["cause"].endswith("limits.tolerated_rejected_percentage")
    stack.until(lambda: stack.manifest("mostly") is not None, "the manifest", 120)
    manifest = stack.manifest("mostly")
    assert manifest is not None
    assert (manifest["status"], manifest["counts"]["rejected"]) == ("failed", 2000)
    (kind,) = manifest["rejections"]
    assert (kind["errorClass"], kind["rows"], kind["bytes"]) == ("not_json", 2000, 12_000)
    assert manifest["stopped"]["cause"] == execution["cause"][: len(manifest["stopped"]["cause"])]
    assert not stack.jobs("mostly")


@pytest.mark.parametrize("given", [[], "x", None, 7])
def test_what_is_no_request_is_refused_like_any_other(stack: Stack, given: Any) -> None:
    name = f"no-request-{json.dumps(given).strip('[]') or 'list'}".replace('"', "")
    execution = stack.wait(stack.start(name, given), timeout=60)
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    assert execution["cause"].startswith(f"the request of run '{name}' must be a JSON object")


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown-key": (request("x", "sync", source={"prefx": "a"}), ["source.prefx"]),
    "unknown-section": ({**request("x", "sync"), "promt": {}}, ["promt"]),
    "unknown-model": (request("x", "sync", model={"id": "acme.brain-9"}), ["model.id", "acme.brain-9"]),
    "no-source": ({"model": request("x", "sync")["model"]}, ["source"]),
    "wrong-type": (request("x", "sync", limits={"items_per_batch": "ten"}), ["limits.items_per_batch"]),
    "two-mistakes": (request("x", "never", limits={"job_timeout_hours": 3}), ["run.mode", "limits.job_timeout_hours"]),
    "no-bucket": (
        request("x", "sync", source={"bucket": "nobody-has-this-bucket"}),
        ["source.prefix: tenant default may not read that bucket"],
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_wrong_request_is_refused_by_field_and_rule(stack: Stack, case: str) -> None:
    body, names = REFUSED[case]
    execution = stack.wait(stack.start(f"refused-{case}", body), timeout=60)
    assert execution["status"] == "FAILED"
    assert execution["error"] == "InvalidRequestError"
    for name in names:
        assert name in execution["cause"]
    assert not stack.jobs(f"refused-{case}")


def test_a_canary_that_fails_stops_the_run_before_any_job(stack: Stack) -> None:
    """A prompt that the model refuses costs a few calls, not a corpus."""
    rule = {"target": "record", "match": {"mode": "sync"}, "do": "error", "errorMessage": "no such parameter"}
    stack.aws.local("PUT", "/_local/faults", [rule])
    stack.upload("default/corpus/canary/tickets.jsonl", jsonl(tickets(150)))
    execution = stack.wait(stack.start("canary", request("canary", "batch")), timeout=60)
    assert (execution["status"], execution["error"]) == ("FAILED", "CanaryFailedError")
    # What the service said may quote records: it lies in S3.
    where = execution["cause"].partition("What the service says is in s3://")[2].partition("/")[2].rstrip('"')
    said = stack.aws.client("s3").get_object(Bucket=stack.outputs["output_bucket"], Key=where)["Body"].read()
    assert b"no such parameter" in said
    assert not stack.jobs("canary")
