"""Limits of a run, as the module's defaults give them."""

from typing import Any

from bulk_inference.core.run_spec import Limits


def limits(**changes: Any) -> Limits:
    values: dict[str, Any] = {
        "min_records_per_shard": 100,
        "max_records_per_shard": 1000,
        "max_bytes_per_shard": 10**9,
        "max_line_bytes": 10**6,
        "cut_bytes": 10**6,
        "canary_records": 5,
        "max_attempts": 3,
        "job_timeout_hours": 24,
        "claim_ttl_days": 90,
    }
    return Limits(**(values | changes))
