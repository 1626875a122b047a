"""cut_shards and seal_shards on S3 and the runs table: pieces and their index as objects, counts as items."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.model_families import family_named
from bulk_inference.core.ports import Bucket, Executions, Runs, Writer
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import RunSpec, own_scope
from bulk_inference.core.runs_table import CUTS, Item, cut_sk, run_pk, shard_sk
from bulk_inference.corpus.formats import CSV
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.ranges import Cut
from bulk_inference.corpus.reader import CorpusBucket, part_rows
from bulk_inference.corpus.rows import Row
from bulk_inference.cut import item_batches, sealing
from bulk_inference.cut.cutting import ClaimedElsewhere, PieceCount, PieceSink, cut_records
from bulk_inference.land.units import expiry
from bulk_inference.ledger import claims
from bulk_inference.ledger.rival_claims import Rivals
from bulk_inference.plan import sizing
from bulk_inference.render.media import places_of
from bulk_inference.render.records import RecordReader
from bulk_inference.render.rendering import renderer_for

_NO_END: Final = 1 << 62

_CUTTERS: Final = 4
"""Pieces whose batches are cut at once: most of the time of a small one is waiting for S3."""


def load_spec(input_bucket: Bucket, places: Places) -> RunSpec:
    """Raises InvalidRequestError if the run was never planned."""
    value = input_bucket.get_json(places.spec)
    if value is None:
        raise InvalidRequestError(
            f"s3://{input_bucket.name}/{places.spec} does not exist: start the run by the pipeline, whose "
            "plan_run writes it"
        )
    return RunSpec.from_json(value)


def record_reader(spec: RunSpec) -> RecordReader:
    """How lines of this run become records."""
    places = places_of(spec.source.bucket, spec.input_bucket, spec.tenant, spec.source_buckets)
    family = family_named(spec.model.family)
    renderer = renderer_for(spec.prompt, family, spec.model.api, output=spec.output, places=places)
    return RecordReader(
        id_field=spec.source.id_field,
        sequence_field=spec.source.sequence_field,
        carry=spec.source.carry,
        untyped=spec.source.format == CSV,
        renderer=renderer,
        max_line_bytes=spec.limits.max_line_bytes,
        chunking=spec.chunking,
        reduces=spec.source.reduces is not None,
        strip_cache_points=spec.mode == "batch",
        media=places,
    )


@dataclass(frozen=True)
class CutWorld:
    input_bucket: Bucket
    output_bucket: Bucket
    source_bucket: Callable[[str], CorpusBucket]
    """By name."""
    runs: Runs
    ledger: claims.ClaimStore
    executions: Executions
    now: float
    """Epoch seconds."""


def cut_run(run: str, tenant: str, cut: Cut, world: CutWorld) -> dict[str, Any]:
    """Cuts once: a cut that has its item answers from there, whatever other runs have claimed since."""
    done = world.runs.get(run_pk(run), cut_sk(cut.cut))
    if done is not None:
        return _answer(done)
    places = Places(tenant, run)
    spec = load_spec(world.input_bucket, places)
    corpus = world.source_bucket(spec.source.bucket)
    with _CutFiles(world.input_bucket, world.output_bucket, places, f"cut-{cut.cut}") as files:
        count = cut_records(
            cut,
            spec.source.bucket,
            lambda part: part_rows(corpus, part, spec.source, spec.limits.max_line_bytes),
            record_reader(spec),
            files,
            max_records=spec.limits.max_records_per_shard,
            max_bytes=spec.limits.max_bytes_per_shard,
            claimed_elsewhere=_claimed_elsewhere(spec, world),
        )
    item = {
        "pk": run_pk(run),
        "sk": cut_sk(cut.cut),
        "expires_at": expiry(spec, world.now),
        "failures": files.failures_key,
        **count.to_json(),
    }
    world.runs.put(item)
    return _answer(item)


def _answer(item: Item) -> dict[str, Any]:
    return {name: item[name] for name in ("cut", "pieces", "read", "accepted", "rejected", "duplicate")}


def _claimed_elsewhere(spec: RunSpec, world: CutWorld) -> ClaimedElsewhere | None:
    """None where the scope is the run's own: no other run can have claimed there.

    A claim that nobody will honour any more does not count, nor one of which that cannot be told yet: whether such a
    record lands here is decided when it is landed.
    """
    if spec.scope == own_scope(spec.run):
        return None
    stands = Rivals(
        spec.tenant,
        spec.run,
        output=world.output_bucket,
        runs=world.runs,
        executions=world.executions,
        now=lambda: world.now,
    )

    def look_up(record_ids: Sequence[str]) -> Collection[str]:
        claimed = claims.standing_claims(world.ledger, spec.tenant, spec.scope, record_ids, now=int(world.now))
        return {
            record_id
            for record_id, one in claimed.items()
            if one.run != spec.run and stands(one) is claims.Standing.HELD
        }

    return look_up


class _CutFiles:
    """Sinks of one cut. Leaving the context by an exception aborts what is not closed."""

    def __init__(self, input_bucket: Bucket, output_bucket: Bucket, places: Places, part: str) -> None:
        self.failures_key: str | None = None
        """Key of the failures file, if there is one."""
        self._input = input_bucket
        self._output = output_bucket
        self._places = places
        self._part = part
        self._stack = ExitStack()
        self._piece: PieceFiles | None = None
        self._failures: Writer | None = None

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._piece is not None:
            self._piece.abort_on_error(*failure)
        self._stack.__exit__(*failure)

    def open_piece(self, piece: str) -> PieceSink:
        """The piece before must have been closed."""
        self._piece = PieceFiles(self._input, self._places.shard(piece), self._places.index(piece))
        return self._piece

    def write_failure(self, line: bytes) -> None:
        if self._failures is None:
            self.failures_key = self._places.failures(self._part)
            self._failures = self._stack.enter_context(self._output.writer(self.failures_key))
        self._failures.write(line)


class PieceFiles:
    """A piece as two objects, its shard and its index; both become visible at close()."""

    def __init__(self, bucket: Bucket, shard_key: str, index_key: str) -> None:
        self._files = ExitStack()
        self._shard = self._files.enter_context(bucket.writer(shard_key))
        self._index = self._files.enter_context(bucket.writer(index_key))

    def write(self, shard_line: bytes, index_line: bytes) -> None:
        self._shard.write(shard_line)
        self._index.write(index_line)

    def close(self) -> None:
        self._files.close()

    def abort_on_error(self, *failure: Any) -> None:
        """As a context's exit: an exception aborts what close() has not closed."""
        if failure[0] is not None:
            self._files.__exit__(*failure)


