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
