"""Workers after inference: the failure lane, finishing, updating, stopping, and what an operator does."""

from functools import cache
from typing import Any

from tests.explorer import invariants
from tests.explorer.explore import Meeting
from tests.explorer.meetings.inference import items
from tests.explorer.runs import Run, drain_lanes, tolerant
from tests.explorer.stages import Doing, Stage, aborted, also, function, lane, rest, state


@cache
def inferred() -> Stage:
    """A run whose children are done, and that is not finished."""
    stage = items().copy()
    with stage.account:
        stage.run.infer()
    return stage


@cache
def failed() -> Stage:
    """A run that is finished, whose failed records are in the lane."""
    stage = inferred().copy()
    with stage.account:
        stage.run.finish()
    return stage


@cache
def dead() -> Stage:
    """As `failed`, with the lane worked off: two records are among the dead letters. r03 would land now."""
    stage = failed().copy()
    with stage.account:
        drain_lanes(stage.account)
        tolerant(stage.account, "update_runs", {})
    stage.account.model.outcomes["r03"] = ["answer"]
    return stage


@cache
def aborted_run() -> Stage:
    """An execution that somebody has aborted; its event is on its way."""
    stage = inferred().copy()
    with stage.account:
        stage.account.states.end(stage.run.arn, "ABORTED")
    return stage


@cache
def redriven_run() -> Stage:
    """An execution that was aborted and redriven; the event of the latter is on its way."""
    stage = aborted_run().copy()
    with stage.account:
        stage.run.stopped("ABORTED")
        stage.account.states.redrive(stage.run.arn)
        stage.run.redrives += 1
    return stage


def going_on(run: Run) -> tuple[str, dict[str, Any]]:
    return run.stopping("RUNNING")


@cache
def stale() -> Stage:
    """A manifest that is older than a late landing; another failed record waits in the lane."""
    stage = failed().copy()
    stage.account.model.outcomes["r03"] = ["answer"]
    with stage.account:
        doing = lane("r01")(stage, None)
        doing.worker.run()
        doing.answered()
    return stage


@cache
def once_answered() -> Stage:
    """As `failed`; the model answers the next call for r01, fails until the lane gives up, and answers then."""
    stage = failed().copy()
    stage.account.model.outcomes["r01"] = ["failed"] * 4 + ["answer"] + ["failed"] * 6 + ["answer"]
    return stage


def given_up_and_resubmitted(stage: Stage, first: Doing) -> bool:
    """The lane gives the record up, and its failures are resubmitted."""
    drain_lanes(stage.account)
    return resubmitted(stage, first)


@cache
def claimed_by_a_lane() -> Stage:
    """A record that failed in a resubmission, too, and waits in its lane; the model answers it once more."""
    stage = dead().copy()
    stage.account.model.outcomes["r03"] = ["failed"] * 99
    with stage.account:
        tolerant(stage.account, "redrive_failures", {"action": "resubmit", "run": "run-1", "as": "run-2"})
        stage.finish_runs()
    stage.account.model.outcomes["r03"] = ["answer", *["failed"] * 99]
    stage.account.model.calls["r03"] = 0
    return stage


def given_up(stage: Stage, first: Doing) -> bool:
    """The lane gives the record up, and the schedules look what has become of it."""
    drain_lanes(stage.account)
    return True


@cache
def lineage() -> Stage:
    """A resubmission of a resubmission: the second one has landed what the others could not."""
    stage = dead().copy()
    stage.account.model.outcomes["r03"] = ["failed"] * 99
    with stage.account:
        tolerant(stage.account, "redrive_failures", {"action": "resubmit", "run": "run-1", "as": "run-2"})
        stage.finish_runs()
        tolerant(stage.account, "update_runs", {})
        stage.account.model.outcomes["r03"] = ["answer"]
        tolerant(stage.account, "redrive_failures", {"action": "resubmit", "run": "run-2", "as": "run-3"})
        stage.finish_runs()
    return stage


