"""Python functions of Lambda: workers that report an exception under its own name, and survive it.

Each worker is a process of its own that runs `lambda_bootstrap.py`: an execution environment with the function's code,
its layers, the environment variables that AWS documents, and nothing of the shell that started the local AWS
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, lambda-runtime-environment.html). Its two
pipes carry requests and answers; a third carries what it prints, ended by a mark, so that no call waits for silence.
"""

from __future__ import annotations

import contextvars
import datetime
import hashlib
import importlib.util
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime, router
from ministack.services import cloudwatch_logs, lambda_svc, sts

from local_aws import faults, iam, lambda_bootstrap, seams

_RUNTIME = "ministack.core.lambda_runtime"
_SERVICE = "ministack.services.lambda_svc"

# What the Python runtimes bring along beside the standard library; everything else must come in the function's own
# package or a layer, here as on AWS. https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")

# Lambda gives an environment 10 s to initialise on its own machine; a busy laptop needs more.
_INIT_SECONDS = 60.0
_PATH = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"

_log = logging.getLogger("local_aws.lambda")
_unpack_lock = threading.Lock()


@dataclass(frozen=True)
class Environment:
    """Facts of the execution environment that ran an invocation, for its log lines."""

    log_stream: str
    memory_bytes: int


class _Logs:
    """What a worker prints, read as it comes so that the worker never blocks on a full pipe."""

    def __init__(self, descriptor: int) -> None:
        self._buffer = bytearray()
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(descriptor,), name="lambda-log", daemon=True).start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                with self._changed:
                    self._buffer += chunk
                    self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def until_mark(self, request_id: str, seconds: float) -> str:
        """Everything printed before the mark of a request; what is there when the pipe closes or time is up."""
        mark = lambda_bootstrap.END_OF_LOG + request_id.encode() + b"\n"
        with self._changed:
            self._changed.wait_for(lambda: self._closed or mark in self._buffer, timeout=seconds)
            end = self._buffer.find(mark)
            text = bytes(self._buffer if end < 0 else self._buffer[:end])
            del self._buffer[: len(text) + (0 if end < 0 else len(mark))]
        return text.decode("utf-8", errors="replace")


