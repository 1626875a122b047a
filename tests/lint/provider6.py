"""The module's arguments and attributes exist in provider 6, too. Terraform itself checks them against the 5.x that is
installed; what 6.x knows stands in tests/provider6/schema.json, which tests/provider6/distil.py makes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.lint import hcl
from tests.lint.findings import Finding
from tests.lint.hcl import ROOT

SCHEMA = ROOT / "tests" / "provider6" / "schema.json"

META_ARGUMENTS = {"for_each", "count", "provider", "depends_on", "lifecycle", "timeouts", "override_provider"}
"""Terraform's own. `override_provider` is the provider's, on aws_s3_object alone, and in its schema."""

_REFERENCE = re.compile(
    r"(?<![\w.])(?P<data>data\.)?(?P<type>aws_[a-z0-9_]+)\.(?P<label>\w+)(?:\[(?:[^\[\]]|\[[^\[\]]*\])*\])?\.(?P<attribute>[a-z]\w*)"
)
_FOR_EACH = re.compile(r"^\$\{(?P<type>aws_[a-z0-9_]+)\.\w+\}$")


def used_types(root: Path) -> dict[str, set[str]]:
    """Types of the provider's in every folder, by `resource` and `data`."""
    found: dict[str, set[str]] = {"resource": set(), "data": set()}
    for folder in hcl.folders(root):
        for path in hcl.files(folder):
            for kind, types in found.items():
                types |= {labels[0] for labels, _ in hcl.blocks(hcl.load(path), kind) if labels[0].startswith("aws_")}
    return found


def check(root: Path, schema: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Every finding in the root module, the nested modules and the examples."""
    known = schema or json.loads(SCHEMA.read_text(encoding="utf-8"))
    for folder in hcl.folders(root):
        for path in hcl.files(folder):
            file = path.relative_to(root).as_posix()
            try:
                parsed = hcl.load(path)
            except ValueError as error:
                yield Finding(file, "whole file", "hcl", str(error))
                continue
            yield from check_file(file, parsed, known)


def check_file(file: str, parsed: dict[str, Any], known: Mapping[str, Any]) -> Iterator[Finding]:
    """Arguments of each resource and data block, and every attribute that any expression reads."""
    for kind in ("resource", "data"):
        for (type_name, label), body in hcl.blocks(parsed, kind):
            where = f"{type_name}.{label}" if kind == "resource" else f"data.{type_name}.{label}"
            if not type_name.startswith("aws_"):
                continue
            entry = known[kind].get(type_name)
            if entry is None:
                yield Finding(
                    file, where, "provider6", f"{type_name} is not in the schema: see tests/provider6/distil.py"
                )
                continue
            yield from _check_body(file, where, body, entry["arguments"], META_ARGUMENTS)
            source = _FOR_EACH.match(str(body.get("for_each", "")))
            for text in hcl.strings(body) if source else ():
                for attribute in re.findall(r"(?<![\w.])each\.value\.([a-z]\w*)", text):
                    yield from _check_attribute(
                        file, where, "resource", source["type"] if source else "", attribute, known
                    )
    for text in hcl.strings(parsed):
        for match in _REFERENCE.finditer(text):
            kind = "data" if match["data"] else "resource"
            where = f"{match['data'] or ''}{match['type']}.{match['label']}"
            yield from _check_attribute(file, where, kind, match["type"], match["attribute"], known)


def _check_attribute(
    file: str, where: str, kind: str, type_name: str, attribute: str, known: Mapping[str, Any]
) -> Iterator[Finding]:
    entry = known[kind].get(type_name)
    # An argument can be read as well. Bindings spell an attribute in camel case, which loses underscores before digits.
    if entry and _plain(attribute) not in {_plain(each) for each in (*entry["attributes"], *entry["arguments"])}:
        yield Finding(file, where, "provider6", f"{type_name} has no attribute {attribute} in the provider's 6.x")


def _plain(name: str) -> str:
    return name.replace("_", "")


def _check_body(
    file: str, where: str, body: dict[str, Any], arguments: Mapping[str, Any], meta: set[str]
) -> Iterator[Finding]:
    given = set()
    for name, value in hcl.entries(body):
        if name == "dynamic":
            for block in value:
                for label, dynamic in hcl.entries(block):
                    given.add(hcl.text(label))
                    yield from _check_block(file, where, hcl.text(label), dynamic["content"], arguments)
            continue
        given.add(name)
        is_block = isinstance(value, list) and any(isinstance(each, dict) and "__is_block__" in each for each in value)
        if name in meta and name not in arguments:
            continue
        if is_block:
            yield from _check_block(file, where, name, value, arguments)
        elif name not in arguments:
            yield Finding(file, where, "provider6", f"there is no argument {name} in the provider's 6.x")
    for name, argument in arguments.items():
        required = argument == "required" or (isinstance(argument, dict) and argument["required"])
        if required and name not in given:
            yield Finding(file, where, "provider6", f"argument {name} is required in the provider's 6.x")


def _check_block(
    file: str, where: str, name: str, bodies: list[dict[str, Any]], arguments: Mapping[str, Any]
) -> Iterator[Finding]:
    argument = arguments.get(name)
    if not isinstance(argument, dict):
        yield Finding(file, f"{where}.{name}", "provider6", f"{name} is no block in the provider's 6.x")
        return
    for body in bodies:
        yield from _check_body(file, f"{where}.{name}", body, argument["block"], set())
