"""Takes each fix out in turn, and sees the explorer find what it was for: `python -m tests.explorer.taken_out [word…]`.

A fix is taken out of a copy of the bundle by a change of its text, so that a row whose code has moved on says so. With
`--write` the table goes into docs/explorer.md.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.explorer.fixes import FIXES, Fix

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "explorer.md"


@dataclass(frozen=True)
class Found:
    """What the explorer said without the fix."""

    broken: int
    played: int
    name: str
    problem: str


def without(fix: Fix) -> Found:
    """Raises ValueError if the text that makes the fix is not there, once."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__", "dist")
        for name in ("lambdas", "asl", "tests/explorer"):
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "tests" / "__init__.py", copy / "tests")
        for file, old, new in fix.changes:
            path = copy / file
            text = path.read_text()
            if text.count(old) != 1:
                raise ValueError(f"{fix.row}: {file} holds the text of the fix {text.count(old)} times: {old!r}")
            path.write_text(text.replace(old, new))
        command = [sys.executable, "-W", "ignore", "-m", "tests.explorer", *fix.plays]
        done = subprocess.run(command, cwd=copy, text=True, capture_output=True, check=False)
    return _read(done.stdout + done.stderr)


def _read(told: str) -> Found:
    closing = re.search(r"(\d+) interleavings, (\d+) broken", told)
    if closing is None:
        raise ValueError(f"the explorer did not come to its end: {told[-2000:]}")
    first = re.search(r"^\d+ like (\S+) \(.*?\): (.*)$|^(\S+/\S+/\S+@\d+\+\d+): .*\n(.+)$", told, re.MULTILINE)
    name, problem = ("", "") if first is None else ((first[1] or first[3]), (first[2] or first[4]))
    return Found(int(closing[2]), int(closing[1]), name, problem)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explorer.taken_out", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    rows, blind = [], 0
    for fix in FIXES:
        if given.words and not any(word in fix.row for word in given.words):
            continue
        found = without(fix)
        blind += not found.broken
        print(f"{'found ' if found.broken else 'BLIND '} {fix.row}: {found.broken} of {found.played}: {found.name}")
        print(f"        {found.problem}")
        rows.append(f"| {fix.row} | {fix.taken_out} | `{found.name}` | {_cell(found.problem)} |")
    if given.write:
        head = PAGE.read_text().partition("| Fix |")[0]
        table = ["| Fix | Taken out by | Found by | What a user would see |", "| --- | --- | --- | --- |", *rows]
        PAGE.write_text(head + "\n".join(table) + "\n")
    return 1 if blind else 0


def _cell(text: str) -> str:
    return text.replace("|", "\\|")[:200]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
