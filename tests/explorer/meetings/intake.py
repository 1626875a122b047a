"""Workers of the intake: documents that come one by one, urgent ones and pooled ones."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from tests.explorer import invariants
from tests.explorer.account import HAIKU, INPUT, INTAKE, NOW, OUTPUT, Account
from tests.explorer.explore import Meeting
from tests.explorer.runs import Run, drain, drain_lanes, tolerant, update
from tests.explorer.stages import Act, Doing, Other, Stage, also, function, lane
from tests.explorer.workers import Fault

SCOPE: Final = "intake.sum"
PROMPT: dict[str, Any] = {"model": {"id": HAIKU}, "prompt": {"template": "{{text}}"}}
CONSUMERS: Final = {
    "intake-high": "infer_documents",
    "intake-normal": "pool_documents",
    "intake-low": "pool_documents",
}
FAILING = {"d01": ["failed"] * 4 + ["answer"], "d02": ["failed"] * 99, "d03": ["refused"]}


def message(document: str, /, **more: Any) -> str:
    body = {"version": 1, "id": document, "prompt": "sum", "record": {"text": document}, "notify": True} | more
    return json.dumps(body)


def account_with(**queues: list[str]) -> Account:
    """Messages wait in queues of these priorities."""
    account = Account()
    account.model.outcomes = dict(FAILING)
    account.put(INPUT, "default/prompts/sum.json", json.dumps(PROMPT).encode())
    for priority, messages in queues.items():
        for body in messages:
            account.sqs.put(f"intake-{priority}", body)
    return account


@cache
def urgent() -> Stage:
    return Stage(account_with(high=[message(f"d0{n}") for n in range(4)]), [])


@cache
def urgent_twice() -> Stage:
    """The sender has sent a document twice."""
    return Stage(account_with(high=[message("d00"), message("d00"), message("d04")]), [])


@cache
def normal() -> Stage:
    """One document more makes the pool full."""
    stage = Stage(account_with(normal=[message(f"d0{n}") for n in range(3)]), [])
    with stage.account:
        for n in range(2):
            consume(f"d0{n}")(stage, None).worker.run()
    return stage


@cache
def pooled() -> Stage:
    """A pool that is old enough to be closed; another document waits."""
    stage = Stage(account_with(normal=[message(f"d0{n}") for n in range(3)]), [])
    with stage.account:
        for n in range(2):
            doing = consume(f"d0{n}")(stage, None)
            doing.worker.run()
            doing.answered()
    stage.account.now += 700
    return stage


@cache
def pool_ended() -> Stage:
    """A pool whose run has ended, of which no document was told; one of its records is in the lane."""
    stage = pooled().copy()
    with stage.account:
        tolerant(stage.account, "follow_pools", {})
        stage.finish_runs()
    return stage


@cache
def low_ceiling() -> Stage:
    """The prompt's own ceiling is lower than what a pool holds."""
    stage = Stage(account_with(normal=[message(f"d{n}0") for n in range(3)]), [])
    prompt = PROMPT | {"limits": {"max_records": 2}}
    stage.account.put(INPUT, "default/prompts/sum.json", json.dumps(prompt).encode())
    with stage.account:
        for n in range(2):
            doing = consume(f"d{n}0")(stage, None)
            doing.worker.run()
            doing.answered()
    return stage


@cache
def poisoned_pool() -> Stage:
    """A pool of one document, which the model refuses; its run tries a record first."""
    stage = Stage(account_with(normal=[message("d03")]), [])
    prompt = PROMPT | {"limits": {"canary_records": 1}}
    stage.account.put(INPUT, "default/prompts/sum.json", json.dumps(prompt).encode())
    with stage.account:
        doing = consume("d03")(stage, None)
        doing.worker.run()
        doing.answered()
    stage.account.now += 700
    return stage


@cache
def window_over() -> Stage:
    """Urgent documents have ended, and their hour is over."""
    stage = urgent().copy()
    with stage.account:
        drain(stage.account, INTAKE, dict(CONSUMERS))
    stage.account.now += 7200
    return stage


def consume(document: str, priority: str = "normal") -> Act:
    queue = f"intake-{priority}"
    return lane(f'"{document}"', queue, CONSUMERS[queue])


FOLLOW = function("follow_pools", lambda stage: {})


FOLLOWS = also(FOLLOW)


def settle(stage: Stage) -> None:
    """Queues, pools, their runs, lanes, windows, until nothing moves any more."""
    account = stage.account
    for pause in (60, 700, 60, 7200, 60, 90_000, 700):
        drain(account, INTAKE, dict(CONSUMERS))
        stage.finish_runs()
        drain_lanes(account)
        update(account)
        account.now += pause
        tolerant(account, "follow_pools", {})


def rubbish(stage: Stage, first: Doing) -> bool:
    """A wrong message comes under the id of a document that is on its way."""
    stage.account.sqs.put("intake-high", json.dumps({"version": 1, "id": "d00", "prompt": "sum"}))
    return also(lane('"id": "d00", "prompt": "sum"}', "intake-high", "infer_documents"))(stage, first)


def another_prompt(stage: Stage, first: Doing) -> bool:
    """The stored prompt changes, and another document comes."""
    prompt = PROMPT | {"prompt": {"template": "other {{text}}"}}
    stage.account.put(INPUT, "default/prompts/sum.json", json.dumps(prompt).encode())
    stage.account.sqs.put("intake-high", message("d05"))
    return also(consume("d05", "high"))(stage, first)


