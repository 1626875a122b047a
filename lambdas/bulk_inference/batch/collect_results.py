"""Collecting a shard's results: what each record of one attempt came to, whatever became of its job.

Every terminal status is treated alike: the lines that are there are landed or quarantined, and the records that no
line speaks of are *unprocessed*. These go to the next attempt if they make a job, else to the sync way.

How odd lines are decided:

* a line that is no JSON object, or has neither output nor error, is *undecodable*: its record stays unprocessed;
* a second line of one recordId is *doubled*: the first one counts;
* a recordId that was not sent is *foreign*: ignored;
* a manifest that contradicts the lines is noted: the lines count.

Memory holds the shard's index lines, the ids seen, and one chunk of output. A shard that outlasts the function goes on
in a further segment, with parts of its own, from the byte at which the last one stopped.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bulk_inference.core.backoff import DeadlineBackoff
from bulk_inference.core.errors import (
    InvalidRequestError,
    JobNotTerminalError,
    ShardFailedError,
    ThrottledError,
    UnitFailedError,
)
from bulk_inference.core.failure_line import SCHEMA, UNPROCESSED, VALIDATION, Failure, class_of_line
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.jobs import Job
from bulk_inference.core.leases import Lease
from bulk_inference.core.names import Attempt, sent_as, sync_unit
from bulk_inference.core.result_line import Usage, encode, parse, parse_id, split, text_of, usage_of
from bulk_inference.core.runs_table import JOBS, run_pk
from bulk_inference.cut.item_batches import ItemBatch
from bulk_inference.land.landing import Owner, PartStream, land
from bulk_inference.land.lane_messages import deliver
from bulk_inference.land.late_outcomes import mark_if_run_ended
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.land.units import Counts, Unit, broken, describe, tally

CHUNK_LINES: Final = 1000
CHUNK_BYTES: Final = 8 * 1024 * 1024

RESERVE_SECONDS: Final = 120.0
RESERVE_SHARE: Final = 0.2
"""What is left of the function's time, at most and as a share of it, when it stops reading: enough to close parts, or
to write the next attempt."""

_NOT_PROCESSED: Final = "no attempt brought a line of this record"

OUTPUT_SECONDS: Final = 600.0
"""How long after a job's end its output may still be on its way."""

_MANIFEST_TRIES: Final = 3
_MANIFEST_PAUSE: Final = 2.0


@dataclass(frozen=True)
class ShardTask:
    """State of one child of Submit Shards."""

    run: str
    tenant: str
    attempt: int
    shard: str
    piece: str
    """The piece that the first attempt reads."""
    job: Mapping[str, Any]
    """`{"jobName", "jobArn", "status"}`, or `{"Error", "Cause"}` of the task that should have brought it."""
    state: Mapping[str, Any]
    """The whole event."""
    segment: int = 1

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "ShardTask":
        return cls(
            run=event["run"],
            tenant=event["tenant"],
            attempt=int(event["attempt"]),
            shard=event["shard"]["shard"],
            piece=event["shard"]["piece"],
            job=event.get("job") or {},
            state=event,
            segment=int(event.get("segment", 1)),
        )

    @property
    def unit(self) -> str:
        return Attempt(self.shard, self.attempt).name


def input_piece(shard: str, piece: str, attempt: int, before: Mapping[str, Any] | None) -> str:
    """The piece that an attempt reads: the shard as cut, then the file of the records that were left over, as the item
    of the attempt before names it; None: that is gone, or an older bundle's."""
    if attempt == 1:
        return piece
    named = None if before is None else before.get("nextPiece")
    return str(named or Attempt(shard, attempt).name)


