"""How planned resources hang together: rules for every resource of a kind, whatever resources those are.

They read a plan (`terraform show -json`), in which every ARN and name is known: the modules make them of names. Each
rule is about a mistake that Terraform and AWS both accept, and that shows when an event, a message or a log line is
lost.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.iam.rendered import ACCOUNT, REGION, many

Values = dict[str, Any]

SERVICES = {
    "aws_lambda_function": "lambda.amazonaws.com",
    "aws_sfn_state_machine": "states.amazonaws.com",
    "aws_scheduler_schedule": "scheduler.amazonaws.com",
}
"""Who takes on the role that such a resource names."""


@dataclass(frozen=True)
class Resource:
    """One planned resource; `unknown` are the arguments that are not known before the apply."""

    address: str
    type: str
    values: Values
    unknown: frozenset[str]

    @property
    def instance(self) -> str:
        """The key of for_each, quotes included; "" without one."""
        found = re.search(r"\[([^\]]*)\]$", self.address)
        return found.group(1) if found else ""

    @property
    def plain(self) -> str:
        """The address without the keys of for_each and count."""
        return re.sub(r"\[[^\]]*\]", "", self.address)


@dataclass
class Planned:
    """A plan: its resources, and to which resources an argument of the configuration refers."""

    resources: list[Resource] = field(default_factory=list)
    references: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """(plain address, argument) → plain addresses."""

    def of(self, kind: str) -> list[Resource]:
        return [each for each in self.resources if each.type == kind]

    def functions(self) -> dict[str, Resource]:
        """By ARN."""
        return {
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{each.values['function_name']}": each
            for each in self.of("aws_lambda_function")
        }

    def queues(self) -> dict[str, Resource]:
        """By ARN."""
        return {f"arn:aws:sqs:{REGION}:{ACCOUNT}:{each.values['name']}": each for each in self.of("aws_sqs_queue")}

    def rules(self) -> dict[str, Resource]:
        """By ARN: that of a bus of one's own holds the bus."""
        return {rule_arn(each.values): each for each in self.of("aws_cloudwatch_event_rule")}


def rule_arn(values: Values) -> str:
    bus = values.get("event_bus_name") or "default"
    return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{'' if bus == 'default' else f'{bus}/'}{values['name']}"


def read(plan: Values) -> Planned:
    """A plan as `terraform show -json` gives it."""
    planned = Planned()
    for change in plan["resource_changes"]:
        if change["mode"] == "managed":
            unknown = frozenset(name for name, value in change["change"]["after_unknown"].items() if value is True)
            planned.resources.append(Resource(change["address"], change["type"], change["change"]["after"], unknown))
    _read_references(plan["configuration"]["root_module"], "", planned)
    return planned


def _read_references(module: Values, prefix: str, planned: Planned) -> None:
    for resource in module.get("resources", []):
        for argument, expression in resource.get("expressions", {}).items():
            if isinstance(expression, dict) and "references" in expression:
                found = [f"{prefix}{name}" for name in expression["references"]]
                planned.references[f"{prefix}{resource['address']}", argument] = found
    for name, call in module.get("module_calls", {}).items():
        _read_references(call["module"], f"{prefix}module.{name}.", planned)


def check(planned: Planned) -> Iterator[str]:
    """Everything that is wrong, one line each, with the address of what is."""
    for rule in RULES:
        yield from (f"{rule.__name__}: {each}" for each in rule(planned))


def roles_are_trusted_to_who_uses_them(planned: Planned) -> Iterator[str]:
    used: dict[str, set[str]] = {}
    for kind, service in SERVICES.items():
        for each in planned.of(kind):
            target = each.values["target"][0] if kind == "aws_scheduler_schedule" else each.values
            arn = target.get("role") or target.get("role_arn") or ""
            used.setdefault(arn.rsplit("/", 1)[-1], set()).add(service)
    for policy in planned.of("aws_iam_role_policy"):
        for statement in statements(policy.values.get("policy")):
            if "iam:PassRole" in many(statement["Action"]):
                for arn in many(statement["Resource"]):
                    passed = statement["Condition"]["StringEquals"]["iam:PassedToService"]
                    used.setdefault(arn.rsplit("/", 1)[-1], set()).update(many(passed))
    for role in planned.of("aws_iam_role"):
        trusted = {
            service
            for statement in statements(role.values["assume_role_policy"])
            for service in many(statement["Principal"]["Service"])
        }
        users = used.pop(role.values["name"], set())
        if trusted != users:
            yield f"{role.address} trusts {sorted(trusted)}, and is used by {sorted(users)}"