@cache
def sent_back() -> Stage:
    """Dead letters were sent back, and one of them is held again: hidden for a while."""
    stage = dead().copy()
    stage.account.model.outcomes["r03"] = ["failed"] * 99
    with stage.account:
        tolerant(stage.account, "redrive_failures", {"action": "redrive", "run": "run-1"})
        for _ in range(2):
            doing = lane()(stage, None)
            doing.worker.run()
            doing.answered()
    return stage


def command(action: str, **more: Any) -> Any:
    return function("redrive_failures", lambda stage: {"action": action, **more})


DROP = command("drop", run="run-1", reason="given up")
RESUBMIT = command("resubmit", run="run-1")
RESUBMIT_AS = {"action": "resubmit", "run": "run-1", "as": "run-1-r1"}
REDRIVE = command("redrive", run="run-1")
MOVE = command("redrive")
UPDATE = function("update_runs", lambda stage: {})
STOP = state(Run.stopping)


def lanes(stage: Stage, first: Doing) -> bool:
    """The lane's consumers work everything off."""
    drain_lanes(stage.account)
    return True


def resubmitted(stage: Stage, first: Doing) -> bool:
    """The failures are resubmitted, and that run runs to its end."""
    tolerant(stage.account, "redrive_failures", {"action": "resubmit", "run": "run-1"})
    stage.finish_runs()
    return True


def check_dropped(stage: Stage) -> list[str]:
    return [*stage.check(), *invariants.letters_of_dropped(stage.account, stage.runs)]


def meetings() -> list[Meeting]:
    operator = {"drop": also(DROP), "resubmit": also(RESUBMIT), "redrive": also(REDRIVE), "move": also(MOVE)}
    return [
        Meeting(
            "lane-lands",
            failed,
            lane("r01"),
            {"twice": also(lane("r01")), **operator, "resubmitted": resubmitted, "update": also(UPDATE)},
        ),
        Meeting("lane-fails", failed, lane("r03"), {"twice": also(lane("r03")), "drop": also(DROP), "rest": rest}),
        Meeting(
            "lane-holds",
            failed,
            lane("r04"),
            {"twice": also(lane("r04")), "drop": also(DROP), "redrive": also(REDRIVE)},
        ),
        Meeting(
            "finish",
            inferred,
            state(Run.finishing),
            {
                "again": also(state(Run.finishing)),
                "lanes": lanes,
                "update": also(UPDATE),
                "stop": aborted,
                "rest": rest,
            },
        ),
        Meeting(
            "update",
            stale,
            UPDATE,
            {"again": also(UPDATE), "lands": also(lane("r03")), "drop": also(DROP), "rest": rest},
        ),
        Meeting(
            "drop",
            dead,
            DROP,
            {
                "again": also(DROP),
                "resubmit": also(RESUBMIT),
                "resubmitted": resubmitted,
                "redrive": also(REDRIVE),
                "move": also(MOVE),
                "update": also(UPDATE),
                "rest": rest,
            },
            check=check_dropped,
        ),
        Meeting(
            "resubmit",
            dead,
            RESUBMIT,
            {
                "again": also(RESUBMIT),
                "drop": also(DROP),
                "update": also(UPDATE),
                "resubmitted": resubmitted,
                "rest": rest,
            },
        ),
        Meeting(
            "redrive",
            dead,
            REDRIVE,
            {"again": also(REDRIVE), "drop": also(DROP), "lanes": lanes, "resubmitted": resubmitted, "rest": rest},
            check=check_dropped,
        ),
        Meeting("lane-claims", claimed_by_a_lane, lane('"run-2"'), {"given-up": given_up, "update": also(UPDATE)}),
        Meeting("lane-gives-up", once_answered, lane("r01"), {"resubmitted": given_up_and_resubmitted}),
        Meeting("update-lineage", lineage, UPDATE, {"again": also(UPDATE), "rest": rest}),
        Meeting(
            "drop-sent-back", sent_back, DROP, {"again": also(DROP), "lanes": lanes, "rest": rest}, check=check_dropped
        ),
        Meeting(
            "go-on",
            redriven_run,
            state(going_on),
            {"finish": also(state(Run.finishing)), "stop": aborted, "rest": rest},
        ),
        Meeting("stop", aborted_run, STOP, {"finish": also(state(Run.finishing)), "again": also(STOP), "rest": rest}),
    ]
