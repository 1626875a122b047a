"""Service integrations: which exist, and whether their parameters fit the service's own shapes in botocore.

Parameters are the API's members with their first letter capitalised
(https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html,
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError
from botocore.model import ListShape, MapShape, OperationModel, OperationNotFoundError, Shape, StructureShape

from tests.lint.findings import Finding
from tests.lint.machines import Machine, State, states, strings

RESOURCE = re.compile(
    r"arn:[a-z-]+:states:::(?P<sdk>aws-sdk:)?(?P<service>[a-z0-9]+):(?P<action>[a-zA-Z0-9]+)"
    r"(?P<pattern>\.sync(?::2)?|\.waitForTaskToken)?"
)

OPTIMIZED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("bedrock", "invokeModel"): (".waitForTaskToken",),
    ("dynamodb", "deleteItem"): (),
    ("dynamodb", "getItem"): (),
    ("dynamodb", "putItem"): (),
    ("dynamodb", "updateItem"): (),
    ("events", "putEvents"): (".waitForTaskToken",),
    ("lambda", "invoke"): (".waitForTaskToken",),
    ("sns", "publish"): (".waitForTaskToken",),
    ("sqs", "sendMessage"): (".waitForTaskToken",),
    ("states", "startExecution"): (".sync", ".sync:2", ".waitForTaskToken"),
}
"""The optimized integrations known here and the patterns each supports besides request-response
(https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html)."""

BOTOCORE_NAMES: Mapping[str, str] = {
    "bedrockagent": "bedrock-agent",
    "bedrockruntime": "bedrock-runtime",
    "eventbridge": "events",
    "servicequotas": "service-quotas",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
}
"""Names of services in resources, where they differ from botocore's."""

ERROR_PREFIXES: Mapping[str, str] = {
    "bedrock": "Bedrock",
    "bedrockruntime": "BedrockRuntime",
    "dynamodb": "DynamoDb",
    "eventbridge": "EventBridge",
    "events": "EventBridge",
    "lambda": "Lambda",
    "s3": "S3",
    "servicequotas": "ServiceQuotas",
    "sfn": "Sfn",
    "sns": "Sns",
    "sqs": "Sqs",
    "states": "StepFunctions",
}
"""What stands before the dot of a service's errors."""

FREE = {
    ("bedrock", "Body"),
    ("events", "Detail"),
    ("lambda", "Payload"),
    ("sns", "Message"),
    ("sqs", "MessageBody"),
    ("states", "Input"),
}
"""Members that an optimized integration takes as any JSON, though the API has a string or a blob there."""

PARENT = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"


@dataclass(frozen=True)
class Resource:
    """A parsed Resource of a Task. `pattern` is "" for request-response."""

    sdk: bool
    service: str
    action: str
    pattern: str


def parse(resource: str) -> Resource | None:
    """The parts of a service integration's ARN, or None if it is not one."""
    match = RESOURCE.fullmatch(resource)
    if not match:
        return None
    return Resource(bool(match["sdk"]), match["service"], match["action"], match["pattern"] or "")


@cache
def operation(resource: Resource) -> OperationModel | None:
    """The operation's model, or None if botocore has no such service or operation."""
    service = BOTOCORE_NAMES.get(resource.service, resource.service)
    if (resource.sdk, resource.service, resource.action) == (False, "bedrock", "invokeModel"):
        service = "bedrock-runtime"
    try:
        model = botocore.session.get_session().get_service_model(service)
        return model.operation_model(resource.action[0].upper() + resource.action[1:])
    except (UnknownServiceError, OperationNotFoundError):
        return None


@cache
def error_names(resource: Resource) -> frozenset[str]:
    """Errors that a Retry or Catch may name for this call: modelled ones, throttling, and the SDK's own."""
    model = operation(resource)
    prefix = ERROR_PREFIXES.get(resource.service)
    if model is None or prefix is None:
        return frozenset()
    shapes = {shape.name for shape in model.error_shapes} | {"ThrottlingException", "SdkClientException"}
    # SDK integrations add the suffix to shapes that lack it; the optimized ones have shown both spellings.
    shapes |= {f"{name}Exception" for name in shapes if not name.endswith("Exception")}
    # What an optimized integration does not know more closely: Lambda.AWSLambdaException.
    shapes |= set() if resource.sdk else {f"AWS{prefix}Exception"}
    return frozenset(f"{prefix}.{name}" for name in shapes)


def check(machine: Machine) -> Iterator[Finding]:
    """All findings of this module."""
    for state in states(machine):
        if state.type == "Task":
            yield from check_task(machine, state)


