"""The stacks beside this file, each planned once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local_aws import LocalAws
from tests.iam.rendered import Rendered, plan
from tests.iam.simulation import INSTALLED

if not INSTALLED:
    print("npm is not here: the simulation of roles and bucket policies is left out; what they hold is still checked.")

collect_ignore = [] if INSTALLED else ["test_simulation.py", "test_resource_policies.py"]

NAMES = ("made", "keyed", "brought")


@pytest.fixture(scope="session")
def stacks() -> Iterator[dict[str, Rendered]]:
    """By name: `made` (the module makes everything), `keyed` (all but the key), `brought` (as little as it can)."""
    with LocalAws() as aws, ThreadPoolExecutor(len(NAMES)) as pool:
        yield dict(zip(NAMES, pool.map(lambda name: plan(aws, name), NAMES), strict=True))


@pytest.fixture(params=NAMES)
def rendered(request: pytest.FixtureRequest, stacks: dict[str, Rendered]) -> Rendered:
    return stacks[request.param]


@pytest.fixture
def brought(stacks: dict[str, Rendered]) -> Rendered:
    """The stack whose policies are all known at plan: its key is brought."""
    return stacks["brought"]
