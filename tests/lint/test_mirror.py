"""A test without its module, a module without its test, and a test that borrows from another are found."""

import pytest

from tests.lint import mirror


def found(modules: str, tests: str, themes: str = "", tested_in: str = "") -> list[str]:
    rows = dict(row.split(":") for row in tested_in.split())
    return [
        finding.file + " " + finding.where
        for finding in mirror.check_names(
            set(modules.split()), set(tests.split()), dict.fromkeys(themes.split(), "why"), rows
        )
    ]


def test_each_module_has_its_test_and_each_test_its_module() -> None:
    assert found("corpus/rows.py", "corpus/test_rows.py") == []
    assert found("corpus/rows.py", "") == ["lambdas/bulk_inference/corpus/rows.py file"]
    assert found("", "corpus/test_rows.py") == ["tests/unit/corpus/test_rows.py file"]


def test_a_theme_and_a_test_elsewhere_are_said_and_true() -> None:
    assert found("", "cut/test_hostile.py", themes="cut/test_hostile.py") == []
    assert found("cut/a.py", "cut/test_b.py", "cut/test_b.py", "cut/a.py:cut/test_b.py") == []
    assert found("", "", themes="cut/test_gone.py") == ["tests/lint/mirror.py cut/test_gone.py"]
    assert found("cut/a.py", "cut/test_a.py", themes="cut/test_a.py") == ["tests/lint/mirror.py cut/test_a.py"]
    assert found("cut/a.py", "cut/test_a.py", "", "cut/a.py:cut/test_a.py") == ["tests/lint/mirror.py cut/a.py"]
    assert "tests/lint/mirror.py cut/a.py" in found("cut/a.py", "", "", "cut/a.py:cut/test_gone.py")


@pytest.mark.parametrize(
    ("text", "borrows"),
    [
        ("from tests.unit.cut.test_cutting import LINES", True),
        ("from tests.unit.cut import test_cutting", True),
        ("import tests.unit.cut.test_cutting", True),
        ("from tests.worlds.corpus_world import cut", False),
        ("from tests.end_to_end.conftest import request", False),
    ],
)
def test_what_tests_share_lies_in_no_test(text: str, borrows: bool) -> None:
    assert [finding.rule for finding in mirror.check_imports("file", text)] == ["test-imports"] * borrows


def test_the_architecture_names_every_module_and_no_other() -> None:
    modules = {"cutting": "cut", "s3": "aws", "stop_run": "handlers", "__init__": "cut"}
    assert list(mirror.check_page(modules, "`cutting`, made by `stop_run.py`")) == []
    assert [one.where for one in mirror.check_page(modules, "")] == ["cutting"]
    assert [one.where for one in mirror.check_page(modules, "`cutting` `slices.py`")] == ["slices"]
