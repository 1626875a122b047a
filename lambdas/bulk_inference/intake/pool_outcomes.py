"""What follows from time and from the end of runs: pools are closed and started, windows are closed, and every document
of a run learns what has become of it.

A schedule calls `follow`, and so does the completion bus when a run ends or is updated: an event is a hint, the look is
the same. Everything here may be done twice. A pool is settled under a lease, so that two looks do not read the same
results; its mark says which state of the run was read, and a run that has changed since is read again.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import ConservationError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases
from bulk_inference.core.ports import Bucket, Bus, Clock, Executions, Intake
from bulk_inference.core.reach import Reach
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import ASSEMBLY, CUTS, META, POOLS, RESUBMISSIONS, Item, document_pk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.corpus.rows import RejectedLineError, Row
from bulk_inference.cut.cut_run import record_reader
from bulk_inference.finish.finishing import FinishServices, check, finish
from bulk_inference.intake import window_marks
from bulk_inference.intake.document_outcomes import (
    DocumentOutcome,
    OutcomeServices,
    conclude,
    landed_at,
    landed_elsewhere,
)
from bulk_inference.intake.message import DONE, FAILED, INFERRING, NOT_ACCOUNTED, PARTIAL, RUN_FAILED
from bulk_inference.intake.pooling import (
    CLOSED,
    OPEN,
    SETTLED,
    WINDOW,
    PoolServices,
    close_old,
    lease,
    start,
)
from bulk_inference.intake.stored_prompts import ID_FIELD
from bulk_inference.intake.urgent_documents import put_shards
from bulk_inference.land.scope_landings import ScopeLandings
from bulk_inference.ledger.claims import ClaimStore, chunked

_THREADS: Final = 16
_ROUND: Final = 500
_RESERVE_SHARE: Final = 0.2

_WINDOW_GRACE: Final = 120
"""Seconds after its hour in which a window's last documents may end."""

_WINDOW_PATIENCE: Final = 6 * 3600
"""Seconds after its hour for which a window waits for documents whose worker died."""

_KEPT: Final = 24 * 3600
"""Seconds for which a settled pool is counted in the statistics."""

_WATCHED: Final = 14 * 24 * 3600
"""Seconds for which a pool with failures is watched: so long may they be redriven."""

_LOOK_AGAIN: Final = 3600
"""Seconds until documents of a settled pool that failed are looked for in other runs."""

_VISIBLE_SECONDS: Final = 300
"""After which an execution that was started must be known to DescribeExecution."""

_ACCOUNTED: Final = frozenset({"succeeded", "empty", "incomplete", "inconsistent"})
"""Statuses of a run that came to its end; in the others a redrive may still land what is missing."""


@dataclass(frozen=True)
class FollowServices:
    pools: PoolServices
    output: Bucket
    ledger: ClaimStore
    executions: Executions
    bus: Bus
    execution_arn: Callable[[str], str]
    """Of a run."""
    spec_of: Callable[[str, str], RunSpec]
    """By tenant and run."""
    settings: Callable[[], Settings]
    """As Terraform wrote them."""

    @property
    def runs(self) -> Intake:
        return self.pools.runs

    @property
    def input(self) -> Bucket:
        return self.pools.input

    @property
    def clock(self) -> Clock:
        return self.pools.clock

    @property
    def outcomes(self) -> OutcomeServices:
        return OutcomeServices(self.runs, self.bus, self.clock)


@dataclass(frozen=True)
class Followed:
    """What one look did."""

    closed: int = 0
    started: int = 0
    settled: int = 0
    """Pools and windows whose documents were looked up in their run."""
    concluded: int = 0
    """Documents of which something new was said."""
    waiting: int = 0
    """Pools for which there was no time."""


def follow(services: FollowServices) -> Followed:
    """One look at everything. Raises ExceptionGroup of what went wrong with single pools, after the others."""
    found = Followed(closed=close_old(services.pools))
    reserve = _RESERVE_SHARE * services.clock.remaining()
    wrong: list[Exception] = []
    for item in list(services.runs.query(POOLS)):
        if services.clock.remaining() < reserve:
            found = replace(found, waiting=found.waiting + 1)
            continue
        try:
            found = _follow(item, found, services)
        except Exception as error:
            # A pool whose files cannot be read must not keep the documents of all others waiting.
            error.add_note(f"pool {item['run']}")
            wrong.append(error)
    if wrong:
        raise ExceptionGroup(f"{len(wrong)} pools could not be followed", wrong)
    return found


