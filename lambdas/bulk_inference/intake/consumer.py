"""The messages of one invocation of an intake queue's consumer, and what becomes of each.

* It is followed: the document is pooled, or inferred at once. The message is gone.
* It cannot be followed, whatever is tried (no JSON, a wrong field, an id that is taken): it is *held*, that is, put
  into the queue's dead-letter queue with its class and what is wrong as attributes, and its status is `failed`.
* It cannot be followed now (no such document, no such prompt, a prompt with an error): it comes back after a pause, and
  is held on its last receive.
* AWS throttles: a copy is put back for later, so that waiting costs none of the message's receives.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from bulk_inference.core.backoff import FIRST_PAUSE, LONGEST_PAUSE, MOST_POSTPONEMENTS
from bulk_inference.core.errors import InvalidRequestError, ThrottledError, WorkInProgressError
from bulk_inference.core.ports import Attributes, Clock, Intake
from bulk_inference.core.runs_table import DOCUMENT, Item, document_pk
from bulk_inference.core.settings import Settings
from bulk_inference.corpus.reader import CorpusBucket
from bulk_inference.intake.document_outcomes import DocumentOutcome, OutcomeServices, conclude
from bulk_inference.intake.documents import corpus_line
from bulk_inference.intake.message import (
    BAD_MESSAGE,
    CONFLICT,
    FAILED,
    INFERRING,
    WAITING,
    DocumentMessage,
    RefusedDocumentError,
    document_item,
    has_say,
    named,
    parse,
)
from bulk_inference.intake.pooling import Arrival
from bulk_inference.intake.stored_prompts import StoredPrompt, check, prompt_key, read

UNEXPECTED: Final = "unexpected"

_TRIES: Final = 5

ERROR_CLASS, ERROR_MESSAGE = "errorClass", "errorMessage"
"""Attributes of a dead letter, for people."""

POSTPONED, MESSAGE, HELD = "bulkInference.postponed", "bulkInference.message", "bulkInference.held"
"""Attributes that the consumer reads again: how often a message was postponed; SQS's id of the message that this is a
copy of; whether it has been among the dead letters. Senders have names of their own, so these say whose they are."""

_MOST_ATTRIBUTES: Final = 10
"""That SQS takes with a message."""


class IntakeLane(Protocol):
    """One intake queue and the dead-letter queue behind it."""

    def postpone(self, body: str, attributes: Attributes, seconds: int) -> None:
        """Sends a message to the end of the queue, to be seen after so many seconds (at most 900)."""
        ...

    def hold(self, body: str, attributes: Attributes, seconds: int) -> None:
        """Sends a message to the dead-letter queue, to be seen after so many seconds (at most 900)."""
        ...

    def back_off(self, receipt: str, seconds: int) -> None:
        """Lets a message that is not deleted come back after so many seconds."""
        ...


@dataclass(frozen=True)
class DocumentDelivery:
    """One message as a queue gave it out."""

    message_id: str
    body: str
    receipt: str
    receives: int
    """How often it has been given out, this time included."""
    sent_at: int
    """Epoch seconds."""
    attributes: Attributes

    @property
    def identity(self) -> str:
        """SQS's id of the message as its sender sent it, of whom this may be a copy: a throttle changes no identity."""
        return self.attributes.get(MESSAGE) or self.message_id

    @property
    def postponed(self) -> int:
        """How often it was put back. A sender may have written anything there."""
        told = self.attributes.get(POSTPONED, "")
        return int(told) if told.isascii() and told.isdigit() else 0


class PromptBucket(CorpusBucket, Protocol):
    @property
    def name(self) -> str: ...
    def get(self, key: str) -> bytes | None: ...


@dataclass(frozen=True)
class ConsumerServices:
    priority: str
    lane: IntakeLane
    input: PromptBucket
    bucket: Callable[[str], CorpusBucket]
    """By name."""
    runs: Intake
    outcomes: OutcomeServices
    settings: Settings
    clock: Clock
    max_receives: int
    jitter: Callable[[], float] = random.random

    @property
    def own(self) -> str:
        return self.input.name

    @property
    def expires_at(self) -> int:
        return int(self.clock.now()) + self.settings.defaults.claim_ttl_days * 86_400


