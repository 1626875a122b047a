"""What a message names, as one line of a corpus: `{"recordId": the caller's id, …fields}`.

An inline record is its own fields. An object in S3 is read like a text document of a corpus, compressed or not: its
fields are `text`, `key` and `name`. One whose name ends in `.json` is one JSON object, and its members are the fields.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from bulk_inference.core import tenants
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.result_line import encode
from bulk_inference.core.run_spec import Source
from bulk_inference.core.settings import Settings
from bulk_inference.corpus.formats import TEXT
from bulk_inference.corpus.ranges import CutRange
from bulk_inference.corpus.reader import CorpusBucket, part_rows
from bulk_inference.corpus.rows import TOO_LARGE, RejectedLineError
from bulk_inference.intake.message import BAD_DOCUMENT, BAD_MESSAGE, DocumentMessage, RefusedDocumentError
from bulk_inference.intake.stored_prompts import ID_FIELD
from bulk_inference.plan.planning import MAX_LINE_BYTES
from bulk_inference.render.records import parse_object

_IS_JSON: Final = re.compile(r"\.json(\.(gz|zst))?$", re.I)


class Library(Protocol):
    """Buckets that documents may lie in."""

    @property
    def own(self) -> str:
        """The input bucket's name."""
        ...

    def bucket(self, name: str) -> CorpusBucket: ...


def corpus_line(message: DocumentMessage, library: Library, settings: Settings) -> bytes:
    """Raises RefusedDocumentError: bad_message, bad_document, or the class of a rejected line."""
    fields = message.record if message.record is not None else _stored(message, library, settings)
    line = encode({**fields, ID_FIELD: message.id})
    if len(line) > MAX_LINE_BYTES:
        raise RefusedDocumentError(TOO_LARGE, f"the document has {len(line)} bytes, more than {MAX_LINE_BYTES}")
    return line


def _stored(message: DocumentMessage, library: Library, settings: Settings) -> Mapping[str, Any]:
    bucket, key = message.bucket or library.own, message.key or ""
    where = f"s3://{bucket}/{key}"
    if (why := tenants.refusal(settings, message.tenant, library.own, bucket, key)) is not None:
        raise RefusedDocumentError(BAD_MESSAGE, f"document.{'key' if bucket == library.own else 'bucket'}: {why}")
    try:
        source = library.bucket(bucket)
        found = source.find(key)
        if found is None:
            raise RefusedDocumentError(BAD_DOCUMENT, f"{where} does not exist", passing=True)
        part = CutRange(key, 0, found.size, found.size, found.etag)
        row = next(part_rows(source, part, Source(bucket=bucket, format=TEXT), MAX_LINE_BYTES))
    except InvalidRequestError as error:
        raise RefusedDocumentError(BAD_DOCUMENT, str(error), passing=True) from error
    if row.refusal is not None:
        raise RefusedDocumentError(row.refusal.error_class, f"{where}: {row.refusal.message}")
    if row.fields is None:
        raise RefusedDocumentError(TOO_LARGE, f"{where} has more than {MAX_LINE_BYTES} bytes")
    return _members(row.fields) if _IS_JSON.search(key) else row.fields


def _members(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a JSON document. Raises RefusedDocumentError that names the rule, not the text."""
    try:
        return parse_object(" ".join(str(fields["text"]).split("\n")).encode())
    except RejectedLineError as error:
        raise RefusedDocumentError(error.error_class, error.message) from None
