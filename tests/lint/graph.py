"""Shape of a state machine: types, fields, targets, reachability, payload templates.

Amazon States Language: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.lint.findings import Finding
from tests.lint.machines import Machine, State, scopes, states

_FLOW = {"Next", "End"}
_PATHS = {"InputPath", "OutputPath"}
_RESULT = {"ResultSelector", "ResultPath"}
_ERRORS = {"Retry", "Catch"}

FIELDS: dict[str, set[str]] = {
    "Task": _FLOW | _PATHS | _RESULT | _ERRORS
    | {"Resource", "Parameters", "Credentials"}
    | {"TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath"},
    "Pass": _FLOW | _PATHS | {"Parameters", "Result", "ResultPath"},
    "Choice": _PATHS | {"Choices", "Default"},
    "Wait": _FLOW | _PATHS | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": _PATHS,
    "Fail": {"Error", "ErrorPath", "Cause", "CausePath"},
    "Parallel": _FLOW | _PATHS | _RESULT | _ERRORS | {"Branches", "Parameters"},
    "Map": _FLOW | _PATHS | _RESULT | _ERRORS
    | {"ItemProcessor", "ItemsPath", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter", "Label"}
    | {"MaxConcurrency", "MaxConcurrencyPath"}
    | {"ToleratedFailurePercentage", "ToleratedFailurePercentagePath"}
    | {"ToleratedFailureCount", "ToleratedFailureCountPath"},
}  # fmt: skip
"""Fields of each type of state in the JSONPath query language, besides Type and Comment."""

OPERATOR = re.compile(
    r"(String|Numeric|Timestamp)(Equals|LessThan|GreaterThan|LessThanEquals|GreaterThanEquals)(Path)?"
    r"|BooleanEquals(Path)?|StringMatches|Is(Null|Present|Numeric|String|Boolean|Timestamp)"
)

TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector")
"""Fields that are payload templates: a key that ends in `.$` takes a path or an intrinsic function."""


def check(machine: Machine) -> Iterator[Finding]:
    """All findings of this module."""
    for where, scope in scopes(machine):
        yield from check_scope(machine, where, scope)
    names: set[str] = set()
    for state in states(machine):
        if state.name in names:
            yield machine.finding(state.name, "state-name", "the name stands twice in this machine")
        names.add(state.name)
        yield from check_state(machine, state)


def check_scope(machine: Machine, where: str, scope: dict[str, Any]) -> Iterator[Finding]:
    """Targets exist, every state is reached, every state can end."""
    members: dict[str, Any] = scope.get("States", {})
    start = scope.get("StartAt")
    if start not in members:
        yield machine.finding(where, "target", f"StartAt names {start!r}, which is no state here")
        return
    for name, body in members.items():
        for target in targets(body):
            if target not in members:
                yield machine.finding(name, "target", f"goes on to {target!r}, which is no state here")
    for name in sorted(members.keys() - _closure([start], {n: list(targets(b)) for n, b in members.items()})):
        yield machine.finding(name, "reachable", "no state leads here")
    backwards: dict[str, list[str]] = {name: [] for name in members}
    for name, body in members.items():
        for target in targets(body):
            backwards.setdefault(target, []).append(name)
    ends = [n for n, body in members.items() if body.get("End") is True or body.get("Type") in ("Succeed", "Fail")]
    for name in sorted(members.keys() - _closure(ends, backwards)):
        yield machine.finding(name, "terminal", "no way leads from here to an end")


def targets(body: dict[str, Any]) -> Iterator[str]:
    """Names of the states that may follow."""
    for key in ("Next", "Default"):
        if key in body:
            yield body[key]
    for rule in [*body.get("Choices", []), *body.get("Catch", [])]:
        if "Next" in rule:
            yield rule["Next"]


def _closure(start: Iterable[str], edges: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, [])
    return found


def check_state(machine: Machine, state: State) -> Iterator[Finding]:
    """Type, fields, how it goes on, payload templates."""
    body = state.body
    if state.type not in FIELDS:
        yield machine.finding(state.name, "state-type", f"type {state.type!r} is unknown")
        return
    for field in sorted(body.keys() - FIELDS[state.type] - {"Type", "Comment"}):
        yield machine.finding(state.name, "state-field", f"a {state.type} state has no field {field}")
    if not 1 <= len(state.name) <= 80:
        yield machine.finding(state.name, "state-name", "names have 1 to 80 characters")
    if "Next" in FIELDS[state.type] and ("Next" in body) == (body.get("End") is True):
        yield machine.finding(state.name, "next-or-end", "needs either Next or End: true")
    if state.type == "Choice":
        yield from check_choice(machine, state)
    # A Pass may have a Result and say where it goes.
    for first in sorted(key for key in body if key + "Path" in body and key != "Result"):
        yield machine.finding(state.name, "exclusive", f"{first} and {first}Path exclude each other")
    for field in sorted(key for key in body if key.endswith("Path") and body[key] is not None):
        if not str(body[field]).startswith("$"):
            yield machine.finding(state.name, "path", f"{field} is {body[field]!r}, which is no path")
    for catcher in body.get("Catch", []):
        if not str(catcher.get("ResultPath") or "$").startswith("$"):
            yield machine.finding(state.name, "path", f"ResultPath is {catcher['ResultPath']!r}, which is no path")
    for where, template in templates(body):
        yield from check_template(machine, state.name, where, template)


def check_choice(machine: Machine, state: State) -> Iterator[Finding]:
    """A Choice has a Default, and each of its rules a known operator."""
    if "Default" not in state.body:
        yield machine.finding(state.name, "choice", "has no Default: an unforeseen value would end the execution")
    if not state.body.get("Choices"):
        yield machine.finding(state.name, "choice", "has no Choices")
    for rule in state.body.get("Choices", []):
        if "Next" not in rule:
            yield machine.finding(state.name, "choice", "a rule has no Next")
        yield from _check_condition(machine, state.name, rule)


def _check_condition(machine: Machine, where: str, rule: dict[str, Any]) -> Iterator[Finding]:
    operators = rule.keys() - {"Next", "Comment", "Variable"}
    if len(operators) != 1:
        yield machine.finding(where, "choice", f"a rule needs one operator, it has {sorted(operators)}")
        return
    operator = operators.pop()
    if operator in ("And", "Or"):
        for part in rule[operator]:
            yield from _check_condition(machine, where, part)
    elif operator == "Not":
        yield from _check_condition(machine, where, rule["Not"])
    elif not OPERATOR.fullmatch(operator):
        yield machine.finding(where, "choice", f"operator {operator} is unknown")
    elif not str(rule.get("Variable", "")).startswith("$"):
        yield machine.finding(where, "choice", f"{operator} needs a Variable that is a path")


def templates(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, payload template) of a state, those inside reader, batcher and writer included."""
    for field in TEMPLATES:
        if field in body:
            yield field, body[field]
    for parent, field in (("ItemReader", "Parameters"), ("ResultWriter", "Parameters"), ("ItemBatcher", "BatchInput")):
        if field in body.get(parent, {}):
            yield f"{parent}.{field}", body[parent][field]


def check_template(machine: Machine, name: str, where: str, template: Any) -> Iterator[Finding]:
    """A key ends in `.$` if and only if its value is a path or an intrinsic function."""
    if isinstance(template, list):
        for item in template:
            yield from check_template(machine, name, where, item)
    if not isinstance(template, dict):
        return
    for key, value in template.items():
        here = f"{where}.{key}"
        dynamic = isinstance(value, str) and re.match(r"\$($|\$?\.|\[)|States\.[A-Z]\w+\(", value)
        if key.endswith(".$") and not dynamic:
            yield machine.finding(name, "path", f"{here} takes a path or an intrinsic function, not {value!r}")
        if not key.endswith(".$") and dynamic:
            yield machine.finding(name, "path", f"{here} would be the text {value!r}: its key needs the suffix .$")
        if key.endswith(".$") and key.removesuffix(".$") in template:
            yield machine.finding(name, "exclusive", f"{here} and {here.removesuffix('.$')} exclude each other")
        yield from check_template(machine, name, here, value)
