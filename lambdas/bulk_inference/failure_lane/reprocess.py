"""The failure lane: one failed record, inferred on demand once more, claimed and landed.

A record that lands here was counted as failed by its unit. The item LATE#… says that it left that state, so that the
run's sums still hold.

What becomes of a message:

* it lands, or its record is settled already: it is gone;
* Bedrock throttles, or another worker is at the record: a fresh copy is put back for later and this one is gone, so
  that waiting costs none of the message's receives. After MOST_POSTPONEMENTS a throttle is a failure like any other;
* the record fails in a way that may pass (failures.CLASSES): it comes back after a pause, and after the last receive
  SQS puts it into the dead-letter queue;
* the record fails in a way that no other try changes, or the message cannot be read: it is *held*, that is, put into
  the dead-letter queue at once. If an operator sends it back from there, it is tried once.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bulk_inference.core.backoff import FIRST_PAUSE, LONGEST_PAUSE, MOST_POSTPONEMENTS, DeadlineBackoff
from bulk_inference.core.errors import InvalidRequestError, ThrottledError, WorkInProgressError
from bulk_inference.core.failure_line import MESSAGE_VERSION, SCHEMA, Failure, class_of_outcome, retryable
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.json_text import loads
from bulk_inference.core.leases import Lease
from bulk_inference.core.names import lane_unit, same_records
from bulk_inference.core.ports import Clock, ConditionalPut, Lane, Outcome, Put
from bulk_inference.core.result_line import Usage, extract, split
from bulk_inference.core.runs_table import late_sk, run_pk, unfit_sk
from bulk_inference.land.landing import LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE, Owner, give_back, land
from bulk_inference.land.late_outcomes import digest, landed, late_attributes, left_over, mark_stale
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.land.units import Late

LONGEST_CALL_SECONDS: Final = 300
"""How long a model may take for one record here; as long as in infer_batch."""

CALL_SHARE: Final = 0.75
LANDING_SHARE: Final = 0.1
"""Of the function's time: what a call may take, and what is left to land its answer."""


def longest_call(seconds: float) -> int:
    """Seconds that one call may take in an invocation of so many: it must end, and its answer be landed, before the
    function does. A call is not tried again by the SDK: its message comes again."""
    return max(1, min(LONGEST_CALL_SECONDS, int(CALL_SHARE * seconds)))


