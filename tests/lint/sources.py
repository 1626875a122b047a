"""Boundaries inside the sources: what may be imported where, and no literal partition in HCL."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lint.findings import Finding

IMPORTS: Mapping[str, tuple[str, ...]] = {
    "boto3": ("aws",),
    "botocore": ("aws",),
    "aws_lambda_powertools": ("handlers", "aws"),
    "aws_xray_sdk": ("handlers",),
}
"""Library → the packages of bulk_inference that may import it."""

CLOCKS = {"time.time", "time.monotonic", "time.perf_counter", "time.time_ns", "time.sleep", "datetime.now",
          "datetime.utcnow", "datetime.datetime.now", "date.today", "datetime.date.today"}  # fmt: skip
"""Calls that pure logic takes as an argument instead."""

PARTITION = re.compile(r"arn:aws(-[a-z]+)*:")


def check_python(root: Path) -> Iterator[Finding]:
    """Logic imports no AWS library, reads no environment and no clock: those stand in `aws/` and `handlers/`."""
    package = root / "lambdas" / "bulk_inference"
    for path in sorted(package.rglob("*.py")):
        folder = path.relative_to(package).parts[0]
        yield from check_module(path.relative_to(root).as_posix(), folder, path.read_text(encoding="utf-8"))


def check_module(file: str, folder: str, text: str) -> Iterator[Finding]:
    """`folder` is the module's first part below the package: `aws`, `handlers`, or its own name if it is logic."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        line = f"line {getattr(node, 'lineno', 0)}"
        for library in _imported(node):
            if folder not in IMPORTS.get(library, (folder,)):
                allowed = " and ".join(f"{name}/" for name in IMPORTS[library])
                yield Finding(file, line, "import-boundary", f"{library} is imported in {allowed} only")
        if folder in ("aws", "handlers"):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS:
            yield Finding(file, line, "clock-boundary", f"calls {ast.unparse(node.func)}: take it as an argument")
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ" and folder != "environment.py":
            yield Finding(file, line, "environment-boundary", "the environment is read in environment.py only")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.split(".")[0]]
    return []


def check_hcl(root: Path) -> Iterator[Finding]:
    """No `arn:aws:` in HCL: the partition comes from data, or the module works in one partition only."""
    for path in sorted([*root.glob("*.tf"), *root.glob("modules/**/*.tf"), *root.glob("examples/*/*.tf")]):
        if ".terraform" not in path.parts:
            yield from check_partition(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def check_partition(file: str, text: str) -> Iterator[Finding]:
    """Comments may show an example; values may not. Descriptions and messages show examples too."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        prose = re.match(r"\s*(description|error_message)\s*=", code)
        if PARTITION.search(code) and not prose:
            yield Finding(file, f"line {number}", "partition", "a literal partition: use data.aws_partition")
