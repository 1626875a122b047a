"""Boundaries inside the sources: clock and environment are arguments of logic; no literal partition in HCL.

What may be imported where is import-linter's (pyproject.toml).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.lint.findings import Finding

CLOCKS = {"time.time", "time.monotonic", "time.perf_counter", "time.time_ns", "time.sleep", "datetime.now",
          "datetime.utcnow", "datetime.datetime.now", "date.today", "datetime.date.today"}  # fmt: skip
"""Calls that pure logic takes as an argument instead."""

ENVIRONMENT = "core/environment.py"

NAMES = "core/names.py"
NAME_STARTS = re.compile(r"(?:reprocess|document|sync|merged|id|line|doc|in)-|-(?:[acfrst]|rest)")
"""Texts that names begin or go on with: `f"{shard}-a{attempt}"`."""

PARTITION = re.compile(r"arn:aws(-[a-z]+)*:")


def check_python(root: Path) -> Iterator[Finding]:
    """Logic reads no environment and no clock: those stand in `aws/`, `handlers/` and core/environment.py."""
    package = root / "lambdas" / "bulk_inference"
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        yield from check_module(path.relative_to(root).as_posix(), module, path.read_text(encoding="utf-8"))


def check_module(file: str, module: str, text: str) -> Iterator[Finding]:
    """`module` is the module's path below the package: `cut/cutting.py`."""
    if module.startswith(("aws/", "handlers/")):
        return
    tree = ast.parse(text)
    yield from _spelled_names(file, module, tree)
    for node in ast.walk(tree):
        line = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS:
            yield Finding(file, line, "clock-boundary", f"calls {ast.unparse(node.func)}: take it as an argument")
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ" and module != ENVIRONMENT:
            yield Finding(file, line, "environment-boundary", f"the environment is read in {ENVIRONMENT} only")


def _spelled_names(file: str, module: str, tree: ast.AST) -> Iterator[Finding]:
    """Names of shards, units, parts and ids are built and parsed in one module: two that differ lose records."""
    if module == NAMES:
        return
    for node in ast.walk(tree):
        spelled = False
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            spelled = re.fullmatch(r"f'0\d+d'", ast.unparse(node.format_spec)) is not None
        elif isinstance(node, ast.Constant):
            spelled = NAME_STARTS.fullmatch(str(node.value)) is not None
        if spelled:
            line = f"line {getattr(node, 'lineno', 0)}"
            yield Finding(file, line, "name-boundary", f"a name is spelled out: {NAMES} has all")


def check_hcl(root: Path) -> Iterator[Finding]:
    """No `arn:aws:` in HCL: the partition comes from data, or the module works in one partition only."""
    patterns = ("*.tf", "modules/**/*.tf", "examples/*/*.tf", "demo/*.tf")
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        if ".terraform" not in path.parts:
            yield from check_partition(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def check_partition(file: str, text: str) -> Iterator[Finding]:
    """Comments may show an example; values may not. Descriptions and messages show examples too."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        prose = re.match(r"\s*(description|error_message)\s*=", code)
        if PARTITION.search(code) and not prose:
            yield Finding(file, f"line {number}", "partition", "a literal partition: use data.aws_partition")
