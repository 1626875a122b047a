"""Long documents through the whole module: chunked, recombined in every way; results as Parquet and in order."""

import io
import json
from typing import Any

import pyarrow.parquet
import pytest

from tests.end_to_end.conftest import assert_conserves, command, jsonl, request
from tests.harness.stack import DEMO, Stack

CHUNKING = {"field": "text", "by": "characters", "size": 400, "overlap": 40}
PROMPT = {
    "template": "Page {{chunk_number}} of {{chunk_count}} of {{id}}:\n\n{{chunk}}",
    "inference": {"maxTokens": 400},
}
REDUCE = {
    "recombine": {
        "method": "reduce",
        "size": 1500,
        "prompt": {"template": "Sum up {{document_id}}:\n\n{{parts}}", "inference": {"maxTokens": 400}},
    }
}
CONCAT, MERGE = {"recombine": {"method": "concat"}}, {"recombine": {"method": "merge_json"}}
REQUESTS: dict[str, dict[str, Any]] = {
    "doc-concat": request("books", "batch", chunking=CHUNKING, prompt=PROMPT, output=CONCAT),
    "doc-merge": request("books", "sync", chunking=CHUNKING, prompt=PROMPT, output=MERGE),
    "doc-reduce": request("addresses", "sync", chunking={**CHUNKING, "size": 4000}, prompt=PROMPT, output=REDUCE),
    "doc-partial": request("poisoned", "sync", chunking=CHUNKING, prompt=PROMPT, output=CONCAT),
    "doc-forms": request("short", "sync", output={"parquet": True, "ordered": True}),
}
BOOKS = 8
ADDRESSES = 12


def book(number: int, sentences: int) -> dict[str, Any]:
    text = "".join(
        f"Sentence {n} of book {number} tells of harbour, lantern and orchard.{' ' if n % 9 else chr(10) * 2}"
        for n in range(1, sentences + 1)
    )
    return {"id": f"book-{number:02d}", "text": text}


def addresses() -> list[dict[str, Any]]:
    """Whole State of the Union addresses, put together of the passages that the demo's corpus holds."""
    passages = [json.loads(line) for line in (DEMO / "corpus" / "state-of-the-union.jsonl").open("rb")]
    whole: dict[str, list[str]] = {}
    for one in passages:
        whole.setdefault(one["id"].rpartition("-")[0], []).append(one["text"])
    return [{"id": name, "text": " ".join(texts)} for name, texts in list(whole.items())[:ADDRESSES]]


@pytest.fixture(scope="module")
def manifests(stack: Stack) -> dict[str, dict[str, Any]]:
    """All runs at once."""
    stack.upload("default/corpus/books/all.jsonl", jsonl([book(n, 12 + 14 * n) for n in range(BOOKS)]))
    stack.upload("default/corpus/addresses/all.jsonl", jsonl(addresses()))
    poisoned = book(2, 40)
    poisoned["text"] = poisoned["text"].replace("Sentence 20 ", "Unspeakable 20 ")
    stack.upload("default/corpus/poisoned/all.jsonl", jsonl([book(1, 40), poisoned]))
    stack.upload("default/corpus/short/b.jsonl", jsonl([{"id": f"b-{n}", "text": f"Short {n}."} for n in range(60)]))
    stack.upload("default/corpus/short/a.jsonl", jsonl([{"id": f"a-{n}", "text": f"Short {n}."} for n in range(60)]))
    rule = {"target": "record", "match": {"prompt": ["Unspeakable 20 "]}, "do": "error", "errorCode": 400}
    stack.aws.local("PUT", "/_local/faults", [rule])
    started = {run: stack.start(run, body) for run, body in REQUESTS.items()}
    found = {}
    for run, arn in started.items():
        execution = stack.wait(arn, timeout=240)
        assert execution["status"] == "SUCCEEDED", f"{run}: {execution.get('error')}: {execution.get('cause')}"
        manifest = stack.manifest(run)
        assert manifest is not None
        assert_conserves(manifest)
        found[run] = manifest
    return found


def documents(stack: Stack, run: str) -> dict[str, dict[str, Any]]:
    lines = [line for line in stack.lines(run, "documents") if line["status"] == "complete"]
    assert len({line["documentId"] for line in lines}) == len(lines)
    return {line["documentId"]: line for line in lines}


