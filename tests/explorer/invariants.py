"""What must hold when everything has been worked off, seen from the outside: corpus, objects, items, queues.

Nothing of the module's own code is used, so that a mistake there cannot hide itself here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from bulk_inference.core.stored_run import CLOSED
from tests.explorer.account import DEAD, INPUT, LANES, OUTPUT, Account
from tests.explorer.runs import Run

_REFUSED_JOBS = ("JobRejected", "JobFailed")
"""Codes of records that failed with their whole job: no message is made of them, as they would be tried unchanged."""


def check(account: Account, runs: Iterable[Run]) -> list[str]:
    """What is wrong; nothing, if all is well."""
    problems: list[str] = []
    scopes: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        scopes.setdefault((run.tenant, scope_of(run)), []).append(run)
    for (tenant, scope), members in scopes.items():
        problems += of_scope(account, tenant, scope, members, corpus_ids(account, members))
        for run in members:
            problems += [f"{run.name}: {one}" for one in of_run(account, run)]
    return problems


def scope_of(run: Run) -> str:
    return str(run.request.get("run", {}).get("scope") or f"run:{run.name}")


def corpus_ids(account: Account, runs: Iterable[Run]) -> set[str]:
    """Records of the runs' corpora: of a chunked one as they were cut. A resubmission has none of its own."""
    ids = {str(line["id"]) for run in runs for line in _corpus(account, run)}
    chunked = [run for run in runs if "chunking" in run.request]
    return ids | {line["recordId"] for run in chunked for _, line in account.below(INPUT, f"{run.root}index/")}


def _corpus(account: Account, run: Run) -> Iterator[dict[str, Any]]:
    """Lines that are records."""
    source = run.request["source"]
    prefix = source.get("key") or source.get("prefix")
    if prefix and "chunking" not in run.request and "reduces" not in source:
        yield from (line for _, line in account.below(INPUT, prefix))


def of_scope(account: Account, tenant: str, scope: str, runs: list[Run], ids: Iterable[str]) -> Iterator[str]:
    """Every record has one end. `ids`: those that must have come to one."""
    places = [(line["recordId"], run.name) for run in runs for _, line in account.below(OUTPUT, _results(run))]
    landed = Counter(record for record, _ in places)
    for record, times in landed.items():
        if times > 1:
            yield f"{record} landed {times} times in scope {scope}"
    failed: dict[str, dict[str, Any]] = {}
    refused: set[str] = set()
    for run in runs:
        lines = Counter[str]()
        for key, line in account.below(OUTPUT, f"{run.root}failures/part-"):
            if "/part-cut-" in key:
                refused.add(line["recordId"])
                continue
            lines[line["recordId"]] += 1
            failed[line["recordId"]] = line
        for record, times in lines.items():
            if times > 1:
                yield f"{record} has {times} failure lines in {run.name}"
    names = {run.name for run in runs}
    waiting = {one.get("recordId") for one in account.bodies(*LANES, DEAD) if one.get("run") in names}
    dropped = {item["recordId"] for run in runs for item in _lates(account, run, "dropped")}
    for record in sorted(dropped & landed.keys()):
        yield f"{record} was dropped, and has a result line"
    settled = {item["recordId"] for run in runs for item in _lates(account, run, "landed", "resubmitted")}
    for record in sorted(settled - landed.keys()):
        yield f"{record} counts as landed later, and has no result line"
    yield from _lineage(account, runs)
    for record, line in sorted(failed.items()):
        told = record in waiting or record in dropped or line["errorCode"] in _REFUSED_JOBS
        if record not in landed and not told:
            yield f"{record} failed ({line['errorClass']}), and neither lane nor dead-letter queue has its message"
    for record in sorted(ids):
        if not any(record in one for one in (landed, failed, refused, waiting)):
            yield f"{record} is lost: it has neither a result nor a failure line nor a message"
    for record, where in places:
        # An id that Bedrock does not take travels under an alias.
        names_of = (record, f"id-{sha256(record.encode()).hexdigest()[:40]}")
        owner = [one for name in names_of for one in account.items(f"{tenant}/{scope}#{name}", table="ledger")]
        if not owner or not str(owner[0].get("owner", "")).startswith(f"{where}/"):
            yield f"{record} landed in {where}, and its claim is {owner[0].get('owner') if owner else 'nobody'}'s"


