"""Runs every rule over the repository and prints each finding: `python -m tests.lint`. Status 1 if there is one.

`--quick` leaves out what starts other programs: `make check` runs these rules before every commit.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from docs.pictures import draw
from tests.lint import (
    alarms,
    functions,
    graph,
    integrations,
    interface,
    machines,
    maps,
    mirror,
    names,
    provider6,
    repeated,
    sizes,
    sources,
    tables,
    tasks,
    tools,
    unused,
)
from tests.lint.asl import dataflow, retries
from tests.lint.findings import Finding

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build" / "lint"
ASL_VALIDATOR = ROOT / "node_modules" / ".bin" / "asl-validator"


def check_machines(found: list[machines.Machine]) -> Iterator[Finding]:
    """Our own rules about asl/."""
    package = ROOT / "lambdas" / "bulk_inference"
    ours = tasks.error_classes(package / "core" / "errors.py")
    raises = retries.raised()
    for machine in found:
        yield from graph.check(machine)
        yield from tasks.check(machine, ours)
        yield from retries.check(machine, raises)
        yield from maps.check(machine)
        yield from integrations.check(machine)
    yield from tasks.check_handled(found, ours)
    yield from dataflow.check(found)
    yield from names.check(found, {path.stem for path in (package / "handlers").glob("*.py")} - {"__init__"})


def check_pictures() -> Iterator[Finding]:
    """Everything about docs/pictures/."""
    for path in draw.old():
        yield Finding(path, "whole", "pictures", "is older than its source: make pictures")


def check_quick(found: list[machines.Machine]) -> Iterator[Finding]:
    """The rules that take a second or two: they read files and start no other program."""
    yield from check_machines(found)
    yield from sources.check_python(ROOT)
    yield from mirror.check(ROOT)
    yield from sizes.check(ROOT)
    yield from functions.check(ROOT)
    yield from sources.check_hcl(ROOT)
    yield from interface.check(ROOT)
    yield from repeated.check(ROOT)
    yield from unused.check(ROOT)
    yield from tables.check(ROOT)
    yield from alarms.check(ROOT)
    yield from check_pictures()


def check_slow(found: list[machines.Machine]) -> Iterator[Finding]:
    """What other people's tools say, and the rule that reads the provider's whole schema."""
    yield from tools.cfn_lint(found, WORK)
    if ASL_VALIDATOR.exists():
        yield from tools.asl_validator(found, WORK, ASL_VALIDATOR)
    else:
        print("npm is not here: asl-validator is left out; our own checks of targets and reachability ran.")
    yield from provider6.check(ROOT)
    yield from tools.terraform_format(ROOT)
    folders = tools.terraform_folders(ROOT)
    yield from tools.terraform_validate(ROOT, folders, WORK)
    print(f"HCL: {len(folders)} folders validated")


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--quick"]):
        print(f"Usage: python -m tests.lint [--quick]; not: {' '.join(arguments)}")
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    found, unreadable = machines.read(ROOT / "asl")
    findings = sorted({*unreadable, *check_quick(found), *(() if arguments else check_slow(found))})
    for finding in findings:
        print(finding)
    count = len(list((ROOT / "asl").glob("*.asl.json")))
    print(f"State machines: {count} checked. {len(findings) or 'No'} findings in all.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
