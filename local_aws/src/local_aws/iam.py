"""IAM: the actions and resources that AWS checks for a request, and the wording of a denial.

Ministack enforces identity policies, boundaries and resource policies for requests to its services. This module adds
what it does not know: which actions and resources some requests need, connections over loopback that count as TLS,
the resource in every denial; and `authorize`, by which other extensions ask for a role that acts inside the process
(a state machine's role, the role of a batch job).

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/ (Bedrock, DynamoDB, SQS, Step Functions, Service
Quotas), https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-permissions.html.
"""

from __future__ import annotations

import contextvars
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions, iam_evaluator, responses

from local_aws import seams
from local_aws.calls import Call

_ACTIONS = "ministack.core.iam_actions"
_EVALUATOR = "ministack.core.iam_evaluator"


class AccessDeniedError(Exception):
    """A role may not do what was asked. The text is AWS's own wording; `code` is the error code of most services."""

    code = "AccessDeniedException"


def authorize(
    role_arn: str,
    action: str,
    resource_arn: str,
    context: Mapping[str, object] | None = None,
    *,
    session: str = "session",
    region: str = "us-east-1",
) -> None:
    """Return when a role may do `action` ("s3:GetObject") on `resource_arn` ("*" for none), else raise
    AccessDeniedError.

    `context` holds condition keys of the request (`{"iam:PassedToService": "bedrock.amazonaws.com"}`), in any letter
    case. The role's identity policies, its permissions boundary and the resource's own policy are evaluated. `session`
    names the role session in the message. A role that does not exist may do nothing.
    """
    account, name = _role(role_arn)
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
    asked = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource_arn,
        region=region,
        service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in (context or {}).items()}},
    )
    with _account(account):
        from ministack.services import iam

        policies = iam_evaluator._gather_role_policies(name, account)
        limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
        result = iam_evaluator.evaluate(asked, policies, *limits)
        service = action.partition(":")[0]
        found = iam_evaluator._resource_policy(service, resource_arn)
        if found is not None:
            required = service in iam_evaluator._POLICY_REQUIRED
            result = iam_evaluator.combine_resource_policy(result, asked, *found, required=required, limits=limits)
        if result.decision == "Allow":
            _note(principal, action, resource_arn)
            return
        reason = _reason(result, asked, policies, limits)
    raise AccessDeniedError(_denial(principal, action, resource_arn, reason))


def assume(role_arn: str, service: str, context: Mapping[str, object] | None = None) -> None:
    """Return when a role exists and its trust policy lets the service principal assume it, else raise
    AccessDeniedError.

    `service` as in "bedrock.amazonaws.com"; `context` holds condition keys such as `aws:SourceAccount` and
    `aws:SourceArn`. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    account, name = _role(role_arn)
    with _account(account):
        from ministack.services import iam

        role = iam._roles.get_scoped(account, None, name)
        document = (role or {}).get("AssumeRolePolicyDocument") or {}
        asked = iam_evaluator.EvalContext(
            principal_arn=service,
            principal_type="Service",
            principal_account=account,
            action="sts:AssumeRole",
            resource_arn=role_arn,
            region="us-east-1",
            service_context={key.lower(): value for key, value in (context or {}).items()},
        )
        trusting = [statement for statement in _statements(document) if _trusts(statement, service)]
        statements = iam_evaluator.parse_policy_document({"Statement": trusting})
        if iam_evaluator.evaluate(asked, [statements]).decision == "Allow":
            return
    raise AccessDeniedError(f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")


def service_may(service: str, action: str, resource_arn: str, context: Mapping[str, object] | None = None) -> bool:
    """Whether the resource's own policy lets an AWS service in: nothing else gives a service rights.

    `service` as in "events.amazonaws.com". A resource without a policy, or that is not there, lets nobody in.
    """
    asked = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=responses.get_account_id(),
        action=action,
        resource_arn=resource_arn,
        region=responses.get_region(),
        service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in (context or {}).items()}},
    )
    found = iam_evaluator._resource_policy(action.partition(":")[0], resource_arn)
    document = found[0] if found else None
    if not document:
        return False
    return bool(iam_evaluator.evaluate_resource_policy(document, asked, service=service).decision == "Allow")


def resource_of(call: Call) -> str:
    """The ARN of the resource that a request is about, as ministack reads it."""
    arn: str = seams.original(_ACTIONS, "extract_resource_arn")(
        call.service, call.method, call.path, call.headers, call.body, call.query, call.region, call.account
    )
    return arn


def statements_of(call: Call) -> tuple[Check, ...]:
    """What the PartiQL statements of a request need; none for other requests."""
    return tuple(_dynamodb(call))


def role_exists(role_arn: str) -> bool:
    """Whether the account has the role; False for what is no role's ARN."""
    try:
        account, name = _role(role_arn)
    except AccessDeniedError:
        return False
    with _account(account):
        from ministack.services import iam

        return iam._roles.get_scoped(account, None, name) is not None


