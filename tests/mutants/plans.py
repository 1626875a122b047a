"""Mutants of HCL, made by rule from what a plan holds, and whether the rules and the simulation of duties find them."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.iam import stars, wiring
from tests.iam.brought import KEY, KEY_POLICY, PLACES, handlers
from tests.iam.duties import duties, key_duties
from tests.iam.rendered import Rendered, many, short
from tests.iam.simulation import Request, simulate

Values = dict[str, Any]
ELSEWHERE = "arn:aws:lambda:us-east-1:123456789012:function:elsewhere"

EQUIVALENT: dict[str, str] = {
    r".* without s3:AbortMultipartUpload": (
        "nothing fails without it: parts of an upload that broke off lie until the bucket's lifecycle rule removes them"
    ),
}
"""Pattern of mutants → why no check on the plan can see them."""


@dataclass(frozen=True)
class Mutant:
    """One resource of a plan changed; `after` is None where it is left out."""

    name: str
    number: int
    """Of the resource among `resource_changes`."""
    after: Values | None


def mutants(plan: Values) -> Iterator[Mutant]:
    """Everything but policies of roles."""
    for number, change in enumerate(plan["resource_changes"]):
        if change["mode"] != "managed":
            continue
        for what, alter in CHANGES.get(change["type"], ()):
            after = copy.deepcopy(change["change"]["after"])
            if alter is _left_out:
                yield Mutant(f"{change['address']}: {what}", number, None)
            elif alter(after) is not False and after != change["change"]["after"]:
                yield Mutant(f"{change['address']}: {what}", number, after)


def survivors(plan: Values) -> tuple[int, list[str]]:
    """(number of mutants, those that no rule of wiring.py finds)."""
    count, left = 0, []
    for mutant in mutants(plan):
        changed = {**plan, "resource_changes": list(plan["resource_changes"])}
        if mutant.after is None:
            del changed["resource_changes"][mutant.number]
        else:
            old = plan["resource_changes"][mutant.number]
            new = {**old, "change": {**old["change"], "after": mutant.after}}
            changed["resource_changes"][mutant.number] = new
        count += 1
        if not list(wiring.check(wiring.read(changed))):
            left.append(mutant.name)
    return count, left


def _left_out(_: Values) -> None:
    raise NotImplementedError("only marks")


def _set(**values: Any) -> Callable[[Values], bool]:
    """Sets arguments that the resource has; one that has none of them makes no mutant."""

    def alter(after: Values) -> bool:
        if not all(after.get(name) for name in values):
            return False
        after.update(values)
        return True

    return alter


def _policy(argument: str, change: Callable[[list[Values]], Any]) -> Callable[[Values], bool]:
    def alter(after: Values) -> bool:
        if not after.get(argument):
            return False
        document = json.loads(after[argument])
        changed = copy.deepcopy(document)
        change(changed["Statement"])
        after[argument] = json.dumps(changed)
        return bool(changed != document)

    return alter


def _trust_events(statements: list[Values]) -> None:
    statements[0]["Principal"] = {"Service": "events.amazonaws.com"}


def _no_logs(statements: list[Values]) -> None:
    statements[:] = [each for each in statements if "Logs" not in each["Sid"]]


def _no_source(statements: list[Values]) -> None:
    for each in statements:
        if each["Effect"] == "Allow":
            each.pop("Condition", None)


def _refuse_services(statements: list[Values]) -> None:
    for each in statements:
        for conditions in each.get("Condition", {}).values():
            conditions.pop("aws:PrincipalIsAWSService", None)


def _unstarred(after: Values) -> None:
    (logging,) = after["logging_configuration"]
    logging["log_destination"] = logging["log_destination"].removesuffix(":*")


def _target(**values: Any) -> Callable[[Values], None]:
    return lambda after: after["target"][0].update(values)


def _other_bus(after: Values) -> None:
    after["event_bus_name"] = "company" if (after.get("event_bus_name") or "default") == "default" else "default"


def _no_source_events(after: Values) -> None:
    pattern = json.loads(after["event_pattern"])
    pattern.pop("source", None)
    after["event_pattern"] = json.dumps(pattern)


CHANGES: dict[str, tuple[tuple[str, Callable[[Values], Any]], ...]] = {
    "aws_iam_role": (("trusts events", _policy("assume_role_policy", _trust_events)),),
    "aws_kms_key": (("its policy does not name CloudWatch Logs", _policy("policy", _no_logs)),),
    "aws_cloudwatch_log_group": (("has another name", _set(name="/aws/lambda/other")), ("is not made", _left_out)),
    "aws_sfn_state_machine": (
        ("logs to a group without :*", _unstarred),
        ("has another's role", _set(role_arn="arn:aws:iam::123456789012:role/pipelines/other")),
    ),
    "aws_lambda_function": (
        ("keeps nothing that failed", _set(dead_letter_config=[])),
        ("has another's role", _set(role="arn:aws:iam::123456789012:role/pipelines/other")),
        ("outlasts its messages", _set(timeout=901)),
    ),
    "aws_lambda_event_source_mapping": (
        ("reports no failed items", _set(function_response_types=[])),
        ("has no bound", _set(scaling_config=[])),
        ("calls another function", _set(function_name=ELSEWHERE)),
    ),
    "aws_sqs_queue_redrive_policy": (
        ("is not made", _left_out),
        (
            "names a queue that is not made",
            _set(redrive_policy='{"deadLetterTargetArn": "arn:x", "maxReceiveCount": 5}'),
        ),
    ),
    "aws_sqs_queue": (
        ("hides messages for 30 s", _set(visibility_timeout_seconds=30)),
        ("takes no dead letters", _set(redrive_allow_policy='{"redrivePermission": "denyAll"}')),
        ("keeps messages for an hour", _set(message_retention_seconds=3600)),
        ("lets a service in for anybody", _policy("policy", _no_source)),
    ),
    "aws_cloudwatch_event_rule": (("stands on the other bus", _other_bus), ("hears every source", _no_source_events)),
    "aws_cloudwatch_event_target": (
        ("stands on the other bus", _other_bus),
        ("belongs to no rule", _set(rule="other")),
        ("is another function", _set(arn=ELSEWHERE)),
        ("is not made", _left_out),
    ),
    "aws_lambda_permission": (
        ("has no source", _set(source_arn="")),
        ("is for another function", _set(function_name="other")),
        ("is not made", _left_out),
    ),
    "aws_scheduler_schedule": (
        ("keeps no trace", _target(dead_letter_config=[])),
        ("calls another function", _target(arn=ELSEWHERE)),
        ("has another's role", _target(role_arn="arn:aws:iam::123456789012:role/pipelines/other")),
        ("is off", _set(state="DISABLED")),
    ),
    "aws_s3_bucket_policy": (("refuses AWS's services", _policy("policy", _refuse_services)),),
    "aws_cloudwatch_metric_alarm": (
        ("tells nobody", _set(alarm_actions=[])),
        ("looks at nothing", lambda after: after.update(dimensions={"QueueName": "other"})),
        ("fires when all is well", _set(comparison_operator="LessThanThreshold")),
    ),
}
"""By type of resource: what is done to each resource of it."""


def policy_survivors(rendered: Rendered) -> tuple[int, list[str]]:
    """Mutants of the roles' policies: a statement or an action is taken away, a resource becomes everything."""
    documents = {role: [policy.document for policy in policies] for role, policies in rendered.roles.items()}
    changed: dict[str, list[Values]] = {}
    requests: list[Request] = []
    killed: set[str] = set()
    for role, found in documents.items():
        for number, document in enumerate(found):
            for at, statement in enumerate(document["Statement"]):
                if statement["Effect"] != "Allow":
                    continue
                for action in many(statement["Action"]):
                    name = f"{role}: {statement['Sid']} without {action}"
                    changed[name] = _replaced(found, number, at, {**statement, "Action": _less(statement, action)})
                    requests += list(_wanted(name, role, action, rendered))
                if "*" not in many(statement["Resource"]):
                    name = f"{role}: {statement['Sid']} on everything"
                    changed[name] = []
                    if set(many(statement["Action"])) - set(stars.ALLOWED):
                        killed.add(name)
    asked = [one for one in requests if changed[one.role]]
    for request, answer in zip(asked, simulate(changed, asked), strict=True):
        if answer != "Allowed":
            killed.add(request.role)
    # What no row of duties is about, the rules on whole plans may see.
    left = [name for name in changed if name not in killed and not _seen(rendered.plan, name, changed[name], documents)]
    return len(changed), left