def resubmitted(stage: Stage, first: Doing) -> bool:
    """When all has ended, the failures of every run are resubmitted; the model would answer d02 now."""
    settle(stage)
    stage.account.model.outcomes["d02"] = ["answer"]
    for pk in [pk for pk in stage.account.dynamodb.items["runs"] if pk.startswith("RUN#")]:
        event = {"action": "resubmit", "run": pk.removeprefix("RUN#")}
        tolerant(stage.account, "redrive_failures", event)
    return False


def everything(stage: Stage, first: Doing) -> bool:
    settle(stage)
    return False


def check(stage: Stage) -> list[str]:
    account = stage.account
    metas = [
        items["META"]
        for pk, items in account.dynamodb.items["runs"].items()
        if pk.startswith("RUN#") and "META" in items
    ]
    runs = [Run(account, one["run"]["S"], {"source": {}, "run": {"scope": SCOPE}}) for one in metas]
    ids = {pk.rpartition("#")[2] for pk in account.dynamodb.items["runs"] if pk.startswith("DOCUMENT#")}
    rejected = {one["id"] for name in INTAKE for one in account.bodies(f"{name}-dead-letter")}
    problems = list(invariants.of_scope(account, "default", SCOPE, runs, ids - rejected))
    for run in runs:
        problems += [f"{run.name}: {one}" for one in invariants.of_run(account, run)]
    landed = {line["recordId"] for run in runs for _, line in account.below(OUTPUT, f"{run.root}results/part-")}
    told = Counter((detail["id"], detail["status"]) for kind, detail in account.events.events if "Document" in kind)
    for document in sorted(ids):
        (item,) = account.items(f"DOCUMENT#default/{SCOPE}#{document}")
        problems += _document(account, document, item, document in landed, told)
    if told["d00", "failed"]:
        problems.append("the sender of d00 was told that it has failed, though it never did")
    return [*problems, *_waste(stage)]


def _waste(stage: Stage) -> Iterator[str]:
    """A throttle costs a pause, and nothing that was paid for and written down."""
    if stage.strike is None or stage.strike.fault not in (Fault.REFUSE, Fault.PART):
        return
    written = any(words in stage.effect for words in ("PutEvents", "TALLY", "BUSY"))
    for document in ("d00", "d03"):
        calls = stage.account.model.calls.get(document, 0) - stage.paid.get(document, 0)
        if written and calls > 1:
            yield f"{document} was paid for {calls} times"
    item = stage.account.items(f"DOCUMENT#default/{SCOPE}#d00")
    if item and item[0]["priority"] == "high" and item[0]["at"] - stage.began > 1300:
        yield f"d00 was throttled once, and has waited for {item[0]['at'] - stage.began} s"


def _document(account: Account, document: str, item: dict[str, Any], landed: bool, told: Counter[Any]) -> list[str]:
    if item["state"] != ("done" if landed else "failed"):
        return [f"{document} is {item['state']!r} for good, and has {'a' if landed else 'no'} result line"]
    if not told[document, item["state"]]:
        return [f"the sender of {document} was never told that it is {item['state']}"]
    place = item.get("place") or {}
    if landed and "offset" in place:
        body = account.s3.buckets[place["bucket"]].get(place["key"], b"")
        line = body[place["offset"] : place["offset"] + place["length"]]
        if json.loads(line or b"{}").get("recordId") != document:
            return [f"{document} is said to lie at {place}, where it does not"]
    return []


def meetings() -> list[Meeting]:
    given: dict[str, Any] = {"check": check, "settle": settle}
    follow = FOLLOWS
    high: dict[str, Other] = {
        "follow": follow,
        "everything": everything,
        "other": also(consume("d04", "high")),
        "rubbish": rubbish,
        "prompt": another_prompt,
    }
    return [
        *(
            Meeting(
                f"urgent-{name}", urgent, consume(name, "high"), {"again": also(consume(name, "high")), **high}, **given
            )
            for name in ("d00", "d01", "d03")
        ),
        Meeting(
            "urgent-twice",
            urgent_twice,
            consume("d00", "high"),
            {"twin": also(lane("d00", "intake-high", "infer_documents")), **high},
            **given,
        ),
        Meeting(
            "pool",
            normal,
            consume("d02"),
            {"again": also(consume("d02")), "other": also(consume("d01")), "follow": follow, "everything": everything},
            **given,
        ),
        Meeting(
            "follow", pooled, FOLLOW, {"again": follow, "pool": also(consume("d02")), "everything": everything}, **given
        ),
        Meeting("pool-ceiling", low_ceiling, consume("d20"), {"follow": follow, "everything": everything}, **given),
        Meeting("follow-poisoned", poisoned_pool, FOLLOW, {"again": follow}, **given),
        Meeting(
            "conclude",
            pool_ended,
            FOLLOW,
            {"again": follow, "lane": also(lane()), "everything": everything, "resubmitted": resubmitted},
            **given,
        ),
        Meeting(
            "close-window",
            window_over,
            FOLLOW,
            {"again": follow, "lane": also(lane()), "everything": everything, "resubmitted": resubmitted},
            **given,
        ),
    ]


__all__ = ["NOW", "meetings"]
