"""Accounts that an older bundle has left (versions.py): workers of this one take up what it has begun."""

from collections.abc import Callable
from functools import cache, partial

from tests.explorer import versions
from tests.explorer.explore import Meeting
from tests.explorer.meetings import assembly, inference, intake, operating
from tests.explorer.stages import Act, Stage, child, lane, rest, retry
from tests.explorer.stages import assembly as assembling
from tests.explorer.workers import Fault, Strike


def _begun(stage: Stage, act: Act, at: int) -> Stage:
    """A worker of the older bundle was killed after one of its effects."""
    stage = stage.copy()
    with stage.account:
        act(stage, Strike(Fault.KILL_AFTER, at)).worker.run()
    stage.account.now += 3600
    return stage


def stages() -> dict[str, Stage]:
    """What `versions.write` writes. Numbers of effects are those of the older bundle."""
    items, shard = child("items-0"), child("shard-00001")
    return {
        "items-claimed": _begun(inference.items(), items, 9),
        "items-part": _begun(inference.items(), items, 10),
        "items-unsent": _begun(inference.items(), items, 12),
        "shard-stored": _begun(inference.shard(), shard, 4),
        "shard-created": _begun(inference.shard(), shard, 6),
        "output-claimed": _begun(inference.output(), shard, 6),
        "output-parts": _begun(inference.output(), shard, 9),
        "attempt": inference.second_attempt(),
        "remainder": inference.remainder(),
        "lane": operating.failed(),
        "lane-part": _begun(operating.failed(), lane("r01"), 4),
        "dead": operating.dead(),
        "urgent-claimed": _begun(intake.urgent(), intake.consume("d00", "high"), 14),
        "urgent-landed": _begun(intake.urgent(), intake.consume("d00", "high"), 17),
        "pooled": intake.pooled(),
        "pool-ended": intake.pool_ended(),
        "joining": assembly.joining(),
    }


_INTAKE = ("urgent-claimed", "urgent-landed", "pooled", "pool-ended")


def _meeting(name: str) -> Meeting:
    stage: Callable[[], Stage] = cache(partial(versions.load, name))
    title = f"older-{name}"
    if name in _INTAKE:
        act = intake.consume("d00", "high") if name.startswith("urgent") else intake.FOLLOW
        others = {"follow": intake.FOLLOWS, "everything": intake.everything}
        return Meeting(title, stage, act, others, lapses=(0, 650), check=intake.check, settle=intake.settle)
    if name in ("lane", "lane-part"):
        return Meeting(title, stage, lane("r01"), {"rest": rest}, lapses=(0, 650))
    if name == "dead":
        return Meeting(title, stage, operating.DROP, {"rest": rest, "resubmitted": operating.resubmitted})
    if name == "joining":
        return Meeting(title, stage, assembling, {"rest": rest}, check=assembly.check)
    one = child("items-0" if name.startswith("items") else "shard-00001")
    return Meeting(title, stage, one, {"retry": retry, "rest": rest}, lapses=(0, 650))


def meetings() -> list[Meeting]:
    return [_meeting(name) for name in versions.names()]
