"""The API of executions: names, redrive, events, roles. API pages are under
https://docs.aws.amazon.com/step-functions/latest/apireference/, others under …/latest/dg/."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws
from state_machines import StateMachines, distributed, jsonl, output, s3_rights, single, until


@pytest.fixture
def machines(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> StateMachines:
    return StateMachines(aws, unique, make_role)


@pytest.fixture
def switch(aws: LocalAws, unique: str) -> Callable[[str], None]:
    """Makes the parameter named `unique` exist or not: `check` fails without it."""

    def turn(state: str) -> None:
        if state == "on":
            aws.client("ssm").put_parameter(Name=unique, Value="on", Type="String", Overwrite=True)
        else:
            aws.client("ssm").delete_parameter(Name=unique)

    return turn


def check(unique: str, **fields: Any) -> dict[str, Any]:
    """A state that fails as long as the parameter does not exist."""
    resource = "arn:aws:states:::aws-sdk:ssm:getParameter"
    return {"Type": "Task", "Resource": resource, "Parameters": {"Name": unique}, "ResultPath": None, **fields}


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def test_names_are_idempotent_while_running(machines: StateMachines) -> None:
    """API_StartExecution: same name and input while it runs is the same execution; else ExecutionAlreadyExists."""
    machine = machines.create(single({"Type": "Wait", "SecondsPath": "$.s"}))
    first = machines.start(machine, {"s": 600}, name="one")
    assert machines.start(machine, {"s": 600}, name="one") == first
    assert refused(lambda: machines.start(machine, {"s": 601}, name="one")) == "ExecutionAlreadyExists"
    machines.client.stop_execution(executionArn=first)
    machines.end(first)
    assert refused(lambda: machines.start(machine, {"s": 600}, name="one")) == "ExecutionAlreadyExists"


@pytest.mark.parametrize("name", ["with space", "a/b", "x" * 81, "semi;colon", "brace{"])
def test_illegal_names(machines: StateMachines, name: str) -> None:
    """API_StartExecution: 1–80 characters, no white space, brackets, wildcards or special characters."""
    machine = machines.create(single({"Type": "Pass"}))
    with pytest.raises(Exception, match=r"InvalidName|ParamValidation|80"):
        machines.start(machine, name=name)


def test_start_refuses_bad_input(machines: StateMachines) -> None:
    """API_StartExecution: input is JSON of at most 262,144 bytes; the machine exists."""
    machine = machines.create(single({"Type": "Pass"}))
    start = machines.client.start_execution
    assert refused(lambda: start(stateMachineArn=machine, input="{")) == "InvalidExecutionInput"
    assert refused(lambda: start(stateMachineArn=machine, input=json.dumps("é" * 131_072))) == "ValidationException"
    assert refused(lambda: start(stateMachineArn=machine + "x", input="{}")) == "StateMachineDoesNotExist"


def test_list_executions(machines: StateMachines) -> None:
    """API_ListExecutions: newest first, filtered by status, paged."""
    machine = machines.create(single({"Type": "Fail", "Error": "E"}) | {"States": {"Only": {"Type": "Fail"}}})
    started = [machines.start(machine) for _ in range(3)]
    for execution in started:
        machines.end(execution)
    pages = machines.client.get_paginator("list_executions").paginate(
        stateMachineArn=machine, statusFilter="FAILED", PaginationConfig={"PageSize": 2}
    )
    listed = [[each["executionArn"] for each in page["executions"]] for page in pages]
    assert listed == [started[:0:-1], started[:1]]
    assert machines.client.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"] == []


def test_redrive_goes_on_from_the_failed_state(
    machines: StateMachines, unique: str, switch: Callable[[str], None]
) -> None:
    """redrive-executions: same ARN, definition and input; states that succeeded are not run again."""
    states = {"First": {"Type": "Pass", "Result": 1, "ResultPath": "$.first", "Next": "Check"}}
    after = {"Type": "Pass", "Parameters": {"redrives.$": "$$.Execution.RedriveCount", "in.$": "$"}, "End": True}
    states |= {"Check": check(unique, Next="After"), "After": after}
    machine = machines.create({"StartAt": "First", "States": states}, {"ssm:*": "*"})
    execution = machines.start(machine, {"k": 0})
    described = machines.end(execution)
    assert described["error"] == "Ssm.ParameterNotFoundException"
    assert (described["redriveStatus"], described["redriveCount"]) == ("REDRIVABLE", 0)
    machines.client.update_state_machine(stateMachineArn=machine, definition=json.dumps(single({"Type": "Pass"})))
    switch("on")
    machines.client.redrive_execution(executionArn=execution)
    described = machines.end(execution)
    assert output(described) == {"redrives": 1, "in": {"k": 0, "first": 1}}
    assert described["redriveCount"] == 1
    assert "redriveDate" in described
    events = machines.events(execution)
    assert events.count("PassStateEntered") == 2
    assert events[events.index("ExecutionRedriven") + 1] == "TaskScheduled"
    assert refused(lambda: machines.client.redrive_execution(executionArn=execution)) == "ExecutionNotRedrivable"
    redriven = machines.client.list_executions(stateMachineArn=machine, redriveFilter="REDRIVEN")["executions"]
    assert [each["executionArn"] for each in redriven] == [execution]


def test_redrive_of_branches(machines: StateMachines, unique: str, switch: Callable[[str], None]) -> None:
    """redrive-executions: of a Parallel state only the unsuccessful branches run again."""
    good = {"StartAt": "Good", "States": {"Good": {"Type": "Pass", "Result": 1, "End": True}}}
    bad = {"StartAt": "Check", "States": {"Check": check(unique, Next="B2"), "B2": {"Type": "Pass", "End": True}}}
    machine = machines.create(single({"Type": "Parallel", "Branches": [good, bad]}), {"ssm:*": "*"})
    execution = machines.start(machine, {"k": 0})
    assert machines.end(execution)["status"] == "FAILED"
    switch("on")
    machines.client.redrive_execution(executionArn=execution)
    assert output(machines.end(execution)) == [1, {"k": 0}]
    assert _states_passed(machines, execution) == ["B2", "Check", "Good", "Only"]


def test_redrive_of_iterations(machines: StateMachines, unique: str, switch: Callable[[str], None]) -> None:
    """redrive-executions: of an inline Map only the unsuccessful iterations run again."""
    rule = {"Variable": "$", "NumericEquals": 2, "Next": "Check"}
    states = {
        "Which": {"Type": "Choice", "Choices": [rule], "Default": "Fine"},
        "Check": check(unique, End=True),
        "Fine": {"Type": "Pass", "End": True},
    }
    processor = {"StartAt": "Which", "States": states}
    state = {"Type": "Map", "ItemsPath": "$.l", "MaxConcurrency": 1, "ItemProcessor": processor}
    execution = machines.start(machines.create(single(state), {"ssm:*": "*"}), {"l": [1, 2, 3]})
    assert machines.end(execution)["status"] == "FAILED"
    switch("on")
    machines.client.redrive_execution(executionArn=execution)
    assert output(machines.end(execution)) == [1, 2, 3]
    assert _states_passed(machines, execution) == ["Check", "Fine", "Fine", "Only", "Which", "Which", "Which"]


def _states_passed(machines: StateMachines, execution: str) -> list[str]:
    """Names of the states that were left, each as often as it was."""
    events = machines.history(execution)
    return sorted(each["stateExitedEventDetails"]["name"] for each in events if "stateExitedEventDetails" in each)


def test_redrive_of_a_map_run(
    machines: StateMachines, aws: LocalAws, unique: str, switch: Callable[[str], None]
) -> None:
    """redrive-map-run: the same Map Run goes on with failed, aborted and pending children; input is not read again."""
    machines.put(unique, "in.jsonl", jsonl(range(10)))
    states = {
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$", "NumericEquals": 4, "Next": "Check"}],
            "Default": "Fine",
        },
        "Check": check(unique, End=True),
        "Fine": {"Type": "Pass", "End": True},
    }
    read = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"}}
    read["Parameters"] = {"Bucket": unique, "Key": "in.jsonl"}
    definition = distributed(states, ItemReader=read, MaxConcurrency=1)
    execution = machines.start(machines.create(definition, s3_rights(unique), {"ssm:*": "*"}))
    assert machines.end(execution)["error"] == "States.ExceedToleratedFailureThreshold"
    before = machines.map_run(execution)
    assert (before["status"], before["itemCounts"]["failed"]) == ("FAILED", 1)
    pending = before["itemCounts"]["pending"]
    assert before["itemCounts"]["succeeded"] + pending == 9
    failed = [e for e in machines.children(before["mapRunArn"]) if e["status"] == "FAILED"]
    assert failed[0]["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    assert refused(lambda: machines.client.redrive_execution(executionArn=failed[0]["executionArn"])) == (
        "ExecutionNotRedrivable"
    )
    aws.client("s3").delete_object(Bucket=unique, Key="in.jsonl")
    switch("on")
    machines.client.redrive_execution(executionArn=execution)
    assert output(machines.end(execution)) == list(range(10))
    run = machines.map_run(execution)
    assert (run["mapRunArn"], run["redriveCount"], run["status"]) == (before["mapRunArn"], 1, "SUCCEEDED")
    assert run["itemCounts"]["succeeded"] == run["itemCounts"]["total"] == 10
    children = machines.children(run["mapRunArn"])
    assert len(children) == 10
    assert [e["executionArn"] for e in children if e["redriveCount"]] == [failed[0]["executionArn"]]
    assert "MapRunRedriven" in machines.events(execution)


def test_redrive_after_the_reader_failed_reads_anew(machines: StateMachines, unique: str) -> None:
    """redrive-map-run: a Map Run that never started is started for the first time."""
    machines.put(unique, "seed", b"")
    read = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"}}
    read["Parameters"] = {"Bucket": unique, "Key": "in.jsonl"}
    execution = machines.start(machines.create(distributed(ItemReader=read), s3_rights(unique)))
    assert machines.end(execution)["error"] == "States.ItemReaderFailed"
    machines.put(unique, "in.jsonl", jsonl([1]))
    machines.client.redrive_execution(executionArn=execution)
    assert output(machines.end(execution)) == [1]


def test_status_change_events(machines: StateMachines, aws: LocalAws, unique: str) -> None:
    """eventbridge-integration: RUNNING and the end of every execution reach the default bus, with its details."""
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName=unique)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    machine = machines.create(
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$.s", "Next": "F"}, "F": {"Type": "Fail"}}}
    )
    short = machines.create({**single({"Type": "Wait", "Seconds": 600}), "TimeoutSeconds": 1})
    fine = machines.create(single({"Type": "Pass"}))
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [machine, short, fine]},
    }
    events.put_rule(Name=unique, EventPattern=json.dumps(pattern))
    policy = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue_arn}
    policy_text = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy_text})
    events.put_targets(Rule=unique, Targets=[{"Id": "q", "Arn": queue_arn}])
    stopped = machines.start(machine, {"s": 600})
    machines.client.stop_execution(executionArn=stopped, error="Enough")
    ends = {
        stopped: "ABORTED",
        machines.start(machine, {"s": 0}): "FAILED",
        machines.start(short): "TIMED_OUT",
        machines.start(fine): "SUCCEEDED",
    }
    seen: list[dict[str, Any]] = []

    def receive() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        seen.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return len(seen) >= 8

    until(receive, "eight events")
    assert {
        each["detail"]["executionArn"]: each["detail"]["status"] for each in seen if each["detail"]["stopDate"]
    } == ends
    assert sorted(each["detail"]["executionArn"] for each in seen if each["detail"]["status"] == "RUNNING") == sorted(
        ends
    )
    aborted = next(each for each in seen if each["detail"]["status"] == "ABORTED")
    assert aborted["resources"] == [stopped]
    assert (aborted["detail"]["error"], aborted["detail"]["input"]) == ("Enough", '{"s": 600}')
    assert isinstance(aborted["detail"]["startDate"], int)


def denied(
    machines: StateMachines, definition: dict[str, Any], *statements: dict[str, Any], **value: Any
) -> dict[str, Any]:
    """How an execution ends whose role may do only what is given."""
    role = machines.role({"logs:none": "*"}, *statements)
    described = machines.end(machines.start(machines.create(definition, roleArn=role), value))
    assert described["status"] == "FAILED"
    return described


def test_role_must_allow_the_function(
    machines: StateMachines, make_function: Callable[..., str], aws: LocalAws
) -> None:
    """lambda-iam: without lambda:InvokeFunction on the function, Lambda.AWSLambdaException names role and action."""
    function = make_function("def handler(event, context): return 1")
    arn = f"arn:aws:lambda:us-east-1:{aws.account}:function:{function}"
    state = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": arn}}
    described = denied(machines, single(state), {"lambda:InvokeFunction": arn + "-other"})
    assert described["error"] == "Lambda.AWSLambdaException"
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {arn}" in described["cause"]
    assert "because no identity-based policy allows the lambda:InvokeFunction action" in described["cause"]
    assert machines.run(single(state), {}, {"lambda:InvokeFunction": arn})["status"] == "SUCCEEDED"


def test_role_must_allow_distributed_map(machines: StateMachines, unique: str) -> None:
    """iam-policies-eg-dist-map: states:StartExecution on the own machine, and rights of reader and writer."""
    machines.put(unique, "in.jsonl", jsonl([1]))
    read = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"}}
    read["Parameters"] = {"Bucket": unique, "Key": "in.jsonl"}
    write = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": unique, "Prefix": "out"}}
    definition = distributed(ItemReader=read, ResultWriter=write)
    may_start, may_read = {"states:StartExecution": "*"}, {"s3:GetObject": f"arn:aws:s3:::{unique}/in.jsonl"}
    described = denied(machines, definition, may_read)
    assert "states:StartExecution" in described["cause"]
    described = denied(machines, definition, may_start)
    assert described["error"] == "States.ItemReaderFailed"
    assert "s3:GetObject" in described["cause"]
    described = denied(machines, definition, may_start, may_read)
    assert described["error"] == "States.ResultWriterFailed"
    assert "s3:PutObject" in described["cause"]


def test_role_must_allow_listing(machines: StateMachines, unique: str) -> None:
    """iam-policies-eg-dist-map: s3:ListBucket on the bucket for s3:listObjectsV2."""
    machines.put(unique, "in/a", b"")
    read = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": unique, "Prefix": "in/"}}
    described = denied(machines, distributed(ItemReader=read), {"states:StartExecution": "*"})
    assert described["error"] == "States.ItemReaderFailed"
    assert "s3:ListBucket" in described["cause"]


def test_role_must_allow_nested_executions_and_services(machines: StateMachines, aws: LocalAws, unique: str) -> None:
    """stepfunctions-iam, sqs-iam: each call is authorised against the machine's role."""
    child = machines.create(single({"Type": "Pass"}))
    start = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": child},
    }
    described = denied(machines, single(start))
    assert f"states:StartExecution on resource: {child}" in described["cause"]
    url = aws.client("sqs").create_queue(QueueName=unique)["QueueUrl"]
    send = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage"}
    described = denied(machines, single({**send, "Parameters": {"QueueUrl": url, "MessageBody": "x"}}))
    assert described["error"].startswith("SQS.")
    assert "sqs:sendmessage" in described["cause"].lower()


def test_schedules_and_rules_start_executions(machines: StateMachines, aws: LocalAws, unique: str) -> None:
    """eventbridge-integration: a rule's target of a state machine starts an execution with the event as its input."""
    machine = machines.create(single({"Type": "Pass"}))
    events = aws.client("events")
    events.put_rule(Name=unique, EventPattern=json.dumps({"source": [unique]}))
    role = machines.role({"states:StartExecution": machine}, service="events.amazonaws.com")
    events.put_targets(Rule=unique, Targets=[{"Id": "m", "Arn": machine, "RoleArn": role}])
    events.put_events(Entries=[{"Source": unique, "DetailType": "t", "Detail": '{"n": 1}'}])
    until(lambda: machines.client.list_executions(stateMachineArn=machine)["executions"], "an execution")
    (listed,) = machines.client.list_executions(stateMachineArn=machine)["executions"]
    assert output(machines.end(listed["executionArn"]))["detail"] == {"n": 1}
