"""Errors that the state machines know by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_inference.core.errors import AccessDeniedError

MACHINES = sorted(
    # A tenant's machine is not redriven: the run's own execution, which it started, is.
    one
    for one in (Path(__file__).parents[3] / "asl").glob("*.asl.json")
    if one.name != "tenant_run.asl.json"
)
ALL = {"States.ALL", "States.TaskFailed", AccessDeniedError.__name__}


def handled(value: Any) -> Iterator[str]:
    """Names of errors in every Retry and Catch."""
    if isinstance(value, dict):
        for name in ("Retry", "Catch"):
            for one in value.get(name, []):
                yield from one["ErrorEquals"]
        for one in value.values():
            yield from handled(one)
    elif isinstance(value, list):
        for one in value:
            yield from handled(one)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.name)
def test_what_can_be_mended_outside_ends_in_no_state_that_a_redrive_enters_again(machine: Path) -> None:
    """A redrive begins with the state that failed: a Fail state behind a Catch would fail again for ever, whatever was
    granted meanwhile."""
    assert not ALL & set(handled(json.loads(machine.read_text())))