class PythonWorker(lambda_runtime.Worker):  # type: ignore[misc]
    """One execution environment of a Python function. Stands in for ministack's worker in its pool."""

    _requests: int | None = None
    _responses: int | None = None
    _logs: _Logs | None = None
    # Ministack takes its own reference away when the function is deleted under a running call; this one stays.
    _process: subprocess.Popen[bytes] | None = None
    _proc: subprocess.Popen[bytes] | None
    log_stream = ""
    access_key = ""

    def _spawn(self) -> None:
        """Start the process and load the handler. Raises _FunctionError with what Lambda reports when that fails."""
        self._close()
        self._discard_tmpdir()
        self._tmpdir = tempfile.mkdtemp(prefix=f"lambda-{self.func_name[:40]}-")
        self.log_stream = _new_log_stream(self.config)
        credentials = _credentials(self.config)
        self.access_key = credentials["AWS_ACCESS_KEY_ID"]
        _by_access_key[self.access_key] = self
        layers = [_unpacked(data) for data in self._layer_zips()]
        code = _unpacked(self.code_zip)
        requests, self._requests = os.pipe()
        self._responses, responses = os.pipe()
        log, log_end = os.pipe()
        try:
            # -P and -S keep the folder of the script and the packages of the local AWS itself out of reach.
            command = [sys.executable, "-P", "-S", lambda_bootstrap.__file__, str(requests), str(responses)]
            self._process = self._proc = subprocess.Popen(
                command,
                cwd=code,
                env=_environment(self.config, code, layers, self._tmpdir, self.log_stream, credentials),
                stdin=subprocess.DEVNULL,
                stdout=log_end,
                stderr=log_end,
                pass_fds=(requests, responses),
                start_new_session=True,
            )
        finally:
            for descriptor in (requests, responses, log_end):
                os.close(descriptor)
            self._logs = _Logs(log)
        self._start_time = time.time()
        first = self._receive(time.monotonic() + _INIT_SECONDS)
        if first is not None and "ready" in first:
            return
        if first is not None:
            self._stop(grace=1.0)
            raise _FunctionError(first["init"], self._logs.until_mark("init", 1.0))
        raise self._gone("init", _INIT_SECONDS)

    def invoke(
        self,
        event: object,
        request_id: str,
        *,
        trace_id: str | None = None,
        depth: object = None,
        durable: dict[str, str] | None = None,
        invoked_function_arn: str | None = None,
    ) -> dict[str, Any]:
        """Run one invocation: {"body", "log", "log_source"}, with "error" and "function_error" when it failed."""
        with self._lock:
            try:
                if self._proc is None or self._proc.poll() is not None:
                    self._spawn()
                return self._call(event, request_id, trace_id, invoked_function_arn)
            except _FunctionError as failure:
                return {
                    "body": {**failure.payload, "requestId": request_id},
                    "error": True,
                    "function_error": "Unhandled",
                    "log": failure.log,
                    "log_source": Environment(self.log_stream, 0),
                }

    def _call(self, event: object, request_id: str, trace_id: str | None, arn: str | None) -> dict[str, Any]:
        seconds = float(self.config.get("Timeout", 3))
        request = {
            "event": event,
            "requestId": request_id,
            "functionArn": arn or self.config.get("FunctionArn", ""),
            "deadline": time.time() + seconds,
            "traceId": trace_id,
        }
        deadline = time.monotonic() + seconds
        self._send(json.dumps(request).encode() + b"\n")
        answer = self._receive(deadline)
        if answer is None:
            raise self._gone(request_id, seconds)
        assert self._logs is not None
        outcome: dict[str, Any] = {
            "body": answer.get("result"),
            "log": self._logs.until_mark(request_id, 1.0),
            "log_source": Environment(self.log_stream, answer["memory"]),
        }
        if "error" in answer:
            outcome |= {"body": answer["error"], "error": True, "function_error": "Unhandled"}
        return outcome

    def _send(self, line: bytes) -> None:
        assert self._requests is not None
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._requests, view) :]
        except BrokenPipeError:
            return  # The process is gone: the missing answer says how.

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        """The next answer, or None when the process ended or the deadline (monotonic seconds) passed."""
        assert self._responses is not None
        poll = select.poll()
        poll.register(self._responses, select.POLLIN | select.POLLHUP)
        line = bytearray()
        while not line.endswith(b"\n"):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            chunk = os.read(self._responses, 1 << 20)
            if not chunk:
                return None
            line += chunk
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self, request_id: str, seconds: float) -> _FunctionError:
        """Why no answer came: the time was up, or the process ended. Leaves no process behind."""
        timed_out = self._still_runs()
        code = self._stop(grace=0.0)
        assert self._logs is not None
        log = self._logs.until_mark(request_id, 0.5)
        if timed_out:
            text = f"Task timed out after {seconds:.2f} seconds"
            payload = {"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {request_id} Error: {text}"}
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            return _FunctionError(payload, f"{log}{stamp}Z {request_id} {text}\n")
        if code < 0:
            reason = f"Runtime exited with error: signal: {signal.strsignal(-code) or -code}".lower()
            reason = "R" + reason[1:]
        elif code:
            reason = f"Runtime exited with error: exit status {code}"
        else:
            reason = "Runtime exited without providing a reason"
        payload = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {reason}"}
        return _FunctionError(payload, f"{log}RequestId: {request_id} Error: {reason}\nRuntime.ExitError\n")

    def _still_runs(self) -> bool:
        assert self._process is not None
        try:
            # A process that closed its pipe is about to end: tell that apart from one that took too long.
            self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _stop(self, grace: float) -> int:
        """End the process and what it started; its exit code."""
        assert self._process is not None
        process = self._process
        self._proc = None
        try:
            process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return int(process.wait())

    def die(self) -> None:
        """Kill the process, as when its machine goes; returns when it is gone."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _close(self) -> None:
        for descriptor in (self._requests, self._responses):
            if descriptor is not None:
                os.close(descriptor)
        self._requests = self._responses = None

    def _discard_tmpdir(self) -> None:
        if self._tmpdir:
            shutil.rmtree(self._tmpdir, ignore_errors=True)

    def _layer_zips(self) -> list[bytes]:
        """Zips of the layers, last layer first: a later layer's files win over an earlier one's."""
        zips = [lambda_svc._resolve_layer_zip(layer) for layer in self.config.get("Layers") or []]
        return [data for data in reversed(zips) if data]


class _FunctionError(Exception):
    """An invocation that failed outside the handler: what Lambda answers, and the log lines so far."""

    def __init__(self, payload: dict[str, Any], log: str) -> None:
        super().__init__(payload["errorMessage"])
        self.payload = payload
        self.log = log


#: Execution environments by the access key that each has of its own: how a call tells which of them makes it.
_by_access_key: weakref.WeakValueDictionary[str, PythonWorker] = weakref.WeakValueDictionary()


def caller(headers: dict[str, str]) -> PythonWorker | None:
    """The execution environment that signed a request, or None: somebody else did."""
    return _by_access_key.get(router.extract_access_key_id(headers))


def _credentials(config: dict[str, Any]) -> dict[str, str]:
    """The function's session under an access key of this environment's own, as every environment has on AWS."""
    shared: dict[str, str] = lambda_runtime.execution_credentials(config)
    access_key = f"ASIA{uuid.uuid4().hex[:16].upper()}"
    sts.register_session(access_key, dict(sts._sessions[shared["AWS_ACCESS_KEY_ID"]]))
    return {**shared, "AWS_ACCESS_KEY_ID": access_key}


def _environment(
    config: dict[str, Any], code: Path, layers: list[Path], scratch: str, stream: str, credentials: dict[str, str]
) -> dict[str, str]:
    """The defined runtime environment variables, the function's own, and the endpoint."""
    _, region = lambda_runtime._account_region_from_function_config(config)
    name = config["FunctionName"]
    endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
    own = (config.get("Environment") or {}).get("Variables") or {}
    reserved = {
        "_HANDLER": config.get("Handler", ""),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', '')}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": _log_group(config),
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "LAMBDA_TASK_ROOT": str(code),
        "LAMBDA_RUNTIME_DIR": str(_runtime_folder()),
        **credentials,
    }
    folders = [str(code)]
    for layer in layers:
        folders += [str(folder) for folder in (layer / "python" / "lib").glob("python3*/site-packages")]
        folders.append(str(layer / "python"))
    defaults = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": _PATH,
        "PYTHONPATH": os.pathsep.join([*folders, str(_runtime_folder())]),
        "TMPDIR": scratch,
        # No daemon listens: segments sent there are dropped, as nothing here shows traces.
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        # Of the local AWS: where the services are, and no configuration of the developer's own.
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": str(Path(scratch) / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(Path(scratch) / "no-credentials"),
        lambda_runtime.HOST_PREFIX_ENV: "true",
    }
    return {**defaults, **{key: str(value) for key, value in own.items()}, **reserved}


