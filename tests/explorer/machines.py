"""What the state machines make of an error of a function: read from `asl/`, so that both cannot drift apart."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

_ASL: Final = Path(__file__).resolve().parents[2] / "asl"


@cache
def retries(function: str) -> Mapping[str, int]:
    """Errors after which the state is tried again, and how often."""
    return {
        name: int(one["MaxAttempts"])
        for state in _states(function)
        for one in state.get("Retry", [])
        for name in one["ErrorEquals"]
    }


@cache
def refused(function: str) -> frozenset[str]:
    """Errors that end in a Fail state: a redrive enters that again, whatever has been mended meanwhile."""
    return frozenset(
        name
        for state in _states(function)
        for one in state.get("Catch", [])
        if one["Next"] in _fail_states()
        for name in one["ErrorEquals"]
    )


@cache
def caught(function: str) -> frozenset[str]:
    """Errors from which the machine goes on to another state that does something."""
    every = {name for state in _states(function) for one in state.get("Catch", []) for name in one["ErrorEquals"]}
    return frozenset(every) - refused(function)


def _states(function: str) -> list[Mapping[str, Any]]:
    return [state for _, state in _all() if f"${{{function}_arn}}" in json.dumps(state.get("Parameters", {}))]


@cache
def _fail_states() -> frozenset[str]:
    return frozenset(name for name, state in _all() if state["Type"] == "Fail")


@cache
def _all() -> list[tuple[str, Mapping[str, Any]]]:
    return [found for path in sorted(_ASL.glob("*.asl.json")) for found in _below(json.loads(path.read_text()))]


def _below(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from _below(inner)
