"""Proves from the outside that a corpus lost no record and doubled none.

Reads what a stranger could read: the corpus, the runs' objects in the output bucket, the ledger and the runs table, and
the queues. Nothing of the module's own code is used, so that a mistake there cannot hide itself here. The formats are
those of docs/run-request.md and docs/architecture.md.

Each line of the corpus must have come to exactly one of these ends:

* *landed*: one result line names it as its source and answers it, in one of the runs;
* *failed*: no result line does, and a failure line names it;
* *waiting*: neither, and a message of a queue names it;
* *pending*: nothing names it, its run has not succeeded, and the run's manifest knows how many such records there are.

Everything else is *lost*; a second result line of one record is *doubled*.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Where a line of a corpus lies: key and first byte.
Place = tuple[str, int]


@dataclass
class Run:
    """What one run left behind."""

    run: str
    results: dict[str, bytes] = field(default_factory=dict)
    """Objects by key."""
    failures: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    item: dict[str, Any] = field(default_factory=dict)
    """The run's item of the runs table."""


@dataclass
class Evidence:
    """One corpus and everything that is known of it; `runs` in the order in which they were started."""

    corpus: dict[str, bytes]
    runs: list[Run]
    claims: dict[str, str] = field(default_factory=dict)
    """Owner of the claim by recordId."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the messages that wait in any queue of the failure lane."""


@dataclass
class Verdict:
    """How many records came to which end, and what is wrong."""

    records: int = 0
    landed: int = 0
    failed: int = 0
    waiting: int = 0
    pending: int = 0
    lost: list[str] = field(default_factory=list)
    """Ids (or places) of records that are nowhere."""
    doubled: list[str] = field(default_factory=list)
    """Ids of records with more than one result."""
    problems: list[str] = field(default_factory=list)
    """What else contradicts itself: sums, claims, answers of other records."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.problems)

    def __str__(self) -> str:
        numbers = {
            "records": self.records,
            "landed": self.landed,
            "failed": self.failed,
            "waiting": self.waiting,
            "pending": self.pending,
            "lost": len(self.lost),
            "doubled": len(self.doubled),
        }
        said = [", ".join(f"{number} {name}" for name, number in numbers.items())]
        for name, which in (("lost", self.lost), ("doubled", self.doubled)):
            if which:
                said.append(f"{name}: {', '.join(which[:5])}" + (" …" if len(which) > 5 else ""))
        return "; ".join(said + self.problems[:8])


@dataclass(frozen=True)
class _Line:
    """One line of the corpus."""

    place: Place
    length: int
    id: str | None
    mark: str | None
    """What the answer to this record must contain."""

    @property
    def name(self) -> str:
        return self.id if self.id is not None else f"{self.place[0]}@{self.place[1]}"


def lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines of an object, without their newline, with the position of their first byte; blank ones are none."""
    at = 0
    for raw in body.split(b"\n"):
        if raw.strip():
            yield at, raw
        at += len(raw) + 1


def check(evidence: Evidence, mark: Callable[[Mapping[str, Any]], str] | None = None) -> Verdict:
    """Judges the evidence. `mark`: text that the answer to a corpus line (its JSON object) must contain."""
    verdict = Verdict()
    corpus = {line.place: line for line in _corpus(evidence.corpus, mark)}
    landed = _landed(evidence.runs, corpus, verdict)
    failed = _failed(evidence.runs, corpus, verdict)
    waiting = {place for body in evidence.messages if (place := _place(body.get("item", {}).get("source"))) in corpus}
    verdict.records = len(corpus)
    unknown: list[_Line] = []
    for place, line in corpus.items():
        if place in landed:
            verdict.landed += 1
            if landed[place] > 1:
                verdict.doubled.append(line.name)
        elif place in failed:
            verdict.failed += 1
        elif place in waiting:
            verdict.waiting += 1
        else:
            unknown.append(line)
    _same_id_twice(evidence.runs, corpus, landed, verdict)
    if unknown and _pending(evidence.runs, verdict.failed) == len(unknown):
        verdict.pending = len(unknown)
    else:
        verdict.lost = [line.name for line in unknown]
    for run in evidence.runs:
        if run.manifest is not None:
            verdict.problems += [f"manifest of {run.run}: {problem}" for problem in _sums(run, evidence.corpus)]
        verdict.problems += _closed(run)
    verdict.problems += _claims(evidence, corpus, landed)
    return verdict


def _corpus(objects: Mapping[str, bytes], mark: Callable[[Mapping[str, Any]], str] | None) -> Iterator[_Line]:
    for key, body in objects.items():
        for at, raw in lines(body):
            try:
                record = json.loads(raw)
            except ValueError:
                record = None
            known = isinstance(record, dict) and "id" in record
            yield _Line(
                (key, at), len(raw), str(record["id"]) if known else None, mark(record) if mark and known else None
            )


def _place(source: Any) -> Place | None:
    if not isinstance(source, dict) or "key" not in source or "offset" not in source:
        return None
    return source["key"], source["offset"]


