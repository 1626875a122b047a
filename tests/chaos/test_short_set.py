"""The short set of the table: each fault strikes, and no record is lost or doubled. `make chaos` plays all rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos import checker
from tests.chaos.field import Field, applied
from tests.chaos.play import SHORT, Outcome, mark, play
from tests.chaos.rows import chosen

ROWS = chosen([], short=True)


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    with applied() as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(field: Field) -> dict[str, Outcome]:
    return {outcome.row.name: outcome for outcome in play(field, ROWS, SHORT)}


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_nothing_is_lost_or_doubled(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.problems == []
    assert outcome.injected > 0
    assert outcome.verdict.records > 0


@pytest.mark.parametrize("name", ["events doubled (batch)", "event run twice at once (sync)"])
def test_the_checker_sees_a_single_line_of_a_real_run(field: Field, outcomes: dict[str, Outcome], name: str) -> None:
    """One line less is one record lost; one line more is one record doubled."""
    outcome = outcomes[name]
    evidence = field.evidence(outcome.run.split("-")[0], [outcome.run], [])
    (run,) = evidence.runs
    key = next(iter(run.results))
    first, rest = run.results[key].split(b"\n", 1)
    run.results[key] = rest
    lost = checker.check(evidence, mark)
    assert (len(lost.lost), lost.landed) == (1, outcome.verdict.landed - 1)
    run.results[key] = first + b"\n" + first + b"\n" + rest
    doubled = checker.check(evidence, mark)
    assert (len(doubled.doubled), doubled.lost) == (1, [])
