"""What is made of a run's results once they have landed: documents of their chunks, and results in other forms.

A pass looks at what lies there, does what is new since the pass before, and closes:

    plan_assembly   lists parts, shares those that are new or changed out into groups (part_groups.py)
    sort_chunks     one group: its lines by partition (document_sorting.py)
    join_documents  one partition: what its documents are (document_joining.py)
    export_parquet  one group of result parts as a Parquet file (exports.py)
    order_results   one file in the corpus's order (exports.py)
    close_assembly  sums, the list of documents that are not complete, and the reduction that is due

A reduction is a run of its own over prompts that the join wrote; when it has ended, another pass takes up its answers.
What lands later, in the failure lane or in a run over this one's failures, is taken up by a pass that update_runs
starts. Whatever is tried twice writes the same objects again.

Two passes over one run may meet: one that update_runs has started, and that of a pipeline which was redriven. Each
revision is one execution's; what a pass has made is replaced on condition that nothing has come there since it looked,
a partition and the close are one worker's at a time (core/leases.py), and none of them steps back behind a later
revision.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.assembly import document_joining, part_groups
from bulk_inference.assembly.document_sorting import (
    LANDED,
    MAX_PARTITIONS,
    REDUCED,
    SENT,
    landed_entry,
    read_partition,
    sort_group,
)
from bulk_inference.assembly.part_groups import Group, PartSlice, group_line, read_groups, whole
from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError, WorkInProgressError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.ports import Bucket, ConditionalPut, Runs, StoredObject
from bulk_inference.core.result_line import encode
from bulk_inference.core.run_spec import REDUCE, Chunking, Recombine, RunSpec, makes_documents, wanted
from bulk_inference.core.runs_table import ASSEMBLY, CUTS, JOINS, META, RESUBMISSIONS, Item, join_sk, run_pk
from bulk_inference.core.times import expiry
from bulk_inference.corpus.jsonl_rows import first_byte
from bulk_inference.land.late_outcomes import mark_stale
from bulk_inference.land.scope_landings import ScopeLandings
from bulk_inference.request.limits import canary_of
from bulk_inference.request.prompt import as_request

PARTITION_BYTES: Final = 24 * 1024 * 1024
"""Of result parts, whose models' own bodies no partition takes up."""
PARTITION_INDEX_BYTES: Final = 5 * 1024 * 1024
"""Of index lines: some twenty thousand chunks."""

CONCURRENCY: Final = 40
MAX_REDUCTIONS: Final = 999
_LISTED_BYTES: Final = 64 * 1024 * 1024
_READERS: Final = 16


@dataclass(frozen=True)
class AssemblyServices:
    spec: RunSpec
    input: Bucket
    output: Bucket
    runs: Runs
    now: float
    """Epoch seconds."""
    leases: Leases
    elsewhere: ScopeLandings | None
    """Of the run's scope; None where that is the run's own, in which no other run lands but those over its failures,
    whose results are taken up in any case."""

    @property
    def places(self) -> Places:
        return Places(self.spec.tenant, self.spec.run)

    @property
    def expires_at(self) -> int:
        return expiry(self.spec, self.now)

    @property
    def item(self) -> Item | None:
        return self.runs.get(run_pk(self.spec.run), ASSEMBLY)


def reductions_of(item: Mapping[str, Any] | None) -> list[str]:
    return [one["run"] for one in (item or {}).get("reductions", [])]


# What lies there.


def _parts(services: AssemblyServices, item: Mapping[str, Any] | None) -> Iterator[PartSlice]:
    """Index lines and result parts of the run, of runs over its failures, and of its reductions."""
    spec = services.spec
    for run, prefix in ((spec.run, ""), *((one, f"{REDUCED}-") for one in reductions_of(item))):
        for one in services.input.list(Places(spec.tenant, run).index_prefix):
            yield whole(one.key, one.size, one.etag, f"{prefix}{SENT}")
    yield from _landed(spec, item, services.output, services.runs)


def _landed(spec: RunSpec, item: Mapping[str, Any] | None, output: Bucket, runs: Runs) -> Iterator[PartSlice]:
    for run, prefix in ((spec.run, ""), *((one, f"{REDUCED}-") for one in reductions_of(item))):
        for one in _descendants(run, runs):
            yield from _results(Places(spec.tenant, one), output, f"{prefix}{LANDED}")


def _descendants(run: str, runs: Runs) -> list[str]:
    """The run, the runs over its failures, those over theirs, and so on."""
    found = [run]
    for one in found:
        made = [str(item["run"]) for item in runs.query(run_pk(one), RESUBMISSIONS)]
        found += [other for other in made if other not in found]
    return found


