"""Plays interleavings: one worker is struck at one of its effects, the other runs whole, then all is worked off."""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.explorer.stages import Act, Other, Stage, require_own_error
from tests.explorer.workers import Fault, Killed, Strike

LAPSES: Final = (0, 61, 650, 3700)
"""Seconds that pass while the first worker is frozen: less than a lease lasts, more than it, more than Powertools
remembered, more than a function may run."""

MOST_WAITED: Final = 150
"""Seconds after which inference must have ended when a worker was killed: a lease, and what the others take."""

_USUAL: Final = tuple(fault for fault in Fault if fault is not Fault.DENY)
FREEZES: Final = tuple(fault for fault in Fault if fault.freezes)
_SOLO: Final = (Fault.REFUSE, Fault.PART, Fault.AGAIN, Fault.DENY)
"""Faults that a worker survives: nobody waits for it, so that no time passes."""


@dataclass(frozen=True)
class Meeting:
    """Two functions that may meet, and where."""

    name: str
    stage: Callable[[], Stage]
    first: Act
    others: dict[str, Other]
    faults: tuple[Fault, ...] = _USUAL
    lapses: tuple[int, ...] = LAPSES
    check: Callable[[Stage], list[str]] = Stage.check
    settle: Callable[[Stage], None] = Stage.settle


@dataclass(frozen=True)
class Interleaving:
    """One of them, under a name that replays it."""

    meeting: Meeting
    other: str
    strike: Strike
    lapse: int

    @property
    def name(self) -> str:
        return f"{self.meeting.name}/{self.other}/{self.strike.fault.value}@{self.strike.at}+{self.lapse}"

    def play(self) -> "Played":
        """What a user would see of it, if anything is wrong."""
        stage = self.meeting.stage().copy()
        stage.began = stage.account.now
        stage.strike, stage.paid = self.strike, dict(stage.account.model.calls)
        with stage.account:
            random.seed(0)
            return _play(self, stage)


@dataclass
class Played:
    problems: list[str] = field(default_factory=list)
    struck: bool = True
    """Whether the worker came so far at all."""
    effect: str = ""


def _play(one: Interleaving, stage: Stage) -> Played:
    played = Played()
    try:
        first = one.meeting.first(stage, one.strike)
        worker = first.worker.run()
        if not worker.struck:
            return Played(struck=False)
        played.effect = worker.effects[one.strike.at - 1]
        stage.effect = played.effect
        struck_at = stage.account.now
        stage.account.now += one.lapse
        other = one.meeting.others[one.other]
        if worker.frozen:
            awaited = other(stage, first)
            if worker.frozen:
                worker.run()
        else:
            awaited = True
            if not isinstance(worker.error, Killed):
                first.answered()
            if one.strike.fault not in _SOLO or one.other not in ("retry", "redriven"):
                awaited = other(stage, first)
        if one.strike.fault is not Fault.DENY:
            _require(worker)
        if awaited and worker.ended and worker.frozen is False and one.strike.fault.freezes:
            first.answered()
        one.meeting.settle(stage)
        played.problems = [*one.meeting.check(stage), *_waste(one, stage, struck_at)]
    except Exception as error:
        played.problems = [f"{type(error).__name__}: {error}"]
    return played


def _waste(one: Interleaving, stage: Stage, struck_at: float) -> list[str]:
    """A worker that is killed must not keep its unit waiting for the function's whole time."""
    if not one.strike.fault.kills or one.other != "retry" or one.lapse or not stage.runs:
        return []
    waited = stage.run.inferred_at - struck_at
    return [f"a killed worker has cost {waited:.0f} s"] if waited > MOST_WAITED else []


def _require(worker: object) -> None:
    from tests.explorer.workers import Worker

    assert isinstance(worker, Worker)
    if not isinstance(worker.error, Killed):
        require_own_error(worker)


_NAME: Final = re.compile(r"(?P<meeting>[^/]+)/(?P<other>[^/]+)/(?P<fault>[a-z-]+)@(?P<at>\d+)\+(?P<lapse>\d+)")


def named(name: str, meetings: Mapping[str, Meeting]) -> Interleaving | None:
    """The one of this name, if it is a whole name."""
    match = _NAME.fullmatch(name)
    if match is None or match["meeting"] not in meetings:
        return None
    strike = Strike(Fault(match["fault"]), int(match["at"]))
    return Interleaving(meetings[match["meeting"]], match["other"], strike, int(match["lapse"]))


def interleavings(meeting: Meeting) -> Iterator[Interleaving]:
    """All of a meeting, in an order that does not change."""
    effects = count_effects(meeting)
    for other in meeting.others:
        for fault in meeting.faults:
            for lapse in meeting.lapses if fault not in _SOLO else meeting.lapses[:1]:
                for at in range(1, effects + 1):
                    yield Interleaving(meeting, other, Strike(fault, at), lapse)


def count_effects(meeting: Meeting) -> int:
    """How many effects the first worker has when nobody disturbs it."""
    stage = meeting.stage().copy()
    with stage.account:
        random.seed(0)
        return len(meeting.first(stage, None).worker.run().effects)
