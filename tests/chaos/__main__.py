"""`python -m tests.chaos`: plays the rows, prints the table, ends with 1 if a row is not good."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.chaos.field import applied
from tests.chaos.play import SHORT, WHOLE, Outcome, play
from tests.chaos.rows import chosen
from tests.chaos.table import markdown, totals


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows whose name holds one of these (such as: claim, batch)")
    parser.add_argument("--short", action="store_true", help="the short set, with few records")
    parser.add_argument("--list", action="store_true", help="show the rows and do nothing")
    parser.add_argument("--write", type=Path, help="write the table as Markdown into a file, if every row is good")
    options = parser.parse_args(arguments)
    rows = chosen(options.words, short=options.short)
    if options.list or not rows:
        print("\n".join(row.name for row in rows) or "No row's name holds one of these words.")
        return 0 if rows else 2
    began = time.monotonic()
    print(f"{len(rows)} rows; first Terraform applies the module to a local AWS.", flush=True)
    outcomes: list[Outcome] = []
    with applied() as field:
        for outcome in play(field, rows, SHORT if options.short else WHOLE):
            outcomes.append(outcome)
            print(f"{'ok  ' if outcome.good else 'FAIL'} {' | '.join(outcome.cells())}", flush=True)
    order = {row.name: number for number, row in enumerate(rows)}
    outcomes.sort(key=lambda outcome: order[outcome.row.name])
    print("\n" + totals(outcomes, time.monotonic() - began))
    good = all(outcome.good for outcome in outcomes)
    if options.write and good:
        options.write.write_text(markdown(outcomes, time.monotonic() - began), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