def collect(task: ShardTask, unit_context: UnitContext) -> dict[str, Any]:
    """Lands what one job left: `{"next": done | submit | infer | collect, "counts", …}`, of which next_state makes the
    child's next state. Holds no text of records.

    Raises JobNotTerminalError, ShardFailedError (nothing was processed: all records are accounted for as failed),
    UnitFailedError (too many failed, after landing), ThrottledError.
    """
    with unit_context.leases.hold(task.run, task.unit) as lease:
        unit = unit_context.begun(lease)
        if unit is not None and unit.settled:
            return _conclude(task, unit_context, unit)
        try:
            if unit is None or not unit.drained:
                job, refusal = _find_job(task, unit_context)
                unit = _Collection(task, unit_context, lease, job, unit).run(refusal)
            if not unit.settled:
                unit = _deliver(unit, unit_context, lease)
            return _conclude(task, unit_context, unit)
        finally:
            mark_if_run_ended(task.run, task.tenant, task.unit, unit_context.runs, unit_context.expires_at)


def _deliver(unit: Unit, unit_context: UnitContext, lease: Lease) -> Unit:
    """Sends the messages of failures that are committed; with the last of them the unit is settled."""
    if unit.unsent:
        if not deliver(unit.unsent, unit_context, lambda part: ()):
            if unit.drained:
                raise ThrottledError(f"unit {unit.unit}: the queue has not accepted all messages of failed records")
            return unit
        unit = replace(unit, unsent=[])
        if not unit.drained:
            return unit_context.commit(lease, unit)
    return unit_context.commit(lease, replace(unit, settled=True), last=True) if unit.drained else unit


def _find_job(task: ShardTask, unit_context: UnitContext) -> tuple[Job | None, str | None]:
    """The terminal job, or why there is none: Bedrock's refusal, or None for a job that was never made."""
    known = unit_context.runs.get(run_pk(task.run), f"{JOBS}{task.unit}") or {}
    arn, name = known.get("jobArn") or task.job.get("jobArn"), known.get("jobName")
    job = unit_context.jobs.get(arn) if arn else unit_context.jobs.find(name) if name else None
    if job is not None and not job.terminal:
        raise JobNotTerminalError(f"job {job.name} is {job.status}")
    if job is None and task.job.get("Error") == "JobRejectedError":
        return None, _cause(task.job.get("Cause"))
    return job, None


def _cause(cause: Any) -> str:
    """errorMessage of a Lambda error's Cause, which is JSON."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (TypeError, ValueError, KeyError):
        return str(cause)


class _LedgerBusyError(Exception):
    """There is no time left to wait for a throttled ledger. Of the chunk, nothing but claims has been written."""


@dataclass
class _Seen:
    """What one chunk of output lines comes to."""

    successes: list[tuple[Pointer, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    undecodable: int = 0
    foreign: int = 0
    doubled: int = 0
    unfit: Usage = field(default_factory=Usage)
    """Tokens of answers that do not fit the run's schema."""


