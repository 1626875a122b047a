"""Runs the test suites one after the other and ends with a count of each: `python -m tests.harness.suites [suite…]`.

A suite that runs no test is a failure: a moved folder or a wrong filter must not look like success. What follows `--`
goes to pytest. What each suite is for stands in CONTRIBUTING.md.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = str(ROOT / "tests" / "harness" / "terraform.sh")


@dataclass(frozen=True)
class Outcome:
    """What one suite showed: tests that passed and did not, its wall time, its own closing line."""

    passed: int
    failed: int
    seconds: float
    closing: str

    @property
    def green(self) -> bool:
        return self.passed > 0 and self.failed == 0


@dataclass(frozen=True)
class Suite:
    """One suite: its commands (the last one runs the tests) and how to count from what that one printed."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    count: Callable[[str], tuple[int, int, str]]


def pytest_counts(output: str) -> tuple[int, int, str]:
    """(passed, failed, closing line) from pytest's output. Skipped tests count as failed: this project has none."""
    closing = next((line for line in reversed(output.splitlines()) if re.search(r" in [\d.]+s\b", line)), "")
    counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", closing)}
    return counts.get("passed", 0), sum(counts.get(word, 0) for word in ("failed", "error", "skipped")), closing.strip()


def terraform_counts(output: str) -> tuple[int, int, str]:
    """(passed, failed, closing line) from `terraform test -no-color`."""
    found = re.findall(
        r"^(?:Success!|Failure!) (\d+) passed, (\d+) failed(?:, (\d+) skipped)?.*$", output, re.MULTILINE
    )
    if not found:
        return 0, 1, "terraform test printed no summary"
    passed, failed, skipped = (int(number or 0) for number in found[-1])
    return passed, failed + skipped, f"{passed} passed, {failed} failed, {skipped} skipped"


def suites(pytest_arguments: list[str]) -> list[Suite]:
    """All suites, the cheap ones first."""

    def pytest(name: str, folders: list[str], *options: str) -> Suite:
        return Suite(
            name, ((sys.executable, "-m", "pytest", *folders, "-q", *options, *pytest_arguments),), pytest_counts
        )

    workers = str(min(os.cpu_count() or 1, 4))
    # Each worker of the emulator's suite runs a local AWS of its own; a file's tests stay on one of them.
    per_file = ("-n", workers, "--dist", "loadfile")
    init = (TERRAFORM, "init", "-backend=false", "-input=false", "-no-color")
    return [
        pytest("unit", ["tests/unit"], "-n", workers),
        pytest("explorer", ["tests/explorer"], "-n", workers, "-p", "no:warnings"),
        pytest("cli", ["cli/tests"], "-n", workers),
        pytest("tooling", ["tests/lint", "tests/tooling", "tests/confirm"], *per_file),
        pytest("emulator", ["local_aws/tests"], *per_file),
        pytest("iam", ["tests/iam"], "-n", "0"),
        Suite("terraform", (init, (TERRAFORM, "test", "-no-color")), terraform_counts),
        # Whole runs wait more than they compute: three stacks, each applied by its own worker, share two cores well.
        pytest("end_to_end", ["tests/end_to_end"], "-n", "3", "--dist", "worksteal"),
        pytest("examples", ["tests/examples"], "-n", "0"),
        pytest("chaos", ["tests/chaos"], "-n", "0"),
    ]


def run(suite: Suite) -> Outcome:
    """Run a suite; its output is shown as it comes."""
    started = time.monotonic()
    print(f"\n━━ {suite.name} ━━", flush=True)
    status, output = 0, ""
    for command in suite.commands:
        with subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            lines = []
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        status, output = process.returncode, "".join(lines)
        if status != 0:
            break
    passed, failed, closing = suite.count(output)
    if status != 0 and failed == 0:
        failed, closing = 1, f"ended with status {status}"
    return Outcome(passed, failed, time.monotonic() - started, closing or "ran no test")


def main(arguments: list[str]) -> int:
    names, rest = arguments, []
    if "--" in arguments:
        names, rest = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    known = suites(rest)
    unknown = set(names) - {suite.name for suite in known}
    if unknown:
        print(f"No such suite: {', '.join(sorted(unknown))}. There are: {', '.join(s.name for s in known)}.")
        return 2
    outcomes = {suite.name: run(suite) for suite in known if not names or suite.name in names}
    print()
    for name, outcome in outcomes.items():
        mark = "ok    " if outcome.green else "FAILED"
        print(f"{mark} {name:<12} {outcome.passed:>5} passed {outcome.failed:>3} failed {outcome.seconds:>6.0f} s")
    total = sum(outcome.passed for outcome in outcomes.values())
    print(f"       {'all':<12} {total:>5} passed\n")
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome.closing}")
    return 0 if all(outcome.green for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
