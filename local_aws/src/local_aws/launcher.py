"""Starts ministack with our extensions in this process, on a loopback port of its own.

Order matters: ministack reads its settings from the environment while it is imported, so the port is bound and the
environment is set first, then ministack and the extensions are imported, the seams applied, and the app served.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws import control, seams, second_tries

HOST = "127.0.0.1"
REGION = "us-east-1"
ACCOUNT = "123456789012"

# Each is a module or package with `install()` and/or `ROUTES`, installed in this order.
EXTENSIONS = (
    "local_aws.knobs",
    "local_aws.faults",
    "local_aws.iam",
    "local_aws.lambda_workers",
    "local_aws.sqs",
    "local_aws.alarms",
    "local_aws.metrics",
    "local_aws.stepfunctions",
    "local_aws.bedrock",
    "local_aws.encryption",
    "local_aws.deliveries",
    "local_aws.limits",
    # The last one: it puts the checks of all in place.
    "local_aws.gate",
)

# What a developer's shell may hold and no part of the local AWS may see: credentials, endpoints, settings of other
# tools, and every setting of ministack that is not ours.
_REMOVED_PREFIXES = ("AWS_", "TF_", "PIP_", "MINISTACK_", "LOCALSTACK_", "LAMBDA_", "S3_", "SFN_", "DYNAMODB_")
_REMOVED_NAMES = (
    "AUTH", "SERVICES", "USE_SSL", "PERSIST_STATE", "STATE_DIR", "EDGE_PORT", "GATEWAY_PORT", "BIND_HOST", "DEBUG",
    "CLOUDTRAIL_RECORDING", "DOCKER_HOST", "DOCKER_NETWORK", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy",
    "https_proxy", "all_proxy",
)  # fmt: skip


_PORT_FILE = "port"


@dataclass(frozen=True)
class Options:
    """How to run: `state` is a folder that keeps AWS's state between runs; `port` 0 takes its port, else a free one."""

    port: int = 0
    state: Path | None = None
    faults: Path | None = None
    knobs: Mapping[str, object] = field(default_factory=dict)
    ready_file: Path | None = None
    parent_pid: int | None = None
    log_level: str = "WARNING"


class StartError(Exception):
    """The local AWS cannot start; the text says why and what to do."""


def run(options: Options) -> None:
    """Serve until SIGTERM, SIGINT or the parent's death. Raises StartError; prints the ready line on stdout."""
    listener = bind(options.port or _port_of(options.state))
    port = int(listener.getsockname()[1])
    home = Path(tempfile.mkdtemp(prefix="local-aws-"))
    try:
        prepare_environment(port=port, home=home, state=options.state, log_level=options.log_level)
        application = importlib.import_module("ministack.app").app
        install_extensions()
        seams.apply()
        if options.state is not None:
            (options.state / _PORT_FILE).write_text(f"{port}\n")
        asyncio.run(_configure(options))
        asyncio.run(_serve(application, listener, port, options))
    finally:
        _stop_workers()
        shutil.rmtree(home, ignore_errors=True)


def _port_of(state: Path | None) -> int:
    """The port that a state was made on, 0 for a new one: queue URLs hold the port, so a state keeps it."""
    if state is None or not (state / _PORT_FILE).exists():
        return 0
    return int((state / _PORT_FILE).read_text())


def bind(port: int) -> socket.socket:
    """A listening-to-be socket on loopback. Binding it ourselves makes a taken port an error at once, and keeps a
    free one ours until the server listens on it. Raises StartError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"port {port} is taken on {HOST}: stop what listens there or choose another with --port "
                "(0 takes a free one)"
            ) from error
        raise StartError(f"cannot listen on {HOST}:{port}: {error.strerror}") from error
    except OverflowError as error:
        listener.close()
        raise StartError(f"port {port} is not between 0 and 65535") from error
    return listener


def prepare_environment(
    *, port: int, home: Path | None = None, state: Path | None = None, log_level: str = "WARNING"
) -> None:
    """Clear this process's environment of foreign settings and set ministack's. Must run before ministack's import."""
    for name in list(os.environ):
        if name.startswith(_REMOVED_PREFIXES) or name in _REMOVED_NAMES:
            del os.environ[name]
    folder = home or Path(tempfile.gettempdir())
    os.environ.update(
        AUTH="true",
        GATEWAY_PORT=str(port),
        BIND_HOST=HOST,
        # An IP address as host makes the SDKs and the provider address buckets by path.
        MINISTACK_HOST=HOST,
        MINISTACK_REGION=REGION,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        MINISTACK_WORKER_THREADS="128",
        # Listeners on fixed ports and the Docker socket: nothing of ours needs them.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        DOCKER_HOST=f"unix://{folder / 'no-docker.sock'}",
        LOG_LEVEL=log_level,
        TMPDIR=str(folder),
        S3_DATA_DIR=str(folder / "s3"),
        STATE_DIR=str(folder / "state"),
    )
    tempfile.tempdir = None
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
        os.environ.update(
            PERSIST_STATE="1", S3_PERSIST="1", STATE_DIR=str(state / "state"), S3_DATA_DIR=str(state / "s3")
        )


def install_extensions() -> None:
    """Import every extension, let it register its seams and handlers, and take in its routes."""
    for name in EXTENSIONS:
        module = importlib.import_module(name)
        install = getattr(module, "install", None)
        if install is not None:
            install()
        control.register(getattr(module, "ROUTES", {}))


