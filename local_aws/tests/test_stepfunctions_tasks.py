"""Task states: Lambda, task tokens, nested executions, other services, limits of time.

Pages are under https://docs.aws.amazon.com/step-functions/latest/dg/.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws
from local_aws.stepfunctions import tokens
from state_machines import StateMachines, distributed, output, single, until

INVOKE = "arn:aws:states:::lambda:invoke"
WAIT = "arn:aws:states:::lambda:invoke.waitForTaskToken"
SYNC = "arn:aws:states:::states:startExecution.sync:2"
SEND = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
INVOKE_RIGHT = {"lambda:InvokeFunction": "*"}


@pytest.fixture
def machines(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> StateMachines:
    return StateMachines(aws, unique, make_role)


@pytest.fixture
def queue(aws: LocalAws, unique: str) -> Callable[[], dict[str, Any] | None]:
    """Takes the next message's body off a queue named `unique`."""
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=unique)["QueueUrl"]

    def take() -> dict[str, Any] | None:
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(messages[0]["Body"]) if messages else None

    return take


def waits(aws: LocalAws, unique: str, **fields: Any) -> dict[str, Any]:
    """A state that sends its token to the queue named `unique` and waits for the answer."""
    url = aws.client("sqs").get_queue_url(QueueName=unique)["QueueUrl"]
    body = {"token.$": "$$.Task.Token", "retries.$": "$$.State.RetryCount"}
    return {"Type": "Task", "Resource": SEND, "Parameters": {"QueueUrl": url, "MessageBody": body}, **fields}


