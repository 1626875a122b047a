"""The task tokens of a submitted job: who waits for it, and its answer."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.batch.slots import forget
from bulk_inference.core.jobs import Job
from bulk_inference.core.names import Attempt
from bulk_inference.core.ports import Runs, Tasks
from bulk_inference.core.runs_table import JOB, JOBS, OPEN, job_key, run_pk

_TOKEN: Final = "taskToken"


def token_attribute(token: str) -> str:
    """Where the job's item keeps a token. One for each: adding is all that is done, in whatever order."""
    return f"{_TOKEN}-{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def tokens_of(job: Mapping[str, Any]) -> list[str]:
    """All that ever waited for the job. An older bundle kept the last one alone."""
    return [value for name, value in sorted(job.items()) if name == _TOKEN or name.startswith(f"{_TOKEN}-")]


def answer(job: Job, runs: Runs, tasks: Tasks) -> bool:
    """Tells the child that waits for a terminal job; whether somebody was still waiting. Jobs not ours are left alone.

    The child's output: `{"jobName", "jobArn", "status"}`.
    """
    # Read before the tokens: a token that comes later keeps the wait open.
    waiting = runs.get(OPEN, job_key(job.name))
    known = runs.get(job_key(job.name), JOB)
    if known is None or not job.terminal:
        return False
    output = {"jobName": job.name, "jobArn": job.arn, "status": job.status}
    heard = [tasks.succeed(token, output) for token in tokens_of(known)]
    runs.update(run_pk(known["run"]), f"{JOBS}{Attempt(known['shard'], known['attempt']).name}", output)
    forget(job.model_id, runs)
    if waiting is not None:
        # Not if another has come to wait meanwhile: then submit_job itself sees that the job has ended.
        runs.delete_if(OPEN, job_key(job.name), _TOKEN, waiting[_TOKEN])
    return any(heard)
