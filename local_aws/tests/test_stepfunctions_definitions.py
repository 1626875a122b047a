"""Definitions are checked when a machine is created, changed or validated.

Sources: https://states-language.net/, pages of https://docs.aws.amazon.com/step-functions/latest/dg/ and the API
reference of CreateStateMachine, UpdateStateMachine and ValidateStateMachineDefinition.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws
from local_aws.stepfunctions import definitions
from state_machines import StateMachines, distributed, single


@pytest.fixture
def machines(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> StateMachines:
    return StateMachines(aws, unique, make_role)


def messages(definition: Any) -> str:
    return " | ".join(str(each) for each in definitions.problems(json.dumps(definition)))


READER = {
    "Resource": "arn:aws:states:::s3:listObjectsV2",
    "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"},
    "Parameters": {"Bucket": "b", "Prefix": "p"},
}
GOOD = distributed(ItemReader=READER, ItemBatcher={"MaxItemsPerBatch": 2}, MaxConcurrencyPath="$.n")


def changed(*path: str, value: Any) -> dict[str, Any]:
    """GOOD with one place of it changed; None removes it."""
    definition = copy.deepcopy(GOOD)
    *way, last = path
    here: Any = definition["States"]["Only"]
    for name in way:
        here = here[name]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return definition


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"StartAt": "A", "States": {}}, "at least one state"),
        (
            {"StartAt": "B", "States": {"A": {"Type": "Succeed"}}},
            "MISSING_TRANSITION_TARGET: Missing 'StartAt' target: B",
        ),
        (single({"Type": "Pass", "Next": "Gone"}), "Missing 'Next' target: Gone"),
        ({"StartAt": "A", "States": {"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}}, "'B' is not reachable"),
        (single({"Type": "Poll"}), "Unknown state type: Poll"),
        (single({"Type": "Pass", "Resultpath": "$"}), "Field 'Resultpath' is not supported"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pass"}}}, "Exactly one of 'Next' and 'End'"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}, "No terminal state"),
        (single({"Type": "Pass", "Parameters": {"x.$": "no path"}}), "valid JSONPath or a valid intrinsic"),
        (single({"Type": "Pass", "Parameters": {"x.$": "States.Nothing($)"}}), "valid JSONPath or a valid intrinsic"),
        (single({"Type": "Pass", "ResultPath": "$.a[*]"}), "not a reference path"),
        (single({"Type": "Wait"}), "Exactly one of 'Seconds'"),
        (single({"Type": "Wait", "Seconds": -1}), "'Seconds' must be a number between 0"),
        (single({"Type": "Task", "Resource": "arn:aws:states:::glue:nothing"}), "not known to the local AWS"),
        (single({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.sync"}), "does not support .sync"),
        (single({"Type": "Parallel", "Branches": []}), "'Branches' must be a non-empty array"),
        ({**single({"Type": "Pass"}), "QueryLanguage": "JSONata"}, "JSONPath only"),
        (changed("Catch", value=[{"ErrorEquals": ["States.ALL", "X"], "Next": "Only"}]), "must appear alone"),
        (changed("Retry", value=[{"ErrorEquals": ["X"], "JitterStrategy": "SOME"}]), "FULL or NONE"),
        (changed("ItemProcessor", "ProcessorConfig", "ExecutionType", value=None), "'ExecutionType' must be"),
        (changed("MaxConcurrency", value=3), "Only one of 'MaxConcurrency'"),
        (changed("Label", value="x" * 41), "'Label' has at most 40"),
        (changed("ToleratedFailurePercentage", value=101), "between 0 and 100"),
        (changed("ItemReader", "Resource", value="arn:aws:states:::s3:headObject"), "must be s3:getObject"),
        (changed("ItemReader", "Resource", value="arn:aws:states:::s3:getObject"), "needs s3:listObjectsV2"),
        (changed("ItemReader", "ReaderConfig", "InputType", value=None), "'InputType' must be"),
        (changed("ItemReader", "Parameters", "Bucket", value=None), "parameter 'Bucket' is required"),
        (changed("ItemsPath", value="$.x"), "Only one of 'ItemReader' and 'ItemsPath'"),
        (changed("ItemBatcher", "MaxItemsPerBatch", value=None), "or both are required"),
        (changed("ItemBatcher", "MaxInputBytesPerBatch", value=262_145), "between 1 and 262144"),
        (changed("ResultWriter", value={}), "must not be empty"),
        (changed("ResultWriter", value={"Resource": "arn:aws:states:::s3:putObject"}), "must be given together"),
        (changed("ResultWriter", value={"WriterConfig": {"OutputType": "CSV"}}), "JSON or JSONL"),
    ],
)
def test_problems(definition: dict[str, Any], message: str) -> None:
    """Each rule of the language and of Map fields that a definition breaks is named with its place."""
    assert messages(GOOD) == ""
    assert message in messages(definition)


def test_map_fields_need_distributed_mode() -> None:
    """state-map-inline: reader, batcher, writer, label and tolerances belong to Distributed mode."""
    definition = changed("ItemProcessor", "ProcessorConfig", value={"Mode": "INLINE"})
    for name in ("ItemReader", "ItemBatcher", "Label"):
        assert f"Field '{name}' is not supported" in messages(definition)


def test_express_children_cannot_wait() -> None:
    """state-map-distributed: Express children support request-response only."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True}
    definition = distributed({"T": {**task, "Parameters": {"t.$": "$$.Task.Token"}}}, ItemsPath="$")
    assert messages(definition) == ""
    definition["States"]["Only"]["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "EXPRESS"
    assert "Request Response pattern only" in messages(definition)


def test_create_update_and_validate(machines: StateMachines) -> None:
    """InvalidDefinition from Create and Update, diagnostics from Validate; a refused update changes nothing."""
    good, bad = single({"Type": "Pass"}), single({"Type": "Pass", "Next": "Gone"})
    with pytest.raises(ClientError, match=r"InvalidDefinition.*Missing 'Next' target: Gone at /States/Only/Next"):
        machines.create(bad)
    machine = machines.create(good)
    with pytest.raises(ClientError, match="InvalidDefinition"):
        machines.client.update_state_machine(stateMachineArn=machine, definition=json.dumps(bad))
    kept = machines.client.describe_state_machine(stateMachineArn=machine)["definition"]
    assert json.loads(kept) == good
    answer = machines.client.validate_state_machine_definition(definition=json.dumps(bad))
    assert answer["result"] == "FAIL"
    assert {"severity", "code", "message", "location"} <= set(answer["diagnostics"][0])
    assert machines.client.validate_state_machine_definition(definition=json.dumps(good))["result"] == "OK"


def test_logging_and_tracing_read_back(machines: StateMachines, unique: str) -> None:
    """API_DescribeStateMachine: both configurations as they were sent, at creation and after an update."""
    group = f"arn:aws:logs:us-east-1:{machines.aws.account}:log-group:{unique}:*"
    logging = {"level": "ALL", "includeExecutionData": False}
    logging["destinations"] = [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}]
    machine = machines.create(
        single({"Type": "Pass"}), {"logs:*": "*"}, loggingConfiguration=logging, tracingConfiguration={"enabled": True}
    )
    described = machines.client.describe_state_machine(stateMachineArn=machine)
    assert (described["loggingConfiguration"], described["tracingConfiguration"]) == (logging, {"enabled": True})
    machines.client.update_state_machine(stateMachineArn=machine, tracingConfiguration={"enabled": False})
    described = machines.client.describe_state_machine(stateMachineArn=machine)
    assert (described["loggingConfiguration"], described["tracingConfiguration"]) == (logging, {"enabled": False})
    plain = machines.client.describe_state_machine(stateMachineArn=machines.create(single({"Type": "Pass"})))
    assert plain["tracingConfiguration"] == {"enabled": False}


def test_role_is_checked_at_creation(machines: StateMachines) -> None:
    """connect-stepfunctions, cw-logs: the managed rule of .sync and the log delivery are made in the role's name."""
    nested = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Parameters": {}}
    with pytest.raises(ClientError, match=r"AccessDenied.*is not authorized to create managed-rule"):
        machines.create(single(nested), {"events:PutRule": "*", "events:DescribeRule": "*"})
    machines.create(single(nested), {"events:PutRule": "*", "events:DescribeRule": "*", "events:PutTargets": "*"})
    logging = {"level": "ERROR", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:x:1:y:*"}}]}
    with pytest.raises(ClientError, match=r"not authorized to access the Log Destination"):
        machines.create(single({"Type": "Pass"}), loggingConfiguration=logging)


def test_role_must_trust_step_functions(machines: StateMachines, make_role: Callable[..., str]) -> None:
    """procedure-create-iam-role: a role that states.amazonaws.com may not assume is refused."""
    role = make_role({"states:*": "*"}, service="lambda.amazonaws.com")
    with pytest.raises(ClientError, match=r"authorized to assume the provided role"):
        machines.create(single({"Type": "Pass"}), roleArn=role)
