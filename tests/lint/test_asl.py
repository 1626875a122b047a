"""Data that no state makes, errors that nobody decides, faults that nobody waits for turn red; a sound machine not."""

import ast
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.lint import machines
from tests.lint.asl import dataflow, retries
from tests.lint.asl.shapes import ANYTHING, SCALAR, Shape, meet, steps, typed_dicts

LAMBDA = sorted(retries.TRANSIENT["lambda", "invoke"])
NESTED = sorted(retries.TRANSIENT["states", "startExecution"])

SEAL: dict[str, Any] = {
    "Type": "Task",
    "Resource": "arn:${partition}:states:::lambda:invoke",
    "Parameters": {"FunctionName": "${seal_shards_arn}", "Payload": {"run.$": "$.run", "tenant.$": "$.tenant"}},
    "ResultSelector": {"sealed.$": "$.Payload"},
    "ResultPath": "$.sealing",
    "TimeoutSeconds": 960,
    "Retry": [{"ErrorEquals": [*LAMBDA, "ThrottledError", "WorkInProgressError"], "MaxAttempts": 5}],
    "Catch": [{"ErrorEquals": ["InvalidRequestError"], "ResultPath": "$.failure", "Next": "Refuse"}],
    "Next": "Has Shards",
}
SOUND: dict[str, Any] = {
    "StartAt": "Begin",
    "States": {
        "Begin": {"Type": "Pass", "Parameters": {"run.$": "$$.Execution.Name", "tenant": "acme"}, "Next": "Seal"},
        "Seal": SEAL,
        "Has Shards": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.sealing.sealed.batch.shards", "NumericGreaterThan": 0, "Next": "Fan Out"}],
            "Default": "Done",
        },
        "Fan Out": {
            "Type": "Task",
            "Resource": "arn:${partition}:states:::states:startExecution.sync:2",
            "Parameters": {
                "StateMachineArn": "${fan_out_arn}",
                "Name.$": "States.Format('{}-{}', $.run, $$.Execution.RedriveCount)",
                "Input": {"run.$": "$.run", "key.$": "$.sealing.sealed.batch.key"},
            },
            "ResultSelector": {"status.$": "$.Status"},
            "Retry": [{"ErrorEquals": NESTED, "MaxAttempts": 5}],
            "Next": "Done",
        },
        "Refuse": {"Type": "Fail", "ErrorPath": "$.failure.Error", "CausePath": "$.failure.Cause"},
        "Done": {"Type": "Succeed"},
    },
}
CHILD: dict[str, Any] = {
    "StartAt": "Read",
    "States": {"Read": {"Type": "Pass", "Parameters": {"key.$": "$.key"}, "End": True}},
}


def found(change: dict[tuple[str, ...], Any] | None = None, child: dict[str, Any] = CHILD) -> set[str]:
    """Rules that speak after `change`: path of keys → new value, None to leave it out."""
    template = copy.deepcopy(SOUND)
    for path, value in (change or {}).items():
        here = template["States"]
        for key in path[:-1]:
            here = here[key]
        if value is None:
            del here[path[-1]]
        else:
            here[path[-1]] = value
    read = [
        machines.parse("sample", json.dumps(template), {"fan_out"}),
        machines.parse("fan_out", json.dumps(child), {"fan_out"}),
    ]
    told = list(dataflow.check(read))
    for machine in read:
        told += retries.check(machine, retries.raised())
    return {finding.rule for finding in told}


