"""`make demo`: the main job of this module, on an AWS that runs on this machine. No account, no costs.

Starts the local AWS, applies this folder with Terraform, sends 1,969 passages of State of the Union addresses through
Bedrock batch jobs and 150 of them through on-demand calls, with poison in both corpora, and shows what came of it.
KEEP=1 leaves all of it running.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from local_aws import LocalAws
from tests.harness.stack import ROOT, Progress, Stack, StackError

CORPUS = Path(__file__).parent / "corpus" / "state-of-the-union.jsonl"
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SYNC_RECORDS = 150
KNOBS = {"seconds_validating": 1, "seconds_scheduled": 1, "time_scale": 0.1}

PROMPT = {
    "system": "You are an archivist. Answer with one JSON object: summary and labels of the passage.",
    "template": "{{text}}\n\n(President {{president}}, address of {{year}})",
    "inference": {"maxTokens": 300, "temperature": 0},
}

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

COUNTS = ("read", "accepted", "landed", "failed", "rejected", "duplicate", "pending")


def say(text: str = "") -> None:
    print(text, flush=True)


def corpora() -> dict[str, bytes]:
    """The two corpora by their key in the input bucket. Both hold bad lines and one recordId twice."""
    lines = CORPUS.read_bytes().splitlines(keepends=True)
    whole = [*lines[:700], *BAD_LINES, *lines[700:], lines[10]]
    part = [*lines[:SYNC_RECORDS], *BAD_LINES, lines[10]]
    return {
        "default/corpus/speeches/state-of-the-union.jsonl": b"".join(whole),
        "default/corpus/speeches-part/state-of-the-union.jsonl": b"".join(part),
    }


def requests() -> dict[str, dict[str, Any]]:
    """One run request per mode: the input of the pipeline's execution, by run id."""
    return {
        "speeches-batch": {
            "run": {"mode": "batch"},
            "source": {"prefix": "default/corpus/speeches/", "id_field": "id"},
            "model": {"id": MODEL},
            "prompt": PROMPT,
            "limits": {"max_records_per_shard": 500},
        },
        "speeches-sync": {
            "run": {"mode": "sync"},
            "source": {"prefix": "default/corpus/speeches-part/", "id_field": "id"},
            "model": {"id": MODEL},
            "prompt": PROMPT,
            "limits": {"items_per_batch": 25},
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


def show_run(stack: Stack, run: str, request: dict[str, Any], started: float) -> dict[str, Any]:
    """Start a run, print its progress whenever it changes, return its manifest."""
    last = ""

    def watch(progress: Progress) -> None:
        nonlocal last
        if str(progress) != last:
            last = str(progress)
            say(f"  [{time.monotonic() - started:5.1f} s] {run}: {last}")

    execution = stack.wait(stack.start(run, request), timeout=240, watch=watch)
    manifest = stack.manifest(run)
    if execution["status"] != "SUCCEEDED" or manifest is None:
        raise StackError(f"run {run} {execution['status']}: {execution.get('error')}: {execution.get('cause')}")
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


def show_results(stack: Stack, manifests: dict[str, dict[str, Any]]) -> None:
    say("\nThree results:")
    for line in stack.lines("speeches-batch", "results"):
        if line["recordId"] in SHOWN:
            answer = json.loads(line["text"])
            say(f"  {line['recordId']}: {', '.join(answer['labels'])}\n    {answer['summary'][:160]}")
    say("\nWhat did not go through, and why:")
    for line in sorted(stack.lines("speeches-sync", "failures"), key=lambda line: str(line["errorClass"])):
        say(f"  {line['errorClass']:14} {line.get('recordId') or '(no id)'}: {line['errorMessage'][:110]}")
    say("\nWhere things lie:")
    for run in manifests:
        base = f"s3://{stack.outputs['output_bucket']}/default/runs/{run}"
        say(f"  {base}/manifest.json, report.html, results/, failures/")


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
    --name my-first-run --input '{json.dumps(requests()["speeches-sync"])}'
  aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL \\
    --queue-url {stack.outputs["reprocess_dead_letter_queue_url"]}

No aws command? pip install awscli, or boto3 with the same variables.""")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("\nStopping.")


def main() -> int:
    keep = os.environ.get("KEEP") == "1"
    started = time.monotonic()
    say("Starting the local AWS ...")
    with LocalAws(
        knobs={"seconds_validating": 1, "seconds_scheduled": 1, "time_scale": 0.1}, faults=fault_plan()
    ) as aws:
        say(f"  {aws.endpoint}, IAM enforced")
        say("terraform apply (demo/: the module as you would use it) ...")
        stack = Stack(aws, ROOT / ".build" / "demo").apply()
        say(f"  applied after {time.monotonic() - started:.0f} s; state machine {stack.outputs['pipeline_arn']}")
        for key, body in corpora().items():
            stack.upload(key, body)
        say("Running 1,969 passages in batch mode, then 150 in sync mode; six of them are poison ...")
        manifests = {run: show_run(stack, run, request, started) for run, request in requests().items()}
        say()
        say(table(manifests))
        show_results(stack, manifests)
        say(f"\nDone in {time.monotonic() - started:.0f} s.")
        if keep:
            keep_running(stack)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StackError as error:
        sys.exit(f"demo failed: {error}")
