"""Workers that plan, cut and seal."""

import json
from functools import cache

from tests.explorer.account import INPUT, Account
from tests.explorer.explore import Meeting
from tests.explorer.meetings.inference import one_run
from tests.explorer.runs import Run, corpus, records, request
from tests.explorer.stages import Doing, Stage, again, rest, state
from tests.explorer.workers import Fault

_ALL = tuple(Fault)


@cache
def asked() -> Stage:
    """A run that is not planned."""
    account, run = one_run("sync")
    run.begin()
    return Stage(account, [run])


@cache
def asked_of_a_folder() -> Stage:
    account, _ = one_run("sync")
    corpus(account, records(4), "default/corpus/p/a.jsonl")
    run = Run(account, "run-1", {**request(), "source": {"prefix": "default/corpus/p/"}})
    run.begin()
    return Stage(account, [run])


def grown(stage: Stage, first: Doing) -> bool:
    """The corpus grows, and the state is tried again."""
    corpus(stage.account, [{"id": f"s{n}", "text": f"s{n}"} for n in range(3)], "default/corpus/p/b.jsonl")
    return again(Run.planning)(stage, first)


def check_planned(stage: Stage) -> list[str]:
    """Of a corpus that grew while it was planned, what was planned counts."""
    if not any("b.jsonl" in json.dumps(cut) for cut in stage.account.lines(INPUT, stage.run.plan["cuts"]["key"])):
        stage.account.s3.buckets[INPUT].pop("default/corpus/p/b.jsonl", None)
    return stage.check()


@cache
def planned() -> Stage:
    """A run whose cuts nobody has begun, in a scope that it shares with another one."""
    account = Account()
    corpus(account, records(7))
    runs = [Run(account, name, request(run={"mode": "sync", "scope": "tickets"})) for name in ("run-1", "run-2")]
    with account:
        runs[0].begin()
        runs[0].plan = runs[0].tried(*runs[0].planning())
        corpus(account, records(4)[2:], "default/corpus/other.jsonl")
        runs[1].request = {**runs[1].request, "source": {"key": "default/corpus/other.jsonl"}}
        runs[1].prepare()
    return Stage(account, runs)


def cutting(run: Run) -> tuple[str, dict[str, object]]:
    return run.cuttings()[0]


def landed_elsewhere(stage: Stage, first: Doing) -> bool:
    """Another run of the scope lands some of the records; then the run is cut again and sealed."""
    stage.runs[1].finish()
    stage.run.tried(*cutting(stage.run))
    stage.run.sealed = stage.run.tried(*stage.run.sealing())
    stage.run.open_children()
    return False


@cache
def cut() -> Stage:
    """A run that is cut, and not sealed: in batch mode with pieces that are too small."""
    account, run = one_run("batch", 12)
    run.request["limits"] = {"max_records_per_shard": 5, "cut_bytes": 1_048_576, "tolerated_failure_percentage": 100}
    with account:
        run.begin()
        run.plan = run.tried(*run.planning())
        for cutting in run.cuttings():
            run.tried(*cutting)
    return Stage(account, [run])


def meetings() -> list[Meeting]:
    others = {"again": again(Run.planning), "rest": rest}
    return [
        Meeting("plan", asked, state(Run.planning), others, faults=_ALL),
        Meeting("plan-folder", asked_of_a_folder, state(Run.planning), {"grown": grown}, check=check_planned),
        Meeting(
            "cut",
            planned,
            state(cutting),
            {"again": again(cutting), "elsewhere": landed_elsewhere, "rest": rest},
            faults=_ALL,
        ),
        Meeting("seal", cut, state(Run.sealing), {"again": again(Run.sealing), "rest": rest}, faults=_ALL),
    ]
