"""An AWS on this machine, for tests, demos and pipelines.

    from local_aws import LocalAws

    with LocalAws(knobs={"records_per_second": 500}) as aws:
        aws.client("s3").create_bucket(Bucket="corpus")

It runs as a process of its own (`python -m local_aws`), which ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

SOURCES = Path(__file__).resolve().parents[1]
"""The folder from which a process of its own imports this package, installed or not."""

_FOREIGN_PREFIXES = ("AWS_", "TF_VAR_", "PIP_")


class LocalAwsError(Exception):
    """The local AWS did not start or refused a call; the text carries its own message."""


class LocalAws:
    """A local AWS as a context manager: started on entry, healthy when `__enter__` returns, stopped on exit.

    `knobs` and `faults` as in `PUT /_local/knobs` and `/_local/faults`; `state` a folder that keeps AWS's state
    between starts; `port` 0 takes a free one. Raises LocalAwsError with the process's own message.
    """

    def __init__(
        self,
        *,
        knobs: Mapping[str, object] | None = None,
        faults: object | None = None,
        state: Path | None = None,
        port: int = 0,
        start_seconds: float = 60.0,
    ) -> None:
        self._knobs = dict(knobs or {})
        self._faults = faults
        self._state = state
        self._port = port
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[str] | None = None
        self._ready: dict[str, Any] = {}
        self._boto: Any = None
        self._lock = threading.Lock()
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115 - lives as long as the process that writes it
            mode="w+", prefix="local-aws-", suffix=".log", delete=False
        )

    def __enter__(self) -> LocalAws:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it is healthy."""
        # -P: nothing in the working directory stands in for a module.
        command = [sys.executable, "-P", "-m", "local_aws", "--port", str(self._port), "--parent-pid", str(os.getpid())]
        if self._state is not None:
            command += ["--state", str(self._state.resolve())]
        for name, value in self._knobs.items():
            command += ["--knob", f"{name}={json.dumps(value)}"]
        environ = {**os.environ, "PYTHONPATH": str(SOURCES)}
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            self._ready = self._read_ready_line(self._process)
            if self._faults is not None:
                self.local("PUT", "/_local/faults", self._faults)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process with SIGTERM; it stops its own workers. Harmless when it is already gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._log.close()
        if process.returncode == 0:
            self.log_path.unlink(missing_ok=True)

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:PORT`, every service's endpoint."""
        return str(self._ready["endpoint"])

    @property
    def port(self) -> int:
        return int(self._ready["port"])

    @property
    def pid(self) -> int:
        return int(self._ready["pid"])

    @property
    def region(self) -> str:
        return str(self._ready["region"])

    @property
    def account(self) -> str:
        """The account's id, which is also its root access key."""
        return str(self._ready["account"])

    @property
    def log_path(self) -> Path:
        """What the process wrote to stderr: warnings of ministack, tracebacks."""
        return Path(self._log.name)

    @property
    def environ(self) -> dict[str, str]:
        """Environment for Terraform, the AWS CLI or a shell: this process's own without foreign AWS settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)}
        return {
            **kept,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def client(self, service: str, *, credentials: Mapping[str, str] | None = None, **options: Any) -> Any:
        """A boto3 client. Operator (root) credentials unless `credentials` holds the answer of AssumeRole
        (`AccessKeyId`, `SecretAccessKey`, `SessionToken`). One attempt per call unless `config` says otherwise."""
        from botocore.config import Config

        keys = credentials or {"AccessKeyId": self.account, "SecretAccessKey": "test"}
        config = Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=120)
        if "config" in options:
            config = config.merge(options.pop("config"))
        with self._lock:
            client: Any = self._session().client(
                service,
                endpoint_url=self.endpoint,
                region_name=options.pop("region_name", self.region),
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys.get("SessionToken"),
                config=config,
                **options,
            )
        return client

    def _session(self) -> Any:
        """One boto3 session for all clients (it reads a service's model once), blind to profiles and config files."""
        if self._boto is None:
            import boto3
            import botocore.session

            core = botocore.session.Session(
                session_vars={
                    "profile": (None, None, None, None),
                    "config_file": (None, None, os.devnull, None),
                    "credentials_file": (None, None, os.devnull, None),
                }
            )
            self._boto = boto3.session.Session(botocore_session=core)
        return self._boto

    def assume(self, role_arn: str, session_name: str = "test") -> dict[str, str]:
        """Credentials of a role, for `client(credentials=…)`; the role's trust policy must let the account in."""
        answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session_name)
        credentials: dict[str, str] = answer["Credentials"]
        return credentials

    def local(self, method: str, path: str, body: object | None = None) -> Any:
        """Call a route under `/_local/`: the decoded JSON answer. Raises LocalAwsError on a status of 400 or more."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise LocalAwsError(f"{method} {path}: {error.read().decode(errors='replace').strip()}") from error

    def _read_ready_line(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        # The line comes through the pipe of the process we started: no other process can be mistaken for it.
        assert process.stdout is not None
        deadline = time.monotonic() + self._start_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise LocalAwsError(f"not ready after {self._start_seconds:.0f} s; see {self.log_path}")
        line = process.stdout.readline()
        if not line:
            process.wait(timeout=20)
            message = self.log_path.read_text().strip()
            raise LocalAwsError(f"did not start: {message or f'exit code {process.returncode}'}")
        ready: dict[str, Any] = json.loads(line)
        return ready
