"""Times as text, and until when what a run writes is kept."""

from datetime import UTC, datetime

from bulk_inference.core.run_spec import RunSpec


def expiry(spec: RunSpec, now: float) -> int:
    """Epoch seconds at which claims and items of a run written now may go."""
    return int(now) + spec.limits.claim_ttl_days * 86_400


def iso_time(epoch_seconds: float) -> str:
    """ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds")