def _follow(item: Item, found: Followed, services: FollowServices) -> Followed:
    if item["kind"] == WINDOW:
        return _with(found, _settle_window(item, services))
    if item["state"] == CLOSED:
        return replace(found, started=found.started + start(item, services.pools))
    return _with(found, _settle_pool(item, services))


def _with(found: Followed, concluded: int | None) -> Followed:
    if concluded is None:
        return found
    return replace(found, settled=found.settled + 1, concluded=found.concluded + concluded)


def _settle_pool(item: Item, services: FollowServices) -> int | None:
    """How many documents were concluded; None if there was nothing to look at."""
    told = _end_of(item, services)
    if told is None:
        return None
    status, mark = told
    if item.get("mark") == mark and not _is_due_again(item, services):
        _forget(item, services)
        return None
    leased = lease(item, services.pools)
    if leased is None:
        return None
    ends, promised = _ends_in_run(leased, status, services)
    if promised:
        # Another mark than that of what was counted: the next look comes back to these.
        mark = f"{mark}, {promised} promised"
    concluded = _conclude(ends, leased, services)
    done = sum(one.state == DONE for one in ends.values())
    _settled(leased, mark, done, len(ends) - done, services)
    return concluded


def _end_of(item: Item, services: FollowServices) -> tuple[str, str] | None:
    """Status of the pool's run and a mark of what was counted in it; None while it goes on."""
    meta = services.runs.get(run_pk(item["run"]), META)
    if meta is not None:
        status = str(meta.get("status", "running"))
        assembly = services.runs.get(run_pk(item["run"]), ASSEMBLY) or {}
        seen = [sorted((meta.get("counts") or {}).items()), assembly.get("revision"), assembly.get("state")]
        # Equal sums may come of other records.
        seen += [meta.get("finishedAt"), meta.get("updatedAt")]
        return None if status == "running" else (status, f"{status} {seen}")
    if item["state"] == CLOSED or services.clock.now() - item["startedAt"] < _VISIBLE_SECONDS:
        return None
    if services.executions.ended(services.execution_arn(item["run"])) is None:
        return None
    # plan_run refused the request: there was no run.
    return "failed", "never planned"


def _ends_in_run(item: Item, status: str, services: FollowServices) -> tuple[dict[str, DocumentOutcome], int]:
    """The end of each document of the pool, by its id. What has not landed in the run may have landed in another one of
    the scope: in one over its failures, or in one that had it before; how many are still being worked on there."""
    places, bucket = Places(item["tenant"], item["run"]), services.output.name
    ends = dict(_landed(item["run"], places.results_prefix, services))
    for part in services.output.list(places.failures_prefix):
        for line, offset, length in _lines(services.output, part.key):
            place = {"bucket": bucket, "key": part.key, "offset": offset, "length": length}
            if isinstance(line.get("recordId"), str):
                failed = DocumentOutcome(FAILED, item["run"], place, line.get("errorClass"))
                ends.setdefault(line["recordId"], failed)
    ends |= _of_chunks(item["run"], places, services)
    ids = [line[ID_FIELD] for line, _, _ in _lines(services.input, places.pool_corpus)]
    rest = [one for one in ids if one not in ends or ends[one].state == FAILED]
    landings = ScopeLandings(
        item["tenant"], item["scope"], services.output, services.runs, services.ledger, services.clock.now()
    )
    elsewhere = landed_elsewhere(rest, landings)
    ends |= elsewhere.landed
    ends |= _chunks_elsewhere({one for one in rest if one not in elsewhere.landed}, item, landings, services)
    promised = {one for one in elsewhere.promised if one not in ends}
    kind = NOT_ACCOUNTED if status in _ACCOUNTED else RUN_FAILED
    manifest = {"bucket": bucket, "key": places.manifest}
    why = DocumentOutcome(FAILED, item["run"], manifest, kind, f"its run is {status}")
    return {one: ends.get(one, why) for one in ids if one not in promised}, len(promised)


