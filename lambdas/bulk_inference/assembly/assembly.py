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
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.assembly import document_joining, part_groups
from bulk_inference.assembly.document_sorting import LANDED, MAX_PARTITIONS, REDUCED, SENT, read_partition, sort_group
from bulk_inference.assembly.part_groups import Group, PartSlice, group_line, read_groups, whole
from bulk_inference.core import names
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket, Runs
from bulk_inference.core.result_line import encode
from bulk_inference.core.run_spec import REDUCE, RunSpec, makes_documents, wanted
from bulk_inference.core.runs_table import ASSEMBLY, CUTS, JOINS, META, RESUBMISSIONS, Item, join_sk, run_pk
from bulk_inference.core.times import expiry
from bulk_inference.corpus.jsonl_rows import first_byte
from bulk_inference.land.late_outcomes import mark_stale
from bulk_inference.request.limits import canary_of
from bulk_inference.request.prompt import as_request

PARTITION_BYTES: Final = 24 * 1024 * 1024
"""Of result parts, whose models' own bodies no partition takes up."""
PARTITION_INDEX_BYTES: Final = 5 * 1024 * 1024
"""Of index lines: some twenty thousand chunks."""

CONCURRENCY: Final = 40
MAX_REDUCTIONS: Final = 999
_READERS: Final = 16


@dataclass(frozen=True)
class AssemblyServices:
    spec: RunSpec
    input: Bucket
    output: Bucket
    runs: Runs
    now: float
    """Epoch seconds."""

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

    Raises InvalidRequestError if the run's request asks for nothing of this.
    """
    spec, places = services.spec, services.places
    if not wanted(spec):
        raise InvalidRequestError(
            f"run {spec.run}: its request has no output.recombine, output.parquet or output.ordered to be done"
        )
    item = services.item
    begun = item is not None and (item["execution"], item["previous"]) == (execution, previous)
    revision = int((item or {}).get("revision", 0)) + (0 if begun else 1)
    size = landed_bytes(spec, item, services.output, services.runs)
    partitions = int((item or {}).get("partitions", 0)) or _partitions(services, size)
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
    about = {"revision": revision, "partitions": partitions, "execution": execution, "previous": previous}
    services.runs.put(_pass_item(services, {**about, "bytes": size}))
    return {
        **_pass_answer(services, revision),
        "partitions": partitions,
        "sort": {"key": places.assembly_plan(revision, "sort"), "count": sorting},
        "join": {"key": places.assembly_plan(revision, "join"), "count": joining},
        "parquet": {"key": places.assembly_plan(revision, "parquet"), "count": exporting},
    }


def _pass_item(services: AssemblyServices, about: Mapping[str, Any]) -> Item:
    """The item of a run's passes, for one that begins; what an earlier pass said stays, unless `about` says it."""
    known = {"late": 0, **(services.item or {})}
    key = {"pk": run_pk(services.spec.run), "sk": ASSEMBLY, "expires_at": services.expires_at}
    return {**known, **key, **about, "state": "running"}


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