class _Collection:
    """One invocation's work on one attempt."""

    def __init__(
        self, task: ShardTask, unit_context: UnitContext, lease: Lease, job: Job | None, before: Unit | None
    ) -> None:
        self.task = task
        self.unit_context = unit_context
        self.lease = lease
        self.job = job
        earlier = Attempt(task.shard, task.attempt - 1).name
        self.earlier = None if task.attempt == 1 else unit_context.unit(earlier)
        piece = None if self.earlier is None else {"nextPiece": self.earlier.next_piece}
        self.piece = input_piece(task.shard, task.piece, task.attempt, piece)
        self.index, lines = self._read_index()
        self.seen: set[str] = set()
        self.reserve = min(RESERVE_SECONDS, RESERVE_SHARE * unit_context.clock.remaining())
        self.unit = before or Unit(
            unit=task.unit,
            kind="job",
            pieces={task.shard: Counts(sent=lines, duplicate=lines - len(self.index))},
            attempt=task.attempt,
            job_arn=job.arn if job else None,
            status=job.status if job else None,
            spent=self._spent_before() + int(job is None or job.status != "Stopped"),
        )

    def _spent_before(self) -> int:
        """Runs are aborted and redriven as often as their owner likes: that must not use up the attempts."""
        return self.task.attempt - 1 if self.earlier is None else self.earlier.spent

    def run(self, refusal: str | None) -> Unit:
        """Works on until done or out of time; the unit as committed."""
        places, output = self.unit_context.places, self.unit_context.output
        part = Attempt(self.task.shard, self.task.attempt).part(self.unit.segment)
        with (
            PartStream(output, lambda: places.results(self.lease.part(part))) as results,
            PartStream(output, lambda: places.failures(self.lease.part(part))) as failures,
            PartStream(output, lambda: places.outbox(self.lease.part(part))) as messages,
        ):
            self.results, self.failures, self.messages = results, failures, messages
            finished = self._stream()
            if finished:
                self._settle(refusal)
        unit = replace(
            self.unit,
            results=self.unit.results + results.parts,
            failures=self.unit.failures + failures.parts,
            unsent=self.unit.unsent + ([self.lease.part(part)] if messages.parts else []),
            drained=finished,
            segment=self.unit.segment + int(not finished),
        )
        if finished and not unit.unsent:
            return self.unit_context.commit(self.lease, replace(unit, settled=True), last=True)
        return self.unit_context.commit(self.lease, unit)

    def _read_index(self) -> tuple[dict[str, bytes], int]:
        """Index lines by recordId, in the shard's order, and how many lines there are."""
        index: dict[str, bytes] = {}
        lines = 0
        for raw, _ in split(self.unit_context.input.read(self.unit_context.places.index(self.piece))):
            if raw.strip():
                index.setdefault(json.loads(raw)["recordId"], raw)
                lines += 1
        return index, lines

    def _pointer(self, record_id: str) -> Pointer:
        return Pointer.from_json(json.loads(self.index[record_id]))

    # Output lines.

    def _stream(self) -> bool:
        """Lands the output from where the last segment stopped; whether it came to the end."""
        begun = self.unit.output_offset
        for chunk, position in _chunks(self._output_lines()):
            if position <= begun:
                self._recall(chunk)
                continue
            try:
                self._land(chunk, position)
            except _LedgerBusyError as error:
                if self.unit.output_offset == begun:
                    raise ThrottledError(str(error)) from error
                return False
            if self.unit_context.clock.remaining() < self.reserve:
                return False
        return True

    def _output_lines(self) -> Iterator[tuple[bytes, int]]:
        if self.job is None:
            return iter(())
        prefix = f"{self.unit_context.places.job_output(self.task.shard, self.task.attempt)}{self.job.id}/"
        key = f"{prefix}{self.piece}.jsonl.out"
        found = self.unit_context.output.find(key)
        if found is None:
            self._expect_output(self.job)
            self._recall_parts()
            return iter(())
        if self.unit.output_etag not in (None, found.etag):
            raise InvalidRequestError(
                f"s3://{self.unit_context.output.name}/{key} has changed since a part of it was collected: nothing but "
                "Bedrock may write there; start a new run over the records that this one leaves pending"
            )
        self.unit = replace(self.unit, output_etag=found.etag)
        return split(self.unit_context.output.read(key, etag=found.etag))

    def _recall_parts(self) -> None:
        """Where the output is gone of which earlier segments have landed a part: ids of their own lines. Duplicates
        left no line: they are found again where their records go now."""
        if not self.unit.output_offset:
            return
        for part in self.unit.results + self.unit.failures:
            for raw, _ in split(self.unit_context.output.read(part.key)):
                if (caller_id := parse_id(raw)) is not None:
                    self.seen |= set(sent_as(caller_id)) & self.index.keys()
        again = self.unit.counts.duplicate - (self.unit.counts.sent - len(self.index))
        self._count(Counts(duplicate=-again))

    def _expect_output(self, job: Job) -> None:
        """AWS does not say that the output is there when the status is: a job that should have some is given time.

        Taken for empty, its records would all be paid for again. Raises JobNotTerminalError.
        """
        young = job.ended_at is not None and self.unit_context.clock.now() - job.ended_at < OUTPUT_SECONDS
        if young and job.processed != 0 and job.status in ("Completed", "PartiallyCompleted"):
            raise JobNotTerminalError(f"job {job.name} is {job.status}, and its output is not there yet")

    def _recall(self, chunk: list[bytes]) -> None:
        """Ids of lines that an earlier segment has landed."""
        for raw in chunk:
            line = parse(raw)
            if line is not None and line.record_id in self.index:
                self.seen.add(line.record_id)

    def _land(self, chunk: list[bytes], position: int) -> None:
        found = self._sort(chunk)
        clock = self.unit_context.clock
        try:
            landed = land(
                found.successes,
                owner=Owner.of(self.lease),
                spec=self.unit_context.spec,
                ledger=self.unit_context.ledger,
                patience=DeadlineBackoff(clock, 0.5 * self.reserve),
                now=clock.now(),
                stands=self.unit_context.stands,
            )
        except ThrottledError as error:
            raise _LedgerBusyError(str(error)) from error
        self.results.write(landed.lines)
        self._quarantine(found.failures)
        self._count(
            Counts(
                landed=len(landed.lines),
                duplicate=len(landed.lost),
            )
            + Counts.of(landed.usage + found.unfit)
        )
        self.unit = replace(
            self.unit,
            output_offset=position,
            undecodable=self.unit.undecodable + found.undecodable,
            foreign=self.unit.foreign + found.foreign,
            doubled=self.unit.doubled + found.doubled,
        )

    def _sort(self, chunk: list[bytes]) -> _Seen:
        found = _Seen()
        for raw in chunk:
            if not raw.strip():
                continue
            line = parse(raw)
            if line is None:
                found.undecodable += 1
            elif line.record_id not in self.index:
                found.foreign += 1
            elif line.record_id in self.seen:
                found.doubled += 1
            else:
                self.seen.add(line.record_id)
                pointer = self._pointer(line.record_id)
                if line.failed:
                    kind = class_of_line(line.error_code, line.error_message)
                    found.failures.append(
                        Failure(pointer, kind, line.error_code, line.error_message, self.task.attempt)
                    )
                else:
                    self._judge(pointer, line.output, found)
        return found

    def _judge(self, pointer: Pointer, output: Any, found: _Seen) -> None:
        judged = self.unit_context.judge(output)
        if judged.error_class is None:
            found.successes.append((pointer, judged.output))
            return
        found.unfit += usage_of(output)
        code, message = judged.error_code or "", judged.error_message or ""
        found.failures.append(Failure(pointer, judged.error_class, code, message, self.task.attempt, text_of(output)))

    # What is left over.

    def _settle(self, refusal: str | None) -> None:
        """Decides on the records that no line speaks of."""
        unprocessed = [record_id for record_id in self.index if record_id not in self.seen]
        self._check_manifest()
        failed_whole = self.job is not None and self.job.status == "Failed" and not self.seen and not self.job.processed
        if refusal is not None or failed_whole:
            self._refuse(unprocessed, refusal)
            return
        following = self._following(unprocessed)
        status = self.unit.status or "NoJob"
        self._quarantine(
            Failure(self._pointer(record_id), UNPROCESSED, status, _NOT_PROCESSED, self.task.attempt)
            for record_id in (unprocessed if following == "done" else ())
        )
        self._count(Counts(unprocessed=0 if following == "done" else len(unprocessed)))
        next_unit = next_piece = None
        if following == "submit":
            next_unit = Attempt(self.task.shard, self.task.attempt + 1).name
            next_piece = self.lease.part(next_unit)
            self._write_next_attempt(next_piece, set(unprocessed))
        elif following == "infer":
            next_unit, next_piece = sync_unit(self.task.unit), self.lease.part(rest_piece(self.task))
            rest = b"".join(self.index[record_id] + b"\n" for record_id in unprocessed)
            self.unit_context.input.create(self.unit_context.places.index(next_piece), rest)
        self.unit = replace(self.unit, next=following, next_unit=next_unit, next_piece=next_piece)

    def _following(self, unprocessed: list[str]) -> str:
        """Where the unprocessed records go; `done`: they have had all their chances."""
        spec = self.unit_context.spec
        if unprocessed and len(unprocessed) < spec.quotas.min_records_per_job.value:
            return "infer"
        return "submit" if unprocessed and self.unit.spent < spec.limits.max_attempts else "done"

    def _refuse(self, unprocessed: list[str], refusal: str | None) -> None:
        """Accounts for every record as failed. The failure lane gets none of them: it would try them unchanged."""
        said = self.job.message if self.job is not None else None
        message = refusal if refusal is not None else (said or "Bedrock gave no message")
        code = "JobRejected" if refusal is not None else "JobFailed"
        batch = (Failure(self._pointer(one), VALIDATION, code, message, self.task.attempt) for one in unprocessed)
        self._quarantine(batch, queue=False)
        self.unit = replace(self.unit, next="fail")

    def _write_next_attempt(self, piece: str, wanted: set[str]) -> None:
        """The left-over lines as a shard of their own, byte for byte, with an index of the same order."""
        places = self.unit_context.places
        offsets = {Pointer.from_json(json.loads(self.index[one])).offset: one for one in wanted}
        with (
            PartStream(self.unit_context.input, lambda: places.shard(piece)) as shard,
            PartStream(self.unit_context.input, lambda: places.index(piece)) as index,
        ):
            written = start = 0
            for line, end in split(self.unit_context.input.read(places.shard(self.piece))):
                record_id = offsets.get(start)
                start = end
                if record_id is not None:
                    shard.write([line + b"\n"])
                    index.write([encode(self._pointer(record_id).at(piece, written).to_json())])
                    written += len(line) + 1

    # Accounts.

    def _quarantine(self, failures: Iterable[Failure], *, queue: bool = True) -> None:
        """Failure lines, and messages to be sent once they are committed."""
        for batch in _batches(failures):
            self.failures.write(failure.line(self.unit_context.spec.source.bucket) for failure in batch)
            if queue:
                self.messages.write(encode(self._message(failure)) for failure in batch)
            self.unit = replace(self.unit, errors=tally(self.unit.errors, batch))
            self._count(Counts(failed=len(batch)))

    def _message(self, failure: Failure) -> dict[str, Any]:
        task = self.task
        return failure.message(task.run, task.tenant, task.unit, task.shard, failure.pointer.to_json())

    def _count(self, counts: Counts) -> None:
        self.unit = replace(self.unit, pieces={self.task.shard: self.unit.pieces[self.task.shard] + counts})

    def _check_manifest(self) -> None:
        """Notes where the job's manifest says otherwise than its lines.

        It may appear after the job's status; AWS does not say when, so it is waited for a little.
        """
        if self.job is None or not self.seen:
            return
        key = (
            f"{self.unit_context.places.job_output(self.task.shard, self.task.attempt)}{self.job.id}/manifest.json.out"
        )
        manifest = self.unit_context.output.get_json(key)
        for _ in range(_MANIFEST_TRIES - 1):
            if manifest is not None:
                break
            self.unit_context.clock.sleep(_MANIFEST_PAUSE)
            manifest = self.unit_context.output.get_json(key)
        # To Bedrock, an answer that does not fit the run's schema is a success.
        unfit = sum(kind.count for kind in self.unit.errors if kind.error_class == SCHEMA)
        failed = self.unit.counts.failed - unfit
        self.unit = replace(self.unit, contradictions=_contradictions(manifest, len(self.seen) - failed, failed))


