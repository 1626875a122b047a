"""Each rule for state machines turns red on a machine that breaks it, and on nothing in a sound one."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lint import graph, integrations, machines, maps, names, tasks, tools
from tests.lint.findings import Finding

ROOT = Path(__file__).resolve().parents[2]

OURS = {"ThrottledError", "RejectedError"}
HANDLERS = {"plan_run", "submit_job", "collect_results"}

RETRY = [
    {
        "ErrorEquals": ["Lambda.ServiceException", "Sandbox.Timedout", "ThrottledError"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 120,
        "JitterStrategy": "FULL",
    }
]

SOUND: dict[str, Any] = {
    "StartAt": "Plan Run",
    "States": {
        "Plan Run": {
            "Type": "Task",
            "Resource": "arn:${partition}:states:::lambda:invoke",
            "Parameters": {"FunctionName": "${plan_run_arn}", "Payload": {"run.$": "$$.Execution.Name"}},
            "ResultSelector": {"plan.$": "$.Payload"},
            "TimeoutSeconds": 960,
            "HeartbeatSeconds": 60,
            "Retry": RETRY,
            "Catch": [{"ErrorEquals": ["RejectedError"], "ResultPath": "$.failure", "Next": "Refuse Run"}],
            "Next": "Is Empty",
        },
        "Is Empty": {
            "Type": "Choice",
            "Choices": [
                {
                    "And": [{"Variable": "$.n", "IsPresent": True}, {"Variable": "$.n", "NumericEquals": 0}],
                    "Next": "Rest",
                }
            ],
            "Default": "Submit Shards",
        },
        "Submit Shards": {
            "Type": "Map",
            "Label": "SubmitShards",
            "ItemReader": {
                "Resource": "arn:${partition}:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSONL"},
                "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
            },
            "ItemSelector": {"shard.$": "$$.Map.Item.Value"},
            "ItemBatcher": {"MaxItemsPerBatchPath": "$.items", "MaxInputBytesPerBatch": 200000},
            "MaxConcurrencyPath": "$.concurrency",
            "ToleratedFailurePercentage": 5,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Submit Job",
                "States": {
                    "Submit Job": {
                        "Type": "Task",
                        "Resource": "arn:${partition}:states:::lambda:invoke.waitForTaskToken",
                        "Parameters": {
                            "FunctionName": "${submit_job_arn}",
                            "Payload": {"taskToken.$": "$$.Task.Token"},
                        },
                        "TimeoutSecondsPath": "$.timeout",
                        "Retry": RETRY,
                        "End": True,
                    }
                },
            },
            "ResultWriter": {
                "Resource": "arn:${partition}:states:::s3:putObject",
                "Parameters": {"Bucket.$": "$.bucket", "Prefix.$": "$.prefix"},
                "WriterConfig": {"Transformation": "COMPACT", "OutputType": "JSONL"},
            },
            "Next": "Both Ways",
        },
        "Both Ways": {
            "Type": "Parallel",
            "Branches": [
                {
                    "StartAt": "Sample",
                    "States": {
                        "Sample": {
                            "Type": "Task",
                            "Resource": "arn:${partition}:states:::states:startExecution.sync:2",
                            "ResultSelector": {"status.$": "$.Status"},
                            "Parameters": {
                                "StateMachineArn": "${sample_arn}",
                                "Name.$": "States.Format('{}-a', $.run)",
                                "Input": {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id"},
                            },
                            "TimeoutSeconds": 3600,
                            "Retry": [
                                {
                                    "ErrorEquals": ["StepFunctions.ExecutionLimitExceeded"],
                                    "MaxDelaySeconds": 60,
                                    "JitterStrategy": "FULL",
                                }
                            ],
                            "End": True,
                        }
                    },
                },
                {
                    "StartAt": "Save",
                    "States": {
                        "Save": {
                            "Type": "Task",
                            "Resource": "arn:${partition}:states:::aws-sdk:sqs:sendMessage",
                            "Parameters": {"QueueUrl.$": "$.queue", "MessageBody": "done", "DelaySeconds": 5},
                            "TimeoutSeconds": 60,
                            "Retry": [
                                {
                                    "ErrorEquals": ["Sqs.QueueDoesNotExistException"],
                                    "MaxDelaySeconds": 60,
                                    "JitterStrategy": "FULL",
                                }
                            ],
                            "End": True,
                        }
                    },
                },
            ],
            "ResultPath": None,
            "Next": "Rest",
        },
        "Rest": {"Type": "Wait", "Seconds": 5, "Next": "Done"},
        "Done": {"Type": "Succeed"},
        "Refuse Run": {"Type": "Fail", "ErrorPath": "$.failure.Error", "CausePath": "$.failure.Cause"},
    },
}

PLAN = ("States", "Plan Run")
MAP = ("States", "Submit Shards")
CHILD = (*MAP, "ItemProcessor", "States", "Submit Job")
NESTED = ("States", "Both Ways", "Branches", 0, "States", "Sample")
SEND = ("States", "Both Ways", "Branches", 1, "States", "Save")
GONE = object()


def machine_of(template: dict[str, Any]) -> machines.Machine:
    return machines.parse("sample", json.dumps(template), {"sample"})


def findings_of(template: dict[str, Any]) -> list[Finding]:
    machine = machine_of(template)
    return [
        *graph.check(machine),
        *tasks.check(machine, OURS),
        *maps.check(machine),
        *integrations.check(machine),
        *names.check([machine], HANDLERS),
    ]


def edited(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """SOUND with one value set (or, for GONE, removed)."""
    template = copy.deepcopy(SOUND)
    parent: Any = template
    for key in path[:-1]:
        parent = parent[key]
    if value is GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return template


def test_sound_machine_has_no_findings() -> None:
    assert findings_of(SOUND) == []


BROKEN: list[tuple[tuple[str | int, ...], Any, str, str]] = [
    # Targets, reachability, shape.
    (("StartAt",), "Nowhere", "target", "StartAt names 'Nowhere'"),
    ((*PLAN, "Next"), "Nowhere", "target", "goes on to 'Nowhere'"),
    ((*PLAN, "Next"), "Submit Job", "target", "goes on to 'Submit Job'"),
    ((*PLAN, "Catch", 0, "Next"), "Nowhere", "target", "goes on to 'Nowhere'"),
    (("States", "Is Empty", "Default"), "Nowhere", "target", "goes on to 'Nowhere'"),
    (("States", "Is Empty", "Choices", 0, "Next"), "Nowhere", "target", "goes on to 'Nowhere'"),
    ((*MAP, "ItemProcessor", "StartAt"), "Nowhere", "target", "StartAt names 'Nowhere'"),
    (("States", "Lost"), {"Type": "Succeed"}, "reachable", "no state leads here"),
    (("States", "Rest", "Next"), "Rest", "terminal", "no way leads from here to an end"),
    (("States", "Rest", "Type"), "Sleep", "state-type", "'Sleep' is unknown"),
    ((*PLAN, "Parameter"), {}, "state-field", "no field Parameter"),
    (("States", "Done", "Next"), "Rest", "state-field", "no field Next"),
    (("States", "Rest", "Next"), GONE, "next-or-end", "either Next or End"),
    ((*CHILD, "End"), False, "next-or-end", "either Next or End"),
    (("States", "Is Empty", "Default"), GONE, "choice", "no Default"),
    (("States", "Is Empty", "Choices"), [], "choice", "no Choices"),
    (
        ("States", "Is Empty", "Choices", 0, "And", 1),
        {"Variable": "$.n", "NumericIs": 0},
        "choice",
        "NumericIs is unknown",
    ),
    (("States", "Is Empty", "Choices", 0, "And", 1), {"NumericEquals": 0}, "choice", "needs a Variable"),
    (("States", "Is Empty", "Choices", 0, "Or"), [], "choice", "one operator"),
    ((*CHILD, "TimeoutSeconds"), 60, "exclusive", "TimeoutSeconds and TimeoutSecondsPath"),
    ((*MAP, "MaxConcurrency"), 5, "exclusive", "MaxConcurrency and MaxConcurrencyPath"),
    ((*MAP, "MaxConcurrencyPath"), "concurrency", "path", "which is no path"),
    ((*PLAN, "Catch", 0, "ResultPath"), "failure", "path", "which is no path"),
    ((*PLAN, "ResultSelector"), {"plan": "$.Payload"}, "path", "needs the suffix .$"),
    ((*PLAN, "Parameters", "Payload"), {"run": "States.UUID()"}, "path", "needs the suffix .$"),
    ((*MAP, "ItemSelector"), {"attempt.$": 1}, "path", "takes a path"),
    ((*MAP, "ItemReader", "Parameters", "Key.$"), "plan/jobs.jsonl", "path", "takes a path"),
    ((*MAP, "ItemReader", "Parameters", "Key"), "jobs.jsonl", "exclusive", "exclude each other"),
    # Tasks.
    ((*PLAN, "TimeoutSeconds"), GONE, "task-timeout", "needs TimeoutSeconds"),
    ((*PLAN, "TimeoutSeconds"), 0, "task-timeout", "from 1 to 99999999"),
    ((*PLAN, "HeartbeatSeconds"), 960, "task-timeout", "less than TimeoutSeconds"),
    ((*PLAN, "Retry"), GONE, "task-retry", "needs a Retry"),
    ((*PLAN, "Retry"), [], "task-retry", "needs a Retry"),
    ((*PLAN, "Retry", 0, "JitterStrategy"), GONE, "retrier", "JitterStrategy"),
    ((*PLAN, "Retry", 0, "JitterStrategy"), "HALF", "retrier", "JitterStrategy"),
    ((*PLAN, "Retry", 0, "MaxDelaySeconds"), GONE, "retrier", "MaxDelaySeconds must be given"),
    ((*PLAN, "Retry", 0, "MaxDelaySeconds"), 31_622_401, "retrier", "MaxDelaySeconds must be given"),
    ((*PLAN, "Retry", 0, "IntervalSeconds"), 120, "retrier", "less than MaxDelaySeconds"),
    ((*PLAN, "Retry", 0, "MaxAttempts"), -1, "retrier", "MaxAttempts"),
    ((*PLAN, "Retry", 0, "BackoffRate"), 0.5, "retrier", "BackoffRate"),
    ((*PLAN, "Retry", 0, "MaxRetries"), 3, "retrier", "no such field"),
    # Error names.
    ((*PLAN, "Retry", 0, "ErrorEquals"), [], "error-name", "is empty"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["SlowError"], "error-name", "no class of"),
    ((*PLAN, "Catch", 0, "ErrorEquals"), ["SlowError"], "error-name", "no class of"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["States.Timedout"], "error-name", "no error that AWS"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["States.Runtime"], "error-name", "no error that AWS"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["Lambda.TooManyRequests"], "error-name", "no error of lambda:invoke"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["StepFunctions.ExecutionLimitExceeded"], "error-name", "no error of lambda"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["States.ALL", "ThrottledError"], "error-name", "alone and last"),
    ((*PLAN, "Retry", 0, "ErrorEquals"), ["ThrottledError", "ThrottledError"], "error-name", "matched earlier"),
    ((*NESTED, "Retry", 0, "ErrorEquals"), ["ThrottledError"], "error-name", "raised by functions only"),
    ((*NESTED, "Retry", 0, "ErrorEquals"), ["Lambda.ServiceException"], "error-name", "no error of states:start"),
    ((*SEND, "Retry", 0, "ErrorEquals"), ["Sqs.NoSuchQueueException"], "error-name", "no error of sqs:sendMessage"),
    (("States", "Both Ways", "Catch"), [{"ErrorEquals": ["Sqs.X"], "Next": "Done"}], "error-name", "at its Task"),
    # Distributed Map.
    ((*MAP, "Retry"), RETRY, "map-retry", "new Map Run over all items"),
    ((*MAP, "Label"), GONE, "map-label", "needs a Label"),
    ((*MAP, "Label"), "L" * 41, "map-label", "41 characters"),
    ((*MAP, "Label"), "Submit Shards", "map-label", "letters, digits"),
    ((*MAP, "ItemProcessor"), GONE, "map-processor", "needs an ItemProcessor"),
    ((*MAP, "ItemProcessor", "ProcessorConfig", "ExecutionType"), GONE, "map-processor", "STANDARD or EXPRESS"),
    ((*MAP, "ItemProcessor", "ProcessorConfig", "ExecutionType"), "EXPRESS", "resource", "in an EXPRESS child"),
    ((*MAP, "ItemProcessor", "ProcessorConfig", "Mode"), "SPREAD", "map-processor", "INLINE or DISTRIBUTED"),
    ((*MAP, "ItemProcessor", "ProcessorConfig", "Mode"), "INLINE", "map-processor", "ResultWriter needs"),
    ((*MAP, "MaxConcurrency"), 10_001, "map-concurrency", "from 0 to 10000"),
    ((*MAP, "ToleratedFailurePercentage"), 101, "map-tolerance", "from 0 to 100"),
    ((*MAP, "ToleratedFailurePercentage"), GONE, "map-complete", "how many children may fail"),
    ((*MAP, "ItemReader"), GONE, "map-complete", "have to be a list"),
    ((*MAP, "ResultWriter"), GONE, "map-complete", "256 KB"),
    ((*MAP, "MaxConcurrencyPath"), GONE, "map-complete", "10,000 children"),
    ((*MAP, "ItemProcessor", "ProcessorConfig", "ExecutionType"), "EXPRESS", "map-complete", "may take longer"),
    ((*PLAN, "ResultSelector"), GONE, "result", "keeps the call's metadata"),
    ((*NESTED, "ResultSelector"), GONE, "result", "a child's whole output"),
    ((*MAP, "ToleratedFailureCount"), -1, "map-tolerance", "ToleratedFailureCount"),
    ((*MAP, "ItemsPath"), "$.items", "map-reader", "exclude each other"),
    ((*MAP, "ItemReader", "Resource"), "arn:aws:states:::s3:headObject", "map-reader", "Resource must be"),
    ((*MAP, "ItemReader", "Parameters", "Key.$"), GONE, "map-reader", "needs the parameter Key"),
    ((*MAP, "ItemReader", "Parameters", "Prefix"), "a/", "map-reader", "no parameter Prefix"),
    ((*MAP, "ItemReader", "Config"), {}, "map-reader", "no field Config"),
    ((*MAP, "ItemReader", "ReaderConfig", "Type"), "JSONL", "map-reader", "no field Type"),
    ((*MAP, "ItemReader", "ReaderConfig"), {}, "map-reader", "needs an InputType"),
    ((*MAP, "ItemReader", "ReaderConfig", "InputType"), "NDJSON", "map-reader", "InputType must be"),
    ((*MAP, "ItemReader", "ReaderConfig", "Transformation"), "FLATTEN", "map-reader", "Transformation must be"),
    ((*MAP, "ItemReader", "ReaderConfig", "Transformation"), "LOAD_AND_FLATTEN", "map-reader", "s3:listObjectsV2"),
    ((*MAP, "ItemReader", "ReaderConfig", "ManifestType"), "CSV", "map-reader", "ManifestType must be"),
    ((*MAP, "ItemReader", "ReaderConfig", "ManifestType"), "S3_INVENTORY", "map-reader", "excludes InputType"),
    ((*MAP, "ItemReader", "ReaderConfig", "ItemsPointer"), "/items", "map-reader", "needs InputType JSON"),
    ((*MAP, "ItemReader", "ReaderConfig", "CSVDelimiter"), "COMMA", "map-reader", "needs InputType CSV"),
    ((*MAP, "ItemReader", "ReaderConfig"), {"InputType": "CSV"}, "map-reader", "CSVHeaderLocation"),
    (
        (*MAP, "ItemReader", "ReaderConfig"),
        {"InputType": "CSV", "CSVHeaderLocation": "GIVEN"},
        "map-reader",
        "belong together",
    ),
    ((*MAP, "ItemReader", "ReaderConfig", "MaxItems"), 100_000_001, "map-reader", "MaxItems must be"),
    (
        (*MAP, "ItemReader"),
        {
            "Resource": "arn:aws:states:::s3:listObjectsV2",
            "Parameters": {"Bucket": "b"},
            "ReaderConfig": {"Transformation": "LOAD_AND_FLATTEN"},
        },
        "map-reader",
        "LOAD_AND_FLATTEN needs an InputType",
    ),
    (
        (*MAP, "ItemReader"),
        {
            "Resource": "arn:aws:states:::s3:listObjectsV2",
            "Parameters": {"Bucket": "b"},
            "ReaderConfig": {"InputType": "JSONL"},
        },
        "map-reader",
        "InputType needs LOAD_AND_FLATTEN",
    ),
    (
        (*MAP, "ItemReader"),
        {
            "Resource": "arn:aws:states:::s3:getObject",
            "Parameters": {"Bucket": "b", "Key": "k", "VersionId": "v"},
            "ReaderConfig": {"InputType": "PARQUET"},
        },
        "map-reader",
        "not possible with PARQUET",
    ),
    (
        (*MAP, "ItemReader", "ReaderConfig"),
        {"InputType": "JSONL", "MaxItems": 5, "MaxItemsPath": "$.n"},
        "exclusive",
        "MaxItems and MaxItemsPath",
    ),
    ((*MAP, "ItemBatcher"), {}, "map-batcher", "needs MaxItemsPerBatch"),
    ((*MAP, "ItemBatcher", "BatchSize"), 5, "map-batcher", "no field BatchSize"),
    ((*MAP, "ItemBatcher", "MaxItemsPerBatch"), 5, "exclusive", "MaxItemsPerBatch and"),
    ((*MAP, "ItemBatcher", "MaxItemsPerBatchPath"), 5, "path", "which is no path"),
    ((*MAP, "ItemBatcher", "MaxInputBytesPerBatch"), 262_145, "map-batcher", "from 1 to 262144"),
    ((*MAP, "ItemBatcher"), {"MaxItemsPerBatch": 0}, "map-batcher", "MaxItemsPerBatch must be"),
    ((*MAP, "ItemBatcher", "BatchInput"), "run", "map-batcher", "must be an object"),
    ((*MAP, "ResultWriter"), {}, "map-writer", "empty"),
    ((*MAP, "ResultWriter", "Parameters"), GONE, "map-writer", "belong together"),
    ((*MAP, "ResultWriter", "Resource"), "arn:aws:states:::s3:getObject", "map-writer", "must be s3:putObject"),
    ((*MAP, "ResultWriter", "Parameters", "Prefix.$"), GONE, "map-writer", "needs the parameter Prefix"),
    ((*MAP, "ResultWriter", "Parameters", "Key"), "k", "map-writer", "no parameter Key"),
    ((*MAP, "ResultWriter", "Format"), {}, "map-writer", "no field Format"),
    ((*MAP, "ResultWriter", "WriterConfig", "Transformation"), "SHORT", "map-writer", "Transformation must be"),
    ((*MAP, "ResultWriter", "WriterConfig", "OutputType"), GONE, "map-writer", "OutputType must be"),
    ((*MAP, "ResultWriter", "WriterConfig", "Type"), "JSON", "map-writer", "no field Type"),
    # Service integrations.
    ((*PLAN, "Resource"), "arn:aws:lambda:us-east-1:123456789012:function:x", "resource", "no service integration"),
    ((*PLAN, "Resource"), "arn:aws:states:::lambda:call", "resource", "no operation call"),
    ((*PLAN, "Resource"), "arn:aws:states:::lambda:listFunctions", "resource", "no optimized integration"),
    ((*PLAN, "Resource"), "arn:aws:states:::lambda:invoke.sync", "resource", "does not support .sync"),
    ((*SEND, "Resource"), "arn:aws:states:::aws-sdk:sqs:sendMessage.sync", "resource", "does not support .sync"),
    ((*PLAN, "Parameters", "functionName"), "x", "parameter", "spelt FunctionName"),
    ((*PLAN, "Parameters", "FunctionName"), GONE, "parameter", "FunctionName is required"),
    ((*PLAN, "Parameters", "InvocationType"), "Sync", "parameter", "none of Event"),
    ((*SEND, "Parameters", "DelaySeconds"), "5", "parameter", "takes a integer"),
    ((*SEND, "Parameters", "MessageAttributes"), ["a"], "parameter", "takes an object"),
    ((*SEND, "Parameters", "MessageAttributes"), {"a": {"StringValue": "b"}}, "parameter", "DataType is required"),
    ((*NESTED, "Parameters", "Input"), {}, "parameter", "links the child to its parent"),
    ((*CHILD, "Parameters", "Payload"), {}, "task-token", "belong together"),
    ((*PLAN, "Parameters", "Payload"), {"token.$": "$$.Task.Token"}, "task-token", "belong together"),
    # Names.
    ((*PLAN, "Parameters", "FunctionName"), "${plan_arn}", "placeholder", "names no handler"),
    ((*PLAN, "Parameters", "FunctionName"), "${collect_results_arn}", "state-name", "should be 'Collect Results'"),
    (("States", "Rest", "Comment"), "${nobody_arn}", "placeholder", "names no handler"),
]


@pytest.mark.parametrize(("path", "value", "rule", "message"), BROKEN)
def test_broken_machine_is_found(path: tuple[str | int, ...], value: Any, rule: str, message: str) -> None:
    found = findings_of(edited(path, value))
    assert any(finding.rule == rule and message in finding.message for finding in found), found


def test_state_name_twice_is_found() -> None:
    template = edited((*MAP, "ItemProcessor", "States", "Done"), {"Type": "Succeed"})
    assert ("Done", "state-name") in {(finding.where, finding.rule) for finding in findings_of(template)}


def test_label_twice_is_found() -> None:
    second = copy.deepcopy(SOUND["States"]["Submit Shards"])
    second["ItemProcessor"]["StartAt"] = "Send Job"
    second["ItemProcessor"]["States"]["Send Job"] = second["ItemProcessor"]["States"].pop("Submit Job")
    second["Next"] = "Submit Shards"
    template = edited(("States", "More Shards"), second)
    template["States"]["Is Empty"]["Default"] = "More Shards"
    assert any("stands twice" in finding.message for finding in findings_of(template) if finding.rule == "map-label")


def test_map_run_inside_a_map_run_is_found() -> None:
    inner = copy.deepcopy(SOUND["States"]["Submit Shards"])
    template = edited((*MAP, "ItemProcessor", "States", "Inner"), inner)
    assert any("doubles Map Runs" in finding.message for finding in findings_of(template))


def test_handler_called_under_another_name_needs_its_namesake() -> None:
    """Infer Remainder may call infer_batch because Infer Batch exists elsewhere; alone it may not."""
    template = edited((*MAP, "ItemProcessor", "States", "Collect Rest"), copy.deepcopy(SOUND["States"]["Plan Run"]))
    child = template["States"]["Submit Shards"]["ItemProcessor"]["States"]
    child["Collect Rest"] |= {"Catch": [], "Next": "Submit Job"}
    template["States"]["Submit Shards"]["ItemProcessor"]["StartAt"] = "Collect Rest"
    assert findings_of(template) == []
    child["Collect Rest"]["Parameters"]["FunctionName"] = "${collect_results_arn}"
    assert [finding.rule for finding in findings_of(template)] == ["state-name"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"TimeoutSeconds": ${timeout}}', "not valid JSON before rendering"),
        ('{"Comment": "${Timeout}"}', "placeholder"),
        ('{"Comment": "${path.module}"}', "placeholder"),
        ('{"Comment": "${ run }"}', "placeholder"),
        ('{"Comment": "%{ if true }"}', "placeholder"),
        ('{"Comment": "$${run}"}', "placeholder"),
        ('{"States": {"A": {}, "A": {}}}', "stands twice"),
    ],
)
def test_template_that_terraform_would_misread_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        machines.parse("sample", text, set())


def test_unreadable_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "bad.asl.json").write_text("{")
    found, findings = machines.read(tmp_path)
    assert found == []
    assert [(finding.file, finding.rule) for finding in findings] == [("asl/bad.asl.json", "template")]


def test_error_class_that_no_machine_names_is_found() -> None:
    findings = list(tasks.check_handled([machine_of(SOUND)], {*OURS, "ForgottenError"}))
    assert [finding.where for finding in findings] == ["ForgottenError"]


def test_error_classes_are_those_that_can_be_raised(tmp_path: Path) -> None:
    module = tmp_path / "errors.py"
    module.write_text("class Base(Exception): ...\nclass A(Base): ...\nclass B(Base): ...\n")
    assert tasks.error_classes(module) == {"A", "B"}


def test_cfn_lint_sees_what_it_is_given(tmp_path: Path) -> None:
    assert list(tools.cfn_lint([machine_of(SOUND)], tmp_path)) == []
    broken = machine_of(edited(("States", "Rest", "Seconds"), "five"))
    assert any(finding.rule == "E3601" and "Rest" in finding.where for finding in tools.cfn_lint([broken], tmp_path))


@pytest.mark.parametrize(("returncode", "expected"), [(0, []), (1, ["asl-validator"])])
def test_asl_validator_status_decides(tmp_path: Path, returncode: int, expected: list[str]) -> None:
    program = tmp_path / "asl-validator"
    program.write_text(f"#!/bin/sh\necho said\nexit {returncode}\n")
    program.chmod(0o755)
    findings = list(tools.asl_validator([machine_of(SOUND)], tmp_path, program))
    assert [finding.rule for finding in findings] == expected


def rendered_names(key: Callable[[machines.State], bool]) -> set[str]:
    found, _ = machines.read(ROOT / "asl")
    return {state.name for machine in found for state in machines.states(machine) if key(state)}


def test_walk_reaches_every_nested_state_of_the_repository() -> None:
    """A rule that is never asked about a state cannot find anything in it."""
    written = set()
    for path in (ROOT / "asl").glob("*.asl.json"):

        def collect(value: Any) -> None:
            if isinstance(value, dict):
                if isinstance(value.get("States"), dict):
                    written.update(value["States"])
                for item in value.values():
                    collect(item)
            elif isinstance(value, list):
                for item in value:
                    collect(item)

        collect(json.loads(path.read_text()))
    assert written == rendered_names(lambda state: True)
    assert len(written) > 20
