"""Another pass over results that landed late: started once, when it is due, and never beside one that goes on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bulk_inference.assembly.late_assembly import follow
from bulk_inference.core.ports import Clock, Execution
from tests.worlds.assembly_world import Run, chunked, label
from tests.worlds.ingest_world import NOW, World, ingest_world


@dataclass
class Machine:
    """assemble_results, and DescribeExecution of it."""

    status: str = "SUCCEEDED"
    started: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def start(self, name: str, request: Mapping[str, Any]) -> bool:
        self.started.append((name, request))
        return True

    def describe(self, arn: str) -> Execution | None:
        return Execution(arn, self.status)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as world:
        yield world


def look(run: Run, machine: Machine, seconds: float = 0) -> bool:
    clock = Clock(lambda: NOW + seconds, lambda: 900, lambda wait: None)
    world = run.assembly
    return follow(world.spec, output=world.output, runs=world.runs, clock=clock, executions=machine, assemblies=machine)


def behind(world: World) -> Run:
    """A run of which a chunk has landed since it was assembled."""
    run = chunked(world, 9)
    run.answer(lambda prompt: None if "doc-0 2/" in prompt else label(prompt))
    run.assemble()
    run.answer(lambda prompt: label(prompt) if "doc-0 2/" in prompt else None, name="reprocess-")
    return run


def test_nothing_is_started_while_nothing_has_landed(world: World) -> None:
    run, machine = chunked(world, 9), Machine()
    assert not look(run, machine), "it was never assembled: its pipeline does that"
    run.answer(label)
    run.assemble()
    assert not look(run, machine)
    assert machine.started == []


def test_a_pass_is_started_once_and_looked_after(world: World) -> None:
    run, machine = behind(world), Machine()
    assert look(run, machine)
    assert look(run, machine, 60)
    assert machine.started == [(f"run-1-late-{NOW}", {"run": "run-1", "tenant": "default"})]
    run.assemble()
    assert not look(run, machine, 120)


def test_no_pass_is_started_beside_another(world: World) -> None:
    run, machine = behind(world), Machine("RUNNING")
    world.runs.update("RUN#run-1", "ASSEMBLY", {"state": "running"})
    assert look(run, machine)
    assert machine.started == []


def test_a_pass_that_died_is_followed_by_another_after_a_while(world: World) -> None:
    run, machine = behind(world), Machine("FAILED")
    assert look(run, machine)
    world.runs.update("RUN#run-1", "ASSEMBLY", {"state": "running"})
    assert look(run, machine, 600)
    assert len(machine.started) == 1
    assert look(run, machine, 1000)
    assert len(machine.started) == 2


def test_a_long_run_id_makes_a_legal_execution_name(world: World) -> None:
    run, machine = behind(world), Machine()
    look(run, machine)
    ((name, _),) = machine.started
    assert len("x" * 60 + name.removeprefix("run-1")) <= 80
