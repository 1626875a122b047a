"""Which refusals of AWS pass: the same ones for every service."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from bulk_inference.aws import refusals
from bulk_inference.aws.events import CompletionBus
from bulk_inference.aws.intake_queues import IntakeQueue
from bulk_inference.aws.service_quotas import ServiceQuotas
from bulk_inference.aws.sqs import DeadLetterQueue, MessageLane
from bulk_inference.aws.stepfunctions import Executions, Pipeline, TaskTokens
from bulk_inference.core.errors import ThrottledError

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/q"
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:p"


def refusal(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("ThrottlingException", 400, True),
        ("AWS.SimpleQueueService.RequestThrottled", 403, True),
        ("SlowDown", 503, True),
        ("NobodyKnowsThisOne", 502, True),
        ("AccessDenied", 403, False),
        ("ServiceQuotaExceededException", 400, False),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, False),
    ],
)
def test_overload_and_faults_of_aws_pass(code: str, status: int, passes: bool) -> None:
    error = refusal(code, status)
    with pytest.raises(ThrottledError if passes else ClientError), refusals.throttled("S", "Operation"):
        raise error


@pytest.mark.parametrize("error", [EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError])
def test_a_call_without_an_answer_passes(error: Any) -> None:
    with (
        pytest.raises(ThrottledError, match="SQS did not answer SendMessage"),
        refusals.throttled("SQS", "SendMessage"),
    ):
        raise error(endpoint_url=URL)


CALLS: dict[str, tuple[str, str, Any]] = {
    "an event": ("events", "put_events", lambda one: CompletionBus("b", one).put("t", {})),
    "a task's answer": ("stepfunctions", "send_task_success", lambda one: TaskTokens(one).succeed("t", {})),
    "a start": ("stepfunctions", "start_execution", lambda one: Pipeline(ARN, one).start("r", {})),
    "an execution": ("stepfunctions", "describe_execution", lambda one: Executions(one).describe(ARN)),
    "the lane": ("sqs", "send_message", lambda one: MessageLane(URL, URL, one).postpone("b", 1)),
    "dead letters": ("sqs", "receive_message", lambda one: DeadLetterQueue(URL, URL, one).receive(1)),
    "the intake": ("sqs", "send_message", lambda one: IntakeQueue(URL, "low", one).postpone("b", {}, 1)),
    "quotas": ("service-quotas", "get_service_quota", lambda one: ServiceQuotas(one).by_code("L-1")),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailable"])
def test_every_service_is_asked_again_later(call: str, code: str) -> None:
    service, method, do = CALLS[call]
    client: Any = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # type: ignore[call-overload]
    with Stubber(client) as stub:
        stub.add_client_error(method, code)
        with pytest.raises(ThrottledError):
            do(client)