def _seen(plan: Values, name: str, changed: list[Values], documents: dict[str, list[Values]]) -> bool:
    """Whether the rules of wiring.py find the mutant in the plan."""
    role, _, what = name.partition(": ")
    resource_changes = []
    for change in plan["resource_changes"]:
        after = change["change"]["after"] if change["mode"] == "managed" else {}
        if change["type"] == "aws_iam_role_policy" and after.get("policy") and short(after["role"]) == role:
            number = [json.dumps(each) for each in documents[role]].index(json.dumps(json.loads(after["policy"])))
            document = changed[number] if changed else _widened(json.loads(after["policy"]), what)
            after = {**after, "policy": json.dumps(document)}
            change = {**change, "change": {**change["change"], "after": after}}
        resource_changes.append(change)
    return bool(list(wiring.check(wiring.read({**plan, "resource_changes": resource_changes}))))


def _widened(document: Values, what: str) -> Values:
    sid = what.removesuffix(" on everything")
    found = copy.deepcopy(document)
    for statement in found["Statement"]:
        if statement["Sid"] == sid:
            statement["Resource"] = "*"
    return found


def _less(statement: Values, action: str) -> list[str]:
    return [each for each in many(statement["Action"]) if each != action] or ["s3:GetBucketLocation"]


def _replaced(documents: list[Values], number: int, at: int, statement: Values) -> list[Values]:
    found = copy.deepcopy(documents)
    found[number]["Statement"][at] = statement
    return found


def _wanted(name: str, role: str, action: str, rendered: Rendered) -> Iterator[Request]:
    """What the role must be allowed to do with this action."""
    tenant = role.partition("-")[2] if role.startswith(("batch-", "run-")) else "acme"
    places = {**PLACES, "tenant": tenant}
    for duty in duties(handlers(rendered)):
        if duty.action == action and duty.is_of(role, tenant):
            context = {key: value.format(**places) for key, value in duty.context.items()}
            policy = KEY_POLICY if action.startswith("kms:") else None
            yield Request(name, action, duty.resource.format(**places), context, policy)
    if role in key_duties(handlers(rendered)).get(action, ()):
        yield Request(name, action, KEY, resource_policy=KEY_POLICY)


def reason(name: str) -> str | None:
    """Why a survivor is none, or None."""
    return next((why for pattern, why in EQUIVALENT.items() if re.fullmatch(pattern, name)), None)
