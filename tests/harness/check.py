"""What to run before every commit: `make check` (`python -m tests.harness.check`).

Formats, types, the import contracts, the lint rules that read files only, and those unit tests whose code was changed
since they were last green here. pytest-testmon remembers that per function, in `.build/testmon`; without this file (a
fresh clone, another set of packages) all unit tests run once. testmon does not see files that are no Python: a test
that names a changed one is run, too.

The steps run side by side; what failed is printed whole, and status 1 says so. `make test` runs everything.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit", "tests/lint")
"""Folders of tests that start no server."""

_NO_TESTS = 5
"""pytest's status when it ran no test."""


@dataclass(frozen=True)
class Step:
    """One command. `tests`: it runs those tests that testmon chooses, which may be none."""

    name: str
    command: tuple[str, ...]
    tests: bool = False

    def passed(self, status: int, output: str) -> bool:
        """No test may be chosen; no test may never be found: that is a moved folder, or a wrong option."""
        if self.tests and status == _NO_TESTS:
            return re.search(r"testmon: .*unchanged files: [1-9]", output) is not None
        return status == 0


@dataclass(frozen=True)
class Result:
    """What became of a step, and how long it took."""

    step: Step
    passed: bool
    output: str
    seconds: float


def naming(changed: Iterable[str], tests: dict[str, str]) -> list[str]:
    """Which tests name a changed file that is no Python, by its name or its stem in quotes. `tests`: path → text."""
    stems = {Path(file).stem for file in changed if not file.endswith(".py")}
    names = {f"{quote}{stem}" for stem in stems for quote in "\"'"}
    return sorted(path for path, text in tests.items() if any(name in text for name in names))


def changed_files() -> list[str]:
    """Files that differ from the last commit, new ones included."""
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--no-renames", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line[3:] for line in listed.stdout.split("\0") if line]


def steps(data_tests: list[str]) -> list[Step]:
    """All steps; the long ones first, so that two cores end together."""
    programs = Path(sys.executable).parent
    pytest = (sys.executable, "-m", "pytest")
    return [
        Step("tests", (*pytest, *TESTS, "-n", "2", "--testmon"), tests=True),
        Step("types", (str(programs / "mypy"),)),
        Step("lint", (sys.executable, "-m", "tests.lint", "--quick")),
        Step("imports", (str(programs / "lint-imports"), "--no-cache")),
        Step("ruff", (str(programs / "ruff"), "check")),
        Step("format", (str(programs / "ruff"), "format", "--check")),
        *([Step("tests of changed data", (*pytest, "-q", *data_tests))] if data_tests else []),
    ]


def run(step: Step) -> Result:
    """Runs a step and keeps what it prints."""
    started = time.monotonic()
    paths = ("lambdas", ".", os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        "TESTMON_DATAFILE": str(ROOT / ".build" / "testmon"),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        step.command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Result(step, step.passed(done.returncode, done.stdout), done.stdout, time.monotonic() - started)


def main() -> int:
    (ROOT / ".build").mkdir(exist_ok=True)
    files = [path for folder in TESTS for path in (ROOT / folder).rglob("test_*.py")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    chosen = steps(naming(changed_files(), texts))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, chosen))
    for result in results:
        if not result.passed:
            print(f"━━ {result.step.name} ━━\n{result.output}")
    for result in results:
        closing = next((line for line in reversed(result.output.splitlines()) if line.strip()), "").strip("= ")
        print(f"{'ok    ' if result.passed else 'FAILED'} {result.step.name:<12} {result.seconds:>4.0f} s  {closing}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