def _results(places: Places, output: Bucket, kind: str = LANDED) -> Iterator[PartSlice]:
    for one in output.list(places.results_prefix):
        yield whole(one.key, one.size, one.etag, kind)


def landed_bytes(spec: RunSpec, item: Mapping[str, Any] | None, output: Bucket, runs: Runs) -> int:
    """Bytes of all result parts that a pass takes up: another number after everything that lands."""
    if makes_documents(spec):
        return sum(one.size for one in _landed(spec, item, output, runs))
    return sum(one.size for one in _results(Places(spec.tenant, spec.run), output))


# Plan.


def plan(services: AssemblyServices, execution: str, previous: int) -> dict[str, Any]:
    """Plans one pass: the state of the machine from here on. `previous`: the revision that this execution closed last,
    0 in its first pass. A second try plans the same revision.

    Raises InvalidRequestError if the run's request asks for nothing of this, WorkInProgressError if another execution
    has begun a pass meanwhile.
    """
    spec, places = services.spec, services.places
    if not wanted(spec):
        raise InvalidRequestError(
            f"run {spec.run}: its request has no output.recombine, output.parquet or output.ordered to be done"
        )
    item = services.item
    begun = item is not None and (item["execution"], item["previous"]) == (execution, previous)
    revision = int((item or {}).get("revision", 0)) + (0 if begun else 1)
    # Before the parts are listed: what comes in between is another pass's.
    size = landed_bytes(spec, item, services.output, services.runs)
    partitions = int((item or {}).get("partitions", 0)) or _partitions(services, size)
    if not begun:
        _begin(services, item, execution, previous, {"revision": revision, "partitions": partitions, "bytes": size})
    sorting = exporting = 0
    if makes_documents(spec):
        sorting = _plan_groups(services, _parts(services, item), "sort", places.sorted_prefix, revision)
    if spec.output.parquet:
        exporting = _plan_groups(
            services, _results(places, services.output), "parquet", f"{places.parquet_prefix}part-", revision
        )
    # A pass that was not closed may have sorted what it did not join.
    unclosed = makes_documents(spec) and (item or {}).get("state") == "running"
    joining = partitions if sorting or unclosed else 0
    if joining:
        lines = b"".join(b'{"partition":%d}\n' % number for number in range(partitions))
        services.output.put(places.assembly_plan(revision, "join"), lines, "application/x-ndjson")
    return {
        **_pass_answer(services, revision),
        "partitions": partitions,
        "sort": {"key": places.assembly_plan(revision, "sort"), "count": sorting},
        "join": {"key": places.assembly_plan(revision, "join"), "count": joining},
        "parquet": {"key": places.assembly_plan(revision, "parquet"), "count": exporting},
    }


def _pass_answer(services: AssemblyServices, revision: int) -> dict[str, Any]:
    """What the state machine needs of any pass."""
    spec = services.spec
    return {
        "run": spec.run,
        "tenant": spec.tenant,
        "revision": revision,
        "bucket": services.output.name,
        "ordered": spec.output.ordered,
        "concurrency": CONCURRENCY,
        "mapRunsPrefix": services.places.map_runs_prefix,
        "timeoutSeconds": spec.settings.inference_timeout_seconds,
    }


def _begin(
    services: AssemblyServices, item: Item | None, execution: str, previous: int, planned: Mapping[str, Any]
) -> None:
    """Makes the next revision this execution's."""
    begun = {
        "late": 0,
        **(item or {}),
        "pk": run_pk(services.spec.run),
        "sk": ASSEMBLY,
        "expires_at": services.expires_at,
        **planned,
        "execution": execution,
        "previous": previous,
        "state": "running",
    }
    if not services.runs.put_if(begun, "revision", None if item is None else int(item["revision"])):
        raise WorkInProgressError(f"run {services.spec.run}: another execution has begun a pass over its results")


