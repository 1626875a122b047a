"""The task token of a submitted job: who waits for it, and its answer."""

from bulk_inference.batch.slots import forget
from bulk_inference.core.jobs import Job
from bulk_inference.core.names import Attempt
from bulk_inference.core.ports import Runs, Tasks
from bulk_inference.core.runs_table import JOB, JOBS, OPEN, job_key, run_pk


def answer(job: Job, runs: Runs, tasks: Tasks) -> bool:
    """Tells the child that waits for a terminal job; whether somebody was still waiting. Jobs not ours are left alone.

    The child's output: `{"jobName", "jobArn", "status"}`.
    """
    known = runs.get(job_key(job.name), JOB)
    if known is None or not job.terminal:
        return False
    token = known["taskToken"]
    heard = tasks.succeed(token, {"jobName": job.name, "jobArn": job.arn, "status": job.status})
    runs.update(
        run_pk(known["run"]),
        f"{JOBS}{Attempt(known['shard'], known['attempt']).name}",
        {"jobName": job.name, "jobArn": job.arn, "status": job.status},
    )
    forget(job.model_id, runs)
    # Not if the token has been replaced meanwhile: then submit_job itself sees that the job has ended.
    runs.delete_if(OPEN, job_key(job.name), "taskToken", token)
    return heard
