"""Sizes, ranges and roles that AWS checks when it is asked, and ministack does not.

Sources: the quotas pages https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html,
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html and object-keys.html, UsingMetadata.html,
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html, setting-up.html (execution role); the API
references of the operations, and botocore's shapes for codes and statuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local_aws import iam
from local_aws.calls import Call
from local_aws.gate import Refusal, refuses

# Lambda

SYNCHRONOUS_BYTES: Final = 6_291_456
ASYNCHRONOUS_BYTES: Final = 1_048_576
ENVIRONMENT_BYTES: Final = 4_096
LONGEST_SECONDS: Final = 900

#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Defined runtime environment variables".
RESERVED_VARIABLES: Final = frozenset(
    {
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
    }
)  # fmt: skip

_FUNCTIONS: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions(?:/(?P<name>[^/]+)/configuration)?/?")
_INVOCATIONS: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions/[^/]+/invocations")
_MAPPINGS: Final = re.compile(r"/\d{4}-\d\d-\d\d/event-source-mappings/?")


@refuses("lambda")
def _function(call: Call) -> Refusal | None:
    """CreateFunction and UpdateFunctionConfiguration: environment, timeout, the role's trust."""
    match = _FUNCTIONS.fullmatch(call.path)
    if match is None or (call.method, bool(match["name"])) not in {("POST", False), ("PUT", True)}:
        return None
    body = call.json()
    return _environment(body) or _timeout(body) or _execution_role(body) or _network(body)


def _invalid(message: str) -> Refusal:
    return Refusal("InvalidParameterValueException", message)


def _environment(body: Mapping[str, Any]) -> Refusal | None:
    variables = (body.get("Environment") or {}).get("Variables") or {}
    reserved = sorted(RESERVED_VARIABLES & variables.keys())
    if reserved:
        return _invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > ENVIRONMENT_BYTES:
        return _invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    return None


def _timeout(body: Mapping[str, Any]) -> Refusal | None:
    seconds = body.get("Timeout")
    if isinstance(seconds, int) and not 1 <= seconds <= LONGEST_SECONDS:
        return Refusal(
            "ValidationException",
            f"1 validation error detected: Value '{seconds}' at 'timeout' failed to satisfy constraint: Member must "
            f"have value less than or equal to {LONGEST_SECONDS}",
        )
    return None


def _execution_role(body: Mapping[str, Any]) -> Refusal | None:
    role = body.get("Role")
    if role and iam.role_exists(role):
        try:
            iam.assume(role, "lambda.amazonaws.com")
        except iam.AccessDeniedError:
            return _invalid("The role defined for the function cannot be assumed by Lambda.")
    return None


def _network(body: Mapping[str, Any]) -> Refusal | None:
    """In a VPC the role must be able to make network interfaces, and the subnets and groups must be there.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, "Required IAM permissions"."""
    vpc = body.get("VpcConfig") or {}
    if not vpc.get("SubnetIds"):
        return None
    from ministack.services import ec2

    for subnet in vpc["SubnetIds"]:
        if subnet not in ec2._subnets:
            return _invalid(
                "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: "
                f"The subnet ID '{subnet}' does not exist"
            )
    for group in vpc.get("SecurityGroupIds") or []:
        if group not in ec2._security_groups:
            return _invalid(
                "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error "
                f"Message: The security group '{group}' does not exist"
            )
    role = str(body.get("Role") or "")
    for action in ("CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface") if role else ():
        try:
            iam.authorize(role, f"ec2:{action}", "*")
        except iam.AccessDeniedError:
            return _invalid(f"The provided execution role does not have permissions to call {action} on EC2")
    return None


@refuses("lambda")
def _invocation(call: Call) -> Refusal | None:
    """A request of Invoke is at most 6 MB, of an asynchronous one 1 MB."""
    if call.method != "POST" or not _INVOCATIONS.fullmatch(call.path):
        return None
    event = call.headers.get("x-amz-invocation-type", "").lower() == "event"
    limit = ASYNCHRONOUS_BYTES if event else SYNCHRONOUS_BYTES
    if len(call.body) <= limit:
        return None
    message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
    return Refusal("RequestTooLargeException", message, 413)


