"""Executions and Map Runs as Step Functions tells them.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_Operations.html
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from bulk_inference.aws.stepfunctions import Executions, Pipeline, TaskTokens
from bulk_inference.core.errors import ThrottledError
from bulk_inference.core.ports import Execution, MapRun

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

ARN = "arn:aws:states:us-east-1:123456789012:execution:p:run-1"
MAP_RUN = "arn:aws:states:us-east-1:123456789012:mapRun:p/InferBatches:0001"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:p"
THEN = datetime(2027, 1, 15, 8, tzinfo=UTC)


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.client("stepfunctions", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def executions_of(stub: Stubber) -> Executions:
    return Executions(cast("SFNClient", stub.client))


def described(arn: str = ARN, **more: Any) -> dict[str, Any]:
    return {"executionArn": arn, "stateMachineArn": MACHINE, "startDate": THEN, "status": "RUNNING", **more}


def test_an_execution_that_ended_says_when_and_why(stub: Stubber) -> None:
    answer = described(status="FAILED", stopDate=THEN, error="E", cause="c", redriveCount=2)
    stub.add_response("describe_execution", answer)
    assert executions_of(stub).describe(ARN) == Execution(ARN, "FAILED", THEN.timestamp(), "E", "c", 2)


def test_an_execution_that_was_redriven_has_not_ended(stub: Stubber) -> None:
    """Whatever is still told of its former end."""
    stub.add_response("describe_execution", described(stopDate=THEN, redriveCount=1))
    assert executions_of(stub).ended(ARN) is None


def test_an_execution_that_nobody_knows_ended_long_ago(stub: Stubber) -> None:
    stub.add_client_error("describe_execution", "ExecutionDoesNotExist")
    assert executions_of(stub).ended(ARN) == 0.0


def test_only_what_runs_is_stopped(stub: Stubber) -> None:
    executions = executions_of(stub)
    stub.add_response("describe_execution", described(status="SUCCEEDED", stopDate=THEN))
    assert executions.stop(ARN, "over") is False
    stub.add_client_error("describe_execution", "ExecutionDoesNotExist")
    assert executions.stop(ARN, "over") is False
    stub.add_response("describe_execution", described())
    stub.add_response("stop_execution", {"stopDate": THEN}, {"executionArn": ARN, "cause": "over"})
    assert executions.stop(ARN, "over") is True


def test_a_map_run_tells_what_it_tolerates_and_how_its_children_failed(stub: Stubber) -> None:
    counts = dict.fromkeys(["pending", "running", "succeeded", "aborted", "total", "resultsWritten"], 0)
    told = {
        "mapRunArn": MAP_RUN, "executionArn": ARN, "status": "FAILED", "startDate": THEN, "maxConcurrency": 1,
        "toleratedFailurePercentage": 10.0, "toleratedFailureCount": 0,
        "itemCounts": {**counts, "total": 200, "failed": 50, "timedOut": 10},
        "executionCounts": {**counts, "failed": 1, "timedOut": 0},
    }  # fmt: skip
    child = {"executionArn": f"{ARN}-child", "stateMachineArn": MACHINE, "name": "n", "status": "FAILED"}
    stub.add_response(
        "list_map_runs",
        {"mapRuns": [{"executionArn": ARN, "mapRunArn": MAP_RUN, "stateMachineArn": MACHINE, "startDate": THEN}]},
    )
    stub.add_response("describe_map_run", told)
    stub.add_response(
        "list_executions",
        {"executions": [{**child, "startDate": THEN}]},
        {"mapRunArn": MAP_RUN, "statusFilter": "FAILED", "maxResults": ANY},
    )
    stub.add_response("describe_execution", described(f"{ARN}-child", status="FAILED", error="E", cause="c"))
    assert executions_of(stub).map_runs(ARN) == [MapRun("InferBatches", "FAILED", 200, 60, 10.0, [("E", "c")])]


def test_an_execution_that_nobody_knows_has_no_map_runs(stub: Stubber) -> None:
    stub.add_client_error("list_map_runs", "ExecutionDoesNotExist")
    assert executions_of(stub).map_runs(ARN) == []


def test_throttling_is_told_from_other_refusals(stub: Stubber) -> None:
    executions = executions_of(stub)
    stub.add_client_error("describe_execution", "ThrottlingException")
    with pytest.raises(ThrottledError, match="DescribeExecution"):
        executions.describe(ARN)
    stub.add_client_error("describe_execution", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        executions.describe(ARN)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


def client(service: Any) -> Any:
    return boto3.client(service, region_name="us-east-1")


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
def test_a_token_on_which_nobody_waits_is_done_with(code: str) -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_client_error("send_task_success", code)
        assert TaskTokens(states).succeed("t", {}) is False


def test_an_answer_is_json() -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_response("send_task_success", {}, {"taskToken": "t", "output": '{"jobName": "n"}'})
        assert TaskTokens(states).succeed("t", {"jobName": "n"}) is True


def test_other_refusals_of_an_answer_are_errors() -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        stub.add_client_error("send_task_success", "ThrottlingException")
        with pytest.raises(ThrottledError):
            TaskTokens(states).succeed("t", {})
        stub.add_client_error("send_task_success", "AccessDeniedException")
        with pytest.raises(ClientError):
            TaskTokens(states).succeed("t", {})


@pytest.mark.parametrize(("code", "started"), [(None, True), ("ExecutionAlreadyExists", False)])
def test_an_execution_is_started_once(code: str | None, started: bool) -> None:
    client = boto3.client("stepfunctions", region_name="us-east-1")
    with Stubber(client) as stub:
        wanted = {
            "stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:p",
            "name": "r",
            "input": '{"a": 1}',
        }
        if code:
            stub.add_client_error("start_execution", code, expected_params=wanted)
        else:
            stub.add_response("start_execution", {"executionArn": "arn:x", "startDate": 1}, wanted)
        assert Pipeline(wanted["stateMachineArn"], client).start("r", {"a": 1}) is started


def test_a_throttled_start_is_a_throttle() -> None:
    client = boto3.client("stepfunctions", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_client_error("start_execution", "ThrottlingException")
        with pytest.raises(ThrottledError):
            Pipeline("arn:aws:states:us-east-1:123456789012:stateMachine:p", client).start("r", {})
