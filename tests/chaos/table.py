"""The table of a play."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.play import Outcome

_HEAD = ("Fault", "Mode", "Injected", "Records", "Landed", "Failed", "Pending", "Lost", "Doubled", "How it healed")

_PAGE = """# Chaos

What becomes of a run when something breaks. `make chaos` made this table: it applies the module to a
[local AWS](../local_aws/README.md), plays each fault against a run of its own, and lets a
[checker](../tests/chaos/checker.py) judge that reads corpus, results, failures, tables and queues, and uses none of the
module's code. {totals}

What two workers do to each other, struck at each of their effects, is played by the [explorer](explorer.md).

*Injected*: how often the fault struck. *Failed*: has a failure line, and no result. *Pending*: not tried yet when the
run stopped, as its manifest says. *How it healed*: errors after which a task was tried again (of the state machines;
what a function tries again by itself does not show), later attempts, records that went the sync way or through the
failure lane, and what an operator did.

{table}
"""


def markdown(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The page with the table."""
    lines = [_line(_HEAD), "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    return _PAGE.format(
        totals=totals(outcomes, seconds), table="\n".join(lines + [_line(outcome.cells()) for outcome in outcomes])
    )


def totals(outcomes: Sequence[Outcome], seconds: float) -> str:
    """One sentence about all rows."""
    records = sum(outcome.verdict.records for outcome in outcomes)
    lost = sum(len(outcome.verdict.lost) for outcome in outcomes)
    doubled = sum(len(outcome.verdict.doubled) for outcome in outcomes)
    injected = sum(outcome.injected for outcome in outcomes)
    bad = sum(not outcome.good for outcome in outcomes)
    return (
        f"{len(outcomes)} rows, {records:,} records, {injected:,} faults: {lost} lost, {doubled} doubled, "
        f"{bad} rows not good. It took {seconds / 60:.0f} minutes."
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
