"""Two passes over one run: the one of update_runs is frozen before each of its effects, while the pipeline's, which was
redriven, does all that it has to do. What the documents have come to by then is not undone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bulk_inference.assembly import assembly
from bulk_inference.assembly.part_groups import Group
from bulk_inference.aws.dynamodb import RunsTable
from bulk_inference.aws.s3 import Bucket
from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.runs_table import JOINS, META, run_pk
from tests.worlds.assembly_world import CONCAT, REDUCE, Run, chunked, label
from tests.worlds.ingest_world import ingest_world


@dataclass
class Frost:
    """Freezes the worker before its effect number `at`, until `meanwhile` is done."""

    at: int | None
    meanwhile: Callable[[], None] = lambda: None
    on: bool = False
    effects: list[str] = field(default_factory=list)

    def strike(self, effect: str) -> None:
        if self.on:
            self.effects.append(effect)
            if len(self.effects) == self.at:
                self.on = False
                self.meanwhile()

    def over(self, patch: pytest.MonkeyPatch) -> None:
        replace, create, put = Bucket.replace, Bucket.create, Bucket.put
        write_all, put_if, put_new = RunsTable.write_all, RunsTable.put_if, RunsTable.put_new

        def replaced(bucket: Bucket, key: str, body: bytes, kind: str, check: Callable[[], None]) -> None:
            def checked() -> None:
                check()
                self.strike(f"write {key}")

            self.strike(f"look at {key}")
            replace(bucket, key, body, kind, checked)

        def created(bucket: Bucket, key: str, *given: Any) -> None:
            self.strike(f"create {key}")
            create(bucket, key, *given)

        def striking(name: str, of: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                self.strike(name)
                return of(*given, **named)

            return call

        patch.setattr(Bucket, "replace", replaced)
        patch.setattr(Bucket, "create", created)
        patch.setattr(Bucket, "put", striking("put", put))
        patch.setattr(RunsTable, "write_all", striking("transaction", write_all))
        patch.setattr(RunsTable, "put_if", striking("put if", put_if))
        patch.setattr(RunsTable, "put_new", striking("put new", put_new))


def play(at: int | None) -> tuple[list[str], dict[str, str], dict[str, int], list[str]]:
    """Effects of the late pass, and what the documents are for good."""
    frost = Frost(at)
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, 5, recombine=CONCAT["recombine"])
        run.answer(lambda prompt: None if "doc-0 2/" in prompt or "doc-1 2/" in prompt else label(prompt))
        run.one_pass("pipeline, first", 0)
        run.answer(lambda prompt: label(prompt) if "doc-1 2/" in prompt else None, name="reprocess-")

        def meanwhile() -> None:
            run.waited += 61
            run.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None, name="sync-remainder-")
            run.one_pass("pipeline, redriven", 0)

        frost.meanwhile = meanwhile
        frost.over(patch)
        frost.on = True
        run.one_pass("late", 0)
        frost.on = False
        for number in range(3):
            item = run.assembly.item
            if run.is_behind() or (item is not None and item["state"] == "running"):
                run.one_pass(f"again {number}", 0)
        item = run.assembly.item
        assert item is not None
        counts = {name: int(number) for name, number in item["documents"].items()}
        found = {name: line["status"] for name, line in run.documents().items()}
        return frost.effects, found, counts, sorted(run.partial())


def test_a_complete_document_stays_complete_whatever_a_slower_pass_does() -> None:
    effects, *_ = play(None)
    assert len(effects) > 10
    for number in range(1, len(effects) + 1):
        _, found, counts, listed = play(number)
        assert (found, counts["complete"], listed) == ({"doc-0": "complete", "doc-1": "complete"}, 2, []), (
            f"frozen before effect {number}: {effects[number - 1]}"
        )


def test_an_overtaken_pass_neither_closes_nor_reduces() -> None:
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, recombine=REDUCE["recombine"])
        run.answer(label)
        planned = assembly.plan(run.assembly, "slow", 0)
        quick = run.one_pass("quick", 0)
        assert (quick["next"], quick["reduction"]["run"]) == ("reduce", "run-1-r1")
        before = run.assembly.item
        assert run.rest_of_pass(planned)["next"] == "done"
        assert {item["revision"] for item in world.runs.query(run_pk("run-1"), JOINS)} == {2}
        assert run.assembly.item == before


def test_a_second_pass_cannot_be_begun_in_the_place_of_the_first() -> None:
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, recombine=CONCAT["recombine"])
        run.answer(label)
        put_if, begun = RunsTable.put_if, [False]

        def overtaken(table: RunsTable, item: dict[str, Any], *given: Any) -> bool:
            if not begun[0]:
                begun[0] = True
                assembly.plan(run.assembly, "other", 0)
            return put_if(table, item, *given)

        patch.setattr(RunsTable, "put_if", overtaken)
        with pytest.raises(WorkInProgressError):
            assembly.plan(run.assembly, "mine", 0)
        item = run.assembly.item
        assert item is not None
        assert (item["execution"], item["revision"]) == ("other", 1)
        assert assembly.plan(run.assembly, "mine", 0)["revision"] == 2


def test_a_plan_that_was_written_stays_as_it_was() -> None:
    """Its maps read it, and later passes take its groups by their names."""
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, recombine=CONCAT["recombine"])
        run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
        first = assembly.plan(run.assembly, "execution", 0)
        before = world.output.get(first["sort"]["key"])
        run.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None, name="late-")
        assert assembly.plan(run.assembly, "execution", 0) == first
        assert world.output.get(first["sort"]["key"]) == before


def test_a_reduction_takes_no_name_that_somebody_has_given_to_a_run_of_his_own() -> None:
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, recombine=REDUCE["recombine"])
        run.answer(label)
        for name in ("run-1-r1", "run-1-r2"):
            world.runs.put({"pk": run_pk(name), "sk": META, "run": name, "status": "succeeded"})
        reduction = run.one_pass("execution", 0)["reduction"]["run"]
        assert reduction == "run-1-r3"
        Run(world, reduction, **assembly.reduction_request(run.assembly.spec, 1, 1)).answer(lambda prompt: "short")
        assert run.one_pass("execution", 1)["next"] in ("done", "reduce")
        assert world.output.find(Places("default", "run-1-r1").manifest) is None


def test_a_group_that_was_sorted_meanwhile_is_not_replaced_by_what_older_parts_held() -> None:
    with pytest.MonkeyPatch.context() as patch, ingest_world(patch) as world:
        run = chunked(world, 9, recombine=CONCAT["recombine"])
        run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt), parts=1)
        planned = assembly.plan(run.assembly, "execution", 0)
        (group,) = [Group.from_json(one) for one in run.items(planned["sort"])]
        reading, find = [True], Bucket.find

        def sort() -> None:
            assembly.sort_chunks(run.assembly, group, planned["partitions"])

        def overtaken(bucket: Bucket, key: str) -> Any:
            found = find(bucket, key)
            if reading[0] and "/sorted/" in key:
                reading[0] = False
                run.answer(label, parts=1)
                sort()
                run.answer(lambda prompt: None, parts=1)
                world.output.put(run.places.results("p0"), b"")
            return found

        patch.setattr(Bucket, "find", overtaken)
        with pytest.raises(WorkInProgressError):
            sort()
        (sorted_key,) = [one.key for one in world.output.list(run.places.sorted_prefix)]
        assert b'"chunk":2' in (world.output.get(sorted_key) or b"").replace(b" ", b"")
