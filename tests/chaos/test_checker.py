"""The checker itself: it says yes to a sound run, and no to one in which a single line is wrong.

The evidence is written by hand, from docs/run-request.md: 12 lines of corpus, of which one is no record, one repeats an
id, two failed and one of these waits in a queue.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import Evidence, Run, check

CORPUS = "default/corpus/x/a.jsonl"
PART = "default/runs/r/results/part-00001.jsonl"
SECOND = "default/runs/r/results/part-00002.jsonl"
FAILURES = "default/runs/r/failures/part-00001.jsonl"
REFUSED = "default/runs/r/failures/part-cut-00001.jsonl"
FAILED, WAITING = "t-3", "t-4"


def mark(record: Any) -> str:
    return f"Ticket {record['id']}:"


def encode(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def decode(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.split(b"\n") if line]


def sound() -> Evidence:
    tickets = [{"id": f"t-{n}", "text": f"Ticket t-{n}: loud."} for n in range(10)]
    raws = [json.dumps(one).encode() for one in tickets] + [b"[7]", json.dumps(tickets[0]).encode()]
    sources, at = [], 0
    for raw in raws:
        sources.append({"bucket": "in", "key": CORPUS, "offset": at, "length": len(raw)})
        at += len(raw) + 1
    results: list[dict[str, Any]] = [
        {
            "recordId": one["id"],
            "modelOutput": {},
            "text": f'{{"summary": "{one["text"]}"}}',
            "usage": {"inputTokens": 3, "outputTokens": 2},
            "source": source,
        }
        for one, source in zip(tickets, sources, strict=False)
        if one["id"] not in (FAILED, WAITING)
    ]
    failures: list[dict[str, Any]] = [
        {"recordId": f"t-{n}", "errorClass": "validation", "errorCode": "400", "attempt": 1, "source": sources[n]}
        for n in (3, 4)
    ]
    refused: list[dict[str, Any]] = [
        {"recordId": None, "errorClass": "not_object", "source": sources[10]},
        {"recordId": "t-0", "errorClass": "duplicate", "source": sources[11]},
    ]
    parts = {PART: encode(results[:5]), SECOND: encode(results[5:])}
    counts = {
        "read": 12, "accepted": 10, "landed": 8, "failed": 2, "rejected": 1, "duplicate": 1, "pending": 0,
    }  # fmt: skip
    manifest = {
        "status": "succeeded",
        "counts": counts,
        "tokens": {"input": 24, "output": 16},
        "results": {"parts": 2, "bytes": sum(map(len, parts.values()))},
        "shards": [{"landed": 5, "failed": 2, "pending": 0}, {"landed": 3, "failed": 0, "pending": 0}],
    }
    return Evidence(
        corpus={CORPUS: b"\n".join(raws)},
        runs=[
            Run(
                "r",
                results=parts,
                failures={FAILURES: encode(failures), REFUSED: encode(refused)},
                manifest=manifest,
                item={"status": "succeeded"},
            )
        ],
        claims={line["recordId"]: "r/00001-a1" for line in results},
        messages=[{"run": "r", "recordId": WAITING, "item": {"recordId": WAITING, "source": sources[4]}}],
    )


def test_a_sound_run_is_good() -> None:
    verdict = check(sound(), mark)
    assert verdict.good, str(verdict)
    assert (verdict.records, verdict.landed, verdict.failed, verdict.waiting) == (12, 8, 4, 0)


def manifest(evidence: Evidence) -> dict[str, Any]:
    found = evidence.runs[0].manifest
    assert found is not None
    return found


def edit(evidence: Evidence, key: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    run = evidence.runs[0]
    objects = run.results if key in run.results else run.failures
    lines = decode(objects[key])
    change(lines)
    objects[key] = encode(lines)


def drop_a_result(evidence: Evidence) -> None:
    edit(evidence, PART, lambda lines: lines.pop(1))


def drop_a_part(evidence: Evidence) -> None:
    del evidence.runs[0].results[SECOND]


def drop_a_failure(evidence: Evidence) -> None:
    edit(evidence, FAILURES, lambda lines: lines.pop(0))


def drop_a_rejection(evidence: Evidence) -> None:
    edit(evidence, REFUSED, lambda lines: lines.pop(0))


@pytest.mark.parametrize(
    ("doctor", "lost"),
    [
        (drop_a_result, ["t-1"]),
        (drop_a_part, ["t-7", "t-8", "t-9"]),
        (drop_a_failure, [FAILED]),
        (drop_a_rejection, [f"{CORPUS}@430"]),
    ],
)
def test_a_line_that_is_gone_is_a_lost_record(doctor: Callable[[Evidence], None], lost: list[str]) -> None:
    evidence = sound()
    doctor(evidence)
    assert check(evidence, mark).lost == lost


def test_a_failure_whose_line_is_gone_still_waits_in_a_queue() -> None:
    evidence = sound()
    edit(evidence, FAILURES, lambda lines: lines.pop(1))
    assert check(evidence, mark).waiting == 1
    evidence.messages.clear()
    assert check(evidence, mark).lost == [WAITING]


def double_in_its_part(evidence: Evidence) -> None:
    edit(evidence, PART, lambda lines: lines.append(lines[1]))


def double_in_another_part(evidence: Evidence) -> None:
    (line,) = decode(evidence.runs[0].results[PART])[1:2]
    edit(evidence, SECOND, lambda lines: lines.append(line))


def double_in_another_run(evidence: Evidence) -> None:
    (line,) = decode(evidence.runs[0].results[PART])[1:2]
    evidence.runs.append(Run("r2", results={"default/runs/r2/results/part-00001.jsonl": encode([line])}))


@pytest.mark.parametrize("doctor", [double_in_its_part, double_in_another_part, double_in_another_run])
def test_a_second_result_is_a_doubled_record(doctor: Callable[[Evidence], None]) -> None:
    evidence = sound()
    doctor(evidence)
    assert check(evidence, mark).doubled == ["t-1"]


def test_two_lines_of_one_id_must_not_both_land() -> None:
    evidence = sound()
    (duplicate,) = [line for line in decode(evidence.runs[0].failures[REFUSED]) if line["errorClass"] == "duplicate"]
    twin = {**decode(evidence.runs[0].results[PART])[0], "source": duplicate["source"]}
    edit(evidence, SECOND, lambda lines: lines.append(twin))
    assert check(evidence, mark).doubled == ["t-0"]


@pytest.mark.parametrize("name", ["read", "accepted", "landed", "failed", "rejected", "pending"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_wrong_sum_is_a_problem(name: str, by: int) -> None:
    evidence = sound()
    manifest(evidence)["counts"][name] += by
    assert any(f"{name} is" in problem or "is not" in problem for problem in check(evidence, mark).problems)


def too_few_tokens(evidence: Evidence) -> None:
    manifest(evidence)["tokens"]["output"] = 15


def other_bytes(evidence: Evidence) -> None:
    manifest(evidence)["results"]["bytes"] -= 1


def shards_that_do_not_sum_up(evidence: Evidence) -> None:
    manifest(evidence)["shards"][0]["landed"] -= 1


def another_status(evidence: Evidence) -> None:
    evidence.runs[0].item["status"] = "failed"


def an_inconsistent_run(evidence: Evidence) -> None:
    manifest(evidence)["status"] = evidence.runs[0].item["status"] = "inconsistent"


def swapped_answers(evidence: Evidence) -> None:
    def swap(lines: list[dict[str, Any]]) -> None:
        lines[0]["text"], lines[1]["text"] = lines[1]["text"], lines[0]["text"]

    edit(evidence, PART, swap)


def swapped_ids(evidence: Evidence) -> None:
    def swap(lines: list[dict[str, Any]]) -> None:
        lines[0]["recordId"], lines[1]["recordId"] = lines[1]["recordId"], lines[0]["recordId"]

    edit(evidence, PART, swap)


def a_result_of_nothing(evidence: Evidence) -> None:
    edit(evidence, PART, lambda lines: lines.append({**lines[0], "source": {"key": CORPUS, "offset": 1}}))


def a_torn_line(evidence: Evidence) -> None:
    evidence.runs[0].results[PART] += b'{"recordId": "t-'


def no_claim(evidence: Evidence) -> None:
    del evidence.claims["t-1"]


def the_claim_of_another_run(evidence: Evidence) -> None:
    evidence.claims["t-1"] = "other/00001-a1"


@pytest.mark.parametrize(
    ("doctor", "says"),
    [
        (too_few_tokens, "output tokens"),
        (other_bytes, "results are 2 parts"),
        (shards_that_do_not_sum_up, "its shards sum up to 7"),
        (another_status, "in the table"),
        (an_inconsistent_run, "inconsistent"),
        (swapped_answers, "is not the answer to it"),
        (swapped_ids, "is called 't-1'"),
        (a_result_of_nothing, "is of no line of the corpus"),
        (a_torn_line, "ends in the middle of a line"),
        (no_claim, "landed in r without a claim"),
        (the_claim_of_another_run, "is claimed by other/00001-a1"),
    ],
)
def test_what_contradicts_itself_is_a_problem(doctor: Callable[[Evidence], None], says: str) -> None:
    evidence = sound()
    doctor(evidence)
    assert any(says in problem for problem in check(evidence, mark).problems)


def stopped() -> Evidence:
    """The run was stopped before its second part: three records are open, and it says so."""
    evidence = sound()
    del evidence.runs[0].results[SECOND]
    evidence.runs[0].item["status"] = "aborted"
    found = manifest(evidence)
    found["status"] = "aborted"
    found["counts"] |= {"landed": 5, "pending": 3}
    found["results"] = {"parts": 1, "bytes": len(evidence.runs[0].results[PART])}
    found["shards"][1] = {"landed": 0, "failed": 0, "pending": 3}
    return evidence


def test_a_stopped_run_knows_how_many_records_are_pending() -> None:
    verdict = check(stopped(), mark)
    assert verdict.good, str(verdict)
    assert verdict.pending == 3


def test_a_failure_line_of_a_pending_record_is_pending() -> None:
    """Its worker died before it had noted the failure."""
    evidence = stopped()
    whole = decode(sound().runs[0].results[SECOND])[0]
    line = {"recordId": whole["recordId"], "errorClass": "model", "source": whole["source"]}
    evidence.runs[0].failures["default/runs/r/failures/part-00002.jsonl"] = encode([line])
    verdict = check(evidence, mark)
    assert verdict.good, str(verdict)
    assert (verdict.pending, verdict.lost) == (2, [])


def test_a_stopped_run_that_miscounts_what_is_pending_has_lost_it() -> None:
    evidence = stopped()
    manifest(evidence)["counts"]["pending"] = 2
    assert check(evidence, mark).lost == ["t-7", "t-8", "t-9"]


def test_a_stopped_run_without_a_manifest_has_lost_what_nobody_names() -> None:
    evidence = stopped()
    evidence.runs[0].manifest = None
    assert check(evidence, mark).lost == ["t-7", "t-8", "t-9"]


def test_a_run_that_succeeded_has_nothing_pending() -> None:
    evidence = stopped()
    manifest(evidence)["status"] = evidence.runs[0].item["status"] = "succeeded"
    assert check(evidence, mark).lost == ["t-7", "t-8", "t-9"]


def test_the_evidence_is_left_as_it_was() -> None:
    evidence = sound()
    before = copy.deepcopy(evidence)
    check(evidence, mark)
    assert evidence == before
