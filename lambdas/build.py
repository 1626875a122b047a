"""Builds the two committed packages of the functions, byte for byte the same on every machine.

`functions.zip`      our code: `bulk_inference/` at its root.
`dependencies.zip`   a Lambda layer (`python/` at its root) of what requirements/bundle.txt locks, pruned.

    python lambdas/build.py            # write lambdas/dist/*.zip
    python lambdas/build.py --check    # build in memory, compare with lambdas/dist, name each file that differs

Reproducible because nothing of the machine gets in: entries are sorted, times, permissions and the creating system are
constants, and entries are stored instead of deflated (zlib and its successors compress to different bytes; S3 and git
compress on their own, and git can store the difference between two versions of a stored archive). The layer is made
from pure-Python wheels whose hashes are locked, never from an installation. Runs on Python 3.11 and later with nothing
but pip.

Layout of a layer: https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html
"""

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

LAMBDAS = Path(__file__).resolve().parent
DIST = LAMBDAS / "dist"
LOCK = LAMBDAS.parent / "requirements" / "bundle.txt"
WHEELS = LAMBDAS.parent / ".build" / "wheels"

SERVICES: Mapping[str, str] = {
    "bedrock": "bedrock",
    "bedrock-runtime": "bedrock-runtime",
    "dynamodb": "dynamodb",
    "events": "events",
    "s3": "s3",
    "service-quotas": "servicequotas",
    "sqs": "sqs",
    "stepfunctions": "states",
    "sts": "sts",
}
"""Services whose botocore data is kept (directory name) → their name in botocore's endpoints.json."""

TRACED = ("botocore", "httplib", "resources")
"""Patches of the X-Ray SDK that have something to patch in a function of ours."""

DROPPED = (
    "*/__pycache__/*",
    "*.pyc",
    "*.pyi",
    "*.c",
    "*.so",
    # From a wheel's metadata only METADATA and licences are kept: RECORD names files that are pruned here.
    "*.dist-info/RECORD",
    "*.dist-info/WHEEL",
    "*.dist-info/top_level.txt",
    "*.dist-info/entry_points.txt",
    "*.dist-info/zip-safe",
    "*.data/*",
    # Docs and API data that no function reads.
    "boto3/data/*",
    "boto3/examples/*",
    "botocore/data/*/examples-1.json",
    "dateutil/zoneinfo/*.tar.gz",
    # Parts of Powertools that no function uses.
    "aws_lambda_powertools/event_handler/*",
    "aws_lambda_powertools/utilities/auth_alpha/*",
    "aws_lambda_powertools/utilities/circuit_breaker/*",
    "aws_lambda_powertools/utilities/data_masking/*",
    "aws_lambda_powertools/utilities/feature_flags/*",
    "aws_lambda_powertools/utilities/kafka/*",
    "aws_lambda_powertools/utilities/parameters/*",
    "aws_lambda_powertools/utilities/parser/*",
    "aws_lambda_powertools/utilities/streaming/*",
    "aws_lambda_powertools/utilities/validation/*",
)

Files = dict[str, bytes]


class PackageError(Exception):
    """A package cannot be built as asked; the text says why and what to do."""


