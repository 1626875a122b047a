"""Checks by other people's tools: cfn-lint and asl-validator on the rendered machines, Terraform on the HCL."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lint import hcl
from tests.lint.findings import Finding
from tests.lint.machines import ACCOUNT, Machine

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool and take what it prints, without colours."""
    done = subprocess.run(
        command, env={**os.environ, "NO_COLOR": "1", **environment}, capture_output=True, text=True, check=False
    )
    done.stdout, done.stderr = ANSI.sub("", done.stdout), ANSI.sub("", done.stderr)
    return done


def cfn_lint(machines: list[Machine], folder: Path) -> Iterator[Finding]:
    """cfn-lint's schema of state machines (E3601 and others), on a template generated from the rendered machines."""
    resources = {
        re.sub(r"\W|_", "", machine.name.title()): {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/machine", "Definition": machine.definition},
        }
        for machine in machines
    }
    files = dict(zip(resources, machines, strict=True))
    template = folder / "machines.template.json"
    template.write_text(json.dumps({"Resources": resources}, indent=2), encoding="utf-8")
    program = str(Path(sys.executable).parent / "cfn-lint")
    done = run([program, "--format", "json", "--regions", "us-east-1", "--template", str(template)])
    try:
        matches = json.loads(done.stdout)
    except json.JSONDecodeError:
        yield Finding("asl", "cfn-lint", "cfn-lint", f"did not run: {done.stderr.strip()[-500:]}")
        return
    for match in matches:
        path = match["Location"].get("Path") or []
        machine = files.get(path[1]) if len(path) > 1 else None
        where = "/".join(str(part) for part in path[4:]) or "whole file"
        yield Finding(machine.file if machine else "asl", where, match["Rule"]["Id"], match["Message"])


def asl_validator(machines: list[Machine], folder: Path, program: Path) -> Iterator[Finding]:
    """npm's asl-validator: a second opinion on targets, reachability and paths."""
    for machine in machines:
        path = folder / f"{machine.name}.asl.json"
        path.write_text(json.dumps(machine.definition, indent=2), encoding="utf-8")
        done = run([str(program), "--json-path", str(path)])
        if done.returncode != 0:
            yield machine.finding("whole file", "asl-validator", (done.stdout + done.stderr).strip())


def terraform_format(root: Path) -> Iterator[Finding]:
    """`terraform fmt -check`."""
    done = run(
        [
            str(root / "tests" / "harness" / "terraform.sh"),
            f"-chdir={root}",
            "fmt",
            "-check",
            "-recursive",
            "-list=true",
        ]
    )
    if done.returncode != 0:
        for line in (done.stdout or done.stderr).strip().splitlines():
            yield Finding(line, "whole file", "terraform-fmt", "make format rewrites it")


def terraform_folders(root: Path) -> list[Path]:
    """The root module, every module with its own example, every example, the demo: each folder that holds HCL."""
    nested = [*(root / "modules").glob("*"), *(root / "modules").glob("*/examples/*")]
    candidates = [root, *sorted(nested), *sorted((root / "examples").glob("*")), root / "demo"]
    return [folder for folder in candidates if any(folder.glob("*.tf"))]


def terraform_validate(root: Path, folders: list[Path], data: Path) -> Iterator[Finding]:
    """`terraform validate` of many folders at once: one configuration in `data` calls each as a module.

    So Terraform starts, and the provider tells its schema, once instead of once a folder. Inputs that are required get
    a value that may be anything, as in validation every variable is.
    """
    folder = data / "validate"
    folder.mkdir(parents=True, exist_ok=True)
    names = {_slug(root, each): each for each in folders}
    calls = {
        name: {"source": os.path.relpath(each, folder), **dict.fromkeys(required(each), "${var.anything}")}
        for name, each in names.items()
    }
    text = json.dumps({"variable": {"anything": {}}, "module": calls}, indent=2)
    (folder / "main.tf.json").write_text(text, encoding="utf-8")
    terraform, where = str(root / "tests" / "harness" / "terraform.sh"), f"-chdir={folder}"
    done = run([terraform, where, "init", "-backend=false", "-input=false", "-no-color"])
    if done.returncode != 0:
        yield Finding("*.tf", "init", "terraform-init", (done.stdout + done.stderr).strip()[-1500:])
        return
    for diagnostic in json.loads(run([terraform, where, "validate", "-json"]).stdout)["diagnostics"]:
        at = diagnostic.get("range") or {"filename": "", "start": {"line": 0}}
        message = f"{diagnostic['summary']} {diagnostic.get('detail', '')}".strip()
        file = (folder / at["filename"]).resolve()
        shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else at["filename"]
        yield Finding(shown, f"line {at['start']['line']}", "terraform-validate", message)


def required(folder: Path) -> list[str]:
    """Names of a folder's inputs that have no default."""
    return [
        name
        for path in hcl.files(folder)
        for (name,), body in hcl.blocks(hcl.load(path), "variable")
        if "default" not in body
    ]


def _slug(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix().replace("/", "-").strip(".") or "root"
