"""The rows of the table: which faults strike a run, in which mode, and what is done meanwhile.

`{run}` in a rule stands for the row's own run, `{me}` for its records: rows that go on side by side share no fault
unless their rules say otherwise. Rules of target `call` leave the operator (and so the checker) alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.play import Play

Rule = Mapping[str, Any]
MODES = ("batch", "sync")

#: The function that lands records, by mode.
LANDS = {"batch": "collect_results", "sync": "infer_batch"}

#: The functions' roles: what services do under other roles, they try again by themselves.
_FUNCTIONS = {"regex": r":assumed-role/chaos-(?!batch|pipeline|shard_and_submit|fan_out)"}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    fault: str
    mode: str
    rules: tuple[Rule, ...] = ()
    records: int = 0
    """0: as many as the size of the play says for the mode."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    act: Callable[[Play], None] | None = None
    """What is done from the start of the run to its end; default: wait."""
    ends: str = "SUCCEEDED"
    """Status with which the last execution must end."""
    everything_lands: bool = True
    """Whether the faults leave no record that has to fail."""
    scope: bool = False
    """Whether its runs share a scope, instead of having one each."""
    short: bool = False
    """Whether it belongs to the short set."""
    alone: Mapping[str, Any] | None = None
    """Knobs of the whole local AWS that it needs: it is played when all others are done."""

    @property
    def name(self) -> str:
        return f"{self.fault} ({self.mode})"


def killed(function: str, call: Any, at: str, request: Any = "{run}", times: int = 2) -> Rule:
    """The function's worker dies before or after a call whose request holds a text."""
    match = {"function": f"chaos-{function}", "call": call, "request": request}
    return {"target": "worker", "match": match, "do": "kill", "at": at, "times": times}


def repeated(function: str, times: int = 3, seconds: float = 0) -> Rule:
    """The function's event runs in two environments, at once or a little apart."""
    match = {"function": f"chaos-{function}", "call": "Invoke", "request": "{run}"}
    return {"target": "worker", "match": match, "do": "repeat", "times": times, "seconds": seconds}


def refused(mode: str | None, rate: float, code: int = 500, **more: Any) -> Rule:
    """The model refuses a share of the records: in one mode only, or at every try."""
    match = {"prompt": "Ticket {me}-", **({"mode": mode} if mode else {}), **more}
    return {"target": "record", "match": match, "do": "error", "errorCode": code, "rate": rate}


def call(service: str, operation: Any, do: str, request: Any = "{run}", **more: Any) -> Rule:
    """A call of a function to a service goes wrong."""
    match: dict[str, Any] = {"service": service, "caller": _FUNCTIONS, "request": request}
    if operation:
        match["operation"] = operation
    return {"target": "call", "match": match, "do": do, **more}


def job(do: str, **more: Any) -> Rule:
    """The run's jobs go wrong."""
    return {"target": "job", "match": {"inputUri": {"contains": "/runs/{run}/"}}, "do": do, **more}


def ended(status: str, **more: Any) -> Rule:
    """The run's jobs end with a status."""
    return job("end", **{"as": status}, **more)


def event(do: str, status: Any = None, **more: Any) -> Rule:
    match: dict[str, Any] = {"inputUri": {"contains": "/runs/{run}/"}}
    if status:
        match["status"] = status
    return {"target": "event", "match": match, "do": do, **more}


#: Calls of DynamoDB that save an item; a worker saves in one transaction with its lease.
_SAVES = ["PutItem", "TransactWriteItems"]

#: What a text of DynamoDB's PutItem of a unit holds.
_UNIT = {"regex": r"RUN#{run}\b.*UNIT#"}

#: The same of an item batch that has landed something; the first version of its item says that it was begun.
_NOTED = {"regex": r'(?s)(?=.*RUN#{run}\b)(?=.*UNIT#)(?=.*"version": ?\{"N": ?"2"\})'}


