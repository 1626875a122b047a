"""What an older bundle has left in an account: read and finished by this one.

Each file in `accounts/` is an account as JSON: objects, items, messages, executions, jobs, and where the children of
its runs stand. They were written by the code of the commit that their member `commit` names (`write` below, run there),
and are never written anew: what lies in people's accounts does not change either.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.explorer.account import Account
from tests.explorer.assembling import Assembly
from tests.explorer.aws.bedrock import Job
from tests.explorer.aws.control import Execution
from tests.explorer.aws.queues import Message
from tests.explorer.runs import Child, Run
from tests.explorer.stages import Stage

ACCOUNTS = Path(__file__).parent / "accounts"

_SHOWN_ONLY = ("report.html", "report.txt", "plan/report.json")
"""Objects that nothing reads."""


def names() -> list[str]:
    return sorted(path.stem for path in ACCOUNTS.glob("*.json"))


def dump(stage: Stage, commit: str) -> dict[str, Any]:
    account = stage.account
    return {
        "commit": commit,
        "now": account.now,
        "objects": {
            bucket: {key: body.decode() for key, body in objects.items() if not key.endswith(_SHOWN_ONLY)}
            for bucket, objects in account.s3.buckets.items()
        },
        "items": {
            table: [item for items in partitions.values() for item in items.values()]
            for table, partitions in account.dynamodb.items.items()
        },
        "messages": {
            name: [asdict(one) for one in queue.messages]
            for name, queue in account.sqs.queues.items()
            if queue.messages
        },
        "executions": {arn: asdict(one) for arn, one in account.states.executions.items()},
        "tokens": sorted(account.states.waiting),
        "answers": account.states.answers,
        "jobs": {arn: asdict(one) for arn, one in account.bedrock.jobs.items()},
        "outcomes": account.model.outcomes,
        "calls": account.model.calls,
        "events": account.events.events,
        "runs": [_run(run) for run in stage.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    children = {name: {**vars(child)} for name, child in run.children.items()}
    told = {name: value for name, value in vars(run).items() if name not in ("account", "children", "assembly")}
    assembly = run.assembly and {name: value for name, value in vars(run.assembly).items() if name != "account"}
    return {**told, "children": children, "assembly": assembly}


def load(name: str) -> Stage:
    """The account as the older bundle has left it."""
    told = json.loads((ACCOUNTS / f"{name}.json").read_text())
    account = Account()
    account.now = told["now"]
    for bucket, objects in told["objects"].items():
        account.s3.buckets[bucket] = {key: body.encode() for key, body in objects.items()}
    for table, items in told["items"].items():
        for item in items:
            account.dynamodb.put_item(TableName=table, Item=item)
    for queue, messages in told["messages"].items():
        account.sqs.queues[queue].messages = [Message(**one) for one in messages]
        account.sqs.numbers += 1000
    account.states.executions = {arn: Execution(**one) for arn, one in told["executions"].items()}
    account.states.waiting, account.states.answers = set(told["tokens"]), told["answers"]
    account.bedrock.jobs = {arn: Job(**one) for arn, one in told["jobs"].items()}
    account.model.outcomes, account.model.calls = told["outcomes"], told["calls"]
    account.events.events = [(kind, detail) for kind, detail in told["events"]]
    return Stage(account, [_loaded(account, one) for one in told["runs"]])


def _loaded(account: Account, told: dict[str, Any]) -> Run:
    children = {name: Child(**child) for name, child in told.pop("children").items()}
    assembly = told.pop("assembly")
    run = Run(account, **told, children=children)
    if assembly is not None:
        calls = [(function, event) for function, event in assembly.pop("calls")]
        run.assembly = Assembly(account, **assembly, calls=calls)
    return run


def write(commit: str) -> None:
    """Writes the accounts. To be run with the sources of the commit that is named, and with no other."""
    from tests.explorer.meetings import older

    ACCOUNTS.mkdir(exist_ok=True)
    for name, stage in older.stages().items():
        body = json.dumps(dump(stage, commit), ensure_ascii=False, separators=(",", ":"))
        (ACCOUNTS / f"{name}.json").write_text(body + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
