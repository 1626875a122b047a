"""Workers of inference: item batches, jobs, what jobs left, remainders."""

import json
from functools import cache
from typing import Any

from tests.explorer.account import OUTPUT, Account
from tests.explorer.explore import FREEZES, Meeting
from tests.explorer.runs import Child, Run, corpus, records, request
from tests.explorer.stages import (
    Doing,
    Other,
    Stage,
    aborted,
    also,
    child,
    function,
    lane,
    redriven,
    rest,
    retry,
    shortly,
    state,
    tandem,
)

FAILING = {"r01": ["failed"] * 4 + ["answer"], "r03": ["failed"] * 99, "r04": ["refused"]}
"""r01 fails for the first worker and in no later try, r03 always, r04 for good."""


def one_run(mode: str, count: int = 7, **outcomes: list[str]) -> tuple[Account, Run]:
    account = Account()
    account.model.outcomes = {**FAILING, **outcomes}
    corpus(account, records(count))
    return account, Run(account, "run-1", request(run={"mode": mode}))


@cache
def items() -> Stage:
    """Item batches that nobody has begun."""
    account, run = one_run("sync")
    with account:
        run.prepare()
    return Stage(account, [run])


@cache
def later_items() -> Stage:
    """An item batch in its third round, because functions are slow."""
    stage = items().copy()
    account, run = stage.account, stage.run
    account.pace = 1.0
    with account:
        for _ in range(2):
            one = run.children["items-0"]
            worker = account.worker(one.function, run.event_of(one), seconds=16).run()
            run.follow(one, worker)
    account.pace = 0.0
    assert run.children["items-0"].state["BatchInput"]["round"] == 3, "it is done too early"
    return stage


@cache
def whole_lines() -> Stage:
    """fan_out alone, over a corpus that is ready: whole records, in no shard."""
    stage = items().copy()
    lines = stage.account.lines("in-bucket", "default/runs/run-1/shards/00001-001.jsonl")
    event = {"BatchInput": stage.run.where, "Items": lines}
    stage.run.children = {"items-0": Child("items-0", event, event, "infer_batch")}
    return stage


@cache
def poisoned_lines() -> Stage:
    """As `whole_lines`, with lines among them that look like the module's own, or are none."""
    stage = whole_lines().copy()
    good = stage.run.children["items-0"].begun["Items"]
    body = good[0]["modelInput"]
    place = "other/runs/run-9/parked/part-sync-x-000.jsonl"
    secret = json.dumps({"recordId": "p2", "modelInput": {"messages": []}}).encode()
    stage.account.put(OUTPUT, place, secret)
    poison = [
        {"recordId": "p0", "modelInput": body, "offset": 3, "length": 7},
        {"recordId": "i" * 3000, "modelInput": body},
        {"recordId": "p2", "parked": place, "offset": 0, "length": len(secret)},
    ]
    event = {"BatchInput": stage.run.where, "Items": [*good[:3], *poison, *good[3:]]}
    stage.run.children = {"items-0": Child("items-0", event, event, "infer_batch")}
    return stage


def settle_alone(stage: Stage) -> None:
    """Children and lanes: there is no pipeline around them."""
    from tests.explorer.runs import drain_lanes

    for one in stage.run.children.values():
        for _ in range(3):
            stage.run.infer()
            if not one.failed:
                break
            # A redrive of the execution.
            one.state, one.function, one.failed = one.begun, "infer_batch", False
    drain_lanes(stage.account)


def check_alone(stage: Stage) -> list[str]:
    from tests.explorer import invariants

    return list(invariants.of_scope(stage.account, "default", "run:run-1", stage.runs, [f"r{n:02d}" for n in range(6)]))


def begun_anew(stage: Stage, first: Doing) -> bool:
    """The child's execution is redriven from its beginning."""
    assert first.child is not None
    first.child.state, first.child.function = first.child.begun, "infer_batch"
    stage.run.step(first.child)
    return False


@cache
def shard() -> Stage:
    """A shard whose job is not submitted."""
    account, run = one_run("batch", 8, r05=["skipped", "answer"], r01=["failed", "answer"])
    with account:
        run.prepare()
    return Stage(account, [run])


@cache
def output() -> Stage:
    """A shard whose job has ended."""
    stage = shard().copy()
    _on_to(stage, "collect_results")
    return stage


def _output_of(count: int, **outcomes: list[str]) -> Stage:
    account, run = one_run("batch", count)
    account.model.outcomes = dict(outcomes)
    with account:
        run.prepare()
    stage = Stage(account, [run])
    _on_to(stage, "collect_results")
    return stage


@cache
def errors_first() -> Stage:
    """Output whose first chunk holds no success; jobs shuffle their output, this one turns it round."""
    return _output_of(9, r06=["failed", "answer"], r07=["refused"], r08=["refused"])