def _kills() -> list[Row]:
    rows = []
    for mode in MODES:
        lands = LANDS[mode]
        effects: dict[str, tuple[tuple[str | list[str], Any], tuple[Rule, ...]]] = {
            "claim": (("BatchExecuteStatement", "{run}"), ()),
            "write": (("PutObject", "/runs/{run}/results/"), ()),
            # What a mode refuses is reprocessed in the other one's way: only then is there something to send.
            "send": (("SendMessageBatch", "{run}"), (refused("batch", 0.02) if mode == "batch" else _twice(),)),
            "unit item": ((_SAVES, _UNIT), ()),
        }
        for effect, ((operation, request), more) in effects.items():
            rows += [
                Row(
                    f"worker killed {at} {effect}",
                    mode,
                    (killed(lands, operation, at, request), *more),
                    short=(effect, at) in (("claim", "after"), ("write", "after")),
                )
                for at in ("before", "after")
            ]
        rows.append(
            Row(
                "a unit dies for good after a write",
                mode,
                # The part is there, and no try can say so: nobody tries again after AccessDenied.
                (
                    call(
                        "dynamodb", _SAVES, "error", _UNIT if mode == "batch" else _NOTED,
                        code="AccessDeniedException", status=400, times=1,
                    ),
                    *([refused("batch", 0.1)] if mode == "batch" else []),
                ),
                # In sync mode, a batch of two parts: the second one is pending.
                limits={
                    "tolerated_failure_percentage": 60,
                    **({"max_records_per_shard": 120, "items_per_batch": 60} if mode == "sync" else {}),
                },
                act=_redrive_incomplete,
                short=mode == "sync",
            )
        )  # fmt: skip
        rows.append(Row("worker killed as it begins", mode, (killed(lands, "Invoke", "before"),)))
        rows.append(Row("worker killed when it has done all", mode, (killed(lands, "Invoke", "after"),)))
        for at in ("before", "after"):
            rows.append(
                Row(
                    f"workers of the control plane killed {at} each write",
                    mode,
                    tuple(
                        killed(function, "PutObject", at, times=1)
                        for function in ("plan_run", "cut_shards", "seal_shards", "finish_run")
                    )
                    + tuple(
                        killed(function, operation, at, times=1)
                        for function, operation in (
                            ("plan_run", ["PutItem", "UpdateItem"]),
                            ("cut_shards", [*_SAVES, "UpdateItem"]),
                            ("seal_shards", [*_SAVES, "UpdateItem", "BatchWriteItem"]),
                            ("finish_run", [*_SAVES, "UpdateItem", "PutEvents"]),
                        )
                    ),
                )
            )
            for late, what, whose in (
                ("claim", "BatchExecuteStatement", "{run}"),
                ("write", "PutObject", "/runs/{run}/results/"),
                ("late item", ["PutItem", "UpdateItem", "TransactWriteItems"], {"regex": r"RUN#{run}\b.*LATE#"}),
            ):
                rows.append(
                    Row(
                        f"reprocessing worker killed {at} {late}",
                        mode,
                        (
                            refused("batch", 0.02) if mode == "batch" else _twice(),
                            killed("reprocess_records", what, at, whose, times=1),
                        ),
                        short=(late, at, mode) == ("write", "after", "batch"),
                    )
                )
    for at in ("before", "after"):
        rows += [
            Row(
                f"worker killed {at} token",
                "batch",
                (killed("submit_job", "UpdateItem", at),),
            ),
            Row(
                f"worker killed {at} job",
                "batch",
                (killed("submit_job", "CreateModelInvocationJob", at),),
                short=at == "after",
            ),
            Row(
                f"worker killed {at} answer",
                "batch",
                # An answer names no run: no other run must be near.
                (killed("resume_job", "SendTaskSuccess", at, "jobArn"),),
                alone={},
            ),
        ]
    return rows


def _twice() -> Rule:
    """The model errs at three records until they have failed in their batch: they land when they are reprocessed."""
    prompts = [f"Ticket {{me}}-{number:05d}:" for number in (3, 50, 101)]
    match = {"prompt": prompts, "mode": "sync"}
    # An on-demand record is tried four times; 424 (ModelErrorException) is none of the errors that the SDK tries again.
    return {"target": "record", "match": match, "do": "error", "errorCode": 424, "times": 12}


def _duplicates() -> list[Row]:
    rows = []
    for mode in MODES:
        rows += [
            Row("event run twice at once", mode, (repeated(LANDS[mode]),), short=True),
            Row("event run twice, two seconds apart", mode, (repeated(LANDS[mode], seconds=2),)),
            Row(
                "control plane run twice at once",
                mode,
                tuple(repeated(one, 2) for one in ("plan_run", "cut_shards", "seal_shards", "finish_run")),
            ),
        ]
    return [*rows, Row("submission run twice at once", "batch", (repeated("submit_job"),))]


