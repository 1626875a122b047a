"""What each state reads is what the states before it, and the handlers' declared answers, have made.

Shapes go through a machine until nothing changes: at a state that several lead to, only what all of them make is
certain.
A machine's own input is what the machine that starts it sends; that of one which nobody here starts may hold anything.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from tests.lint import integrations
from tests.lint.asl.shapes import ANYTHING, ERROR, SCALAR, Shape, meet, steps, typed_dicts
from tests.lint.findings import Finding
from tests.lint.machines import PLAIN, Machine

CONTRACTS = Path(__file__).with_name("contracts.py")

CONTEXT = {
    "$$.Execution": {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"},
    "$$.State": {"EnteredTime", "Name", "RetryCount"},
    "$$.StateMachine": {"Id", "Name"},
    "$$.Task": {"Token"},
    "$$.Map.Item": {"Index", "Value", "Key", "Source"},
}
"""https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html"""

ARGUMENTS: Mapping[str, tuple[int, int]] = {
    "Format": (1, 99), "StringToJson": (1, 1), "JsonToString": (1, 1), "Array": (0, 99), "ArrayPartition": (2, 2),
    "ArrayContains": (2, 2), "ArrayRange": (3, 3), "ArrayGetItem": (2, 2), "ArrayLength": (1, 1), "ArrayUnique": (1, 1),
    "Base64Encode": (1, 1), "Base64Decode": (1, 1), "Hash": (2, 2), "JsonMerge": (3, 3), "MathRandom": (2, 3),
    "MathAdd": (2, 2), "StringSplit": (2, 2), "UUID": (0, 0),
}  # fmt: skip
"""https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html: fewest and most arguments."""

_TOLD = ("ExecutionArn", "StateMachineArn", "Name", "Status", "StartDate", "StopDate", "InputDetails", "OutputDetails")
NESTED = Shape({**dict.fromkeys(_TOLD, SCALAR), "Input": ANYTHING, "Output": ANYTHING})
"""What a nested execution that was waited for by .sync:2 answers."""

INVOKED = dict.fromkeys(("ExecutedVersion", "StatusCode", "SdkHttpMetadata", "SdkResponseMetadata"), SCALAR)
MAP_RUN = Shape({"MapRunArn": SCALAR, "ResultWriterDetails": Shape({"Bucket": SCALAR, "Key": SCALAR})})


@dataclass
class Walk:
    """One machine on its way: shapes at the entry of each state, and what was found."""

    machine: Machine
    answers: Mapping[str, Shape]
    sent: dict[str, Shape] = field(default_factory=dict)
    """By name of a machine: what is sent to it from here."""
    found: set[Finding] = field(default_factory=set)


def check(machines: list[Machine], contracts: Path = CONTRACTS) -> Iterator[Finding]:
    """All machines, those that start others first. `contracts` is contracts.py."""
    answers = typed_dicts(contracts)
    inputs: dict[str, Shape] = {}
    for machine in sorted(machines, key=lambda one: _rank(one, machines)):
        walk = Walk(machine, answers)
        end = _scope(walk, machine.definition, inputs.get(machine.name, ANYTHING), in_map=False)
        for member in sorted(answers.get(f"{_camel(machine.name)}Answer", SCALAR).members):
            if isinstance(end.at([member]), str):
                walk.found.add(
                    machine.finding("whole", "answer", f"it ends without {member}, which contracts.py promises")
                )
        for name, shape in walk.sent.items():
            inputs[name] = meet(inputs[name], shape) if name in inputs else shape
        yield from sorted(walk.found)


def _rank(machine: Machine, machines: list[Machine]) -> int:
    """Machines that start many come first. Reductions go round: the pipeline's input may hold anything."""
    return -sum(f":stateMachine:{other.name}" in str(machine.definition) for other in machines)


def _scope(walk: Walk, scope: dict[str, Any], entry: Shape, *, in_map: bool) -> Shape:
    """What the scope ends with, whichever of its ends it comes to."""
    states: dict[str, Any] = scope["States"]
    at: dict[str, Shape] = {scope["StartAt"]: entry}
    waiting = [scope["StartAt"]]
    turns = 0
    found, walk.found = walk.found, set()
    while waiting and turns < 50 * len(states):
        turns += 1
        name = waiting.pop(0)
        if name not in states:
            continue
        for target, shape in _state(walk, name, states[name], at[name], in_map):
            if target is None:
                continue
            merged = meet(at[target], shape) if target in at else shape
            if at.get(target) != merged:
                at[target] = merged
                waiting.append(target)
    # Only now is it known what comes to each state: what was found on the way there does not count.
    walk.found = found
    ends = [
        shape
        for name in at
        if name in states
        for target, shape in _state(walk, name, states[name], at[name], in_map)
        # A Succeed ends a run that came to nothing: a dry run.
        if target is None and states[name]["Type"] != "Succeed"
    ]
    return reduce(meet, ends) if ends else ANYTHING