def refused(call: Callable[[], Any]) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def invoke(function: str, **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": INVOKE, "Parameters": {"FunctionName": function, "Payload.$": "$"}, **fields}


def test_lambda_invoke(machines: StateMachines, make_function: Callable[..., str]) -> None:
    """connect-lambda: the result has Payload, StatusCode and ExecutedVersion; history says what was called."""
    function = make_function("def handler(event, context): return {'got': event}")
    described = machines.run(single(invoke(function)), {"n": 1}, INVOKE_RIGHT)
    result = output(described)
    assert result["Payload"] == {"got": {"n": 1}}
    assert (result["StatusCode"], result["ExecutedVersion"]) == (200, "$LATEST")
    events = machines.history(described["executionArn"])
    assert [event["type"] for event in events][2:5] == ["TaskScheduled", "TaskStarted", "TaskSucceeded"]
    scheduled = events[2]["taskScheduledEventDetails"]
    assert (scheduled["resourceType"], scheduled["resource"]) == ("lambda", "invoke")
    assert json.loads(scheduled["parameters"])["Payload"] == {"n": 1}


def test_lambda_errors_keep_their_name(machines: StateMachines, make_function: Callable[..., str]) -> None:
    """concepts-error-handling: the exception's class is the error, the cause is Lambda's error object; both match."""
    function = make_function(
        """
        class MineError(Exception):
            pass

        def handler(event, context):
            raise MineError("text of it")
        """
    )
    described = machines.run(single(invoke(function)), {}, INVOKE_RIGHT)
    assert described["error"] == "MineError"
    cause = json.loads(described["cause"])
    assert (cause["errorType"], cause["errorMessage"]) == ("MineError", "text of it")
    assert any("handler" in line for line in cause["stackTrace"])
    definition = single(
        invoke(
            function,
            Retry=[{"ErrorEquals": ["OtherError"], "MaxAttempts": 9}, {"ErrorEquals": ["MineError"], "MaxAttempts": 2}],
            Catch=[{"ErrorEquals": ["MineError"], "ResultPath": "$.failure", "Next": "Caught"}],
        )
    )
    definition["States"]["Only"]["Retry"][1]["IntervalSeconds"] = 1
    definition["States"]["Caught"] = {"Type": "Pass", "OutputPath": "$.failure.Error", "End": True}
    machines.aws.local("PUT", "/_local/knobs", {"time_scale": 0.01})
    try:
        described = machines.run(definition, {}, INVOKE_RIGHT)
    finally:
        machines.aws.local("PUT", "/_local/knobs", {"time_scale": 1.0})
    assert output(described) == "MineError"
    assert machines.events(described["executionArn"]).count("TaskFailed") == 3


def test_lambda_that_is_not_there(machines: StateMachines) -> None:
    """connect-lambda: errors of the Lambda service carry the prefix Lambda."""
    described = machines.run(single(invoke("no-such-function")), {}, INVOKE_RIGHT)
    assert described["error"] == "Lambda.ResourceNotFoundException"


def test_result_over_the_limit(machines: StateMachines, make_function: Callable[..., str]) -> None:
    """service-quotas: a task's result over 256 KiB is States.DataLimitExceeded."""
    function = make_function("def handler(event, context): return 'x' * 270_000")
    state = invoke(function, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Only2"}])
    definition = single(state)
    definition["States"]["Only2"] = {"Type": "Succeed"}
    assert machines.run(definition, {}, INVOKE_RIGHT)["error"] == "States.DataLimitExceeded"


def test_timeout_by_path(machines: StateMachines, make_function: Callable[..., str]) -> None:
    """state-task: TimeoutSecondsPath; States.Timeout, which States.TaskFailed does not catch."""
    function = make_function("import time\ndef handler(event, context): time.sleep(8)")
    catch = [{"ErrorEquals": [name], "Next": name} for name in ("States.TaskFailed", "States.Timeout")]
    definition = single(invoke(function, TimeoutSecondsPath="$.limit", Catch=catch))
    definition["States"] |= {"States.TaskFailed": {"Type": "Fail"}, "States.Timeout": {"Type": "Succeed"}}
    described = machines.run(definition, {"limit": 1}, INVOKE_RIGHT)
    assert output(described) == {"Error": "States.Timeout", "Cause": ""}
    assert "TaskTimedOut" in machines.events(described["executionArn"])
    assert machines.run(definition, {"limit": 0}, INVOKE_RIGHT)["error"] == "States.Runtime"


def test_task_token(
    machines: StateMachines, aws: LocalAws, unique: str, queue: Callable[[], dict[str, Any] | None]
) -> None:
    """connect-to-resource: the task waits for SendTaskSuccess, whose output is its result; a second answer is late."""
    execution = machines.start(machines.create(single(waits(aws, unique)), {"sqs:SendMessage": "*"}))
    message = until(queue, "the token")
    assert machines.client.describe_execution(executionArn=execution)["status"] == "RUNNING"
    machines.client.send_task_success(taskToken=message["token"], output='{"done": 1}')
    assert output(machines.end(execution)) == {"done": 1}
    assert "TaskSubmitted" in machines.events(execution)
    late = lambda: machines.client.send_task_success(taskToken=message["token"], output="{}")  # noqa: E731
    assert refused(late) == "TaskTimedOut"


def test_task_failure_and_a_new_token_for_each_attempt(
    machines: StateMachines, aws: LocalAws, unique: str, queue: Callable[[], dict[str, Any] | None]
) -> None:
    """connect-to-resource: SendTaskFailure's error is retried by name; the next attempt has another token."""
    retry = [{"ErrorEquals": ["Mine"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    execution = machines.start(machines.create(single(waits(aws, unique, Retry=retry)), {"sqs:SendMessage": "*"}))
    first = until(queue, "the first token")
    machines.client.send_task_failure(taskToken=first["token"], error="Mine", cause="once")
    second = until(queue, "the second token")
    assert second["token"] != first["token"]
    assert (first["retries"], second["retries"]) == (0, 1)
    assert refused(lambda: machines.client.send_task_heartbeat(taskToken=first["token"])) == "TaskTimedOut"
    machines.client.send_task_failure(taskToken=second["token"], error="Mine", cause="twice")
    described = machines.end(execution)
    assert (described["error"], described["cause"]) == ("Mine", "twice")


def test_token_errors(machines: StateMachines) -> None:
    """API_SendTaskSuccess: InvalidToken, TaskDoesNotExist for a token of no task, InvalidOutput for what is no JSON."""
    for token in ("x", base64.b64encode(b"y" * 99).decode()):
        answer = lambda: machines.client.send_task_success(taskToken=token, output="{}")  # noqa: E731, B023
        assert refused(answer) == "InvalidToken"
    assert refused(lambda: machines.client.send_task_success(taskToken="x", output="{")) == "InvalidOutput"
    foreign = asyncio.run(_issue())
    answer = lambda: machines.client.send_task_success(taskToken=foreign, output="{}")  # noqa: E731
    assert refused(answer) == "TaskDoesNotExist"


async def _issue() -> str:
    # Issued in this process: well formed, and unknown to the service.
    return tokens.issue("arn:aws:states:us-east-1:123456789012:stateMachine:gone")[0]


def test_heartbeat(
    machines: StateMachines, aws: LocalAws, unique: str, queue: Callable[[], dict[str, Any] | None]
) -> None:
    """state-task: without a heartbeat within HeartbeatSeconds(Path) the task fails with States.HeartbeatTimeout."""
    state = waits(aws, unique, HeartbeatSecondsPath="$.beat", TimeoutSeconds=60)
    execution = machines.start(machines.create(single(state), {"sqs:SendMessage": "*"}), {"beat": 1})
    described = machines.end(execution)
    assert described["error"] == "States.HeartbeatTimeout"
    message = until(queue, "the token")
    assert refused(lambda: machines.client.send_task_heartbeat(taskToken=message["token"])) == "TaskTimedOut"


def test_heartbeat_starts_the_time_anew() -> None:
    """API_SendTaskHeartbeat: the time of HeartbeatSeconds begins again."""

    async def beat() -> tuple[float, float]:
        token, waiting = tokens.issue("arn:aws:states:us-east-1:123456789012:stateMachine:m")
        async with asyncio.timeout(10) as limit:
            waiting.limit, waiting.heartbeat = limit, 500
            before = limit.when()
            tokens.beat(token)
            await asyncio.sleep(0)
            return before or 0, limit.when() or 0

    before, after = asyncio.run(beat())
    assert after - before >= 490


def test_answer_before_the_function_returns(
    machines: StateMachines, make_function: Callable[..., str], make_role: Callable[..., str]
) -> None:
    """connect-to-resource: the token's answer ends the task whatever the call that handed it out still does."""
    function = make_function(
        """
        import boto3, time

        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='"early"')
            raise ValueError("too late to matter")
        """,
        Role=make_role({"logs:*": "*", "states:SendTaskSuccess": "*"}),
    )
    state = {"Type": "Task", "Resource": WAIT, "TimeoutSeconds": 20}
    state["Parameters"] = {"FunctionName": function, "Payload": {"token.$": "$$.Task.Token"}}
    assert output(machines.run(single(state), {}, INVOKE_RIGHT)) == "early"


def test_function_that_fails_before_handing_on_the_token(
    machines: StateMachines, make_function: Callable[..., str]
) -> None:
    """connect-to-resource: when the call itself fails, the task fails with its error instead of waiting on."""
    function = make_function("def handler(event, context): raise KeyError('no')")
    state = {"Type": "Task", "Resource": WAIT, "TimeoutSeconds": 20}
    state["Parameters"] = {"FunctionName": function, "Payload": {"token.$": "$$.Task.Token"}}
    assert machines.run(single(state), {}, INVOKE_RIGHT)["error"] == "KeyError"


def test_stop_closes_the_token(
    machines: StateMachines, aws: LocalAws, unique: str, queue: Callable[[], dict[str, Any] | None]
) -> None:
    """API_StopExecution: a stopped execution's task is gone; its token has timed out."""
    execution = machines.start(machines.create(single(waits(aws, unique)), {"sqs:SendMessage": "*"}))
    message = until(queue, "the token")
    machines.client.stop_execution(executionArn=execution)
    assert machines.end(execution)["status"] == "ABORTED"
    assert machines.events(execution)[-2:] == ["TaskStateAborted", "ExecutionAborted"]
    answer = lambda: machines.client.send_task_success(taskToken=message["token"], output="{}")  # noqa: E731
    assert refused(answer) == "TaskTimedOut"


def nested(machine: str, resource: str = SYNC, **parameters: Any) -> dict[str, Any]:
    given = {"StateMachineArn": machine, "Input": {"n.$": "$.n"}, **parameters}
    return {"Type": "Task", "Resource": resource, "Parameters": given}


def test_nested_execution(machines: StateMachines) -> None:
    """connect-stepfunctions: .sync:2 waits and gives the child's description with its output as JSON, .sync as text."""
    child = machines.create(single({"Type": "Pass", "Result": {"r": 1}}))
    result = output(machines.run(single(nested(child)), {"n": 5}, {"events:*": "*"}))
    assert (result["Status"], result["Output"]) == ("SUCCEEDED", {"r": 1})
    assert machines.client.describe_execution(executionArn=result["ExecutionArn"])["input"] == '{"n":5}'
    plain = single(nested(child, SYNC.removesuffix(":2")))
    assert output(machines.run(plain, {"n": 5}, {"events:*": "*"}))["Output"] == '{"r":1}'


def test_nested_failure(machines: StateMachines) -> None:
    """connect-stepfunctions: a child that fails is States.TaskFailed with the child's error in the cause."""
    child = machines.create({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Mine", "Cause": "why"}}})
    described = machines.run(single(nested(child)), {"n": 5}, {"events:*": "*"})
    assert described["error"] == "States.TaskFailed"
    cause = json.loads(described["cause"])
    assert (cause["Error"], cause["Cause"], cause["Status"]) == ("Mine", "why", "FAILED")


def test_nested_names(machines: StateMachines) -> None:
    """API_StartExecution: a name that is taken is StepFunctions.ExecutionAlreadyExistsException in the parent."""
    child = machines.create(single({"Type": "Pass"}))
    machines.end(machines.start(child, {"n": 1}, name="taken"))
    described = machines.run(single(nested(child, Name="taken")), {"n": 1}, {"events:*": "*"})
    assert described["error"] == "StepFunctions.ExecutionAlreadyExistsException"


def test_stopping_the_parent_stops_the_nested(machines: StateMachines) -> None:
    """connect-to-resource (.sync): when the parent is stopped, so is what it waits for."""
    child = machines.create(single({"Type": "Wait", "Seconds": 600}))
    parent = machines.start(machines.create(single(nested(child, Name="inner")), {"events:*": "*"}), {"n": 1})
    inner = child.replace(":stateMachine:", ":execution:") + ":inner"
    until(lambda: machines.client.list_executions(stateMachineArn=child)["executions"], "the nested execution")
    machines.client.stop_execution(executionArn=parent)
    assert machines.end(parent)["status"] == "ABORTED"
    assert machines.end(inner)["status"] == "ABORTED"


def test_dynamodb_and_sdk_integrations(machines: StateMachines, aws: LocalAws, unique: str) -> None:
    """connect-ddb and supported-services-awssdk: results in PascalCase; errors DynamoDB.… and DynamoDb.…."""
    aws.client("dynamodb").create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    put = {"TableName": unique, "Item": {"pk": {"S.$": "$.id"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    get = {"TableName": unique, "Key": {"pk": {"S.$": "$.id"}}}
    definition: dict[str, Any] = {
        "StartAt": "Put",
        "States": {
            "Put": {
                "Type": "Task",
                "Resource": "arn:aws:states:::dynamodb:putItem",
                "Parameters": put,
                "ResultPath": None,
                "Next": "Get",
            },
            "Get": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:dynamodb:getItem",
                "Parameters": get,
                "End": True,
            },
        },
    }
    assert output(machines.run(definition, {"id": "x"}, {"dynamodb:*": "*"}))["Item"] == {"pk": {"S": "x"}}
    described = machines.run(definition, {"id": "x"}, {"dynamodb:*": "*"})
    assert described["error"] == "DynamoDB.ConditionalCheckFailedException"
    definition["States"]["Get"]["Parameters"]["TableName"] = "no-such-table"
    described = machines.run(definition, {"id": "y"}, {"dynamodb:*": "*"})
    assert described["error"] == "DynamoDb.ResourceNotFoundException"


def test_waiting_children_are_answered_one_by_one(
    machines: StateMachines, aws: LocalAws, unique: str, queue: Callable[[], dict[str, Any] | None]
) -> None:
    """state-map-distributed, connect-to-resource: children wait for their tokens side by side, each its own."""
    definition = distributed({"Ask": {**waits(aws, unique), "End": True}}, ItemsPath="$.l")
    execution = machines.start(machines.create(definition, {"sqs:SendMessage": "*"}), {"l": list(range(40))})
    taken = [until(queue, "a token")["token"] for _ in range(40)]
    assert len(set(taken)) == 40
    assert all(re.fullmatch(r"\S{1,1024}", token) for token in taken)
    assert machines.map_run(execution)["executionCounts"]["running"] == 40
    for token in taken:
        machines.client.send_task_success(taskToken=token, output="1")
    assert output(machines.end(execution)) == [1] * 40


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"do": "throttle"}, "StepFunctions.AWSStepFunctionsException"),
        ({"do": "error", "code": "ServiceUnavailableException"}, "StepFunctions.AWSStepFunctionsException"),
        ({"do": "error", "code": "ExecutionLimitExceeded"}, "StepFunctions.ExecutionLimitExceeded"),
    ],
)
def test_a_nested_start_fails_by_the_names_that_aws_has(
    machines: StateMachines, aws: LocalAws, rule: dict[str, Any], error: str
) -> None:
    """botocore models no throttling of StartExecution: such errors share one name."""
    child = machines.create(single({"Type": "Pass"}))
    start = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": child},
    }
    match = {"service": "states", "operation": "StartExecution", "resource": child}
    aws.local("PUT", "/_local/faults", [{"target": "call", "match": match, "times": 1, **rule}])
    try:
        assert machines.run(single(start))["error"] == error
        retried = {**start, "Retry": [{"ErrorEquals": [error], "IntervalSeconds": 1}]}
        aws.local("PUT", "/_local/faults", [{"target": "call", "match": match, "times": 1, **rule}])
        assert machines.run(single(retried))["status"] == "SUCCEEDED"
    finally:
        aws.local("DELETE", "/_local/faults")


@pytest.mark.parametrize(
    "code", ["EC2ThrottledException", "ENILimitReachedException", "SubnetIPAddressLimitReachedException"]
)
def test_a_function_in_a_vpc_may_find_no_room(
    machines: StateMachines, aws: LocalAws, make_function: Callable[..., str], code: str
) -> None:
    """API_Invoke: errors of the network, named by Step Functions as Lambda's."""
    name = make_function("def handler(event, context): return 1")
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    match = {"service": "lambda", "operation": "Invoke", "resource": arn}
    aws.local("PUT", "/_local/faults", [{"target": "call", "match": match, "do": "error", "code": code}])
    try:
        task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": arn}}
        definition = single(task)
        machine = machines.create(definition, {"lambda:InvokeFunction": arn})
        assert machines.end(machines.start(machine))["error"] == f"Lambda.{code}"
    finally:
        aws.local("DELETE", "/_local/faults")


def test_a_transaction_meets_another_one(aws: LocalAws, unique: str) -> None:
    """API_TransactWriteItems, API_UpdateItem: the two errors of a conflict."""
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    writes = [{"Put": {"TableName": unique, "Item": {"p": {"S": name}}}} for name in ("a", "b")]
    rules = [
        {"target": "call", "match": {"service": "dynamodb", "operation": operation}, "do": "error", "code": code}
        for operation, code in (
            ("TransactWriteItems", "TransactionCanceledException"),
            ("UpdateItem", "TransactionConflictException"),
        )
    ]
    aws.local("PUT", "/_local/faults", rules)
    try:
        with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
            dynamodb.transact_write_items(TransactItems=writes)
        reasons = cancelled.value.response["CancellationReasons"]
        assert [reason["Code"] for reason in reasons] == ["TransactionConflict", "None"]
        with pytest.raises(dynamodb.exceptions.TransactionConflictException):
            dynamodb.update_item(TableName=unique, Key={"p": {"S": "a"}})
    finally:
        aws.local("DELETE", "/_local/faults")