def _events() -> list[Row]:
    early = ["Submitted", "Validating", "Scheduled", "InProgress"]
    return [
        Row("events lost", "batch", (event("drop"),)),
        Row("events doubled", "batch", (event("duplicate", copies=3),), short=True),
        Row("events late", "batch", (event("delay", seconds=8),)),
        Row("events out of order", "batch", (event("delay", early, seconds=5),)),
        Row("events foreign", "batch", act=_foreign),
        # Reconciliation looks after every run: others would not need their events any more.
        Row("reconcile and resume racing", "batch", (event("duplicate", copies=2),), act=_race, alone={}),
    ]


def _pressure() -> list[Row]:
    rows = []
    data = ["BatchExecuteStatement", "BatchGetItem", "GetItem", *_SAVES, "UpdateItem", "Query"]
    for mode in MODES:
        rows += [
            Row(
                "DynamoDB throttles",
                mode,
                (call("dynamodb", data, "throttle", rate=0.3, times=150),),
                short=mode == "sync",
            ),
            Row(
                "S3 answers 500",
                mode,
                (call("s3", None, "error", "/runs/{run}/", code="InternalError", status=500, rate=0.2, times=100),),
                short=mode == "batch",
            ),
            Row(
                "S3 loses answers to writes",
                mode,
                (call("s3", "PutObject", "lose_reply", "/runs/{run}/", code="InternalError", rate=0.5, times=40),),
            ),
            Row(
                "S3 refuses a write that it has done (412)",
                mode,
                (
                    call(
                        "s3", "PutObject", "lose_reply", "/runs/{run}/plan/run.json",
                        code="PreconditionFailed", status=412, times=2,
                    ),
                ),
            ),
            Row(
                "SQS loses answers to sends",
                mode,
                (
                    refused("batch", 0.02) if mode == "batch" else _twice(),
                    call("sqs", "SendMessageBatch", "lose_reply", rate=0.6, times=20),
                ),
            ),
            Row(
                "SQS delivers again",
                mode,
                (
                    refused("batch", 0.02) if mode == "batch" else _twice(),
                    killed("reprocess_records", "Invoke", "after", times=3),
                ),
            ),
        ]  # fmt: skip
    storm = (
        call("bedrock", "CreateModelInvocationJob", "throttle", rate=0.7, times=20),
        # These name no run.
        call("bedrock", ["GetModelInvocationJob", "ListModelInvocationJobs"], "throttle", "/", rate=0.3, times=40),
    )
    return [
        *rows,
        Row("throttle storm", "batch", storm),
        Row(
            "throttle storm",
            "sync",
            (call("bedrock-runtime", "Converse", "throttle", "Ticket {me}-", rate=0.5, times=400),),
            short=True,
        ),
        Row(
            "function's time runs out",
            "sync",
            (call("bedrock-runtime", "Converse", "delay", "Ticket {me}-", seconds=3, times=600),),
            records=200,
            limits={"items_per_batch": 100},
        ),
    ]


def _poison() -> list[Row]:
    rows = []
    for mode in MODES:
        rows += [
            Row(
                "1 % of the records are poison",
                mode,
                (refused(None, 0.01, 400),),
                records=400,
                limits={"canary_records": 0},
                everything_lands=False,
                short=True,
            ),
            Row(
                "60 % of the records are poison",
                mode,
                (refused(None, 0.6, 400),),
                limits={"canary_records": 0},
                ends="FAILED",
                everything_lands=False,
                short=mode == "sync",
            ),
            Row(
                "dead letters redriven twice",
                mode,
                (refused(None, 0.03, 400),),
                limits={"canary_records": 0},
                act=_redrive_twice,
                # It moves the dead letters of all rows.
                alone={},
            ),
        ]
    return rows


