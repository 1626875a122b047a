"""Submitting one attempt at a shard: token first, job second.

Name and clientRequestToken of the job follow from the attempt, and the task token is stored under that name before the
job is created. So an event always finds whom to wake, and a retry finds the job that an earlier try made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bulk_inference.batch.collect_results import input_piece
from bulk_inference.batch.slots import require_slot
from bulk_inference.batch.staging import stage
from bulk_inference.batch.task_tokens import answer, token_attribute
from bulk_inference.core.errors import InvalidRequestError, JobRejectedError, ThrottledError
from bulk_inference.core.jobs import JobNameTakenError, JobRequest, check, identity, job_name
from bulk_inference.core.keys import Places
from bulk_inference.core.names import Attempt
from bulk_inference.core.ports import BatchJobs, CopyingBucket, Runs, Tasks
from bulk_inference.core.priorities import slots_for
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import JOB, JOBS, OPEN, job_key, run_pk, unit_sk
from bulk_inference.core.settings import Settings
from bulk_inference.core.times import expiry

_OVERTIME_SECONDS: Final = 3600
"""Beyond its own timeout, after which a job should long have ended: then reconciliation stops it."""

_INVOCATION_TYPES: Final = {"converse": "Converse", "invoke_model": "InvokeModel"}


@dataclass(frozen=True)
class SubmitTask:
    run: str
    tenant: str
    attempt: int
    shard: str
    piece: str
    task_token: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "SubmitTask":
        return cls(
            run=event["run"],
            tenant=event["tenant"],
            attempt=int(event["attempt"]),
            shard=event["shard"]["shard"],
            piece=event["shard"]["piece"],
            task_token=event["taskToken"],
        )

    @property
    def unit(self) -> str:
        return Attempt(self.shard, self.attempt).name


@dataclass(frozen=True)
class SubmitServices:
    settings: Settings
    """As Terraform wrote them: the pipeline's name, with which names of jobs begin, roles, and places."""
    input_bucket: CopyingBucket
    output_bucket: str
    runs: Runs
    jobs: BatchJobs
    tasks: Tasks
    now: float
    """Epoch seconds."""


def submit(task: SubmitTask, spec: RunSpec, services: SubmitServices) -> dict[str, Any]:
    """Makes sure that the attempt's job exists and that this task will be woken by its end.

    Returns `{"jobName", "jobArn", "status"}`. Raises JobSlotsFullError, JobRejectedError, ThrottledError,
    InvalidRequestError (the shard's file is not there).
    """
    runs, jobs, now = services.runs, services.jobs, services.now
    before = runs.get(run_pk(task.run), f"{JOBS}{task.unit}") or {}
    piece = _input_piece(task, runs)
    request = _request(task, spec, piece, services, before)
    known = runs.get(job_key(request.name), JOB)
    arn = (known or {}).get("jobArn")
    if known is not None and arn is None:
        # An earlier try stored its token; whether it got as far as creating the job, only Bedrock knows.
        found = jobs.find(request.name)
        arn = found.arn if found else None
    if arn is None:
        reach = Reach(services.settings, task.tenant, services.input_bucket.name)
        key = stage(spec, piece, task.unit, services.input_bucket, reach)
        request = replace(request, input_uri=f"s3://{services.input_bucket.name}/{key}")
        check(request)
        most = slots_for(spec.priority, spec.quotas.max_jobs_in_flight.value)
        require_slot(jobs, request.model_id, most, runs=runs, now=now)
    _store(task, request, arn, runs, now, expiry(spec, now))
    if arn is None:
        arn = _create(task, request, jobs, services.input_bucket)
        _store(task, request, arn, runs, now, expiry(spec, now))
    job = jobs.get(arn)
    if job is not None:
        # It may have ended before this token was stored; then no event is to come.
        answer(job, runs, services.tasks)
    return {"jobName": request.name, "jobArn": arn, "status": job.status if job else "Submitted"}