def _partitions(services: AssemblyServices, landed: int) -> int:
    index = sum(one.size for one in services.input.list(services.places.index_prefix))
    return min(MAX_PARTITIONS, max(1, -(-landed // PARTITION_BYTES), -(-index // PARTITION_INDEX_BYTES)))


def _plan_groups(services: AssemblyServices, found: Iterable[PartSlice], what: str, prefix: str, revision: int) -> int:
    """Writes the groups that are to be done; how many they are. Names of objects below `prefix` are groups done.

    What a first try has written stays: maps and later passes may have read it.
    """
    key = services.places.assembly_plan(revision, what)
    if services.output.find(key) is not None:
        return sum(1 for _ in _planned(services, what, revision))
    done = {one.key.removeprefix(prefix).partition(".")[0] for one in services.output.list(prefix)}
    before: dict[str, Group] = {}
    for number in range(1, revision):
        before |= {group.name: group for group in _planned(services, what, number)}
    count = 0
    with services.output.creator(key) as lines:
        for group in part_groups.due(found, before.values(), done, names.revision(revision)):
            count += 1
            lines.write(group_line(group))
    return count


def _planned(services: AssemblyServices, what: str, revision: int) -> Iterator[Group]:
    """None of a pass that had nothing to do."""
    key = services.places.assembly_plan(revision, what)
    if services.output.find(key) is not None:
        yield from read_groups(services.output.read(key))


# Sort.


def sort_chunks(services: AssemblyServices, group: Group, partitions: int) -> dict[str, Any]:
    """Raises WorkInProgressError if another worker has sorted the group meanwhile: from parts that may be newer."""
    key = services.places.sorted(group.name)
    seen = services.output.find(key)
    body = sort_group(group, partitions, lambda one: read_slice(services, one))
    put_over(services.output, key, seen, body, "text/plain")
    return {"group": group.name, "bytes": len(body)}


def put_over(output: Bucket, key: str, seen: StoredObject | None, body: bytes, content_type: str) -> None:
    """Writes a key that was looked at before what is written was made. Raises WorkInProgressError if something has come
    there since: whoever was frozen in between has made it of older parts."""

    def check() -> None:
        found = output.find(key)
        if (found and found.etag) != (seen and seen.etag):
            raise WorkInProgressError(f"{key} has been written by another worker meanwhile")

    output.replace(key, body, content_type, check)


def read_slice(services: AssemblyServices, one: PartSlice) -> Iterable[bytes]:
    bucket = services.input if one.kind.endswith(SENT) else services.output
    return bucket.read(one.key, start=first_byte(one.start))


# Join.


def join_documents(services: AssemblyServices, revision: int, partition: int) -> dict[str, Any]:
    """Tells what the documents of one partition are, as objects and as an item of counts. A partition to which nothing
    has come since it was joined stays as it is."""
    spec = services.spec
    recombine, chunking = spec.output.recombine, spec.chunking
    if recombine is None or chunking is None:
        raise InvalidRequestError(f"run {spec.run}: its request has no output.recombine")
    # The worker that joins a partition is one at a time, and looks at what is sorted after it has become that.
    with services.leases.hold(spec.run, names.join(partition)) as lease:
        return _join(services, revision, partition, lease, recombine, chunking)


def _join(
    services: AssemblyServices, revision: int, partition: int, lease: Lease, recombine: Recombine, chunking: Chunking
) -> dict[str, Any]:
    spec, places = services.spec, services.places
    known = services.runs.get(run_pk(spec.run), join_sk(partition))
    if known is not None and int(known["revision"]) >= revision:
        # A later pass has been here: it has seen what this one would, and more.
        return _told(known)
    if known is not None and not known["due"] and not _is_fresh(services, partition, int(known["revision"]), revision):
        item = {**known, "revision": revision}
    else:
        keys = sorted(one.key for one in services.output.list(places.sorted_prefix))
        entries = [entry for found in _read(services, keys, partition) for entry in found]
        entries += _landed_elsewhere(services, entries)
        found = _Joined(services, partition, revision, lease)
        for outcome in document_joining.outcomes(entries, recombine, chunking):
            found.add(outcome)
        item = {**found.close(), "revision": revision}
    item |= {
        "pk": run_pk(spec.run),
        "sk": join_sk(partition),
        "expires_at": services.expires_at,
        "partition": partition,
    }
    lease.commit(ConditionalPut(item, "revision", None if known is None else int(known["revision"])), last=True)
    return _told(item)


def _landed_elsewhere(services: AssemblyServices, entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Entries of chunks of the run's documents that another run of its scope has landed: there they are duplicates."""
    elsewhere = services.elsewhere
    missing = document_joining.missing_chunks(entries) if elsewhere is not None else []
    if elsewhere is not None and missing:
        for line in elsewhere.lines(missing, besides=services.spec.run):
            if (entry := landed_entry(line)) is not None:
                yield entry


def _is_fresh(services: AssemblyServices, partition: int, joined: int, revision: int) -> bool:
    """Whether anything of the partition was sorted in the passes since the one that joined it: one that died between
    sorting and joining counts."""
    keys = {
        services.places.sorted(group.name)
        for number in range(joined + 1, revision + 1)
        for group in _planned(services, "sort", number)
    }
    return any(_read(services, sorted(keys), partition))


def _told(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("partition", "revision", "counts", "due")}


def _read(services: AssemblyServices, keys: list[str], partition: int) -> Iterator[list[dict[str, Any]]]:
    def read(key: str) -> list[dict[str, Any]]:
        return read_partition(partition, lambda offset, length: services.output.get_range(key, offset, length))

    with ThreadPoolExecutor(_READERS, "sorted") as pool:
        yield from pool.map(read, keys)


@dataclass
class _Joined:
    """Objects of one partition, as they are written."""

    services: AssemblyServices
    partition: int
    revision: int
    lease: Lease
    counts: dict[str, int] = field(default_factory=dict)
    due: int = 0
    landed: int = 0
    told: list[bytes] = field(default_factory=list)
    untold: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)

    def add(self, outcome: document_joining.DocumentResult) -> None:
        self.counts[outcome.status] = self.counts.get(outcome.status, 0) + 1
        self.landed += outcome.landed
        self.due += len(outcome.rows)
        self.rows += [encode(row) for row in outcome.rows]
        if outcome.is_told:
            self.told.append(encode(outcome.line))
        if outcome.status != document_joining.COMPLETE:
            line = {name: value for name, value in outcome.line.items() if name not in ("text", "value", "carry")}
            self.untold.append(encode(line))

    def close(self) -> dict[str, Any]:
        places, output = self.services.places, self.services.output
        key = places.documents(self.partition)
        body = b"".join(self.told)
        if body or output.find(key) is not None:
            self._replace(output, key, body)
        self._replace(output, places.partial_part(self.partition), b"".join(self.untold))
        if self.rows:
            rows = places.reduction_rows(self.revision, self.partition)
            self._replace(self.services.input, rows, b"".join(self.rows))
        return {"counts": self.counts, "due": self.due, "landed": self.landed, "bytes": len(body)}

    def _replace(self, bucket: Bucket, key: str, body: bytes) -> None:
        bucket.replace(key, body, "application/x-ndjson", self.lease.check)


# Close.


def close(services: AssemblyServices, revision: int) -> dict[str, Any]:
    """Ends one pass: `{"run", "tenant", "revision", "next": "done" | "reduce", "reduction"?: {"run", "request"}}`. One
    that a later pass has overtaken leaves it at that: the later one closes.

    Raises InvalidRequestError if a document would need more reductions than there are names for.
    """
    with services.leases.hold(services.spec.run, names.CLOSE) as lease:
        item = services.item or {}
        if int(item.get("revision", 0)) != revision:
            return _answer(services, revision, None)
        return _close(services, revision, item, lease)


def _answer(services: AssemblyServices, revision: int, reduction: Mapping[str, Any] | None) -> dict[str, Any]:
    answer = {"run": services.spec.run, "tenant": services.spec.tenant, "revision": revision, "next": "done"}
    return answer if reduction is None else {**answer, "next": "reduce", "reduction": dict(reduction)}


def _close(services: AssemblyServices, revision: int, item: Item, lease: Lease) -> dict[str, Any]:
    spec = services.spec
    state: dict[str, Any] = {"exports": _exported(services)}
    due = 0
    joined = list(services.runs.query(run_pk(spec.run), JOINS))
    if joined:
        state["documents"] = _documents(services, joined)
        due = sum(int(one["due"]) for one in joined if int(one["revision"]) == revision)
        _list_partial(services, joined, lease)
    reductions = list(item.get("reductions", []))
    mine = next((one for one in reductions if one["revision"] == revision), None)
    if due and mine is None:
        mine = {"run": _free_name(services, len(reductions) + 1), "revision": revision, "prompts": due}
        reductions.append(mine)
    if len(reductions) > MAX_REDUCTIONS:
        raise InvalidRequestError(f"run {spec.run}: its documents need more than {MAX_REDUCTIONS} reductions")
    # As it is by now: the order of results and the start of a late pass are noted there, too.
    closed = {**(services.item or item), **state, "reductions": reductions, "state": "running" if due else "done"}
    lease.commit(ConditionalPut(closed, "revision", revision), last=True)
    if due and mine is not None:
        return _answer(
            services, revision, {"run": mine["run"], "request": reduction_request(spec, revision, int(mine["prompts"]))}
        )
    meta = services.runs.get(run_pk(spec.run), META)
    if meta is not None and meta.get("status", "running") != "running":
        mark_stale(spec.run, spec.tenant, f"assembly {revision}", services.runs, services.expires_at)
    return _answer(services, revision, None)


def _list_partial(services: AssemblyServices, joined: Iterable[Mapping[str, Any]], lease: Lease) -> None:
    """One list of the partitions' lists. A long one is streamed, and only looked after until its last byte is sent."""
    places, output = services.places, services.output
    keys = [places.partial_part(int(one["partition"])) for one in joined]
    if sum(one.size for one in output.list(places.partial_parts_prefix)) <= _LISTED_BYTES:
        body = b"".join(chunk for key in keys for chunk in output.read(key))
        output.replace(places.partial_documents, body, "application/x-ndjson", lease.check)
        return
    with output.writer(places.partial_documents) as lines:
        for key in keys:
            for chunk in output.read(key):
                lines.write(chunk)
        lease.check()


def _free_name(services: AssemblyServices, number: int) -> str:
    """Of the next reduction: nobody has a run of that name, whatever people call theirs."""
    name = names.reduction(services.spec.run, number)
    while services.runs.get(run_pk(name), META) is not None:
        number += 1
        name = names.reduction(services.spec.run, number)
    return name


def _documents(services: AssemblyServices, joined: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers of documents: `read` as cut, the others by status."""
    counts = dict.fromkeys(
        (document_joining.COMPLETE, document_joining.PARTIAL, document_joining.FAILED, document_joining.DUPLICATE), 0
    )
    for one in joined:
        for status, number in one["counts"].items():
            # What is due in a pass that has not been closed is not complete yet.
            name = document_joining.PARTIAL if status == document_joining.DUE else status
            counts[name] += int(number)
    read = sum(int(one.get("documents", 0)) for one in services.runs.query(run_pk(services.spec.run), CUTS))
    return {"read": read, **counts}


def _exported(services: AssemblyServices) -> dict[str, Any]:
    exported: dict[str, Any] = {}
    if services.spec.output.parquet:
        files = [one.size for one in services.output.list(services.places.parquet_prefix)]
        exported["parquet"] = {"files": len(files), "bytes": sum(files)}
    return exported


def reduction_request(spec: RunSpec, revision: int, prompts: int) -> dict[str, Any]:
    """The request of the run that infers what one pass has found due, so many prompts."""
    recombine = spec.output.recombine
    if recombine is None or recombine.method != REDUCE:
        raise InvalidRequestError(f"run {spec.run}: its documents are not reduced")
    places = Places(spec.tenant, spec.run)
    return {
        "run": {"tenant": spec.tenant, "priority": spec.priority, "mode": "auto" if spec.mode == "batch" else "sync"},
        "source": {"prefix": places.reduction_prefix(revision), "reduces": spec.run},
        "model": {"id": spec.model.id, "api": spec.model.api},
        "prompt": as_request(recombine.prompt),
        "output": {} if recombine.schema is None else {"schema": recombine.schema},
        "limits": {
            "canary_records": canary_of(prompts, min(1, spec.limits.canary_records)),
            "tolerated_failure_percentage": spec.settings.tolerated_failure_percentage,
            # Each row is a document's: what cannot be rendered costs that document alone.
            "tolerated_rejected_percentage": 100,
            "items_per_batch": spec.settings.items_per_batch,
        },
    }


# What a manifest says of it.


def summary(spec: RunSpec, item: Mapping[str, Any] | None, bucket: str) -> dict[str, Any]:
    """Members of the manifest: `documents`, `parquet`, `ordered`; none of a run that asks for nothing of this."""
    if item is None or not wanted(spec):
        return {}
    places = Places(spec.tenant, spec.run)
    told: dict[str, Any] = {}
    if "documents" in item:
        told["documents"] = {
            "counts": {name: int(number) for name, number in item["documents"].items()},
            "bucket": bucket,
            "prefix": places.documents_prefix,
            "partial": places.partial_documents,
            "reductions": [
                {
                    "run": one["run"],
                    "prompts": int(one["prompts"]),
                    "manifest": Places(spec.tenant, one["run"]).manifest,
                }
                for one in item.get("reductions", [])
            ],
        }
    if "parquet" in item.get("exports", {}):
        exported = item["exports"]["parquet"]
        told["parquet"] = {
            "bucket": bucket,
            "prefix": places.parquet_prefix,
            **{name: int(number) for name, number in exported.items()},
        }
    if "ordered" in item:
        told["ordered"] = {"bucket": bucket, **item["ordered"]}
    return told