def _outputs() -> list[Row]:
    tolerant = {"tolerated_failure_percentage": 60}
    return [
        Row("output cut off", "batch", (job("truncate"),), short=True),
        Row("output lines cut", "batch", (_line("truncate", 0.03),)),
        Row("output lines doubled", "batch", (job("duplicate", fraction=0.05),)),
        Row("output lines missing", "batch", (job("lose", fraction=0.05),)),
        Row("a third of the output missing", "batch", (job("lose", fraction=0.33, times=2),), limits=tolerant),
        Row("output shuffled, no manifest", "batch", (job("no_manifest"),)),
        Row("manifest late", "batch", (job("late_manifest", seconds=3),)),
        Row(
            "job ends as PartiallyCompleted",
            "batch",
            (ended("PartiallyCompleted", fraction=0.5, times=2),),
            limits=tolerant,
            short=True,
        ),
        Row("job ends as Expired", "batch", (ended("Expired", times=2),), limits=tolerant),
        Row("job ends as Stopped", "batch", (ended("Stopped", fraction=0.4, times=2),), limits=tolerant),
        Row(
            "job ends as Failed",
            "batch",
            (ended("Failed", times=1, message="The input is bad."),),
            limits=tolerant,
            everything_lands=False,
        ),
        Row(
            "job ends as Failed half-way",
            "batch",
            (ended("Failed", fraction=0.5, times=1),),
            limits=tolerant,
            everything_lands=False,
        ),
        Row(
            "job completes with zero successes",
            "batch",
            (refused("batch", 1.0, jobName={"contains": "-00002-a1-"}),),
            limits=tolerant,
        ),
    ]


def _line(do: str, rate: float) -> Rule:
    return {"target": "record", "match": {"prompt": "Ticket {me}-", "mode": "batch"}, "do": do, "rate": rate}


def _slots() -> list[Row]:
    return [
        Row(f"job slots exhausted, {they}", "batch", act=_wait_for_slots, alone={"job_slots": 1, "job_slots_full": how})
        for they, how in (("jobs queue", "queue"), ("jobs are refused", "refuse"))
    ]


def _interruptions() -> list[Row]:
    slow = {
        "batch": (job("delay", seconds=6, after=2),),
        "sync": (call("bedrock-runtime", "Converse", "delay", "Ticket {me}-", seconds=0.4, times=2000),),
    }
    rows = []
    for mode in MODES:
        limits = {} if mode == "batch" else {"infer_concurrency": 1}
        rows += [
            Row(
                "aborted, then redriven", mode, slow[mode], limits=limits, act=_abort_and_redrive, short=mode == "batch"
            ),
            Row(
                "aborted, then started again in its scope",
                mode,
                slow[mode],
                limits=limits,
                act=_abort_and_restart,
                scope=True,
            ),
        ]
    return rows


# What is done while a run goes on.


def _foreign(play: Play) -> None:
    """Jobs of others end, and events come that nobody sent."""
    field_, s3, bedrock = play.field, play.field.client("s3"), play.field.client("bedrock")
    bucket = field_.outputs["input_bucket"]
    field_.stack.until(play.planned, "the plan")
    listed: list[Any] = []

    def cut() -> bool:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=f"default/runs/{play.run}/shards/")
        listed[:] = [one["Key"] for one in found.get("Contents", [])]
        return bool(listed)

    field_.stack.until(cut, "a shard")
    for name in ("someone-else-1", f"chaos-00001-a1-{play.name}ffffffffffffffff", f"chaos-{play.name}-by-hand"):
        bedrock.create_model_invocation_job(
            jobName=name,
            roleArn=field_.outputs["batch_role_arns"]["default"],
            modelId=play.model,
            modelInvocationType="Converse",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{bucket}/{listed[0]}"}},
            outputDataConfig={
                "s3OutputDataConfig": {
                    "s3Uri": f"s3://{field_.outputs['output_bucket']}/default/jobs/{play.name}-foreign/"
                }
            },
        )
        play.injected += 1
    known = bedrock.list_model_invocation_jobs(maxResults=1)["invocationJobSummaries"][0]
    for detail in (
        {},
        {"batchJobArn": known["jobArn"] + "x", "batchJobName": known["jobName"], "status": "Completed"},
        {"batchJobName": "chaos-00001-a1-unheard-of", "status": "Completed"},
        {"batchJobArn": 7, "batchJobName": ["no", "name"], "status": None},
    ):
        field_.invoke("resume_job", {"source": "aws.bedrock", "detail-type": "x", "detail": detail})
        play.injected += 1
    play.finish()


def _race(play: Play) -> None:
    """Reconciliation never stops while events come twice."""
    from tests.chaos.field import together

    while play.running():
        together([lambda: play.field.invoke("reconcile_jobs", {})] * 2)
        play.injected += 2
    play.finish()


def _wait_for_slots(play: Play) -> None:
    """One job has the only slot: each other one waits for it."""
    play.finish()
    play.injected += len(play.field.stack.jobs(play.run)) - 1


