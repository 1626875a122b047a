"""Model invocation jobs: their records, and the operations Create, Get, List and Stop.

API reference of Amazon Bedrock and botocore's `bedrock` model. What AWS leaves open is decided here the strict way:
a job name is used up for ever, a token is looked up before the name, a blank line is no record.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local_aws import knobs
from local_aws.bedrock import events, models, objects, quotas, roles, shapes
from local_aws.bedrock.bodies import Api
from local_aws.bedrock.models import Route
from local_aws.bedrock.place import Place
from local_aws.bedrock.wire import AwsError, iso

TERMINAL = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
DEFAULT_TIMEOUT_HOURS = 24
DEFAULT_PAGE = 100
NOT_SUPPORTED = "Batch inference is not supported for the requested model."

_ID_CHARACTERS = string.ascii_lowercase + string.digits


class InterruptedJobError(Exception):
    """The job cannot go on: its text is `stop` (StopModelInvocationJob) or `timeout`."""


@dataclass
class Job:
    """One job. Its own thread moves it through the statuses; every other thread only reads, or asks it to stop."""

    id: str
    account: str
    region: str
    request: dict[str, Any]
    route: Route
    order: int
    submitted_at: float
    expires_at: float
    status: str = "Submitted"
    message: str | None = None
    modified_at: float = 0.0
    ended_at: float | None = None
    total: int | None = None
    processed: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    stop_requested: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def arn(self) -> str:
        return job_arn(self.region, self.account, self.id)

    @property
    def name(self) -> str:
        return str(self.request["jobName"])

    @property
    def role_arn(self) -> str:
        return str(self.request["roleArn"])

    @property
    def api(self) -> Api:
        return "Converse" if self.request.get("modelInvocationType") == "Converse" else "InvokeModel"

    @property
    def input_uri(self) -> objects.Uri:
        return objects.parse(self.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"])

    @property
    def output_uri(self) -> objects.Uri:
        return objects.parse(self.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])

    @property
    def output_key_id(self) -> str | None:
        key_id: str | None = self.request["outputDataConfig"]["s3OutputDataConfig"].get("s3EncryptionKeyId")
        return key_id

    def move(self, status: str, message: str | None = None) -> None:
        """Change the status and put the event of the change on the bus."""
        with self.lock:
            self._set(status, message)
        self.announce()

    def advance(self, status: str) -> None:
        """As `move`, towards the end of the job's way. Raises InterruptedJobError when it is to stop."""
        with self.lock:
            if self.stop_requested.is_set():
                raise InterruptedJobError("stop")
            self._set(status, None)
        self.announce()

    def request_stop(self) -> bool:
        """Move to Stopping and let the job's thread know; False when the job has ended or is stopping already."""
        with self.lock:
            if self.status in TERMINAL or self.stop_requested.is_set():
                return False
            self.stop_requested.set()
            self._set("Stopping", None)
        self.announce()
        return True

    def _set(self, status: str, message: str | None) -> None:
        self.modified_at = time.time()
        self.message = message or self.message
        if status in TERMINAL:
            self.ended_at = self.modified_at
        self.status = status

    def announce(self) -> None:
        """Put the event of the present status on the bus."""
        events.emit(
            events.StateChange(
                account=self.account,
                region=self.region,
                job_arn=self.arn,
                job_name=self.name,
                model_arn=self.route.profile_arn or self.route.model_arns[0],
                status=self.status,
                message=self.message or "",
                created_at=self.submitted_at,
                changed_at=self.modified_at,
                input_uri=str(self.input_uri),
            )
        )

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises InterruptedJobError as soon as the job shall stop or its time is over."""
        until = time.time() + seconds
        while True:
            now = time.time()
            if self.stop_requested.is_set():
                raise InterruptedJobError("stop")
            if now >= self.expires_at:
                raise InterruptedJobError("timeout")
            left = min(until, self.expires_at) - now
            if until <= now:
                return
            self.stop_requested.wait(min(left, 1.0))

    def shown(self) -> dict[str, Any]:
        """The members that Get answers and that a summary of List holds."""
        counters = {
            "totalRecordCount": self.total,
            "processedRecordCount": self.processed,
            "successRecordCount": self.succeeded,
            "errorRecordCount": self.failed,
        }
        echoed = {
            name: self.request.get(name)
            for name in (
                "jobName", "modelId", "clientRequestToken", "roleArn", "inputDataConfig", "outputDataConfig",
                "vpcConfig",
            )
        }  # fmt: skip
        every = {
            "jobArn": self.arn,
            **echoed,
            "status": self.status,
            "message": self.message,
            "submitTime": iso(self.submitted_at),
            "lastModifiedTime": iso(self.modified_at or self.submitted_at),
            "endTime": iso(self.ended_at) if self.ended_at is not None else None,
            "timeoutDurationInHours": self.request.get("timeoutDurationInHours", DEFAULT_TIMEOUT_HOURS),
            "jobExpirationTime": iso(self.expires_at),
            "modelInvocationType": self.api,
            **counters,
        }
        return {name: value for name, value in every.items() if value is not None}


@dataclass
class _Scope:
    """The jobs of one account in one Region."""

    by_id: dict[str, Job] = field(default_factory=dict)
    by_name: dict[str, Job] = field(default_factory=dict)
    by_token: dict[str, Job] = field(default_factory=dict)


_scopes: dict[tuple[str, str], _Scope] = {}
_lock = threading.RLock()
_order = itertools.count(1)


def job_arn(region: str, account: str, job_id: str) -> str:
    """`arn:aws:bedrock:<region>:<account>:model-invocation-job/<12 characters>`."""
    return f"arn:aws:bedrock:{region}:{account}:model-invocation-job/{job_id}"


def create(place: Place, request: dict[str, Any], start: Callable[[Job], None]) -> dict[str, Any]:
    """CreateModelInvocationJob. `start` is called with the new job, not for a repeated token. Raises AwsError."""
    shapes.check("bedrock", "CreateModelInvocationJob", request)
    job_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(12))
    arn = job_arn(place.region, place.account, job_id)
    # The order in which AWS answers when several things are wrong, as far as it was ever reported.
    if request["roleArn"].split(":")[4] != place.account:
        raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.")
    route = models.resolve(request["modelId"], place.region, place.account)
    if not route.model.batch or (route.profile_arn is None and not route.model.alone):
        raise AwsError("ValidationException", NOT_SUPPORTED)
    with _lock:
        scope = _scope(place)
        if repeated := scope.by_token.get(request.get("clientRequestToken", "")):
            return {"jobArn": repeated.arn}
        if request["jobName"] in scope.by_name:
            raise AwsError(
                knobs.current.job_name_used_error, f"The job name {request['jobName']} is already in use. Use another."
            )
        _check_storage(place, request, arn, job_id)
        if knobs.current.job_slots_full == "refuse" and not _free_slot(scope, route):
            name = quotas.SUM.format(route.model.batch_label)
            raise AwsError(
                "ServiceQuotaExceededException",
                f"Your request exceeds the quota: {name} ({quotas.batch_limit(route.model, quotas.SUM):.0f}).",
            )
        job = _new_job(place, request, route, job_id)
        scope.by_id[job_id] = scope.by_name[job.name] = job
        if token := request.get("clientRequestToken"):
            scope.by_token[token] = job
    _register_tags(job)
    job.announce()
    start(job)
    return {"jobArn": job.arn}


def _new_job(place: Place, request: dict[str, Any], route: Route, job_id: str) -> Job:
    # Times are shown in milliseconds, and List compares with what it shows.
    now = int(time.time() * 1000) / 1000
    hours = request.get("timeoutDurationInHours", DEFAULT_TIMEOUT_HOURS)
    return Job(
        id=job_id,
        account=place.account,
        region=place.region,
        request=request,
        route=route,
        order=next(_order),
        submitted_at=now,
        modified_at=now,
        expires_at=now + hours * knobs.current.seconds_per_hour,
    )


def _check_storage(place: Place, request: dict[str, Any], arn: str, job_id: str) -> None:
    role_arn = request["roleArn"]
    given = request["inputDataConfig"]["s3InputDataConfig"]
    wanted = request["outputDataConfig"]["s3OutputDataConfig"]
    for config in (given, wanted):
        if config.get("s3BucketOwner", place.account) != place.account:
            raise AwsError("AccessDeniedException", f"{config['s3Uri']} is not owned by {config['s3BucketOwner']}.")
    roles.assumable(role_arn, arn, place.account)
    source, target = objects.parse(given["s3Uri"]), objects.parse(wanted["s3Uri"])
    for uri in (source, target):
        if not objects.bucket_exists(uri.bucket):
            raise AwsError("ValidationException", f"The S3 bucket of {uri} does not exist.")
    try:
        objects.require_read(role_arn, source)
    except roles.RoleDeniedError as problem:
        raise AwsError(
            "ValidationException", f"Failed to validate GetObject permission of the role on {source}: {problem}"
        ) from None
    try:
        objects.require_write(role_arn, target, job_id)
    except roles.RoleDeniedError as problem:
        raise AwsError(
            "ValidationException", f"Failed to validate PutObject permission of the role on {target}: {problem}"
        ) from None


def has_slot(job: Job) -> bool:
    """Whether the job may leave Submitted: fewer older jobs of its model are unfinished than there are slots."""
    with _lock:
        unfinished = _unfinished(_scopes[job.account, job.region], job.route)
        return sum(other.order < job.order for other in unfinished) < quotas.batch_limit(job.route.model, quotas.SUM)


def _free_slot(scope: _Scope, route: Route) -> bool:
    return len(_unfinished(scope, route)) < quotas.batch_limit(route.model, quotas.SUM)


def _unfinished(scope: _Scope, route: Route) -> list[Job]:
    # AWS does not say which statuses count; every one that is not terminal does here.
    return [job for job in scope.by_id.values() if job.route.model is route.model and job.status not in TERMINAL]


def get(place: Place, identifier: str) -> dict[str, Any]:
    """GetModelInvocationJob, by ARN or id. Raises AwsError."""
    return _find(place, identifier, "GetModelInvocationJob").shown()


def stop(place: Place, identifier: str) -> dict[str, Any]:
    """StopModelInvocationJob, by ARN or id. Raises AwsError; ConflictException when the job has ended."""
    job = _find(place, identifier, "StopModelInvocationJob")
    if not job.request_stop():
        raise AwsError("ConflictException", f"The job {job.arn} is {job.status} and cannot be stopped.")
    return {}


def _find(place: Place, identifier: str, operation: str) -> Job:
    shapes.check("bedrock", operation, {"jobIdentifier": identifier})
    arn = identifier if identifier.startswith("arn:") else job_arn(place.region, place.account, identifier)
    with _lock:
        job = _scope(place).by_id.get(arn.rsplit("/", 1)[-1])
    if job is None or job.arn != arn:
        raise AwsError("ResourceNotFoundException", f"Could not find the model invocation job {identifier}.")
    return job


def list_jobs(place: Place, query: Mapping[str, str]) -> dict[str, Any]:
    """ListModelInvocationJobs with every filter; newest first unless sortOrder says otherwise. Raises AwsError."""
    request: dict[str, Any] = dict(query)
    if "maxResults" in request:
        request["maxResults"] = _whole(request["maxResults"])
    shapes.check("bedrock", "ListModelInvocationJobs", request)
    ascending = request.get("sortOrder") == "Ascending"
    with _lock:
        found = sorted(_scope(place).by_id.values(), key=lambda job: job.order, reverse=not ascending)
    found = [job for job in found if _wanted(job, request)]
    if token := request.get("nextToken"):
        # The token holds the last job of the page before: jobs that are created meanwhile shift nothing.
        last = _order_in(token)
        found = [job for job in found if (job.order > last if ascending else job.order < last)]
    size = request.get("maxResults", DEFAULT_PAGE)
    page = found[:size]
    answer: dict[str, Any] = {"invocationJobSummaries": [job.shown() for job in page]}
    if len(found) > size:
        answer["nextToken"] = base64.urlsafe_b64encode(json.dumps({"last": page[-1].order}).encode()).decode()
    return answer


def _wanted(job: Job, request: Mapping[str, Any]) -> bool:
    after, before = request.get("submitTimeAfter"), request.get("submitTimeBefore")
    return (
        request.get("statusEquals") in (None, job.status)
        and str(request.get("nameContains", "")) in job.name
        and (after is None or job.submitted_at > _moment("submitTimeAfter", after))
        and (before is None or job.submitted_at < _moment("submitTimeBefore", before))
    )


def _moment(name: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise AwsError("ValidationException", f"Value '{text}' at '{name}' is not an ISO 8601 timestamp.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _order_in(token: str) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["last"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise AwsError("ValidationException", "The provided nextToken is not valid.") from None


def _scope(place: Place) -> _Scope:
    return _scopes.setdefault((place.account, place.region), _Scope())


def _register_tags(job: Job) -> None:
    """Make the job known to ministack's TagResource, UntagResource and ListTagsForResource."""
    from ministack.services import bedrock

    bedrock._model_invocation_jobs[job.arn] = {"JobArn": job.arn}
    bedrock._tags[job.arn] = {tag["key"]: tag["value"] for tag in job.request.get("tags") or ()}
