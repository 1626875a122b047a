"""State machine files: reading, rendering with stand-in ARNs, walking through every state."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lint.findings import Finding

PLACEHOLDER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
PLAIN = {"partition": "aws", "tenant": "acme"}
"""Placeholders that name no function or state machine, and what stands for them here."""

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True)
class Machine:
    """One `asl/*.asl.json`: `template` as committed and parsed, `definition` with its placeholders filled in."""

    name: str
    template: dict[str, Any]
    definition: dict[str, Any]

    @property
    def file(self) -> str:
        return f"asl/{self.name}.asl.json"

    def finding(self, where: str, rule: str, message: str) -> Finding:
        return Finding(self.file, where, rule, message)


@dataclass(frozen=True)
class State:
    """One state and the scope (`StartAt`, `States`) it stands in: only states of a scope can follow one another.

    `template` is the same state before rendering. `execution_type` is that of the Distributed Map whose child the scope
    is, None outside of one.
    """

    name: str
    body: dict[str, Any]
    template: dict[str, Any]
    scope: dict[str, Any]
    execution_type: str | None

    @property
    def type(self) -> str:
        return str(self.body.get("Type", ""))


def read(folder: Path) -> tuple[list[Machine], list[Finding]]:
    """All machines of a folder that can be parsed and rendered, and what is wrong with the others."""
    paths = sorted(folder.glob("*.asl.json"))
    names = {path.name.removesuffix(".asl.json") for path in paths}
    machines, findings = [], []
    for path in paths:
        try:
            machines.append(parse(path.name.removesuffix(".asl.json"), path.read_text(encoding="utf-8"), names))
        except ValueError as error:
            findings.append(Finding(f"asl/{path.name}", "whole file", "template", str(error)))
    return machines, findings


def parse(name: str, text: str, machines: set[str]) -> Machine:
    """Parse and render. `machines` are the names that a placeholder may mean besides a function's.

    Raises ValueError unless the text is JSON as it stands (so that placeholders stand inside strings only), names each
    key once, and every `${…}` is a plain snake_case name: templatefile must find nothing else to interpret.
    """
    try:
        template = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON before rendering ({error}): placeholders belong inside quotes") from error
    strange = re.search(r"%\{|\$\$\{|\$\{(?![a-z][a-z0-9_]*\})[^}]*\}?", text)
    if strange:
        raise ValueError(f"{strange.group()!r} is not a ${{snake_case}} placeholder")
    return Machine(name, template, _render(template, machines))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return found


def _render(value: Any, machines: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _render(item, machines) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, machines) for item in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _stand_in(match.group(1), machines), value)
    return value


def _stand_in(placeholder: str, machines: set[str]) -> str:
    if placeholder in PLAIN:
        return PLAIN[placeholder]
    name = placeholder.removesuffix("_arn")
    if name in machines:
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def states(machine: Machine) -> Iterator[State]:
    """Every state of a machine, those of Parallel branches and Map processors included."""
    yield from _states(machine.definition, machine.template, None)


def _states(scope: dict[str, Any], template: dict[str, Any], execution_type: str | None) -> Iterator[State]:
    for name, body in scope.get("States", {}).items():
        before = template["States"][name]
        yield State(name, body, before, scope, execution_type)
        for branch, branch_template in zip(body.get("Branches", []), before.get("Branches", []), strict=True):
            yield from _states(branch, branch_template, execution_type)
        if "ItemProcessor" in body:
            config = body["ItemProcessor"].get("ProcessorConfig", {})
            child = config.get("ExecutionType", "") if config.get("Mode") == "DISTRIBUTED" else execution_type
            yield from _states(body["ItemProcessor"], before["ItemProcessor"], child)


def scopes(machine: Machine) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, scope) for the machine itself, every Parallel branch and every Map processor."""
    yield "top level", machine.definition
    for state in states(machine):
        for number, branch in enumerate(state.body.get("Branches", []), 1):
            yield f"{state.name}, branch {number}", branch
        if "ItemProcessor" in state.body:
            yield f"{state.name}, ItemProcessor", state.body["ItemProcessor"]


def strings(value: Any) -> Iterator[str]:
    """Every string value (not key) in a JSON value."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
