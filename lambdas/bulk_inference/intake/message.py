"""Documents that arrive one by one: the message that names one, and the item that says what has become of it.

A message: `{"version": 1, "id", "prompt", "document": {"bucket"?, "key"} or "record": {…}, "scope"?, "tenant"?,
"notify"?}`. It carries ids and places; a small record may come along whole, if the sender wants that.

An id is one document per scope. The item DOCUMENT of the runs table holds its state, and decides what a second message
of the same id is: the same document again changes nothing, another document under an id that is taken is refused.

| state | means |
| --- | --- |
| `waiting` | a consumer has seen the message, and it comes again |
| `pooled` | it lies in a pool, which is or will be a run |
| `inferring` | it is being inferred at once |
| `done` | it has landed |
| `failed` | it has not; a new message may try again |
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bulk_inference.core import names
from bulk_inference.core.errors import BulkInferenceError
from bulk_inference.core.index_line import canonical
from bulk_inference.core.json_text import JsonError, loads
from bulk_inference.core.runs_table import DOCUMENT, Item, document_pk
from bulk_inference.render.records import MAX_RECORD_ID_BYTES
from bulk_inference.request.fields import Fields, Problems

MESSAGE_VERSION: Final = 1

MAX_INLINE_BYTES: Final = 32_768
"""Of an inline record as compact JSON, UTF-8. What is larger belongs into S3."""

WAITING, POOLED, INFERRING, DONE, FAILED = "waiting", "pooled", "inferring", "done", "failed"
"""States of a document."""

BAD_MESSAGE: Final = "bad_message"
BAD_PROMPT: Final = "bad_prompt"
BAD_DOCUMENT: Final = "bad_document"
CONFLICT: Final = "conflict"
NOT_ACCOUNTED: Final = "not_accounted"
RUN_FAILED: Final = "run_failed"
PARTIAL: Final = "partial"
"""Error classes of documents beside those of records."""


_KEYS: Final = ("version", "id", "prompt", "document", "record", "scope", "tenant", "notify")


class RefusedDocumentError(BulkInferenceError):
    """A message that cannot be followed: its class, and what is wrong, never a word of the document.

    `passing`: the cause may pass by itself or by somebody's hand, so that the message is worth more tries.
    """

    def __init__(self, error_class: str, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message
        self.passing = passing


@dataclass(frozen=True)
class DocumentMessage:
    """A valid message."""

    id: str
    prompt: str
    tenant: str
    scope: str | None
    """None: the stored prompt's, else one of its own."""
    notify: bool
    bucket: str | None
    """Of the document; None: the input bucket."""
    key: str | None
    record: Mapping[str, Any] | None

    @property
    def content(self) -> str:
        """What was sent, as a digest: the same document by the same prompt."""
        named = self.record if self.record is not None else {"bucket": self.bucket, "key": self.key}
        return hashlib.sha256(canonical([self.prompt, named])).hexdigest()[:32]


def parse(body: str) -> DocumentMessage:
    """Raises RefusedDocumentError of class bad_message that lists every problem."""
    given = _object(body)
    problems: Problems = []
    fields = Fields(given, problems)
    fields.only(_KEYS)
    if given.get("version") != MESSAGE_VERSION:
        fields.problem("version", f"must be {MESSAGE_VERSION}")
    document = _required(fields, "id") or ""
    if len(document.encode(errors="surrogatepass")) > MAX_RECORD_ID_BYTES or _unfit(document):
        fields.problem("id", f"must be Unicode text of at most {MAX_RECORD_ID_BYTES} bytes")
    prompt = _matching(fields, "prompt", _required(fields, "prompt"), names.PROMPT)
    tenant = _matching(fields, "tenant", fields.text("tenant"), names.TENANT)
    scope = _matching(fields, "scope", fields.text("scope"), names.SCOPE)
    notify = fields.flag("notify") or False
    if ("document" in given) == ("record" in given):
        fields.problem("", 'needs either document ({"key": …}) or record (a small object)')
    place = fields.section("document", ("bucket", "key"))
    bucket, key = place.text("bucket"), place.text("key")
    if "document" in given and key is None and "key" not in place:
        place.problem("key", "missing: the key of the document in S3")
    record = _record(fields)
    if problems:
        raise RefusedDocumentError(BAD_MESSAGE, "; ".join(problems))
    return DocumentMessage(
        id=document,
        prompt=prompt or "",
        tenant=tenant or "default",
        scope=scope,
        notify=notify,
        bucket=bucket,
        key=key,
        record=record,
    )


