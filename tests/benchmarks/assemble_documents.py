"""What one child of assemble_results takes: sorting one full group of result lines, joining one full partition.

    PYTHONPATH=lambdas:. .venv/bin/python -m tests.benchmarks.assemble_documents --chunks 10000000

A run of any size is a number of such children; `--chunks` says of how large a run the numbers are printed. Each part is
measured in a process of its own, whose peak memory is told by `getrusage`.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from bulk_inference.assembly.assembly import CONCURRENCY, PARTITION_BYTES, PARTITION_INDEX_BYTES
from bulk_inference.assembly.document_joining import outcomes
from bulk_inference.assembly.document_sorting import LANDED, SENT, read_partition, sort_group
from bulk_inference.assembly.part_groups import GROUP_BYTES, Group, whole
from bulk_inference.core import names
from bulk_inference.core.result_line import encode
from bulk_inference.core.run_spec import Chunking, Recombine
from bulk_inference.render.chunking import chunk_key

CHUNKS_EACH = 40
"""Of a document."""
ANSWER = "The speaker asks the committee to weigh the harbour dues against the cost of the lantern tower. " * 8
HOW = Chunking("text", "characters", 4000, 200)


def documents(count: int) -> Iterator[tuple[str, str]]:
    return ((f"document-{n}", chunk_key(f"document-{n}", "", HOW)) for n in range(count))


def result(name: str, key: str, chunk: int) -> bytes:
    """As landing writes it: the model's body, and the text again."""
    usage = {"inputTokens": 1100, "outputTokens": 180}
    message = {"role": "assistant", "content": [{"text": ANSWER}]}
    line = {
        "recordId": names.chunk(key, chunk),
        "modelOutput": {"output": {"message": message}, "stopReason": "end_turn", "usage": usage},
        "text": ANSWER,
        "usage": usage,
        "source": {"bucket": "in", "key": "default/corpus/a.jsonl", "offset": 1234567, "length": 160000},
        "document": {"id": name, "chunk": chunk, "chunks": CHUNKS_EACH},
    }
    return encode(line)


def index(name: str, key: str, chunk: int) -> bytes:
    line = {
        "recordId": names.chunk(key, chunk),
        "shard": "00001-001",
        "offset": 123456789,
        "length": 4321,
        "source": {"key": "default/corpus/a.jsonl", "offset": 1234567, "length": 160000},
        "document": {"id": name, "chunk": chunk, "chunks": CHUNKS_EACH},
    }
    return encode(line)


def sort(partitions: int) -> dict[str, float]:
    each = len(result("document-0", chunk_key("document-0", "", HOW), 1)) * CHUNKS_EACH
    lines = [result(name, key, n) for name, key in documents(GROUP_BYTES // each) for n in range(1, CHUNKS_EACH + 1)]
    random.Random(1).shuffle(lines)
    body = b"".join(lines)
    group = Group("1", [whole("part", len(body), "etag", LANDED)])
    chunks = [body[at : at + 8 << 20] for at in range(0, len(body), 8 << 20)]
    began = time.process_time()
    done = sort_group(group, partitions, lambda one: chunks)
    seconds = time.process_time() - began
    return {"lines": len(lines), "bytes": len(body), "written": len(done), "seconds": seconds, "mib": _peak()}


def join(chunks: int) -> dict[str, float]:
    """One partition: index and result lines of so many chunks, read back from a sorted object."""
    named = list(documents(chunks // CHUNKS_EACH))
    sent = b"".join(index(name, key, n) for name, key in named for n in range(1, CHUNKS_EACH + 1))
    landed = b"".join(result(name, key, n) for name, key in named for n in range(1, CHUNKS_EACH + 1))
    bodies = {SENT: sent, LANDED: landed}
    sorted_ = [
        sort_group(Group(kind, [whole(kind, len(body), "etag", kind)]), 1, lambda one: [bodies[one.kind]])
        for kind, body in bodies.items()
    ]
    before = _peak()
    began = time.process_time()
    entries = [one for body in sorted_ for one in read_partition(0, _range(body))]
    lines = [encode(one.line) for one in outcomes(entries, Recombine("concat"), HOW)]
    seconds = time.process_time() - began
    told = {"documents": len(lines), "chunks": len(named) * CHUNKS_EACH, "seconds": seconds}
    return {**told, "mib": _peak(), "mibBefore": before}


def _range(body: bytes) -> Callable[[int, int], bytes]:
    return lambda start, size: body[start : start + size]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=10_000_000)
    parser.add_argument("--part", choices=("sort", "join"))
    options = parser.parse_args()
    one = chunk_key("document-0", "", HOW)
    landed = options.chunks * len(result("document-0", one, 1))
    sent = options.chunks * len(index("document-0", one, 1))
    partitions = max(-(-landed // PARTITION_BYTES), -(-sent // PARTITION_INDEX_BYTES))
    if options.part == "sort":
        print(json.dumps(sort(partitions)))
    elif options.part == "join":
        print(json.dumps(join(options.chunks // partitions)))
    else:
        groups = -(-landed // GROUP_BYTES) + -(-sent // GROUP_BYTES)
        print(f"{options.chunks:,} chunks: {landed / 1e9:.1f} GB of results, {sent / 1e9:.1f} GB of index")
        print(f"{groups} groups to sort, {partitions} partitions to join, {CONCURRENCY} at once")
        for part in ("sort", "join"):
            command = [sys.executable, "-m", __spec__.name, "--part", part, "--chunks", str(options.chunks)]
            print(part, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


if __name__ == "__main__":
    main()
