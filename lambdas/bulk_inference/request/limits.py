"""Sections `limits` and `prices` of a request: what this run may use, inside the quotas, and what a token costs."""

import re
from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core.settings import Prices
from bulk_inference.request.fields import Fields

_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "max_records": (1, 1_000_000_000_000),
    "max_tokens": (1, 1_000_000_000_000_000),
    "max_records_per_shard": (1, 10_000_000),
    "max_bytes_per_shard": (10_000, 100_000_000_000),
    "cut_bytes": (65_536, 4_294_967_296),
    "job_concurrency": (1, 10_000),
    "infer_concurrency": (1, 10_000),
    "items_per_batch": (1, 1_000),
    "tolerated_failure_percentage": (0, 100),
    "tolerated_rejected_percentage": (0, 100),
    "canary_records": (0, 50),
    "job_timeout_hours": (24, 168),
    "max_attempts": (1, 10),
}
"""Inclusive. Whole numbers but for the percentages; CreateModelInvocationJob sets the hours' bounds."""

CANARY_WORTH: Final = 20
"""Records that a canary tries, if need be, before it condemns a run, and up to which a run of records that somebody
gathered (a pool, a resubmission, a reduction) has none: its first calls would be the run itself, and one that is
refused must cost nothing but its own record."""


def canary_of(records: int, wanted: int) -> int:
    """Canary records of a run over so many gathered records, where its request would have `wanted`."""
    return 0 if records <= CANARY_WORTH else wanted


_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def parse_limits(request: Fields) -> dict[str, Any]:
    """Those that are given."""
    given = request.section("limits", _LIMITS)
    limits: dict[str, Any] = {}
    for name, (low, high) in _LIMITS.items():
        value: float | None
        if name.endswith("_percentage"):
            value = given.number(name, low, high)
        else:
            value = given.whole(name, low, high)
        if value is not None:
            limits[name] = value
    return limits


_HIGHEST_PRICE: Final = 1_000_000


def parse_prices(request: Fields) -> Prices | None:
    """None if the request gives none."""
    if "prices" not in request:
        return None
    given = request.section("prices", ("input_per_million", "output_per_million", "batch_factor", "currency"))
    for name in ("input_per_million", "output_per_million"):
        if name not in given:
            given.problem(name, "missing: what a million tokens cost on demand")
    per_input = given.number("input_per_million", 0, _HIGHEST_PRICE)
    per_output = given.number("output_per_million", 0, _HIGHEST_PRICE)
    factor, currency = given.number("batch_factor", 0, 1), given.text("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        given.problem("currency", "must be three capital letters, such as USD")
    if per_input is None or per_output is None:
        return None
    return Prices(per_input, per_output, 1 if factor is None else factor, currency or "USD")
