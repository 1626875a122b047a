"""The client: runs of one tenant of one deployment."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from bulk_inference.core.keys import Places
from bulkinfer import deployment as deployments
from bulkinfer import request as requests
from bulkinfer import transfer
from bulkinfer.aws import Aws, told
from bulkinfer.deployment import Deployment, Tenant
from bulkinfer.errors import BulkinferError, RunFailedError, UsageError, WaitTimeoutError
from bulkinfer.rows import Row

RUNNING: Final = "running"
UNKNOWN: Final = "unknown"
_STATUSES: Final = {
    "RUNNING": RUNNING,
    "PENDING_REDRIVE": RUNNING,
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed_out",
    "ABORTED": "aborted",
}
GOOD: Final = frozenset({"succeeded", "empty", "unchanged"})
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0


@dataclass(frozen=True)
class Status:
    """How far a run is."""

    run: str
    status: str
    """`running`, `succeeded`, `empty`, `unchanged`, `nothing_landed`, `failed`, `aborted`, `timed_out`, `incomplete`,
    `inconsistent`; `unknown` where it has not begun."""
    stage: str | None = None
    counts: Mapping[str, int] | None = None
    progress: Mapping[str, Any] | None = None
    """progress.json, while the run goes on."""
    manifest: Mapping[str, Any] | None = None
    """manifest.json, once it has ended."""
    error: str = ""
    cause: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status not in (RUNNING, UNKNOWN)

    @property
    def landed(self) -> int:
        return int((self.counts or {}).get("landed", 0))

    @property
    def failed(self) -> int:
        return int((self.counts or {}).get("failed", 0))

    @property
    def total(self) -> int | None:
        """Records that were accepted, or as many as are expected."""
        if self.counts and self.counts.get("accepted"):
            return int(self.counts["accepted"])
        expected = (self.progress or {}).get("expectedRecords")
        return None if expected is None else int(expected)


class Client:
    """Runs of one tenant. `deployment`: its name; without one, the only one in the Region."""

    def __init__(
        self,
        deployment: str | None = None,
        *,
        tenant: str | None = None,
        outputs: str | None = None,
        profile: str | None = None,
        region: str | None = None,
    ) -> None:
        self.aws = Aws(profile, region)
        self._name, self._outputs, self._tenant = deployment, outputs, tenant

    @cached_property
    def deployment(self) -> Deployment:
        return deployments.find(self.aws, self._name, self._outputs)

    @cached_property
    def tenant(self) -> Tenant:
        return self.deployment.tenant(self._tenant)

    # Starting.

    def run(
        self,
        *sources: str,
        request: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        system: str | None = None,
        model: str | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        id: str | None = None,  # noqa: A002  as the command line and the request call it
        mode: str | None = None,
        scope: str | None = None,
        priority: str | None = None,
        pattern: str | None = None,
        on_upload: Callable[[int, int], None] | None = None,
        **more: Any,
    ) -> "Run":
        """Starts a run over files, folders or s3:// URIs, or finds the one that the same call has started before.

        Local files are uploaded first, those that are there unchanged are not. Raises UsageError, BulkinferError.
        """
        built = requests.build(
            request, prompt=prompt, system=system, model=model, schema=requests.schema_of(schema),
            max_tokens=max_tokens, mode=mode, scope=scope, priority=priority, **more,
        )  # fmt: skip
        run, built = self.prepare(sources, built, id, pattern, on_upload)
        return self.start(run, built)

    def prepare(
        self,
        sources: Sequence[str],
        request: dict[str, Any],
        wanted: str | None,
        pattern: str | None = None,
        on_upload: Callable[[int, int], None] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """(run id, request with its source): local files are uploaded."""
        remote = [one for one in sources if one.startswith("s3://")]
        if remote and len(remote) != len(sources):
            raise UsageError("local files and s3:// URIs cannot be mixed", "give one kind, or upload first")
        if remote:
            source = {**_remote_source(remote), **request.get("source", {})}
            run = requests.run_id(wanted, remote[0].rstrip("/").rpartition("/")[2], {**request, "source": source})
            return run, {**request, "source": source}
        if not sources:
            if not request.get("source"):
                raise UsageError("no corpus: name files, folders or s3:// URIs, or a request with source")
            return requests.run_id(wanted, "run", request), request
        files = transfer.local_files(sources, pattern)
        content = {one.name: transfer.digest_of(one.path) for one in files}
        run = requests.run_id(wanted, Path(sources[0]).resolve().stem, {**request, "files": content})
        prefix = f"{self.tenant.name}/corpus/uploads/{run}/"
        transfer.upload(self.aws, files, self.deployment.input_bucket, prefix, on_upload)
        source = {"prefix": prefix, **({"format": "text"} if _all_text(files) else {}), **request.get("source", {})}
        return run, {**request, "source": source}

    def start(self, run: str, request: Mapping[str, Any]) -> "Run":
        """Starts an execution of this name with this request. The same name and request again is the same run; another
        request under a name that is taken raises UsageError."""
        client, text, known = self.aws.client("stepfunctions"), json.dumps(request, sort_keys=True), False
        with told("states:StartExecution", f"starting run {run}"):
            try:
                client.start_execution(stateMachineArn=self.tenant.state_machine_arn, name=run, input=text)
            except client.exceptions.ExecutionAlreadyExists:
                known = True
                there = client.describe_execution(executionArn=self._entry_arn(run))
                if json.loads(there.get("input") or "null") != json.loads(text):
                    raise UsageError(
                        f"run {run} exists, with another request: a run id stands for one request for 90 days",
                        "give another --id, or leave it out",
                    ) from None
        return Run(self, self.tenant.run_prefix + run, known=known)

    def plan(self, run: str, request: Mapping[str, Any], timeout: float = 600) -> dict[str, Any]:
        """The dry run's report: mode and why, shards, tokens, money. Nothing is inferred and nothing is left but it."""
        name = f"{run[:40]}-plan-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:64]
        whole = self.tenant.run_prefix + run
        dry = {**request, "run": {**request.get("run", {}), "dry_run": True, "id": whole}}
        execution = self.start(name, dry)
        ended = execution.wait(timeout=timeout, check=False)
        if ended.status != "succeeded":
            raise UsageError(f"{ended.error}: {ended.cause}".strip(": "))
        report = self.get_json(Places(self.tenant.name, whole).plan_report)
        if report is None:
            raise BulkinferError(f"the plan of {whole} succeeded but left no report")
        return report

    # Looking.

    def attach(self, run: str) -> "Run":
        """A run by its id, begun or not."""
        return Run(self, run)

    def runs(self, status: str | None = None, since: timedelta | None = None) -> Iterator[Status]:
        """Runs of the tenant, the newest first, as their executions tell it."""
        earliest = None if since is None else datetime.now(UTC) - since
        with told("states:ListExecutions", "listing runs"):
            paginator = self.aws.client("stepfunctions").get_paginator("list_executions")
            for page in paginator.paginate(stateMachineArn=self.tenant.state_machine_arn):
                for one in page["executions"]:
                    if earliest is not None and one["startDate"] < earliest:
                        return
                    if "-plan-" in one["name"]:
                        continue
                    found = Status(
                        self.tenant.run_prefix + one["name"],
                        _STATUSES.get(one["status"], one["status"].lower()),
                        started_at=one["startDate"],
                        ended_at=one.get("stopDate"),
                    )
                    if status is None or found.status == status:
                        yield found

    def process(self, records: Iterable[Mapping[str, Any]], *, timeout: float | None = None, **how: Any) -> list[Row]:
        """A list in, rows out, in input order. Each record needs an `id` of its own; others are given their number."""
        import tempfile

        lines, order = [], []
        for number, record in enumerate(records):
            one = {"id": str(number), **record}
            order.append(str(one["id"]))
            lines.append(json.dumps(one))
        if not order:
            return []
        on_progress = how.pop("on_progress", None)
        if "prompt" not in how and "request" not in how:
            how["prompt"] = "{{prompt}}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.jsonl"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            run = self.run(str(path), **how)
        run.wait(timeout=timeout, on_progress=on_progress)
        found = {row.id: row for row in run.results(with_failures=True)}
        return [found.get(one, Row(one)) for one in order]

    @property
    def documents(self) -> "Documents":
        return Documents(self)

    # Shared by runs.

    def get_json(self, key: str) -> dict[str, Any] | None:
        """An object of the output bucket; None if it is not there."""
        bucket = self.deployment.output_bucket
        # Listed first: S3 answers "access denied" for what is not there to callers who may list some prefixes only.
        if not any(one.key == key for one in transfer.parts(self.aws, bucket, key)):
            return None
        with told("s3:GetObject", f"reading {key}"):
            value: dict[str, Any] = json.loads(self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        return value

    def invoke(self, handler: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """An operator's function. Raises BulkinferError with its message if it refuses."""
        name = self.deployment.function(handler)
        with told("lambda:InvokeFunction", f"calling {name}"):
            answer = self.aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        value: dict[str, Any] = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise BulkinferError(str(value.get("errorMessage") or value))
        return value

    def _entry_arn(self, name: str) -> str:
        return f"{self.tenant.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"

    def _pipeline_arn(self, run: str) -> str:
        return f"{self.deployment.pipeline_arn.replace(':stateMachine:', ':execution:')}:{run}"


class Run:
    """One run, whether it has begun or not."""

    def __init__(self, client: Client, run: str, *, known: bool = True) -> None:
        self.client = client
        self.id = run
        self.known = known
        """False: this call has started it."""
        self.places = Places(client.tenant.name, run)

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    @property
    def _pipeline_arn(self) -> str:
        return self.client._pipeline_arn(self.id)

    @property
    def _name(self) -> str:
        """Of the execution that was started; the tenant's machine puts its prefix before it."""
        return self.id.removeprefix(self.client.tenant.run_prefix)

    def execution(self) -> dict[str, Any] | None:
        """What Step Functions says of the run's execution; None if there is none.

        That is the pipeline's; the tenant's machine, which starts it, is asked where it came no further: it ends when
        the run is stopped, and knows nothing of what is resumed.
        """
        client = self.client.aws.client("stepfunctions")
        for arn in (self._pipeline_arn, self.client._entry_arn(self._name)):
            with told("states:DescribeExecution", f"looking at run {self.id}"):
                try:
                    found: dict[str, Any] = client.describe_execution(executionArn=arn)
                except client.exceptions.ExecutionDoesNotExist:
                    continue
            return found
        return None

    def status(self) -> Status:
        """One look."""
        execution = self.execution()
        if execution is None:
            return Status(self.id, UNKNOWN)
        status = _STATUSES.get(execution["status"], execution["status"].lower())
        times = {"started_at": execution.get("startDate"), "ended_at": execution.get("stopDate")}
        if status == RUNNING:
            progress = self.client.get_json(f"{self.places.root}progress.json")
            told_ = progress or {}
            return Status(
                self.id, RUNNING, told_.get("stage"), told_.get("counts"), progress, started_at=times["started_at"]
            )
        manifest = self.client.get_json(self.places.manifest)
        if manifest is not None:
            status = str(manifest["status"])
        return Status(
            self.id,
            status,
            counts=(manifest or {}).get("counts"),
            manifest=manifest,
            error=execution.get("error") or "",
            cause=execution.get("cause") or "",
            started_at=times["started_at"],
            ended_at=times["ended_at"],
        )

    def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Status], None] | None = None,
        interval: float | None = None,
        *,
        check: bool = True,
        begun: bool = True,
    ) -> Status:
        """Waits until the run has ended; looks less and less often, from 2 to 30 seconds apart.

        `begun`: a run that there is not is an error; False waits for it to begin. Raises RunFailedError (unless not
        `check`), WaitTimeoutError (the run goes on).
        """
        until, pause = None if timeout is None else time.monotonic() + timeout, interval or _FIRST_PAUSE
        while True:
            found = self.status()
            if on_progress is not None:
                on_progress(found)
            if found.status == UNKNOWN and begun:
                raise UsageError(f"there is no run {self.id}", "bulkinfer runs lists those that there are")
            if found.ended:
                if check and found.status not in GOOD:
                    said = f"{found.error}: {found.cause}".strip(": ")
                    raise RunFailedError(f"run {self.id} {found.status}: {said}", f"bulkinfer show {self.id}")
                return found
            if until is not None and time.monotonic() + pause > until:
                raise WaitTimeoutError(f"run {self.id} goes on after {timeout:g} s", f"bulkinfer watch {self.id}")
            time.sleep(pause)
            pause = interval or min(_LONGEST_PAUSE, pause * 1.3)

    def manifest(self) -> dict[str, Any]:
        found = self.client.get_json(self.places.manifest)
        if found is None:
            raise BulkinferError(f"run {self.id} has no manifest yet", f"bulkinfer watch {self.id}")
        return found

    def metrics(self) -> dict[str, Any]:
        """total, succeeded, failed, success_rate, seconds, seconds_per_record."""
        found = self.manifest()
        counts, seconds = found["counts"], found["seconds"]
        total, landed = counts["accepted"], counts["landed"]
        return {
            "total": total,
            "succeeded": landed,
            "failed": counts["failed"],
            "success_rate": landed / total if total else None,
            "seconds": seconds,
            "seconds_per_record": seconds / landed if landed else None,
        }

    # Results.

    def result_parts(self) -> list[transfer.Part]:
        return transfer.parts(self.client.aws, self.client.deployment.output_bucket, self.places.results_prefix)

    def failure_parts(self) -> list[transfer.Part]:
        return transfer.parts(self.client.aws, self.client.deployment.output_bucket, self.places.failures_prefix)

    def results(self, *, in_order: bool = False, with_failures: bool = False) -> Iterator[Row]:
        """Rows as they lie in S3; `in_order` sorts them as the corpus has them, in memory. A record that failed first
        and landed later is its result alone."""
        rows = self._rows(with_failures=with_failures)
        yield from sorted(rows, key=place_in_corpus) if in_order else rows

    def _rows(self, *, with_failures: bool) -> Iterator[Row]:
        aws, bucket, landed = self.client.aws, self.client.deployment.output_bucket, set[str]()
        for line in transfer.lines(aws, bucket, self.result_parts()):
            row = Row.from_line(line)
            if with_failures:
                landed.add(row.id)
            yield row
        if with_failures:
            for line in transfer.lines(aws, bucket, self.failure_parts()):
                row = Row.from_line(line)
                if not row.id or row.id not in landed:
                    yield row

    def failures(self, *, error_class: str | None = None) -> Iterator[Row]:
        """Records that have not landed, rejected rows among them."""
        for row in self.results(with_failures=True):
            if row.error is not None and error_class in (None, row.error.error_class):
                yield row

    def failure_counts(self, by: str = "class") -> dict[str, int]:
        """How many records failed, by `class` or `code`, the commonest first."""
        found = Counter(
            row.error.error_class if by == "class" else f"{row.error.error_class} {row.error.code}".strip()
            for row in self.failures()
            if row.error is not None
        )
        return dict(found.most_common())

    def download(self, folder: str, *, on_progress: Callable[[int, int], None] | None = None) -> list[Path]:
        """Result parts into a folder; goes on where an earlier call broke off."""
        bucket = self.client.deployment.output_bucket
        return transfer.download(self.client.aws, bucket, self.result_parts(), Path(folder), on_progress)

    def to_pandas(self, *, with_failures: bool = True) -> Any:
        """A data frame of all rows. Needs `pip install bulkinfer[pandas]`."""
        try:
            import pandas
        except ImportError:
            raise BulkinferError("pandas is not installed", "pip install 'bulkinfer[pandas]'") from None
        return pandas.DataFrame([row.to_dict() for row in self.results(with_failures=with_failures)])

    def to_arrow(self, *, with_failures: bool = True) -> Any:
        """A table of all rows; values are JSON. Needs `pip install bulkinfer[arrow]`."""
        try:
            import pyarrow
        except ImportError:
            raise BulkinferError("pyarrow is not installed", "pip install 'bulkinfer[arrow]'") from None
        rows = [row.to_dict() for row in self.results(with_failures=with_failures)]
        for row in rows:
            row["value"] = None if row["value"] is None else json.dumps(row["value"])
        return pyarrow.Table.from_pylist(rows)

    # Acting.

    def stop(self, cause: str = "stopped by bulkinfer") -> None:
        """Stops the run; what has landed stays. One that has ended stays as it is."""
        found = self.execution()
        if found is None:
            raise UsageError(f"there is no run {self.id}", "bulkinfer runs lists those that there are")
        with told("states:StopExecution", f"stopping run {self.id}"):
            self.client.aws.client("stepfunctions").stop_execution(
                executionArn=found["executionArn"], error="Stopped", cause=cause
            )

    def resume(self) -> None:
        """Goes on with a run that failed, timed out or was stopped: it repeats nothing that has landed."""
        client = self.client.aws.client("stepfunctions")
        with told("states:RedriveExecution", f"resuming run {self.id}"):
            try:
                client.redrive_execution(executionArn=self._pipeline_arn)
            except client.exceptions.ExecutionNotRedrivable as error:
                raise UsageError(f"run {self.id} cannot be resumed: {error.response['Error']['Message']}") from None
            except client.exceptions.ExecutionDoesNotExist:
                raise UsageError(f"there is no run {self.id}", "bulkinfer runs lists those that there are") from None

    def redrive(self, *, error_classes: Sequence[str] | None = None) -> dict[str, Any]:
        """Sends failed records through the failure lane once more, as they are."""
        return self._command({"action": "redrive", "error_classes": error_classes})

    def retry(
        self,
        *,
        error_classes: Sequence[str] | None = None,
        prompt: str | None = None,
        model: str | None = None,
        mode: str | None = None,
    ) -> dict[str, Any]:
        """A new run of what failed, with another prompt, model or mode if given. The answer's `as` is its id."""
        return self._command(
            {
                "action": "resubmit",
                "error_classes": error_classes,
                "prompt": None if prompt is None else {"template": prompt},
                "model": None if model is None else {"id": model},
                "mode": mode,
            }
        )

    def drop(self, reason: str, *, error_classes: Sequence[str] | None = None) -> dict[str, Any]:
        """Gives failed records up, with a reason."""
        return self._command({"action": "drop", "reason": reason, "error_classes": error_classes})

    def _command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Large work is done in several calls: each goes on where the last one ended."""
        given = {name: value for name, value in command.items() if value is not None}
        payload = {**given, "run": self.id, "tenant": self.client.tenant.name}
        while True:
            answer = self.client.invoke("redrive_failures", payload)
            if answer.get("finished", True):
                return answer


class Documents:
    """Documents that arrive one by one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def send(
        self,
        document: str,
        *,
        prompt: str,
        id: str | None = None,  # noqa: A002
        priority: str = "normal",
        notify: bool = False,
    ) -> str:
        """Sends a local file (it is uploaded) or a key of the input bucket; its id. The same again changes nothing."""
        queue = self.client.deployment.intake_queues.get(priority)
        if queue is None:
            raise UsageError(
                f"{self.client.deployment.name} takes no documents of priority {priority}",
                "intake = { enabled = true }",
            )
        tenant, path = self.client.tenant.name, Path(document)
        key = document
        if path.is_file():
            (file,) = transfer.local_files([document])
            key = f"{tenant}/corpus/documents/{transfer.digest_of(path)[:12]}/{file.name}"
            prefix = key.removesuffix(file.name)
            transfer.upload(self.client.aws, [file], self.client.deployment.input_bucket, prefix)
        wanted = id or key
        message = {
            "version": 1,
            "id": wanted,
            "prompt": prompt,
            "tenant": tenant,
            "document": {"key": key},
            "notify": notify,
        }
        with told("sqs:SendMessage", f"sending {wanted}"):
            self.client.aws.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(message))
        return wanted

    def status(self, document: str, *, prompt: str) -> dict[str, Any]:
        return self.client.invoke(
            "intake_status", {"id": document, "prompt": prompt, "tenant": self.client.tenant.name}
        )

    def stats(self) -> dict[str, Any]:
        """Numbers by priority."""
        return self.client.invoke("intake_status", {})