def _input_piece(task: SubmitTask, runs: Runs) -> str:
    earlier = None
    if task.attempt > 1:
        earlier = runs.get(run_pk(task.run), unit_sk(Attempt(task.shard, task.attempt - 1).name))
    return input_piece(task.shard, task.piece, task.attempt, earlier)


def _request(
    task: SubmitTask, spec: RunSpec, piece: str, services: SubmitServices, before: Mapping[str, Any]
) -> JobRequest:
    """`before`: token and name of an earlier try. Under SSE-KMS the same bytes get another ETag whenever they are
    written, such as by a second worker that seals, and an older bundle named jobs otherwise: the attempt stays the one
    that was made."""
    places, settings, input_bucket = Places(spec.tenant, spec.run), services.settings, services.input_bucket
    key = places.shard(piece)
    shard = input_bucket.find(key)
    if shard is None:
        raise InvalidRequestError(f"s3://{input_bucket.name}/{key} does not exist: shard {task.shard} cannot be sent")
    token = before.get("token") or identity(
        task.run, task.shard, task.attempt, spec.model.invoke_id, f"{shard.etag}-{shard.size}"
    )
    return JobRequest(
        name=before.get("jobName") or job_name(settings.name, task.run, task.shard, task.attempt, token),
        token=token,
        role_arn=_batch_role(task, settings),
        model_id=spec.model.invoke_id,
        invocation_type=_INVOCATION_TYPES[spec.model.api],
        input_uri=f"s3://{input_bucket.name}/{key}",
        output_uri=f"s3://{services.output_bucket}/{places.job_output(task.shard, task.attempt)}",
        timeout_hours=spec.limits.job_timeout_hours,
        kms_key_arn=spec.output_kms_key_arn,
        tags={
            **spec.job_tags,
            "bulk-inference:name": settings.name,
            "bulk-inference:tenant": spec.tenant,
            "bulk-inference:run": spec.run,
        },
        vpc=spec.job_vpc,
    )


def _batch_role(task: SubmitTask, settings: Settings) -> str:
    """The tenant's, as Terraform says it now, whatever a plan says. Bedrock reads and writes the files with it."""
    tenant = settings.tenants.get(task.tenant)
    if tenant is None:
        raise InvalidRequestError(f"{task.tenant!r} is no tenant of this module (any more): no job runs for it")
    return tenant.batch_role_arn


def _create(task: SubmitTask, request: JobRequest, jobs: BatchJobs, bucket: CopyingBucket) -> str:
    places = Places(task.tenant, task.run)
    try:
        return jobs.create(request)
    except JobRejectedError as error:
        key = places.refusal(task.unit)
        bucket.put(key, str(error).encode(), "text/plain; charset=utf-8")
        raise JobRejectedError(
            f"Bedrock refused to create job {request.name}: what it said is in s3://{bucket.name}/{key}"
        ) from None
    except JobNameTakenError:
        job = jobs.find(request.name)
        if job is None:
            raise ThrottledError(f"job {request.name} exists, but is not listed yet") from None
        return job.arn


def _store(task: SubmitTask, request: JobRequest, arn: str | None, runs: Runs, now: float, expires_at: int) -> None:
    """Token and name where an event, a stop and a reconciliation look for them.

    Tokens are only added: of two workers at one attempt, neither can tell whose task is the one that waits, and the end
    of the job answers all of them.
    """
    name = request.name
    where = {"run": task.run, "tenant": task.tenant, "shard": task.shard, "attempt": task.attempt}
    made = {} if arn is None else {"jobArn": arn}
    common = {**where, **made, "jobName": name, "expires_at": expires_at}
    due_at = int(now) + request.timeout_hours * 3600 + _OVERTIME_SECONDS
    runs.update(job_key(name), JOB, {**common, token_attribute(task.task_token): task.task_token})
    runs.update(run_pk(task.run), f"{JOBS}{task.unit}", {**common, "token": request.token})
    runs.update(
        OPEN,
        job_key(name),
        {"taskToken": task.task_token, "run": task.run, "expires_at": expires_at, **made},
        defaults={"openedAt": int(now), "dueAt": due_at},
    )