def _contradictions(manifest: Any, successes: int, errors: int) -> list[str]:
    if not isinstance(manifest, Mapping):
        return ["the job has no manifest"]
    found = {"successRecordCount": successes, "errorRecordCount": errors}
    return [
        f"{name} is {manifest[name]}, its lines say {value}"
        for name, value in found.items()
        if isinstance(manifest.get(name), int) and manifest[name] != value
    ]


def rest_piece(task: ShardTask) -> str:
    """Whose index holds the records that go the sync way from here; their bodies stay where they are."""
    return Attempt(task.shard, task.attempt).rest


def _conclude(task: ShardTask, unit_context: UnitContext, unit: Unit) -> dict[str, Any]:
    """What is to be done next, out of a stored unit: the same for the first try and for every later one."""
    where = f"shard {task.shard}, attempt {task.attempt}"
    counts = unit.counts
    if unit.next == "fail":
        raise ShardFailedError(
            f"{where}: {counts.failed} records failed with their job ({unit.status or 'refused'}): what Bedrock "
            "said is in its failure lines"
        )
    tolerated = unit_context.spec.settings.tolerated_failure_percentage
    if (
        unit.settled
        and broken(counts, 0, tolerated)
        and (why := broken(counts, unit_context.late(task.unit), tolerated))
    ):
        raise UnitFailedError(f"{where}: {why}; {describe(unit)}")
    return {
        "next": unit.next if unit.settled else "collect",
        "counts": counts.to_json(),
        "segment": unit.segment,
        "nextUnit": unit.next_unit,
        "nextPiece": unit.next_piece,
        "job": {"jobArn": unit.job_arn, "status": unit.status},
    }


