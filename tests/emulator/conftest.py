"""One local AWS for all tests of a session (under pytest-xdist: one per worker)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """A running local AWS. Tests share it: give buckets, queues, functions and jobs names of their own."""
    with LocalAws() as running:
        yield running
