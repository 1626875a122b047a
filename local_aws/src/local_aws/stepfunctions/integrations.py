"""What a Task state calls: Lambda, nested executions, and AWS services with and without an optimised integration.

Sources: https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html, connect-lambda.html,
connect-stepfunctions.html, connect-sqs.html, connect-ddb.html, connect-eventbridge.html and
supported-services-awssdk.html.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws import faults

from . import paths, roles, runtime
from .errors import ApiError, StateError
from .records import Execution, iso

_RESOURCE = re.compile(
    r"arn:[^:]+:states:::(?P<sdk>aws-sdk:)?(?P<service>[A-Za-z0-9]+):(?P<action>[A-Za-z0-9]+)"
    r"(?:\.(?P<pattern>sync:2|sync|waitForTaskToken))?$"
)
_FUNCTION = re.compile(r"arn:[^:]+:lambda:[^:]+:\d{12}:function:[^:]+(:[^:]+)?$")

# service → (boto3 service, prefix of error names, name of errors that the service does not model, actions)
_OPTIMISED = {
    "dynamodb": ("dynamodb", "DynamoDB", "AmazonDynamoDBException", {"getItem", "putItem", "updateItem", "deleteItem"}),
    "sqs": ("sqs", "SQS", "AmazonSQSException", {"sendMessage"}),
    "sns": ("sns", "SNS", "AmazonSNSException", {"publish"}),
    "events": ("events", "EventBridge", "AmazonEventBridgeException", {"putEvents"}),
}
_OWN = {("lambda", "invoke"), ("states", "startExecution")}
_WITH_TOKEN = {"lambda", "sqs", "sns", "events", "states"}
# Services whose name in a resource or prefix of errors (the client names of the SDK for Java 2) does not follow from
# the other: name in a resource → (boto3 service, prefix).
_SDK_NAMES = {
    "bedrockruntime": ("bedrock-runtime", "BedrockRuntime"),
    "cloudwatchlogs": ("logs", "CloudWatchLogs"),
    "dynamodb": ("dynamodb", "DynamoDb"),
    "eventbridge": ("events", "EventBridge"),
    "secretsmanager": ("secretsmanager", "SecretsManager"),
    "servicequotas": ("service-quotas", "ServiceQuotas"),
    "sfn": ("stepfunctions", "Sfn"),
}


@dataclass(frozen=True)
class Resource:
    """A Task's Resource: `service`, `action`, how it ends (`pattern`: None, sync, sync:2, waitForTaskToken)."""

    arn: str
    service: str
    action: str
    pattern: str | None
    sdk: bool = False

    @property
    def legacy_function(self) -> bool:
        """A function's own ARN in place of the lambda:invoke integration."""
        return self.service == "function"

    @property
    def event_type(self) -> str:
        """resourceType in history events."""
        return f"aws-sdk:{self.service}" if self.sdk else self.service

    @property
    def event_resource(self) -> str:
        """resource in history events."""
        return self.action + (f".{self.pattern}" if self.pattern else "")


def parse(arn: str) -> Resource:
    """Raises ValueError with what is wrong about a Task's Resource."""
    if _FUNCTION.match(arn):
        return Resource(arn, "function", "invoke", None)
    found = _RESOURCE.match(arn)
    if not found:
        raise ValueError(f"the resource is not known to the local AWS: {arn}")
    sdk, service, action, pattern = found.group("sdk", "service", "action", "pattern")
    if sdk:
        if pattern in {"sync", "sync:2"}:
            raise ValueError(f"AWS SDK integrations do not support .sync: {arn}")
        return Resource(arn, service, action, pattern, sdk=True)
    known = (service, action) in _OWN or (service in _OPTIMISED and action in _OPTIMISED[service][3])
    if not known:
        raise ValueError(f"the integration is not known to the local AWS: {arn}")
    if pattern in {"sync", "sync:2"} and service != "states":
        raise ValueError(f"the service integration does not support .sync: {arn}")
    if pattern == "waitForTaskToken" and service not in _WITH_TOKEN:
        raise ValueError(f"the service integration does not support .waitForTaskToken: {arn}")
    return Resource(arn, service, action, pattern)