@refuses("lambda")
def _event_source(call: Call) -> Refusal | None:
    """CreateEventSourceMapping of a queue: the function's role must be able to read it, the numbers must fit."""
    if call.method != "POST" or not _MAPPINGS.fullmatch(call.path):
        return None
    body = call.json()
    source = str(body.get("EventSourceArn", ""))
    if not source.startswith("arn:aws:sqs:"):
        return None
    if int(body.get("BatchSize") or 10) > 10 and not body.get("MaximumBatchingWindowInSeconds"):
        return _invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    from ministack.services import lambda_svc, sqs

    name, qualifier, _ = lambda_svc._resolve_existing_esm_function(str(body.get("FunctionName", "")))
    function, config = lambda_svc._get_func_record_for_qualifier(name, qualifier)
    queue = sqs._queue_by_arn(source)
    if function is None or queue is None:
        return None
    for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
        try:
            iam.authorize(config["Role"], f"sqs:{action}", source)
        except iam.AccessDeniedError:
            return _invalid(f"The provided execution role does not have permissions to call {action} on SQS")
    visibility = int(queue["attributes"].get("VisibilityTimeout", 30))
    if visibility < int(config.get("Timeout", 3)):
        return _invalid(
            f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {config['Timeout']} seconds"
        )
    return None


# EventBridge

EVENT_BYTES: Final = 1_048_576


@refuses("events", "PutEvents")
def _events(call: Call) -> Refusal | None:
    """A request of PutEvents is at most 1 MB, all entries together.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html, "Calculating event entry size"."""
    entries = [entry for entry in call.json().get("Entries") or [] if isinstance(entry, dict)]
    if sum(map(_event_bytes, entries)) > EVENT_BYTES:
        return Refusal("ValidationException", "Total size of the entries in the request is over the limit.")
    return None


@refuses("events", "PutRule")
def _rule(call: Call) -> Refusal | None:
    body = call.json()
    if not body.get("EventPattern") and not body.get("ScheduleExpression"):
        return Refusal("ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.")
    return None


def _event_bytes(entry: Mapping[str, Any]) -> int:
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")]
    size = sum(len(str(text).encode()) for text in [*texts, *(entry.get("Resources") or [])])
    return size + (14 if entry.get("Time") is not None else 0)


# SQS

LONGEST_DELAY: Final = 900
MOST_ATTRIBUTES: Final = 10
LONGEST_POLL: Final = 20


@refuses("sqs", "SendMessage", "SendMessageBatch")
def _message(call: Call) -> Refusal | None:
    body = call.json()
    entries = [body] if call.operation() == "SendMessage" else body.get("Entries") or []
    for entry in entries:
        if isinstance(entry, dict) and (problem := next(_message_problems(entry), None)):
            return Refusal("InvalidParameterValue", problem)
    return None


def _message_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    delay = entry.get("DelaySeconds")
    if delay is not None and not 0 <= int(delay) <= LONGEST_DELAY:
        yield (
            f"Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= "
            f"{LONGEST_DELAY}."
        )
    attributes = entry.get("MessageAttributes") or {}
    if len(attributes) > MOST_ATTRIBUTES:
        yield f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MOST_ATTRIBUTES}]."
    for name, attribute in attributes.items():
        kind = str(attribute.get("DataType", "")).partition(".")[0]
        value = attribute.get("BinaryValue" if kind == "Binary" else "StringValue")
        if not value:
            yield f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."


@refuses("sqs", "ReceiveMessage")
def _poll(call: Call) -> Refusal | None:
    seconds = call.json().get("WaitTimeSeconds")
    if seconds is not None and not 0 <= int(seconds) <= LONGEST_POLL:
        return Refusal(
            "InvalidParameterValue",
            f"Value {seconds} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= {LONGEST_POLL}, "
            "if provided.",
        )
    return None