def _abort(play: Play) -> None:
    play.field.stack.until(lambda: play.field.has_results(play.run) or not play.running(), "a first result")
    play.field.client("stepfunctions").stop_execution(executionArn=play.execution, error="Operator", cause="chaos")
    play.injected += 1
    play.note(f"aborted: {play.field.wait(play.execution)}")
    play.heal()


def _redrive_incomplete(play: Play) -> None:
    """What the dead worker landed counts, the rest is pending, and a redrive does it."""
    ended = play.field.wait(play.execution)
    assert ended == "FAILED", ended
    stack = play.field.stack
    stack.until(lambda: bool((stack.manifest(play.run) or {}).get("stopped")), "the end to be explained")
    manifest = stack.manifest(play.run) or {}
    assert manifest["status"] == "incomplete", manifest["status"]
    assert manifest["problems"] == [], manifest["problems"]
    assert manifest["counts"]["pending"], "nothing is pending"
    if play.row.mode == "sync":
        # Nothing goes on meanwhile. A batch run's failures are being reprocessed.
        verdict = play.look()
        assert verdict.good, str(verdict)
        assert verdict.pending == manifest["counts"]["pending"]
    play.note(f"incomplete: {manifest['counts']['pending']} pending")
    play.field.client("stepfunctions").redrive_execution(executionArn=play.execution)
    play.note("redrive of the execution")
    play.finish()


def _abort_and_redrive(play: Play) -> None:
    _abort(play)
    play.field.client("stepfunctions").redrive_execution(executionArn=play.execution)
    play.note("redrive of the execution")
    play.finish()


def _abort_and_restart(play: Play) -> None:
    _abort(play)
    play.start("again")
    play.note("new run in the same scope")
    play.finish()


def _redrive_twice(play: Play) -> None:
    """Dead letters go back when the model has been mended: twice at once, and once more when all is settled."""
    from tests.chaos.field import together

    play.finish()
    play.field.drain()
    assert play.dead(), "nothing became a dead letter"
    play.heal()
    # Those of other rows, which have been judged, go back, too. Failed once more, they would be hidden for long.
    play.field.heal()
    together([play.field.redrive, lambda: play.field.redrive(play.run)])
    play.field.drain()
    play.field.redrive()
    play.field.drain()
    play.injected += 3
    play.note("redrive")


#: What heals a fault where it leaves no trace behind: it is said in the table's last column.
BY: dict[str, str] = {
    "worker killed before answer": "Lambda tries the event again",
    "worker killed after answer": "Lambda tries the event again, and nobody waits any more",
    "reprocessing worker": "the message comes again",
    "event run twice": "one invocation holds the unit, the other one is answered later",
    "control plane run twice": "both write the same",
    "submission run twice": "one name, one job",
    "events lost": "reconciliation finds the ended jobs",
    "events doubled": "a token is answered once",
    "events late": "the job is read again",
    "events out of order": "the job is read again",
    "events foreign": "jobs of others are left alone",
    "reconcile and resume racing": "a token is answered once",
    "DynamoDB throttles": "tried again inside the function",
    "S3 answers 500": "tried again inside the function",
    "S3 loses answers": "the same key is written again",
    "S3 refuses": "the object that is there is the same",
    "SQS loses answers": "a message that came twice is settled once",
    "SQS delivers again": "a message that came twice is settled once",
    "throttle storm": "the function slows down",
    "function's time": "the rest is handed on",
    "1 %": "the others land; dead letters",
    "60 %": "stopped by the error ratio, the rest is pending",
    "output lines doubled": "the first line counts",
    "output shuffled": "lines are joined by recordId; the lines count",
    "manifest late": "the lines count",
    "job ends as Failed": "a job that did nothing fails its shard by name",
    "job slots": "jobs wait for their slot",
}


def healed_by(row: Row) -> str:
    return next((text for beginning, text in BY.items() if row.fault.startswith(beginning)), "")


ROWS: tuple[Row, ...] = tuple(
    _kills() + _duplicates() + _events() + _pressure() + _poison() + _outputs() + _interruptions() + _slots()
)


def filled(rule: Rule, names: Mapping[str, str]) -> Any:
    """A rule with the names of one play in place of `{run}` and `{me}`."""
    text = json.dumps(rule)
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return json.loads(text)


def chosen(words: list[str], *, short: bool) -> list[Row]:
    """Rows by words of their names, all if there are none; the short set alone, if asked for."""
    rows = [row for row in ROWS if row.short or not short]
    return [row for row in rows if not words or any(word in row.name for word in words)]