def test_a_sound_machine_has_no_findings() -> None:
    assert found() == set()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({("Seal", "ResultPath"): "$.sealed"}, "dataflow"),
        ({("Seal", "ResultPath"): None}, "dataflow"),
        ({("Seal", "ResultSelector"): None}, "dataflow"),
        ({("Seal", "Parameters", "Payload"): {"run.$": "$.runn", "tenant.$": "$.tenant"}}, "dataflow"),
        ({("Seal", "Parameters", "Payload"): {"run.$": "$.run"}}, "event"),
        ({("Seal", "Parameters", "Payload"): {"run.$": "$.run", "tenant.$": "$.tenant", "x": 1}}, "event"),
        ({("Refuse", "ErrorPath"): "$.failed.Error"}, "dataflow"),
        ({("Begin", "Parameters"): {"run.$": "$$.Execution.Nam", "tenant": "acme"}}, "context"),
        ({("Begin", "Parameters"): {"run.$": "$$.Map.Item.Value", "tenant": "acme"}}, "context"),
        ({("Begin", "Parameters"): {"run.$": "$$.Task.Token", "tenant": "acme"}}, "context"),
        ({("Fan Out", "Parameters", "Name.$"): "States.Format('{}-{}', $.run)"}, "intrinsic"),
        ({("Fan Out", "Parameters", "Name.$"): "States.Hash($.run)"}, "intrinsic"),
        ({("Fan Out", "Resource"): "arn:${partition}:states:::states:startExecution.sync"}, "nested"),
        ({("Seal", "Catch"): []}, "errors"),
        ({("Seal", "Retry"): [{"ErrorEquals": LAMBDA, "MaxAttempts": 5}]}, "errors"),
        ({("Seal", "Retry"): [{"ErrorEquals": ["ThrottledError", "WorkInProgressError"]}]}, "transient"),
        ({("Fan Out", "Retry"): [{"ErrorEquals": NESTED, "MaxAttempts": 0}]}, "transient"),
        ({("Fan Out", "Retry"): [{"ErrorEquals": NESTED[1:], "MaxAttempts": 5}]}, "transient"),
    ],
)
def test_each_mistake_is_found(change: dict[tuple[str, ...], Any], rule: str) -> None:
    assert rule in found(change)


def test_what_a_machine_is_not_sent_it_may_not_read() -> None:
    child = copy.deepcopy(CHILD)
    child["States"]["Read"]["Parameters"] = {"tenant.$": "$.tenant"}
    assert found(child=child) == {"dataflow"}


def test_what_one_way_makes_is_not_certain_after_two_meet() -> None:
    one = Shape({"run": SCALAR, "job": Shape({"id": SCALAR})})
    both = meet(one, Shape({"run": SCALAR}))
    assert isinstance(both.at(["run"]), Shape)
    assert "IsPresent" in str(both.at(["job", "id"]))
    assert isinstance(both.certain(["job"]).at(["job", "id"]), Shape)
    assert meet(ANYTHING, one) == one


def test_paths_are_read_as_step_functions_reads_them() -> None:
    assert steps("$") == []
    assert steps("$.a['b c'].d[0]") == ["a", "b c", "d"]
    assert steps("$..a") is None


PACKAGE = Path(__file__).resolve().parents[2] / "lambdas" / "bulk_inference"

MADE = {
    "PlanRunAnswer": "plan/plan_run.py",
    "PlacesAnswer": "plan/plan_run.py",
    "SealShardsAnswer": "cut/seal_run.py",
    "BatchShards": "cut/seal_run.py",
    "SyncPieces": "cut/seal_run.py",
    "PlanAssemblyAnswer": "assembly/assembly.py",
    "InferBatchAnswer": "sync/infer_batch.py",
    "FinishRunAnswer": "finish/finishing.py",
}
"""Answer, or a part of one → the module that makes it."""


def literals(tree: ast.AST) -> list[set[str]]:
    """Keys of dictionaries that are returned as they are written, and of those inside them."""
    return [
        {str(key.value) for key in inner.keys if isinstance(key, ast.Constant)}
        for node in ast.walk(tree)
        if isinstance(node, ast.Return)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Dict)
    ]


@pytest.mark.parametrize("answer", sorted(MADE))
def test_what_contracts_promise_is_what_the_code_returns(answer: str) -> None:
    """By the source: the handler's answer is a literal, or a few in one, and its keys are the members."""
    shape = typed_dicts(dataflow.CONTRACTS)[answer]
    tree = ast.parse((PACKAGE / MADE[answer]).read_text(encoding="utf-8"))
    required = set(shape.members) - shape.optional
    written = {key for keys in literals(tree) if keys and keys <= set(shape.members) for key in keys}
    assert written >= required


@pytest.mark.parametrize(("answer", "document"), [("RunSettingsAnswer", "RunSettings"), ("CutsAnswer", "Cuts")])
def test_documents_have_the_members_that_contracts_name(answer: str, document: str) -> None:
    """Dataclasses whose JSON has their fields' names in camel case."""
    tree = ast.parse((PACKAGE / "core" / "run_spec.py").read_text(encoding="utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == document)
    names = [line.target.id for line in body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)]
    camel = {name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in names}
    assert camel == set(typed_dicts(dataflow.CONTRACTS)[answer].members)
