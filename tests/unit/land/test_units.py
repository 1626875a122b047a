"""Units as items: there and back, and when one is broken."""

import pytest

from bulk_inference.core.failure_line import Failure
from bulk_inference.core.index_line import Pointer
from bulk_inference.land.units import (
    Counts,
    ErrorKind,
    Part,
    Unit,
    broken,
    items_unit,
    tally,
)


def test_a_unit_survives_its_item() -> None:
    unit = Unit(
        "00001-a1",
        "job",
        {"00001": Counts(5, 3, 1, 0, 1)},
        results=[Part("k", 1, 3)],
        errors=[ErrorKind("model", "500", 1, "a")],
        settled=True,
        job_arn="arn",
        contradictions=["x"],
        flushes={"0": 1},
    )
    item = unit.item("r", 7)
    assert (item["pk"], item["sk"], item["expires_at"]) == ("RUN#r", "UNIT#00001-a1", 7)
    assert Unit.from_json(item) == unit


@pytest.mark.parametrize(
    ("sent", "failed", "late", "expected"),
    [
        (100, 10, 0, False),
        (100, 11, 0, True),
        (100, 11, 1, False),
        (9, 9, 0, False),
        (10, 2, 0, True),
        (10, 1, 0, False),
    ],
)
def test_a_unit_of_ten_or_more_breaks_above_the_tolerance(sent: int, failed: int, late: int, expected: bool) -> None:
    assert (broken(Counts(sent=sent, failed=failed), late, 10.0) is not None) is expected


def test_the_commonest_errors_come_first_each_with_its_first_record() -> None:
    failures = [Failure(Pointer(f"r{n}"), "model", "500" if n else "424", "", 1) for n in range(3)]
    kinds = tally(tally([], failures[:2]), failures[2:])
    assert kinds == [ErrorKind("model", "500", 2, "r1"), ErrorKind("model", "424", 1, "r0")]


def test_a_unit_is_named_by_run_and_items() -> None:
    items = [{"recordId": "a", "shard": "p"}]
    assert items_unit("r", items) == items_unit("r", [{"shard": "p", "recordId": "a"}])
    assert len({items_unit("r", items), items_unit("r2", items), items_unit("r", [{"recordId": "b"}])}) == 3
