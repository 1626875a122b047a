"""Ceilings of a run: records and tokens, estimated and as counted."""

from typing import Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.run_spec import Estimate, Limits

ESTIMATE_ERROR: Final = 2
"""An estimate from a sample may be so many times what is true: rows differ in length, and answers in tokens. Only what
is larger still is refused before it is counted."""


def refuse_larger(limits: Limits, records: int, tokens: int, basis: str, *, exact: bool = False) -> list[str]:
    """Raises InvalidRequestError that names each limit which the run certainly exceeds; says, in a sentence each, which
    ones it may exceed. `basis`: where the numbers are from. `exact`: records were counted, all of them, and tokens are
    as well known as they will be."""
    larger = [
        (f"limits.{name}: {number:,} {what} ({basis}) are more than the {most:,} that this run may have", number, most)
        for name, number, what, most in (
            ("max_records", records, "records", limits.max_records),
            ("max_tokens", tokens, "input and output tokens", limits.max_tokens),
        )
        if most is not None and number > most
    ]
    margin = 1 if exact else ESTIMATE_ERROR
    problems = [problem for problem, number, most in larger if number > margin * most]
    if problems:
        raise InvalidRequestError(
            "; ".join(problems) + ": raise the limit in the request, or give the run a smaller corpus"
        )
    return [f"{problem}: an estimate, so that the count decides when all is cut" for problem, *_ in larger]


def true_tokens(estimate: Estimate, records: int, shard_bytes: int) -> int:
    """Input and output tokens again, from what was cut: input by bytes, output by records."""
    per_byte = estimate.input_tokens / estimate.shard_bytes if estimate.shard_bytes else 0
    per_record = estimate.output_tokens / estimate.records if estimate.records else 0
    return round(per_byte * shard_bytes + per_record * records)
