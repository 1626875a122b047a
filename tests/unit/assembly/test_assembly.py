"""Documents made of the answers to their chunks, pass by pass."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.assembly import assembly, part_groups
from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.reach import Reach
from bulk_inference.core.runs_table import META, RESUBMISSIONS, run_pk
from tests.worlds.assembly_world import CHUNKING, CONCAT, PROMPT, REDUCE, Run, chunked, documents, label, text
from tests.worlds.ingest_world import World, ingest_world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as world:
        yield world


def test_answers_are_put_together_in_order_wherever_they_lie(world: World) -> None:
    run = chunked(world, 1, 9, 30)
    run.answer(label, parts=5)
    summary = run.assemble()
    lines = run.documents()
    assert summary["documents"]["counts"] == {"read": 3, "complete": 3, "partial": 0, "failed": 0, "duplicate": 0}
    for name, line in lines.items():
        assert line["status"] == "complete"
        assert line["text"].split("|") == [f"{name} {n}/{line['chunks']}" for n in range(1, line["chunks"] + 1)]
        assert line["usage"] == {"inputTokens": 10 * line["chunks"], "outputTokens": 2 * line["chunks"]}
    assert lines["doc-0"]["chunks"] == 1
    assert lines["doc-2"]["chunks"] > lines["doc-1"]["chunks"] > 2
    assert run.partial() == {}


def test_a_document_is_complete_only_when_all_its_chunks_have_landed(world: World) -> None:
    run = chunked(world, 9, 9, 9)
    run.answer(lambda prompt: None if label(prompt).startswith("doc-1 2/") or "doc-2" in prompt else label(prompt))
    counts = run.assemble()["documents"]["counts"]
    assert counts == {"read": 3, "complete": 1, "partial": 1, "failed": 1, "duplicate": 0}
    assert run.documents()["doc-1"] | {"usage": None, "source": None} == {
        "documentId": "doc-1",
        "status": "partial",
        "chunks": 9,
        "missing": [2],
        "text": "|".join(f"doc-1 {n}/9" for n in range(1, 10) if n != 2),
        "usage": None,
        "source": None,
    }
    assert "doc-2" not in run.documents()
    assert {name: (line["status"], line["missing"]) for name, line in run.partial().items()} == {
        "doc-1": ("partial", [2]),
        "doc-2": ("failed", list(range(1, 10))),
    }


def test_what_lands_late_completes_its_document(world: World) -> None:
    run = chunked(world, 9, 9)
    run.answer(lambda prompt: None if "doc-1 2/" in prompt else label(prompt))
    run.assemble()
    before = world.objects("output")
    assert not run.is_behind()
    run.answer(lambda prompt: label(prompt) if "doc-1 2/" in prompt else None, name="reprocess-")
    assert run.is_behind()
    counts = run.assemble()["documents"]["counts"]
    assert counts == {"read": 2, "complete": 2, "partial": 0, "failed": 0, "duplicate": 0}
    assert run.documents()["doc-1"]["missing"] == []
    assert run.partial() == {}
    untouched = [key for key in before if "/assembly/sorted/" in key]
    assert all(world.output.get(key) == before[key] for key in untouched), "what was sorted is not sorted again"


def test_a_pass_that_died_after_sorting_is_made_up_for_by_the_next(world: World) -> None:
    run = chunked(world, 9)
    run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
    run.assemble()
    run.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None, name="reprocess-")
    planned = assembly.plan(run.assembly, "dies", 0)
    for group in run.items(planned["sort"]):
        assembly.sort_chunks(run.assembly, part_groups.Group.from_json(group), planned["partitions"])
    assert run.assemble()["documents"]["counts"]["complete"] == 1


def test_what_a_run_over_its_failures_lands_completes_its_documents(world: World) -> None:
    run = chunked(world, 9)
    run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
    run.assemble()
    other = Run(world, "run-2", chunking=CHUNKING, prompt=PROMPT, output=CONCAT)
    other.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None)
    world.runs.put({"pk": run_pk("run-1"), "sk": f"{RESUBMISSIONS}run-2", "run": "run-2"})
    assert run.assemble()["documents"]["counts"]["complete"] == 1


def test_a_closed_run_is_marked_so_that_its_manifest_follows(world: World) -> None:
    run = chunked(world, 3)
    run.answer(label)
    run.assemble()
    assert list(world.runs.query("STALE")) == []
    world.runs.update(run_pk("run-1"), META, {"status": "succeeded"})
    run.assemble()
    assert [one["run"] for one in world.runs.query("STALE")] == ["run-1"]


def test_what_a_resubmission_of_a_resubmission_lands_completes_documents(world: World) -> None:
    run = chunked(world, 9)
    run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
    run.assemble()
    for name, origin in (("run-2", "run-1"), ("run-3", "run-2"), ("run-1", "run-3")):
        world.runs.put({"pk": run_pk(origin), "sk": f"{RESUBMISSIONS}{name}", "run": name})
    other = Run(world, "run-3", chunking=CHUNKING, prompt=PROMPT, output=CONCAT)
    other.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None)
    assert run.is_behind()
    assert run.assemble()["documents"]["counts"]["complete"] == 1
    assert not run.is_behind()


def test_every_step_may_be_done_twice(world: World) -> None:
    run = chunked(world, 9, 9)
    run.answer(lambda prompt: None if "doc-1 2/" in prompt else label(prompt))
    first = run.one_pass("execution", 0)
    objects = world.objects("output")
    again = run.one_pass("execution", 0)
    assert again == first
    assert {key: body for key, body in world.objects("output").items() if "/0001/" not in key} == {
        key: body for key, body in objects.items() if "/0001/" not in key
    }


def test_many_groups_and_partitions_make_the_same_documents(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = chunked(world, 9, 30, 2, 17)
    run.answer(label, parts=4)
    run.assemble()
    expected = run.documents()
    for name, value in (("GROUP_BYTES", 700), ("GROUP_PARTS", 2)):
        monkeypatch.setattr(part_groups, name, value)
    monkeypatch.setattr(assembly, "PARTITION_BYTES", 1500)
    run.forget()
    run.assemble()
    assert len(list(world.output.list(run.places.sorted_prefix))) > 10
    assert len(list(world.output.list(f"{run.places.documents_prefix}part-"))) > 1
    assert run.documents() == expected


def test_a_part_that_was_written_anew_is_sorted_anew(world: World) -> None:
    run = chunked(world, 9)
    run.answer(label, parts=1)
    run.assemble()
    run.answer(lambda prompt: label(prompt).upper(), parts=1)
    run.assemble()
    assert run.documents()["doc-0"]["text"].startswith("DOC-0 1/9|")


def test_two_rows_of_one_id_do_not_mix(world: World) -> None:
    """The first in the corpus is the document; the other is told, not merged."""
    world.corpus({"id": "a", "text": text("one", 9)}, {"id": "a", "text": text("two", 9)}, *documents(3))
    run = Run(world, "run-1", chunking=CHUNKING, prompt=PROMPT, output=CONCAT)
    run.answer(lambda prompt: "one" if "of one" in prompt else "two")
    counts = run.assemble()["documents"]["counts"]
    assert counts == {"read": 3, "complete": 2, "partial": 0, "failed": 0, "duplicate": 1}
    assert set(run.documents()["a"]["text"].split("|")) == {"one"}
    assert run.partial()["a"]["status"] == "duplicate"


def test_json_answers_are_merged(world: World) -> None:
    run = chunked(world, 9, 9, recombine={"method": "merge_json"})

    def names(prompt: str) -> str:
        number = label(prompt).split(" ")[1].split("/")[0]
        if prompt.startswith("[doc-1 3/"):
            return "I could not find any."
        answer = f'{{"people": [{{"name": "Ann", "seen": [{number}]}}, {{"name": "p{number}"}}]}}'
        return f"Here they are:\n```json\n{answer}\n```\n" if number == "4" else answer

    run.answer(names)
    run.assemble()
    people = run.documents()["doc-0"]["value"]["people"]
    assert people[0] == {"name": "Ann", "seen": list(range(1, 10))}
    assert [one["name"] for one in people[1:]] == [f"p{n}" for n in range(1, 10)]
    broken = run.documents()["doc-1"]
    assert (broken["status"], broken["missing"], broken["unreadable"]) == ("partial", [], [3])


def test_answers_are_reduced_in_rounds(world: World) -> None:
    run = chunked(world, 1, 9, 30, **REDUCE)
    run.answer(label)
    prompts: list[str] = []

    def reduce(prompt: str) -> str:
        prompts.append(prompt)
        return "<" + prompt.split(") ", 1)[1] + ">"

    summary = run.assemble(reduce)
    lines = run.documents()
    assert summary["documents"]["counts"]["complete"] == 3
    assert lines["doc-0"]["text"] == "<doc-0 1/1>"
    assert (lines["doc-0"]["rounds"], lines["doc-2"]["rounds"]) == (1, len(summary["documents"]["reductions"]))
    assert lines["doc-2"]["rounds"] >= 3
    inner = lines["doc-2"]["text"].replace("<", "").replace(">", "")
    assert inner.split("+") == [f"doc-2 {n}/{lines['doc-2']['chunks']}" for n in range(1, lines["doc-2"]["chunks"] + 1)]
    assert len(prompts) == len(set(prompts)), "no prompt is asked twice"
    assert [one["run"] for one in summary["documents"]["reductions"]] == [
        f"run-1-r{n}" for n in range(1, lines["doc-2"]["rounds"] + 1)
    ]


def test_a_reduction_whose_prompt_fails_leaves_its_document_partial_until_it_lands(world: World) -> None:
    run = chunked(world, 3, 9, **REDUCE)
    run.answer(label)
    counts = run.assemble(lambda prompt: None if "(doc-1 1 2/" in prompt else "short")["documents"]["counts"]
    assert counts == {"read": 2, "complete": 1, "partial": 1, "failed": 0, "duplicate": 0}
    assert run.partial()["doc-1"]["missingParts"] == [2]
    reduction = Run(world, "run-1-r1", **assembly.reduction_request(run.assembly.spec, 1, 1))
    reduction.answer(lambda prompt: "late" if "(doc-1 1 2/" in prompt else None, name="reprocess-")
    assert run.assemble(lambda prompt: "final")["documents"]["counts"]["complete"] == 2
    assert run.documents()["doc-1"]["text"] == "final"


def test_partial_documents_are_not_reduced(world: World) -> None:
    run = chunked(world, 9, 3, **REDUCE)
    run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
    prompts: list[str] = []

    def reduce(prompt: str) -> str:
        prompts.append(prompt)
        return "r"

    run.assemble(reduce)
    assert all("doc-1" in prompt for prompt in prompts)
    assert run.partial()["doc-0"]["missing"] == [2]
    run.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None, name="reprocess-")
    assert run.assemble(lambda prompt: "late")["documents"]["counts"]["complete"] == 2


def test_a_run_that_asks_for_none_of_this_is_refused(world: World) -> None:
    world.corpus(*documents(1))
    run = Run(world, "run-1")
    with pytest.raises(InvalidRequestError, match=r"output\.recombine"):
        assembly.plan(run.assembly, "execution", 0)


def test_a_prompt_that_the_model_refuses_costs_a_reduction_its_own_document(world: World) -> None:
    """A reduction over few prompts has no canary: the first one would be the reduction itself."""
    run = chunked(world, 3, 3, 3, 3, **REDUCE)
    run.answer(label)

    class Picky:
        def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> ModelOutcome:
            return ModelOutcome(error_class="invalid_request", error_code="V", error_message="refused")

    world.model = Picky()  # type: ignore[assignment]
    counts = run.assemble(lambda prompt: None if "(doc-0 " in prompt else "short")["documents"]["counts"]
    assert counts == {"read": 4, "complete": 3, "partial": 1, "failed": 0, "duplicate": 0}
    assert assembly.reduction_request(run.assembly.spec, 1, 20)["limits"]["canary_records"] == 0
    assert assembly.reduction_request(run.assembly.spec, 1, 21)["limits"]["canary_records"] == 1
