"""How much of a run happens at once, and which limit decides it."""

from dataclasses import dataclass
from typing import Final

from bulk_inference.core.json_document import Document
from bulk_inference.core.run_spec import Quota
from bulk_inference.core.settings import Concurrency

RECORDS: Final = "records"
"""There is not more to do."""
JOB_SLOTS: Final = "job_slots"
"""The account's quota of batch jobs: records of a job × jobs is all that is in flight."""
TOKENS_PER_MINUTE: Final = "tokens_per_minute"
LAMBDA: Final = "lambda"
SQS: Final = "sqs"
REQUEST: Final = "request"
DEFAULTS: Final = "defaults"
"""The module's run_defaults."""
TENANT: Final = "tenant"
"""The tenant's ceiling."""
FALLBACK: Final = "fallback"
"""Nothing is known that would decide."""

MAX_CUTTERS: Final = 50
DEFAULT_WORKERS: Final = 10
MAX_WORKERS: Final = 500
"""Leaves half of an account's 1,000 concurrent Lambda invocations to others."""
CALLS_PER_MINUTE_PER_WORKER: Final = 240
"""Requests that one infer_batch invocation is thought to finish in a minute: sixteen at once, four seconds each. The
pace within a worker follows the throttles; this only keeps workers from being started in vain."""


@dataclass(frozen=True)
class Decision(Document):
    value: int
    """How many at once, at most."""
    limit: str
    """One of the names above."""
    why: str


@dataclass(frozen=True)
class Wish:
    """What somebody has set, and where: REQUEST or DEFAULTS."""

    value: int | None
    origin: str


def wish(request: int | None, default: int | None) -> Wish:
    return Wish(default, DEFAULTS) if request is None else Wish(request, REQUEST)


def cutters(cuts: int, terraform: Concurrency) -> Decision:
    """Invocations of cut_shards."""
    reserved = terraform.cut_shards
    most = MAX_CUTTERS if reserved is None else max(1, min(reserved, MAX_CUTTERS))
    if cuts <= most:
        return Decision(max(1, cuts), RECORDS, f"{cuts} cuts of the corpus")
    if most == reserved:
        return Decision(most, LAMBDA, f"{reserved} reserved for cut_shards")
    return Decision(most, LAMBDA, f"at most {MAX_CUTTERS}, which leaves other functions their share of Lambda")


def job_slots(wanted: Wish, quota: Quota, ceiling: int | None, jobs: int) -> Decision:
    """Batch jobs in flight. `ceiling`: the tenant's. `jobs`: how many there are to be, about; they lower nothing, since
    that is an estimate."""
    found = Decision(quota.value, JOB_SLOTS, f"the account's quota of this model's batch jobs ({quota.source})")
    if wanted.value is not None and wanted.value <= quota.value:
        found = Decision(wanted.value, wanted.origin, _as_set("job_concurrency", wanted))
    return _for(jobs, "jobs", _under(ceiling, "job_concurrency", found))


def workers(
    wanted: Wish,
    tokens_per_minute: Quota | None,
    tokens_per_request: int,
    ceiling: int | None,
    batches: int | None,
    terraform: Concurrency,
) -> Decision:
    """Invocations of infer_batch. `tokens_per_request`: of quota that one holds while it runs. `ceiling`: the tenant's.
    `batches`: how many there are to be, about; None where that is not known, as of what jobs leave over."""
    found = _workers(wanted, tokens_per_minute, tokens_per_request, terraform)
    return _for(batches, "batches", _under(ceiling, "infer_concurrency", found))


_SINGULAR: Final = {"jobs": "job", "batches": "batch"}


def _under(ceiling: int | None, name: str, found: Decision) -> Decision:
    if ceiling is None or ceiling >= found.value:
        return found
    return Decision(ceiling, TENANT, f"{name} of the tenant")


def _for(number: int | None, what: str, found: Decision) -> Decision:
    if number is None or number >= found.value:
        return found
    return Decision(
        found.value,
        RECORDS,
        f"all of about {number} {what if number != 1 else _SINGULAR[what]}; {found.value} may be ({found.why})",
    )


def _workers(
    wanted: Wish, tokens_per_minute: Quota | None, tokens_per_request: int, terraform: Concurrency
) -> Decision:
    reserved = terraform.infer_batch
    if wanted.value is not None:
        if reserved is not None and reserved < wanted.value:
            return Decision(
                max(1, reserved), LAMBDA, f"{reserved} reserved for infer_batch, fewer than {wanted.value} wished for"
            )
        return Decision(wanted.value, wanted.origin, _as_set("infer_concurrency", wanted))
    most = MAX_WORKERS if reserved is None else max(1, min(reserved, MAX_WORKERS))
    if tokens_per_minute is None:
        if most < DEFAULT_WORKERS:
            return Decision(most, LAMBDA, f"{reserved} reserved for infer_batch")
        return Decision(DEFAULT_WORKERS, FALLBACK, "this model's tokens per minute are not known")
    fitting = max(1, tokens_per_minute.value // max(tokens_per_request * CALLS_PER_MINUTE_PER_WORKER, 1))
    if fitting >= most:
        why = (
            f"{reserved} reserved for infer_batch"
            if most == reserved
            else "leaves other functions half of Lambda's 1000"
        )
        return Decision(most, LAMBDA, why)
    return Decision(
        fitting,
        TOKENS_PER_MINUTE,
        f"{tokens_per_minute.value} tokens per minute ({tokens_per_minute.source}), about {tokens_per_request} held by "
        "one request",
    )


def reprocessors(priority: str, terraform: Concurrency) -> Decision | None:
    """Invocations of reprocess_records for the failed records of a run; None where Terraform says nothing of it."""
    lanes = {"high": terraform.reprocess_high, "low": terraform.reprocess_low}
    value = lanes.get(priority, terraform.reprocess_normal)
    if value is None:
        return None
    return Decision(value, SQS, f"maximum concurrency of the queue for failed records of priority {priority}")


def _as_set(name: str, wanted: Wish) -> str:
    return f"limits.{name} of the request" if wanted.origin == REQUEST else f"run_defaults.{name} of the module"