class RecordFailedError(Exception):
    """The record failed again, in a way that may pass. Text of records is not in it."""

    def __init__(self, message: str, error_class: str, error_code: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.error_code = error_code


class NonRetryableRecordError(RecordFailedError):
    """The record failed in a way that another try does not change."""


@dataclass(frozen=True)
class LaneMessage:
    """Body of a message of the reprocess queues."""

    run: str
    tenant: str
    unit: str
    piece: str
    record_id: str
    item: Mapping[str, Any]
    error_class: str
    error_code: str
    body: Mapping[str, Any]
    """As received."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "LaneMessage":
        """Raises ValueError on a message of another version, KeyError on one that lacks a member."""
        if body.get("version") != MESSAGE_VERSION:
            raise ValueError(f"message version {body.get('version')!r} is not {MESSAGE_VERSION}")
        # Messages hold pointers alone: a whole record in one was not put there by the pipeline.
        if Pointer.from_json(body["item"]).body is not None:
            raise ValueError("item holds no pointer")
        return cls(
            run=body["run"],
            tenant=body["tenant"],
            unit=body["unit"],
            piece=body["piece"],
            record_id=body["recordId"],
            item=body["item"],
            error_class=body["errorClass"],
            error_code=str(body.get("errorCode", "")),
            body=body,
        )

    @property
    def digest(self) -> str:
        """The same record failed by the same unit: the same message, however often it was sent."""
        return digest(self.run, self.unit, self.record_id)

    @property
    def held(self) -> bool:
        """It has been in the dead-letter queue, and somebody sent it back."""
        return bool(self.body.get("held"))

    @property
    def attempt(self) -> int:
        return int(self.body.get("attempt", 1))

    @property
    def postponed(self) -> int:
        return int(self.body.get("postponed", 0))


def reprocess(message: LaneMessage, unit_context: UnitContext) -> str:
    """Lands the record: `landed`, `duplicate` (another unit owns it) or `settled` (done before, or dropped).

    Raises RecordFailedError, NonRetryableRecordError, ThrottledError.
    """
    with unit_context.leases.hold(message.run, lane_unit(message.digest)) as lease:
        return _reprocess(message, unit_context, lease)


def _reprocess(message: LaneMessage, unit_context: UnitContext, lease: Lease) -> str:
    known = unit_context.runs.get(run_pk(message.run), late_sk(message.unit, message.digest))
    if known is not None:
        _withdraw(known, unit_context, lease)
        # Once more, because the worker that settled it may have died before it said so.
        _mark(message, unit_context, message.digest)
        return "settled"
    if not retryable(message.error_class) and not message.held:
        raise _failed(message, message.error_class, message.error_code)
    if (left := left_over(lease, unit_context.places, unit_context.output)) is not None:
        # A worker that died has landed it, and could not say so.
        return _note(message, unit_context, lease, landed(left))
    pointer, owner = _whole(Pointer.from_json(message.item), unit_context), _owner(message, lease)
    if unit_context.held_elsewhere(pointer.record_id, owner):
        return _note(message, unit_context, lease, late_attributes(Late.DUPLICATE, "", b"", Usage()))
    outcome = unit_context.call(pointer)()
    if outcome.error_class is not None:
        # What a dead worker has claimed must not shadow the record, whoever lands it in the end.
        give_back([pointer.record_id], owner, unit_context.spec, unit_context.ledger)
        raise _refused(message, unit_context, lease, pointer, outcome)
    clock = unit_context.clock
    reserve = min(LANDING_RESERVE_SECONDS, LANDING_RESERVE_SHARE * clock.remaining())
    owned = land(
        [(pointer, outcome.output)],
        owner=owner,
        spec=unit_context.spec,
        ledger=unit_context.ledger,
        patience=DeadlineBackoff(clock, reserve),
        now=clock.now(),
        stands=unit_context.stands,
    )
    body = b"".join(owned.lines)
    if not body:
        return _note(message, unit_context, lease, late_attributes(Late.DUPLICATE, "", b"", owned.usage))
    key = unit_context.places.results(lease.part(lease.unit))
    unit_context.output.create(key, body, "application/x-ndjson")
    return _note(message, unit_context, lease, late_attributes(Late.LANDED, key, body, owned.usage))


def _owner(message: LaneMessage, lease: Lease) -> Owner:
    """The record was its unit's, which has handed it on: what a worker of that has claimed too late is the lane's."""
    handed_on = f"{message.run}/{message.unit}"

    def inherits(mine: str, theirs: str) -> bool:
        return same_records((handed_on, theirs))

    return Owner(f"{lease.run}/{lease.unit}", lease.epoch, inherits)


def _withdraw(known: Mapping[str, Any], unit_context: UnitContext, lease: Lease) -> None:
    """What others than the one who settled the record have left of it is no result."""
    committed = {part["key"] for part in known.get("results", [])}

    def empty(part: str) -> None:
        if (key := unit_context.places.results(part)) not in committed:
            unit_context.output.empty(key)

    lease.withdraw([lease.unit], empty)


def _refused(
    message: LaneMessage, unit_context: UnitContext, lease: Lease, pointer: Pointer, outcome: Outcome
) -> Exception:
    """What a failed inference comes to."""
    if outcome.error_class == "throttled":
        return ThrottledError(f"record {message.record_id} of run {message.run}: {outcome.error_code}")
    text, code = outcome.error_message or "", outcome.error_code or ""
    kind = class_of_outcome(outcome.error_class or "", text)
    if outcome.output is not None:
        _keep(message, unit_context, lease, Failure(pointer, kind, code, text, message.attempt), outcome)
    if kind == message.error_class == SCHEMA:
        # Two answers in a row were of no use: a third would cost as much and hardly be better.
        return NonRetryableRecordError(f"record {message.record_id} of run {message.run}: {kind} {code}", kind, code)
    return _failed(message, kind, code)


def _whole(pointer: Pointer, unit_context: UnitContext) -> Pointer:
    """With what the message leaves out: values of the corpus that ride along to the result. They are in the record's
    index line, which lies beside its piece."""
    source = unit_context.spec.source
    if pointer.shard is None or not (source.carry or source.sequence_field):
        return pointer
    for raw, _ in split(unit_context.input.read(unit_context.places.index(pointer.shard))):
        line = json.loads(raw)
        if line["recordId"] == pointer.record_id:
            return replace(pointer, carry=line.get("carry"), sequence=line.get("sequence"))
    return pointer


def _keep(message: LaneMessage, unit_context: UnitContext, lease: Lease, failure: Failure, outcome: Outcome) -> None:
    """An answer that is of no use was paid for, and what it says tells why: its text is kept beside the failures, its
    tokens among the run's."""
    text, usage = extract(outcome.output)
    line = replace(failure, text=text).line(unit_context.spec.source.bucket)
    key = unit_context.places.unfit(message.digest)
    unit_context.output.replace(key, line, "application/x-ndjson", lease.check)
    pk, sk = run_pk(message.run), unfit_sk(message.unit, message.digest)
    known = unit_context.runs.get(pk, sk) or {}
    total, answers = Usage.from_json(known) + usage, int(known.get("answers", 0)) + 1
    item = {"pk": pk, "sk": sk, "expires_at": unit_context.expires_at, "answers": answers}
    lease.commit(Put({**item, **total.to_json(), "unknownUsage": total.unknown, "ends": total.ends}))
    _mark(message, unit_context, f"unfit {message.digest} {answers}")


def _note(message: LaneMessage, unit_context: UnitContext, lease: Lease, attributes: Mapping[str, Any]) -> str:
    """Writes down what became of the record, unless somebody else has."""
    item = {
        "pk": run_pk(message.run),
        "sk": late_sk(message.unit, message.digest),
        "expires_at": unit_context.expires_at,
        "unit": message.unit,
        "piece": message.piece,
        "recordId": message.record_id,
        "errorClass": message.error_class,
        **attributes,
    }
    lease.commit(ConditionalPut(item, "sk", None), last=True)
    _mark(message, unit_context, message.digest)
    return str(attributes["outcome"])


def _mark(message: LaneMessage, unit_context: UnitContext, mark: str) -> None:
    mark_stale(message.run, message.tenant, mark, unit_context.runs, unit_context.expires_at)


def _failed(message: LaneMessage, error_class: str, error_code: str) -> RecordFailedError:
    kind = RecordFailedError if retryable(error_class) else NonRetryableRecordError
    return kind(f"record {message.record_id} of run {message.run}: {error_class} {error_code}", error_class, error_code)


@dataclass(frozen=True)
class LaneDelivery:
    """One message as a queue gave it out."""

    body: str
    receipt: str
    receives: int
    """How often it has been given out, this time included."""


class LaneConsumer:
    """The messages of one invocation, one after the other."""

    def __init__(
        self,
        lane: Lane,
        clock: Clock,
        unit_context_of: Callable[[LaneMessage], UnitContext],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._lane = lane
        self._clock = clock
        self._unit_context_of = unit_context_of
        self._jitter = jitter
        self._reserve = longest_call(clock.remaining()) + LANDING_SHARE * clock.remaining()
        self._throttled: set[str] = set()
        """Models: after one throttle the rest of the batch does not ask again."""
        self._begun = False

    def settle(self, delivery: LaneDelivery) -> str:
        """`landed`, `duplicate`, `settled`, `postponed` or `held`: the message is done with.

        Raises RecordFailedError or WorkInProgressError for one that is to come back; when, has been said to the queue.
        """
        try:
            message = LaneMessage.from_json(loads(delivery.body))
        except (ValueError, KeyError, TypeError, AttributeError):
            # It says nothing of whether it has been held before.
            self._lane.hold(delivery.body, LONGEST_PAUSE)
            return "held"
        if self._begun and self._clock.remaining() < self._reserve:
            self._lane.postpone(delivery.body, 0)
            return "postponed"
        self._begun = True
        try:
            return self._try(message)
        except (ThrottledError, WorkInProgressError):
            # Waiting, be it for another worker, is nothing that should bring a good record nearer to the dead letters.
            if message.postponed < MOST_POSTPONEMENTS:
                return self._postpone(message)
            self._lane.back_off(delivery.receipt, _pause(delivery.receives))
            raise
        except NonRetryableRecordError as error:
            return self._hold(message, error.error_class, error.error_code)
        except InvalidRequestError:
            # Its run, or its shard, cannot be read: nothing that the record could change.
            return self._hold(message, message.error_class, message.error_code)
        except RecordFailedError:
            self._lane.back_off(delivery.receipt, _pause(delivery.receives))
            raise

    def _try(self, message: LaneMessage) -> str:
        unit_context = self._unit_context_of(message)
        model = unit_context.spec.model.invoke_id
        if model in self._throttled and (retryable(message.error_class) or message.held):
            raise ThrottledError(f"{model} has just been throttled")
        try:
            return reprocess(message, unit_context)
        except ThrottledError:
            self._throttled.add(model)
            raise

    def _postpone(self, message: LaneMessage) -> str:
        copy = {**message.body, "postponed": message.postponed + 1}
        # Spread over the pause's second half: what was throttled together must not come back together.
        pause = _pause(message.postponed + 1) * (0.5 + 0.5 * self._jitter())
        self._lane.postpone(json.dumps(copy, separators=(",", ":")), int(pause))
        return "postponed"

    def _hold(self, message: LaneMessage, error_class: str, error_code: str) -> str:
        copy = {**message.body, "held": True, "errorClass": error_class, "errorCode": error_code}
        # A move of all dead letters goes on until it finds none: it must not find at once what it has just moved.
        self._lane.hold(json.dumps(copy, separators=(",", ":")), LONGEST_PAUSE if message.held else 0)
        return "held"


def _pause(times: int) -> int:
    return int(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (times - 1)))