def _landed(runs: Iterable[Run], corpus: Mapping[Place, _Line], verdict: Verdict) -> Counter[Place]:
    """Result lines by the corpus line that they answer."""
    found: Counter[Place] = Counter()
    for run in runs:
        for key, result in _objects(run.results, verdict):
            place = _place(result.get("source"))
            line = corpus.get(place) if place else None
            if place is None or line is None:
                verdict.problems.append(f"{key}: result {result.get('recordId')!r} is of no line of the corpus")
                continue
            found[place] += 1
            if result.get("recordId") != line.id and line.id is not None:
                verdict.problems.append(f"{key}: the result of {line.name} is called {result.get('recordId')!r}")
            if line.mark is not None and line.mark not in (result.get("text") or ""):
                verdict.problems.append(f"{key}: the result of {line.name} is not the answer to it")
    return found


def _failed(runs: Iterable[Run], corpus: Mapping[Place, _Line], verdict: Verdict) -> set[Place]:
    found = set()
    for run in runs:
        for key, failure in _objects(run.failures, verdict):
            place = _place(failure.get("source"))
            if place is None or place not in corpus:
                verdict.problems.append(f"{key}: failure {failure.get('recordId')!r} is of no line of the corpus")
                continue
            if not failure.get("errorClass"):
                verdict.problems.append(f"{key}: failure of {corpus[place].name} has no errorClass")
            found.add(place)
    return found


def _objects(objects: Mapping[str, bytes], verdict: Verdict) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, body in objects.items():
        if body and not body.endswith(b"\n"):
            verdict.problems.append(f"{key}: ends in the middle of a line")
        for at, raw in lines(body):
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield key, line
            else:
                verdict.problems.append(f"{key}: the line at {at} is no JSON object")


def _same_id_twice(
    runs: Iterable[Run], corpus: Mapping[Place, _Line], landed: Mapping[Place, int], verdict: Verdict
) -> None:
    """Two lines of the corpus may have one id: only one of them may land."""
    ids = Counter(corpus[place].id for place in landed if corpus[place].id is not None)
    verdict.doubled += [f"{name}" for name, times in ids.items() if times > 1]


def _pending(runs: list[Run], failed: int) -> int:
    """Records that the latest run, which has not succeeded, says are open; -1: it says nothing.

    A worker that died may have left failure lines of such records: they are among the `failed` already.
    """
    manifest = runs[-1].manifest if runs else None
    if manifest is None or manifest.get("status") in ("succeeded", "empty", "unchanged", "nothing_landed"):
        return -1
    counts = manifest["counts"]
    unsure = failed - sum(int(counts[name]) for name in ("failed", "rejected", "duplicate"))
    return int(counts["pending"]) - (max(0, unsure) if len(runs) == 1 else 0)


def _sums(run: Run, corpus: Mapping[str, bytes]) -> Iterator[str]:
    """The manifest's numbers against the lines that lie there."""
    assert run.manifest is not None
    counts = run.manifest["counts"]
    scratch = Verdict()
    results = list(_objects(run.results, scratch))
    landed = {_place(line.get("source")) for _, line in results}
    # Lines that were refused before any inference are in the parts of the cuts; a repeated id is called a duplicate.
    refused: set[Place | None] = set()
    duplicate: set[Place | None] = set()
    failed: set[Place | None] = set()
    for key, line in _objects(run.failures, scratch):
        place = _place(line.get("source"))
        kind = line.get("errorClass")
        target = duplicate if kind == "duplicate" else refused if "/part-cut-" in key else failed
        target.add(place)
    true = {
        "read": sum(1 for body in corpus.values() for _ in lines(body)),
        "landed": len(results),
        "failed": len(failed - landed),
        "rejected": len(refused),
    }
    # A worker that died may have left lines of failures that its unit has not noted: those records are pending.
    unsure = true["failed"] - counts["failed"]
    if 0 < unsure <= counts["pending"]:
        true["failed"] = counts["failed"]
    for name, number in true.items():
        if counts[name] != number:
            yield f"{name} is {counts[name]}, there are {number}"
    if counts["duplicate"] < len(duplicate):
        yield f"duplicate is {counts['duplicate']}, there are at least {len(duplicate)}"
    if counts["read"] != counts["accepted"] + counts["rejected"] + counts["duplicate"]:
        yield f"read is not accepted + rejected + duplicate: {counts}"
    # What an operator has dropped or sent on to another run has left `failed`; no row does either.
    gone = counts.get("dropped", 0) + counts.get("resubmitted", 0)
    if counts["accepted"] != counts["landed"] + counts["failed"] + counts["pending"] + gone:
        yield f"accepted is not landed + failed + pending: {counts}"
    if run.manifest["status"] == "succeeded" and counts["pending"]:
        yield f"succeeded with {counts['pending']} pending"
    if run.manifest["status"] == "inconsistent":
        yield f"inconsistent: {run.manifest.get('problems')}"
    # An empty object is a part that a dead worker left, withdrawn (docs/decisions/0024-leases-and-fences.md).
    parts, size = sum(map(bool, run.results.values())), sum(map(len, run.results.values()))
    if (run.manifest["results"]["parts"], run.manifest["results"]["bytes"]) != (parts, size):
        yield f"results are {parts} parts of {size} bytes, it says {run.manifest['results']}"
    for name in ("input", "output"):
        used = sum(line["usage"][f"{name}Tokens"] for _, line in results)
        if run.manifest["tokens"][name] < used:
            yield f"{run.manifest['tokens'][name]} {name} tokens, its results alone took {used}"
    for name in ("landed", "failed", "pending"):
        if (total := sum(shard[name] for shard in run.manifest["shards"])) != counts[name]:
            yield f"{name} is {counts[name]}, its shards sum up to {total}"


