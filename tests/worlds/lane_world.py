"""Fakes of the failure lane: its queues as SQS documents them, and the pipeline that resubmissions start."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.worlds.inference_world import World


@dataclass
class FakeLane:
    world: World
    postponed: list[tuple[str, int]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    """Of the messages held, in seconds."""
    backed_off: list[tuple[str, int]] = field(default_factory=list)

    def postpone(self, body: str, seconds: int) -> None:
        assert 0 <= seconds <= 900
        self.postponed.append((body, seconds))
        self.world.strike("postpone")

    def hold(self, body: str, seconds: int) -> None:
        assert 0 <= seconds <= 900
        self.held.append(body)
        self.delays.append(seconds)
        self.world.strike("hold")

    def back_off(self, receipt: str, seconds: int) -> None:
        self.backed_off.append((receipt, seconds))
        self.world.strike("back off")


@dataclass(frozen=True)
class FakeLetter:
    number: int
    body: str


class FakeLetters:
    """A dead-letter queue: what was received is hidden until it is released, or until `show` (its timeout has passed).

    Messages are given out `at_once` at a time.
    """

    def __init__(self, world: World, *, at_once: int = 10) -> None:
        self.world = world
        self.at_once = at_once
        self.letters: dict[int, str] = {}
        self.hidden: set[int] = set()
        self.lanes: dict[str, list[str]] = {}
        self.moves: list[tuple[str, int | None]] = []
        self.moving = False
        self.late: list[str] = []
        """Bodies that are shown only later."""

    def unseen(self) -> int:
        return len(self.late) + len(self.hidden)

    def add(self, message: Mapping[str, Any] | str) -> None:
        body = message if isinstance(message, str) else json.dumps(message)
        self.letters[max(self.letters, default=0) + 1] = body

    def show(self) -> None:
        self.hidden.clear()
        for body in self.late:
            self.add(body)
        self.late.clear()

    def move(self, priority: str, per_second: int | None) -> bool:
        if self.moving:
            return False
        self.moves.append((priority, per_second))
        self.moving = True
        self.world.strike("move")
        return True

    def receive(self, hidden_seconds: int) -> list[FakeLetter]:
        assert 0 < hidden_seconds <= 43_200
        found = [FakeLetter(number, body) for number, body in self.letters.items() if number not in self.hidden]
        self.hidden |= {one.number for one in found[: self.at_once]}
        return found[: self.at_once]

    def send_back(self, letters: Sequence[Any], priority: str) -> None:
        self.lanes.setdefault(priority, []).extend(one.body for one in letters)
        self.world.strike("send back")
        self.delete(letters)

    def delete(self, letters: Sequence[Any]) -> None:
        for one in letters:
            self.letters.pop(one.number, None)
            self.hidden.discard(one.number)
        if letters:
            self.world.strike("delete")

    def release(self, letters: Sequence[Any]) -> None:
        self.hidden -= {one.number for one in letters}

    def bodies(self, *lanes: str) -> list[dict[str, Any]]:
        """Messages of reprocess queues, or of the dead-letter queue."""
        found = [body for lane in lanes for body in self.lanes.get(lane, [])] if lanes else list(self.letters.values())
        return [json.loads(body) for body in found]


class FakePipeline:
    def __init__(self, world: World) -> None:
        self.world = world
        self.running: dict[str, Any] = {}
        self.ended: set[str] = set()
        self.on_start: Callable[[str], None] = lambda run: None

    def start(self, run: str, request: Mapping[str, Any]) -> bool:
        if run in self.ended or self.running.get(run, request) != request:
            return False
        self.running[run] = json.loads(json.dumps(request))
        self.world.strike("start execution")
        self.on_start(run)
        return True
