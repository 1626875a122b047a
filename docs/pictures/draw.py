"""Draws the pictures of this folder (`make pictures`); `python -m docs.pictures.draw --check` tells which are old.

Each state machine in asl/ becomes a DOT file; overview.dot is written by hand. Graphviz (the npm package
@hpcc-js/wasm-graphviz, by render.mjs) makes an SVG of each. An SVG carries the digest of the DOT text it was made from,
so that the check needs no Graphviz.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
MACHINES = ROOT / "asl"

_HEAD = """digraph "{name}" {{
  graph [rankdir=TB, fontname="Helvetica", fontsize=11, nodesep=0.55, ranksep=0.4, pad=0.2, compound=true];
  node [fontname="Helvetica", fontsize=11, shape=box, style="rounded,filled", fillcolor="#eef3f8", color="#5b7083",
        margin="0.2,0.08"];
  edge [fontname="Helvetica", fontsize=9, color="#5b7083", arrowsize=0.7];
"""

_SHAPES = {
    "Choice": 'shape=diamond, style=filled, fillcolor="#fff6dd"',
    "Fail": 'fillcolor="#fbe3e1"',
    "Succeed": 'fillcolor="#e4f3e4"',
    "Pass": 'fillcolor="#f6f6f6"',
}


def machine_dot(name: str, machine: Mapping[str, Any]) -> str:
    """The DOT text of a state machine: states, what follows what, maps and branches as frames, catches dashed."""
    lines = [_HEAD.format(name=name)]
    lines += _states(machine, "", 1)
    return "\n".join([*lines, "}", ""])


def _states(machine: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    pad = "  " * depth
    start = f"{path}start"
    yield f'{pad}"{start}" [label="", shape=circle, width=0.15, style=filled, fillcolor="#5b7083"];'
    yield f'{pad}"{start}" -> "{path}{machine["StartAt"]}";'
    for name, state in machine["States"].items():
        kind = state["Type"]
        yield f'{pad}"{path}{name}" [label="{_label(name, state)}"{", " + _SHAPES[kind] if kind in _SHAPES else ""}];'
        for number, (frame, inner) in enumerate(_inner(state)):
            within = f"{path}{name}/{number}/"
            yield f'{pad}subgraph "cluster {within}" {{'
            yield f'{pad}  label="{frame}"; style="rounded,dashed"; color="#9fb3c4"; fontsize=10;'
            yield from _states(inner, within, depth + 1)
            yield f"{pad}}}"
            yield f'{pad}"{path}{name}" -> "{within}start" [style=dotted, arrowhead=none];'
        for target, label, style in _edges(state):
            yield f'{pad}"{path}{name}" -> "{path}{target}" [label="{label}"{style}];'


def _label(name: str, state: Mapping[str, Any]) -> str:
    called = state.get("Parameters", {}).get("FunctionName") or state.get("Parameters", {}).get("StateMachineArn")
    if isinstance(called, str) and called.startswith("${"):
        called = called[2:-1].removesuffix("_arn")
        if called.replace("_", " ") != name.lower():
            return f"{name}\\n{called}"
    return name


def _inner(state: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "ItemProcessor" in state:
        mode = state["ItemProcessor"].get("ProcessorConfig", {}).get("Mode", "INLINE").capitalize()
        yield f"{mode} Map: a child per item", state["ItemProcessor"]
    for number, branch in enumerate(state.get("Branches", ()), 1):
        yield f"branch {number}", branch


def _edges(state: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if "Next" in state:
        yield state["Next"], "", ""
    for choice in state.get("Choices", ()):
        yield choice["Next"], _condition(choice), ""
    if "Default" in state:
        yield state["Default"], "else", ""
    caught: dict[str, list[str]] = {}
    for catch in state.get("Catch", ()):
        caught.setdefault(catch["Next"], []).extend(catch["ErrorEquals"])
    for target, errors in caught.items():
        yield target, "\\n".join(errors), ', style=dashed, color="#b5544d"'


def _condition(choice: Mapping[str, Any]) -> str:
    variable = str(choice.get("Variable", "")).rpartition(".")[2]
    compared = next((key for key in choice if key not in ("Variable", "Next", "Comment")), "")
    value = choice.get(compared)
    signs = {"NumericGreaterThan": ">", "NumericLessThan": "<", "StringEquals": "=", "NumericEquals": "="}
    if isinstance(value, list):
        return compared.lower()
    return f"{variable} {signs.get(compared, compared)} {value}".strip().replace('"', "")


def drawn() -> dict[Path, str]:
    """DOT files that follow from asl/, with the text that they should hold."""
    return {
        FOLDER / f"{path.name.removesuffix('.asl.json')}.dot": machine_dot(
            path.name.removesuffix(".asl.json"), json.loads(path.read_text(encoding="utf-8"))
        )
        for path in sorted(MACHINES.glob("*.asl.json"))
    }


def digest(dot: Path) -> str:
    return hashlib.sha256(dot.read_bytes()).hexdigest()


def old() -> list[str]:
    """Pictures that do not show what their source says, by their path in the repository."""
    stale = [dot for dot, text in drawn().items() if not dot.exists() or dot.read_text(encoding="utf-8") != text]
    for dot in FOLDER.glob("*.dot"):
        svg = dot.with_suffix(".svg")
        if not svg.exists() or digest(dot) not in svg.read_text(encoding="utf-8"):
            stale.append(svg)
    return [str(path.relative_to(ROOT)) for path in stale]


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        for path in old():
            print(f"{path} is older than its source: make pictures")
        return 1 if old() else 0
    for dot, text in drawn().items():
        dot.write_text(text, encoding="utf-8")
    dots = sorted(FOLDER.glob("*.dot"))
    subprocess.run(["node", str(FOLDER / "render.mjs"), *map(str, dots)], check=True, cwd=ROOT)
    for dot in dots:
        svg = dot.with_suffix(".svg")
        text = svg.read_text(encoding="utf-8")
        svg.write_text(f"{text.rstrip()}\n<!-- of {dot.name}, sha256 {digest(dot)} -->\n", encoding="utf-8")
        print(f"drew {svg.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
