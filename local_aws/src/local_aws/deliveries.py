"""Rights behind deliveries: a service that brings something needs to be let in where it brings it, or a role that is.

EventBridge brings events to functions, queues and topics by their own policies (and the key's, for an encrypted queue),
to state machines by the target's role. Scheduler does all by the schedule's role. Lambda reads queues and sends what
failed with the function's role. What may not be delivered goes to the target's dead-letter queue, if that lets the
service in, else it is lost, as on AWS; here it is logged as a warning.

Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html, eb-rule-dlq.html,
eb-use-identity-based.html; https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html,
configuring-schedule-dlq.html;
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, invocation-async-retain-records.html.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core import responses
from ministack.core.arn import parse_arn
from ministack.services import eventbridge

from local_aws import encryption, iam, limits, seams

_EVENTS = "ministack.services.eventbridge"
_LAMBDA = "ministack.services.lambda_svc"
_logger = logging.getLogger("local_aws")

#: service of a target's ARN → what bringing something there takes.
_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "states": "states:StartExecution",
    "events": "events:PutEvents",
}


@seams.replaces(_EVENTS, "_invoke_target", sha256="550e304af08095637ed4de07798e4acc1b1f89316f91ab60d4d865f9f46c58f2")
def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Deliver to a target of a rule or a schedule if that is allowed, else to its dead-letter queue."""
    problem = _refused(str(target.get("Arn", "")), str(target.get("RoleArn") or ""), str(rule.get("Arn", "")))
    if problem is None:
        seams.original(_EVENTS, "_invoke_target")(target, event, rule, view)
        return
    _logger.warning("%s may not deliver to %s: %s", rule.get("Arn"), target.get("Arn"), problem)
    _to_dead_letters(target, event, rule, problem)


def _refused(arn: str, role: str, source: str) -> str | None:
    """Why a rule or schedule (its ARN is `source`) may not deliver to `arn`; None when it may."""
    try:
        if ":scheduler:" in source:
            group = source.rpartition(":schedule/")[2].partition("/")[0]
            told = limits.schedule_source(group, responses.get_region(), responses.get_account_id())
            _by_role(arn, role, "scheduler.amazonaws.com", told)
        elif arn.split(":")[2] in ("states", "events"):
            # A bus of the same account needs no role unless the target names one.
            if role or arn.split(":")[2] == "states":
                told = {"aws:SourceAccount": responses.get_account_id(), "aws:SourceArn": source}
                _by_role(arn, role, "events.amazonaws.com", told)
        else:
            _by_policy(arn, source)
    except iam.AccessDeniedError as denied:
        return str(denied)
    except IndexError:
        return None
    return None


def _by_role(arn: str, role: str, service: str, told: Mapping[str, object]) -> None:
    iam.assume(role, service, told)
    for action, resource, context in _needed(arn):
        iam.authorize(role, action, resource, context)


def _by_policy(arn: str, source: str) -> None:
    asked = {"aws:SourceArn": source, "aws:SourceAccount": responses.get_account_id()}
    for action, resource, context in _needed(arn):
        if not iam.service_may("events.amazonaws.com", action, resource, {**context, **asked}):
            raise iam.AccessDeniedError(
                f"events.amazonaws.com is not authorized to perform: {action} on resource: {resource}"
            )


def _needed(arn: str) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    action = _ACTIONS.get(arn.split(":")[2])
    if action is None:
        return
    yield action, arn, {}
    if action == "sqs:SendMessage":
        for check in encryption.sending(arn):
            # A service calls KMS itself: there is no kms:ViaService.
            told = {name: value for name, value in check.context.items() if name != "kms:ViaService"}
            yield check.action, check.resources[0], told


def _to_dead_letters(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], problem: str) -> None:
    from ministack.services import sqs

    queue_arn = str((target.get("DeadLetterConfig") or {}).get("Arn") or "")
    queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
    if queue is None:
        return
    refused = _refused(queue_arn, str(target.get("RoleArn") or ""), str(rule.get("Arn", "")))
    if refused is not None:
        _logger.warning("%s may not use its dead-letter queue %s: %s", rule.get("Arn"), queue_arn, refused)
        return
    payload = json.dumps(eventbridge._pattern_event_view(event).event_with_detail())
    with sqs._queues_lock:
        eventbridge._dispatch_to_sqs(parse_arn(queue_arn), payload)
        queue["messages"][-1]["message_attributes"] = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in {
                "RULE_ARN": str(rule.get("Arn", "")),
                "TARGET_ARN": str(target.get("Arn", "")),
                "ERROR_CODE": "NO_PERMISSIONS",
                "ERROR_MESSAGE": problem,
            }.items()
        }


_ASKED_AGAIN_SECONDS = 1.0
_unreadable_until: dict[tuple[str, str], tuple[float, str | None]] = {}


def _unreadable(role: str, queue: str) -> str | None:
    """Why a role may not read a queue, None when it may; kept for a second, since pollers ask all the time."""
    known = _unreadable_until.get((role, queue))
    if known is not None and time.monotonic() < known[0]:
        return known[1]
    problem = None
    try:
        for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
            iam.authorize(role, action, queue)
        for check in encryption.receiving(queue):
            iam.authorize(role, check.action, check.resources[0], check.context)
    except iam.AccessDeniedError as denied:
        problem = str(denied)
    _unreadable_until[role, queue] = (time.monotonic() + _ASKED_AGAIN_SECONDS, problem)
    return problem


@seams.replaces(
    _LAMBDA, "_sqs_esm_concurrency", sha256="d3e9d1e865aa0b28e7873a2ec3d794ce0383435741658f6fdec000b1b0d9b224"
)
def sqs_esm_concurrency(
    esm: dict[str, Any], func_rec: dict[str, Any], config: dict[str, Any], queue: dict[str, Any] | None = None
) -> int:
    """A mapping whose function's role may not read the queue, or not use its key, reads nothing."""
    problem = _unreadable(str(config.get("Role", "")), str(esm.get("EventSourceArn", "")))
    if problem is not None:
        esm["LastProcessingResult"] = f"PROBLEM: {problem}"
        return 0
    allowed: int = seams.original(_LAMBDA, "_sqs_esm_concurrency")(esm, func_rec, config, queue)
    return allowed


@seams.replaces(
    _LAMBDA, "_route_async_failure", sha256="c023331e333f796dfd7d2681d54fc18c8b7723d0d0048a9999daf68016ae695b"
)
def route_async_failure(target_arn: str, func_name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
    """An invocation that failed for good goes to its destination if the function's role may send there."""
    from ministack.services import lambda_svc

    config = (lambda_svc._functions.get(func_name) or {}).get("config") or {}
    try:
        for action, resource, context in _needed(target_arn):
            iam.authorize(str(config.get("Role", "")), action, resource, context)
    except iam.AccessDeniedError as denied:
        _logger.warning("%s may not send what failed to %s: %s", func_name, target_arn, denied)
        return
    seams.original(_LAMBDA, "_route_async_failure")(target_arn, func_name, event, result)
