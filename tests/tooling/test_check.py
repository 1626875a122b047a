"""`make check` turns red for what is broken, and runs the tests that a change concerns."""

import sys

import pytest

from tests.harness import check
from tests.harness.check import Step

TESTMON = "testmon: changed files: 0, unchanged files: 246, environment: default"


@pytest.mark.parametrize(
    ("status", "output", "passed"),
    [
        (0, "54 passed in 4.20s", True),
        (1, "1 failed, 53 passed in 4.20s", False),
        (5, f"{TESTMON}\nno tests ran in 0.31s", True),
        (5, "testmon: new DB, environment: default\nno tests ran in 0.31s", False),
        (5, "no tests ran in 0.01s", False),
        (4, "ERROR: file or directory not found: tests/unit", False),
    ],
)
def test_no_test_may_be_chosen_and_some_must_be_found(status: int, output: str, passed: bool) -> None:
    assert Step("tests", (), tests=True).passed(status, output) is passed


def test_a_tool_is_not_excused_as_tests_are() -> None:
    assert not Step("types", ()).passed(5, TESTMON)


def test_a_test_that_names_changed_data_is_run() -> None:
    tests = {
        "tests/unit/request/test_schema.py": 'SCHEMA = ROOT / "docs" / "run-request.schema.json"',
        "tests/unit/watch/test_reconcile.py": 'load("batch_job_state_change")',
        "tests/unit/cut/test_cutting.py": "from bulk_inference.cut import cutting",
    }
    assert check.naming(["docs/run-request.schema.json"], tests) == ["tests/unit/request/test_schema.py"]
    assert check.naming(["tests/events/batch_job_state_change.json"], tests) == ["tests/unit/watch/test_reconcile.py"]
    assert check.naming(["lambdas/bulk_inference/cut/cutting.py", "README.md"], tests) == []


def test_one_red_step_is_enough(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Step("types", (sys.executable, "-c", "print('line 3: error'); raise SystemExit(1)"))
    fine = Step("ruff", (sys.executable, "-c", "print('All checks passed!')"))
    monkeypatch.setattr(check, "steps", lambda _: [broken, fine])
    assert check.main() == 1
    printed = capsys.readouterr().out
    assert "line 3: error" in printed
    assert "FAILED types" in printed
    assert "ok     ruff" in printed
    monkeypatch.setattr(check, "steps", lambda _: [fine])
    assert check.main() == 0