@dataclass(frozen=True)
class Caller:
    """On whose behalf a call is made, and how nested executions are started and stopped."""

    role: str
    region: str
    account: str
    start: Callable[[Mapping[str, Any]], Execution]
    stop: Callable[[Execution], None]


async def call(resource: Resource, payload: Any, caller: Caller) -> Any:
    """The result of a call, as the state sees it before ResultSelector. Raises StateError."""
    if resource.legacy_function:
        return (await _invoke(resource.arn, payload, caller))["Payload"]
    if not isinstance(payload, dict):
        raise StateError("States.Runtime", "The Parameters of a service integration must be a JSON object.")
    if resource.sdk:
        return await runtime.call(_sdk_call, resource, payload, caller)
    if resource.service == "lambda":
        return await _lambda_invoke(payload, caller)
    if resource.service == "states":
        return await _start_execution(resource, payload, caller)
    return await runtime.call(_optimised_call, resource, payload, caller)


def _metadata(status: int = 200) -> dict[str, Any]:
    request = str(uuid.uuid4())
    return {
        "SdkHttpMetadata": {"HttpHeaders": {"x-amzn-RequestId": request}, "HttpStatusCode": status},
        "SdkResponseMetadata": {"RequestId": request},
    }


async def _lambda_invoke(payload: dict[str, Any], caller: Caller) -> dict[str, Any]:
    try:
        function = payload["FunctionName"]
    except KeyError:
        raise StateError("States.Runtime", "The field 'FunctionName' is required but was missing") from None
    asynchronous = payload.get("InvocationType") == "Event"
    return await _invoke(function, payload.get("Payload", {}), caller, asynchronous=asynchronous)


async def _invoke(function: str, event: Any, caller: Caller, *, asynchronous: bool = False) -> dict[str, Any]:
    arn = function
    if not arn.startswith("arn:"):
        arn = f"arn:aws:lambda:{caller.region}:{caller.account}:function:{function}"
    if reason := roles.denial(caller.role, "lambda:InvokeFunction", arn):
        cause = f"{reason} (Service: Lambda, Status Code: 403, Request ID: {uuid.uuid4()})"
        raise StateError("Lambda.AWSLambdaException", cause)
    lost = await _struck("lambda", "Invoke", caller.role, arn, event)
    answer = await runtime.invoke(_run_function, arn, event, asynchronous)
    if lost is not None:
        raise lost
    return {"ExecutedVersion": "$LATEST", "Payload": answer, "StatusCode": 202 if asynchronous else 200} | _metadata()


#: What Step Functions calls an API, what it makes of errors that the API does not model, how the API throttles. That of
#: StartExecution is not modelled: botocore's shapes.
_FAILURES = {
    "lambda": ("Lambda", "Lambda.AWSLambdaException", "TooManyRequestsException", 429),
    "states": ("StepFunctions", "StepFunctions.AWSStepFunctionsException", "ThrottlingException", 400),
}


async def _struck(service: str, operation: str, role: str, resource: str, request: Any) -> StateError | None:
    """What a rule of the fault plan does to a call that a machine makes within this process: raise its error, wait, or
    return the error to raise when the call has been made."""
    if not faults.active("call"):
        return None
    rule = faults.strike(
        "call", None, service=service, operation=operation, caller=role, resource=resource,
        request=paths.dumps(request),
    )  # fmt: skip
    if rule is None:
        return None
    if rule.do == "delay":
        await asyncio.sleep(float(rule.options["seconds"]))
        return None
    prefix, unmodelled, throttling, status = _FAILURES[service]
    code = str(rule.options.get("code", throttling))
    name = f"{prefix}.{code}" if code in _modelled(service, operation) else unmodelled
    cause = f"{rule.options['message']} (Service: {prefix}; Status Code: {status}; Error Code: {code})"
    if rule.do == "lose_reply":
        return StateError(name, cause)
    raise StateError(name, cause)


@functools.cache
def _modelled(service: str, operation: str) -> frozenset[str]:
    import botocore.session

    model = botocore.session.Session().get_service_model({"states": "stepfunctions"}.get(service, service))
    return frozenset(shape.name for shape in model.operation_model(operation).error_shapes)


