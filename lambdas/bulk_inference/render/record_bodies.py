"""Request bodies that a corpus brings along: what Converse's batch jobs refuse of them, and what is no part of a body.

On demand the SDK takes `modelId` beside the body's members; a job finds it inside the body, and fails the record. Tools
are not taken by Converse's batch jobs at all
(https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html). So that the canary tries what jobs get,
both modes send the same body.
"""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core.model_families import CONVERSE

BATCH_REFUSES: Final[Mapping[str, str]] = {"toolConfig": "tools"}
"""Members of a Converse body that a record of a batch job must not have, and what they are for."""

_ENVELOPE: Final = ("modelId",)
"""Parameters of the call, not members of its body."""


def without_envelope(body: Mapping[str, Any], api: str) -> Mapping[str, Any]:
    """The body alone; the same object where nothing is taken out."""
    if api != CONVERSE or not any(name in body for name in _ENVELOPE):
        return body
    return {name: value for name, value in body.items() if name not in _ENVELOPE}


def refused_in_batch(body: Mapping[str, Any], api: str) -> str | None:
    """The member for which a batch job would fail this record; None if there is none."""
    if api != CONVERSE:
        return None
    return next((name for name in BATCH_REFUSES if body.get(name)), None)