def next_state(task: ShardTask, unit_context: UnitContext, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The child's next state: `next` says where it goes, and the event of that state is in it."""
    state: dict[str, Any] = {
        **{key: value for key, value in task.state.items() if key not in ("segment", "remainder")},
        "job": outcome["job"],
        "next": outcome["next"],
        "counts": outcome["counts"],
    }
    if outcome["next"] == "collect":
        state["segment"] = outcome["segment"]
    elif outcome["next"] == "submit":
        state["attempt"] = task.attempt + 1
    elif outcome["next"] == "infer":
        state["remainder"] = {
            "BatchInput": {
                "run": task.run,
                "tenant": task.tenant,
                "unit": outcome["nextUnit"],
                "piece": task.shard,
                "attempt": task.attempt + 1,
            },
            "Items": [_remainder(task, unit_context, outcome).to_json()],
        }
    return state


def _remainder(task: ShardTask, unit_context: UnitContext, outcome: Mapping[str, Any]) -> ItemBatch:
    """The records that are left over, as one item batch."""
    piece = outcome["nextPiece"] or rest_piece(task)
    found = unit_context.input.find(unit_context.places.index(piece))
    if found is None:
        raise ThrottledError(f"the index of {piece} was written, and is not there yet")
    return ItemBatch(task.unit, piece, 0, found.size, outcome["counts"]["unprocessed"])


def _chunks(lines: Iterable[tuple[bytes, int]]) -> Iterator[tuple[list[bytes], int]]:
    """Lines in chunks bounded by number and bytes, each with the position of the first byte after it.

    The bounds depend on the lines alone, so that every try cuts the same chunks.
    """
    chunk: list[bytes] = []
    size = position = 0
    for line, position in lines:
        chunk.append(line)
        size += len(line)
        if len(chunk) == CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk, position
            chunk, size = [], 0
    if chunk:
        yield chunk, position


def _batches(failures: Iterable[Failure]) -> Iterator[list[Failure]]:
    batch: list[Failure] = []
    for failure in failures:
        batch.append(failure)
        if len(batch) == CHUNK_LINES:
            yield batch
            batch = []
    if batch:
        yield batch
