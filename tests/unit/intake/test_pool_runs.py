"""Pools and what their runs come to, runs and pools both as the product makes them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.keys import Places
from bulk_inference.core.runs_table import META, run_pk, unit_sk
from bulk_inference.ledger.claims import Claim, claim_key
from tests.worlds.assembly_world import CHUNKING, text
from tests.worlds.ingest_world import HAIKU, NOW, World, ingest_world
from tests.worlds.pool_world import Pools

PROMPT: dict[str, Any] = {
    "model": {"id": HAIKU},
    "prompt": {"template": "Say {{text}}"},
    "run": {"mode": "sync"},
    "limits": {"canary_records": 5},
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


class Picky:
    """A model that refuses some prompts."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Any) -> ModelOutcome:
        self.bodies.append(body)
        if "POISON" in str(body):
            return ModelOutcome(error_class="invalid_request", error_code="V", error_message="input is too long")
        return ModelOutcome(output={})


@pytest.mark.parametrize("texts", [["POISON"], ["POISON"] * 5 + ["good"], ["POISON"] * 20 + ["good"] * 5])
def test_documents_that_the_model_refuses_refuse_no_other_of_their_pool(world: World, texts: list[str]) -> None:
    world.model = Picky()  # type: ignore[assignment]
    pools = Pools(world, PROMPT, documents=len(texts))
    name = pools.send(**{f"d{n:02d}": {"text": text} for n, text in enumerate(texts)})
    pools.run(name, lambda prompt: None if "POISON" in prompt else "said")
    pools.follow()
    told = {f"d{n:02d}": pools.status(f"d{n:02d}") for n in range(len(texts))}
    assert [one["state"] for one in told.values()] == ["failed" if text == "POISON" else "done" for text in texts]
    assert {one["errorClass"] for one in told.values()} - {None} == {"validation"}
    for one in told.values():
        assert world.output.get_range(one["place"]["key"], one["place"]["offset"], one["place"]["length"])


CHUNKED: dict[str, Any] = {
    "model": {"id": HAIKU},
    "prompt": {"template": "[{{chunk_number}}/{{chunk_count}}] {{chunk}}"},
    "chunking": CHUNKING,
}
JOINED: dict[str, Any] = {**CHUNKED, "output": {"recombine": {"method": "concat", "separator": "|"}}}


@pytest.mark.parametrize("prompt", [CHUNKED, JOINED], ids=["chunks", "documents"])
def test_a_document_whose_chunks_landed_in_two_runs_of_the_scope_is_complete(
    world: World, prompt: dict[str, Any]
) -> None:
    """One of its chunks failed, and it was sent again, unchanged: the others are duplicates there."""
    pools = Pools(world, prompt)
    first = pools.send(letter={"text": text("d", 9)})
    run = pools.run(first, lambda asked: None if asked.startswith("[2/") else "said")
    if prompt is JOINED:
        run.assemble()
    pools.follow()
    assert pools.status("letter")["state"] == "failed"
    second = pools.send(letter={"text": text("d", 9)})
    run = pools.run(second, lambda asked: "late")
    assert len(run.sent()) == 1
    if prompt is JOINED:
        counts = run.assemble()["documents"]["counts"]
        assert (counts["complete"], counts["partial"]) == (1, 0)
        assert run.documents()["letter"]["text"].split("|") == ["said", "late", *["said"] * 7]
    pools.follow()
    told = pools.status("letter")
    assert (told["state"], told["errorClass"]) == ("done", None)
    assert pools.told == [("letter", "failed"), ("letter", "done")]


def test_a_document_all_of_whose_chunks_landed_before_is_done(world: World) -> None:
    """Its item had expired, say: it is sent again, and nothing of it is left to be inferred."""
    pools = Pools(world, JOINED)
    pools.run(pools.send(letter={"text": text("d", 9)}), lambda asked: "said")
    # Not followed: its item does not say that it is done.
    item = pools.status("letter")
    world.runs.put({**item, "state": "failed", "place": {"bucket": "output", "key": "x"}, "messageId": "other"})
    second = pools.send(letter={"text": text("d", 9)})
    assert pools.run(second, lambda asked: "said").sent() == []
    pools.follow()
    assert pools.status("letter")["state"] == "done"


