"""Stored prompts: run requests without a source, kept in S3 under a name, for documents that arrive one by one.

They lie in the input bucket at `{tenant}/prompts/{name}.json` and are checked by the parser of run requests. A stored
prompt may change while messages wait: what counts is what it says when a document is pooled or inferred. Pools are kept
apart by the prompt's digest, so that one run has one prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.json_text import JsonError, loads
from bulk_inference.core.settings import Settings
from bulk_inference.intake.message import BAD_PROMPT, RefusedDocumentError, default_scope
from bulk_inference.request import parse
from bulk_inference.request.parse import RunRequest

ID_FIELD: Final = "recordId"
"""Of the corpus lines that the intake writes."""

_REFUSED: Final = {
    "source": "the message names the document",
    "run.priority": "the queue decides it",
    "run.tenant": "the message names it",
    "run.id": "the intake names its runs",
    "run.dry_run": "a dry run infers nothing",
}


@dataclass(frozen=True)
class StoredPrompt:
    """A stored prompt as it was read."""

    name: str
    tenant: str
    request: Mapping[str, Any]
    digest: str
    """SHA-256 (hex) of the request as a value."""
    checked: RunRequest | None = None
    """The request of a run as `check` read it; None where it has not been checked."""

    @property
    def scope(self) -> str:
        """Of documents whose message names none."""
        run = self.request.get("run", {})
        return str(run.get("scope") or default_scope(self.name))

    @property
    def chunks(self) -> bool:
        """One document becomes several records."""
        return bool(self.request.get("chunking"))

    def run_request(self, key: str, scope: str, priority: str, *, prefix: bool = False) -> dict[str, Any]:
        """The whole request of a run over documents at `key`, or below it."""
        run = {**self.request.get("run", {}), "tenant": self.tenant, "scope": scope, "priority": priority}
        source = {"prefix" if prefix else "key": key, "id_field": ID_FIELD}
        # One sender's documents must not keep those of others from being done.
        limits = self.request.get("limits", {})
        if isinstance(limits, Mapping):
            limits = {"tolerated_rejected_percentage": 100, **limits}
        return {**self.request, "run": run, "source": source, "limits": limits}


def prompt_key(tenant: str, name: str) -> str:
    return f"{tenant}/prompts/{name}.json"


def read(tenant: str, name: str, body: bytes | None, bucket: str) -> StoredPrompt:
    """`body`: the object, None if there is none. Raises RefusedDocumentError of class bad_prompt."""
    where = f"s3://{bucket}/{prompt_key(tenant, name)}"
    if body is None:
        raise _bad(f"prompt: {where} does not exist")
    try:
        request = loads(body)
    except JsonError as error:
        raise _bad(f"prompt: {where}: {error}") from None
    if not isinstance(request, dict):
        raise _bad(f"prompt: {where} is no JSON object")
    run = request.get("run", {})
    problems = [
        f"{path}: not in a stored prompt, {why}"
        for path, why in _REFUSED.items()
        if path in request or (isinstance(run, Mapping) and path.startswith("run.") and path[4:] in run)
    ]
    if problems:
        raise _bad(f"prompt: {where}: {'; '.join(problems)}")
    return StoredPrompt(name, tenant, request, parse.digest(request))


def check(prompt: StoredPrompt, run: str, request: Mapping[str, Any], settings: Settings, bucket: str) -> RunRequest:
    """The request as plan_run will read it. Raises RefusedDocumentError of class bad_prompt."""
    try:
        return parse.parse(run, request, settings, bucket)
    except InvalidRequestError as error:
        raise _bad(f"prompt: s3://{bucket}/{prompt_key(prompt.tenant, prompt.name)}: {error}") from error


def _bad(message: str) -> RefusedDocumentError:
    return RefusedDocumentError(BAD_PROMPT, message, passing=True)
