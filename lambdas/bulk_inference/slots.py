"""Slots: how many batch jobs of a model are in flight in the account, whoever submitted them.

The quota counts jobs per base model, while jobs may name the model by its id, its ARN, or a cross-Region profile of it.
"""

import re
from collections.abc import Iterable
from typing import Final

from bulk_inference.errors import JobSlotsFullError
from bulk_inference.jobs import IN_FLIGHT, Job
from bulk_inference.ports import BatchJobs

_GEOGRAPHY: Final = re.compile(r"^(?:us-gov|us|eu|apac|apne|jp|au|ca|sa|me|af|il|mx|global)\.")
"""Prefixes of cross-Region inference profile ids."""


def base_model(model_id: str) -> str:
    """The model's own id out of an id, a profile's id, or the ARN of either."""
    return _GEOGRAPHY.sub("", model_id.rsplit("/", 1)[-1])


def in_flight(jobs: Iterable[Job], model_id: str) -> int:
    wanted = base_model(model_id)
    return len({job.arn for job in jobs if not job.terminal and base_model(job.model_id) == wanted})


def require_slot(jobs: BatchJobs, model_id: str, most: int) -> None:
    """Raises JobSlotsFullError if the account has `most` jobs of the model in flight.

    Two submitters may both see the last free slot: Bedrock then refuses one or queues it, and both are handled.
    """
    running = in_flight((job for status in IN_FLIGHT for job in jobs.list(status=status)), model_id)
    if running >= most:
        raise JobSlotsFullError(f"{running} jobs of {base_model(model_id)} are in flight; the quota is {most}")
