"""A run as Step Functions plays it, by invocations of the handlers: children with their states, retries, redrives.

A child remembers where it stands, as an execution does. Whatever an invocation answers whose task has been tried again
meanwhile goes nowhere.
"""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Final

from bulk_inference.core.errors import BulkInferenceError
from bulk_inference.core.stored_run import CLOSED
from tests.explorer import machines
from tests.explorer.account import ASSEMBLY, DEAD, HAIKU, INPUT, LANES, NOW, OUTPUT, PIPELINE, Account
from tests.explorer.assembling import Assembly
from tests.explorer.aws.bedrock import TERMINAL
from tests.explorer.aws.queues import ARN
from tests.explorer.workers import Worker

_TRIES: Final = 20


class StuckError(Exception):
    """The run cannot go on: a state machine would end in a Fail state, or try for ever."""


@dataclass
class Child:
    """One child of a Map: an item batch, or a shard."""

    name: str
    begun: dict[str, Any]
    """Its event as the Map made it: what a redrive in a new execution begins with."""
    state: dict[str, Any] = field(default_factory=dict)
    function: str = ""
    """Of the state that it stands in; empty when it is done."""
    failed: bool = False
    token: str = ""
    tokens: int = 0

    def copy(self) -> "Child":
        return Child(self.name, self.begun, self.state, self.function, self.failed, self.token, self.tokens)


