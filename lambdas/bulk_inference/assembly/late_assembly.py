"""Results that land after they were assembled: another pass takes them up, started by update_runs.

It is started when more lies there than the last pass has seen, one at a time, and never while the run itself goes on:
the pipeline assembles then. When it closes, it marks the run as stale again, so that the manifest follows.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from bulk_inference.assembly.assembly import landed_bytes
from bulk_inference.core.ports import Bucket, Clock, Execution, Runs
from bulk_inference.core.run_spec import RunSpec, wanted
from bulk_inference.core.runs_table import ASSEMBLY, run_pk

_BEGINNING_SECONDS: Final = 120
"""How long a pass that was started may take until its item says so."""
_AGAIN_SECONDS: Final = 900
"""How long after a pass has died another one is started."""

_MAX_NAME: Final = 60
"""Of a run's id in an execution's name, of 80 characters at most."""


class Assemblies(Protocol):
    """The state machine assemble_results."""

    def start(self, name: str, request: Mapping[str, Any]) -> bool:
        """False if there is an execution of that name that has ended."""
        ...


class Lookup(Protocol):
    def describe(self, arn: str) -> Execution | None: ...


def follow(
    spec: RunSpec, *, output: Bucket, runs: Runs, clock: Clock, executions: Lookup, assemblies: Assemblies
) -> bool:
    """Starts a pass if one is due. Whether the run must be looked at again: a pass goes on, or is due."""
    item = runs.get(run_pk(spec.run), ASSEMBLY) if wanted(spec) else None
    if item is None:
        return False
    now = int(clock.now())
    begun = int(item["late"])
    if item["state"] == "running":
        execution = executions.describe(item["execution"])
        if execution is not None and execution.status == "RUNNING":
            return True
        pause = _AGAIN_SECONDS
    elif landed_bytes(spec, item, output, runs) == int(item["bytes"]):
        return False
    else:
        pause = _BEGINNING_SECONDS
    if now - begun < pause:
        return True
    # Two updates at once: one starts.
    if runs.put_if({**item, "late": now}, "late", begun):
        assemblies.start(f"{spec.run[:_MAX_NAME]}-late-{now}", {"run": spec.run, "tenant": spec.tenant})
    return True