class DocumentConsumer:
    def __init__(self, services: ConsumerServices) -> None:
        self._services = services
        self._prompts: dict[tuple[str, str, str | None], StoredPrompt] = {}

    def arrival(self, delivery: DocumentDelivery) -> Arrival:
        """The message with its prompt and its document. Raises RefusedDocumentError, ThrottledError."""
        message = parse(delivery.body)
        if message.tenant not in self._services.settings.tenants:
            raise RefusedDocumentError(BAD_MESSAGE, f"tenant: {message.tenant!r} is no tenant of this module")
        prompt = self._prompt(message)
        line = corpus_line(message, self._services, self._services.settings)
        arrival = Arrival(message, prompt, line, delivery.identity, delivery.sent_at)
        arrival.ceilings.refuse(arrival.weight)
        return arrival

    def _prompt(self, message: DocumentMessage) -> StoredPrompt:
        """Read once an invocation: what it says now is what counts."""
        services, key = self._services, (message.tenant, message.prompt, message.scope)
        if key not in self._prompts:
            body = services.input.get(prompt_key(message.tenant, message.prompt))
            prompt = read(message.tenant, message.prompt, body, services.own)
            request = prompt.run_request(
                f"{message.tenant}/corpus/document", message.scope or prompt.scope, services.priority
            )
            checked = check(prompt, "intake", request, services.settings, services.own)
            self._prompts[key] = replace(prompt, checked=checked)
        return self._prompts[key]

    def settle(self, delivery: DocumentDelivery, outcome: str | Exception) -> str:
        """What the work came to: its word, or `held` or `postponed`; the message is done with.

        Raises what the work raised for a message that is to come again; when, has been said to the queue.
        """
        if isinstance(outcome, str):
            return outcome
        if isinstance(outcome, RefusedDocumentError):
            if not outcome.passing or delivery.receives >= self._services.max_receives:
                return self._hold(delivery, outcome)
            self._note(delivery, outcome)
        elif isinstance(outcome, ThrottledError) and delivery.postponed < MOST_POSTPONEMENTS:
            return self._postpone(delivery)
        elif not isinstance(outcome, (ThrottledError, WorkInProgressError)) and self._is_last(delivery):
            self._fail(delivery, UNEXPECTED, type(outcome).__name__)
        self._services.lane.back_off(delivery.receipt, _pause(delivery.receives))
        raise outcome

    def _is_last(self, delivery: DocumentDelivery) -> bool:
        return delivery.receives >= self._services.max_receives

    def _postpone(self, delivery: DocumentDelivery) -> str:
        times = delivery.postponed + 1
        # Spread over the pause's second half: what was throttled together must not come back together.
        pause = _pause(times) * (0.5 + 0.5 * self._services.jitter())
        attributes = _attributes({POSTPONED: str(times), MESSAGE: delivery.identity}, delivery.attributes)
        self._services.lane.postpone(delivery.body, attributes, int(pause))
        return "postponed"

    def _hold(self, delivery: DocumentDelivery, why: RefusedDocumentError) -> str:
        if why.error_class != CONFLICT:
            self._fail(delivery, why.error_class, why.message)
        # A move of all dead letters goes on until it finds none: it must not find at once what it has just moved.
        seconds = LONGEST_PAUSE if HELD in delivery.attributes else 0
        attributes = {ERROR_CLASS: why.error_class, ERROR_MESSAGE: why.message[:1000], HELD: "1"}
        self._services.lane.hold(delivery.body, attributes, seconds)
        return "held"

    def _fail(self, delivery: DocumentDelivery, error_class: str, error_message: str) -> None:
        """The status of a document whose message is among the dead letters."""
        touched = self._touch(delivery)
        if touched is not None:
            key, content = touched
            conclude(
                key,
                None,
                DocumentOutcome(FAILED, None, None, error_class, error_message),
                self._services.outcomes,
                mine=lambda item: has_say(item, content, delivery.identity),
            )

    def _note(self, delivery: DocumentDelivery, why: RefusedDocumentError) -> None:
        self._touch(delivery, errorClass=why.error_class, errorMessage=why.message)

    def _touch(self, delivery: DocumentDelivery, **more: Any) -> tuple[str, str | None] | None:
        """Makes the document's item, or sets it back to `waiting`; its key and what the message holds, or None if the
        message has no say in it."""
        who = named(delivery.body)
        if who is None:
            return None
        tenant, document, scope = who
        content: str | None = None
        try:
            message = parse(delivery.body)
            prompt = self._prompts.get((message.tenant, message.prompt, message.scope))
            scope = message.scope or (prompt.scope if prompt else scope)
            content = message.content
        except RefusedDocumentError:
            message = DocumentMessage(document, "", tenant, scope, False, None, None, None)
        if scope is None:
            return None
        key = document_pk(tenant, scope, document)
        for _ in range(_TRIES):
            known = self._services.runs.get(key, DOCUMENT)
            if not has_say(known, content, delivery.identity):
                return None
            if known is not None and known["state"] == INFERRING:
                # Its unit has begun: a later try goes on with that.
                return key, content
            item = self._waiting(known, message, scope, delivery) | more
            if self._services.runs.put_if(item, "version", None if known is None else known["version"]):
                return key, content
        return None

    def _waiting(self, known: Item | None, message: DocumentMessage, scope: str, delivery: DocumentDelivery) -> Item:
        services, before = self._services, known or {}
        item = document_item(
            known,
            message,
            scope,
            services.priority,
            message_id=delivery.identity,
            sent_at=delivery.sent_at,
            now=services.clock.now(),
            expires_at=services.expires_at,
        )
        return item | {"state": WAITING, "run": before.get("run"), "told": before.get("told")}


def _attributes(own: Attributes, others: Attributes) -> Attributes:
    """Ours first, and of the sender's as many as SQS takes."""
    rest = [(name, value) for name, value in others.items() if name not in own]
    return dict([*own.items(), *rest[: _MOST_ATTRIBUTES - len(own)]])


def refused(work: Callable[[], str]) -> str | Exception:
    """The word of some work, or what it raised, as a value. A run that cannot be read is a refusal."""
    try:
        return work()
    except InvalidRequestError as error:
        return RefusedDocumentError("refused", str(error), passing=True)
    except Exception as error:
        return error


def arrivals(
    consumer: DocumentConsumer, deliveries: Sequence[DocumentDelivery]
) -> tuple[dict[str, Arrival], dict[str, str | Exception]]:
    """By message id: those that can be followed, and what was raised for the others."""
    found: dict[str, Arrival] = {}
    outcomes: dict[str, str | Exception] = {}
    for one in deliveries:
        try:
            found[one.message_id] = consumer.arrival(one)
        except Exception as error:
            outcomes[one.message_id] = error
    return found, outcomes


def _pause(times: int) -> int:
    return int(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(times - 1, 10)))
