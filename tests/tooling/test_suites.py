"""`make test` counts what ran, and a suite that ran nothing is not green."""

import sys

import pytest

from tests.harness import suites
from tests.harness.suites import Outcome, Suite


@pytest.mark.parametrize(
    ("closing", "passed", "failed"),
    [
        ("157 passed in 5.61s", 157, 0),
        ("===== 1 failed, 156 passed, 2 warnings in 4.39s =====", 156, 1),
        ("3 failed, 2 passed, 1 skipped, 2 errors in 61.22s (0:01:01)", 2, 6),
        ("no tests ran in 0.01s", 0, 0),
    ],
)
def test_pytest_closing_line_is_counted(closing: str, passed: int, failed: int) -> None:
    assert suites.pytest_counts(f"....\n{closing}\n")[:2] == (passed, failed)


@pytest.mark.parametrize(
    ("closing", "passed", "failed"),
    [
        ("Success! 12 passed, 0 failed.", 12, 0),
        ("Failure! 11 passed, 1 failed, 3 skipped.", 11, 4),
        ("Success! 0 passed, 0 failed.", 0, 0),
        ("Error: no module", 0, 1),
    ],
)
def test_terraform_closing_line_is_counted(closing: str, passed: int, failed: int) -> None:
    assert suites.terraform_counts(f"run...\n\n{closing}\n")[:2] == (passed, failed)


def suite_that(code: str) -> Suite:
    return Suite("sample", ((sys.executable, "-c", code),), suites.pytest_counts)


def test_suite_that_ran_no_test_is_red() -> None:
    assert not suites.run(suite_that("print('no tests ran in 0.01s')")).green


def test_suite_that_dies_after_its_closing_line_is_red() -> None:
    outcome = suites.run(suite_that("print('5 passed in 0.01s'); raise SystemExit(3)"))
    assert (outcome.green, outcome.closing) == (False, "ended with status 3")


def test_suite_whose_preparation_fails_is_red() -> None:
    prepared = Suite(
        "sample",
        ((sys.executable, "-c", "raise SystemExit(1)"), (sys.executable, "-c", "print('5 passed in 0.01s')")),
        suites.pytest_counts,
    )
    assert not suites.run(prepared).green


def test_every_suite_is_counted_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = {"unit": Outcome(7, 0, 1.0, "7 passed in 1.00s"), "terraform": Outcome(0, 0, 1.0, "0 passed")}
    monkeypatch.setattr(suites, "run", lambda suite: outcomes[suite.name])
    assert suites.main(["unit"]) == 0
    assert suites.main(["unit", "terraform"]) == 1
    assert suites.main(["units"]) == 2
    printed = capsys.readouterr().out
    assert "FAILED terraform" in printed
    assert "unit: 7 passed in 1.00s" in printed
