"""State `Seal Shards`: pieces become legal shards, tails are merged, what goes on demand is cut into item batches."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bulk_inference.core import names
from bulk_inference.core.ceilings import refuse_larger, true_tokens
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.ports import Bucket, Put, Runs
from bulk_inference.core.rejections import RowCount, merged, of_item, refuse_excess
from bulk_inference.core.result_line import split
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import CUTS, Item, run_pk
from bulk_inference.core.stored_run import load_spec
from bulk_inference.core.times import expiry
from bulk_inference.corpus.jsonl_rows import lines_of_range
from bulk_inference.corpus.rows import Row
from bulk_inference.cut import item_batches, sealing
from bulk_inference.cut.cut_run import _CUTTERS, _NO_END, PieceFiles
from bulk_inference.cut.cutting import PieceCount
from bulk_inference.ledger import claims

_ITEMS_TOGETHER = 50
"""Of a transaction, which takes 100."""


@dataclass(frozen=True)
class SealServices:
    input_bucket: Bucket
    runs: Runs
    now: float
    """Epoch seconds."""
    leases: Leases


def seal_run(run: str, tenant: str, services: SealServices) -> dict[str, Any]:
    """Makes the cuts' pieces into batch shards and sync pieces: files, `plan/jobs.jsonl`, item batches, one item each.

    A second call makes the same: all follows from the cuts' items, which are written once, so that a worker that was
    frozen writes again what lies there. Raises InvalidRequestError when a cut has no counts, or the run turns out
    larger than its limits: nothing has been submitted by then; WorkInProgressError while another worker seals.
    """
    with services.leases.hold(run, "seal") as lease:
        return _seal(run, tenant, services, lease)


def _seal(run: str, tenant: str, services: SealServices, lease: Lease) -> dict[str, Any]:
    bucket, places = services.input_bucket, Places(tenant, run)
    spec = load_spec(bucket, places)
    cuts = list(services.runs.query(run_pk(run), CUTS))
    sealing.require_all_cuts(run, spec.cuts.count, cuts)
    _refuse_rejected(spec, cuts)
    pieces = sealing.pieces_of(cuts)
    records, size = sum(piece.records for piece in pieces), sum(piece.bytes for piece in pieces)
    refuse_larger(spec.limits, records, true_tokens(spec.estimate, records, size), "counted by cutting", exact=True)
    plan = sealing.seal(
        pieces,
        spec.mode,
        min_records=spec.limits.min_records_per_shard,
        max_records=spec.limits.max_records_per_shard,
        max_bytes=spec.limits.max_bytes_per_shard,
    )
    merged = [_merge(names.merged_piece(n), group, bucket, places) for n, group in enumerate(plan.merges, 1)]
    legal = [one for one in merged if one.records >= spec.limits.min_records_per_shard]
    batch = [*plan.kept, *(PieceCount(one.piece, one.records, one.bytes) for one in legal)]
    # Duplicates between merged pieces may leave less than a job's minimum.
    sync = [*plan.sync, *(PieceCount(one.piece, one.records, one.bytes) for one in merged if one not in legal)]
    # A try whose time ran out leaves whole files: the next one goes on where it ended, so that no run is too large.
    done = {one.key for one in bucket.list(places.sync_prefix)}
    due = [piece.piece for piece in sync if places.batches(piece.piece) not in done]
    with ThreadPoolExecutor(_CUTTERS, "batches") as pool:
        for _ in pool.map(lambda piece: _cut_batches(piece, spec, bucket, places), due):
            pass
    duplicates = {one.piece: one.duplicate for one in merged}
    expires_at = expiry(spec, services.now)

    def item(shard: str, mode: str, piece: PieceCount) -> Put:
        duplicate = duplicates.get(piece.piece, 0)
        return Put(sealing.shard_item(run, shard, mode, piece, expires_at=expires_at, duplicate=duplicate))

    numbered = [(names.shard(number), piece) for number, piece in enumerate(batch, 1)]
    with bucket.writer(places.jobs) as jobs:
        for shard, piece in numbered:
            jobs.write(sealing.job_line(shard, piece))
    items = [item(shard, "batch", piece) for shard, piece in numbered]
    items += [item(piece.piece, "sync", piece) for piece in sync]
    for some in claims.chunked(items, _ITEMS_TOGETHER):
        lease.commit(*some)
    return {
        "batch": {"key": places.jobs, "shards": len(batch), "records": sum(piece.records for piece in batch)},
        "sync": {
            "bucket": bucket.name,
            "prefix": places.sync_prefix,
            "records": sum(piece.records for piece in sync),
            "pieces": len(sync),
        },
    }


def _refuse_rejected(spec: RunSpec, cuts: Sequence[Item]) -> None:
    told = [of_item(item) for item in cuts]
    refuse_excess(
        sum((read for read, _ in told), RowCount()),
        merged(kind for _, kinds in told for kind in kinds),
        sum(item["accepted"] + item["duplicate"] for item in cuts),
        spec.limits.tolerated_rejected_percentage,
        "counted by cutting; the rejected rows lie in failures/ of the run",
    )


def _merge(name: str, group: Sequence[PieceCount], bucket: Bucket, places: Places) -> sealing.MergedShards:
    def lines(key: str) -> Iterator[Row]:
        # Nothing that a run writes itself is longer than it may be: no limit but the object's end.
        return lines_of_range(bucket.read(key), 0, _NO_END, _NO_END)

    sources = ((lines(places.shard(piece.piece)), lines(places.index(piece.piece))) for piece in group)
    files = PieceFiles(bucket.writer, places.shard(name), places.index(name))
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