def _state(
    walk: Walk, name: str, body: dict[str, Any], entry: Shape, in_map: bool
) -> Iterator[tuple[str | None, Shape]]:
    """(next state or None for an end, shape) of every way on."""
    state = _State(walk, name, body, entry, in_map)
    effective = state.input()
    for field_name in sorted(body):
        if field_name.endswith("Path") and field_name not in ("InputPath", "OutputPath", "ResultPath"):
            if body["Type"] == "Map" or body["Type"] == "Task":
                state.read(body[field_name], effective, field_name)
            elif body["Type"] == "Fail":
                state.read(body[field_name], entry, field_name)
    if body["Type"] == "Choice":
        state.choice(effective)
        for rule in body.get("Choices", []):
            refined = _refined(rule, effective)
            if refined is not None:
                yield rule.get("Next"), refined
        yield body.get("Default"), effective
        return
    if body["Type"] in ("Fail", "Succeed"):
        if body["Type"] == "Succeed":
            yield None, effective
        return
    out = state.output(state.result(effective))
    for catcher in body.get("Catch", []):
        path = catcher.get("ResultPath", "$")
        caught = entry if path is None else entry.put(steps(path) or [], ERROR)
        yield catcher["Next"], caught
    yield body.get("Next"), out


def _refined(rule: dict[str, Any], shape: Shape) -> Shape | None:
    """What is certain where the rule holds; None where it cannot hold: it asks for what nothing has made so far."""
    for part in rule.get("And", [rule]):
        way = steps(str(part.get("Variable", ""))) or []
        if part.get("IsPresent") is True:
            if isinstance(shape.at(way, frozenset({str(part["Variable"])})), str):
                return None
            shape = shape.certain(way)
        if "StringEquals" in part:
            shape = shape.chosen(way, part["StringEquals"])
    return shape


