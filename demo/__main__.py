"""`make demo`: the main job of this module, on an AWS that runs on this machine. No account, no costs.

Starts the local AWS, applies this folder with Terraform, sends 1,969 passages of State of the Union addresses through
Bedrock batch jobs and 150 of them through on-demand calls, with poison in both corpora, and shows what came of it.

KEEP=1 leaves all of it running. LOCAL_AWS_OPENAI_BASE_URL=http://127.0.0.1:11434/v1 LOCAL_AWS_OPENAI_MODEL=… takes real
answers from a server of yours: 120 passages and 20 then, or as many as RECORDS=… says.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws import LocalAws, LocalAwsError
from tests.harness.stack import ROOT, Progress, Stack, StackError

CORPUS = Path(__file__).parent / "corpus" / "state-of-the-union.jsonl"
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
KNOBS = {"seconds_validating": 1, "seconds_scheduled": 1, "time_scale": 0.1}

PROMPT = {
    "system": "You are an archivist: sum up the passage in a sentence, and label it.",
    "template": "{{text}}\n\n(President {{president}}, address of {{year}})",
    "inference": {"maxTokens": 300, "temperature": 0},
}

FORM = {
    "type": "object", "additionalProperties": False, "required": ["summary", "labels"],
    "properties": {"summary": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
}  # fmt: skip
"""What an answer must be. Whatever the model says instead is told apart: it never lands as a result."""

# Passages that the model refuses: a batch job completes all the same, with an error line for each.
POISON = [
    "1790-george-washington-003", "1817-james-monroe-008", "1826-john-quincy-adams-043",
    "1889-benjamin-harrison-034", "1925-calvin-coolidge-019", "1997-william-j-clinton-027",
]  # fmt: skip

SHOWN = {"1790-george-washington-001", "1862-abraham-lincoln-010", "1961-dwight-d-eisenhower-005"}

# Lines that no model should ever see.
BAD_LINES = [
    b'{"id": "broken-json", "year": 1790, "president": "Nobody", "text": "the quote never ends\n',
    b'["a list", "not an object"]\n',
    b'{"id": "no-text", "year": 1790, "president": "Nobody"}\n',
]

MOST_SHOWN = 12
"""Failures that are listed one by one."""

COUNTS = ("read", "accepted", "landed", "failed", "rejected", "duplicate", "pending")


def say(text: str = "") -> None:
    print(text, flush=True)


@dataclass(frozen=True)
class Size:
    """How much is sent: passages in batch mode and in sync mode, and how long a run may take."""

    batch: int
    sync: int
    seconds: float
    real: bool = False

    @staticmethod
    def of(environ: Mapping[str, str]) -> "Size":
        """All passages for the stand-in model, few for a real one, which takes its time."""
        if not environ.get("LOCAL_AWS_OPENAI_BASE_URL"):
            return Size(len(CORPUS.read_bytes().splitlines()), 150, 240)
        batch = max(100, int(environ.get("RECORDS") or 120))
        return Size(batch, max(1, batch // 6), 4 * 3600, real=True)


def corpora(size: Size, name: str = "speeches") -> dict[str, bytes]:
    """The two corpora by their key in the input bucket. Both hold bad lines and one recordId twice."""
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    half = min(700, size.batch // 2)
    whole = [*lines[:half], *BAD_LINES, *lines[half : size.batch], lines[10]]
    part = [*lines[: size.sync], *BAD_LINES, lines[10]]
    return {
        f"default/corpus/{name}/state-of-the-union.jsonl": b"".join(whole),
        f"default/corpus/{name}-part/state-of-the-union.jsonl": b"".join(part),
    }


def requests(size: Size, name: str = "speeches") -> dict[str, dict[str, Any]]:
    """One run request per mode: the input of the pipeline's execution, by run id."""
    common = {"model": {"id": MODEL}, "prompt": PROMPT, "output": {"schema": FORM}}
    # A real model may answer what it likes: all of it is tried, and counted.
    patient = {"canary_records": 0, "tolerated_failure_percentage": 100} if size.real else {}
    return {
        f"{name}-batch": {
            "run": {"mode": "batch"},
            "source": {"prefix": f"default/corpus/{name}/", "id_field": "id"},
            "limits": {"max_records_per_shard": 500, **patient},
            **common,
        },
        f"{name}-sync": {
            "run": {"mode": "sync"},
            "source": {"prefix": f"default/corpus/{name}-part/", "id_field": "id"},
            # The bad lines are there on purpose, and many for so small a corpus.
            "limits": {"items_per_batch": 25, "tolerated_rejected_percentage": 50, **patient},
            **common,
        },
    }


def fault_plan() -> list[dict[str, Any]]:
    """What goes wrong on purpose (local_aws/README.md): the model refuses the texts of POISON, at every try."""
    texts = {record["id"]: record["text"] for record in map(json.loads, CORPUS.read_bytes().splitlines())}
    return [
        {
            "name": "poison",
            "target": "record",
            "match": {"prompt": [texts[record_id] for record_id in POISON]},
            "do": "error",
            "errorCode": 400,
            "errorMessage": "The model refused this record.",
        }
    ]


def show_run(stack: Stack, run: str, request: dict[str, Any], started: float, size: Size) -> dict[str, Any]:
    """Start a run, print its progress whenever it changes, return its manifest, of a run that failed, too."""
    last = ""

    def watch(progress: Progress) -> None:
        nonlocal last
        if str(progress) != last:
            last = str(progress)
            say(f"  [{time.monotonic() - started:5.1f} s] {run}: {last}")

    execution = stack.wait(stack.start(run, request), timeout=size.seconds, watch=watch)
    manifest = stack.manifest(run)
    if execution["status"] != "SUCCEEDED":
        told = f"run {run} {execution['status']}: {execution.get('error')}: {str(execution.get('cause'))[:500]}"
        if manifest is None:
            raise StackError(told)
        say(f"  {told}")
    if manifest is None:
        raise StackError(f"run {run} left no manifest")
    return manifest


