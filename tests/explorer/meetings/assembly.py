"""Workers that make documents of chunks, while chunks land late."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.explorer.account import OUTPUT, Account
from tests.explorer.explore import Meeting
from tests.explorer.meetings.operating import DROP, UPDATE, lanes
from tests.explorer.runs import Run, corpus, request
from tests.explorer.stages import Doing, Other, Stage, also, assembling, assembly, rest

_SECTIONS: dict[str, Any] = {
    "run": {"mode": "sync"},
    "prompt": {"template": "{{chunk}}"},
    "chunking": {"field": "text", "by": "characters", "size": 50},
    "output": {"recombine": {"method": "concat"}, "ordered": True},
}


def _text(*words: str) -> str:
    """A chunk for each word."""
    return "".join(f"{word} " + "x " * ((50 - len(word) - 1) // 2 - 2) for word in words)


def _run(**sections: Any) -> tuple[Account, Run]:
    account = Account()
    account.model.outcomes = {"late": ["failed"] * 4 + ["answer"], "never": ["failed"] * 99}
    documents = {"d0": ("one", "two"), "d1": ("three", "late"), "d2": ("never", "four")}
    corpus(account, [{"id": name, "text": _text(*words)} for name, words in documents.items()])
    run = Run(account, "run-1", request(**{**_SECTIONS, **sections}))
    with account:
        run.prepare()
        run.infer()
        run.begin_assembly()
    return account, run


def _at(function: str, **sections: Any) -> Stage:
    """An assembly that comes to this function next."""
    account, run = _run(**sections)
    assert run.assembly is not None
    with account:
        while run.assembly.calls[0][0] != function:
            run.step_assembly()
    return Stage(account, [run])


@cache
def planning() -> Stage:
    return _at("plan_assembly")


@cache
def sorting() -> Stage:
    return _at("sort_chunks")


@cache
def joining() -> Stage:
    return _at("join_documents")


@cache
def ordering() -> Stage:
    return _at("order_results")


@cache
def closing() -> Stage:
    return _at("close_assembly")


_REDUCE: dict[str, Any] = {
    "limits": {"items_per_batch": 6, "tolerated_failure_percentage": 100, "canary_records": 1},
    "output": {"recombine": {"method": "reduce", "prompt": {"template": "{{parts}}"}, "size": 400}},
}


@cache
def reducing() -> Stage:
    """Documents of which more than one prompt has to be made."""
    return _at("close_assembly", **_REDUCE)


@cache
def joining_to_reduce() -> Stage:
    return _at("join_documents", **_REDUCE)


@cache
def reduce_poisoned() -> Stage:
    """The model refuses the prompt of one reduction."""
    stage = joining_to_reduce().copy()
    stage.account.model.outcomes["said"] = ["refused"]
    return stage


def retry(stage: Stage, first: Doing) -> bool:
    if stage.run.assembly is not None and stage.run.assembly.calls:
        stage.run.step_assembly()
    return False


def landed_late(stage: Stage, first: Doing) -> bool:
    """The lane lands what has failed, then the state is tried again."""
    lanes(stage, first)
    return retry(stage, first)


def check(stage: Stage) -> list[str]:
    return [*stage.check(), *_documents(stage)]


def check_reduced(stage: Stage) -> list[str]:
    """A prompt that is refused costs its document."""
    return [one for one in stage.check() if "run-1" in one]


def _documents(stage: Stage) -> Iterator[str]:
    account, run = stage.account, stage.run
    landed: dict[str, tuple[int, int]] = {}
    for _, line in account.below(OUTPUT, f"{run.root}results/part-"):
        chunk = line["document"]
        known, _ = landed.get(chunk["id"], (0, 0))
        landed[chunk["id"]] = known + 1, int(chunk["chunks"])
    told: dict[str, str] = {}
    for _, line in account.below(OUTPUT, f"{run.root}documents/part-"):
        if line["documentId"] in told:
            yield f"document {line['documentId']} has two lines"
        told[line["documentId"]] = line["status"]
    for document, (chunks, of) in landed.items():
        wanted = "complete" if chunks == of else "partial"
        if told.get(document) != wanted:
            yield f"document {document} is {told.get(document)} for good: {chunks} of its {of} chunks have landed"
    body = account.s3.buckets[OUTPUT].get(f"{run.root}manifest.json", b"{}")
    counts = json.loads(body).get("documents", {}).get("counts", {})
    for status in ("complete", "partial"):
        if counts.get(status, 0) != sum(one == status for one in told.values()):
            yield f"the manifest says {counts}, the documents are {told}"
    ordered = account.lines(OUTPUT, f"{run.root}results-ordered.jsonl")
    if "ordered" in json.loads(body) and len(ordered) != sum(chunks for chunks, _ in landed.values()):
        yield f"results-ordered.jsonl holds {len(ordered)} lines, not those of {landed}"


def meetings() -> list[Meeting]:
    others: dict[str, Other] = {
        "retry": retry,
        "late": landed_late,
        "pass": assembling,
        "lanes": lanes,
        "drop": also(DROP),
        "update": also(UPDATE),
        "rest": rest,
    }
    stages = {"plan": planning, "sort": sorting, "join": joining, "order": ordering, "close": closing}
    few = {name: others[name] for name in ("retry", "late", "rest")}
    return [
        *(Meeting(f"assembly-{name}", stage, assembly, others, check=check) for name, stage in stages.items()),
        Meeting("reduce-join", joining_to_reduce, assembly, few),
        Meeting("reduce-poisoned", reduce_poisoned, assembly, {"retry": retry}, check=check_reduced),
        Meeting("reduce-close", reducing, assembly, few),
    ]
