"""A run of chunked documents up to its results, and passes over them: on the world of plan_run and cut_shards."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bulk_inference.assembly import assembly, exports
from bulk_inference.assembly.assembly import AssemblyServices
from bulk_inference.assembly.part_groups import Group
from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.names import own_scope
from bulk_inference.core.result_line import result_line, split
from bulk_inference.core.runs_table import ASSEMBLY, JOINS, run_pk
from bulk_inference.core.stored_run import load_spec
from bulk_inference.land.scope_landings import ScopeLandings
from tests.worlds.ingest_world import NOW, World

ROW = "default/corpus/a.jsonl"


def converse(text: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "usage": {"inputTokens": 10, "outputTokens": 2},
    }


class Run:
    """One run over documents `{"id", "text"}`."""

    def __init__(self, world: World, name: str = "run-1", /, **sections: Any) -> None:
        self.world, self.name = world, name
        self.places = Places("default", name)
        self.plan = world.plan(name, **sections)
        world.cut_all(self.plan)
        self.executions = 0
        self.waited = 0
        """Seconds that have passed: leases lapse."""

    @property
    def assembly(self) -> AssemblyServices:
        spec = load_spec(self.world.input, self.places)
        world, shared = self.world, spec.scope != own_scope(self.name)
        elsewhere = (
            ScopeLandings("default", spec.scope, world.output, world.runs, world.ledger, NOW) if shared else None
        )
        return AssemblyServices(spec, world.input, world.output, world.runs, NOW, self.leases, elsewhere)

    @property
    def leases(self) -> Leases:
        return Leases(self.world.runs, lambda: NOW + self.waited, keeper=unattended)

    def sent(self) -> list[tuple[Pointer, Mapping[str, Any]]]:
        """Every record: its pointer and its body."""
        found = []
        for one in self.world.input.list(self.places.index_prefix):
            for raw, _ in split(self.world.input.read(one.key)):
                pointer = Pointer.from_json(json.loads(raw))
                shard = self.places.shard(pointer.shard or "")
                line = json.loads(self.world.input.get_range(shard, pointer.offset, pointer.length))
                found.append((pointer, line["modelInput"]))
        return found

    def answer(
        self, how: Callable[[str], str | None], parts: int = 3, only: Collection[str] | None = None, name: str = "p"
    ) -> None:
        """Lands `how(prompt)` for every record (None: it fails), dealt out to some parts, last records first."""
        lines: list[bytes] = []
        for pointer, body in self.sent():
            text = how(body["messages"][0]["content"][0]["text"])
            if text is not None and (only is None or pointer.record_id in only):
                lines.append(result_line(pointer, converse(text), "input")[0])
        for number in range(parts):
            if mine := lines[::-1][number::parts]:
                self.world.output.put(self.places.results(f"{name}{number}"), b"".join(mine))

    def one_pass(self, execution: str, previous: int = 0) -> dict[str, Any]:
        """What the state machine does between Plan Assembly and Close Assembly."""
        planned = self.retried(lambda: assembly.plan(self.assembly, execution, previous))
        return self.rest_of_pass(planned)

    def rest_of_pass(self, planned: dict[str, Any]) -> dict[str, Any]:
        for group in self.items(planned["sort"]):
            self.retried(
                lambda group=group: assembly.sort_chunks(  # type: ignore[misc]
                    self.assembly, Group.from_json(group), planned["partitions"]
                )
            )
        for item in self.items(planned["join"]):
            self.retried(
                lambda item=item: assembly.join_documents(  # type: ignore[misc]
                    self.assembly, planned["revision"], item["partition"]
                )
            )
        for group in self.items(planned["parquet"]):
            exports.export_parquet(self.assembly, Group.from_json(group))
        if planned["ordered"]:
            exports.order_results(self.assembly)
        return self.retried(lambda: assembly.close(self.assembly, planned["revision"]))

    def assemble(self, reduce: Callable[[str], str | None] | None = None) -> dict[str, Any]:
        """A whole execution; prompts of reductions are answered by `reduce`. Returns the manifest's members."""
        self.executions += 1
        closed: dict[str, Any] = {"next": "", "revision": 0}
        while closed["next"] != "done":
            closed = self.one_pass(f"execution-{self.executions}", closed["revision"])
            if closed["next"] == "reduce":
                assert reduce is not None, "nothing was to be reduced"
                reduction = Run(self.world, closed["reduction"]["run"], **closed["reduction"]["request"])
                reduction.answer(reduce)
        return assembly.summary(self.assembly.spec, self.assembly.item, "output")

    def retried(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """As the state machine does: again and again while another worker is at it."""
        for _ in range(5):
            try:
                return work()
            except WorkInProgressError:
                self.waited += 61
        raise AssertionError("for ever in progress")

    def is_behind(self) -> bool:
        """Whether more has landed than the last pass has taken up."""
        world = self.assembly
        item = world.item
        assert item is not None
        return bool(assembly.landed_bytes(world.spec, item, world.output, world.runs) != item["bytes"])

    def forget(self) -> None:
        """As if no pass had ever been made."""
        for item in [
            *self.world.runs.query(run_pk(self.name), ASSEMBLY),
            *self.world.runs.query(run_pk(self.name), JOINS),
        ]:
            key = {"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}}
            self.world.dynamodb.delete_item(TableName="runs", Key=key)
        for prefix in (f"{self.places.root}assembly/", self.places.documents_prefix):
            for one in list(self.world.output.list(prefix)):
                self.world.s3.delete_object(Bucket="output", Key=one.key)

    def documents(self) -> dict[str, dict[str, Any]]:
        found = []
        for one in self.world.output.list(f"{self.places.documents_prefix}part-"):
            found += self.world.jsonl("output", one.key)
        assert len({line["documentId"] for line in found}) == len(found), "a document has two lines"
        return {line["documentId"]: line for line in found}

    def partial(self) -> dict[str, dict[str, Any]]:
        return {line["documentId"]: line for line in self.world.jsonl("output", self.places.partial_documents)}

    def items(self, planned: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.world.jsonl("output", planned["key"]) if planned["count"] else []


CHUNKING = {"field": "text", "by": "characters", "size": 60, "overlap": 10}


PROMPT = {"template": "[{{id}} {{chunk_number}}/{{chunk_count}}] {{chunk}}"}


CONCAT = {"recombine": {"method": "concat", "separator": "|"}}
REDUCE: dict[str, Any] = {
    "recombine": {
        "method": "reduce",
        "size": 60,
        "separator": "+",
        "prompt": {"template": "({{document_id}} {{round}} {{part_number}}/{{part_count}}) {{parts}}"},
    }
}


def text(name: str, sentences: int) -> str:
    return " ".join(f"Sentence {n} of {name} says something." for n in range(sentences))


def documents(*sizes: int) -> list[dict[str, Any]]:
    return [{"id": f"doc-{n}", "text": text(f"d{n}", size)} for n, size in enumerate(sizes)]


def chunked(world: World, *sizes: int, name: str = "run-1", **output: Any) -> Run:
    world.corpus(*documents(*sizes))
    return Run(world, name, chunking=CHUNKING, prompt=PROMPT, output=output or CONCAT)


def label(prompt: str) -> str:
    """`doc-1 2/5` of a rendered prompt."""
    return prompt[1 : prompt.index("]")]
