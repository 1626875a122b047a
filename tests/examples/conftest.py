"""Which examples are applied: those that CI has time for, or all with `--every-example`."""

import os
from collections.abc import Iterator

import pytest

from local_aws import LocalAws
from tests.examples import consumers

IN_CI = ("minimal", "complete", "multi-tenant", "downstream-knowledge-base")
"""Applied in every run of the tests. `make examples` applies all."""

KNOBS = {"seconds_validating": 0.5, "seconds_scheduled": 0.5, "time_scale": 0.05}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-example", action="store_true", help="apply every example, not only those of CI")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "planned" in metafunc.fixturenames:
        metafunc.parametrize("planned", consumers.names())
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", chosen(metafunc.config))


def chosen(config: pytest.Config) -> list[str]:
    every = config.getoption("--every-example") or os.environ.get("EVERY_EXAMPLE")
    return [name for name in consumers.names() if every or name in IN_CI]


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws(knobs=KNOBS) as started:
        yield started
