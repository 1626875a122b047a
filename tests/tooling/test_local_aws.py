"""local_aws/ is a tool of its own: it imports nothing of this repository and names nothing of this module."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws.stepfunctions import definitions

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "local_aws"
SOURCES = sorted(path for path in TOOL.rglob("*") if path.suffix in (".py", ".md", ".toml") and path.is_file())
PYTHON = [path for path in SOURCES if path.suffix == ".py"]
NAMES = {
    path.name.split(".")[0]
    for folder in ("lambdas/bulk_inference/handlers", "asl")
    for path in (ROOT / folder).iterdir()
}
OURS = re.compile(
    r"bulk[-_]inference|(?<![\w./-])(examples|lambdas|asl|modules|demo|docs|tests)/[a-z]"
    rf"|(?<![a-z])({'|'.join(sorted(name for name in NAMES if re.fullmatch('[a-z]+(_[a-z]+)+', name)))})(?![a-z])"
)
"""What this module alone has: its name, its folders, its functions and machines."""


def imported(path: Path) -> Iterator[str]:
    """The first parts of what a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_tool_is_found() -> None:
    assert len(PYTHON) > 60
    assert all(map(OURS.search, ("in `tests/harness`", "the bulk_inference package", "*-infer_batch")))


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(TOOL).as_posix())
def test_nothing_of_this_repository_is_imported(path: Path) -> None:
    ours = {entry.stem for entry in [*ROOT.iterdir(), *(ROOT / "lambdas").iterdir()]} - {"local_aws"}
    assert set(imported(path)) & ours == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(TOOL).as_posix())
def test_nothing_of_this_module_is_named(path: Path) -> None:
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if OURS.search(line)]
    assert found == []


def test_dependencies_are_what_is_imported_at_the_versions_that_are_tested() -> None:
    """Whoever installs it gets what this repository's lock file has."""
    declared = tomllib.loads((TOOL / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    named = {re.split(r"[=<> ]", each)[0] for each in declared}
    known = {"ministack", "botocore", "boto3", "hypercorn"}
    foreign = {name for path in PYTHON if "src" in path.parts for name in imported(path)} & known
    assert named == foreign == known
    locked = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    for each in declared:
        if "==" in each:
            assert re.search(rf"^{re.escape(each)} ", locked, re.MULTILINE), each


KINDER = {
    "Who applies": "tests/iam/test_policies.py::test_roles_are_passed_by_name_to_one_service",
    "Organizations": "tests/iam/test_policies.py::test_every_role_has_the_boundary_and_the_path",
    "Network": "tests/iam/test_simulation.py::test_each_role_may_do_its_duty_and_nothing_of_another",
    "Keys": "tests/iam/test_resource_policies.py::test_the_key_is_for_the_accounts_iam_and_for_the_pipelines_logs",
    "Vended logs and traces": "tests/iam/test_simulation.py::test_each_role_may_do_its_duty_and_nothing_of_another",
    "Throttling": "tests/lint/test_machines.py::test_broken_machine_is_found",
    "Consistency": "tests/lint/test_machines.py::test_broken_machine_is_found",
    "Events": "tests/unit/aws/test_events.py::test_an_event_that_the_bus_did_not_take_is_an_error",
    "Alarms": "tests/capabilities.tftest.hcl::dead_letters_ring_where_a_topic_is_given",
    "Code": "tests/tooling/test_build.py::test_layer_is_pure_python_and_small",
    "Map results": "tests/iam/test_simulation.py::test_each_role_may_do_its_duty_and_nothing_of_another",
}
"""Where the local AWS is kinder than AWS (local_aws/README.md) → what checks it of this module without running it."""


def test_every_place_where_the_local_aws_is_kinder_has_a_check_here() -> None:
    table = (TOOL / "README.md").read_text(encoding="utf-8").partition("## Still kinder than AWS")[2]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")][2:]
    assert rows == list(KINDER)
    for where in KINDER.values():
        file, _, name = where.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in text or re.search(rf'^run ".*{name}.*"', text, re.MULTILINE), where


@pytest.mark.parametrize("path", sorted((ROOT / "asl").glob("*.asl.json")), ids=lambda path: path.name)
def test_machines_of_this_module_are_valid(path: Path) -> None:
    """What the module creates passes every check of the local AWS."""
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    text = re.sub(r"\$\{(\w+)\}", lambda found: "aws" if found[1] == "partition" else arn, path.read_text())
    assert [str(each) for each in definitions.problems(text)] == []
