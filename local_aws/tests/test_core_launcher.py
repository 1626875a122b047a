"""Start, stop and refusal of the local AWS itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archives import zipped
from local_aws import SOURCES, LocalAws, LocalAwsError, control, seams


def _run(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(SOURCES), **options.pop("environ", {})}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_health_answers_with_the_pid_of_the_process_that_was_started(aws: LocalAws) -> None:
    assert aws.local("GET", "/_local/health")["pid"] == aws.pid


def test_listens_on_loopback_only(aws: LocalAws) -> None:
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in table if row[3] == "0A" and int(row[1].split(":")[1], 16) == aws.port]
    assert listening == [f"0100007F:{aws.port:04X}"]


def test_taken_port_is_refused_with_its_number() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LocalAwsError, match=f"port {port} is taken"):
            LocalAws(port=port).start()


def test_unknown_knob_is_refused_before_it_is_ready() -> None:
    with pytest.raises(LocalAwsError, match="no_such_knob"):
        LocalAws(knobs={"no_such_knob": 1}).start()


def test_fault_plan_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = _run("-m", "local_aws", "--faults", str(tmp_path / "none.json"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "none.json" in errors


def test_ready_file_holds_the_ready_line(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = _run("-m", "local_aws", "--ready-file", str(ready))
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    process.terminate()
    process.communicate(timeout=60)
    assert json.loads(ready.read_text()) == line
    assert set(line) == {"endpoint", "port", "pid", "region", "account"}
    assert process.returncode == 0


def test_ends_with_the_parent_that_it_watches() -> None:
    parent = subprocess.Popen(["sleep", "600"])
    process = _run("-m", "local_aws", "--parent-pid", str(parent.pid))
    assert process.stdout is not None
    process.stdout.readline()
    parent.kill()
    parent.wait()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_sigterm_ends_own_workers_and_no_others() -> None:
    bystander = subprocess.Popen(["sleep", "600"])
    with LocalAws() as own:
        _create_function(own, "import os\ndef handler(event, context): return os.getpid()")
        worker = json.load(own.client("lambda").invoke(FunctionName="own")["Payload"])
        assert _alive(worker)
    assert not _alive(worker)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_busy_worker_ends_when_the_server_is_killed_outright(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    own = LocalAws()
    own.start()
    _create_function(
        own,
        f"""
        import os, pathlib, time
        def handler(event, context):
            pathlib.Path({str(started)!r}).write_text(str(os.getpid()) + ".")
            time.sleep(600)
        """,
        Timeout=900,
    )
    own.client("lambda").invoke(FunctionName="own", InvocationType="Event")
    _until(lambda: started.exists() and started.read_text().endswith("."))
    worker = int(started.read_text().rstrip("."))
    os.kill(own.pid, signal.SIGKILL)
    own.stop()
    _until(lambda: not _alive(worker))


def test_foreign_settings_of_the_shell_are_cleared() -> None:
    """A developer's profile, endpoint or Terraform settings, and ministack's own AUTH=false, change nothing."""
    foreign = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL": "http://192.0.2.1", "AUTH": "false", "TF_LOG": "TRACE"}
    program = (
        "import json, os; from local_aws import launcher; launcher.prepare_environment(port=1); "
        "print(json.dumps(dict(os.environ)))"
    )
    process = _run("-c", program, environ=foreign)
    after = json.loads(process.communicate(timeout=60)[0])
    assert not set(after) & {"AWS_PROFILE", "AWS_ENDPOINT_URL", "TF_LOG"}
    assert after["AUTH"] == "true"


def test_unknown_local_route_lists_the_routes(aws: LocalAws) -> None:
    with pytest.raises(LocalAwsError, match="GET /_local/health"):
        aws.local("GET", "/_local/nothing")


def test_wrong_method_names_the_right_one(aws: LocalAws) -> None:
    with pytest.raises(LocalAwsError, match="answers GET"):
        aws.local("DELETE", "/_local/health")


def test_route_outside_its_prefix_is_refused() -> None:
    async def handler(query: dict[str, str], body: bytes) -> tuple[int, object]:
        return 200, None

    with pytest.raises(ValueError, match="start with /_local/"):
        control.register({("GET", "/elsewhere"): handler})


def test_environ_points_a_shell_at_it(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    environ = aws.environ
    assert environ["AWS_ENDPOINT_URL"] == aws.endpoint
    assert environ["AWS_ACCESS_KEY_ID"] == aws.account
    assert "AWS_PROFILE" not in environ


def test_clients_ignore_the_developers_profile(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    monkeypatch.setattr(aws, "_boto", None)
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account


def test_help_names_every_option() -> None:
    process = _run("-m", "local_aws", "--help")
    text, _ = process.communicate(timeout=60)
    for option in ("--port", "--state", "--faults", "--knob", "--ready-file", "--parent-pid"):
        assert option in text


def test_every_seam_fits_the_installed_ministack() -> None:
    process = _run("-m", "local_aws.seams")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert "BAD" not in text


def test_changed_function_is_refused_with_its_name_and_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "_seams", {})

    monkeypatch.setattr(textwrap, "shorten", textwrap.shorten)
    before = textwrap.shorten

    @seams.replaces("textwrap", "shorten", sha256="0" * 64)
    def replacement() -> None: ...

    with pytest.raises(SystemExit) as refused:
        seams.apply()
    message = str(refused.value)
    assert "textwrap:shorten" in message
    assert f"written for ministack {seams.EXPECTED_MINISTACK}" in message
    assert "found 1." in message
    assert textwrap.shorten is before


def test_missing_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "_seams", {})

    @seams.replaces("json", "no_such_function", sha256="0" * 64)
    def replacement() -> None: ...

    with pytest.raises(SystemExit, match="json:no_such_function is not there"):
        seams.apply()


def test_one_bad_seam_leaves_all_functions_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "_seams", {})
    monkeypatch.setattr(textwrap, "indent", textwrap.indent)
    before = textwrap.indent

    @seams.replaces("textwrap", "indent", sha256=seams.source_hash(textwrap.indent))
    def good() -> None: ...

    @seams.replaces("textwrap", "shorten", sha256="0" * 64)
    def bad() -> None: ...

    with pytest.raises(SystemExit):
        seams.apply()
    assert textwrap.indent is before


def test_a_function_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "_seams", {})

    @seams.replaces("json", "loads", sha256="")
    def first() -> None: ...

    with pytest.raises(ValueError, match="replaced twice"):

        @seams.replaces("json", "loads", sha256="")
        def second() -> None: ...


def test_names_imported_elsewhere_are_rebound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "_seams", {})
    monkeypatch.setattr(control, "dedent", textwrap.dedent, raising=False)
    monkeypatch.setattr(textwrap, "dedent", textwrap.dedent)

    @seams.replaces("textwrap", "dedent", sha256=seams.source_hash(textwrap.dedent), also=["local_aws.control:dedent"])
    def replacement(text: str) -> str:
        return str(seams.original("textwrap", "dedent")(text)).upper()

    seams.apply()
    assert control.dedent(" a") == textwrap.dedent(" a") == "A"  # type: ignore[attr-defined]


def _until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail after 30 s."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("waited 30 s in vain")


def _create_function(aws: LocalAws, source: str, **members: Any) -> None:
    """A function named `own` with a role of its own."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName="own", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    code = {"ZipFile": zipped({"app.py": textwrap.dedent(source)})}
    aws.client("lambda").create_function(
        FunctionName="own", Runtime="python3.13", Handler="app.handler", Role=role, Code=code, **members
    )


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