def table(manifests: dict[str, dict[str, Any]]) -> str:
    """One column per run, one row per count."""
    rows = {
        "": list(manifests),
        **{row: [manifest["counts"][row] for manifest in manifests.values()] for row in COUNTS},
        "input tokens": [manifest["tokens"]["input"] for manifest in manifests.values()],
        "output tokens": [manifest["tokens"]["output"] for manifest in manifests.values()],
        "seconds": [round(manifest["seconds"], 1) for manifest in manifests.values()],
    }
    width = max(len(run) for run in manifests) + 2
    return "\n".join(
        "  " + name.ljust(14) + "".join(str(value).rjust(width) for value in values) for name, values in rows.items()
    )


def answered(line: Mapping[str, Any]) -> str:
    """A result in two lines: what fits the form by its fields, other text as it is."""
    value = line.get("value")
    if isinstance(value, dict):
        return f"{line['recordId']}: {', '.join(value['labels'])}\n    {value['summary'][:160]}"
    return f"{line['recordId']}:\n    {str(line.get('text') or '(no text)')[:160]}"


def show_results(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    batch, sync = manifests
    results = list(stack.lines(batch, "results"))
    chosen = [line for line in results if line["recordId"] in SHOWN] or results[:3]
    say("\nThree results:" if chosen else "\nNo results.")
    for line in chosen:
        say(f"  {answered(line)}")
    show_unfit(stack, manifests)
    failures = sorted(stack.lines(sync, "failures"), key=lambda line: str(line["errorClass"]))
    say("\nWhat did not go through, and why:")
    for line in failures[:MOST_SHOWN]:
        say(f"  {line['errorClass']:14} {line.get('recordId') or '(no id)'}: {line['errorMessage'][:110]}")
    if len(failures) > MOST_SHOWN:
        say(f"  and {len(failures) - MOST_SHOWN} more")
    say("\nWhere things lie:")
    for run in manifests:
        base = f"s3://{stack.outputs['output_bucket']}/default/runs/{run}"
        say(f"  {base}/manifest.json, report.html, results/, failures/")


def show_unfit(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    """How many answers were not of the form that was asked for, what they were instead, and one of them."""
    for run, manifest in manifests.items():
        unfit = [line for line in stack.lines(run, "failures") if line["errorClass"] == "schema"]
        if not unfit:
            continue
        kinds = ", ".join(
            f"{code} {count}" for code, count in Counter(line["errorCode"] for line in unfit).most_common()
        )
        say(f"\n{len(unfit)} of {manifest['counts']['accepted']} answers of {run} did not fit the form ({kinds}). One:")
        say(f"    {str(unfit[0].get('text'))[:160]!r}")


def keep_running(stack: Stack) -> None:
    """Print how to go on, wait for Ctrl-C."""
    exports = " ".join(f"{name}={value}" for name, value in stack.aws.environ.items() if name.startswith("AWS_"))
    say(f"""
The local AWS goes on until Ctrl-C. In another shell:

  export {exports}
  alias bulkinfer="PYTHONPATH=cli/src:lambdas .venv/bin/python -m bulkinfer.app"
  bulkinfer runs
  bulkinfer failures speeches-batch
  bulkinfer results speeches-sync --in-order
  bulkinfer run README.md docs/*.md --format text --prompt 'In one sentence: {{{{text}}}}' --model {MODEL} --wait
  bulkinfer redrive speeches-batch

Or by AWS's own command:

  aws s3 ls --recursive s3://{stack.outputs["output_bucket"]}/default/runs/
  aws stepfunctions start-execution --state-machine-arn {stack.outputs["pipeline_arn"]} \\
    --name my-first-run --input '{json.dumps(requests(Size.of({}))["speeches-sync"])}'
  aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL \\
    --queue-url {stack.outputs["reprocess_dead_letter_queue_url"]}

No aws command? pip install awscli, or boto3 with the same variables.""")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("\nStopping.")


def play(stack: Stack, size: Size, started: float, name: str = "speeches") -> None:
    """Upload, run in both modes, show what came of it."""
    for key, body in corpora(size, name).items():
        stack.upload(key, body)
    texts = {line["id"] for line in map(json.loads, CORPUS.read_bytes().splitlines()[: size.batch])}
    poison = len(texts & set(POISON))
    say(f"Running {size.batch:,} passages in batch mode, then {size.sync} in sync mode; {poison} of them poison ...")
    manifests = {run: show_run(stack, run, request, started, size) for run, request in requests(size, name).items()}
    say()
    say(table(manifests))
    show_results(stack, manifests)


def main() -> int:
    keep, size = os.environ.get("KEEP") == "1", Size.of(os.environ)
    started = time.monotonic()
    say("Starting the local AWS ...")
    with LocalAws(knobs=KNOBS, faults=fault_plan()) as aws:
        say(f"  {aws.endpoint}, IAM enforced")
        say("terraform apply (demo/: the module as you would use it) ...")
        stack = Stack(aws, ROOT / ".build" / "demo").apply()
        say(f"  applied after {time.monotonic() - started:.0f} s; state machine {stack.outputs['pipeline_arn']}")
        play(stack, size, started)
        say(f"\nDone in {time.monotonic() - started:.0f} s.")
        if keep:
            keep_running(stack)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (StackError, LocalAwsError, TimeoutError) as error:
        sys.exit(f"demo failed: {error}")
