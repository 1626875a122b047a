"""A handler without HCL, without a row in the architecture or without a test is found."""

import pytest

from tests.lint import functions


def found(files: str = "stop_run", page: str = "| `stop_run` |", tests: str = "stop_run.handler(event)") -> list[str]:
    known = {"stop_run", *functions.TESTED_BY_RUNS}
    pages = page + "".join(f"`{name}`" for name in functions.TESTED_BY_RUNS)
    return [
        one.message for one in functions.check_names(known, {*files.split(), *functions.TESTED_BY_RUNS}, pages, tests)
    ]


def test_a_handler_that_is_found_everywhere_passes() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"files": ""}, "modules/*/stop_run.tf"),
        ({"page": ""}, "docs/architecture.md"),
        ({"tests": ""}, "tests/unit/handlers"),
    ],
)
def test_what_is_missing_is_named(missing: dict[str, str], said: str) -> None:
    (message,) = found(**missing)
    assert said in message


def test_a_row_of_a_handler_that_is_gone_is_found() -> None:
    findings = list(functions.check_names(set(), set(), "", ""))
    assert {finding.where for finding in findings} == functions.TESTED_BY_RUNS


def test_a_module_beside_the_handlers_is_none() -> None:
    assert functions.is_handler("def handler(event, context): ...")
    assert not functions.is_handler("def services(): ...")
