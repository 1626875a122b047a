"""What tokens cost, at the prices that the user gives."""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core.settings import Prices

_MILLION: Final = 1_000_000


def money(prices: Prices, input_tokens: float, output_tokens: float, *, batch: bool) -> float:
    """In units of the prices' currency."""
    factor = prices.batch_factor if batch else 1
    both = input_tokens * prices.input_per_million + output_tokens * prices.output_per_million
    return round(both * factor / _MILLION, 6)


def account_in_money(
    prices: Prices | None,
    report_of_plan: Mapping[str, Any],
    tokens: tuple[int, int],
    tokens_in_batch: tuple[int, int],
) -> dict[str, Any] | None:
    """What the run's tokens (input, output) cost at the user's prices, the canary's included; None without prices."""
    if prices is None:
        return None
    in_batch = money(prices, *tokens_in_batch, batch=True)
    on_demand = money(prices, tokens[0] - tokens_in_batch[0], tokens[1] - tokens_in_batch[1], batch=False)
    planned = report_of_plan.get("money") or {}
    canary = planned.get("canary", 0)
    return {
        "currency": prices.currency,
        "batch": in_batch,
        "onDemand": on_demand,
        "canary": canary,
        "total": round(in_batch + on_demand + canary, 6),
        "estimate": planned.get("estimate"),
    }