def _run_function(arn: str, event: Any, asynchronous: bool) -> Any:
    from ministack.services import lambda_svc

    record, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if not record or not config:
        raise StateError(
            "Lambda.ResourceNotFoundException",
            f"Function not found: {arn} (Service: Lambda, Status Code: 404, Request ID: {uuid.uuid4()})",
        )
    record = lambda_svc._execution_record_for_config(record, config)
    if asynchronous:
        lambda_svc.invoke_async_with_retry(record, event)
        return None
    started = time.monotonic()
    result = lambda_svc._execute_function_with_config_scope(record, event)
    lambda_svc._emit_lambda_metrics(
        config["FunctionName"],
        duration_ms=(time.monotonic() - started) * 1000,
        error=bool(result.get("error")),
        throttle=bool(result.get("throttle")),
    )
    body = result.get("body")
    if result.get("throttle"):
        raise StateError("Lambda.TooManyRequestsException", "Rate Exceeded. (Service: Lambda, Status Code: 429)")
    if result.get("error"):
        raise _function_error(body)
    return _decoded(body)


def _decoded(body: Any) -> Any:
    if isinstance(body, (str, bytes)):
        try:
            return json.loads(body)
        except ValueError:
            return body if isinstance(body, str) else body.decode(errors="replace")
    return body


def _function_error(body: Any) -> StateError:
    """An error of the function: named by its class, with Lambda's error object as the cause."""
    error = _decoded(body)
    if not isinstance(error, dict) or not error.get("errorType"):
        return StateError("Lambda.Unknown", f"The cause could not be determined: {body}")
    shown = {key: error[key] for key in ("errorMessage", "errorType", "requestId", "stackTrace") if key in error}
    return StateError(error["errorType"], paths.dumps(shown))


async def _start_execution(resource: Resource, payload: dict[str, Any], caller: Caller) -> dict[str, Any]:
    machine_arn = payload.get("StateMachineArn", "")
    if reason := roles.denial(caller.role, "states:StartExecution", machine_arn):
        cause = f"{reason} (Service: AWSStepFunctions; Status Code: 400; Error Code: AccessDeniedException)"
        raise StateError("StepFunctions.AWSStepFunctionsException", cause)
    request: dict[str, Any] = {"stateMachineArn": machine_arn}
    if "Name" in payload:
        request["name"] = payload["Name"]
    if "Input" in payload:
        given = payload["Input"]
        request["input"] = given if isinstance(given, str) else paths.dumps(given)
    lost = await _struck("states", "StartExecution", caller.role, machine_arn, request)
    try:
        child = caller.start(request)
    except ApiError as error:
        name = error.code.removesuffix("Exception") + "Exception"
        cause = f"{error.message} (Service: AWSStepFunctions; Status Code: 400; Error Code: {error.code})"
        raise StateError(f"StepFunctions.{name}", cause) from error
    if lost is not None:
        raise lost
    if resource.pattern not in {"sync", "sync:2"}:
        return {"ExecutionArn": child.arn, "StartDate": iso(child.start)} | _metadata()
    if reason := roles.denial(caller.role, "states:DescribeExecution", child.arn):
        cause = f"{reason} (Service: AWSStepFunctions; Status Code: 400; Error Code: AccessDeniedException)"
        raise StateError("StepFunctions.AWSStepFunctionsException", cause)
    await _ended(child, caller)
    described = _nested_result(child)
    if child.status != "SUCCEEDED":
        raise StateError("States.TaskFailed", paths.dumps(described))
    if resource.pattern == "sync:2":
        described["Output"] = json.loads(described["Output"])
        described["Input"] = json.loads(described["Input"])
    return described


async def _ended(child: Execution, caller: Caller) -> None:
    if child.status != "RUNNING":
        return
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    child.waiters.append(waiter)
    try:
        await waiter
    except asyncio.CancelledError:
        # The caller was stopped or timed out: what it waits for is stopped with it, if the role may.
        if roles.denial(caller.role, "states:StopExecution", child.arn) is None:
            caller.stop(child)
        raise