def _closed(run: Run) -> Iterator[str]:
    """The runs table says the same as the manifest."""
    if run.manifest is not None and run.item and run.item.get("status") != run.manifest["status"]:
        yield f"run {run.run} is {run.item.get('status')!r} in the table and {run.manifest['status']!r} in its manifest"


def _claims(evidence: Evidence, corpus: Mapping[Place, _Line], landed: Mapping[Place, int]) -> Iterator[str]:
    """Whatever landed was claimed, by the run in which it lies."""
    owners = {
        _place(line.get("source")): run.run for run in evidence.runs for _, line in _objects(run.results, Verdict())
    }
    for place in landed:
        line, run = corpus[place], owners[place]
        owner = evidence.claims.get(line.id or "")
        if line.id is None:
            continue
        if owner is None:
            yield f"{line.name} landed in {run} without a claim"
        elif not owner.startswith(f"{run}/"):
            yield f"{line.name} landed in {run}, but is claimed by {owner}"


# Gathering.


def gather(
    *,
    client: Callable[[str], Any],
    input_bucket: str,
    output_bucket: str,
    ledger: str,
    runs_table: str,
    corpus_prefix: str,
    runs: Iterable[str],
    messages: Iterable[Mapping[str, Any]],
    scope: str | None = None,
    tenant: str = "default",
) -> Evidence:
    """Reads everything of one corpus. `client` makes boto3 clients by service; `scope`: the one that the runs share."""
    s3, dynamodb = client("s3"), client("dynamodb")
    names = list(runs)
    evidence = Evidence(objects(s3, input_bucket, corpus_prefix), [])
    for name in names:
        root = f"{tenant}/runs/{name}/"
        manifest = objects(s3, output_bucket, f"{root}manifest.json").get(f"{root}manifest.json")
        item = dynamodb.get_item(
            TableName=runs_table, Key={"pk": {"S": f"RUN#{name}"}, "sk": {"S": "META"}}, ConsistentRead=True
        ).get("Item", {})
        evidence.runs.append(
            Run(
                name,
                objects(s3, output_bucket, f"{root}results/"),
                objects(s3, output_bucket, f"{root}failures/"),
                json.loads(manifest) if manifest is not None else None,
                {key: next(iter(value.values())) for key, value in item.items()},
            )
        )
    ids = {line.id for line in _corpus(evidence.corpus, None) if line.id is not None}
    for own in [scope] if scope is not None else names:
        where = f"{tenant}/{own if scope is not None else _own_scope(evidence, own)}#"
        evidence.claims |= claims(dynamodb, ledger, where, ids)
    evidence.messages = [dict(body) for body in messages if body.get("run") in names]
    return evidence


def _own_scope(evidence: Evidence, name: str) -> str:
    """The scope that a run names for itself in its table's item."""
    return next((str(run.item.get("scope", name)) for run in evidence.runs if run.run == name), name)


def objects(s3: Any, bucket: str, prefix: str) -> dict[str, bytes]:
    """Every object below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def claims(dynamodb: Any, table: str, prefix: str, ids: Iterable[str]) -> dict[str, str]:
    """Owners of the claims `{prefix}{recordId}` that exist."""
    found: dict[str, str] = {}
    wanted = sorted(ids)
    for at in range(0, len(wanted), 100):
        request: dict[str, Any] = {
            table: {"Keys": [{"pk": {"S": prefix + name}} for name in wanted[at : at + 100]], "ConsistentRead": True}
        }
        while request:
            answer = dynamodb.batch_get_item(RequestItems=request)
            for item in answer["Responses"].get(table, []):
                found[item["pk"]["S"].removeprefix(prefix)] = item["owner"]["S"]
            request = answer.get("UnprocessedKeys") or {}
    return found


def peek(sqs: Any, queue_url: str) -> list[dict[str, Any]]:
    """Bodies of the messages that can be received from a queue; they are made visible again.

    Only for a queue that nobody else receives from, and that moves nothing on for having been received.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    while messages := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=0
    ).get("Messages", []):
        for message in messages:
            found[message["MessageId"]] = message["ReceiptHandle"], json.loads(message["Body"])
    for handle, _ in found.values():
        sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
    return [body for _, body in found.values()]
