"""State `Cut Shards`: one cut of the corpus becomes pieces and their index as objects, and counts as an item."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Lease, Leases
from bulk_inference.core.model_families import family_named
from bulk_inference.core.names import cut_part, own_scope
from bulk_inference.core.ports import Bucket, Executions, Put, Runs, Writer
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import Item, cut_sk, run_pk
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import load_spec
from bulk_inference.core.times import expiry
from bulk_inference.corpus.formats import CSV
from bulk_inference.corpus.ranges import Cut
from bulk_inference.corpus.reader import CorpusBucket, part_rows
from bulk_inference.cut.cutting import ClaimedElsewhere, PieceSink, cut_records
from bulk_inference.ledger import claims
from bulk_inference.ledger.rival_claims import RivalClaims
from bulk_inference.render.media import MediaPlaces
from bulk_inference.render.records import RecordReader
from bulk_inference.render.rendering import renderer_for

_NO_END: Final = 1 << 62

_CUTTERS: Final = 4
"""Pieces whose batches are cut at once: most of the time of a small one is waiting for S3."""


def record_reader(spec: RunSpec, reach: Reach) -> RecordReader:
    """How lines of this run become records."""
    places = MediaPlaces(spec.source.bucket, reach)
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
        api=spec.model.api,
        batch=spec.mode == "batch",
        reach=reach,
        record_form=spec.source.record_form,
    )


@dataclass(frozen=True)
class CutServices:
    input_bucket: Bucket
    output_bucket: Bucket
    source_bucket: Callable[[str], CorpusBucket]
    """By name."""
    runs: Runs
    ledger: claims.ClaimStore
    executions: Executions
    settings: Settings
    now: float
    """Epoch seconds."""
    leases: Leases


def cut_run(run: str, tenant: str, cut: Cut, services: CutServices) -> dict[str, Any]:
    """Cuts once: a cut that has its item answers from there, whatever other runs have claimed since.

    Raises WorkInProgressError while another worker cuts it.
    """
    with services.leases.hold(run, cut_part(cut.cut)) as lease:
        done = services.runs.get(run_pk(run), cut_sk(cut.cut))
        return _answer(done or _cut(run, tenant, cut, services, lease))


def _cut(run: str, tenant: str, cut: Cut, services: CutServices, lease: Lease) -> Item:
    """Its item, as committed. The pieces of a worker that was frozen have names of their own, which no item names."""
    places = Places(tenant, run)
    lease.withdraw([cut_part(cut.cut)], lambda part: services.output_bucket.empty(places.failures(part)))
    spec = load_spec(services.input_bucket, places)
    reach = Reach(services.settings, tenant, services.input_bucket.name)
    _require_own(cut, spec, reach)
    corpus = services.source_bucket(spec.source.bucket)
    with _CutFiles(services.input_bucket, services.output_bucket, places, lease.part(cut_part(cut.cut))) as files:
        count = cut_records(
            cut,
            spec.source.bucket,
            lambda part: part_rows(corpus, part, spec.source, spec.limits.max_line_bytes),
            record_reader(spec, reach),
            files,
            max_records=spec.limits.max_records_per_shard,
            max_bytes=spec.limits.max_bytes_per_shard,
            claimed_elsewhere=_claimed_elsewhere(spec, services),
            piece_name=lease.part,
        )
    item = {
        "pk": run_pk(run),
        "sk": cut_sk(cut.cut),
        "expires_at": expiry(spec, services.now),
        "failures": files.failures_key,
        **count.to_json(),
    }
    lease.commit(Put(item), last=True)
    return item


def _require_own(cut: Cut, spec: RunSpec, reach: Reach) -> None:
    """The cut came as an argument: whoever made it, it reads what the tenant may. Raises InvalidRequestError."""
    for part in cut.parts:
        if (why := reach.planned_refusal(spec.source.bucket, part.key)) is not None:
            raise InvalidRequestError(f"cut {cut.cut} of run {spec.run} names an object that it may not read: {why}")


def _answer(item: Item) -> dict[str, Any]:
    counts = {name: item[name] for name in ("cut", "pieces", "read", "accepted", "rejected", "duplicate")}
    return {**counts, "failures": item.get("failures")}


def _claimed_elsewhere(spec: RunSpec, services: CutServices) -> ClaimedElsewhere | None:
    """None where the scope is the run's own: no other run can have claimed there.

    A claim that nobody will honour any more does not count, nor one of which that cannot be told yet: whether such a
    record lands here is decided when it is landed.
    """
    if spec.scope == own_scope(spec.run):
        return None
    stands = RivalClaims(
        spec.tenant,
        spec.run,
        output=services.output_bucket,
        runs=services.runs,
        executions=services.executions,
        leases=None,
    )

    def look_up(record_ids: Sequence[str]) -> Collection[str]:
        claimed = claims.current_claims(services.ledger, spec.tenant, spec.scope, record_ids, now=int(services.now))
        return {
            record_id
            for record_id, one in claimed.items()
            if one.run != spec.run and stands(one) is claims.ClaimStanding.HELD
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
        self._piece = PieceFiles(self._input.creator, self._places.shard(piece), self._places.index(piece))
        return self._piece

    def write_failure(self, line: bytes) -> None:
        if self._failures is None:
            self.failures_key = self._places.failures(self._part)
            self._failures = self._stack.enter_context(self._output.creator(self.failures_key))
        self._failures.write(line)


class PieceFiles:
    """A piece as two objects, its shard and its index; both become visible at close()."""

    def __init__(self, write: Callable[[str], Writer], shard_key: str, index_key: str) -> None:
        """`write` begins an object (ports.Bucket)."""
        self._files = ExitStack()
        self._shard = self._files.enter_context(write(shard_key))
        self._index = self._files.enter_context(write(index_key))

    def write(self, shard_line: bytes, index_line: bytes) -> None:
        self._shard.write(shard_line)
        self._index.write(index_line)

    def close(self) -> None:
        self._files.close()

    def abort_on_error(self, *failure: Any) -> None:
        """As a context's exit: an exception aborts what close() has not closed."""
        if failure[0] is not None:
            self._files.__exit__(*failure)
