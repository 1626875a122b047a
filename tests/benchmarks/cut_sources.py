"""Cuts corpora of 50,000 and of 1,000,000 records in every format, and says how fast and with how much memory.

    PYTHONPATH=lambdas:. .venv/bin/python -m tests.benchmarks.cut_sources
    PYTHONPATH=lambdas:. .venv/bin/python -m tests.benchmarks.cut_sources --formats csv --records 200000

One object, one cut: what one worker does. Each measurement is a process of its own, which does nothing else, so that
its peak (`getrusage`) is that of cutting. The store is a folder, as in cut_one_gigabyte.
"""

import argparse
import csv
import gzip
import json
import multiprocessing
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bulk_inference.aws.s3 import Bucket
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.run_spec import Source
from bulk_inference.corpus.ranges import Cut, CutRange
from bulk_inference.cut.cut_run import CutServices, cut_run
from tests.benchmarks.cut_one_gigabyte import RUN, TENANT, FolderS3, Items, spec_of
from tests.worlds.inference_world import SETTINGS

_CHANCE = random.Random(7)
WORDS = ["".join(_CHANCE.choices("abcdefghijklmnopqrstuvwxyzäöü", k=_CHANCE.randint(2, 11))) for _ in range(5000)]
"""Texts of these compress about as prose does."""
NAMES = {
    "jsonl": "corpus.jsonl", "csv": "corpus.csv", "parquet": "corpus.parquet", "gzip": "corpus.jsonl.gz",
    "zstd": "corpus.jsonl.zst",
}  # fmt: skip


def rows(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(count)
    for number in range(count):
        text = " ".join(chance.choices(WORDS, k=45))
        yield {"id": f"rec_{number:09d}", "text": f"{text}, “{number}”,\nend.", "channel": "mail", "at": number}


def write_corpus(path: Path, form: str, count: int) -> None:
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["id", "text", "channel", "at"])
            table.writeheader()
            table.writerows(rows(count))
    elif form == "parquet":
        write_parquet(path, count)
    else:
        with open_lines(path, form) as file:
            for row in rows(count):
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def open_lines(path: Path, form: str) -> Any:
    if form == "zstd":
        import pyarrow

        return pyarrow.CompressedOutputStream(str(path), "zstd")
    return gzip.open(path, "wb", compresslevel=3) if form == "gzip" else path.open("wb")


def write_parquet(path: Path, count: int) -> None:
    import pyarrow
    from pyarrow import parquet

    pending = list(rows(0))
    schema = pyarrow.Table.from_pylist(list(rows(1))).schema
    # Row groups of 50,000 rows, as writers make them that stream.
    with parquet.ParquetWriter(path, schema) as writer:
        for row in rows(count):
            pending.append(row)
            if len(pending) == 50_000:
                writer.write_table(pyarrow.Table.from_pylist(pending, schema))
                pending.clear()
        if pending:
            writer.write_table(pyarrow.Table.from_pylist(pending, schema))


def cut(root: str, form: str) -> dict[str, Any]:
    client: Any = FolderS3(Path(root))
    runs: Any = Items()
    ledger: Any = None
    executions: Any = None
    name = NAMES[form]
    size = (Path(root) / "corpus" / name).stat().st_size
    source = Source("corpus", key=name, format=form if form in ("csv", "parquet") else "jsonl")
    spec = replace(spec_of("object", size), source=source)
    input_bucket, output_bucket = Bucket("in", client), Bucket("out", client)
    input_bucket.put(Places(TENANT, RUN).spec, json.dumps(spec.to_json()).encode())
    world = CutServices(
        input_bucket,
        output_bucket,
        lambda name: Bucket(name, client),
        runs,
        ledger,
        executions,
        SETTINGS,
        0,
        Leases(runs, time.time, keeper=unattended),
    )
    started, processor = time.perf_counter(), time.process_time()
    counts = cut_run(RUN, TENANT, Cut("00001", [CutRange(name, 0, size, size, "etag")]), world)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return {
        "format": form,
        "records": counts["accepted"],
        "megabytes": round(size / 1e6),
        "seconds": round(seconds, 1),
        "processorSeconds": round(processor, 1),
        "recordsPerProcessorSecond": round(counts["accepted"] / processor),
        "megabytesPerProcessorSecond": round(size / 1e6 / processor, 1),
        # Linux counts ru_maxrss in KiB.
        "peakMebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", choices=sorted(NAMES), default=list(NAMES))
    parser.add_argument("--records", nargs="+", type=int, default=[50_000, 1_000_000])
    arguments = parser.parse_args()
    # A fresh process for each: what was imported or written before does not count.
    processes = multiprocessing.get_context("spawn")
    for form in arguments.formats:
        for count in arguments.records:
            root = Path(tempfile.mkdtemp(prefix="cut-sources-"))
            try:
                (root / "corpus").mkdir()
                with processes.Pool(1) as pool:
                    pool.apply(write_corpus, (root / "corpus" / NAMES[form], form, count))
                with processes.Pool(1) as pool:
                    print(json.dumps(pool.apply(cut, (str(root), form))), flush=True)
            finally:
                shutil.rmtree(root)


if __name__ == "__main__":
    main()