@cache
def successes_first() -> Stage:
    """Output in which only the last chunk holds errors."""
    return _output_of(9, r00=["failed", "answer"], r01=["refused"])


@cache
def submitted() -> Stage:
    """A job that has ended, whose child has not been told."""
    stage = shard().copy()
    with stage.account:
        stage.run.step(stage.run.children["shard-00001"])
        for arn in list(stage.account.bedrock.jobs):
            stage.account.bedrock.complete(arn)
    return stage


@cache
def remainder() -> Stage:
    """A shard's records that no line speaks of, which go the sync way."""
    stage = shard().copy()
    _on_to(stage, "infer_batch")
    return stage


@cache
def second_attempt() -> Stage:
    """A shard whose first job left so many records out that they are submitted once more."""
    skipped: dict[str, list[str]] = {f"r{n:02d}": ["skipped", "answer"] for n in (0, 5, 6)}
    account, run = one_run("batch", 8, **{**skipped, "r01": ["failed", "answer"], "r02": ["skipped", "refused"]})
    with account:
        run.prepare()
    stage = Stage(account, [run])
    _on_to(stage, "collect_results")
    return stage


@cache
def second_output() -> Stage:
    stage = second_attempt().copy()
    with stage.account:
        stage.run.step(stage.run.children["shard-00001"])
    assert stage.run.children["shard-00001"].state["attempt"] == 2
    _on_to(stage, "collect_results")
    return stage


def _on_to(stage: Stage, name: str) -> None:
    one = stage.run.children["shard-00001"]
    with stage.account:
        for _ in range(8):
            if one.function == name:
                return
            stage.run.step(one)
    raise AssertionError(f"the shard never comes to {name}")


def resume(stage: Stage) -> dict[str, Any]:
    job = next(iter(stage.account.bedrock.jobs.values()))
    return {"detail": {"batchJobArn": job.arn, "batchJobName": job.name}}


def ended_and_told(stage: Stage, first: Doing) -> bool:
    """The job that has just been made ends, and its event comes."""
    account = stage.account
    for arn in list(account.bedrock.jobs):
        account.bedrock.complete(arn)
        from tests.explorer.runs import tolerant

        tolerant(account, "resume_job", {"detail": {"batchJobArn": arn}})
    return True


_FINISH = also(state(Run.finishing))
_UPDATE = also(function("update_runs", lambda stage: {}))
_RECONCILE = also(function("reconcile_jobs", lambda stage: {}))
_CHILD: dict[str, Other] = {"retry": retry, "redriven": redriven, "aborted": aborted, "rest": rest}


def meetings() -> list[Meeting]:
    beside = {"finish": _FINISH, "lane": also(lane()), "shortly": shortly(9)}
    brief = {f"in-{seconds}-seconds": shortly(seconds) for seconds in (3, 4, 5, 6, 8)}
    both = {f"tandem-{at}": tandem(at) for at in (2, 9, 11, 14)}
    return [
        Meeting("items-both", items, child("items-0"), both, faults=FREEZES, lapses=(0, 61, 650)),
        Meeting("collect-both", output, child("shard-00001"), both, faults=FREEZES, lapses=(0, 61, 650)),
        Meeting("items", items, child("items-0"), {**_CHILD, **beside}),
        Meeting("items-later", later_items, child("items-0"), {"retry": retry, "anew": begun_anew, "rest": rest}),
        Meeting(
            "items-whole",
            whole_lines,
            child("items-0"),
            {"retry": retry, "lane": also(lane())},
            check=check_alone,
            settle=settle_alone,
        ),
        Meeting(
            "items-poisoned",
            poisoned_lines,
            child("items-0"),
            {"retry": retry},
            lapses=(0, 3700),
            check=check_alone,
            settle=settle_alone,
        ),
        Meeting("submit", shard, child("shard-00001"), {**_CHILD, "reconcile": _RECONCILE, "event": ended_and_told}),
        Meeting("resume", submitted, function("resume_job", resume), {"reconcile": _RECONCILE, "rest": rest}),
        Meeting("reconcile", submitted, function("reconcile_jobs", lambda stage: {}), {"rest": rest}),
        Meeting("collect", output, child("shard-00001"), {**_CHILD, **beside}),
        Meeting("collect-errors", errors_first, child("shard-00001"), brief, lapses=(0, 650)),
        Meeting("collect-successes", successes_first, child("shard-00001"), brief, lapses=(0, 650)),
        Meeting("collect-second", second_output, child("shard-00001"), {**_CHILD, "shortly": shortly(4)}),
        Meeting("attempt", second_attempt, child("shard-00001"), _CHILD),
        Meeting("remainder", remainder, child("shard-00001"), {**_CHILD, "lane": also(lane())}),
    ]