def test_a_chunk_that_somebody_has_claimed_and_not_landed_completes_nothing(world: World) -> None:
    pools = Pools(world, JOINED)
    first = pools.send(letter={"text": text("d", 9)})
    run = pools.run(first, lambda asked: None if asked.startswith("[2/") else "said")
    missing = next(pointer.record_id for pointer, body in run.sent() if "[2/" in str(body))
    world.claim("intake.sum", "other/sync-00001-001-00001", missing, settled=False)
    assert run.assemble()["documents"]["counts"]["partial"] == 1
    pools.follow()
    assert pools.status("letter")["state"] == "failed"


PLAIN: dict[str, Any] = {"model": {"id": HAIKU}, "prompt": {"template": "Say {{text}}"}}


def land_elsewhere(world: World, *ids: str, run: str = "again", settled: bool = True) -> None:
    unit = "sync-00001-001-00001"
    world.runs.put({"pk": run_pk(run), "sk": unit_sk(unit), "settled": settled})
    for one in ids:
        claim = Claim(claim_key("default", "intake.sum", one), f"{run}/{unit}", run, NOW + 10**7)
        assert world.ledger.take_over(claim, NOW)
    lines = "".join(f'{{"recordId":"{one}","modelOutput":{{}}}}\n' for one in ids)
    world.output.put(Places("default", run).results(f"{unit}-000"), lines.encode())


def test_a_document_that_a_run_over_its_pools_failures_has_landed_is_done(world: World) -> None:
    pools = Pools(world, PLAIN, documents=2)
    first = pools.send(a={"text": "a"}, b={"text": "b"})
    pools.run(first, lambda asked: None if asked == "Say b" else "said")
    pools.follow()
    assert pools.status("b")["state"] == "failed"
    land_elsewhere(world, "b")
    # As update_runs writes it.
    world.runs.update(run_pk(first), META, {"counts": {"landed": 1, "failed": 0, "resubmitted": 1}})
    pools.follow()
    told = pools.status("b")
    assert (told["state"], told["landedIn"]) == ("done", "again")
    assert told["place"]["prefix"].startswith("default/runs/again/results/part-sync-00001-001-00001")


def test_a_document_that_a_run_landed_of_which_its_pool_hears_nothing_is_found_after_a_while(world: World) -> None:
    pools = Pools(world, PLAIN)
    first = pools.send(b={"text": "b"})
    pools.run(first, lambda asked: None)
    pools.follow()
    land_elsewhere(world, "b")
    looks = []
    for hours in (0.5, 0.6, 1, 1.2):
        pools.time.now += hours * 3600
        looks.append((pools.follow().settled, pools.status("b")["state"]))
    assert looks == [(0, "failed"), (1, "done"), (0, "done"), (0, "done")]


def test_a_look_that_finds_nothing_is_made_less_and_less_often(world: World) -> None:
    pools = Pools(world, PLAIN)
    pools.run(pools.send(b={"text": "b"}), lambda asked: None)
    pools.follow()
    looks = 0
    for _ in range(14 * 24 - 1):
        pools.time.now += 3601
        looks += pools.follow().settled
    assert looks == 8
    pools.time.now += 2 * 86_400
    pools.follow()
    assert list(world.runs.query("POOLS")) == []


def test_a_claim_of_another_run_is_no_end_of_a_document(world: World) -> None:
    """A sender is told `done` when a result line is there."""
    pools = Pools(world, PLAIN)
    key = claim_key("default", "intake.sum", "b")
    world.ledger.take_over(Claim(key, "other/sync-1", "other", int(pools.time.now) + 10**6), int(pools.time.now))
    first = pools.send(b={"text": "b"})
    pools.run(first, lambda asked: None, request={**pools.pipeline.started[first]})
    world.s3.delete_object(Bucket="output", Key=Places("default", first).failures("sync-00001-001-00001-000"))
    pools.follow()
    assert pools.status("b")["errorClass"] == "not_accounted"