#: What roles were allowed since the start: (role's name, action, resource). Bounded, for a process that runs for days.
_used: set[tuple[str, str, str]] = set()
_callers: dict[str, str] = {}
_MOST_USED = 200_000


def _note_caller(access_key_id: str, action: str, resource: str) -> None:
    if access_key_id not in _callers:
        principal = iam_evaluator.resolve_principal(access_key_id or "", responses.get_account_id())
        _callers[access_key_id] = "" if isinstance(principal, iam_evaluator.AuthError) else principal.arn
    _note(_callers[access_key_id], action, resource)


def _note(principal_arn: str, action: str, resource: str) -> None:
    if ":assumed-role/" in principal_arn and len(_used) < _MOST_USED:
        _used.add((principal_arn.split("/")[1], action, resource))


@dataclass(frozen=True)
class Check:
    """One permission that a request needs: the action on one of `resources`."""

    action: str
    resources: tuple[str, ...]
    context: Mapping[str, object] = field(default_factory=dict)


#: service → what a request needs besides the right to the action itself; other extensions add theirs.
NEEDS: dict[str, Callable[[Call], Iterator[Check]]] = {}

# What the running request needs beyond ministack's own reading of it, and the check that failed.
_needed: contextvars.ContextVar[tuple[Check, ...]] = contextvars.ContextVar("local_aws_checks", default=())
# What it needs besides, once its first question is answered.
_besides: contextvars.ContextVar[tuple[Check, ...]] = contextvars.ContextVar("local_aws_besides", default=())
_failed: contextvars.ContextVar[tuple[str, str, str] | None] = contextvars.ContextVar("local_aws_failed", default=None)


def install() -> None:
    """Make services known that ministack has no actions for."""
    iam_actions.SERVICE_TO_IAM_NAMESPACE.setdefault("servicequotas", "servicequotas")


