"""The committed packages: reproducible bytes, pure Python, complete without anything else installed."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import botocore.session
import pytest

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "lambdas" / "dist"


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_packages", ROOT / "lambdas" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages unpacked as the Lambda service does: code in task/, the layer in opt/."""
    folder = tmp_path_factory.mktemp("lambda")
    zipfile.ZipFile(DIST / "functions.zip").extractall(folder / "task")
    zipfile.ZipFile(DIST / "dependencies.zip").extractall(folder / "opt")
    return folder


def run_isolated(unpacked: Path, code: str) -> str:
    """Run code in a fresh interpreter that sees the standard library and the two packages, nothing else."""
    paths = [str(unpacked / "task"), str(unpacked / "opt" / "python")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {paths!r}\n{code}"],
        # What Lambda always sets: boto3 asks for the Region, the X-Ray SDK for the root.
        env={
            "PATH": os.environ["PATH"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "LAMBDA_TASK_ROOT": str(unpacked / "task"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def handlers() -> list[str]:
    """Modules of the package that define a function `handler`."""
    with zipfile.ZipFile(DIST / "functions.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("bulk_inference/handlers/")]
        return sorted(Path(name).stem for name in names if b"\ndef handler(" in archive.read(name))


def test_archive_depends_on_names_and_contents_alone() -> None:
    one = build.archive_bytes({"b.py": b"2", "a.py": b"1"})
    other = build.archive_bytes({"a.py": b"1", "b.py": b"2"})
    assert one == other
    assert one != build.archive_bytes({"a.py": b"1", "b.py": b"3"})


def test_archive_ignores_times_and_permissions_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(mode: int, time: int) -> bytes:
        package = tmp_path / str(time) / "bulk_inference"
        package.mkdir(parents=True)
        (package / "module.py").write_text("x = 1\n")
        (package / "__pycache__").mkdir()
        (package / "__pycache__" / "module.cpython-311.pyc").write_bytes(str(time).encode())
        (package / "module.py").chmod(mode)
        os.utime(package / "module.py", (time, time))
        monkeypatch.setattr(build, "LAMBDAS", package.parent)
        content = build.archive_bytes(build.functions())
        assert isinstance(content, bytes)
        return content

    assert built(0o600, 1_000_000_000) == built(0o755, 1_700_000_000)


def test_difference_names_the_file() -> None:
    committed = build.archive_bytes({"same.py": b"1", "changed.py": b"1", "gone.py": b"1"})
    built = build.archive_bytes({"same.py": b"1", "changed.py": b"2", "new.py": b"1"})
    assert build.differences(committed, built) == [
        "missing in the package: new.py",
        "no longer in the sources: gone.py",
        "differs: changed.py",
    ]
    assert build.differences(built, built) == []


def test_check_fails_and_writes_nothing_when_a_source_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "DIST", tmp_path)
    monkeypatch.setattr(build, "dependencies", lambda: {"python/a.py": b"1"})
    monkeypatch.setattr(build, "functions", lambda: {"bulk_inference/a.py": b"1"})
    assert build.main([]) == 0
    before = (tmp_path / "functions.zip").read_bytes()
    monkeypatch.setattr(build, "functions", lambda: {"bulk_inference/a.py": b"2"})
    assert build.main(["--check"]) == 1
    assert "differs: bulk_inference/a.py" in capsys.readouterr().out
    assert (tmp_path / "functions.zip").read_bytes() == before


def test_layer_is_pure_python_and_small() -> None:
    with zipfile.ZipFile(DIST / "dependencies.zip") as layer:
        names = layer.namelist()
    assert [name for name in names if not name.startswith("python/")] == []
    assert [name for name in names if name.endswith((".so", ".pyd", ".dylib", ".pyc", ".c"))] == []
    assert (DIST / "dependencies.zip").stat().st_size < 8_000_000
    data = {name.split("/")[3] for name in names if name.startswith("python/botocore/data/") and name.count("/") > 3}
    assert data == set(build.SERVICES)


def test_layer_keeps_every_licence() -> None:
    with zipfile.ZipFile(DIST / "dependencies.zip") as layer:
        names = [name.lower() for name in layer.namelist() if ".dist-info/" in name]
    distributions = {name.split("/")[1] for name in names}
    licensed = {name.split("/")[1] for name in names if "licen" in name or "copying" in name}
    assert distributions == licensed


@pytest.mark.parametrize("handler", handlers())
def test_handler_imports_from_the_packages_alone(unpacked: Path, handler: str) -> None:
    code = f"import importlib; print(callable(importlib.import_module('bulk_inference.handlers.{handler}').handler))"
    assert run_isolated(unpacked, code).strip() == "True"


def test_powertools_runs_from_the_layer(unpacked: Path) -> None:
    code = """
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, idempotent_function
import aws_xray_sdk.core, boto3
Tracer(service="x"), Metrics(namespace="x", service="x"), Logger(service="x"), BatchProcessor(EventType.SQS)
DynamoDBPersistenceLayer(table_name="t", key_attr="pk", expiry_attr="expires_at")
from aws_xray_sdk.core import patcher
print(sorted(patcher._PATCHED_MODULES))
"""
    patched = run_isolated(unpacked, code)
    assert "botocore" in patched


def test_layer_knows_converse_in_batch_jobs(unpacked: Path) -> None:
    code = """
import botocore.session
model = botocore.session.get_session().get_service_model("bedrock")
print("modelInvocationType" in model.operation_model("CreateModelInvocationJob").input_shape.members)
"""
    assert run_isolated(unpacked, code).strip() == "True"


def test_pruned_endpoint_data_answers_as_the_whole(unpacked: Path) -> None:
    """Pruning endpoints.json must not move a client to another host or signing name in any partition."""
    regions = ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"]
    code = f"""
import botocore.session, json
session = botocore.session.get_session()
seen = {{}}
for service in {sorted(build.SERVICES)!r}:
    for region in {regions!r}:
        client = session.create_client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
        signing = client._request_signer.signing_name
        seen[service + " " + region] = [client.meta.endpoint_url, signing, client.meta.partition]
print(json.dumps([seen, session.get_available_regions("s3"), session.get_available_partitions()]))
"""
    pruned, available, partitions = json.loads(run_isolated(unpacked, code))
    session = botocore.session.get_session()
    for key, expected in pruned.items():
        service, region = key.split()
        client = session.create_client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
        signing = client.meta.service_model.signing_name
        assert expected == [client.meta.endpoint_url, signing, client.meta.partition], key
    assert available == session.get_available_regions("s3")
    assert partitions == session.get_available_partitions()