@dataclass
class Run:
    """One execution of the pipeline."""

    account: Account
    name: str
    request: dict[str, Any]
    tenant: str = "default"
    plan: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    sealed: dict[str, Any] = field(default_factory=dict)
    redrives: int = 0
    status: str = ""
    inferred: int = 0
    assembly: Assembly | None = None
    deaths: list[str] = field(default_factory=list)
    """Children that have failed."""
    inferred_at: float = 0.0
    """When its children were done for the first time, epoch seconds."""

    def copy(self, account: Account) -> "Run":
        children = {name: child.copy() for name, child in self.children.items()}
        return Run(
            account,
            self.name,
            self.request,
            self.tenant,
            self.plan,
            children,
            self.sealed,
            self.redrives,
            self.status,
            self.inferred,
            self.assembly.copy(account) if self.assembly else None,
            list(self.deaths),
            self.inferred_at,
        )

    @property
    def root(self) -> str:
        return f"{self.tenant}/runs/{self.name}/"

    @property
    def arn(self) -> str:
        return f"{PIPELINE.replace(':stateMachine:', ':execution:')}:{self.name}"

    @property
    def where(self) -> dict[str, str]:
        return {"run": self.name, "tenant": self.tenant}

    # Events of the states before inference.

    def begin(self) -> None:
        if self.arn not in self.account.states.executions:
            self.account.states.begin(PIPELINE, self.name, self.request)

    def planning(self) -> tuple[str, dict[str, Any]]:
        return "plan_run", {"run": self.name, "executionArn": self.arn, "request": self.request}

    def cuttings(self) -> list[tuple[str, dict[str, Any]]]:
        cuts = self.account.lines(INPUT, self.plan["cuts"]["key"])
        return [("cut_shards", {**self.where, "cut": cut}) for cut in cuts]

    def sealing(self) -> tuple[str, dict[str, Any]]:
        return "seal_shards", dict(self.where)

    def finishing(self) -> tuple[str, dict[str, Any]]:
        inferred = {"redrives": self.inferred}
        event = {**self.where, "executionArn": self.arn, "redrives": self.redrives, "inferred": inferred}
        return "finish_run", event

    # The states in their order.

    def prepare(self) -> "Run":
        """Up to the children of inference."""
        self.begin()
        self.plan = self.tried(*self.planning())
        for cutting in self.cuttings():
            self.tried(*cutting)
        self.sealed = self.tried(*self.sealing())
        self.open_children()
        return self

    def open_children(self) -> None:
        """A Map begins: every child anew."""
        self.children = {}
        if self.sealed["batch"]["shards"]:
            for line in self.account.lines(INPUT, self.sealed["batch"]["key"]):
                event = {**self.where, "attempt": 1, "jobTimeoutSeconds": 90_000, "shard": line}
                name = f"shard-{line['shard']}"
                self.children[name] = Child(name, event, event, "submit_job")
        for _, line in self.account.below(INPUT, f"{self.root}sync/"):
            event = {"BatchInput": self.where, "Items": [line]}
            name = f"items-{len(self.children)}"
            self.children[name] = Child(name, event, event, "infer_batch")

    def event_of(self, child: Child) -> dict[str, Any]:
        """Event of the state in which the child stands. Submitting makes a new task token each time."""
        if child.function == "submit_job":
            child.tokens += 1
            self.account.states.waiting.discard(child.token)
            child.token = f"{self.name}/{child.name}/{self.redrives}/{child.tokens}"
            self.account.states.waiting.add(child.token)
            return {**child.state, "taskToken": child.token}
        if child.function == "infer_batch" and "remainder" in child.state:
            return child.state["remainder"]  # type: ignore[no-any-return]
        return child.state

    def follow(self, child: Child, worker: Worker) -> None:
        """The child goes on with what its latest invocation came to."""
        if worker.error is not None:
            self._catch(child, worker.error)
        elif child.function == "submit_job":
            child.function = "await"
        elif child.function == "collect_results":
            child.state = worker.answer
            following = {"collect": "collect_results", "submit": "submit_job", "infer": "infer_batch"}
            child.function = following.get(worker.answer["next"], "")
        elif "remainder" in child.state:
            child.state = {**child.state, "remainder": worker.answer}
            child.function = "infer_batch" if worker.answer["next"] == "infer" else ""
        else:
            child.state = worker.answer
            child.function = "infer_batch" if worker.answer["next"] == "infer" else ""

    def _catch(self, child: Child, error: BaseException) -> None:
        name = type(error).__name__
        if name in machines.retries(child.function) or name == "Killed":
            return
        if name in machines.caught(child.function):
            child.state = {**child.state, "job": {"Error": name, "Cause": json.dumps({"errorMessage": str(error)})}}
            child.function = "collect_results"
            return
        # The child's execution has failed; a redrive of the run begins it anew.
        self.deaths.append(f"{child.name} died of {name}: {error}")
        child.function, child.failed = "", True

    def step(self, child: Child) -> None:
        """One invocation of a child, or what it waits for."""
        if child.function == "await":
            self._await(child)
            return
        worker = self.account.worker(child.function, self.event_of(child)).run()
        passing = worker.error is not None and is_retried(child.function, worker.error)
        self.follow(child, worker)
        if passing:
            self.account.now += 20

    def _await(self, child: Child) -> None:
        """The job ends and says so; what its event does not wake, reconciliation must."""
        states = self.account.states
        if child.token in states.waiting:
            for job in [one for one in self.account.bedrock.jobs.values() if one.status not in TERMINAL]:
                self.account.bedrock.complete(job.arn, "Stopped" if job.status == "Stopping" else "Completed")
                tolerant(self.account, "resume_job", {"detail": {"batchJobArn": job.arn, "batchJobName": job.name}})
        for _ in range(3):
            if child.token not in states.waiting:
                break
            self.account.now += 60
            tolerant(self.account, "reconcile_jobs", {})
        if child.token in states.waiting:
            raise StuckError(
                f"{child.name} of {self.name}: its job has ended, and the child still waits: it will until its own "
                "timeout (25 h or more)"
            )
        child.state = {**child.state, "job": states.answers[child.token]}
        child.function = "collect_results"

    def infer(self, rounds: int = 60) -> None:
        """Every child to its end."""
        for child in self.children.values():
            for _ in range(rounds):
                if not child.function:
                    break
                self.step(child)
            if child.function:
                raise StuckError(f"{child.name} of {self.name} still stands in {child.function} after {rounds} tries")
        self.inferred_at = self.inferred_at or self.account.now

    def finish(self, redrives: int = 3) -> str:
        """The rest of the execution, redriven while it says that it may be. Its last status."""
        if self.account.states.executions[self.arn].status != "RUNNING":
            self.redrive()
        for _ in range(redrives + 1):
            self.infer()
            self.assemble()
            self.inferred = self.redrives
            self.status = self._finished()
            if self.status in CLOSED:
                self.account.states.end(self.arn, "SUCCEEDED")
                return self.status
            self.account.states.end(self.arn, "FAILED")
            self.stopped("FAILED")
            self.redrive()
        return self.status

    # The assembly.

    def begin_assembly(self) -> None:
        name = f"{self.name}-{self.redrives}"
        arn = self.account.states.begin(ASSEMBLY, name, {**self.where})
        self.assembly = Assembly.begin(self.account, self.name, self.tenant, arn)

    def assemble(self) -> None:
        """Every state of the assembly that the pipeline starts; none, if the run asks for nothing of it."""
        if not self.plan.get("assembly"):
            return
        if self.assembly is None or not self.assembly.execution.endswith(f":{self.name}-{self.redrives}"):
            self.begin_assembly()
        while self.assembly is not None and not self.assembly.done:
            self.step_assembly()

    def step_assembly(self) -> None:
        assert self.assembly is not None
        drive(self.assembly)

    def redrive(self) -> None:
        """An operator redrives the execution: it goes on at Finish Run, which sends it back to inference."""
        self.account.now += 60
        self.account.states.redrive(self.arn)
        self.redrives += 1
        tolerant(self.account, "stop_run", self._event("RUNNING"))
        self.open_children()

    def stop(self) -> None:
        """Somebody aborts the execution."""
        self.account.states.end(self.arn, "ABORTED")
        self.stopped("ABORTED")

    def stopped(self, status: str) -> None:
        tolerant(self.account, "stop_run", self._event(status))

    def stopping(self, status: str = "ABORTED") -> tuple[str, dict[str, Any]]:
        return "stop_run", self._event(status)

    def _event(self, status: str) -> dict[str, Any]:
        detail = {"name": self.name, "executionArn": self.arn, "status": status, "redriveCount": self.redrives}
        return {"detail": detail}

    def _finished(self) -> str:
        try:
            return str(self.tried(*self.finishing())["status"])
        except BulkInferenceError as error:
            name = type(error).__name__
            if name in ("IncompleteRunError", "ConservationError"):
                return name
            raise

    def tried(self, function: str, event: dict[str, Any]) -> Any:
        return tried(self.account, function, event, self.name)