def log_groups_are_there_and_may_be_encrypted(planned: Planned) -> Iterator[str]:
    """A log group under a key whose policy does not name it cannot be made; one that is not made is not encrypted."""
    covered = [
        pattern
        for key in planned.of("aws_kms_key")
        for statement in statements(key.values["policy"])
        if statement["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
        for pattern in many(statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
    ]
    names = set()
    for group in planned.of("aws_cloudwatch_log_group"):
        name = group.values["name"]
        names.add(name)
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"
        if "kms_key_id" in group.unknown and not any(_like(pattern, arn) for pattern in covered):
            yield f"{group.address} is encrypted with a key whose policy does not let CloudWatch Logs use it for {name}"
    for function in planned.of("aws_lambda_function"):
        (logging,) = function.values["logging_config"]
        expected = f"/aws/lambda/{function.values['function_name']}"
        if logging["log_group"] != expected or expected not in names:
            yield f"{function.address} writes to {logging['log_group']}, which is not made for it"
    for machine in planned.of("aws_sfn_state_machine"):
        (logging,) = machine.values["logging_configuration"]
        expected = f"/aws/vendedlogs/states/{machine.values['name']}"
        if logging["log_destination"] != f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{expected}:*":
            yield f"{machine.address} logs to {logging['log_destination']}: it must be its group's ARN and :*"
        if expected not in names:
            yield f"{machine.address} has no log group"


_BY_SERVICE = {
    "traces of a function": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    "logs of a function": {"logs:CreateLogStream", "logs:PutLogEvents"},
    "network of a function": {
        "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
    },
    "traces of a state machine": {
        "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets",
    },
    "logs of a state machine": {
        "logs:CreateLogDelivery", "logs:CreateLogStream", "logs:GetLogDelivery", "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutLogEvents", "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    },
    "calls of a schedule": {"lambda:InvokeFunction", "sqs:SendMessage"},
    "results of a Distributed Map": {
        "s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload", "kms:Decrypt",
        "kms:Encrypt", "kms:GenerateDataKey",
    },
    "listings of a Distributed Map": {"s3:ListBucket"},
    "jobs of Bedrock": {
        "s3:GetObject", "s3:PutObject", "s3:ListBucket", "bedrock:InvokeModel", "kms:Decrypt", "kms:GenerateDataKey",
        "kms:DescribeKey",
    },
    "network of jobs of Bedrock": {
        "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeVpcs", "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission", "ec2:CreateTags",
    },
}  # fmt: skip
"""What a service does under a role, by what it does it for.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html, …/configuration-vpc.html,
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html, …/concepts-xray-tracing.html,
…/iam-policies-eg-dist-map.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html, …/batch-vpc.html, …/encryption-batch.html
"""


def roles_may_what_their_service_does_for_them(planned: Planned) -> Iterator[str]:
    granted = {
        role: {action for statement in allowed for action in many(statement["Action"])}
        for role, allowed in _allowed(planned).items()
    }
    # Beside a key that is made, what is about the key is not known before the apply.
    unread = {policy.values["role"] for policy in planned.of("aws_iam_role_policy") if "policy" in policy.unknown}
    wanted: list[tuple[Resource, str, str]] = []
    for function in planned.of("aws_lambda_function"):
        role = function.values["role"].rsplit("/", 1)[-1]
        wanted.append((function, role, "logs of a function"))
        if function.values["tracing_config"][0]["mode"] == "Active":
            wanted.append((function, role, "traces of a function"))
        if function.values.get("vpc_config"):
            wanted.append((function, role, "network of a function"))
    for machine in planned.of("aws_sfn_state_machine"):
        role = machine.values["role_arn"].rsplit("/", 1)[-1]
        wanted.append((machine, role, "logs of a state machine"))
        if machine.values["tracing_configuration"][0]["enabled"]:
            wanted.append((machine, role, "traces of a state machine"))
        if '"ResultWriter"' in machine.values["definition"]:
            wanted.append((machine, role, "results of a Distributed Map"))
        if ":s3:listObjectsV2" in machine.values["definition"]:
            wanted.append((machine, role, "listings of a Distributed Map"))
    wanted += [
        (schedule, schedule.values["target"][0]["role_arn"].rsplit("/", 1)[-1], "calls of a schedule")
        for schedule in planned.of("aws_scheduler_schedule")
    ]
    in_vpc = any(each.values.get("vpc_config") for each in planned.of("aws_lambda_function"))
    for role_resource in planned.of("aws_iam_role"):
        if "bedrock.amazonaws.com" in role_resource.values["assume_role_policy"]:
            wanted.append((role_resource, role_resource.values["name"], "jobs of Bedrock"))
            if in_vpc:
                wanted.append((role_resource, role_resource.values["name"], "network of jobs of Bedrock"))
    for resource, role, what in wanted:
        missing = _BY_SERVICE[what] - granted.get(role, set())
        if role in unread:
            missing = {action for action in missing if not action.startswith("kms:")}
        if missing:
            yield f"{resource.address}: its role may not {', '.join(sorted(missing))}, for {what}"


def _allowed(planned: Planned) -> dict[str, list[Values]]:
    """By name of a role: the statements that allow it something."""
    found: dict[str, list[Values]] = {}
    for policy in planned.of("aws_iam_role_policy"):
        for statement in statements(policy.values.get("policy")):
            if statement["Effect"] == "Allow":
                found.setdefault(policy.values["role"], []).append(statement)
    return found


def readers_may_list(planned: Planned) -> Iterator[str]:
    """S3 answers 403 for an object that is not there, unless the caller may list the bucket; code waits for 404.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    allowed_by_role = _allowed(planned)
    own = {
        arn.split("/", 1)[0]
        for allowed in allowed_by_role.values()
        for statement in allowed
        if "s3:PutObject" in many(statement["Action"])
        for arn in many(statement["Resource"])
    }
    services = {"lambda.amazonaws.com", "bedrock.amazonaws.com"}
    readers = {
        role.values["name"]
        for role in planned.of("aws_iam_role")
        if any(service in role.values["assume_role_policy"] for service in services)
    }
    for role, allowed in allowed_by_role.items():
        if role not in readers:
            continue
        read, listed = set(), set()
        for statement in allowed:
            buckets = {arn.split("/", 1)[0] for arn in many(statement["Resource"])} & own
            read |= buckets if "s3:GetObject" in many(statement["Action"]) else set()
            listed |= buckets if "s3:ListBucket" in many(statement["Action"]) else set()
        for bucket in sorted(read - listed):
            yield f"{role} reads {bucket} and may not list it"


def stars_stand_where_the_service_needs_them(planned: Planned) -> Iterator[str]:
    """tests/iam/stars.py allows a star by action; by role it is less: only Step Functions' log delivery needs logs on
    everything, and Bedrock describes networks."""
    names = {role.values["name"]: role.values["assume_role_policy"] for role in planned.of("aws_iam_role")}
    for role, allowed in _allowed(planned).items():
        starred = {action for each in allowed if "*" in many(each["Resource"]) for action in many(each["Action"])}
        if "lambda.amazonaws.com" in names[role]:
            starred = {action for action in starred if action.startswith("logs:")}
        elif "bedrock.amazonaws.com" in names[role]:
            starred = {action for action in starred if not action.startswith("ec2:Describe")}
        else:
            starred = set()
        for action in sorted(starred):
            yield f"{role} may {action} on everything"


def consumed_queues_lose_nothing(planned: Planned) -> Iterator[str]:
    """A mapping without partial responses deletes what failed beside what did not; see consumed_queues_are_redriven."""
    queues, functions = planned.queues(), planned.functions()
    for mapping in planned.of("aws_lambda_event_source_mapping"):
        values = mapping.values
        queue, function = queues.get(values["event_source_arn"]), functions.get(values["function_name"])
        if queue is None or function is None:
            yield f"{mapping.address}: {values['event_source_arn']} or {values['function_name']} is not made"
            continue
        if values.get("function_response_types") != ["ReportBatchItemFailures"]:
            yield f"{mapping.address}: one failed message brings back its batch, or all are deleted"
        if queue.values["visibility_timeout_seconds"] < 6 * function.values["timeout"]:
            yield f"{queue.address}: its messages come back while {function.address} works on them"
        if not (values.get("scaling_config") or [{}])[0].get("maximum_concurrency"):
            yield f"{mapping.address} may take every concurrent execution of the account"


def consumed_queues_are_redriven(planned: Planned) -> Iterator[str]:
    queues = planned.queues()
    policies = {
        (name, policy.instance): policy
        for policy in planned.of("aws_sqs_queue_redrive_policy")
        for name in planned.references.get((policy.plain, "queue_url"), [])
    }
    for mapping in planned.of("aws_lambda_event_source_mapping"):
        arn = mapping.values["event_source_arn"]
        queue = queues.get(arn)
        if queue is None:
            continue
        policy = policies.get((queue.plain, queue.instance))
        text = policy.values.get("redrive_policy") if policy else queue.values.get("redrive_policy")
        if not text:
            yield f"{queue.address}: a message that fails on every try comes back until it expires"
            continue
        redrive = json.loads(text)
        letters = queues.get(redrive["deadLetterTargetArn"])
        if letters is None:
            yield f"{queue.address}: its dead letters go to {redrive['deadLetterTargetArn']}, which is not made"
            continue
        # Workers that die without a word let a message come back after the whole visibility timeout, each time.
        longest = int(redrive["maxReceiveCount"]) * queue.values["visibility_timeout_seconds"]
        if longest > queue.values["message_retention_seconds"] / 2:
            yield f"{queue.address}: a message may expire before its dead-letter queue gets it"
        # A dead letter keeps its age.
        if letters.values["message_retention_seconds"] <= queue.values["message_retention_seconds"]:
            yield f"{letters.address}: a letter may expire on arrival"
        allowed = json.loads(letters.values.get("redrive_allow_policy") or "{}")
        if allowed.get("redrivePermission") != "byQueue" or arn not in allowed.get("sourceQueueArns", []):
            yield f"{letters.address} does not take dead letters of {arn}"


def rules_stand_on_the_bus_of_their_events(planned: Planned) -> Iterator[str]:
    for rule in planned.of("aws_cloudwatch_event_rule"):
        bus = rule.values.get("event_bus_name") or "default"
        sources = json.loads(rule.values["event_pattern"]).get("source", [])
        services = [source.startswith("aws.") for source in sources]
        if not services:
            yield f"{rule.address} hears every source"
        elif any(services) and bus != "default":
            yield f"{rule.address} waits on {bus} for {sources}: services put their events on the default bus"
        elif not any(services) and bus == "default":
            yield f"{rule.address} waits on the default bus for {sources}, which are put on the pipeline's"


def rules_reach_their_targets(planned: Planned) -> Iterator[str]:
    rules, functions, queues = planned.rules(), planned.functions(), planned.queues()
    permitted = {
        (permission.values["function_name"], permission.values["source_arn"])
        for permission in planned.of("aws_lambda_permission")
        if permission.values["principal"] == "events.amazonaws.com"
        and permission.values["action"] == "lambda:InvokeFunction"
    }
    reached = set()
    for target in planned.of("aws_cloudwatch_event_target"):
        arn = rule_arn({"event_bus_name": target.values.get("event_bus_name"), "name": target.values["rule"]})
        if arn not in rules:
            yield f"{target.address} belongs to {arn}, and no rule of that name stands on its bus"
            continue
        reached.add(arn)
        function = functions.get(target.values["arn"])
        if function is None:
            yield f"{target.address} is {target.values['arn']}, which is not made"
        elif (function.values["function_name"], arn) not in permitted:
            yield f"{target.address}: its rule may not invoke {function.values['function_name']}"
        for letters in target.values.get("dead_letter_config") or []:
            queue = queues.get(letters["arn"])
            if queue is None or not _takes_from_rule(queue, arn):
                yield f"{target.address}: what cannot be delivered may not be put into {letters['arn']}"
    for arn in rules.keys() - reached:
        yield f"{rules[arn].address} has no target"
    sources = {source for _, source in permitted}
    for source in sorted(sources - rules.keys()):
        yield f"a permission for {source}, which is no rule"


def _takes_from_rule(queue: Resource, rule: str) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": "events.amazonaws.com"}
        and any(_like(pattern, rule) for pattern in many(statement["Condition"]["ArnLike"]["aws:SourceArn"]))
        for statement in statements(queue.values["policy"])
        if "Condition" in statement and "ArnLike" in statement["Condition"]
    )


def schedules_reach_their_functions(planned: Planned) -> Iterator[str]:
    functions, queues = planned.functions(), planned.queues()
    for schedule in planned.of("aws_scheduler_schedule"):
        (target,) = schedule.values["target"]
        if target["arn"] not in functions:
            yield f"{schedule.address} calls {target['arn']}, which is not made"
        letters = [each["arn"] for each in target.get("dead_letter_config") or []]
        if len(letters) != 1 or letters[0] not in queues:
            yield f"{schedule.address}: a schedule that fails leaves no trace"
        if schedule.values.get("state", "ENABLED") not in (None, "ENABLED"):
            yield f"{schedule.address} is off"


def functions_that_nobody_waits_for_keep_what_failed(planned: Planned) -> Iterator[str]:
    queues = planned.queues()
    called = {each.values["arn"] for each in planned.of("aws_cloudwatch_event_target")}
    called |= {each.values["target"][0]["arn"] for each in planned.of("aws_scheduler_schedule")}
    for arn, function in planned.functions().items():
        letters = [each["target_arn"] for each in function.values.get("dead_letter_config") or []]
        if arn in called and (len(letters) != 1 or letters[0] not in queues):
            yield f"{function.address} is invoked asynchronously: what fails on every try is lost"


def what_nobody_could_be_told_is_kept(planned: Planned) -> Iterator[str]:
    """Queues for what failed on every try keep it as long as SQS can."""
    kept = {
        letters.get("arn") or letters.get("target_arn")
        for kind in ("aws_lambda_function", "aws_cloudwatch_event_target")
        for each in planned.of(kind)
        for letters in each.values.get("dead_letter_config") or []
    }
    for arn, queue in planned.queues().items():
        if arn in kept and queue.values["message_retention_seconds"] != FORTNIGHT:
            yield f"{queue.address} forgets before 14 days what nobody could be told"


def functions_fit_lambda(planned: Planned) -> Iterator[str]:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 900 s, and 4 KB of variables."""
    for function in planned.of("aws_lambda_function"):
        if function.values["timeout"] > 900:
            yield f"{function.address} may take {function.values['timeout']} s: Lambda ends it after 900"
        for environment in function.values.get("environment") or []:
            variables = environment.get("variables") or {}  # Unknown before the apply if one of them is.
            size = sum(len(name) + len(str(value)) for name, value in variables.items())
            if size > 4096:
                yield f"{function.address}: its variables have {size} bytes, more than Lambda takes"


def permissions_name_their_source(planned: Planned) -> Iterator[str]:
    for permission in planned.of("aws_lambda_permission"):
        if f":{ACCOUNT}:" not in (permission.values.get("source_arn") or ""):
            yield f"{permission.address} lets {permission.values['principal']} in on behalf of any account"
    for queue in planned.of("aws_sqs_queue"):
        for statement in statements(queue.values["policy"]):
            if statement["Effect"] == "Allow" and f":{ACCOUNT}:" not in json.dumps(statement.get("Condition", {})):
                yield f"{queue.address}: {statement['Sid']} lets a service in on behalf of any account"


def buckets_do_not_refuse_aws(planned: Planned) -> Iterator[str]:
    """A service that acts for itself has no account of ours: Bedrock's jobs, replication, inventories.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalisawsservice
    """
    for bucket in planned.of("aws_s3_bucket_policy"):
        for statement in statements(bucket.values.get("policy")):
            conditions = statement.get("Condition", {})
            keys = {key: many(value) for each in conditions.values() for key, value in each.items()}
            about_principal = any(key.startswith("aws:Principal") for key in keys) or not keys
            if (
                statement["Effect"] == "Deny"
                and about_principal
                and keys.get("aws:PrincipalIsAWSService") != ("false",)
            ):
                yield f"{bucket.address}: {statement['Sid']} also refuses AWS's services"


def alarms_look_at_what_is_made(planned: Planned) -> Iterator[str]:
    queues = {each.values["name"]: each for each in planned.of("aws_sqs_queue")}
    functions = {each.values["function_name"] for each in planned.of("aws_lambda_function")}
    for alarm in planned.of("aws_cloudwatch_metric_alarm"):
        values = alarm.values
        dimensions = values["dimensions"]
        if "QueueName" in dimensions and dimensions["QueueName"] not in queues:
            yield f"{alarm.address} looks at queue {dimensions['QueueName']}, which is not made"
        if "service" in dimensions and dimensions["service"] not in functions:
            yield f"{alarm.address} looks at function {dimensions['service']}, which is not made"
        if not values.get("alarm_actions"):
            yield f"{alarm.address} tells nobody"
        if values["comparison_operator"] != "GreaterThanThreshold":
            yield f"{alarm.address} fires when all is well"


def old_dead_letters_are_told_in_time(planned: Planned) -> Iterator[str]:
    """The age of a dead letter counts from its move, its end from when it was first sent: what it has waited in the
    source queue is gone before the alarm counts it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
    """
    queues = {each.values["name"]: each for each in planned.of("aws_sqs_queue")}
    by_arn = planned.queues()
    for alarm in planned.of("aws_cloudwatch_metric_alarm"):
        queue = queues.get(alarm.values["dimensions"].get("QueueName", ""))
        if queue is None or alarm.values["metric_name"] != "ApproximateAgeOfOldestMessage":
            continue
        sources = [
            by_arn[arn]
            for arn in json.loads(queue.values.get("redrive_allow_policy") or "{}").get("sourceQueueArns", [])
            if arn in by_arn
        ]
        before = max((each.values["message_retention_seconds"] for each in sources), default=0)
        seen = alarm.values["threshold"] + alarm.values["period"] * alarm.values["evaluation_periods"]
        if seen + before > queue.values["message_retention_seconds"] - MARGIN:
            yield f"{alarm.address} may fire after the message is gone: {seen:.0f} s here and {before} s before it came"


FORTNIGHT = 14 * 86_400

MARGIN = 86_400
"""Seconds that an operator has at the least."""


def statements(policy: str | None) -> list[Values]:
    if not policy:
        return []
    found = json.loads(policy).get("Statement", [])
    return found if isinstance(found, list) else [found]


def _like(pattern: str, value: str) -> bool:
    """IAM's ArnLike, near enough: `*` within and across parts."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), value) is not None


RULES: tuple[Callable[[Planned], Iterator[str]], ...] = (
    roles_may_what_their_service_does_for_them,
    readers_may_list,
    stars_stand_where_the_service_needs_them,
    roles_are_trusted_to_who_uses_them,
    log_groups_are_there_and_may_be_encrypted,
    consumed_queues_lose_nothing,
    consumed_queues_are_redriven,
    rules_stand_on_the_bus_of_their_events,
    rules_reach_their_targets,
    schedules_reach_their_functions,
    functions_that_nobody_waits_for_keep_what_failed,
    what_nobody_could_be_told_is_kept,
    functions_fit_lambda,
    permissions_name_their_source,
    buckets_do_not_refuse_aws,
    alarms_look_at_what_is_made,
    old_dead_letters_are_told_in_time,
)
