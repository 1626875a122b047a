"""Slots: how many batch jobs of a model are in flight in the account, whoever submitted them.

The quota counts jobs per base model, while jobs may name the model by its id, its ARN, or a cross-Region profile of it.

Counting takes five lists, and a run of a thousand shards waits with a thousand children. So a count is shared through
the runs table for about half a minute: who submits takes a slot of it, in one conditional write. Whoever finds it old
counts anew. A job of ours that ends makes it old at once.
"""

import random
from collections.abc import Callable, Iterable
from typing import Final

from bulk_inference.core.errors import JobSlotsFullError
from bulk_inference.core.jobs import IN_FLIGHT, Job
from bulk_inference.core.model_families import model_id_of
from bulk_inference.core.ports import BatchJobs, Runs
from bulk_inference.core.runs_table import COUNT, in_flight_pk

SHARED_SECONDS: Final = 30.0
"""How long a count is shared, give or take a quarter: those that wait together must not all count together."""

_KEPT_SECONDS: Final = 86_400
_LOOKS: Final = 3


def base_model(model_id: str) -> str:
    """The model's own id out of an id, a profile's id, or the ARN of either."""
    return model_id_of(model_id)


def in_flight(jobs: Iterable[Job], model_id: str) -> int:
    wanted = base_model(model_id)
    return len({job.arn for job in jobs if not job.terminal and base_model(job.model_id) == wanted})


def require_slot(
    jobs: BatchJobs,
    model_id: str,
    most: int,
    *,
    runs: Runs,
    now: float,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Takes a slot. Raises JobSlotsFullError if the account has `most` jobs of the model in flight.

    A slot that is taken for a job which is not made then is free again at the next count. A job that is made but not
    listed yet when another counts is missed, and whoever finds the count made anew at every look goes ahead: Bedrock
    refuses one too many or queues it, and both are handled.
    """
    pk, age = in_flight_pk(base_model(model_id)), SHARED_SECONDS * (0.75 + 0.5 * jitter())
    for _ in range(_LOOKS):
        item = runs.get(pk, COUNT)
        if item is None or not 0 <= now - float(item["countedAt"]) < age:
            before = None if item is None else str(item["stamp"])
            begun = 0 if item is None else int(item["taken"])
            counted = in_flight((job for status in IN_FLIGHT for job in jobs.list(status=status)), model_id)
            again = runs.get(pk, COUNT)
            # Taken while this one counted: their jobs may not have been listed.
            late = int(again["taken"]) - begun if again is not None and again["stamp"] == before else 0
            item = {
                "pk": pk,
                "sk": COUNT,
                "counted": counted,
                "taken": late,
                "countedAt": int(now),
                "stamp": f"{now:.3f}-{int(jitter() * 1e9)}",
                "expires_at": int(now) + _KEPT_SECONDS,
            }
            if not runs.put_if(item, "stamp", before):
                # Somebody else has just counted.
                continue
        taken = int(item["counted"]) + int(item["taken"])
        if taken >= most:
            raise JobSlotsFullError(f"{taken} jobs of {base_model(model_id)} are in flight; the quota is {most}")
        if runs.take(pk, COUNT, below=most - int(item["counted"]), stamp=str(item["stamp"])):
            return


def forget(model_id: str, runs: Runs) -> None:
    """A slot has become free: the next one to submit counts anew."""
    pk = in_flight_pk(base_model(model_id))
    item = runs.get(pk, COUNT)
    if item is not None:
        runs.delete_if(pk, COUNT, "stamp", str(item["stamp"]))
