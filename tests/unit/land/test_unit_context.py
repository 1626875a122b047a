"""What a worker of a unit begins with."""

import pytest

from bulk_inference.core.errors import WorkInProgressError
from bulk_inference.core.leases import LEASE_SECONDS
from bulk_inference.land.units import Unit
from tests.worlds.inference_world import RUN, Stage


def test_a_worker_that_was_frozen_before_it_looked_does_not_begin() -> None:
    """Another one has taken its unit over and committed: what it would write next has a name that nobody withdraws."""
    stage = Stage()
    context = stage.unit_context
    frozen = context.leases.acquire(RUN, "sync-1")
    stage.time.now += LEASE_SECONDS + 1
    other = context.leases.acquire(RUN, "sync-1")
    assert context.begun(other) is None
    context.commit(other, Unit(unit="sync-1", kind="items", pieces={}), last=True)
    with pytest.raises(WorkInProgressError, match="taken over"):
        context.begun(frozen)
    assert context.begun(context.leases.acquire(RUN, "sync-1")) is not None
