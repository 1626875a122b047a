"""Sources other than lines of JSON, as whole runs: started at once, with records that fail, which are then resubmitted.

What each format reads and refuses is tested without AWS (tests/unit/corpus/test_sources.py,
tests/unit/cut/test_hostile_corpora.py); the
smallest run of each stands in test_example_requests.py.
"""

import gzip
import io
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests.end_to_end.conftest import assert_conserves, command, jsonl, request
from tests.harness.stack import Stack

COUNT, POISON = 12, (3, 7)
STATE_INPUT_BYTES = 262_144

Corpus = tuple[dict[str, bytes], dict[str, Any]]


def text(number: int) -> str:
    return f"Machine {number} {'POISON' if number in POISON else 'hums'},\nsince day {number}."


def _csv() -> Corpus:
    lines = ["no;when;text", *(f'm-{n};{n};"{text(n)}"' for n in range(COUNT)), "m-99;1"]
    section = {"csv": {"delimiter": ";"}, "encoding": "cp1252", "sequence_field": "when"}
    return {"machines.csv": "\r\n".join(lines).encode("cp1252")}, section


def _parquet() -> Corpus:
    rows = [{"no": f"m-{n}", "text": text(n), "place": {"hall": n}} for n in range(COUNT)]
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=5)
    return {"machines.parquet": file.getvalue()}, {"carry": ["place"]}


def _gzip() -> Corpus:
    return {"machines.jsonl.gz": gzip.compress(jsonl([{"no": f"m-{n}", "text": text(n)} for n in range(COUNT)]))}, {}


def _text() -> Corpus:
    return {f"m-{n}.txt": text(n).encode() for n in range(COUNT)}, {"format": "text", "id_field": "name"}


def _large() -> Corpus:
    """Each record alone is more than the input of a child execution holds."""
    return {
        "large.jsonl": jsonl([{"no": f"m-{n}", "text": text(n) + "x" * STATE_INPUT_BYTES} for n in range(COUNT)])
    }, {}


CORPORA = {"csv": _csv, "parquet": _parquet, "gzip": _gzip, "text": _text, "large": _large}


@pytest.fixture(scope="module")
def resubmissions(stack: Stack) -> dict[str, str]:
    """The run over the failed records of each run; all of them have ended."""
    rule = {"target": "record", "match": {"prompt": "POISON"}, "do": "error", "errorCode": 400, "errorMessage": "no"}
    stack.aws.local("PUT", "/_local/faults", [rule])
    started = {}
    for name, make in CORPORA.items():
        objects, section = make()
        for key, body in objects.items():
            stack.upload(f"default/corpus/source-{name}/{key}", body)
        limits = {"canary_records": 0, "tolerated_failure_percentage": 100}
        wanted = request(f"source-{name}", "sync", source={"id_field": "no", **section}, limits=limits)
        started[name] = stack.start(f"source-{name}", wanted)
    ended = {name: stack.wait(arn, timeout=240) for name, arn in started.items()}
    assert {one["status"] for one in ended.values()} == {"SUCCEEDED"}, ended
    stack.aws.local("DELETE", "/_local/faults")
    again = {name: command(stack, "resubmit", run=f"source-{name}")["as"] for name in CORPORA}
    prefix = stack.outputs["pipeline_arn"].replace(":stateMachine:", ":execution:")
    for run in again.values():
        assert stack.wait(f"{prefix}:{run}", timeout=240)["status"] == "SUCCEEDED"
    return again


@pytest.mark.parametrize("name", CORPORA)
def test_what_failed_is_found_in_its_source_and_lands_when_resubmitted(
    stack: Stack, resubmissions: dict[str, str], name: str
) -> None:
    first, second = stack.manifest(f"source-{name}"), stack.manifest(resubmissions[name])
    assert first is not None
    assert second is not None
    assert_conserves(first)
    assert_conserves(second)
    assert (first["counts"]["landed"], first["counts"]["rejected"]) == (COUNT - len(POISON), int(name == "csv"))
    assert (second["counts"]["read"], second["counts"]["landed"]) == (len(POISON), len(POISON))
    suffix = ".txt" if name == "text" else ""
    results = {line["recordId"]: line for line in stack.lines(resubmissions[name], "results")}
    assert set(results) == {f"m-{n}{suffix}" for n in POISON}
    failed = {line["recordId"]: line for line in stack.lines(f"source-{name}", "failures")}
    for record, result in results.items():
        assert result["source"] == failed[record]["source"]


def test_what_rides_along_is_what_was_there(stack: Stack, resubmissions: dict[str, str]) -> None:
    rows = {line["recordId"]: line for line in stack.lines("source-csv", "results")}
    assert {line["sequence"] for line in rows.values()} == set(range(COUNT)) - set(POISON)
    body = _csv()[0]["machines.csv"]
    place = rows["m-5"]["source"]
    assert body[place["offset"] : place["offset"] + place["length"]].startswith(b'm-5;5;"Machine 5')
    rejected = next(line for line in stack.lines("source-csv", "failures") if line["errorClass"] == "not_csv")
    assert (rejected["source"]["row"], rejected["errorMessage"]) == (13, "row 13: it has 2 fields, the header 3")
    table = {line["recordId"]: line for line in stack.lines(resubmissions["parquet"], "results")}
    assert table["m-7"]["carry"] == {"place": {"hall": 7}}
    assert {key: table["m-7"]["source"][key] for key in ("rowGroup", "row")} == {"rowGroup": 1, "row": 2}
