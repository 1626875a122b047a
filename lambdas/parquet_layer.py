"""Builds the optional Parquet layer: pyarrow, pruned to what reads and writes Parquet and unpacks Zstandard.

    make parquet-layer                                            # python3.13 on arm64, the module's defaults
    make parquet-layer PYTHON_VERSION=3.12 ARCHITECTURE=x86_64

pyarrow is native code: a layer is made for one Python version and one CPU, those of the module's `runtime`. The wheel
comes from PyPI by the hashes of requirements/parquet.txt, and nothing of it is committed. It needs the C library of
Amazon Linux 2023, which Lambda's Python 3.12 and later run on; Python 3.11 runs on Amazon Linux 2, for which a managed
layer is the way (docs/parquet-layer.md).
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "parquet.txt"
OUT = ROOT / ".build"

PLATFORMS = {"arm64": "manylinux_2_28_aarch64", "x86_64": "manylinux_2_28_x86_64"}
VERSIONS = ("3.12", "3.13")
UNZIPPED_LIMIT = 250 * 1024 * 1024
"""Of a function's package and all its layers: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

DROPPED = (
    "*/__pycache__/*", "*.pyx", "*.pxd", "*.pxi", "*.pyi", "*.h", "*.hpp", "*.cc", "*/tests/*", "*/include/*",
    "*/includes/*", "*/src/*",
    # Shared libraries and modules of what is not used: RPC, object stores, other formats, encryption.
    "*/libarrow_flight*", "*/libarrow_python_flight*", "*/libarrow_s3*", "*/libarrow_python_parquet_encryption*",
    "*/_flight.*", "*/_substrait.*", "*/_s3fs.*", "*/_gcsfs.*", "*/_azurefs.*", "*/_hdfs.*", "*/_orc.*",
    "*/_dataset_orc.*", "*/_feather.*", "*/_json.*", "*/_cuda.*", "*/_pyarrow_cpp_tests.*", "*_encryption.cpython*",
    # The linker's name and the full version of a library that is loaded by the name between them.
    "*/libarrow_python.so", "*/libarrow_python.so.*.*.*",
    "*.dist-info/RECORD", "*.dist-info/WHEEL", "*.dist-info/top_level.txt", "*.dist-info/sboms/*",
)  # fmt: skip


class LayerError(Exception):
    """The layer cannot be built as asked; the text says why."""


def from_lock(python: str, architecture: str) -> Iterator[tuple[str, bytes]]:
    """Files of the locked wheels for a Python version and a CPU. Raises LayerError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary", ":all:", "--platform", PLATFORMS[architecture]]
        command += ["--implementation", "cp", "--python-version", python, "--dest", folder, "--requirement", str(LOCK)]
        if subprocess.run(command, check=False).returncode != 0:
            raise LayerError("pip could not download what requirements/parquet.txt locks (see above).")
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        yield name, archive.read(name)


def from_installed() -> Iterator[tuple[str, bytes]]:
    """Files of the pyarrow that this interpreter has: for the local AWS, which runs functions by it."""
    packages = Path(sysconfig.get_path("platlib"))
    for folder in (packages / "pyarrow", *packages.glob("pyarrow-*.dist-info")):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(packages).as_posix(), path.read_bytes()


def is_kept(name: str) -> bool:
    """Whether a wheel's file goes into the layer."""
    return not any(fnmatchcase(name, pattern) for pattern in DROPPED)


def write(files: Iterator[tuple[str, bytes]], path: Path, method: int = zipfile.ZIP_DEFLATED) -> tuple[int, int]:
    """Writes the layer; the same files make the same bytes. Returns the sizes zipped and unzipped, in bytes."""
    unzipped = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for name, content in files:
            if is_kept(name):
                entry = zipfile.ZipInfo(f"python/{name}", date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                entry.external_attr = 0o100755 << 16 if ".so" in name else 0o100644 << 16
                entry.compress_type = method
                archive.writestr(entry, content)
                unzipped += len(content)
    if unzipped > UNZIPPED_LIMIT:
        raise LayerError(f"The layer has {unzipped:,} bytes unzipped, more than Lambda takes.")
    return path.stat().st_size, unzipped


def local(folder: Path = OUT) -> Path:
    """The layer for the local AWS, built when this interpreter has another pyarrow than the one before."""
    version = metadata.version("pyarrow")
    path = folder / f"parquet-layer-local-{version}.zip"
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}")
        # Stored: it is unpacked on this machine at once.
        write(from_installed(), made, zipfile.ZIP_STORED)
        made.replace(path)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 all well, 1 it could not be built."""
    parser = argparse.ArgumentParser(description="Build the Parquet layer.")
    parser.add_argument("--python", choices=VERSIONS, default="3.13")
    parser.add_argument("--architecture", choices=sorted(PLATFORMS), default="arm64")
    parser.add_argument("--out", type=Path, help="default: .build/parquet-layer-python…-….zip")
    given = parser.parse_args(arguments)
    path = given.out or OUT / f"parquet-layer-python{given.python}-{given.architecture}.zip"
    try:
        zipped, unzipped = write(from_lock(given.python, given.architecture), path)
    except LayerError as error:
        print(error, file=sys.stderr)
        return 1
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"{shown}: {zipped:,} bytes, {unzipped:,} unzipped. In the module's call:")
    print(f'  parquet = {{ package = {{ path = "{path}" }} }}')
    print(f'  runtime = {{ python = "python{given.python}", architecture = "{given.architecture}" }}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
