"""Answers that did not end by themselves are counted, marked and told, whichever way they came."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.assembly.document_joining import outcomes
from bulk_inference.core.errors import UnitFailedError
from bulk_inference.core.run_spec import Chunking, Output, Recombine
from bulk_inference.core.runs_table import META, cut_sk, run_pk, shard_sk
from bulk_inference.finish.finishing import finish
from bulk_inference.sync.infer_batch import Batch, infer_batch
from tests.worlds.inference_world import RUN, FakeOutcome, Stage, converse, finish_services, make_spec

PIECE = "00001-001"
IDS = [f"t-{n:03d}" for n in range(30)]


class Model:
    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: object = None) -> FakeOutcome:
        return FakeOutcome(output=dict(self.answer))


def stage(answer: Mapping[str, Any], output: Output | None = None) -> Stage:
    made = Stage(replace(make_spec(), output=output or Output()))
    made.piece(PIECE, IDS, sync=True)
    made.model = Model(answer)  # type: ignore[assignment]
    made.runs.put({"pk": run_pk(RUN), "sk": META, "run": RUN, "tenant": "default", "status": "running"})
    counts = {"read": 30, "accepted": 30, "rejected": 0, "duplicate": 0}
    made.runs.put({"pk": run_pk(RUN), "sk": cut_sk("00001"), "cut": "00001", **counts})
    made.runs.put({"pk": run_pk(RUN), "sk": shard_sk(PIECE), "mode": "sync", "piece": PIECE, "accepted": 30})
    return made


def infer(made: Stage) -> None:
    items = made.input.lines(made.places.batches(PIECE))
    infer_batch(Batch.from_event({"BatchInput": {"run": RUN, "tenant": "default"}, "Items": items}), made.unit_context)


CUT = {**converse("the first half"), "stopReason": "max_tokens"}


@pytest.mark.parametrize(
    ("answer", "ends", "words"),
    [
        (CUT, {"max_tokens": 30}, "at their token limit"),
        ({**CUT, "stopReason": "refusal"}, {"refusal": 30}, "refused by the model"),
        ({**CUT, "stopReason": "guardrail_intervened"}, {"guardrail": 30}, "by a guardrail or filter"),
        ({**converse(""), "stopReason": "end_turn"}, {"no_text": 30}, "without any text"),
    ],
)
def test_manifest_report_and_result_lines_tell(answer: dict[str, Any], ends: dict[str, int], words: str) -> None:
    made = stage(answer)
    infer(made)
    finish(made.spec, finish_services(made))
    manifest = json.loads(made.output.objects[made.places.manifest])
    assert (manifest["status"], manifest["counts"]["landed"], manifest["ends"]) == ("succeeded", 30, ends)
    report = made.output.objects[made.places.report].decode()
    assert words in report
    lines = made.output.lines(made.places.results_prefix)
    assert [list(line.items())[1] for line in lines] == [("ended", next(iter(ends)))] * 30


def test_an_answer_that_ends_by_itself_is_not_marked() -> None:
    made = stage(converse("whole"))
    infer(made)
    finish(made.spec, finish_services(made))
    assert json.loads(made.output.objects[made.places.manifest])["ends"] == {}
    assert not any("ended" in line for line in made.output.lines(made.places.results_prefix))


@pytest.mark.parametrize("schema", [None, {"type": "object"}])
def test_answers_that_were_cut_fail_on_demand(schema: dict[str, Any] | None) -> None:
    made = stage({**converse("{}"), "stopReason": "max_tokens"}, Output(schema=schema, on_truncated="fail"))
    with pytest.raises(UnitFailedError, match="schema Truncated ×30"):
        infer(made)
    assert not made.output.lines(made.places.results_prefix)
    assert {line["errorCode"] for line in made.output.lines(made.places.failures_prefix)} == {"Truncated"}


def test_a_document_tells_which_of_its_chunks_were_cut() -> None:
    entry = {"key": "doc-" + "0" * 28, "id": "a", "of": 2}
    entries = [{**entry, "chunk": 1, "text": "x", "ended": "max_tokens"}, {**entry, "chunk": 2, "text": "y"}]
    (found,) = outcomes(entries, Recombine("concat"), Chunking("text", "characters", 50))
    assert (found.line["text"], found.line["ended"]) == ("x\n\ny", {"1": "max_tokens"})
