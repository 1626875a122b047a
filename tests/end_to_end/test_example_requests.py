"""Every request in examples/requests is run as it stands: all are started at once, then each is looked at.

`<name>.json` is run as `example-<name>`, over what lies in `corpora/<name>/`, which is uploaded below
`default/corpus/examples/<name>/`. Corpora are committed as small texts: MADE says what is made of those of a binary
format.
"""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests.end_to_end.conftest import assert_conserves
from tests.harness.stack import ROOT, Stack

FOLDER = ROOT / "examples" / "requests"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def _parquet(name: str, body: bytes) -> tuple[str, bytes]:
    rows = [json.loads(line) for line in body.split(b"\n") if line]
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=4)
    return name.replace(".jsonl", ".parquet"), file.getvalue()


def _zstd(name: str, body: bytes) -> tuple[str, bytes]:
    return f"{name}.zst", pyarrow.Codec("zstd").compress(body, asbytes=True)


MADE: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "parquet": _parquet,
    "gzip": lambda name, body: (f"{name}.gz", gzip.compress(body)),
    "zstd": _zstd,
}

LANDED = {
    "jsonl-records": 6, "jsonl-objects": 6, "csv": 6, "parquet": 6, "text-documents": 4, "gzip": 6, "zstd": 6,
    "many-objects": 6, "glob": 2,
}  # fmt: skip
"""How many records land, where a request says it by its corpus alone."""


def upload(stack: Stack, name: str) -> None:
    folder = FOLDER / "corpora" / name
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative, body = path.relative_to(folder).as_posix(), path.read_bytes()
        if name in MADE:
            relative, body = MADE[name](relative, body)
        stack.upload(f"default/corpus/examples/{name}/{relative}", body)


@pytest.fixture(scope="module")
def executions(stack: Stack) -> dict[str, str]:
    """ARN of the execution of each request."""
    for name in NAMES:
        upload(stack, name)
    requests: dict[str, Any] = {name: json.loads(Path(FOLDER / f"{name}.json").read_bytes()) for name in NAMES}
    return {name: stack.start(f"example-{name}", request) for name, request in requests.items()}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_request_is_run_as_it_stands(stack: Stack, executions: dict[str, str], name: str) -> None:
    execution = stack.wait(executions[name], timeout=240)
    assert execution["status"] == "SUCCEEDED", f"{execution.get('error')}: {execution.get('cause')}"
    manifest = stack.manifest(f"example-{name}")
    assert manifest is not None
    assert_conserves(manifest)
    assert manifest["counts"]["landed"] > 0
    assert (manifest["counts"]["failed"], manifest["counts"]["rejected"]) == (0, 0), manifest["counts"]
    if name in LANDED:
        assert manifest["counts"]["landed"] == LANDED[name]