def _nested_result(child: Execution) -> dict[str, Any]:
    described = {key[0].upper() + key[1:]: value for key, value in child.describe().items()}
    for key in ("StartDate", "StopDate", "RedriveDate"):
        if key in described:
            described[key] = round(described[key] * 1000)
    for key in ("InputDetails", "OutputDetails"):
        if key in described:
            described[key] = {"Included": True}
    return described


def _optimised_call(resource: Resource, payload: dict[str, Any], caller: Caller) -> dict[str, Any]:
    service, prefix, unmodelled, _ = _OPTIMISED[resource.service]
    request = dict(payload)
    if resource.service == "sqs" and not isinstance(request.get("MessageBody", ""), str):
        request["MessageBody"] = paths.dumps(request["MessageBody"])
    if resource.service == "sns" and not isinstance(request.get("Message", ""), str):
        request["Message"] = paths.dumps(request["Message"])
    if resource.service == "events":
        request["Entries"] = [
            {**each, "Detail": each["Detail"] if isinstance(each.get("Detail"), str) else paths.dumps(each["Detail"])}
            for each in request.get("Entries", [])
        ]
    answer = _boto_call(service, resource.action, request, caller, prefix, unmodelled)
    if resource.service == "events" and answer.get("FailedEntryCount"):
        raise StateError("EventBridge.FailedEntry", paths.dumps(answer))
    return answer | _metadata()


def _sdk_call(resource: Resource, payload: dict[str, Any], caller: Caller) -> dict[str, Any]:
    service, prefix = _SDK_NAMES.get(resource.service, (resource.service, resource.service.capitalize()))
    return _boto_call(service, resource.action, payload, caller, prefix, f"{prefix}Exception")


def _boto_call(
    service: str, action: str, payload: dict[str, Any], caller: Caller, prefix: str, unmodelled: str
) -> dict[str, Any]:
    """Call a service as the role. Members are written with a capital first letter in states, whatever the API's."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = roles.client(service, caller.role, caller.region)
    operation = action[0].upper() + action[1:]
    try:
        shape = client.meta.service_model.operation_model(operation)
    except Exception as error:
        raise StateError("States.Runtime", f"The operation {operation} does not exist in {service}: {error}") from error
    method = {api: name for name, api in client.meta.method_to_api_mapping.items()}[operation]
    try:
        answer = getattr(client, method)(**_to_api(payload, shape.input_shape))
    except ClientError as error:
        code = error.response["Error"]["Code"].rsplit("#", 1)[-1].rsplit(".", 1)[-1]
        modelled = {each.name for each in shape.error_shapes} | {each.error_code for each in shape.error_shapes}
        name = (code if code.endswith("Exception") else f"{code}Exception") if code in modelled else unmodelled
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        message = error.response["Error"].get("Message", "")
        cause = f"{message} (Service: {prefix}, Status Code: {status}, Error Code: {code})"
        raise StateError(f"{prefix}.{name}", cause) from error
    except BotoCoreError as error:
        raise StateError("States.Runtime", str(error)) from error
    answer.pop("ResponseMetadata", None)
    shown: dict[str, Any] = _from_api(answer, shape.output_shape)
    return shown


def _to_api(value: Any, shape: Any) -> Any:
    kind = getattr(shape, "type_name", None)
    if kind == "structure" and isinstance(value, dict):
        members = {name[0].upper() + name[1:]: name for name in shape.members}
        return {
            members.get(key, key): _to_api(each, shape.members[members[key]] if key in members else None)
            for key, each in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [_to_api(each, shape.member) for each in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _to_api(each, shape.value) for key, each in value.items()}
    return value


def _from_api(value: Any, shape: Any) -> Any:
    kind = getattr(shape, "type_name", None)
    if kind == "structure" and isinstance(value, dict):
        return {name[0].upper() + name[1:]: _from_api(each, shape.members.get(name)) for name, each in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_from_api(each, shape.member) for each in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _from_api(each, shape.value) for key, each in value.items()}
    if isinstance(value, dt.datetime):
        return iso(value.timestamp())
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode(errors="replace")
    return value