def is_retried(function: str, error: BaseException) -> bool:
    return type(error).__name__ in machines.retries(function)


def require_no_refusal(function: str, run: str, error: BaseException | None) -> None:
    """Raises StuckError for an error that ends the execution for good."""
    if error is not None and type(error).__name__ in machines.refused(function):
        raise StuckError(f"{function} of {run} ends in a Fail state, which a redrive enters again: {error}") from error


def tried(account: Account, function: str, event: dict[str, Any], run: str) -> Any:
    """As a state does it, with its retries."""
    for number in itertools.count():
        worker = account.worker(function, event).run()
        if worker.error is None:
            return worker.answer
        require_no_refusal(function, run, worker.error)
        if number >= min(_TRIES, machines.retries(function).get(type(worker.error).__name__, 0)):
            raise worker.error
        account.now += 20
    raise AssertionError("unreachable: a loop without end")


def drive(assembly: Assembly) -> None:
    """The next state of an assembly."""
    function, event = assembly.calls[0]
    assembly.answered(
        tried(assembly.account, function, event, assembly.run), lambda run, request: reduce(assembly, run, request)
    )


def reduce(assembly: Assembly, run: str, request: dict[str, Any]) -> None:
    """The pipeline's execution that the assembly starts and waits for."""
    Run(assembly.account, run, request, assembly.tenant).prepare().finish()


