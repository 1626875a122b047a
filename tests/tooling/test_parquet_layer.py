"""The Parquet layer: what is left of pyarrow after pruning still reads, writes and unpacks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import parquet_layer

PROGRAM = """
import io
import pyarrow
from pyarrow import parquet

file = io.BytesIO()
table = pyarrow.table({"id": [1, 2], "at": pyarrow.array([0, None], pyarrow.timestamp("us", "UTC"))})
with parquet.ParquetWriter(file, table.schema, compression="zstd") as writer:
    writer.write_table(table)
(batch,) = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1024).iter_batches()
print(batch.column(1).cast(pyarrow.timestamp("us")).cast(pyarrow.string()).to_pylist())
packed = pyarrow.Codec("zstd").compress(b"abc", asbytes=True)
print(pyarrow.CompressedInputStream(pyarrow.PythonFile(io.BytesIO(packed), mode="r"), "zstd").read())
print(pyarrow.__file__)
"""


def test_the_pruned_layer_works_alone(tmp_path: Path) -> None:
    layer = parquet_layer.local(tmp_path)
    assert parquet_layer.local(tmp_path) == layer
    with zipfile.ZipFile(layer) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < parquet_layer.UNZIPPED_LIMIT / 2
        archive.extractall(tmp_path / "layer")
    # -S keeps the packages of this interpreter out of reach, -P this folder.
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", PROGRAM],
        env={"PYTHONPATH": str(tmp_path / "layer" / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    dates, text, place = done.stdout.splitlines()
    assert (dates, text) == ("['1970-01-01 00:00:00.000000', None]", "b'abc'")
    assert place.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("pyarrow/__init__.py", True),
        ("pyarrow/libarrow.so.2600", True),
        ("pyarrow/libarrow_python.so.2600", True),
        ("pyarrow/libarrow_python.so.2600.1.0", False),
        ("pyarrow/libarrow_flight.so.2600", False),
        ("pyarrow/tests/test_array.py", False),
        ("pyarrow/include/arrow/api.h", False),
        ("pyarrow-26.0.1.dist-info/licenses/LICENSE.txt", True),
    ],
)
def test_what_goes_into_the_layer(name: str, kept: bool) -> None:
    assert parquet_layer.is_kept(name) is kept
