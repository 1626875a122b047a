"""Runs that share a scope: whose a record is."""

from functools import cache

from tests.explorer.account import DEAD, Account
from tests.explorer.explore import Meeting
from tests.explorer.meetings.inference import FAILING
from tests.explorer.runs import Run, corpus, records, request
from tests.explorer.stages import Doing, Stage, also, child, lane, rest, retry
from tests.explorer.workers import Fault, Strike


@cache
def rivals() -> Stage:
    """Two runs of one scope over one corpus, both cut before any record has landed."""
    account = Account()
    account.model.outcomes = dict(FAILING)
    corpus(account, records(7))
    runs = [Run(account, f"run-{n}", request(run={"mode": "sync", "scope": "tickets"})) for n in (1, 2)]
    with account:
        for run in runs:
            run.prepare()
    return Stage(account, runs)


def other_run(stage: Stage, first: Doing) -> bool:
    """The other run does the same records at the same time."""
    stage.runs[1].step(stage.runs[1].children["items-0"])
    return True


def over_and_redriven(stage: Stage, first: Doing) -> bool:
    """The first run is aborted; long after, the other one takes over what it can; then the first is redriven."""
    stage.run.stop()
    stage.account.now += 1200
    stage.runs[1].finish()
    stage.run.redrive()
    return False


def over(stage: Stage, first: Doing) -> bool:
    """The first run is aborted, and the other begins at once."""
    stage.run.stop()
    stage.account.now += 30
    stage.runs[1].step(stage.runs[1].children["items-0"])
    return False


@cache
def undecided() -> Stage:
    """A record waits in the lane of the first run; the second has claimed it, and was killed and aborted just now."""
    stage = rivals().copy()
    one, two = stage.runs
    with stage.account:
        one.infer()
        child("items-0", run=1)(stage, Strike(Fault.KILL_BEFORE, 1, "/results/part-")).worker.run()
        two.stop()
    stage.account.now += 30
    return stage


def check_undecided(stage: Stage) -> list[str]:
    """Waiting costs neither money nor the message's receives."""
    problems = stage.check()
    if (paid := stage.account.model.calls["r01"] - stage.paid["r01"]) > 2:
        problems.append(f"r01 was paid for {paid} times while it was waited for a claim to be decided")
    if any(one["recordId"] == "r01" for one in stage.account.bodies(DEAD)):
        problems.append("r01 is among the dead letters, though nothing is wrong with it")
    return problems


def meetings() -> list[Meeting]:
    return [
        Meeting(
            "rivals",
            rivals,
            child("items-0"),
            {"other": other_run, "over": over, "over-redriven": over_and_redriven, "retry": retry, "rest": rest},
        ),
        Meeting("undecided", undecided, lane("r01"), {"twice": also(lane("r01")), "rest": rest}, check=check_undecided),
    ]
