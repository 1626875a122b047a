"""The module applied by Terraform to a local AWS, and what its users do with it: upload, start, watch, read."""

import fcntl
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws import LocalAws

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "tests" / "harness" / "terraform.sh"
DEMO = ROOT / "demo"

STAGES = {
    "Plan Run": "planning",
    "Cut Corpus": "cutting",
    "Seal Shards": "sealing",
    "Run Inference": "inferring",
    "Assemble Results": "assembling",
    "Finish Run": "accounting",
}
"""States of the pipeline that a run is in for a while, in words."""


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """No other process of this tree does `what` meanwhile."""
    with (ROOT / ".build" / f"{what}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class StackError(Exception):
    """Terraform failed; the text holds the end of what it printed."""


@dataclass
class Progress:
    """What one look at a run shows: its stage, and per stage how far it is."""

    stage: str
    parts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " · ".join([self.stage, *self.parts])


class Stack:
    """One `terraform apply` of demo/ (or another folder) against `aws`.

    `workdir` holds Terraform's state and logs; a state found there belongs to a local AWS that is gone, so it is
    removed first.
    """

    def __init__(
        self, aws: LocalAws, workdir: Path, variables: dict[str, Any] | None = None, folder: Path = DEMO
    ) -> None:
        self.aws = aws
        self.workdir = workdir
        self.folder = folder
        self.outputs: dict[str, Any] = {}
        workdir.mkdir(parents=True, exist_ok=True)
        for old in workdir.glob("terraform.tfstate*"):
            old.unlink()
        self._variables = workdir / "demo.auto.tfvars.json"
        self._variables.write_text(json.dumps(variables or {}), encoding="utf-8")

    def terraform(self, *arguments: str) -> str:
        """Run Terraform in the folder; return what it printed. Raises StackError with the end of its output."""
        log = self.workdir / f"terraform-{arguments[0]}.log"
        data = ROOT / ".build" / "terraform" / self.workdir.name
        done = subprocess.run(
            [str(TERRAFORM), f"-chdir={self.folder}", *arguments],
            env={**self.aws.environ, "TF_DATA_DIR": str(data), "TF_IN_AUTOMATION": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        log.write_text(done.stdout, encoding="utf-8")
        # `plan -detailed-exitcode` answers 2 for "there are differences".
        if done.returncode not in (0, 2 if "-detailed-exitcode" in arguments else 0):
            raise StackError(f"terraform {arguments[0]} failed (all of it: {log}):\n{done.stdout[-3000:]}")
        return done.stdout

    @property
    def _state(self) -> str:
        return f"-state={self.workdir / 'terraform.tfstate'}"

    def apply(self) -> "Stack":
        """`terraform init` and `apply`; `outputs` then holds the module's outputs."""
        with _alone("terraform-init"):
            # It writes the folder's lock file, which the inits of other workers write, too.
            self.terraform("init", "-input=false", "-no-color")
        self.terraform(
            "apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=30",
            self._state, f"-var-file={self._variables}",
        )  # fmt: skip
        shown = json.loads(self.terraform("output", "-json", self._state))
        self.outputs = {name: output["value"] for name, output in shown.items()}
        return self

    def second_plan(self) -> str:
        """What Terraform would still change after the apply, as it prints it."""
        return self.terraform(
            "plan", "-input=false", "-no-color", "-detailed-exitcode", "-lock=false",
            self._state, f"-var-file={self._variables}",
        )  # fmt: skip

    def upload(self, key: str, body: bytes) -> None:
        self.aws.client("s3").put_object(Bucket=self.outputs["input_bucket"], Key=key, Body=body)

    def start(self, run: str, request: dict[str, Any]) -> str:
        """Start a run: the execution's name is the run's id. Returns the execution's ARN."""
        answer = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["pipeline_arn"], name=run, input=json.dumps(request)
        )
        return str(answer["executionArn"])

    def describe(self, execution_arn: str) -> dict[str, Any]:
        return dict(self.aws.client("stepfunctions").describe_execution(executionArn=execution_arn))

    def wait(
        self, execution_arn: str, timeout: float = 300, watch: Callable[[Progress], None] | None = None
    ) -> dict[str, Any]:
        """Wait until the execution ends; `watch` is called with every look at it. Raises TimeoutError (seconds)."""
        deadline = time.monotonic() + timeout
        while True:
            execution = self.describe(execution_arn)
            if watch:
                watch(self.progress(execution_arn))
            if execution["status"] != "RUNNING":
                return execution
            if time.monotonic() > deadline:
                raise TimeoutError(f"{execution_arn} still runs after {timeout} s: {self.progress(execution_arn)}")
            time.sleep(1)

    @staticmethod
    def until(true: Callable[[], bool], what: str, timeout: float = 90) -> None:
        """Look every half second until `true()`; raises TimeoutError naming `what`."""
        deadline = time.monotonic() + timeout
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"still waiting for {what} after {timeout} s")
            time.sleep(0.5)

    def listen(self, name: str, pattern: dict[str, Any]) -> str:
        """URL of a new queue that hears the events of the completion bus that fit the pattern."""
        sqs, events, bus = self.aws.client("sqs"), self.aws.client("events"), self.outputs["event_bus_name"]
        rule = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
        arn = f"arn:aws:sqs:{self.aws.region}:{self.aws.account}:{name}"
        statement = {
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        queue = str(sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"])
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
        return queue

    def progress(self, execution_arn: str) -> Progress:
        """The state that the pipeline is in, with counts of its Map Runs and Bedrock jobs."""
        run = execution_arn.rsplit(":", 1)[1]
        states = self.aws.client("stepfunctions")
        history = states.get_execution_history(executionArn=execution_arn, reverseOrder=True, maxResults=100)
        entered = [e["stateEnteredEventDetails"]["name"] for e in history["events"] if "stateEnteredEventDetails" in e]
        progress = Progress(next((STAGES[name] for name in entered if name in STAGES), "starting"))
        for map_run in self.map_runs(execution_arn):
            counts = states.describe_map_run(mapRunArn=map_run)["itemCounts"]
            label = map_run.split("/")[1].split(":")[0]
            progress.parts.append(f"{label} {counts['succeeded'] + counts['failed']}/{counts['total']}")
        jobs = Counter(job["status"] for job in self.jobs(run))
        if jobs:
            progress.parts.append("jobs " + ", ".join(f"{n} {status}" for status, n in sorted(jobs.items())))
        return progress

    def map_runs(self, execution_arn: str) -> list[str]:
        """ARNs of the Map Runs of a pipeline execution and of the executions that it started."""
        states = self.aws.client("stepfunctions")
        run = execution_arn.rsplit(":", 1)[1]
        executions = [execution_arn]
        for output in ("shard_and_submit_arn", "fan_out_arn"):
            listed = states.list_executions(stateMachineArn=self.outputs[output])["executions"]
            executions += [each["executionArn"] for each in listed if each["name"].startswith(f"{run}-")]
        return [each["mapRunArn"] for arn in executions for each in states.list_map_runs(executionArn=arn)["mapRuns"]]

    def causes(self, execution_arn: str) -> list[str]:
        """Why the children of a pipeline execution's Map Runs failed."""
        states = self.aws.client("stepfunctions")
        failed = [
            each["executionArn"]
            for map_run in self.map_runs(execution_arn)
            for each in states.list_executions(mapRunArn=map_run, statusFilter="FAILED")["executions"]
        ]
        return [str(self.describe(arn).get("cause")) for arn in failed]

    def jobs(self, run: str) -> list[dict[str, Any]]:
        """The run's Bedrock batch jobs (of the newest 1,000): those that read from its shards."""
        listed = self.aws.client("bedrock").list_model_invocation_jobs(maxResults=1000)["invocationJobSummaries"]
        return [dict(job) for job in listed if f"/runs/{run}/" in job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]]

    def keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def lines(self, run: str, part: str, tenant: str = "default") -> Iterator[dict[str, Any]]:
        """The lines of `results` or `failures` of a run."""
        bucket = self.outputs["output_bucket"]
        for key in self.keys(bucket, f"{tenant}/runs/{run}/{part}/"):
            body = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            for line in body.split(b"\n"):
                if line:
                    yield json.loads(line)

    def manifest(self, run: str, tenant: str = "default") -> dict[str, Any] | None:
        """The run's manifest, or None while there is none."""
        try:
            body = self.aws.client("s3").get_object(
                Bucket=self.outputs["output_bucket"], Key=f"{tenant}/runs/{run}/manifest.json"
            )["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return dict(json.loads(body.read()))
