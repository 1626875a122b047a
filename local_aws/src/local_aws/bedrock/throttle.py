"""The limiter of on demand inference: tokens (and optionally requests) per minute and model.

Page "How tokens are counted in Amazon Bedrock": at the start of a request its input tokens plus `max_tokens` are taken
from the quota; at the end the difference to what was used (input + output × burndown) is given back. A body without a
token limit therefore reserves the model's largest output. Between, the quota refills evenly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local_aws import knobs
from local_aws.bedrock import quotas
from local_aws.bedrock.models import Route
from local_aws.bedrock.wire import AwsError


@dataclass
class _Bucket:
    level: float
    filled_at: float

    def refill(self, limit: float, now: float) -> None:
        rate = limit / knobs.current.seconds_per_minute
        self.level = min(limit, self.level + (now - self.filled_at) * rate)
        self.filled_at = now


@dataclass
class Limiter:
    """Buckets per account, Region, model and route. `clock` counts seconds and never goes back."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[tuple[str, ...], _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, scope: tuple[str, str], route: Route, tokens: int) -> None:
        """Take the tokens and one request. Raises ThrottlingException, and then takes nothing."""
        with self._lock:
            now = self.clock()
            wanted = [("tokens", float(tokens), quotas.per_minute(route, "tokens"))]
            # Requests per minute are listed, but since 2026 not enforced (page "Quotas for bedrock-runtime").
            if knobs.current.requests_per_minute is not None:
                wanted.append(("requests", 1.0, float(knobs.current.requests_per_minute)))
            for unit, amount, limit in wanted:
                bucket = self._bucket(scope, route, unit, limit, now)
                if bucket.level < amount:
                    raise AwsError("ThrottlingException", f"Too many {unit}, please wait before trying again.")
            for unit, amount, limit in wanted:
                self._bucket(scope, route, unit, limit, now).level -= amount

    def settle(self, scope: tuple[str, str], route: Route, reserved: int, used: int) -> None:
        """Give back what was reserved and not used; take what was used beyond it."""
        with self._lock:
            limit = quotas.per_minute(route, "tokens")
            bucket = self._bucket(scope, route, "tokens", limit, self.clock())
            bucket.level = min(limit, bucket.level + reserved - used)

    def _bucket(self, scope: tuple[str, str], route: Route, unit: str, limit: float, now: float) -> _Bucket:
        key = (*scope, route.model.id, route.prefix or "", unit)
        bucket = self._buckets.setdefault(key, _Bucket(limit, now))
        bucket.refill(limit, now)
        return bucket