def place_in_corpus(row: Row) -> tuple[Any, ...]:
    """By sequence where rows have one (numbers before texts), else as the rows lie in the corpus; what has no place is
    last."""
    if row.sequence is not None:
        number = isinstance(row.sequence, int | float)
        return (0, not number, row.sequence if number else 0, str(row.sequence), row.id)
    source = row.source or {}
    if "key" in source:
        at = [int(source.get(name) or 0) for name in ("rowGroup", "row", "offset")]
        return (1, str(source["key"]), *at, row.id)
    return (2, row.id)


def _remote_source(uris: Sequence[str]) -> dict[str, Any]:
    buckets = {uri.removeprefix("s3://").partition("/")[0] for uri in uris}
    keys = [uri.removeprefix("s3://").partition("/")[2] for uri in uris]
    if len(buckets) > 1:
        raise UsageError(
            f"one run reads one bucket, not {', '.join(sorted(buckets))}", "start a run for each, in one --scope"
        )
    if len(uris) == 1:
        (key,) = keys
        kind = "glob" if any(sign in key for sign in "*?[") else "prefix" if key.endswith("/") or not key else "key"
        return {"bucket": buckets.pop(), kind: key}
    return {"bucket": buckets.pop(), "keys": keys}


_TEXTS: Final = frozenset({".txt", ".md", ".html", ".htm", ".xml", ".eml", ".rst"})


def _all_text(files: Sequence[transfer.LocalFile]) -> bool:
    """Whether all are text documents by their names, which no format but `text` takes."""
    return all(one.path.suffix.lower() in _TEXTS for one in files)
