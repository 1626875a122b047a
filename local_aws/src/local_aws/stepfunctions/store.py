"""Executions and Map Runs by their ARNs. Touched by the engine's thread only."""

from __future__ import annotations

from .records import Execution, MapRun

executions: dict[str, Execution] = {}
map_runs: dict[str, MapRun] = {}
_by_machine: dict[str, list[Execution]] = {}


def add_execution(execution: Execution) -> None:
    executions[execution.arn] = execution
    if execution.map_run is None:
        _by_machine.setdefault(execution.machine.arn, []).append(execution)


def add_map_run(map_run: MapRun) -> None:
    map_runs[map_run.arn] = map_run


def of_machine(arn: str) -> list[Execution]:
    """Executions of a state machine, without the children of its Map Runs."""
    return _by_machine.get(arn, [])


def forget_machine(arn: str) -> None:
    """Drop what a deleted state machine ran."""
    for execution in _by_machine.pop(arn, []):
        executions.pop(execution.arn, None)
        for run in [each for each in map_runs.values() if each.execution is execution]:
            del map_runs[run.arn]
            for child in run.children:
                executions.pop(child.arn, None)


def clear() -> None:
    executions.clear()
    map_runs.clear()
    _by_machine.clear()