def letters_of_dropped(account: Account, runs: Iterable[Run]) -> Iterator[str]:
    """What was dropped is no dead letter any more, once the command has said that it is finished. A consumer that held
    the message meanwhile may put it back."""
    letters = {(one.get("run"), one.get("recordId")) for one in account.bodies(DEAD)}
    for run in runs:
        for item in _lates(account, run, "dropped"):
            if (run.name, item["recordId"]) in letters:
                yield f"{item['recordId']} was dropped, and its message is among the dead letters still"


def _lineage(account: Account, runs: list[Run]) -> Iterator[str]:
    """What a resubmission has landed is no failure of the runs that it came from, however many there are between."""
    by_name = {run.name: run for run in runs}
    for run in runs:
        settled = {item["recordId"] for item in _lates(account, run)}
        failed = {line["recordId"] for line in _failures(account, run)} - settled
        heirs, found = [run.name], dict.fromkeys([run.name])
        while heirs:
            for item in account.items(f"RUN#{heirs.pop()}", "RESUBMISSION#"):
                if item["run"] not in found:
                    found[item["run"]] = None
                    heirs.append(item["run"])
        for heir in [name for name in found if name != run.name and name in by_name]:
            landed = {line["recordId"] for _, line in account.below(OUTPUT, _results(by_name[heir]))}
            for record in sorted(failed & landed):
                yield f"{record} is failed in {run.name} for good, though {heir} has landed it"


def _failures(account: Account, run: Run) -> Iterator[dict[str, Any]]:
    for key, line in account.below(OUTPUT, f"{run.root}failures/part-"):
        if "/part-cut-" not in key:
            yield line


def of_run(account: Account, run: Run) -> Iterator[str]:
    """The manifest says what a recount says."""
    body = account.s3.buckets[OUTPUT].get(f"{run.root}manifest.json")
    meta = account.items(f"RUN#{run.name}", "META")
    if body is None or not meta:
        yield "it has no manifest"
        return
    manifest = json.loads(body)
    counts, status = manifest["counts"], manifest["status"]
    if status not in CLOSED:
        yield f"it is {status} for good: {manifest.get('problems') or counts}; {run.deaths[-1:]}"
    if meta[0]["status"] != status:
        yield f"it is {meta[0]['status']} in the table and {status} in its manifest"
    for name, number in _recount(account, run).items():
        if counts[name] != number:
            yield f"its manifest says {counts[name]} {name}, there are {number}"
    if counts["read"] != counts["accepted"] + counts["rejected"] + counts["duplicate"]:
        yield f"read is not accepted + rejected + duplicate: {counts}"
    ends = ("landed", "failed", "pending", "resubmitted", "dropped")
    if counts["accepted"] != sum(counts[name] for name in ends):
        yield f"accepted is not {' + '.join(ends)}: {counts}"
    parts = [account.s3.buckets[OUTPUT][key] for key in account.s3.keys(OUTPUT, _results(run))]
    told = manifest["results"]
    # An empty part is none: what a dead worker left was withdrawn by it.
    if told["bytes"] != sum(map(len, parts)):
        yield f"its manifest says {told['bytes']} bytes of results, there are {sum(map(len, parts))}"


def _recount(account: Account, run: Run) -> dict[str, int]:
    failed = {
        line["recordId"] for key, line in account.below(OUTPUT, f"{run.root}failures/part-") if "/part-cut-" not in key
    }
    lates = list(_lates(account, run))
    ends = Counter(item["outcome"] for item in lates)
    found = {
        "landed": sum(1 for _ in account.below(OUTPUT, _results(run))),
        "failed": len(failed - {item["recordId"] for item in lates}),
        "dropped": ends["dropped"],
        "resubmitted": ends["resubmitted"],
    }
    if corpus := list(_corpus(account, run)):
        found["read"] = len(corpus)
    return found


def _results(run: Run) -> str:
    return f"{run.root}results/part-"


def _lates(account: Account, run: Run, *outcomes: str) -> Iterator[dict[str, Any]]:
    for item in account.items(f"RUN#{run.name}", "LATE#"):
        if not outcomes or item["outcome"] in outcomes:
            yield item
