"""A handler is found by its name everywhere: a file in modules/, a row in docs/architecture.md, a test."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.lint.findings import Finding

TESTED_BY_RUNS = frozenset(
    {
        "close_assembly",
        "cut_shards",
        "export_parquet",
        "join_documents",
        "order_results",
        "plan_assembly",
        "plan_run",
        "seal_shards",
        "sort_chunks",
    }
)
"""Handlers of one call each, which only whole runs call (tests/end_to_end): their logic has its unit tests."""


def check(root: Path) -> Iterator[Finding]:
    folder = root / "lambdas" / "bulk_inference" / "handlers"
    handlers = {path.stem for path in folder.glob("*.py") if is_handler(path.read_text(encoding="utf-8"))}
    files = {path.stem for path in root.glob("modules/*/*.tf")}
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests/unit/handlers").glob("test_*.py"))
    yield from check_names(handlers, files, page, tests)


def is_handler(text: str) -> bool:
    """Whether Lambda can call the module: it defines `handler`."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "handler" for node in ast.parse(text).body)


def check_names(handlers: set[str], files: set[str], page: str, tests: str) -> Iterator[Finding]:
    """`files`: names of the HCL files below modules/, without `.tf`; `page` and `tests`: texts that name handlers."""
    for handler in sorted(handlers):
        file = f"lambdas/bulk_inference/handlers/{handler}.py"
        if handler not in files:
            yield Finding(file, "file", "functions", f"no modules/*/{handler}.tf makes the function")
        if f"`{handler}`" not in page:
            yield Finding(file, "file", "functions", f"docs/architecture.md has no row for `{handler}`")
        if handler not in tests and handler not in TESTED_BY_RUNS:
            yield Finding(file, "file", "functions", "no test in tests/unit/handlers calls it")
    for handler in sorted(TESTED_BY_RUNS - handlers):
        yield Finding("tests/lint/functions.py", handler, "functions", "is no handler: remove it from TESTED_BY_RUNS")