def _unpacked(archive: bytes) -> Path:
    """Folder with an archive's files, unpacked once and shared by all workers (read-only on AWS, so nobody writes)."""
    folder = Path(tempfile.gettempdir()) / "lambda-code" / hashlib.sha256(archive).hexdigest()[:32]
    with _unpack_lock:
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            source = part / "archive.zip"
            source.write_bytes(archive)
            with zipfile.ZipFile(source) as opened:
                opened.extractall(part)
            source.unlink()
            part.rename(folder)
    return folder


def _runtime_folder() -> Path:
    """Folder with the packages of the runtime, linked from where this Python has them."""
    folder = Path(tempfile.gettempdir()) / "lambda-runtime"
    with _unpack_lock:
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for package in _RUNTIME_PACKAGES:
                spec = importlib.util.find_spec(package)
                if spec is None or spec.origin is None:
                    continue
                origin = Path(spec.origin)
                source = origin.parent if origin.name == "__init__.py" else origin
                (part / source.name).symlink_to(source)
            part.rename(folder)
    return folder


def _log_group(config: dict[str, Any]) -> str:
    return (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"


def _new_log_stream(config: dict[str, Any]) -> str:
    today = datetime.datetime.now(datetime.UTC).strftime("%Y/%m/%d")
    return f"{today}/[{config.get('Version', '$LATEST')}]{uuid.uuid4().hex}"


@seams.replaces(
    _RUNTIME, "_worker_class_for", sha256="b5a23849280af819c2f2b44faeb9fa466cf1cee49fe4222b041cc909f2c44b30"
)
def worker_class_for(config: dict[str, Any]) -> type:
    """Our worker for Python functions, ministack's own for the others."""
    if _is_python(config):
        return PythonWorker
    stock: type = seams.original(_RUNTIME, "_worker_class_for")(config)
    return stock


@seams.replaces(
    _SERVICE, "_execute_function_warm", sha256="62b9218bef5b948a23c3269d6fb7260f88dda21cb88a1962ab72e4dceac81153"
)
def execute_function_warm(func: dict[str, Any], event: object, request_id: str) -> dict[str, Any]:
    """Run an invocation on a free worker of the function; Python functions on ours."""
    config = func.get("config") or func
    code = func.get("code_zip")
    if not _is_python(config) or not code:
        stock: dict[str, Any] = seams.original(_SERVICE, "_execute_function_warm")(func, event, request_id)
        return stock
    lambda_svc._ensure_reaper_thread()
    rule = None
    if faults.active("worker"):
        name = config.get("FunctionName", "unknown")
        rule = faults.strike("worker", function=name, service="lambda", call="Invoke", request=json.dumps(event))
    if rule is not None and rule.do == "repeat":
        again = threading.Timer(
            float(rule.options["seconds"]), contextvars.copy_context().run, (_run, config, code, event, request_id)
        )
        again.daemon = True
        again.start()
    return _run(config, code, event, request_id, rule)


def _run(
    config: dict[str, Any], code: bytes, event: object, request_id: str, rule: faults.Rule | None = None
) -> dict[str, Any]:
    """One invocation on a free worker; a rule of the fault plan may hold it up, or kill the worker before or after."""
    name = config.get("FunctionName", "unknown")
    worker, _ = lambda_runtime.acquire_worker(name, config, code, qualifier=config.get("Version", "$LATEST"))
    try:
        if rule is not None and rule.do == "pause" and rule.options["at"] == "before":
            time.sleep(float(rule.options["seconds"]))
        if rule is not None and rule.do == "kill" and rule.options["at"] == "before":
            return _killed(worker, request_id)
        outcome: dict[str, Any] = worker.invoke(
            event,
            request_id,
            trace_id=lambda_svc._xray_trace_id_for_invocation(config),
            invoked_function_arn=config.get("FunctionArn", ""),
        )
        if rule is not None and rule.do == "pause" and rule.options["at"] == "after":
            time.sleep(float(rule.options["seconds"]))
        if rule is not None and rule.do == "kill" and rule.options["at"] == "after":
            return _killed(worker, request_id)
        return outcome
    finally:
        lambda_runtime.release_worker(worker)


def _killed(worker: PythonWorker, request_id: str) -> dict[str, Any]:
    """What Lambda answers for a worker that dies outside of any call."""
    worker.die()
    reason = f"RequestId: {request_id} Error: Runtime exited with error: signal: killed"
    return {
        "body": {"errorType": "Runtime.ExitError", "errorMessage": reason, "requestId": request_id},
        "error": True,
        "function_error": "Unhandled",
        "log": f"{reason}\nRuntime.ExitError\n",
        "log_source": Environment(worker.log_stream, 0),
    }


@seams.replaces(
    _SERVICE, "_emit_lambda_logs", sha256="111efbf06968bb207427d25f6070f8048962a56385e2f7c62bb76b5f9d051720"
)
def emit_lambda_logs(
    func: dict[str, Any], request_id: str, log_text: str, error: bool, duration_ms: int, *, log_source: Any = None
) -> None:
    """Write an invocation's log events: one stream per execution environment, and only what the role may write.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html: the execution role needs
    logs:CreateLogGroup (when the group is not there), logs:CreateLogStream and logs:PutLogEvents; without them the
    function runs and its logs are lost.
    """
    if not isinstance(log_source, Environment):
        seams.original(_SERVICE, "_emit_lambda_logs")(
            func, request_id, log_text, error, duration_ms, log_source=log_source
        )
        return
    config = func.get("config") or func
    group = _log_group(config)
    if not _may_log(config.get("Role", ""), group, log_source.log_stream):
        return
    used = max(1, -(-log_source.memory_bytes // (1024 * 1024)))
    version = config.get("Version", "$LATEST")
    lines = [
        f"START RequestId: {request_id} Version: {version}",
        *(line for line in log_text.split("\n") if line),
        f"END RequestId: {request_id}",
        _report(request_id, duration_ms, config.get("MemorySize", 128), used),
    ]
    write_log_events(group, log_source.log_stream, lines)


def write_log_events(group: str, stream: str, lines: list[str]) -> None:
    """Append lines to a log stream, creating group and stream, and hand them to the group's subscriptions."""
    now = int(time.time() * 1000)
    groups = cloudwatch_logs._log_groups
    if group not in groups:
        groups[group] = {
            "arn": cloudwatch_logs._make_group_arn(group),
            "creationTime": now,
            "retentionInDays": None,
            "tags": {},
            "subscriptionFilters": {},
            "streams": {},
        }
    record = groups[group]["streams"].setdefault(
        stream,
        {
            "events": [],
            "uploadSequenceToken": "1",
            "creationTime": now,
            "firstEventTimestamp": None,
            "lastEventTimestamp": None,
            "lastIngestionTime": None,
        },
    )
    events = [{"timestamp": now, "message": line, "ingestionTime": now} for line in lines]
    cloudwatch_logs._append_log_events(record, events)
    cloudwatch_logs._fanout_to_subscription_filters(
        group, stream, [{"timestamp": now, "message": line} for line in lines]
    )


def _report(request_id: str, duration_ms: int, memory: int, used: int) -> str:
    return (
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tBilled Duration: {duration_ms} ms\t"
        f"Memory Size: {memory} MB\tMax Memory Used: {used} MB"
    )


def _may_log(role_arn: str, group: str, stream: str) -> bool:
    arn = str(cloudwatch_logs._make_group_arn(group)).removesuffix(":*")
    needed = [
        ("logs:CreateLogStream", f"{arn}:log-stream:{stream}"),
        ("logs:PutLogEvents", f"{arn}:log-stream:{stream}"),
    ]
    if group not in cloudwatch_logs._log_groups:
        needed.insert(0, ("logs:CreateLogGroup", f"{arn}:*"))
    try:
        for action, resource in needed:
            iam.authorize(role_arn, action, resource)
    except iam.AccessDeniedError as denied:
        _log.info("no logs: %s", denied)
        return False
    return True


def _is_python(config: dict[str, Any]) -> bool:
    return str(config.get("Runtime", "")).startswith("python")