def test_texts_are_put_together_in_order(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    """In batch mode, where the remainder goes on demand: wherever an answer lies, it finds its document."""
    manifest = manifests["doc-concat"]
    assert manifest["documents"]["counts"] == {
        "read": BOOKS,
        "complete": BOOKS,
        "partial": 0,
        "failed": 0,
        "duplicate": 0,
    }
    found = documents(stack, "doc-concat")
    answers: dict[str, dict[int, str]] = {}
    for line in stack.lines("doc-concat", "results"):
        answers.setdefault(line["document"]["id"], {})[line["document"]["chunk"]] = line["text"]
    assert manifest["counts"]["landed"] == sum(len(one) for one in answers.values()) >= 100
    for name, line in found.items():
        assert sorted(answers[name]) == list(range(1, line["chunks"] + 1))
        assert line["text"] == "\n\n".join(answers[name][number] for number in sorted(answers[name]))


def test_json_answers_are_merged(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    assert manifests["doc-merge"]["documents"]["counts"]["complete"] == BOOKS
    for line in documents(stack, "doc-merge").values():
        assert {"harbour", "lantern", "orchard"} <= set(line["value"]["labels"])
        assert len(set(line["value"]["labels"])) == len(line["value"]["labels"])


def test_documents_are_reduced_by_runs_of_their_own(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    told = manifests["doc-reduce"]["documents"]
    assert told["counts"]["complete"] == ADDRESSES
    assert [one["run"] for one in told["reductions"]][:2] == ["doc-reduce-r1", "doc-reduce-r2"]
    found = documents(stack, "doc-reduce")
    assert max(line["rounds"] for line in found.values()) == len(told["reductions"])
    for name, line in found.items():
        assert name in json.loads(line["text"])["summary"]
    prompts = 0
    for one in told["reductions"]:
        reduction = stack.manifest(one["run"])
        assert reduction is not None
        assert_conserves(reduction)
        prompts += reduction["counts"]["landed"]
    assert prompts == sum(one["prompts"] for one in told["reductions"])


def test_a_document_whose_chunk_failed_is_listed_and_completed_when_it_is_resubmitted(
    stack: Stack, manifests: dict[str, dict[str, Any]]
) -> None:
    counts = manifests["doc-partial"]["documents"]["counts"]
    assert (counts["complete"], counts["partial"]) == (1, 1)
    bucket, run = stack.outputs["output_bucket"], "doc-partial"
    body = stack.aws.client("s3").get_object(Bucket=bucket, Key=f"default/runs/{run}/documents/partial.jsonl")["Body"]
    (partial,) = [json.loads(line) for line in body.read().splitlines()]
    assert (partial["documentId"], partial["status"]) == ("book-02", "partial")
    assert partial["missing"]
    stack.aws.local("DELETE", "/_local/faults")
    assert command(stack, "resubmit", run=run)["resubmitted"] == len(partial["missing"])

    def completed() -> bool:
        stack.aws.client("lambda").invoke(FunctionName=stack.outputs["function_names"]["update_runs"])
        manifest = stack.manifest(run)
        return manifest is not None and manifest["documents"]["counts"]["complete"] == 2

    stack.until(completed, "the late chunk completes its document")
    manifest = stack.manifest(run)
    assert manifest is not None
    assert manifest["counts"]["resubmitted"] == len(partial["missing"])
    assert_conserves(manifest)
    assert documents(stack, run)["book-02"]["missing"] == []


def test_results_as_parquet_and_in_order(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    manifest, bucket = manifests["doc-forms"], stack.outputs["output_bucket"]
    s3 = stack.aws.client("s3")
    landed = {line["recordId"]: line for line in stack.lines("doc-forms", "results")}
    assert len(landed) == 120
    keys = stack.keys(bucket, manifest["parquet"]["prefix"])
    assert len(keys) == manifest["parquet"]["files"]
    rows = [
        row
        for key in keys
        for row in pyarrow.parquet.read_table(
            io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        ).to_pylist()
    ]
    assert {row["record_id"]: row["text"] for row in rows} == {name: line["text"] for name, line in landed.items()}
    assert len(rows) == 120
    body = s3.get_object(Bucket=bucket, Key=manifest["ordered"]["key"])["Body"].read()
    ordered = [json.loads(line) for line in body.splitlines()]
    assert [line["recordId"] for line in ordered] == [f"{file}-{n}" for file in "ab" for n in range(60)]
    assert {line["recordId"]: line for line in ordered} == landed