def named(body: str) -> tuple[str, str, str | None] | None:
    """(tenant, id, scope) of a message that may be wrong otherwise, so that its status can be told; None if it does
    not say so much."""
    try:
        given = _object(body)
    except RefusedDocumentError:
        return None
    document, tenant, scope = given.get("id"), given.get("tenant", "default"), given.get("scope")
    prompt = given.get("prompt")
    if not isinstance(document, str) or not document or _unfit(document) or len(document.encode()) > 1024:
        return None
    if not isinstance(tenant, str) or not names.TENANT.fullmatch(tenant):
        return None
    if scope is None and isinstance(prompt, str) and names.PROMPT.fullmatch(prompt):
        scope = default_scope(prompt)
    if not isinstance(scope, str) or not names.SCOPE.fullmatch(scope):
        return None
    return tenant, document, scope


def default_scope(prompt: str) -> str:
    """Scope of documents of a stored prompt that names none."""
    return f"intake.{prompt}"


def _object(body: str) -> dict[str, Any]:
    try:
        value = loads(body)
    except JsonError as error:
        raise RefusedDocumentError(BAD_MESSAGE, f"the message: {error}") from None
    if not isinstance(value, dict):
        raise RefusedDocumentError(BAD_MESSAGE, "the message is no JSON object")
    return value


def _unfit(text: str) -> bool:
    """Half of a surrogate pair: no store takes that."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _required(fields: Fields, name: str) -> str | None:
    if name not in fields:
        fields.problem(name, "missing")
    return fields.text(name)


def _matching(fields: Fields, name: str, value: str | None, pattern: re.Pattern[str]) -> str | None:
    if value is not None and not pattern.fullmatch(value):
        fields.problem(name, f"must match {pattern.pattern}")
        return None
    return value


def _record(fields: Fields) -> Mapping[str, Any] | None:
    if "record" not in fields:
        return None
    record = fields.section("record", None).given
    if not record:
        fields.problem("record", "is empty")
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    if _unfit(text):
        fields.problem("record", "holds half of a surrogate pair: no Unicode text holds that")
    elif len(text.encode()) > MAX_INLINE_BYTES:
        fields.problem(
            "record", f"is larger than {MAX_INLINE_BYTES} bytes: put it into S3 and name its place by document"
        )
    return record


class Admission(Enum):
    """What a message is to its document."""

    NEW = "new"
    """Nobody has worked on it, or the last try failed."""
    GOES_ON = "goes on"
    """It is being inferred at once: by another worker, or by one that died."""
    KNOWN = "known"
    """The same document came before, and is on its way or done."""
    CONFLICT = "conflict"
    """Another document came before under this id, and is on its way or done."""


def judge(known: Item | None, message: DocumentMessage, message_id: str) -> Admission:
    """`message_id`: SQS's, of the message as it was sent: a copy that was put back keeps it. A message whose document
    failed for good in a run comes again only because its worker could not end with it; one that is sent or moved again
    has another id."""
    if known is not None and known["state"] == FAILED and known.get("place") and known["messageId"] == message_id:
        return Admission.KNOWN
    if known is None or known["state"] in (WAITING, FAILED):
        return Admission.NEW
    if known["content"] != message.content:
        return Admission.CONFLICT
    return Admission.GOES_ON if known["state"] == INFERRING else Admission.KNOWN


def has_say(known: Item | None, content: str | None, message_id: str) -> bool:
    """Whether a message that cannot be followed tells something of the document under its id. `content`: what it holds,
    None if it is no message at all. It does so of its own document, or of one that nobody is at: anybody may send
    rubbish under the id of a document that is on its way."""
    if known is None:
        return True
    if known["state"] in (POOLED, DONE):
        return False
    if known["state"] == FAILED:
        # One that failed in a run says more than a message that never came so far; the same again is sent anew.
        return not known.get("place") or (content is not None and known["messageId"] != message_id)
    return bool(known["messageId"] == message_id or (known["state"] == WAITING and known["content"] == content))


def conflict(known: Item) -> RefusedDocumentError:
    return RefusedDocumentError(
        CONFLICT,
        f"id: another document or prompt came under this id before (it is {known['state']}): an id is one document per "
        "scope",
    )


def document_item(
    known: Item | None,
    message: DocumentMessage,
    scope: str,
    priority: str,
    *,
    message_id: str,
    sent_at: int,
    now: float,
    expires_at: int,
) -> Item:
    """The document's item, its state and run still to be set. `sent_at`: epoch seconds."""
    before = known or {}
    return {
        "pk": document_pk(message.tenant, scope, message.id),
        "sk": DOCUMENT,
        "expires_at": expires_at,
        "version": int(before.get("version", 0)) + 1,
        "id": message.id,
        "tenant": message.tenant,
        "scope": scope,
        "prompt": message.prompt,
        "content": message.content,
        "messageId": message_id,
        "priority": priority,
        "notify": message.notify,
        # Number of the attempt, under the name by which items have it: one that came to an end in a run has used its
        # number up, one that was broken off goes on under it.
        "take": int(before.get("take", 0)) + int(known is None or before.get("place") is not None),
        # A message that comes again, or a copy of it, is as old as the first.
        "sentAt": min(sent_at, int(before["sentAt"])) if before.get("state") == WAITING else sent_at,
        "at": int(now),
        "told": None,
    }