def _chunks_elsewhere(
    documents: Collection[str], item: Item, landings: ScopeLandings, services: FollowServices
) -> dict[str, DocumentOutcome]:
    """Of documents that are cut into chunks, those all of whose chunks have landed in the scope, in whichever runs."""
    if not documents or services.input.find(Places(item["tenant"], item["run"]).spec) is None:
        return {}
    spec = services.spec_of(item["tenant"], item["run"])
    if spec.chunking is None:
        return {}
    reach = Reach(services.settings(), spec.tenant, services.input.name)
    reader, found = record_reader(spec, reach), dict[str, DocumentOutcome]()
    for raw, _ in split(services.input.read(Places(item["tenant"], item["run"]).pool_corpus)):
        document = str(json.loads(raw)[ID_FIELD])
        if document in documents:
            with suppress(RejectedLineError):
                chunks = [one.record_id for one in reader.read_row(Row(1, 0, len(raw), raw))]
                landed = landings.landed(chunks)
                if len(landed) == len(chunks):
                    # Where most of it lies; who wants it in one piece finds it among the run's documents.
                    claim, _ = Counter(landed.values()).most_common(1)[0]
                    found[document] = landed_at(claim, landings)
    return found


def _of_chunks(run: str, places: Places, services: FollowServices) -> dict[str, DocumentOutcome]:
    """The ends of documents that were cut into chunks: done when all chunks have landed; their place is that of the
    document where the run has put it together."""
    bucket = services.output.name
    landed: dict[str, list[int]] = {}
    for part in services.output.list(places.results_prefix):
        for line, _, _ in _lines(services.output, part.key):
            if isinstance(chunk := line.get("document"), dict):
                found = landed.setdefault(str(chunk["id"]), [0, int(chunk["chunks"])])
                found[0] += 1
    results = {"bucket": bucket, "prefix": places.results_prefix}
    partial = DocumentOutcome(FAILED, run, results, PARTIAL, "not all of its chunks have landed")
    ends = {one: DocumentOutcome(DONE, run, results) if n >= of else partial for one, (n, of) in landed.items()}
    if ends:
        for part in services.output.list(f"{places.documents_prefix}part-"):
            for line, offset, length in _lines(services.output, part.key):
                place = {"bucket": bucket, "key": part.key, "offset": offset, "length": length}
                whole = line.get("status") == "complete"
                ends[str(line["documentId"])] = replace(
                    DocumentOutcome(DONE, run, place) if whole else partial, place=place
                )
    return ends


def _landed(run: str, prefix: str, services: FollowServices) -> Iterator[tuple[str, DocumentOutcome]]:
    for part in services.output.list(prefix):
        for line, offset, length in _lines(services.output, part.key):
            place = {"bucket": services.output.name, "key": part.key, "offset": offset, "length": length}
            if isinstance(line.get("recordId"), str):
                yield line["recordId"], DocumentOutcome(DONE, run, place)


def _lines(bucket: Bucket, key: str) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Each line with its offset and its length, the end of the line included."""
    for raw, after in split(bucket.read(key)):
        yield json.loads(raw), after - len(raw) - 1, len(raw) + 1


def _conclude(ends: Mapping[str, DocumentOutcome], item: Item, services: FollowServices) -> int:
    def one(entry: tuple[str, DocumentOutcome]) -> int:
        pk = document_pk(item["tenant"], item["scope"], entry[0])
        return int(conclude(pk, item["run"], entry[1], services.outcomes))

    with ThreadPoolExecutor(_THREADS, "conclude") as threads:
        return sum(sum(threads.map(one, chunk)) for chunk in chunked(ends.items(), _ROUND))


def _settled(leased: Item, mark: str, done: int, failed: int, services: FollowServices) -> None:
    now, again = int(services.clock.now()), leased.get("mark") == mark
    settled = {
        **leased,
        "state": SETTLED,
        "mark": mark,
        "done": done,
        "failed": failed,
        "settledAt": leased["settledAt"] if again else now,
        "lookedAt": now,
        "pause": 2 * int(leased.get("pause", _LOOK_AGAIN)) if again else _LOOK_AGAIN,
        "leasedUntil": 0,
    }
    services.runs.put_if(settled, "leasedUntil", leased["leasedUntil"])


def _is_due_again(item: Item, services: FollowServices) -> bool:
    """A document that failed may land in a run of which this one hears nothing: it is looked for after an hour, and
    after twice as long each time."""
    looked = int(item["lookedAt"] if "lookedAt" in item else item["settledAt"])
    return bool(item["failed"]) and services.clock.now() - looked > int(item.get("pause", _LOOK_AGAIN))


def _forget(item: Item, services: FollowServices) -> None:
    """A settled pool leaves the list when it is no longer counted, and nothing of it can land any more."""
    age = services.clock.now() - item["settledAt"]
    if age > (_WATCHED if item["failed"] else _KEPT):
        services.runs.delete_if(POOLS, item["run"], "mark", item["mark"])


def _settle_window(item: Item, services: FollowServices) -> int | None:
    """Documents that the failure lane has landed since; and the window's end when its hour is over."""
    if item["state"] == OPEN and services.clock.now() > item["closesAt"] + _WINDOW_GRACE:
        _close_window(item, services)
        return None
    _, failed = window_marks.counts(item["run"], services.runs)
    if item["state"] == SETTLED:
        _give_up(item["run"], services)
        _forget(item, services)
    if not failed:
        return None
    late = Places(item["tenant"], item["run"]).results(names.REPROCESSED).removesuffix(".jsonl")
    ends = dict(_landed(item["run"], late, services))
    return _conclude({**_resubmitted(item, services), **ends}, item, services) or None


