"""Section `limits` of a request: what this run may use, inside the quotas."""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.request_fields import Fields

_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "max_records_per_shard": (1, 10_000_000),
    "max_bytes_per_shard": (10_000, 100_000_000_000),
    "cut_bytes": (65_536, 4_294_967_296),
    "job_concurrency": (1, 10_000),
    "infer_concurrency": (1, 10_000),
    "items_per_batch": (1, 1_000),
    "tolerated_failure_percentage": (0, 100),
    "canary_records": (0, 50),
    "job_timeout_hours": (24, 168),
    "max_attempts": (1, 10),
}
"""Inclusive. Whole numbers but for the percentage; CreateModelInvocationJob sets the hours' bounds."""


def parse_limits(request: Fields) -> dict[str, Any]:
    """Those that are given."""
    given = request.section("limits", _LIMITS)
    limits: dict[str, Any] = {}
    for name, (low, high) in _LIMITS.items():
        value: float | None
        if name == "tolerated_failure_percentage":
            value = given.number(name, low, high)
        else:
            value = given.whole(name, low, high)
        if value is not None:
            limits[name] = value
    return limits