@dataclass
class _State:
    walk: Walk
    name: str
    body: dict[str, Any]
    entry: Shape
    in_map: bool

    def report(self, rule: str, message: str) -> None:
        self.walk.found.add(self.walk.machine.finding(self.name, rule, message))

    def read(self, path: Any, shape: Shape, where: str, present: frozenset[str] = frozenset()) -> Shape:
        """The shape at a path of the input or of the context object."""
        text = str(path)
        if text.startswith("$$"):
            return self.context(text, where)
        way = steps(text)
        if way is None:
            self.report("dataflow", f"{where}: {text!r} is no plain path")
            return ANYTHING
        found = shape.at(way, present)
        if isinstance(found, str):
            self.report("dataflow", f"{where}: {found}")
            return ANYTHING
        return found

    def context(self, text: str, where: str) -> Shape:
        for root, members in CONTEXT.items():
            if text == root or text.startswith(f"{root}."):
                member = text.removeprefix(root).lstrip(".").split(".")[0]
                if member and member not in members:
                    self.report("context", f"{where}: the context object has no {root}.{member}")
                if root == "$$.Map.Item" and not self.in_map:
                    self.report("context", f"{where}: {text} is there only in the ItemSelector of a Map and below it")
                if root == "$$.Task" and not str(self.body.get("Resource", "")).endswith(".waitForTaskToken"):
                    self.report("context", f"{where}: only a Task that waits for it has a token")
                if root == "$$.Map.Item" and member == "Value":
                    item = self.walk.answers.get(f"{self.body.get('Label', '')}Item", ANYTHING)
                    below = text.removeprefix("$$.Map.Item.Value")
                    return item if not below else self.read(f"${below}", item, where)
                return ANYTHING if text.startswith("$$.Execution.Input") else SCALAR
        self.report("context", f"{where}: the context object has no {text}")
        return ANYTHING

    def input(self) -> Shape:
        path = self.body.get("InputPath", "$")
        return Shape() if path is None else self.read(path, self.entry, "InputPath")

    def template(self, value: Any, shape: Shape, where: str) -> Shape:
        """What a payload template makes."""
        if isinstance(value, dict):
            members = {}
            for key, item in value.items():
                if key.endswith(".$"):
                    members[key.removesuffix(".$")] = self.dynamic(str(item), shape, f"{where}.{key}")
                else:
                    members[key] = self.template(item, shape, f"{where}.{key}")
            return Shape(members)
        if isinstance(value, list):
            for item in value:
                self.template(item, shape, where)
            return ANYTHING
        return SCALAR

    def dynamic(self, text: str, shape: Shape, where: str) -> Shape:
        if not text.startswith("States."):
            return self.read(text, shape, where)
        call = re.fullmatch(r"States\.(\w+)\((.*)\)", text, re.DOTALL)
        if call is None or call.group(1) not in ARGUMENTS:
            self.report("intrinsic", f"{where}: {text!r} is no intrinsic function")
            return ANYTHING
        name, arguments = call.group(1), _arguments(call.group(2))
        fewest, most = ARGUMENTS[name]
        if not fewest <= len(arguments) <= most:
            self.report("intrinsic", f"{where}: States.{name} takes {fewest} to {most} arguments, not {len(arguments)}")
        if name == "Format" and arguments and arguments[0].startswith("'"):
            holes = len(re.findall(r"(?<!\\)\{\}", arguments[0]))
            if holes != len(arguments) - 1:
                self.report("intrinsic", f"{where}: {holes} places and {len(arguments) - 1} values")
        for argument in arguments:
            if argument.startswith(("$", "States.")):
                self.dynamic(argument, shape, where)
        return SCALAR if name in ("Format", "UUID", "Hash", "JsonToString") else ANYTHING

    def result(self, effective: Shape) -> Shape:
        kind = self.body["Type"]
        if kind == "Task":
            return self.task(effective)
        if kind == "Map":
            return self.map(effective)
        if kind == "Parallel":
            given = (
                self.template(self.body["Parameters"], effective, "Parameters")
                if "Parameters" in self.body
                else effective
            )
            if not self.body.get("Branches"):
                self.report("branches", "a Parallel without branches does nothing")
            for branch in self.body.get("Branches", []):
                _scope(self.walk, branch, given, in_map=self.in_map)
            return SCALAR
        if "Parameters" in self.body:
            return self.template(self.body["Parameters"], effective, "Parameters")
        if "Result" in self.body:
            if self.body["Result"] == PLAIN["tenant"] and self.body.get("ResultPath") != "$.run.tenant":
                self.report("tenant", "the tenant is pinned at $.run.tenant, where plan_run reads it, or not at all")
            return _literal(self.body["Result"])
        return effective

    def task(self, effective: Shape) -> Shape:
        sent = self.template(self.body.get("Parameters", {}), effective, "Parameters")
        resource = integrations.parse(str(self.body.get("Resource", "")))
        if resource is None:
            return ANYTHING
        if (resource.service, resource.action) == ("states", "startExecution"):
            return self.nested(resource, sent)
        if (resource.service, resource.action) != ("lambda", "invoke"):
            return ANYTHING
        handler = str(self.body["Parameters"].get("FunctionName", "")).rsplit(":", 1)[-1]
        self.event(handler, sent.members.get("Payload", ANYTHING))
        if resource.pattern == ".waitForTaskToken":
            return SCALAR
        answer = self.walk.answers.get(f"{_camel(handler)}Answer", ANYTHING)
        return Shape({**INVOKED, "Payload": answer})

    def event(self, handler: str, payload: Shape) -> None:
        wanted = self.walk.answers.get(f"{_camel(handler)}Event")
        if wanted is None and handler == "infer_batch":
            wanted = self.walk.answers["ItemBatchEvent"]
        for name in sorted((wanted or SCALAR).members.keys() - (wanted or SCALAR).optional):
            found = payload.at([name])
            if isinstance(found, str):
                self.report("event", f"{handler} needs {name} in its event")
        if wanted is not None and not payload.open and "Payload.$" not in self.body["Parameters"]:
            for name in sorted(payload.members.keys() - wanted.members.keys()):
                self.report("event", f"{handler} knows no {name} in its event")

    def nested(self, resource: integrations.Resource, sent: Shape) -> Shape:
        machine = str(self.body["Parameters"].get("StateMachineArn", "")).rsplit(":", 1)[-1]
        given = sent.members.get("Input", ANYTHING)
        before = self.walk.sent.get(machine)
        self.walk.sent[machine] = given if before is None else meet(before, given)
        if resource.pattern == ".sync":
            self.report("nested", "use .sync:2: .sync hands the output on as text")
        return NESTED

    def map(self, effective: Shape) -> Shape:
        body = self.body
        for parent, part in (("ItemReader", "Parameters"), ("ResultWriter", "Parameters")):
            if part in body.get(parent, {}):
                self.template(body[parent][part], effective, f"{parent}.{part}")
        batcher = body.get("ItemBatcher")
        item = self.walk.answers.get(f"{body.get('Label', '')}Item", ANYTHING)
        if "ItemSelector" in body:
            inside = _State(self.walk, self.name, body, self.entry, in_map=True)
            item = inside.template(body["ItemSelector"], effective, "ItemSelector")
        if batcher is not None:
            for key in batcher:
                if key.endswith("Path"):
                    self.read(batcher[key], effective, f"ItemBatcher.{key}")
            given = self.template(batcher.get("BatchInput", {}), effective, "ItemBatcher.BatchInput")
            item = Shape({"BatchInput": given, "Items": ANYTHING})
        _scope(self.walk, body["ItemProcessor"], item, in_map=False)
        return MAP_RUN if "ResultWriter" in body else ANYTHING

    def output(self, result: Shape) -> Shape:
        body = self.body
        if "ResultSelector" in body:
            result = self.template(body["ResultSelector"], result, "ResultSelector")
        path = body.get("ResultPath", "$")
        out = self.entry if path is None else self.entry.put(steps(path) or [], result)
        last = body.get("OutputPath", "$")
        return Shape() if last is None else self.read(last, out, "OutputPath")

    def choice(self, effective: Shape) -> None:
        for rule in self.body.get("Choices", []):
            self.condition(rule, effective, frozenset())

    def asked(self, variable: str, effective: Shape) -> None:
        """IsPresent of what nothing ever makes is a mistake; where anything may come, the same Choice must read it."""
        found = effective.at(steps(variable) or [], frozenset({variable}))
        if isinstance(found, str):
            self.report("dataflow", f"IsPresent: {found}")
        elif effective.open and not any(text == variable for text in _compared(self.body)):
            self.report("dataflow", f"IsPresent: {variable} is asked for, and nothing here compares it")

    def condition(self, rule: dict[str, Any], effective: Shape, present: frozenset[str]) -> None:
        if "And" in rule:
            present |= {part["Variable"] for part in rule["And"] if part.get("IsPresent") is True}
        for part in [*rule.get("And", []), *rule.get("Or", [])]:
            self.condition(part, effective, present)
        if "Not" in rule:
            self.condition(rule["Not"], effective, present)
        if "Variable" in rule and "IsPresent" not in rule:
            self.read(rule["Variable"], effective, "Variable", present)
        elif "Variable" in rule:
            self.asked(str(rule["Variable"]), effective)
        for key, value in rule.items():
            if key.endswith("Path") and key not in ("InputPath", "OutputPath"):
                self.read(value, effective, key, present)


def _arguments(text: str) -> list[str]:
    """Arguments of a call, split at commas outside quotes and brackets."""
    found, depth, quoted, here = [], 0, False, ""
    for at, letter in enumerate(text):
        if letter == "'" and text[at - 1 : at] != "\\":
            quoted = not quoted
        depth += 0 if quoted else (letter == "(") - (letter == ")")
        if letter == "," and depth == 0 and not quoted:
            found.append(here.strip())
            here = ""
        else:
            here += letter
    return [*found, here.strip()] if here.strip() or found else []


def _compared(value: Any) -> Iterator[str]:
    """Variables that a Choice compares with something."""
    if isinstance(value, dict):
        if "Variable" in value and "IsPresent" not in value:
            yield value["Variable"]
        for item in value.values():
            yield from _compared(item)
    elif isinstance(value, list):
        for item in value:
            yield from _compared(item)


def _literal(value: Any) -> Shape:
    if isinstance(value, dict):
        return Shape({key: _literal(item) for key, item in value.items()})
    return ANYTHING if isinstance(value, list) else SCALAR


def _camel(handler: str) -> str:
    return "".join(part.title() for part in handler.split("_"))