def _partitions(services: AssemblyServices, landed: int) -> int:
    index = sum(one.size for one in services.input.list(services.places.index_prefix))
    return min(MAX_PARTITIONS, max(1, -(-landed // PARTITION_BYTES), -(-index // PARTITION_INDEX_BYTES)))


def _plan_groups(services: AssemblyServices, found: Iterable[PartSlice], what: str, prefix: str, revision: int) -> int:
    """Writes the groups that are to be done; how many they are. Names of objects below `prefix` are groups done."""
    done = {one.key.removeprefix(prefix).partition(".")[0] for one in services.output.list(prefix)}
    before: dict[str, Group] = {}
    for number in range(1, revision):
        before |= {group.name: group for group in _planned(services, what, number)}
    count = 0
    with services.output.writer(services.places.assembly_plan(revision, what)) as lines:
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
    body = sort_group(group, partitions, lambda one: read_slice(services, one))
    services.output.put(services.places.sorted(group.name), body)
    return {"group": group.name, "bytes": len(body)}


def read_slice(services: AssemblyServices, one: PartSlice) -> Iterable[bytes]:
    bucket = services.input if one.kind.endswith(SENT) else services.output
    return bucket.read(one.key, start=first_byte(one.start))


# Join.


def join_documents(services: AssemblyServices, revision: int, partition: int) -> dict[str, Any]:
    """Tells what the documents of one partition are, as objects and as an item of counts. A partition to which nothing
    has come since it was joined stays as it is."""
    spec, places = services.spec, services.places
    recombine, chunking = spec.output.recombine, spec.chunking
    if recombine is None or chunking is None:
        raise InvalidRequestError(f"run {spec.run}: its request has no output.recombine")
    known = services.runs.get(run_pk(spec.run), join_sk(partition))
    if known is not None and int(known["revision"]) == revision:
        return _told(known)
    if known is not None and not known["due"] and not _is_fresh(services, partition, int(known["revision"]), revision):
        item = {**known, "revision": revision}
    else:
        names = sorted(one.key for one in services.output.list(places.sorted_prefix))
        entries = [entry for found in _read(services, names, partition) for entry in found]
        found = _Joined(services, partition, revision)
        for outcome in document_joining.outcomes(entries, recombine, chunking):
            found.add(outcome)
        item = {**found.close(), "revision": revision}
    item |= {
        "pk": run_pk(spec.run),
        "sk": join_sk(partition),
        "expires_at": services.expires_at,
        "partition": partition,
    }
    services.runs.put(item)
    return _told(item)


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
            output.put(key, body, "application/x-ndjson")
        output.put(places.partial_part(self.partition), b"".join(self.untold), "application/x-ndjson")
        if self.rows:
            key = places.reduction_rows(self.revision, self.partition)
            self.services.input.put(key, b"".join(self.rows), "application/x-ndjson")
        return {"counts": self.counts, "due": self.due, "landed": self.landed, "bytes": len(body)}


# Close.


def close(services: AssemblyServices, revision: int) -> dict[str, Any]:
    """Ends one pass: `{"run", "tenant", "revision", "next": "done" | "reduce", "reduction"?: {"run", "request"}}`.

    Raises InvalidRequestError if a partition has not been joined in this pass, or a document would need more reductions
    than there are names for.
    """
    spec, places = services.spec, services.places
    item = services.item or {}
    state: dict[str, Any] = {"exports": _exported(services)}
    due = 0
    joined = list(services.runs.query(run_pk(spec.run), JOINS))
    if joined:
        state["documents"] = _documents(services, joined)
        due = sum(int(one["due"]) for one in joined if int(one["revision"]) == revision)
        with services.output.writer(places.partial_documents) as lines:
            for one in joined:
                for chunk in services.output.read(places.partial_part(int(one["partition"]))):
                    lines.write(chunk)
    reductions = list(item.get("reductions", []))
    if due and not any(one["revision"] == revision for one in reductions):
        reductions.append({"run": names.reduction(spec.run, len(reductions) + 1), "revision": revision, "prompts": due})
    if len(reductions) > MAX_REDUCTIONS:
        raise InvalidRequestError(f"run {spec.run}: its documents need more than {MAX_REDUCTIONS} reductions")
    services.runs.update(
        run_pk(spec.run), ASSEMBLY, {**state, "reductions": reductions, "state": "running" if due else "done"}
    )
    answer: dict[str, Any] = {"run": spec.run, "tenant": spec.tenant, "revision": revision, "next": "done"}
    if due:
        run = next(one["run"] for one in reductions if one["revision"] == revision)
        return {
            **answer,
            "next": "reduce",
            "reduction": {"run": run, "request": reduction_request(spec, revision, due)},
        }
    meta = services.runs.get(run_pk(spec.run), META)
    if meta is not None and meta.get("status", "running") != "running":
        mark_stale(spec.run, spec.tenant, f"assembly {revision}", services.runs, services.expires_at)
    return answer


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
