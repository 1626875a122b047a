"""A bounded part of the explorer: `make explore` plays all of it. A failure names the interleaving, which
`make explore ARGS='<name>'` plays again."""

import pytest

from tests.explorer.explore import Interleaving, interleavings
from tests.explorer.meetings import meetings

EVERY = 23
"""One of so many interleavings is played, others of them in each meeting."""

_CHUNK = 25


def _some() -> list[list[Interleaving]]:
    names = [one for meeting in meetings() for one in interleavings(meeting)][::EVERY]
    return [names[at : at + _CHUNK] for at in range(0, len(names), _CHUNK)]


SOME = _some()


@pytest.mark.parametrize("some", SOME, ids=lambda some: some[0].name)
def test_nothing_is_lost_nor_doubled_whatever_two_workers_do(some: list[Interleaving]) -> None:
    wrong = [f"{one.name}: {problem}" for one in some for problem in one.play().problems]
    assert not wrong, "\n".join(wrong)


def test_enough_is_played() -> None:
    assert sum(map(len, SOME)) >= 1500