@seams.replaces(
    _ACTIONS, "extract_iam_action", sha256="ec476b92d969822b69c5b51b7c86cbc85794d3126a2f4c15f70f5444851cd5a6"
)
def extract_iam_action(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> str | None:
    """The first action that a request needs; the rest of its checks are kept for `enforce`."""
    region, account = responses.get_region(), responses.get_account_id()
    call = Call(service, method, path, headers, body, query_params, region, account)
    checks = tuple(_checks(call))
    _needed.set(checks)
    _besides.set(tuple(NEEDS[service](call)) if service in NEEDS else ())
    if checks:
        return checks[0].action
    action: str | None = seams.original(_ACTIONS, "extract_iam_action")(
        service, method, path, headers, body, query_params
    )
    return action


@seams.replaces(
    _ACTIONS, "extract_resource_arn", sha256="82f51700695c62fdca72583e1c264cc146fc22d5aa0a5faebabc3aa0a798f2e9"
)
def extract_resource_arn(
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query_params: dict[str, Any],
    region: str,
    account_id: str,
) -> str:
    """The resource of a request's first check."""
    checks = tuple(_checks(Call(service, method, path, headers, body, query_params, region, account_id)))
    if checks:
        return checks[0].resources[0]
    resource: str = seams.original(_ACTIONS, "extract_resource_arn")(
        service, method, path, headers, body, query_params, region, account_id
    )
    return resource


@seams.replaces(_EVALUATOR, "enforce", sha256="cf64b1ee5b099c8f705e919a43bd7b354e4772f150edb89f8218c930b8550c8c")
def enforce(
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """None when the caller may do all that the request needs, else the first refusal, kept for its message."""
    stock = seams.original(_EVALUATOR, "enforce")
    checks = _needed.get()
    if not checks or checks[0].action != iam_action:
        checks = (Check(iam_action, (resource_arn,)),)
    # Handlers may ask again for a resource of their own: only the request's first question stands for all its needs.
    _needed.set(())
    _failed.set(None)
    # What keys ask for comes with the first question.
    checks, _ = (*checks, *_besides.get()), _besides.set(())
    for check in checks:
        name = service if check is checks[0] else check.action.partition(":")[0]
        context = {**(service_context or {}), **check.context}
        refusals = []
        for resource in check.resources:
            denied = stock(access_key_id, check.action, name, region, resource_arn=resource, service_context=context)
            if denied is None:
                _note_caller(access_key_id, check.action, resource)
                break
            refusals.append(denied)
        else:
            denied = refusals[0]
            if isinstance(denied, iam_evaluator.EvalResult):
                reason = _caller_reason(denied, access_key_id, check, region, context)
                _failed.set((check.action, check.resources[0], reason))
            return denied
    return None


@seams.replaces(
    _ACTIONS, "access_denied_response", sha256="3cc2e315f91f45daeb6160cb1c8250291fde007fa3e721acf72c8159838589a8"
)
def access_denied_response(
    service: str,
    action: str,
    principal_arn: str,
    request_id: str,
    *,
    error_code: str = "",
    message: str = "",
    headers: dict[str, str] | None = None,
    resource_arn: str = "*",
    explicit_deny: bool = False,
    resource_policy_arn: str = "",
) -> Any:
    """A denial in the service's protocol, its message naming action, resource and reason as AWS does.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    failed, by_resource = _failed.get(), explicit_deny and resource_policy_arn
    if failed is not None and not error_code:
        action, resource_arn, reason = failed
        if not message and not by_resource:
            # S3 alone quotes the resource.
            shown = f'"{resource_arn}"' if service == "s3" and action.startswith("s3:") else resource_arn
            message = _denial(principal_arn, action, shown, reason)
        if action.startswith("kms:"):
            return _denied_by_kms(service, message or _denial(principal_arn, action, resource_arn, reason), headers)
    return seams.original(_ACTIONS, "access_denied_response")(
        service,
        action,
        principal_arn,
        request_id,
        error_code=error_code,
        message=message,
        headers=headers,
        resource_arn=resource_arn,
        explicit_deny=explicit_deny,
        resource_policy_arn=resource_policy_arn,
    )


def _denied_by_kms(service: str, message: str, headers: dict[str, str] | None) -> Any:
    """A denial by a key, in the words of the service that asked KMS: the error codes of SQS's API model, DynamoDB's
    answer as aws/aws-cdk issue 10010 shows it."""
    code, status = {"sqs": ("KMS.AccessDeniedException", 400), "s3": ("AccessDenied", 403)}.get(
        service, ("AccessDeniedException", 400)
    )
    if service == "dynamodb":
        message = f"KMS key access denied error: {message}"
    _, answer_headers, body = seams.original(_ACTIONS, "access_denied_response")(
        service, "", "", str(uuid.uuid4()), error_code=code, message=message, headers=headers
    )
    return status, answer_headers, body


@seams.replaces(
    _EVALUATOR, "_resolve_condition_key", sha256="15e26964cd38f32c421942a5542a689cb51b63a4e8f746932323a9aeb1caba0c"
)
def resolve_condition_key(key: str, context: Any) -> Any:
    """A condition key's value; `aws:SecureTransport` is true, since nothing but this machine reaches the port.

    Without it every bucket or queue policy that refuses plain HTTP, as AWS recommends, would refuse all local calls.
    """
    if key.lower() == "aws:securetransport":
        return "true"
    return seams.original(_EVALUATOR, "_resolve_condition_key")(key, context)


#: Request header → condition key. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ENCRYPTION_KEYS = {
    "x-amz-server-side-encryption-aws-kms-key-id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
}


@seams.replaces(
    _ACTIONS, "s3_service_context", sha256="83e53d14d02c3a916deffcd06258848ee893d7e6110c8110484ae5a8c00ddc69"
)
def s3_service_context(
    iam_action: str, query_params: dict[str, Any] | None, path: str = "", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """The S3 condition keys of a request; those of a write also name its key, S3's or the caller's own."""
    context: dict[str, Any] = seams.original(_ACTIONS, "s3_service_context")(iam_action, query_params, path, headers)
    if iam_action == "s3:PutObject" and "uploadId" not in (query_params or {}):
        for header, key in _ENCRYPTION_KEYS.items():
            if value := (headers or {}).get(header):
                context[key] = value
    return context


def _checks(request: Call) -> Iterator[Check]:
    """What a request needs, where ministack reads it otherwise than AWS; nothing for all other requests."""
    reader = _READERS.get(request.service)
    if reader is not None:
        yield from reader(request)


_RUNTIME_PATH = re.compile(r"/model/(?P<model>.+)/(?P<call>[a-z-]+)")
_RUNTIME_ACTIONS = {
    "converse": "InvokeModel",
    "invoke": "InvokeModel",
    "converse-stream": "InvokeModelWithResponseStream",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
    "count-tokens": "CountTokens",
}


def _bedrock_runtime(request: Call) -> Iterator[Check]:
    """Converse has no action of its own: it needs InvokeModel, on the profile and on every model behind it."""
    match = _RUNTIME_PATH.fullmatch(request.path)
    action = _RUNTIME_ACTIONS.get(match["call"]) if match else None
    if match and action:
        yield from _on_model(f"bedrock:{action}", match["model"], request)


def _on_model(action: str, identifier: str, request: Call) -> Iterator[Check]:
    profile, models = _route(identifier, request)
    if profile:
        yield Check(action, (profile,))
    context = {"bedrock:InferenceProfileArn": profile} if profile else {}
    for arn in models:
        yield Check(action, (arn,), context)


def _route(identifier: str, request: Call) -> tuple[str | None, tuple[str, ...]]:
    """The inference profile's ARN, if a model identifier names one, and the ARNs of the models behind it."""
    from local_aws.bedrock import models, wire

    try:
        route = models.resolve(identifier, request.region, request.account)
    except wire.AwsError:
        arn = identifier
        if not identifier.startswith("arn:"):
            arn = f"arn:aws:bedrock:{request.region}::foundation-model/{identifier}"
        return None, (arn,)
    return route.profile_arn, route.model_arns


_JOB_PATH = re.compile(r"/model-invocation-job/(?P<job>.+?)(?P<stop>/stop)?")


def _bedrock(request: Call) -> Iterator[Check]:
    jobs = f"arn:aws:bedrock:{request.region}:{request.account}:model-invocation-job"
    if request.method == "POST" and request.path == "/model-invocation-job":
        yield from _on_model("bedrock:CreateModelInvocationJob", request.text("modelId"), request)
        yield Check("bedrock:CreateModelInvocationJob", (f"{jobs}/*",))
        if request.json().get("tags"):
            yield Check("bedrock:TagResource", (f"{jobs}/*",))
        passed = {"iam:PassedToService": "bedrock.amazonaws.com"}
        yield Check("iam:PassRole", (request.text("roleArn") or "*",), passed)
    elif match := _JOB_PATH.fullmatch(request.path):
        job = unquote(match["job"])
        action = "StopModelInvocationJob" if match["stop"] else "GetModelInvocationJob"
        yield Check(f"bedrock:{action}", (job if job.startswith("arn:") else f"{jobs}/{job}",))


# The statement's verb, and the table (a quoted name or ARN, perhaps with an index behind a dot).
_STATEMENT = re.compile(
    r"""\s*(?:(?P<insert>INSERT\s+INTO)|(?P<update>UPDATE)|(?P<delete>DELETE\s+FROM)|(?P<select>(?:EXISTS\s*\(\s*)?SELECT\b.*?\bFROM))
    \s+(?:"(?P<quoted>[^"]+)"|(?P<plain>[A-Za-z0-9_.-]+))(?:\s*\.\s*(?:"(?P<index>[^"]+)"))?""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_PARTIQL_OPERATIONS = {
    "ExecuteStatement": "",
    "BatchExecuteStatement": "Statements",
    "ExecuteTransaction": "TransactStatements",
}


def _dynamodb(request: Call) -> Iterator[Check]:
    """PartiQL statements need dynamodb:PartiQLInsert, Select, Update or Delete on the table that each one names."""
    member = _PARTIQL_OPERATIONS.get(request.operation())
    if member is None:
        return
    body = request.json()
    entries = [body] if not member else body.get(member)
    needed: dict[tuple[str, str], None] = {}
    for entry in entries if isinstance(entries, list) else []:
        match = _STATEMENT.match(str(entry.get("Statement", ""))) if isinstance(entry, dict) else None
        if match is None:
            # The service itself refuses the statement; nobody may use that to do anything.
            needed["dynamodb:PartiQLSelect", "*"] = None
            continue
        verb = next(name for name in ("insert", "update", "delete", "select") if match[name])
        table = iam_actions._dynamodb_table_arn(match["quoted"] or match["plain"], request.region, request.account)
        index = f"/index/{match['index']}" if match["index"] else ""
        needed[f"dynamodb:PartiQL{verb.capitalize()}", f"{table}{index}"] = None
    for action, resource in needed:
        yield Check(action, (resource,))


_PLAIN_READ = re.compile(r"x-id|response-.*")


def _s3(request: Call) -> Iterator[Check]:
    """Reading an object that is not there needs s3:ListBucket too, else the answer is 403 instead of 404.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, section Permissions. The request carries no
    s3:prefix: a right to list that is held to a prefix does not help.
    """
    bucket, _, key = request.path.lstrip("/").partition("/")
    plain = all(_PLAIN_READ.fullmatch(name) for name in request.query)
    if request.method not in ("GET", "HEAD") or not key or not plain:
        return
    from ministack.services import s3

    record = s3._buckets.get(bucket)
    if record is not None and key not in record["objects"]:
        yield Check("s3:GetObject", (f"arn:aws:s3:::{bucket}/{key}",))
        yield Check("s3:ListBucket", (f"arn:aws:s3:::{bucket}",))


_SQS_ACTION_OF = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}


def _sqs(request: Call) -> Iterator[Check]:
    """Batch calls need the single call's action; moving messages needs the rights to receive, delete and send them."""
    operation = request.operation()
    if operation in _SQS_ACTION_OF:
        yield Check(f"sqs:{_SQS_ACTION_OF[operation]}", (resource_of(request),))
    elif operation in ("StartMessageMoveTask", "ListMessageMoveTasks"):
        source = request.text("SourceArn") or "*"
        yield Check(f"sqs:{operation}", (source,))
        if operation == "StartMessageMoveTask":
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
                yield Check(f"sqs:{action}", (source,))
            if destination := request.text("DestinationArn"):
                yield Check("sqs:SendMessage", (destination,))
    elif operation == "CancelMessageMoveTask":
        from local_aws import sqs

        yield Check("sqs:CancelMessageMoveTask", (sqs.source_of(request.text("TaskHandle")) or "*",))


def _states(request: Call) -> Iterator[Check]:
    """An answer to a task token is authorised on the state machine whose execution waits for it, a look at a Map Run on
    that.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
    """
    operation = request.operation()
    if operation in ("DescribeMapRun", "UpdateMapRun", "ListExecutions") and (map_run := request.text("mapRunArn")):
        yield Check(f"states:{operation}", (map_run,))
        return
    if operation not in ("SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat"):
        return
    from local_aws.stepfunctions import tokens

    owner = tokens.machine_of(request.text("taskToken"))
    resources: tuple[str, ...] = (owner,) if owner else ("*", *_state_machines())
    yield Check(f"states:{operation}", resources)


def _state_machines() -> tuple[str, ...]:
    """Every state machine of the account: for a token that is no longer known, a right on any of them will do."""
    from ministack.services import stepfunctions

    return tuple(stepfunctions._state_machines)


def _servicequotas(request: Call) -> Iterator[Check]:
    """Only GetServiceQuota (and the request for an increase) knows a resource; the lists need `*`."""
    operation = request.operation()
    if operation in ("GetServiceQuota", "RequestServiceQuotaIncrease"):
        quota = f"{request.text('ServiceCode')}/{request.text('QuotaCode')}"
        yield Check(
            f"servicequotas:{operation}", (f"arn:aws:servicequotas:{request.region}:{request.account}:{quota}",)
        )
    elif operation:
        yield Check(f"servicequotas:{operation}", ("*",))


_READERS: dict[str, Callable[[Call], Iterator[Check]]] = {
    "bedrock": _bedrock,
    "bedrock-runtime": _bedrock_runtime,
    "dynamodb": _dynamodb,
    "s3": _s3,
    "servicequotas": _servicequotas,
    "sqs": _sqs,
    "states": _states,
}


def _denial(principal: str, action: str, resource: str, reason: str) -> str:
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"


def _reason(result: Any, asked: Any, policies: Any, limits: Any) -> str:
    """Why: an explicit deny and where it stands, or the kind of policy that allows nothing."""
    if result.decision == "Deny":
        kind = "a resource-based policy" if result.resource_policy_arn else "an identity-based policy"
        return f"with an explicit deny in {kind}"
    if limits and iam_evaluator.evaluate(asked, policies).decision == "Allow":
        return f"because no permissions boundary allows the {asked.action} action"
    return f"because no identity-based policy allows the {asked.action} action"


def _caller_reason(denied: Any, access_key: str, check: Check, region: str, context: Mapping[str, Any]) -> str:
    account = responses.get_account_id()
    principal = iam_evaluator.resolve_principal(access_key or "", account)
    if isinstance(principal, iam_evaluator.AuthError):
        return f"because no identity-based policy allows the {check.action} action"
    asked = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=check.action,
        resource_arn=check.resources[0],
        region=region,
        service_context={key.lower(): value for key, value in context.items()},
        principal_keys=principal.keys,
    )
    return _reason(denied, asked, principal.policies or [], principal.limits)


def _role(role_arn: str) -> tuple[str, str]:
    """Account and name of a role ARN (the name is what follows its path). Raises AccessDeniedError for no role ARN."""
    parts = role_arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("role/"):
        raise AccessDeniedError(f"{role_arn!r} is not the ARN of a role")
    return parts[4], parts[5].rsplit("/", 1)[-1]


@contextmanager
def _account(account: str) -> Iterator[None]:
    """Look up roles and resource policies in this account: ministack's stores are scoped by the running request."""
    token = responses._request_account_id.set(account)
    try:
        yield
    finally:
        responses._request_account_id.reset(token)


def _statements(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, str):
        document = json.loads(unquote(document))
    statements = document.get("Statement") or []
    return statements if isinstance(statements, list) else [statements]


def _trusts(statement: Mapping[str, Any], service: str) -> bool:
    principal = statement.get("Principal")
    if not isinstance(principal, dict):
        return bool(principal == "*")
    services = principal.get("Service") or []
    return service in ([services] if isinstance(services, str) else services)


async def _authorize_route(query: dict[str, str], body: bytes) -> tuple[int, object]:
    """`{"role", "action", "resource"?, "context"?}` → `{"allowed", "message"?}`: a policy tried without a call."""
    asked = json.loads(body)
    try:
        authorize(asked["role"], asked["action"], asked.get("resource", "*"), asked.get("context"))
    except AccessDeniedError as denied:
        return 200, {"allowed": False, "message": str(denied)}
    return 200, {"allowed": True}


async def _assume_route(query: dict[str, str], body: bytes) -> tuple[int, object]:
    """`{"role", "service", "context"?}` → `{"allowed", "message"?}`: whether a service may assume the role."""
    asked = json.loads(body)
    try:
        assume(asked["role"], asked["service"], asked.get("context"))
    except AccessDeniedError as denied:
        return 200, {"allowed": False, "message": str(denied)}
    return 200, {"allowed": True}


async def _used_route(query: dict[str, str], body: bytes) -> tuple[int, object]:
    """What roles did since the start: `[[role's name, action, resource], …]`, each once."""
    return 200, sorted(_used)


ROUTES = {
    ("POST", "/_local/iam/authorize"): _authorize_route,
    ("POST", "/_local/iam/assume"): _assume_route,
    ("GET", "/_local/iam/used"): _used_route,
}