async def _configure(options: Options) -> None:
    """Apply the start's knobs and fault plan through the same handlers that the routes use."""
    if options.knobs:
        await _put("/_local/knobs", json.dumps(dict(options.knobs)).encode())
    if options.faults is not None:
        try:
            plan = options.faults.read_bytes()
        except OSError as error:
            raise StartError(f"cannot read the fault plan {options.faults}: {error.strerror}") from error
        await _put("/_local/faults", plan)


async def _put(path: str, body: bytes) -> None:
    status, value = await control.call("PUT", path, {}, body)
    if status >= 400:
        problem = value.get("error", value) if isinstance(value, dict) else value
        raise StartError(f"{path.removeprefix(control.PREFIX)}: {problem}")


async def _serve(application: Any, listener: socket.socket, port: int, options: Options) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    services = second_tries.answered(application)

    async def app(scope: dict[str, Any], receive: control.Receive, send: control.Send) -> None:
        if control.owns(scope):
            await control.serve(scope, receive, send)
        else:
            await services(scope, receive, send)

    token = secrets.token_hex(16)
    control.identify(token=token, port=port, region=REGION, account=ACCOUNT)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = options.log_level
    config.accesslog = None

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.parent_pid is not None:
        _watch_parent(options.parent_pid, lambda: loop.call_soon_threadsafe(stop.set))

    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    announcer = asyncio.create_task(_announce(token, port, options))
    done, _ = await asyncio.wait({server, announcer}, return_when=asyncio.FIRST_COMPLETED)
    if announcer in done and (error := announcer.exception()):
        stop.set()
        await server
        raise error
    await server


# For a person: programs start us with --parent-pid and read the ready line.
_HOW_TO_USE = f"""
Point a shell at it:

  export AWS_ENDPOINT_URL=http://{HOST}:{{port}} AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=test \\
    AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}

The AWS CLI, boto3, Terraform and every other SDK then work as they are.
Knobs and faults: curl http://{HOST}:{{port}}/_local/knobs, /_local/faults (README.md). Ctrl-C stops it.
"""


async def _announce(token: str, port: int, options: Options) -> None:
    """Print the ready line once the answer on our port is our own: its token proves the process."""
    await asyncio.to_thread(_wait_healthy, token, port)
    line = json.dumps(
        {
            "endpoint": f"http://{HOST}:{port}",
            "port": port,
            "pid": os.getpid(),
            "region": REGION,
            "account": ACCOUNT,
        }
    )
    if options.ready_file is not None:
        # Written beside and renamed, so that a reader never sees half a line.
        part = options.ready_file.with_name(options.ready_file.name + ".part")
        part.write_text(line + "\n")
        part.replace(options.ready_file)
    print(line, flush=True)
    if options.parent_pid is None:
        print(_HOW_TO_USE.format(port=port), file=sys.stderr, flush=True)


def _wait_healthy(token: str, port: int, seconds: float = 30.0) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while True:
        try:
            with opener.open(f"http://{HOST}:{port}/_local/health", timeout=5) as response:
                answer = json.load(response)
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise StartError(f"no healthy answer on port {port} after {seconds:.0f} s: {error}") from error
            time.sleep(0.02)
            continue
        if not isinstance(answer, dict) or answer.get("token") != token:
            raise StartError(f"port {port} is answered by another process than this one ({os.getpid()})")
        return


def _watch_parent(pid: int, stop: Any) -> None:
    """Call `stop` when process `pid` is gone, or its id belongs to a younger process."""
    born = _process_start(pid)

    def watch() -> None:
        while _alive(pid) and _process_start(pid) == born:
            time.sleep(0.5)
        stop()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks, from field 22 of /proc/PID/stat; None where there is no /proc.

    A zombie (a dead parent that nobody has waited for) counts as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _stop_workers() -> None:
    """End the Lambda workers that this process started, and only those."""
    runtime = sys.modules.get("ministack.core.lambda_runtime")
    if runtime is not None:
        runtime.reset()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see `--help`."""
    options = _parse(arguments)
    code = 0
    try:
        run(options)
    except StartError as error:
        print(f"local AWS: {error}", file=sys.stderr)
        code = 1
    except SystemExit as error:
        print(f"local AWS: {error.code}", file=sys.stderr)
        code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of running executions and pollers may sleep for long; nothing of theirs outlives this process.
    os._exit(code)


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m local_aws",
        description=(
            "An AWS on this machine for tests and demos: ministack with our extensions, IAM enforced, on 127.0.0.1. "
            'Prints one JSON line {"endpoint", "port", "pid", "region", "account"} when it is healthy, then serves '
            "until SIGTERM or Ctrl-C."
        ),
        epilog=(
            f"Point a shell at it: AWS_ENDPOINT_URL=<endpoint> AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=test "
            f"AWS_REGION={REGION}. A 12-digit access key is the root of that account."
        ),
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (default): a free one")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep AWS's state in DIR, and start from it")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="fault plan, JSON (see PUT /_local/faults)")
    parser.add_argument(
        "--knob", action="append", default=[], metavar="NAME=VALUE", help="set a knob, repeatable (GET /_local/knobs)"
    )
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="also write the ready line to FILE")
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="stop when process PID is gone")
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    knobs: dict[str, object] = {}
    for pair in given.knob:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            parser.error(f"--knob wants NAME=VALUE, not {pair!r}")
        try:
            knobs[name] = json.loads(value)
        except ValueError:
            knobs[name] = value
    return Options(
        port=given.port,
        state=given.state.resolve() if given.state else None,
        faults=given.faults.resolve() if given.faults else None,
        knobs=knobs,
        ready_file=given.ready_file.resolve() if given.ready_file else None,
        parent_pid=given.parent_pid,
        log_level=given.log_level,
    )
