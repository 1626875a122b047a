"""Where chaos is played: one applied stack, and what a row of the table needs of it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws import LocalAws
from tests.chaos import checker
from tests.harness.stack import ROOT, Stack

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

#: Retries wait a twentieth of their time, jobs are validated and scheduled at once.
KNOBS = {"seconds_validating": 0.2, "seconds_scheduled": 0.2, "time_scale": 0.05}

#: A killed invocation holds its unit until its own time would have been over: that is made short, not switched off.
VARIABLES: dict[str, Any] = {
    "name": "chaos",
    "reconcile_schedule": "rate(1 minute)",
    "functions": {
        "infer_batch": {"timeout_seconds": 20},
        "collect_results": {"timeout_seconds": 30},
        "submit_job": {"timeout_seconds": 20},
        "cut_shards": {"timeout_seconds": 60},
        "reprocess_records": {"timeout_seconds": 20},
    },
    "reprocessing": {"max_receive_count": 8},
}

#: A failed message comes back as soon as its invocation may have ended, instead of after six times its timeout.
HIDDEN_SECONDS = 25


class Field:
    """An applied stack with its clients. Safe for threads."""

    def __init__(self, stack: Stack) -> None:
        self.aws = stack.aws
        self.stack = stack
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        for queue in self.lanes:
            self.client("sqs").set_queue_attributes(
                QueueUrl=queue, Attributes={"VisibilityTimeout": str(HIDDEN_SECONDS)}
            )

    @property
    def outputs(self) -> dict[str, Any]:
        return self.stack.outputs

    def client(self, service: str) -> Any:
        """The operator's client of a service."""
        with self._lock:
            if service not in self._clients:
                config = Config(retries={"total_max_attempts": 4}, max_pool_connections=50)
                self._clients[service] = self.aws.client(service, config=config)
            return self._clients[service]

    # Queues.

    @property
    def _queues(self) -> list[str]:
        urls: list[str] = []
        for name, value in sorted(self.outputs.items()):
            if name.endswith("queue_url") and isinstance(value, str):
                urls.append(value)
            elif name.endswith("queue_urls") and isinstance(value, dict):
                urls += [str(each) for each in value.values()]
        return [url for url in dict.fromkeys(urls) if "undelivered" not in url]

    @property
    def lanes(self) -> list[str]:
        """Queues that a function consumes."""
        return [url for url in self._queues if "dead-letter" not in url]

    @property
    def dead_letters(self) -> list[str]:
        return [url for url in self._queues if "dead-letter" in url]

    def depth(self, queue: str, *, hidden: bool = False) -> int:
        """Messages of a queue, the hidden and the delayed ones, too; or these alone."""
        names = ["ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        if not hidden:
            names.append("ApproximateNumberOfMessages")
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found.get(name, 0)) for name in names)

    def drain(self, timeout: float = 240) -> None:
        """Wait until every message is settled or dead."""
        self.stack.until(self._rests, "the failure lane to come to rest", timeout)
        self.stack.until(self._manifests_are_up_to_date, "late outcomes to reach the manifests", timeout)

    def _manifests_are_up_to_date(self) -> bool:
        """Does what a schedule does every minute. One look may meet the schedule's own, and leave a run to the next."""
        looked = self.invoke("update_runs", {})
        return bool(looked["stale"] <= looked["waiting"])

    def _rests(self) -> bool:
        """Nothing waits in a lane, and nothing is on its way to the dead letters or from them."""
        sqs = self.client("sqs")
        for queue in self.dead_letters:
            if self.depth(queue, hidden=True):
                return False
            arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            tasks = sqs.list_message_move_tasks(SourceArn=arn).get("Results", [])
            if any(task["Status"] in ("RUNNING", "CANCELLING") for task in tasks):
                return False
        return not any(map(self.depth, self.lanes))

    def dead(self) -> list[dict[str, Any]]:
        """Bodies of all dead letters."""
        return [body for queue in self.dead_letters for body in checker.peek(self.client("sqs"), queue)]

    def redrive(self, run: str | None = None) -> dict[str, Any]:
        """The operator's command of docs/redriving.md: every dead letter, or those of one run, goes back."""
        return self.invoke("redrive_failures", {"action": "redrive", **({"run": run} if run else {})})

    # Faults.

    def inject(self, rules: Iterable[Mapping[str, Any]]) -> None:
        self.aws.local("POST", "/_local/faults", list(rules))

    def fired(self, name: str) -> list[int]:
        """How often each rule of a name has fired."""
        rules = self.aws.local("GET", "/_local/faults")["rules"]
        return [rule["fired"] for rule in rules if rule.get("name") == name]

    def heal(self, name: str | None = None) -> None:
        """The rules of a name strike no more, or none at all."""
        self.aws.local("DELETE", f"/_local/faults?name={name}" if name else "/_local/faults")

    @contextmanager
    def knobs(self, **values: Any) -> Iterator[None]:
        self.aws.local("PUT", "/_local/knobs", values)
        try:
            yield
        finally:
            self.aws.local("DELETE", "/_local/knobs")
            self.aws.local("PUT", "/_local/knobs", KNOBS)

    # Runs.

    def status(self, execution_arn: str) -> str:
        return str(self.client("stepfunctions").describe_execution(executionArn=execution_arn)["status"])

    def wait(self, execution_arn: str, timeout: float = 240) -> str:
        """The status with which an execution ends. Raises TimeoutError."""
        self.stack.until(lambda: self.status(execution_arn) != "RUNNING", f"the end of {execution_arn}", timeout)
        return self.status(execution_arn)

    def has_results(self, run: str, tenant: str = "default") -> bool:
        """Whether a run has landed anything yet."""
        listed = self.client("s3").list_objects_v2(
            Bucket=self.outputs["output_bucket"], Prefix=f"{tenant}/runs/{run}/results/", MaxKeys=1
        )
        return bool(listed.get("KeyCount"))

    def invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function by its handler's name, as an event source would; its answer."""
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["function_names"][function], Payload=json.dumps(event).encode()
        )
        return dict(json.load(answer["Payload"]) or {})

    def executions(self, execution_arn: str) -> list[str]:
        """A pipeline execution, those that it started, and the children of all their maps."""
        states = self.client("stepfunctions")
        run = execution_arn.rsplit(":", 1)[1]
        own = [execution_arn]
        for output in ("shard_and_submit_arn", "fan_out_arn"):
            listed = states.list_executions(stateMachineArn=self.outputs[output])["executions"]
            own += [each["executionArn"] for each in listed if each["name"].startswith(f"{run}-")]
        children = [
            each["executionArn"]
            for arn in own
            for map_run in states.list_map_runs(executionArn=arn)["mapRuns"]
            for page in states.get_paginator("list_executions").paginate(mapRunArn=map_run["mapRunArn"])
            for each in page["executions"]
        ]
        return own + children

    def retried(self, execution_arn: str) -> Counter[str]:
        """Errors after which a task of a run was tried again, by name."""
        found: Counter[str] = Counter()
        for arn in self.executions(execution_arn):
            try:
                pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
                events = [event for page in pages for event in page["events"]]
            except ClientError:
                continue
            for event in events:
                for details in ("taskFailedEventDetails", "lambdaFunctionFailedEventDetails"):
                    if details in event:
                        found[event[details].get("error", "?")] += 1
        return found

    def evidence(
        self, corpus: str, runs: Iterable[str], messages: Iterable[Mapping[str, Any]], scope: str | None = None
    ) -> checker.Evidence:
        return checker.gather(
            client=self.client,
            input_bucket=self.outputs["input_bucket"],
            output_bucket=self.outputs["output_bucket"],
            ledger=self.outputs["ledger_table"],
            runs_table=self.outputs["runs_table"],
            corpus_prefix=f"default/corpus/{corpus}/",
            runs=runs,
            messages=messages,
            scope=scope,
        )


@contextmanager
def applied(workdir: Path = ROOT / ".build" / "chaos") -> Iterator[Field]:
    """A local AWS with the module applied to it."""
    with LocalAws(knobs=KNOBS) as aws:
        yield Field(Stack(aws, workdir, VARIABLES).apply())


def together(things: Iterable[Callable[[], Any]]) -> None:
    """Do several things at the same moment; raises what the first of them raises."""
    errors: list[BaseException] = []

    def guard(thing: Callable[[], Any]) -> None:
        try:
            thing()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(thing,)) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
