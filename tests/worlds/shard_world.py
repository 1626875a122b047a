"""A shard whose job has ended, on the fakes of inference_world."""

import json
from collections.abc import Sequence
from typing import Any

from bulk_inference.batch.collect_results import ShardTask, collect, next_state
from bulk_inference.core.runs_table import run_pk
from tests.worlds.inference_world import RUN, Stage, converse, make_spec

IDS = [f"r{n:02d}" for n in range(12)]


SHARD = "00001"


PIECE = "00001-001"


def ok(record_id: str) -> dict[str, Any]:
    return {"recordId": record_id, "modelInput": {}, "modelOutput": converse(f"said {record_id}"), "error": None}


def bad(record_id: str, code: int = 500) -> dict[str, Any]:
    return {"recordId": record_id, "modelInput": {}, "error": {"errorCode": code, "errorMessage": f"no {record_id}"}}


def encode(lines: Sequence[Any]) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


def stage(
    lines: Sequence[Any] | None,
    status: str = "Completed",
    *,
    ids: Sequence[str] = IDS,
    attempt: int = 1,
    message: str = "",
    manifest: dict[str, int] | None = None,
    **spec: Any,
) -> Stage:
    """A shard whose job has ended; `lines` is its output in the order in which Bedrock wrote it."""
    made = Stage(make_spec(**spec))
    made.piece(PIECE if attempt == 1 else f"{SHARD}-a{attempt}", ids)
    processed = None if lines is None else len(lines)
    job = made.jobs.add("job-1", status, message=message, processed=processed)
    made.runs.items[(run_pk(RUN), f"JOB#{SHARD}-a{attempt}")] = {"jobName": "job-1", "jobArn": job.arn}
    prefix = f"{made.places.job_output(SHARD, attempt)}{job.id}/"
    if lines is not None:
        name = PIECE if attempt == 1 else f"{SHARD}-a{attempt}"
        made.output.objects[f"{prefix}{name}.jsonl.out"] = encode(lines)
        made.output.objects[f"{prefix}manifest.json.out"] = json.dumps(manifest or {}).encode()
    return made


def event(attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "run": RUN,
        "tenant": "default",
        "attempt": attempt,
        "jobTimeoutSeconds": 90_000,
        "shard": {"shard": SHARD, "piece": PIECE, "records": len(IDS), "bytes": 1},
        "job": {"jobName": "job-1", "status": "Completed"},
        **more,
    }


def landed(made: Stage) -> list[str]:
    return sorted(line["recordId"] for line in made.output.lines(made.places.results_prefix))


def shuffled() -> list[dict[str, Any]]:
    return [ok(one) for one in [*IDS[7:], *IDS[:7]]]


def work(made: Stage, given: dict[str, Any] | None = None) -> dict[str, Any]:
    task = ShardTask.from_event(given or event())
    return next_state(task, made.unit_context, collect(task, made.unit_context))
