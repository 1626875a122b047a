"""What models were asked: a digest of each request body, so that a test can see that both modes sent the same.

`GET /_local/bodies?modelId=…` answers `[{"mode", "api", "modelId", "digest"}, …]` in the order of evaluation. The
digest is SHA-256 of the body as canonical JSON, since Converse on demand is written by the SDK and in batch by the
caller. The first GET begins the notes, so that nobody else pays for them.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

_KEPT = 20_000
_begun = False
_notes: deque[dict[str, str]] = deque(maxlen=_KEPT)


def digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def note(mode: str, api: str, model_id: str, body: Mapping[str, Any]) -> None:
    if not _begun:
        return
    _notes.append({"mode": mode, "api": api, "modelId": model_id, "digest": digest(body)})


async def _bodies(query: dict[str, str], body: bytes) -> tuple[int, object]:
    global _begun
    _begun = True
    wanted = query.get("modelId")
    return 200, [one for one in list(_notes) if wanted in (None, one["modelId"])]


ROUTES = {("GET", "/_local/bodies"): _bodies}