def tolerant(account: Account, function: str, event: dict[str, Any]) -> Any:
    """A function whose caller tries again by itself: a schedule, or EventBridge."""
    for _ in range(_TRIES):
        worker = account.worker(function, event).run()
        if worker.error is None:
            return worker.answer
        if not isinstance(worker.error, (BulkInferenceError, ExceptionGroup)):
            raise worker.error
        account.now += 60
    raise StuckError(f"{function} is refused for ever: {worker.error!r}") from worker.error


# The failure lane.


def delivery(account: Account, queue: str, words: str | None = None) -> dict[str, Any] | None:
    """An event of the queue's poller with one message, hidden from now on; None if the queue shows none. `words`: the
    first message that holds them, shown or not."""
    if words is not None:
        messages = account.sqs.queues[queue].messages
        wanted = [one for one in messages if words in one.body]
        if not wanted:
            return None
        messages.remove(wanted[0])
        messages.insert(0, wanted[0])
        wanted[0].visible_at = 0
    found = account.sqs.receive(queue, 1)
    if not found:
        return None
    return {
        "Records": [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": {
                    **one["Attributes"],
                    "SenderId": "x",
                    "ApproximateFirstReceiveTimestamp": one["Attributes"]["SentTimestamp"],
                },
                "messageAttributes": {
                    name: {"stringValue": value["StringValue"], "dataType": "String"}
                    for name, value in one["MessageAttributes"].items()
                },
                "md5OfBody": "x",
                "eventSource": "aws:sqs",
                "eventSourceARN": ARN + queue,
                "awsRegion": "us-east-1",
            }
            for one in found
        ]
    }


def delivered(account: Account, queue: str, event: dict[str, Any], worker: Worker) -> None:
    """The poller deletes what the invocation is done with; of one that raised, nothing."""
    if worker.error is not None:
        return
    again = {one["itemIdentifier"] for one in worker.answer["batchItemFailures"]}
    for record in event["Records"]:
        if record["messageId"] not in again:
            account.sqs.delete(queue, record["receiptHandle"])


def drain(account: Account, queues: tuple[str, ...], function_of: dict[str, str], rounds: int = 200) -> None:
    """Works off queues until none holds a message that will ever show."""
    for _ in range(rounds):
        account.sqs.move()
        times = [at for name in queues if (at := account.sqs.next_at(name)) is not None]
        if not times:
            return
        account.now = max(account.now, min(times))
        for name in queues:
            while (event := delivery(account, name)) is not None:
                worker = account.worker(function_of[name], event).run()
                if worker.error is not None and not isinstance(worker.error, BulkInferenceError):
                    raise worker.error
                delivered(account, name, event, worker)
    raise StuckError(f"messages go round for ever: {account.bodies(*queues)}")


def drain_lanes(account: Account) -> None:
    drain(account, LANES, dict.fromkeys(LANES, "reprocess_records"))


def update(account: Account) -> None:
    """The schedules, until no mark is left that they can follow."""
    before = None
    for _ in range(12):
        tolerant(account, "update_runs", {})
        marks = account.items("STALE")
        if not marks or marks == before:
            return
        before = marks
        account.now += 60
    raise StuckError(f"marks of stale manifests are never followed: {account.items('STALE')}")


def records(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n:02d}", "text": f"r{n:02d}"} for n in range(count)]


def corpus(account: Account, lines: list[dict[str, Any]], key: str = "default/corpus/a.jsonl") -> str:
    account.put(INPUT, key, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return key


def request(key: str = "default/corpus/a.jsonl", /, **sections: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "source": {"key": key},
        "model": {"id": HAIKU},
        "prompt": {"template": "{{text}}"},
        "limits": {"items_per_batch": 6, "tolerated_failure_percentage": 100},
    }
    return given | sections


__all__ = ["DEAD", "NOW", "OUTPUT"]