# S3

KEY_BYTES: Final = 1_024
METADATA_BYTES: Final = 2_048
SMALLEST_PART: Final = 5_242_880
MOST_DELETED: Final = 1_000


@refuses("s3")
def _object_key(call: Call) -> Refusal | None:
    from urllib.parse import unquote

    key = unquote(call.path.lstrip("/").partition("/")[2])
    size = len(key.encode())
    return Refusal("KeyTooLongError", "Your key is too long") if size > KEY_BYTES else None


@refuses("s3")
def _object_metadata(call: Call) -> Refusal | None:
    if call.method not in ("PUT", "POST"):
        return None
    prefix = "x-amz-meta-"
    size = sum(
        len(name.removeprefix(prefix).encode()) + len(value.encode())
        for name, value in call.headers.items()
        if name.startswith(prefix)
    )
    if size > METADATA_BYTES:
        return Refusal("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
    return None


@refuses("s3")
def _parts(call: Call) -> Refusal | None:
    """CompleteMultipartUpload: every part but the last has at least 5 MiB."""
    if call.method != "POST" or not (upload := call.first("uploadId")):
        return None
    from ministack.services import s3

    parts = (s3._multipart_uploads.get(upload) or {}).get("parts") or {}
    numbers = sorted({int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*<", call.body)})
    for number in numbers[:-1]:
        part = parts.get(number)
        if part is not None and len(part["body"]) < SMALLEST_PART:
            return Refusal("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    return None


@refuses("s3")
def _delete_many(call: Call) -> Refusal | None:
    if call.method == "POST" and "delete" in call.query and call.body.count(b"<Object>") > MOST_DELETED:
        return Refusal(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    return None


# Scheduler

_SCHEDULE_PATH: Final = re.compile(r"/schedules/[^/]+")
_AT: Final = re.compile(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?\)")


@refuses("scheduler")
def _schedule(call: Call) -> Refusal | None:
    """CreateSchedule and UpdateSchedule: an expression that can be read, a role that lets Scheduler in."""
    if call.method not in ("POST", "PUT") or not _SCHEDULE_PATH.fullmatch(call.path):
        return None
    body = call.json()
    expression = str(body.get("ScheduleExpression", ""))
    if expression and not _readable(expression):
        return Refusal("ValidationException", f"Invalid Schedule Expression {expression}.")
    role = str((body.get("Target") or {}).get("RoleArn") or "")
    if role:
        try:
            iam.assume(
                role, "scheduler.amazonaws.com", schedule_source(body.get("GroupName"), call.region, call.account)
            )
        except iam.AccessDeniedError:
            return Refusal(
                "ValidationException",
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
            )
    return None


def schedule_source(group: str | None, region: str, account: str) -> dict[str, object]:
    """How Scheduler comes to a role: for the account, and for the schedule's group.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html"""
    arn = f"arn:aws:scheduler:{region}:{account}:schedule-group/{group or 'default'}"
    return {"aws:SourceAccount": account, "aws:SourceArn": arn}


def _readable(expression: str) -> bool:
    from ministack.services import eventbridge

    return bool(
        _AT.fullmatch(expression)
        or eventbridge._parse_rate_seconds(expression) is not None
        or eventbridge._parse_cron_fields(expression) is not None
    )


# Systems Manager

STANDARD_PARAMETER_BYTES: Final = 4_096


@refuses("ssm", "PutParameter")
def _parameter(call: Call) -> Refusal | None:
    body = call.json()
    tier = body.get("Tier") or "Standard"
    if tier == "Standard" and len(str(body.get("Value", "")).encode()) > STANDARD_PARAMETER_BYTES:
        return Refusal(
            "ValidationException",
            f"Standard tier parameters support a maximum parameter value of {STANDARD_PARAMETER_BYTES} characters. To "
            "create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.",
        )
    return None
