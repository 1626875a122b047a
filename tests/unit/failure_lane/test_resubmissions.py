"""A run over ranges of another run's corpus: planned, cut, in the scope of the first."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.result_line import encode
from bulk_inference.corpus.ranges import CutRange
from tests.worlds.ingest_world import HAIKU, World, ingest_world

KEY = "default/corpus/a.jsonl"
LINES = [{"id": f"r{n}", "text": f"text {n}"} for n in range(50)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def places(body: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each line as a failure line has it: without a byte order mark."""
    found, offset = [], 0
    for line in body.split(b"\n")[:-1]:
        mark = 3 if offset == 0 and line.startswith(b"\xef\xbb\xbf") else 0
        found.append((offset + mark, len(line) - mark))
        offset += len(line) + 1
    return found


def ranges(world: World, run: str, *numbers: int) -> None:
    body = world.input.get(KEY) or b""
    stored = world.input.find(KEY)
    assert stored is not None
    parts = [
        CutRange(KEY, offset, offset + length + 1, stored.size, stored.etag)
        for offset, length in (places(body)[number] for number in numbers)
    ]
    world.input.put(f"default/runs/{run}/plan/ranges.jsonl", b"".join(encode(part.to_json()) for part in parts))


def request(run: str, scope: str = "run:run-1", **changes: Any) -> dict[str, Any]:
    return {
        "run": {"scope": scope},
        "source": {"bucket": "input", "ranges": f"default/runs/{run}/plan/ranges.jsonl", "failures_of": "run-1"},
        "model": {"id": HAIKU},
        "prompt": {"template": "Say again {{text}}"},
    } | changes


def read(world: World, run: str) -> list[str]:
    pieces = sorted(world.objects("input", f"default/runs/{run}/shards/"))
    return [line["recordId"] for key in pieces for line in world.jsonl("input", key)]


def test_only_the_lines_that_are_named_are_read_and_keep_their_ids(world: World) -> None:
    world.corpus(*LINES)
    ranges(world, "run-2", 0, 7, 8, 30, 49)
    plan = world.plan("run-2", **request("run-2"))
    assert plan["scope"] == "run:run-1"
    (count,) = world.cut_all(plan)
    assert (count["read"], count["accepted"]) == (5, 5)
    assert read(world, "run-2") == ["r0", "r7", "r8", "r30", "r49"]


def test_many_ranges_make_many_cuts(world: World) -> None:
    world.corpus(*[{"id": f"r{n}", "text": "x"} for n in range(1200)])
    ranges(world, "run-2", *range(0, 1200, 2))
    plan = world.plan("run-2", **request("run-2"))
    assert [len(cut.parts) for cut in world.cuts(plan)] == [500, 100]
    assert sum(count["accepted"] for count in world.cut_all(plan)) == 600


def test_a_first_line_behind_a_byte_order_mark_is_found(world: World) -> None:
    lines = [json.dumps(line).encode() for line in LINES]
    world.corpus(b"\xef\xbb\xbf" + lines[0], *lines[1:])
    ranges(world, "run-2", 0, 2)
    world.cut_all(world.plan("run-2", **request("run-2")))
    assert read(world, "run-2") == ["r0", "r2"]


def test_a_second_line_at_the_same_place_brings_no_first_line_along(world: World) -> None:
    world.corpus(b"{}", *LINES)
    ranges(world, "run-2", 1)
    (count,) = world.cut_all(world.plan("run-2", **request("run-2")))
    assert (count["read"], read(world, "run-2")) == (1, ["r0"])


def test_what_has_landed_in_the_scope_meanwhile_is_left_out(world: World) -> None:
    world.corpus(*LINES)
    ranges(world, "run-2", 1, 2, 3)
    world.claim("run:run-1", "run-1/reprocess-x", "r2", settled=False)
    world.output.put("default/runs/run-1/results/part-reprocess-x.jsonl", b'{"recordId":"r2","modelOutput":{}}\n')
    (count,) = world.cut_all(world.plan("run-2", **request("run-2")))
    assert (count["accepted"], count["duplicate"]) == (2, 1)


def test_a_corpus_that_has_changed_is_refused(world: World) -> None:
    world.corpus(*LINES)
    ranges(world, "run-2", 1, 2, 3)
    world.corpus(*LINES, {"id": "more", "text": "more"})
    with pytest.raises(InvalidRequestError, match="has changed"):
        world.plan("run-2", **request("run-2"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ranges": "default/runs/other/plan/ranges.jsonl", "failures_of": "run-1"}, "source.ranges: must be"),
        ({"ranges": "default/runs/run-2/plan/ranges.jsonl"}, "come together"),
        ({"key": KEY, "failures_of": "run-1"}, "come together"),
        (
            {"key": KEY, "ranges": "default/runs/run-2/plan/ranges.jsonl", "failures_of": "run-1"},
            "needs exactly one of key",
        ),
    ],
)
def test_sources_that_redrive_failures_does_not_write(world: World, change: dict[str, str], problem: str) -> None:
    world.corpus(*LINES)
    with pytest.raises(InvalidRequestError, match=problem):
        world.plan("run-2", **request("run-2", source=change))


def test_only_a_resubmission_may_name_another_runs_own_scope(world: World) -> None:
    world.corpus(*LINES)
    with pytest.raises(InvalidRequestError, match=r"run\.scope"):
        world.plan("run-2", run={"scope": "run:run-1"})
