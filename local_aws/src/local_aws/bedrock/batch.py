"""The worker of a batch job: one thread takes it from Submitted to a terminal status.

Page "Monitor batch inference jobs" for the statuses, "Format and upload your batch inference data" and "View the
results of a batch inference job" for input and output files. Validating checks the outer shape of every line and the
quotas, never `modelInput`; output lines are in no particular order; a job that runs out of time while it is queued is
Expired, while it runs PartiallyCompleted.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import random
import threading
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from local_aws import faults, knobs
from local_aws.bedrock import bodies, evaluation, jobs, media, objects, quotas, roles
from local_aws.bedrock.jobs import InterruptedJobError, Job
from local_aws.bedrock.wire import AwsError

logger = logging.getLogger(__name__)

CHUNK = 250
SLOW_MODEL_WORKERS = 8
SLOT_POLL_SECONDS = 0.1

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# One job computes at a time: several would only take the interpreter from each other and from the server.
_turn = threading.Lock()


class FailedJobError(Exception):
    """The job ends as Failed; the text is its message."""


@dataclass
class _File:
    """An input file and where its lines begin and end, in the order in which they are evaluated."""

    source: objects.InputFile
    data: bytes
    starts: array[int]
    ends: array[int]


@dataclass
class _Outcome:
    """How the job shall end, as the fault plan has it; `fraction` of the records is evaluated before."""

    status: str = "Completed"
    message: str = ""
    fraction: float = 1.0
    lose: float = 0.0
    duplicate: float = 0.0
    truncate: bool = False
    manifest: bool = True
    manifest_delay: float = 0.0
    queue_delay: float = 0.0


@dataclass
class _Progress:
    input_tokens: int = 0
    output_tokens: int = 0


def start(job: Job) -> None:
    """Run the job in a thread of its own."""
    threading.Thread(target=_run, args=(job,), name=f"batch-{job.id}", daemon=True).start()


def _run(job: Job) -> None:
    from ministack.core.responses import request_scope

    with request_scope(job.account, job.region):
        try:
            _live(job)
        except FailedJobError as problem:
            job.move("Failed", str(problem)[:2048])
        except Exception:
            logger.exception("batch job %s", job.arn)
            job.move("Failed", "Internal error of the local AWS: see its log.")


def _live(job: Job) -> None:
    outcome = _outcome(job)
    try:
        while not jobs.has_slot(job):
            job.pause(SLOT_POLL_SECONDS)
        job.pause(knobs.current.seconds_submitted)
        job.advance("Validating")
        began = time.time()
        files = _validated(job)
        job.pause(knobs.current.seconds_validating - (time.time() - began))
        job.advance("Scheduled")
        job.pause(knobs.current.seconds_scheduled + outcome.queue_delay)
        if outcome.status == "Expired":
            raise InterruptedJobError("timeout")
        job.processed = job.succeeded = job.failed = 0
        job.advance("InProgress")
    except InterruptedJobError as interruption:
        _end_unstarted(job, str(interruption))
        return
    progress = _Progress()
    try:
        _process(job, files, outcome, progress)
        status, message = outcome.status, outcome.message
    except InterruptedJobError as interruption:
        status, message = ("Stopped" if str(interruption) == "stop" else "PartiallyCompleted"), ""
    if job.stop_requested.is_set():
        # Also when the last record was done before the stop was noticed: a stopping job ends as Stopped.
        status = "Stopped"
        time.sleep(knobs.current.seconds_stopping)
    _finish(job, status, message, outcome, progress)


def _end_unstarted(job: Job, reason: str) -> None:
    if reason == "stop":
        time.sleep(knobs.current.seconds_stopping)
        job.move("Stopped")
    else:
        job.move("Expired", "The job timed out before it could start.")


def _outcome(job: Job) -> _Outcome:
    outcome = _Outcome(manifest_delay=knobs.current.seconds_manifest_late)
    rules = faults.strikes(
        "job",
        job.name,
        jobName=job.name,
        jobArn=job.arn,
        modelId=job.route.model.id,
        roleArn=job.role_arn,
        inputUri=str(job.input_uri),
    )
    for rule in rules:
        options = rule.options
        if rule.do == "end":
            outcome.status, outcome.message = options["as"], options["message"]
            outcome.fraction = 1.0 if options["as"] == "Completed" else options["fraction"]
        elif rule.do == "lose":
            outcome.lose = options["fraction"]
        elif rule.do == "duplicate":
            outcome.duplicate = options["fraction"]
        elif rule.do == "truncate":
            outcome.truncate = True
        elif rule.do == "no_manifest":
            outcome.manifest = False
        elif rule.do == "late_manifest":
            outcome.manifest_delay = options["seconds"]
        elif rule.do == "delay":
            outcome.queue_delay += options["seconds"]
    return outcome


# Validating


def _validated(job: Job) -> list[_File]:
    """The input files with the positions of their lines. Raises FailedJobError as Validating would."""
    model, role = job.route.model, job.role_arn
    try:
        roles.require_model(role, job.route)
        sources = objects.input_files(job.input_uri)
        objects.encryption(role, job.output_uri.bucket, job.output_key_id)
        _check_sizes(job, sources)
        files = [_indexed(job, source, objects.read(role, source)) for source in sources]
    except (roles.RoleDeniedError, objects.StorageError) as problem:
        raise FailedJobError(str(problem)) from None
    total = sum(len(file.starts) for file in files)
    least, most = (int(quotas.batch_limit(model, name)) for name in (quotas.MINIMUM, quotas.PER_JOB))
    if total < least:
        raise FailedJobError(
            f"Batch job {job.arn} contains less records ({total}) than the required minimum of: {least}"
        )
    if total > most:
        raise FailedJobError(f"Batch job {job.arn} contains more records ({total}) than the allowed maximum of: {most}")
    job.total = total
    return files


def _check_sizes(job: Job, sources: list[objects.InputFile]) -> None:
    largest_file = quotas.batch_limit(job.route.model, quotas.FILE_SIZE)
    largest_job = quotas.batch_limit(job.route.model, quotas.JOB_SIZE)
    for source in sources:
        if source.size > largest_file * quotas.GIGABYTE:
            raise FailedJobError(
                f"The input file {source.uri} is larger than the allowed maximum of: {largest_file:g} GB"
            )
    if sum(source.size for source in sources) > largest_job * quotas.GIGABYTE:
        raise FailedJobError(f"Batch job {job.arn} is larger than the allowed maximum of: {largest_job:g} GB")


def _indexed(job: Job, source: objects.InputFile, data: bytes) -> _File:
    most = int(quotas.batch_limit(job.route.model, quotas.PER_FILE))
    starts, ends = array("q"), array("q")
    numbered = enumerate(objects.lines(data), start=1)
    while chunk := list(itertools.islice(numbered, CHUNK)):
        job.pause(0)
        with _turn:
            for number, (begin, end) in chunk:
                if problem := _line_problem(data[begin:end]):
                    raise FailedJobError(f"The input file {source.uri} is not valid: line {number} {problem}")
                starts.append(begin)
                ends.append(end)
    if len(starts) > most:
        raise FailedJobError(
            f"The input file {source.uri} contains more records ({len(starts)}) than the allowed maximum of: {most}"
        )
    return _File(source, data, starts, ends)


def _line_problem(line: bytes) -> str | None:
    try:
        record = json.loads(line)
    except ValueError:
        return "is not a JSON object"
    if not isinstance(record, dict):
        return "is not a JSON object"
    if not isinstance(record.get("modelInput"), dict):
        return "has no object modelInput"
    if not isinstance(record.get("recordId", ""), str):
        return "has a recordId that is not a string"
    return None


# InProgress


def _process(job: Job, files: list[_File], outcome: _Outcome, progress: _Progress) -> None:
    """Evaluate the records and write one output file per input file; what was done is written also when the job is
    interrupted."""
    assert job.total is not None
    left = round(job.total * outcome.fraction) if outcome.status != "Completed" else job.total
    for file in files:
        order = list(range(len(file.starts)))
        random.Random(f"{knobs.current.seed} {job.name} {file.source.name}").shuffle(order)
        body = io.BytesIO()
        try:
            for chunk in _chunks(order[:left]):
                _process_chunk(job, file, chunk, outcome, progress, body)
        finally:
            _write_output(job, file, body, outcome)
        left -= min(left, len(order))
        file.data = b""
        if left == 0:
            return


def _chunks(order: list[int]) -> Iterator[list[int]]:
    speed = knobs.current.records_per_second
    # A slow job takes small chunks, so that a stop or a timeout finds it between two of them.
    size = CHUNK if speed <= 0 else max(1, min(CHUNK, int(speed / 10)))
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def _process_chunk(
    job: Job, file: _File, chunk: list[int], outcome: _Outcome, progress: _Progress, body: io.BytesIO
) -> None:
    speed = knobs.current.records_per_second
    job.pause(len(chunk) / speed if speed > 0 else 0)
    if evaluation.may_wait():
        with ThreadPoolExecutor(SLOW_MODEL_WORKERS) as pool:
            answers = list(pool.map(lambda position: _evaluate(job, file, position), chunk))
    else:
        with _turn:
            answers = [_evaluate(job, file, position) for position in chunk]
        time.sleep(0)
    assert job.processed is not None
    assert job.succeeded is not None
    assert job.failed is not None
    for answer in answers:
        job.processed += 1
        job.succeeded += answer.success
        job.failed += not answer.success
        progress.input_tokens += answer.input_tokens
        progress.output_tokens += answer.output_tokens
        body.write(_damaged(answer, outcome, job.name))


class _Answer(NamedTuple):
    record_id: str
    line: bytes
    success: bool
    input_tokens: int = 0
    output_tokens: int = 0
    fault: str | None = None


def _evaluate(job: Job, file: _File, position: int) -> _Answer:
    record = json.loads(file.data[file.starts[position] : file.ends[position]])
    record_id = record.get("recordId") or _invented_id(job.id, file.source.name, position)
    line: dict[str, Any] = {"recordId": record_id, "modelInput": record["modelInput"]}
    reader = media.Reader(job.account, job.role_arn, job.input_uri)
    try:
        if job.api == "Converse" and record["modelInput"].get("toolConfig"):
            raise AwsError("ValidationException", "Tool use is not supported in batch inference with Converse.")
        done = evaluation.evaluate(
            job.api, job.route.model, record["modelInput"], "batch", reader, recordId=record_id, jobName=job.name
        )
    except AwsError as refusal:
        line["error"] = {"errorCode": refusal.status, "errorMessage": refusal.message}
        return _Answer(record_id, _encoded(line), success=False)
    # Some lines of Converse output carry the unset members of unions as nulls, others do not.
    nulls = job.api == "Converse" and position % 2 == 0
    line["modelOutput"] = bodies.with_nulls(done.response) if nulls else done.response
    fault = done.rule.do if done.rule is not None else None
    return _Answer(record_id, _encoded(line), True, done.input_tokens, done.output_tokens, fault)


def _encoded(line: dict[str, Any]) -> bytes:
    # Characters such as U+2028 stand unescaped in AWS's files; a lone surrogate has no UTF-8 and must be escaped.
    try:
        return _encode(line).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _invented_id(job_id: str, file_name: str, position: int) -> str:
    """Eleven characters, as the ids that Bedrock gives to records without one."""
    return hashlib.blake2b(f"{job_id} {file_name} {position}".encode()).hexdigest()[:11].upper()


def _damaged(answer: _Answer, outcome: _Outcome, job_name: str) -> bytes:
    """The answer's line as it reaches the file: once, or as a fault has it."""
    if answer.fault == "lose" or faults.share(outcome.lose, "lose", job_name, answer.record_id):
        return b""
    if answer.fault == "duplicate" or faults.share(outcome.duplicate, "duplicate", job_name, answer.record_id):
        return answer.line * 2
    if answer.fault == "truncate":
        return answer.line[: len(answer.line) // 2] + b"\n"
    return answer.line


def _write_output(job: Job, file: _File, body: io.BytesIO, outcome: _Outcome) -> None:
    if outcome.truncate:
        last = body.getvalue().rfind(b"\n", 0, body.tell() - 1) + 1
        body.truncate(last + (body.tell() - last) // 2)
    if body.getbuffer().nbytes == 0:
        return
    _put(job, f"{file.source.name}.out", body.getvalue())


def _put(job: Job, name: str, data: bytes) -> None:
    target = job.output_uri
    uri = objects.Uri(target.bucket, f"{target.folder}{job.id}/{name}")
    try:
        headers = objects.encryption(job.role_arn, target.bucket, job.output_key_id)
        objects.write(job.role_arn, uri, data, headers)
    except (roles.RoleDeniedError, objects.StorageError) as problem:
        raise FailedJobError(str(problem)) from None


def _finish(job: Job, status: str, message: str, outcome: _Outcome, progress: _Progress) -> None:
    manifest = {
        "totalRecordCount": job.total,
        "processedRecordCount": job.processed,
        "successRecordCount": job.succeeded,
        "errorRecordCount": job.failed,
        "inputTokenCount": progress.input_tokens,
        "outputTokenCount": progress.output_tokens,
    }
    wanted = outcome.manifest and status != "Failed"
    data = json.dumps(manifest).encode()
    if wanted and outcome.manifest_delay <= 0:
        _put(job, "manifest.json.out", data)
    job.move(status, message)
    if wanted and outcome.manifest_delay > 0:
        time.sleep(outcome.manifest_delay)
        try:
            _put(job, "manifest.json.out", data)
        except FailedJobError as problem:
            logger.warning("manifest of %s not written: %s", job.arn, problem)