def check_task(machine: Machine, state: State) -> Iterator[Finding]:
    """Resource, pattern, parameters, task token of one Task."""

    def finding(rule: str, message: str) -> Finding:
        return machine.finding(state.name, rule, message)

    resource = parse(str(state.body.get("Resource", "")))
    if resource is None:
        yield finding("resource", f"{state.body.get('Resource')!r} is no service integration")
        return
    model = operation(resource)
    if model is None:
        yield finding("resource", f"{resource.service} has no operation {resource.action}")
        return
    if resource.sdk:
        patterns: tuple[str, ...] = (".waitForTaskToken",)
    elif (resource.service, resource.action) in OPTIMIZED:
        patterns = OPTIMIZED[resource.service, resource.action]
    else:
        yield finding("resource", f"{resource.service}:{resource.action} is no optimized integration known here")
        return
    if resource.pattern not in ("", *patterns):
        yield finding("resource", f"{resource.service}:{resource.action} does not support {resource.pattern}")
    if resource.pattern and state.execution_type == "EXPRESS":
        yield finding("resource", f"{resource.pattern} is not possible in an EXPRESS child")
    parameters = state.body.get("Parameters", {})
    for where, message in shape_problems(resource, model.input_shape, parameters, ""):
        yield finding("parameter", f"{where}: {message}" if where else message)
    has_token = any("$$.Task.Token" in text for text in strings(parameters))
    if has_token != (resource.pattern == ".waitForTaskToken"):
        yield finding("task-token", "$$.Task.Token and .waitForTaskToken belong together")
    answers_at_length = (resource.service, resource.action) in (("lambda", "invoke"), ("states", "startExecution"))
    if answers_at_length and resource.pattern != ".waitForTaskToken" and "ResultSelector" not in state.body:
        yield finding(
            "result", "a ResultSelector keeps the call's metadata, or a child's whole output, out of the state"
        )
    if resource.service == "states" and resource.pattern.startswith(".sync"):
        sent = parameters.get("Input", {})
        linked = isinstance(sent, dict) and sent.get(f"{PARENT}.$") == "$$.Execution.Id"
        if not linked and not (parameters.get("Input.$") == "$" and _names_parent(machine)):
            yield finding("parameter", f"Input.{PARENT}.$ must be $$.Execution.Id, which links the child to its parent")


def _names_parent(machine: Machine) -> bool:
    """Whether a Pass state writes the parent's id into the input that is handed on whole."""
    return any(
        state.body.get("InputPath") == "$$.Execution.Id" and state.body.get("ResultPath") == f"$.{PARENT}"
        for state in states(machine)
        if state.type == "Pass"
    )


def shape_problems(resource: Resource, shape: Shape | None, value: Any, where: str) -> Iterator[tuple[str, str]]:
    """(where, what is wrong) of a parameter value against its shape. Values that a path provides are not known here."""
    if isinstance(shape, StructureShape):
        yield from _structure_problems(resource, shape, value, where)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield where, f"takes a list, not {value!r}"
            return
        for number, item in enumerate(value):
            yield from shape_problems(resource, shape.member, item, f"{where}[{number}]")
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            yield where, f"takes an object, not {value!r}"
            return
        for key, item in value.items():
            if not key.endswith(".$"):
                yield from shape_problems(resource, shape.value, item, f"{where}.{key}")
    elif shape is not None:
        yield from _scalar_problems(shape, value, where)


def _structure_problems(resource: Resource, shape: StructureShape, value: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield where, f"takes an object, not {value!r}"
        return
    members = {name[0].upper() + name[1:]: member for name, member in shape.members.items()}
    given = {key.removesuffix(".$") for key in value}
    for name in sorted(given - members.keys()):
        near = next((known for known in members if known.lower() == name.lower()), None)
        yield where, f"{shape.name} has no member {name}" + (f": it is spelt {near}" if near else "")
    for name in shape.required_members:
        if name[0].upper() + name[1:] not in given:
            yield where, f"{name[0].upper() + name[1:]} is required"
    for key, item in value.items():
        free = not resource.sdk and (resource.service, key) in FREE
        if key in members and not free:
            yield from shape_problems(resource, members[key], item, f"{where}.{key}".lstrip("."))


_SCALARS: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "character": (str,), "blob": (str,), "timestamp": (str,), "boolean": (bool,),
    "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float),
}  # fmt: skip


def _scalar_problems(shape: Shape, value: Any, where: str) -> Iterator[tuple[str, str]]:
    wanted = _SCALARS[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        yield where, f"takes a {shape.type_name}, not {value!r}"
        return
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        yield where, f"{value!r} is none of {', '.join(allowed)}"
