"""Cuts and seals one large JSONL object and says how fast, and how much memory the process took at its peak.

    PYTHONPATH=lambdas:. .venv/bin/python -m tests.benchmarks.cut_one_gigabyte --gigabytes 1 --form record

`--form record` lines are in record form already (passed through), `--form object` lines are rendered by a template;
`--text` sets the characters of a line's text. The store is a folder on disk, read and written in S3's ranges and parts
with the buffers of the real client, so that the figure is that of the handler without the network. Peak memory is the
whole process's, from `getrusage`.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bulk_inference.aws.s3 import PART_BYTES, Bucket
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.names import own_scope
from bulk_inference.core.run_spec import (
    Cuts,
    Estimate,
    Limits,
    Model,
    Prompt,
    Quota,
    Quotas,
    RunSettings,
    RunSpec,
    Source,
)
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.cut.cut_run import CutServices, cut_run
from bulk_inference.cut.seal_run import SealServices, seal_run
from tests.worlds.inference_world import SETTINGS

RUN, TENANT = "benchmark", "default"


class FolderS3:
    """The calls of an S3 client that Bucket makes, on a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, bucket: str, key: str) -> Path:
        path = self._root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def get_object(self, *, Bucket: str, Key: str, Range: str = "", IfMatch: str = "") -> dict[str, Any]:
        path = self._path(Bucket, Key)
        size = path.stat().st_size
        first, last = (int(part) for part in Range.removeprefix("bytes=").split("-")) if Range else (0, size - 1)
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(last + 1 - first)
        return {"Body": _Body(data), "ContentRange": f"bytes {first}-{last}/{size}", "ETag": '"etag"'}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self._path(Bucket, Key).write_bytes(Body)

    def create_multipart_upload(self, *, Bucket: str, Key: str, ContentType: str) -> dict[str, Any]:
        self._path(Bucket, Key).write_bytes(b"")
        return {"UploadId": "upload"}

    def upload_part(self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes) -> dict[str, Any]:
        with self._path(Bucket, Key).open("ab") as file:
            file.write(Body)
        return {"ETag": f'"{PartNumber}"'}

    def complete_multipart_upload(self, **_: Any) -> None:
        """Parts were appended in order as they came."""


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


class Items:
    """The runs table in memory."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[str, Any]] = {}

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        return self._items.get((pk, sk))

    def put(self, item: dict[str, Any]) -> None:
        self._items[item["pk"], item["sk"]] = item

    def query(self, pk: str, sk_prefix: str = "") -> Iterator[dict[str, Any]]:
        return (item for (p, s), item in sorted(self._items.items()) if p == pk and s.startswith(sk_prefix))


def spec_of(form: str, size: int) -> RunSpec:
    quota = Quota(0, "default")
    return RunSpec(
        run=RUN,
        tenant=TENANT,
        scope=own_scope(RUN),
        execution_arn="",
        mode="batch",
        priority="normal",
        source=Source("corpus", key="default/corpus/corpus.jsonl"),
        model=Model("m", "m", "claude-haiku-4-5", "converse", True),
        prompt=Prompt("Summarise: {{text}}", "Be brief.", {"maxTokens": 256}) if form == "object" else Prompt(),
        quotas=Quotas(quota, quota, quota, quota, quota, quota),
        limits=Limits(100, 100_000, 900_000_000, 8 * 1024 * 1024, size, 0, 3, 24, 90),
        settings=RunSettings(1, 1, 1, 100, 200_000, 10, 1, 1),
        cuts=Cuts("", 1, size),
        estimate=Estimate(),
        created_at="",
        request_digest="",
    )


def write_corpus(path: Path, form: str, size: int, text_characters: int) -> int:
    text = ("Grüße aus dem Posteingang, mit “Zitat” und\nZeilen. " * (text_characters // 50 + 1))[:text_characters]
    number = written = 0
    with path.open("wb") as file:
        while written < size:
            lines = []
            for _ in range(1000):
                number += 1
                if form == "record":
                    line: dict[str, Any] = {
                        "recordId": f"rec_{number:09d}",
                        "modelInput": {"messages": [{"role": "user", "content": [{"text": text}]}]},
                    }
                else:
                    line = {"id": f"rec_{number:09d}", "text": text, "channel": "mail", "at": number}
                lines.append(json.dumps(line, ensure_ascii=False))
            written += file.write(("\n".join(lines) + "\n").encode())
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--form", choices=("record", "object"), default="record")
    parser.add_argument("--text", type=int, default=1000, help="characters of one line's text")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="cut-benchmark-"))
    try:
        (root / "corpus").mkdir()
        path = root / "corpus" / "corpus.jsonl"
        size = write_corpus(path, arguments.form, int(arguments.gigabytes * 1e9), arguments.text)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        client: Any = FolderS3(root)
        runs: Any = Items()
        input_bucket, output_bucket = Bucket("in", client), Bucket("out", client)
        spec = spec_of(arguments.form, size)
        input_bucket.put(Places(TENANT, RUN).spec, json.dumps(spec.to_json()).encode())
        cut = Cut("00001", [CutRange("default/corpus/corpus.jsonl", 0, size, size, "etag")])
        ledger: Any = None
        started, processor = time.perf_counter(), time.process_time()
        world = CutServices(
            input_bucket,
            output_bucket,
            lambda name: Bucket(name, client),
            runs,
            ledger,
            ledger,
            SETTINGS,
            0,
            Leases(runs, time.time, keeper=unattended),
        )
        counts = cut_run(RUN, TENANT, cut, world)
        cut_seconds, processor_seconds = time.perf_counter() - started, time.process_time() - processor
        after_cut = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        sealed = seal_run(RUN, TENANT, SealServices(input_bucket, runs, 0, Leases(runs, time.time, keeper=unattended)))
        seal_seconds = time.perf_counter() - started
        after_seal = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            json.dumps(
                {
                    "bytes": size,
                    "records": counts["accepted"],
                    "pieces": len(counts["pieces"]),
                    "shards": sealed["batch"]["shards"],
                    "cutSeconds": round(cut_seconds, 1),
                    "cutMegabytesPerSecond": round(size / 1e6 / cut_seconds, 1),
                    "cutProcessorSeconds": round(processor_seconds, 1),
                    "recordsPerSecond": round(counts["read"] / cut_seconds),
                    "sealSeconds": round(seal_seconds, 1),
                    "partMegabytes": PART_BYTES / 1e6,
                    # Linux counts ru_maxrss in KiB.
                    "peakMebibytesBefore": before // 1024,
                    "peakMebibytesCut": after_cut // 1024,
                    "peakMebibytesSeal": after_seal // 1024,
                }
            )
        )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
