"""AWS's Service Authorization Reference, offline, as policy_sentry packages it.

https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from policy_sentry.querying.actions import get_action_data
from policy_sentry.querying.conditions import get_condition_keys_for_service

GAPS: Mapping[tuple[str, str], str] = {
    # Listed for bedrock:InvokeModel alone, while AWS grants both on a profile in its guide to cross-Region batch jobs:
    # https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-permissions.html
    ("bedrock:CreateModelInvocationJob", "inference-profile"): "needed when a job's model is a profile",
    ("bedrock:CreateModelInvocationJob", "application-inference-profile"): "needed when a job's model is a profile",
    # The reference says that tokens have no resource; the service checks the state machine of the waiting task:
    # https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    ("states:SendTaskSuccess", "stateMachine"): "narrower than *; see docs/accepted-risks.md",
    ("states:SendTaskFailure", "stateMachine"): "narrower than *; see docs/accepted-risks.md",
}
"""(action, resource type) that the data does not pair, though AWS documents or accepts it: each with the reason."""


@dataclass(frozen=True)
class Row:
    """One row of an action: a resource type's ARN pattern (`*` for none) and the condition keys that go with it."""

    arn: str
    condition_keys: tuple[str, ...]


@cache
def rows(action: str) -> tuple[Row, ...]:
    """What the reference says of `s3:GetObject`; nothing for an action that is not there."""
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    if not found:
        return ()
    return tuple(Row(each["resource_arn_format"], tuple(each["condition_keys"])) for each in found[service])


def takes(action: str, resource: str) -> bool:
    """Whether the action has a resource type whose ARNs look like `resource` (which may hold `*`)."""
    if any(_fits(row.arn, resource) for row in rows(action)):
        return True
    return any(action == gap and f":{kind}" in f":{resource.split(':', 5)[-1]}" for gap, kind in GAPS)


def knows_condition(action: str, key: str) -> bool:
    """Whether the action, one of its resources or its whole service knows the condition key."""
    service = action.partition(":")[0]
    keys = {each for row in rows(action) for each in row.condition_keys} | set(get_condition_keys_for_service(service))
    return any(_same_key(known, key) for known in keys)


def _same_key(known: str, key: str) -> bool:
    if "$" in known:
        return key.lower().startswith(known.split("$")[0].lower())
    return known.lower() == key.lower()


def _fits(pattern: str, resource: str) -> bool:
    """Whether an ARN can be meant by both: `arn:${Partition}:s3:::${Bucket}/${Object}` and `arn:aws:s3:::corpus/*`.

    Both may hold wildcards, so a walk over both: what is not literal on one side may swallow what stands on the other.
    """
    if "*" in (pattern, resource):
        return pattern == resource
    return _meet(re.sub(r"\$\{[^}]+\}", "*", pattern), resource)


@cache
def _meet(left: str, right: str) -> bool:
    if not left or not right:
        return set(left + right) <= {"*"}
    if left[0] == "*":
        return _meet(left[1:], right) or (right[0] != "*" and _meet(left, right[1:])) or _meet(left[1:], right[1:])
    if right[0] == "*":
        return _meet(right, left)
    return left[0] == right[0] and _meet(left[1:], right[1:])