def functions() -> Files:
    """Archive path → content of our own code."""
    root = LAMBDAS / "bulk_inference"
    return {
        path.relative_to(LAMBDAS).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def dependencies() -> Files:
    """Archive path → content of the layer."""
    files: Files = {}
    for wheel in locked_wheels():
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not name.endswith("/") and is_kept(name):
                    content = archive.read(name)
                    files[f"python/{name}"] = (
                        prune_endpoints(content) if name == "botocore/data/endpoints.json" else content
                    )
    return drop_superseded_models(files)


def is_kept(name: str) -> bool:
    """Whether a wheel's entry goes into the layer."""
    if any(fnmatchcase(name, pattern) for pattern in DROPPED):
        return False
    if service := re.match(r"botocore/data/([^/]+)/", name):
        return service.group(1) in SERVICES
    if library := re.match(r"aws_xray_sdk/ext/([^/]+)/", name):
        return library.group(1) in TRACED
    return True


def prune_endpoints(content: bytes) -> bytes:
    """botocore's endpoints.json with the services of the layer only: every partition and Region stays as it is."""
    endpoints = json.loads(content)
    for partition in endpoints["partitions"]:
        partition["services"] = {
            name: entry for name, entry in partition["services"].items() if name in SERVICES.values()
        }
    return json.dumps(endpoints, separators=(",", ":"), sort_keys=True).encode()


def drop_superseded_models(files: Files) -> Files:
    """Keeps the newest API version of each service, which is the one botocore loads by default."""
    pattern = re.compile(r"python/botocore/data/([^/]+)/(\d{4}-\d{2}-\d{2})/")
    found = {name: match for name in files if (match := pattern.match(name))}
    newest: dict[str, str] = {}
    for match in found.values():
        service, version = match.groups()
        newest[service] = max(version, newest.get(service, ""))
    missing = sorted(SERVICES.keys() - newest.keys())
    if missing:
        raise PackageError(f"The locked botocore has no model of: {', '.join(missing)}.")
    return {
        name: content
        for name, content in files.items()
        if name not in found or newest[found[name].group(1)] == found[name].group(2)
    }


def locked_wheels() -> list[Path]:
    """The wheels of requirements/bundle.txt, downloaded once and checked against their locked hashes.

    Raises PackageError if pip cannot get them, or if one is not pure Python.
    """
    lock = LOCK.read_text()
    names = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE)
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))

    def cached() -> list[Path]:
        wheels = []
        for name, version in names:
            stem = f"{name.replace('-', '_').lower()}-{version}-"
            matches = [path for path in WHEELS.glob("*-none-any.whl") if path.name.lower().startswith(stem)]
            wheels += [path for path in matches if hashlib.sha256(path.read_bytes()).hexdigest() in hashes]
        return wheels

    wheels = cached()
    if len(wheels) != len(names):
        WHEELS.mkdir(parents=True, exist_ok=True)
        # Platform "any" with ABI "none" admits pure-Python wheels only, whatever this machine is.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary", ":all:", "--platform", "any", "--implementation", "py"]
        command += ["--abi", "none", "--dest", str(WHEELS), "--requirement", str(LOCK)]
        if subprocess.run(command, check=False).returncode != 0:
            raise PackageError("pip could not download the wheels that requirements/bundle.txt locks (see above).")
        wheels = cached()
    if len(wheels) != len(names):
        raise PackageError(f"{WHEELS} does not hold one pure-Python wheel for each line of requirements/bundle.txt.")
    return wheels


def archive_bytes(files: Files) -> bytes:
    """A zip whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on every system: the permissions below are read only then.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def differences(committed: bytes, built: bytes) -> list[str]:
    """One line per entry that differs between two archives of this module; empty if they are the same bytes."""
    if committed == built:
        return []
    with zipfile.ZipFile(io.BytesIO(committed)) as old, zipfile.ZipFile(io.BytesIO(built)) as new:
        before = {name: old.read(name) for name in old.namelist()}
        after = {name: new.read(name) for name in new.namelist()}
    lines = [f"missing in the package: {name}" for name in sorted(after.keys() - before.keys())]
    lines += [f"no longer in the sources: {name}" for name in sorted(before.keys() - after.keys())]
    lines += [f"differs: {name}" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]]
    return lines or ["same entries, but another order or other metadata: not written by this script"]


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 all well, 1 a package differs from its sources, 2 it could not be built."""
    parser = argparse.ArgumentParser(description="Build the Lambda packages in lambdas/dist, or check them.")
    parser.add_argument("--check", action="store_true", help="compare with lambdas/dist instead of writing")
    check = parser.parse_args(arguments).check
    try:
        packages = {"functions.zip": archive_bytes(functions()), "dependencies.zip": archive_bytes(dependencies())}
    except PackageError as error:
        print(error, file=sys.stderr)
        return 2
    stale = 0
    for name, content in packages.items():
        path = DIST / name
        size = f"{len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}"
        changes = differences(path.read_bytes(), content) if path.exists() else [f"{name} does not exist"]
        if not changes:
            print(f"{name}: up to date ({size})")
        elif check:
            stale += 1
            print(f"{name}: differs from its sources; `make package` rebuilds it")
            print("\n".join(f"  {change}" for change in changes))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"{name}: written ({size})")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
