"""Mutants of state machines, made by rule from what each machine has, and whether the lint rules find them."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.lint import graph, integrations, machines, maps, names, tasks
from tests.lint.asl import dataflow, retries
from tests.lint.machines import Machine

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lambdas" / "bulk_inference"

Body = dict[str, Any]

FIELDS = (
    "ResultPath", "ResultSelector", "OutputPath", "ItemSelector", "ItemBatcher", "ItemReader", "ResultWriter", "Label",
    "MaxConcurrencyPath", "ToleratedFailurePercentagePath", "ToleratedFailurePercentage", "TimeoutSeconds",
    "TimeoutSecondsPath", "Default", "Retry",
)  # fmt: skip
"""What is left out, one at a time, of each state that has it."""

EQUIVALENT: dict[str, str] = {
    r"(Sort Parts|Join Partitions|Export Parts|Order Results|Reduce Documents): ResultPath is .*": (
        "no state of assemble_results reads what the step answered: it stands in the history for people"
    ),
    r"(Cut Corpus|Run Inference|Assemble Results): ResultPath is .*": (
        "no state of pipeline reads what the step answered: it stands in the history for people"
    ),
    r"(Sort Chunks|Join Documents|Export Parquet|Cut Shards): no OutputPath": (
        "the output of a child goes into the Map Run's file alone, which nobody but people reads"
    ),
    r"(Infer Batches|Submit Shards): (ResultPath is .*|no ResultPath)": (
        "the machine's output: the pipeline takes ExecutionArn and Status of it"
    ),
}
"""Pattern of mutants → why they change nothing that anybody reads."""


def mutants(found: list[Machine]) -> Iterator[tuple[str, list[Machine]]]:
    """(name, all machines with one of them changed)."""
    for number, machine in enumerate(found):
        for path, body in states(machine.definition, ()):
            for what, change in changes(body):
                definition, template = copy.deepcopy((machine.definition, machine.template))
                change(_at(definition, path))
                change(_at(template, path))
                changed = replace(machine, definition=definition, template=template)
                yield f"{machine.name}: {path[-1]}: {what}", [*found[:number], changed, *found[number + 1 :]]


def findings(found: list[Machine]) -> list[str]:
    """What our own rules say of the machines."""
    ours = tasks.error_classes(PACKAGE / "core" / "errors.py")
    handlers = {path.stem for path in (PACKAGE / "handlers").glob("*.py")} - {"__init__"}
    told = []
    for machine in found:
        for rule in (graph.check, maps.check, integrations.check):
            told += [str(each) for each in rule(machine)]
        told += [str(each) for each in retries.check(machine, retries.raised())]
        told += [str(each) for each in tasks.check(machine, ours)]
    told += [str(each) for each in tasks.check_handled(found, ours)]
    told += [str(each) for each in names.check(found, handlers)]
    return told + [str(each) for each in dataflow.check(found)]


def states(scope: Body, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Body]]:
    """(path of keys, body) of every state."""
    for name, body in scope["States"].items():
        here = (*path, "States", name)
        yield here, body
        for number, branch in enumerate(body.get("Branches", [])):
            yield from states(branch, (*here, "Branches", number))
        if "ItemProcessor" in body:
            yield from states(body["ItemProcessor"], (*here, "ItemProcessor"))


def changes(body: Body) -> Iterator[tuple[str, Callable[[Body], None]]]:
    """Every mistake of these kinds that can be made in the state."""
    for way, text in _texts(body, ()):
        key = str(way[-1])
        if text.startswith("$") and (key.endswith((".$", "Path")) or key == "Variable") and len(text) > 2:
            yield f"{_name(way)} is {text}x", _set(way, f"{text}x")
        if text.startswith("States.") and ", " in text:
            yield f"{_name(way)} lacks an argument", _set(way, text.rsplit(", ", 1)[0] + ")")
        if key == "Resource" and ".sync:2" in text:
            yield "waits by .sync", _set(way, text.replace(".sync:2", ".sync"))
    for field in FIELDS:
        if field in body:
            yield f"no {field}", _drop(field)
    for number, catcher in enumerate(body.get("Catch", [])):
        yield f"no catcher of {', '.join(catcher['ErrorEquals'])}", _drop_item("Catch", number)
    for number, retrier in enumerate(body.get("Retry", [])):
        for name in retrier["ErrorEquals"]:
            yield f"{name} is not tried again", _without(number, name)
    if body["Type"] == "Map":
        yield "its children are EXPRESS", _express
    if body["Type"] == "Parallel":
        yield "no branches", lambda state: state.update(Branches=[])
    if body["Type"] == "Task" and isinstance(body.get("Parameters", {}).get("Payload"), dict):
        yield (
            "reads $$.Map outside of a Map",
            lambda state: state["Parameters"]["Payload"].update({"run.$": "$$.Map.Item.Value"}),
        )


def _texts(value: Any, way: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("ItemProcessor", "Branches", "Retry"):
                yield from _texts(item, (*way, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*way, number))
    elif isinstance(value, str) and way:
        yield way, value


def _at(value: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        value = value[key]
    return value


def _name(way: tuple[Any, ...]) -> str:
    return ".".join(str(key) for key in way)


def _set(way: tuple[Any, ...], text: str) -> Callable[[Body], None]:
    def change(state: Body) -> None:
        _at(state, way[:-1])[way[-1]] = text

    return change


def _drop(field: str) -> Callable[[Body], None]:
    return lambda state: state.pop(field) and None


def _drop_item(field: str, number: int) -> Callable[[Body], None]:
    def change(state: Body) -> None:
        del state[field][number]
        if not state[field]:
            del state[field]

    return change


def _without(number: int, name: str) -> Callable[[Body], None]:
    return lambda state: state["Retry"][number]["ErrorEquals"].remove(name)


def _express(state: Body) -> None:
    state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "EXPRESS"


def survivors() -> tuple[int, list[str]]:
    """(number of mutants, those that no rule finds)."""
    found, unreadable = machines.read(ROOT / "asl")
    before = findings(found)
    if unreadable or before:
        raise SystemExit("The machines are not sound to begin with: " + "; ".join([*map(str, unreadable), *before]))
    count, left = 0, []
    for name, changed in mutants(found):
        count += 1
        if not findings(changed):
            left.append(name)
    return count, left


def reason(name: str) -> str | None:
    """Why a survivor is none, or None."""
    told = name.split(": ", 1)[1]
    return next((why for pattern, why in EQUIVALENT.items() if re.fullmatch(pattern, told)), None)