@dataclass(frozen=True)
class SealWorld:
    input_bucket: Bucket
    runs: Runs
    now: float
    """Epoch seconds."""


def seal_run(run: str, tenant: str, world: SealWorld) -> dict[str, Any]:
    """Makes the cuts' pieces into batch shards and sync pieces: files, `plan/jobs.jsonl`, item batches, one item each.

    A second call makes the same. Raises InvalidRequestError when a cut has no counts, or the run turns out larger than
    its limits: nothing has been submitted by then.
    """
    bucket, places = world.input_bucket, Places(tenant, run)
    spec = load_spec(bucket, places)
    cuts = list(world.runs.query(run_pk(run), CUTS))
    sealing.require_all_cuts(run, spec.cuts.count, cuts)
    pieces = sealing.pieces_of(cuts)
    records, size = sum(piece.records for piece in pieces), sum(piece.bytes for piece in pieces)
    sizing.refuse_larger(spec.limits, records, sizing.true_tokens(spec.estimate, records, size), "counted by cutting")
    plan = sealing.seal(
        pieces,
        spec.mode,
        min_records=spec.limits.min_records_per_shard,
        max_records=spec.limits.max_records_per_shard,
        max_bytes=spec.limits.max_bytes_per_shard,
    )
    merged = [_merge(f"merged-{n:03d}", group, bucket, places) for n, group in enumerate(plan.merges, 1)]
    legal = [one for one in merged if one.records >= spec.limits.min_records_per_shard]
    batch = [*plan.kept, *(PieceCount(one.piece, one.records, one.bytes) for one in legal)]
    # Duplicates between merged pieces may leave less than a job's minimum.
    short = [PieceCount(one.piece, one.records, one.bytes) for one in merged if one not in legal]
    sync = [*plan.sync, *short]
    # A try whose time ran out leaves whole files: the next one goes on where it ended, so that no run is too large.
    done = {one.key for one in bucket.list(places.sync_prefix)}
    due = [piece.piece for piece in sync if places.batches(piece.piece) not in done]
    with ThreadPoolExecutor(_CUTTERS, "batches") as pool:
        for _ in pool.map(lambda piece: _cut_batches(piece, spec, bucket, places), due):
            pass
    duplicates = {one.piece: one.duplicate for one in merged}
    expires_at = expiry(spec, world.now)

    def put_item(shard: str, mode: str, piece: PieceCount) -> None:
        world.runs.put(
            {
                "pk": run_pk(run),
                "sk": shard_sk(shard),
                "expires_at": expires_at,
                "shard": shard,
                "piece": piece.piece,
                "mode": mode,
                "accepted": piece.records,
                "bytes": piece.bytes,
                "duplicate": duplicates.get(piece.piece, 0),
            }
        )

    with bucket.writer(places.jobs) as jobs:
        for number, piece in enumerate(batch, 1):
            shard = f"{number:05d}"
            jobs.write(sealing.job_line(shard, piece))
            put_item(shard, "batch", piece)
    for piece in sync:
        put_item(piece.piece, "sync", piece)
    return {
        "batch": {"key": places.jobs, "shards": len(batch), "records": sum(piece.records for piece in batch)},
        "sync": {
            "bucket": bucket.name,
            "prefix": places.sync_prefix,
            "records": sum(piece.records for piece in sync),
            "pieces": len(sync),
        },
    }


def _merge(name: str, group: Sequence[PieceCount], bucket: Bucket, places: Places) -> sealing.Merged:
    def lines(key: str) -> Iterator[Row]:
        # Nothing that a run writes itself is longer than it may be: no limit but the object's end.
        return lines_of_range(bucket.read(key), 0, _NO_END, _NO_END)

    sources = ((lines(places.shard(piece.piece)), lines(places.index(piece.piece))) for piece in group)
    files = PieceFiles(bucket, places.shard(name), places.index(name))
    with ExitStack() as stack:
        stack.push(files.abort_on_error)
        merged = sealing.merge(name, sources, files)
        files.close()
    return merged


def _cut_batches(piece: str, spec: RunSpec, bucket: Bucket, places: Places) -> None:
    """A stream, so that memory does not grow with the piece."""
    lengths = (len(line) + 1 for line, _ in split(bucket.read(places.index(piece))))
    batches = item_batches.cut(piece, lengths, items=spec.settings.items_per_batch, size=spec.settings.bytes_per_batch)
    with bucket.writer(places.batches(piece)) as lines:
        for batch in batches:
            lines.write(batch.line())
