"""The module's interface: inputs and outputs are described, every validation has a value that breaks it, every nested
module has its page and its example, and nothing is used that Terraform 1.9 or OpenTofu does not know."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lint import hcl
from tests.lint.findings import Finding

BLOCKS = {"terraform", "provider", "variable", "output", "locals", "resource", "data", "module", "moved", "removed",
          "import", "check"}  # fmt: skip
"""Blocks of a configuration in Terraform 1.9. Later ones: ephemeral, action, list."""

NEWER: dict[str, str] = {
    r"\bephemeral\s*=": "ephemeral values are Terraform 1.10's",
    r"\bephemeralasnull\(": "ephemeralasnull is Terraform 1.10's",
    r"\bephemeral\.": "ephemeral resources are Terraform 1.10's",
    r"\bprovider::": "provider functions are not OpenTofu's in the same spelling",
    r"\b\w+_wo(_version)?\s*=": "write-only arguments are Terraform 1.11's",
    r"\bdeprecated\s*=": "deprecated is Terraform 1.15's",
    r"\btemplatestring\(": "templatestring has other rules in OpenTofu",
    r"^\s*(parallel|state_key|skip_cleanup|override_during)\s*=": "this part of tests is Terraform 1.11's or later",
}
"""What a line of HCL may not hold → why."""

_EXPECTED = re.compile(r"expect_failures\s*=\s*\[(.*?)\]", re.DOTALL)


def check(root: Path) -> Iterator[Finding]:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "tests").glob("*.tftest.hcl")))
    for folder in hcl.folders(root):
        for path in hcl.files(folder):
            file, parsed = path.relative_to(root).as_posix(), hcl.load(path)
            yield from check_described(file, parsed)
            yield from check_features(file, path.read_text(encoding="utf-8"), parsed)
    for path in sorted((root / "tests").glob("*.tftest.hcl")):
        yield from check_features(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"), {})
    for path in hcl.files(root):
        yield from check_validations(path.relative_to(root).as_posix(), hcl.load(path), tests)
    yield from check_pages(root, tests)


def check_described(file: str, parsed: dict[str, Any]) -> Iterator[Finding]:
    for kind in ("variable", "output"):
        for (name,), body in hcl.blocks(parsed, kind):
            if not hcl.text(body.get("description", "")).strip():
                yield Finding(file, name, "interface", f"{kind} {name} has no description")
            if kind == "variable" and re.search(r"\bany\b", str(body.get("type", "any"))):
                yield Finding(file, name, "interface", f"variable {name} needs a type, and none that is any")


def check_features(file: str, text: str, parsed: dict[str, Any]) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        for pattern, why in NEWER.items():
            if re.search(pattern, code):
                yield Finding(file, f"line {number}", "features", why)
    for kind, _ in hcl.entries(parsed):
        if kind not in BLOCKS:
            yield Finding(file, kind, "features", f"Terraform 1.9 and OpenTofu know no block {kind}")


def check_validations(file: str, parsed: dict[str, Any], tests: str) -> Iterator[Finding]:
    """A run of the tests can break one validation of a variable; so there are as many runs as validations, or more."""
    broken = Counter(name for names in _EXPECTED.findall(tests) for name in set(re.findall(r"\bvar\.(\w+)", names)))
    for (name,), body in hcl.blocks(parsed, "variable"):
        validations = len(body.get("validation", []))
        if broken[name] < validations:
            message = (
                f"{validations} validations, and {broken[name]} runs of tests/*.tftest.hcl that expect one to fail"
            )
            yield Finding(file, name, "validations", message)


def check_pages(root: Path, tests: str) -> Iterator[Finding]:
    """control_plane composes the others' ARNs: the root module is its example."""
    for folder in sorted(path for path in (root / "modules").glob("*") if hcl.files(path)):
        file = folder.relative_to(root).as_posix()
        page = folder / "README.md"
        if not page.exists() or "**Alone:**" not in page.read_text(encoding="utf-8"):
            yield Finding(f"{file}/README.md", "whole file", "pages", "says not what the module is for **Alone:**")
        if folder.name == "control_plane":
            continue
        if not (folder / "examples" / "alone" / "main.tf").exists():
            yield Finding(file, "examples/alone", "pages", "the module has no example")
        elif f'"./{file}/examples/alone"' not in tests:
            yield Finding(file, "examples/alone", "pages", "no run of tests/*.tftest.hcl plans the example")
