"""Ceilings of a run: records and tokens, estimated and as counted."""

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Estimate, Limits


def refuse_larger(limits: Limits, records: int, tokens: int, basis: str) -> None:
    """Raises InvalidRequestError that names each limit which the run exceeds. `basis`: where the numbers are from."""
    problems = [
        f"limits.{name}: {number} {what} ({basis}) are more than the {most} that this run may have"
        for name, number, what, most in (
            ("max_records", records, "records", limits.max_records),
            ("max_tokens", tokens, "input and output tokens", limits.max_tokens),
        )
        if most is not None and number > most
    ]
    if problems:
        raise InvalidRequestError(
            "; ".join(problems) + ": raise the limit in the request, or give the run a smaller corpus"
        )


def true_tokens(estimate: Estimate, records: int, shard_bytes: int) -> int:
    """Input and output tokens again, from what was cut: input by bytes, output by records."""
    per_byte = estimate.input_tokens / estimate.shard_bytes if estimate.shard_bytes else 0
    per_record = estimate.output_tokens / estimate.records if estimate.records else 0
    return round(per_byte * shard_bytes + per_record * records)
