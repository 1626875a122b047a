"""Workers that plan, cut and seal."""

import json
from functools import cache

from tests.explorer.account import INPUT, Account
from tests.explorer.explore import Meeting
from tests.explorer.meetings.inference import one_run
from tests.explorer.runs import Run, corpus, drain_lanes, records, request
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
    # So long that each object is a cut of its own.
    corpus(account, [*records(3), {"id": "long", "text": "long " * 160_000}], "default/corpus/p/a.jsonl")
    limits = {"tolerated_failure_percentage": 100, "cut_bytes": 1_048_576}
    run = Run(account, "run-1", {**request(), "source": {"prefix": "default/corpus/p/"}, "limits": limits})
    run.begin()
    return Stage(account, [run])


def grown(stage: Stage, first: Doing) -> bool:
    """The corpus grows, and the state is tried again."""
    lines = [{"id": f"s{n}", "text": f"s{n}"} for n in range(3)]
    corpus(stage.account, [*lines, {"id": "longer", "text": "longer " * 120_000}], "default/corpus/p/b.jsonl")
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


@cache
def used_before() -> Stage:
    """An execution that is called as one was 91 days ago. What S3 had of that has expired; the tables' items have too,
    and still lie there."""
    account, run = one_run("sync")
    with account:
        run.prepare().finish()
        drain_lanes(account)
    account.now += 91 * 86_400
    account.states.executions.clear()
    for queue in account.sqs.queues.values():
        queue.messages.clear()
    for objects in account.s3.buckets.values():
        for key in [key for key in objects if "/runs/" in key]:
            del objects[key]
    corpus(account, [{"id": f"n{n}", "text": f"n{n}"} for n in range(4)])
    again = Run(account, run.name, run.request)
    again.begin()
    return Stage(account, [again])


def meetings() -> list[Meeting]:
    others = {"again": again(Run.planning), "rest": rest}
    return [
        Meeting("plan", asked, state(Run.planning), others, faults=_ALL),
        Meeting("plan-used-name", used_before, state(Run.planning), others, lapses=(0, 61)),
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
