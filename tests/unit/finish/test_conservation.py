"""Conservation: the sums hold for every run that can be, and break when any number is wrong."""

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_inference.core.runs_table import Item
from bulk_inference.finish.conservation import Account, account, cross_check
from bulk_inference.land.units import Counts, Part, Unit


@dataclass
class Run:
    """Items of a run, and what became of its records as the one who made it knows."""

    cuts: list[Item] = field(default_factory=list)
    shards: list[Item] = field(default_factory=list)
    units: list[Item] = field(default_factory=list)
    lates: list[Item] = field(default_factory=list)
    truth: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Account().counts, 0))

    def account(self) -> Account:
        return account(*copy.deepcopy((self.cuts, self.shards, self.units, self.lates)))

    def add(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.truth[name] += number

    def unit(self, name: str, kind: str, pieces: dict[str, Counts], **more: Any) -> None:
        total = sum(pieces.values(), Counts())
        results = [Part(f"results/part-{name}.jsonl", 10, total.landed)]
        failures = [Part(f"failures/part-{name}.jsonl", 10, total.failed)]
        self.units.append(Unit(name, kind, pieces, results=results, failures=failures, **more).item("r", 0))
        for counts in pieces.values():
            self.add(landed=counts.landed, failed=counts.failed, duplicate=counts.duplicate, accepted=-counts.duplicate)


def split(draw: st.DrawFn, total: int, parts: int) -> list[int]:
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=parts - 1, max_size=parts - 1)))
    return [end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True)]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A run as the functions leave it: finished or broken off anywhere, with late landings."""
    run = Run()
    sizes = draw(st.lists(st.tuples(st.sampled_from(["batch", "sync"]), st.integers(1, 30)), max_size=4))
    merged_away = draw(st.integers(0, 3)) if sizes else 0
    accepted = sum(size for _, size in sizes) + merged_away
    for number in range(draw(st.integers(1, 3))):
        mine = accepted if number == 0 else 0
        rejected, duplicate = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        read = mine + rejected + duplicate
        numbers = {"read": read, "accepted": mine, "rejected": rejected, "duplicate": duplicate}
        run.cuts.append({"cut": f"{number:05d}", **numbers})
        run.add(**numbers)
    run.add(duplicate=merged_away, accepted=-merged_away)
    for number, (mode, size) in enumerate(sizes):
        name = f"{number:05d}" if mode == "batch" else f"00001-{number:03d}"
        left_out = merged_away if number == 0 else 0
        run.shards.append(
            {"sk": f"SHARD#{name}", "mode": mode, "piece": f"p{number}", "accepted": size, "duplicate": left_out}
        )
        (_batch if mode == "batch" else _sync)(draw, run, name, f"p{number}", size)
    for unit in run.units:
        for late in range(draw(st.integers(0, min(3, Unit.from_json(unit).counts.failed)))):
            outcome = draw(st.sampled_from(["landed", "duplicate", "resubmitted", "dropped"]))
            (piece, *_) = [name for name, one in unit["pieces"].items() if one["failed"]]
            item = {"unit": unit["unit"], "piece": piece, "outcome": outcome, "sk": f"LATE#{late}"}
            run.lates.append(item)
            run.add(failed=-1, **{outcome: 1}, accepted=-1 if outcome == "duplicate" else 0)
    return run


def _batch(draw: st.DrawFn, run: Run, shard: str, piece: str, size: int) -> None:
    due, attempt = size, 1
    while due and draw(st.integers(0, 4)):
        landed, failed, duplicate, unprocessed, open_ = split(draw, due, 5)
        if attempt == 3:
            failed, unprocessed = failed + unprocessed, 0
        counts = Counts(due, landed, failed, duplicate, unprocessed)
        # A unit that is not settled has handed nothing on yet.
        if open_:
            counts, unprocessed = Counts(due, landed, failed, duplicate), 0
            run.unit(f"{shard}-a{attempt}", "job", {shard: counts})
            run.add(pending=counts.open)
            return
        remainder = unprocessed and draw(st.booleans())
        following = f"sync-{shard}" if remainder else f"{shard}-a{attempt + 1}" if unprocessed else None
        run.unit(f"{shard}-a{attempt}", "job", {shard: counts}, next_unit=following, settled=True)
        due, attempt = unprocessed, attempt + 1
        if remainder:
            if draw(st.booleans()):
                landed, failed, duplicate, open_ = split(draw, due, 4)
                run.unit(f"sync-{shard}", "items", {shard: Counts(due, landed, failed, duplicate)})
                run.add(pending=open_)
                due = 0
            break
    run.add(pending=due)


def _sync(draw: st.DrawFn, run: Run, shard: str, piece: str, size: int) -> None:
    batches = split(draw, size, 3)
    for number, sent in enumerate(batches):
        if not sent:
            continue
        if not draw(st.integers(0, 4)):
            run.add(pending=sent)
            continue
        landed, failed, duplicate, open_ = split(draw, sent, 4)
        run.unit(f"sync-{shard}-{number}", "items", {piece: Counts(sent, landed, failed, duplicate)})
        run.add(pending=open_)


@given(runs())
def test_every_run_that_can_be_conserves_its_records(run: Run) -> None:
    summed = run.account()
    assert summed.problems == []
    assert summed.counts == run.truth
    counts = summed.counts
    assert counts["read"] == counts["accepted"] + counts["rejected"] + counts["duplicate"]
    settled = counts["resubmitted"] + counts["dropped"]
    assert counts["accepted"] == counts["landed"] + counts["failed"] + settled + counts["pending"]
    for shard in summed.shards:
        settled = shard.resubmitted + shard.dropped
        assert shard.records == shard.landed + shard.failed + shard.duplicate + settled + shard.pending


@settings(max_examples=400)
@given(runs(), st.data())
def test_one_record_lost_or_doubled_anywhere_is_noticed(run: Run, data: st.DataObject) -> None:
    """Any count of any item that is off by one breaks a sum, and the message names where."""
    targets: list[tuple[dict[str, Any], str]] = []
    for cut in run.cuts:
        targets += [(cut, name) for name in ("read", "accepted", "rejected", "duplicate")]
    for shard in run.shards:
        targets += [(shard, name) for name in ("accepted", "duplicate")]
    for unit in run.units:
        for counts in unit["pieces"].values():
            targets += [(counts, "landed"), (counts, "failed")]
            if unit["kind"] == "job":
                targets.append((counts, "sent"))
            if unit.get("settled"):
                targets += [(counts, "duplicate"), (counts, "unprocessed")]
    holder, name = data.draw(st.sampled_from(targets))
    holder[name] += data.draw(st.sampled_from([-1, 1]))
    assert run.account().problems != []


def finished() -> Run:
    run = Run()
    run.cuts.append({"cut": "00001", "read": 12, "accepted": 10, "rejected": 1, "duplicate": 1})
    run.shards.append({"sk": "SHARD#00001", "mode": "batch", "piece": "00001-001", "accepted": 10})
    run.unit("00001-a1", "job", {"00001": Counts(10, 9, 1)}, settled=True)
    return run


def test_the_numbers_of_a_plain_run() -> None:
    summed = finished().account()
    assert summed.counts == {
        "read": 12, "accepted": 10, "landed": 9, "failed": 1, "rejected": 1, "duplicate": 1, "pending": 0,
        "resubmitted": 0, "dropped": 0,
    }  # fmt: skip
    assert summed.problems == []
    assert summed.parts == {"results/part-00001-a1.jsonl": 10}


def test_tokens_of_batch_jobs_are_known_apart() -> None:
    run = Run()
    for name, kind, tokens in (("00001-a1", "job", 7), ("abc", "items", 100)):
        run.unit(name, kind, {"p": Counts(input_tokens=tokens, output_tokens=tokens * 2)})
    found = run.account()
    assert (found.input_tokens, found.output_tokens) == (107, 214)
    assert (found.batch_input_tokens, found.batch_output_tokens) == (7, 14)


def test_a_lost_record_is_named_by_its_shard_and_numbers() -> None:
    run = finished()
    run.units[0]["pieces"]["00001"]["sent"] = 9
    assert "unit 00001-a1: sent 9 records, but 10 were due" in run.account().problems


def test_a_settled_unit_has_no_open_records() -> None:
    """Its numbers say what became of each record, or one of them is wrong."""
    run = finished()
    run.units[0]["pieces"]["00001"]["duplicate"] = -1
    assert any("unit 00001-a1: sent 10, but landed 9 + failed 1" in problem for problem in run.account().problems)


def test_a_unit_of_no_shard_is_a_problem() -> None:
    run = finished()
    run.unit("sync-x", "items", {"00009": Counts(1, 1)})
    assert any("piece 00009 is no shard" in problem for problem in run.account().problems)


def test_a_unit_that_nothing_leads_to_is_a_problem() -> None:
    run = finished()
    run.unit("00001-a2", "job", {"00001": Counts(2, 2)}, settled=True)
    assert any("do not follow" in problem for problem in run.account().problems)


def test_a_landing_that_is_reprocessed_twice_is_a_problem() -> None:
    run = finished()
    run.lates += [{"unit": "00001-a1", "piece": "00001", "outcome": "landed"}] * 2
    assert any("more of its failed records were settled late" in problem for problem in run.account().problems)


def test_a_shard_that_nobody_began_is_pending_and_conserves() -> None:
    run = finished()
    run.units.clear()
    summed = run.account()
    assert summed.problems == []
    assert summed.counts["pending"] == 10


def test_an_empty_run_adds_up_to_nothing() -> None:
    assert set(account([], [], [], []).counts.values()) == {0}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"a": 1}, []),
        ({"a": 2}, ["a: 2 bytes in S3, its unit wrote 1"]),
        ({}, ["a: no bytes in S3, its unit wrote 1"]),
        ({"a": 1, "b": 1}, ["b: lies in S3, but no unit says that it wrote it"]),
    ],
)
def test_parts_are_checked_against_what_lies_in_s3(stored: dict[str, int], expected: list[str]) -> None:
    assert cross_check({"a": 1}, stored) == expected


def test_what_the_lane_settled_before_its_unit_said_so_may_be_all_that_is_open() -> None:
    """An older bundle sent messages before it noted failures; its worker died in between."""
    counts = {"read": 1, "accepted": 1, "rejected": 0, "duplicate": 0}
    unit = Unit("sync-x", "items", {"p": Counts(sent=1)}, outcomes=".").item("r", 0)
    late = {"unit": "sync-x", "piece": "p", "outcome": "landed", "results": []}
    summed = account(
        [{"cut": "00001", **counts}], [{"sk": "SHARD#p", "mode": "sync", "piece": "p", "accepted": 1}], [unit], [late]
    )
    assert summed.problems == []
    assert (summed.landed, summed.failed, summed.pending) == (1, 0, 0)