def _resubmitted(item: Item, services: FollowServices) -> Mapping[str, DocumentOutcome]:
    """Documents that failed in a window, and that a run over its failures has landed."""
    if not any(True for _ in services.runs.query(run_pk(item["run"]), RESUBMISSIONS)):
        return {}
    places = Places(item["tenant"], item["run"])
    failed = {
        line["recordId"]: None
        for part in services.output.list(places.failures_prefix)
        for line, _, _ in _lines(services.output, part.key)
        if isinstance(line.get("recordId"), str)
    }
    landings = ScopeLandings(
        item["tenant"], item["scope"], services.output, services.runs, services.ledger, services.clock.now()
    )
    return landed_elsewhere(list(failed), landings).landed


def _close_window(item: Item, services: FollowServices) -> None:
    """Manifest, report and event, once all of its documents have ended, or have been waited for long enough."""
    leased = lease(item, services.pools)
    if leased is None:
        return
    run, runs = item["run"], services.runs
    patient = services.clock.now() < item["closesAt"] + _WINDOW_PATIENCE
    _give_up(run, services)
    if runs.get(run_pk(run), META) is None:
        # An older bundle died before it had opened it.
        if patient:
            runs.put_if({**leased, "leasedUntil": 0}, "leasedUntil", leased["leasedUntil"])
        else:
            _settled(leased, "never opened", 0, 0, services)
        return
    for cut in runs.query(run_pk(run), CUTS):
        # Its worker may have died just before it said so.
        put_shards(run, cut, runs, item["expires_at"])
    spec = services.spec_of(item["tenant"], run)
    summed, problems = check(spec, services.output, runs)
    # A document that has begun may be cut in it yet.
    begun = any(window_marks.busy(run, runs))
    if patient and (problems or summed.pending or begun):
        runs.put_if({**leased, "leasedUntil": 0}, "leasedUntil", leased["leasedUntil"])
        return
    # One that is inconsistent is said to be so in its manifest; a later landing counts it anew.
    with suppress(ConservationError):
        leases = Leases(runs, services.clock.now)
        finish(spec, FinishServices(services.output, runs, services.bus, services.clock, leases))
    _settled(leased, "closed", *window_marks.counts(run, runs), services)


def _give_up(run: str, services: FollowServices) -> None:
    """Documents that were begun, and whose messages have not come again for hours: they are in a dead-letter queue, or
    gone. If one comes after all, its document goes on."""
    why = DocumentOutcome(FAILED, run, None, NOT_ACCOUNTED, "it was begun, and its message has not come again")
    now = services.clock.now()
    for mark in list(window_marks.busy(run, services.runs)):
        if now - int(mark["at" if "at" in mark else "sentAt"]) < _WINDOW_PATIENCE:
            continue
        document = mark.get("document")
        concluded = document is not None and conclude(
            document, run, why, services.outcomes, mine=lambda item: item["state"] == INFERRING
        )
        if not concluded:
            # Of an older bundle, or of a document that has ended since: nobody else takes it away.
            services.runs.delete_if(mark["pk"], mark["sk"], "unit", mark["unit"])
