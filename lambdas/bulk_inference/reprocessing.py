"""The failure lane: one failed record, inferred on demand once more, claimed and landed.

A record that lands here was counted as failed by its unit. The item LATE#… says that it left that state, so that the
run's sums still hold.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_inference.failures import MESSAGE_VERSION, class_of_outcome
from bulk_inference.landing import land, owner_of
from bulk_inference.pointers import Pointer, canonical
from bulk_inference.runs import late_sk, run_pk
from bulk_inference.units import Part
from bulk_inference.workshop import Workshop


class RecordFailedError(Exception):
    """The record failed again: its message goes back to the queue, and after the last try to the dead-letter queue."""


@dataclass(frozen=True)
class Message:
    """Body of a message of the reprocess queue."""

    run: str
    tenant: str
    unit: str
    piece: str
    record_id: str
    item: Mapping[str, Any]
    error_class: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Message":
        """Raises ValueError on a message of another version, KeyError on one that lacks a member."""
        if body.get("version") != MESSAGE_VERSION:
            raise ValueError(f"message version {body.get('version')!r} is not {MESSAGE_VERSION}")
        return cls(
            run=body["run"],
            tenant=body["tenant"],
            unit=body["unit"],
            piece=body["piece"],
            record_id=body["recordId"],
            item=body["item"],
            error_class=body["errorClass"],
        )

    @property
    def digest(self) -> str:
        """The same record failed by the same unit: the same message, however often it was sent."""
        return hashlib.sha256(canonical([self.run, self.unit, self.record_id])).hexdigest()[:24]


def reprocess(message: Message, shop: Workshop) -> str:
    """Lands the record: `landed`, `duplicate` (another unit owns it) or `settled` (done by an earlier delivery).

    Raises RecordFailedError, ThrottledError.
    """
    pk, sk = run_pk(message.run), late_sk(message.unit, message.digest)
    if shop.runs.get(pk, sk) is not None:
        return "settled"
    pointer = Pointer.from_json(message.item)
    model = shop.spec.model
    outcome = shop.model.infer(model.invoke_id, model.api, shop.body(pointer))
    if outcome.error_class is not None:
        kind = class_of_outcome(outcome.error_class, outcome.error_message or "")
        raise RecordFailedError(f"record {message.record_id} of run {message.run}: {kind} {outcome.error_code}")
    part = f"reprocess-{message.digest}"
    landed = land(
        [(pointer, outcome.output)],
        owner=owner_of(message.run, part),
        spec=shop.spec,
        ledger=shop.ledger,
        clock=shop.clock,
    )
    results: list[Part] = []
    if landed.lines:
        key, body = shop.places.results(part), b"".join(landed.lines)
        shop.output.put(key, body, "application/x-ndjson")
        results.append(Part(key, len(body), 1))
    shop.runs.put(
        {
            "pk": pk,
            "sk": sk,
            "expires_at": shop.expires_at,
            "unit": message.unit,
            "piece": message.piece,
            "recordId": message.record_id,
            "errorClass": message.error_class,
            "outcome": "landed" if landed.lines else "duplicate",
            "results": [one.to_json() for one in results],
            "inputTokens": landed.usage.input_tokens,
            "outputTokens": landed.usage.output_tokens,
        }
    )
    return "landed" if landed.lines else "duplicate"
