"""How much a reader meets at once: modules in a folder, lines of a function, parameters of a function."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lint.findings import Finding

MODULES = 24
LINES = 50
PARAMETERS = 6

FOLDERS: Mapping[str, str] = {
    "lambdas/bulk_inference/core": "shared vocabulary: what was cut off it, everybody would import besides",
    "lambdas/bulk_inference/handlers": "flat: a handler per state, found by the state's name",
}
"""Folders that may hold more modules, each with its reason."""

_B = "lambdas/bulk_inference/"
_REPLACES = "takes what the function of ministack takes that it replaces"
LONG: Mapping[str, str] = {
    f"{_B}core/model_families.py::_claude": "a row of the table of models: every argument is a column",
    f"{_B}cut/seal_run.py::_seal": "the order of its writes is the promise: files, then the map, then items",
    f"{_B}failure_lane/redrive.py::resubmit": "one command, step by step; each step may be the second one",
    f"{_B}request/parse.py::parse": "a request section by section, in the order of the page",
    f"{_B}request/source.py::parse_source": "a section field by field, in the order of the page",
    f"{_B}cut/cutting.py::cut_records": "one pass over the rows: what becomes of each stands in one place",
    f"{_B}finish/reporting.py::manifest": "the manifest, member by member: one literal that is read beside docs",
    f"{_B}intake/message.py::document_item": "the item of a document, attribute by attribute",
    f"{_B}land/landing.py::land": "what a claim is made with, each named at the call",
    "local_aws/src/local_aws/bedrock/bodies.py::_prompt": "what the two APIs spell differently, one argument each",
    "local_aws/src/local_aws/iam.py::extract_resource_arn": _REPLACES,
    "local_aws/src/local_aws/iam.py::access_denied_response": _REPLACES,
}
"""Functions that may be longer or take more, `file::name`, each with its reason."""

_TREES = ("lambdas", "local_aws/src", "demo", "tests", "docs/pictures")
_TABLES = "tests/"
"""Functions of tests hold tables of cases: long, and read row by row."""


def check(root: Path) -> Iterator[Finding]:
    files = [path for tree in _TREES for path in sorted((root / tree).rglob("*.py"))]
    yield from check_folders([path.relative_to(root).as_posix() for path in files])
    met: set[str] = set()
    for path in files:
        file = path.relative_to(root).as_posix()
        if file.startswith(_TABLES):
            continue
        for name, said in too_large(path.read_text(encoding="utf-8")):
            met.add(f"{file}::{name}")
            if f"{file}::{name}" not in LONG:
                yield Finding(
                    file, name, "function-size", f"{said}: split it, or give it a row with a reason in sizes.py"
                )
    for row in sorted(LONG.keys() - met):
        yield Finding("tests/lint/sizes.py", row, "function-size", "is not large, or not there: remove its row")


def check_folders(files: list[str]) -> Iterator[Finding]:
    """Tests are counted apart from modules: a rule and its test are one thing to a reader."""
    counts: dict[tuple[str, bool], int] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        if name != "__init__.py":
            counts[folder, name.startswith("test_")] = counts.get((folder, name.startswith("test_")), 0) + 1
    for (folder, _), count in sorted(counts.items()):
        if count > MODULES and folder not in FOLDERS:
            yield Finding(
                folder, "folder", "folder-size", f"{count} modules, at most {MODULES}: cut it by what they are for"
            )


def too_large(text: str) -> Iterator[tuple[str, str]]:
    """(name, what is too much) of functions and methods; `self` and `cls` are no parameters."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = sum(one.arg not in ("self", "cls") for one in taken)
            if lines > LINES:
                yield node.name, f"{lines} lines, at most {LINES}"
            if parameters > PARAMETERS:
                yield node.name, f"{parameters} parameters, at most {PARAMETERS}"
