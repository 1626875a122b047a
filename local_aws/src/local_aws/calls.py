"""One request to a service, as checks see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """A signed request: `service` is ministack's name of it, `path` is not decoded, `headers` in lower case."""

    service: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Any]
    region: str
    account: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def operation(self) -> str:
        """The operation, where a header names it; empty for REST services."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    def text(self, member: str) -> str:
        """A member of the JSON body if it is text, else empty."""
        value = self.json().get(member)
        return value if isinstance(value, str) else ""

    def first(self, parameter: str) -> str:
        """The first value of a query parameter, empty when it is absent."""
        value = self.query.get(parameter)
        return str(value[0] if isinstance(value, list) and value else value or "")
