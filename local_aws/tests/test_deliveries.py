"""Deliveries need rights: policies of targets and their keys, roles of rules, schedules and functions.

Sources: the pages that deliveries.py names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from local_aws import LocalAws

ACCOUNT = "123456789012"
Make = Callable[..., str]


def arn(name: str) -> str:
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def queue(aws: LocalAws, name: str, *, let_in: bool, key: str | None = None) -> str:
    """URL of a queue; `let_in`: EventBridge may send to it."""
    attributes = {"KmsMasterKeyId": key} if key else {}
    if let_in:
        principal = {"Service": "events.amazonaws.com"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage", "Resource": arn(name)}
        attributes["Policy"] = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url: str = aws.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def messages(aws: LocalAws, url: str, seconds: float = 20, **members: Any) -> list[dict[str, Any]]:
    """What lies in a queue, waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = aws.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1, **members).get("Messages", [])
        if found:
            return list(found)
    return []


def tell(aws: LocalAws, name: str, *targets: dict[str, Any]) -> None:
    """An event that a rule of that name brings to the targets."""
    events = aws.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": str(number), **each} for number, each in enumerate(targets)])
    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": '{"n": 1}'}])


def test_a_queue_without_a_policy_gets_nothing_and_the_dead_letter_queue_says_why(aws: LocalAws, unique: str) -> None:
    """eb-rule-dlq: the event, with the rule, the target and the error as attributes."""
    queue(aws, unique, let_in=False)
    dead = queue(aws, f"{unique}-dead", let_in=True)
    tell(aws, unique, {"Arn": arn(unique), "DeadLetterConfig": {"Arn": arn(f"{unique}-dead")}})
    (message,) = messages(aws, dead, MessageAttributeNames=["All"])
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"] == arn(unique)
    assert attributes["RULE_ARN"].endswith(f":rule/{unique}")
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"


def test_events_come_to_a_queue_under_a_key_only_if_the_key_lets_them_in(aws: LocalAws, unique: str) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    closed = queue(aws, unique, let_in=True, key=key)
    dead = queue(aws, f"{unique}-dead", let_in=True)
    target = {"Arn": arn(unique), "DeadLetterConfig": {"Arn": arn(f"{unique}-dead")}}
    tell(aws, unique, target)
    (message,) = messages(aws, dead, MessageAttributeNames=["All"])
    assert "kms:GenerateDataKey" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    service = {
        **own,
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [own, service]})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
    tell(aws, unique, target)
    assert len(messages(aws, closed)) == 1


def test_a_rule_invokes_a_function_only_with_its_permission(
    aws: LocalAws, unique: str, make_function: Make, make_role: Make
) -> None:
    """eb-use-resource-based: the function's policy, for this rule."""
    told = queue(aws, unique, let_in=True)
    role = make_role({"sqs:SendMessage": arn(unique)})
    source = """
        import boto3, os
        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=event["source"])
    """
    name = make_function(source, Role=role, Environment={"Variables": {"QUEUE": told}})
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    dead = queue(aws, f"{unique}-dead", let_in=True)
    target = {"Arn": function, "DeadLetterConfig": {"Arn": arn(f"{unique}-dead")}}
    permit = aws.client("lambda").add_permission
    rule = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{unique}"
    given = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}
    permit(**given, StatementId="another-rule", SourceArn=f"{rule}-other")
    tell(aws, unique, target)
    assert len(messages(aws, dead)) == 1
    permit(**given, StatementId="this-rule", SourceArn=rule)
    tell(aws, unique, target)
    assert [message["Body"] for message in messages(aws, told)] == [unique]


def test_a_mapping_under_a_key_reads_nothing_without_decrypt(
    aws: LocalAws, unique: str, make_function: Make, make_role: Make
) -> None:
    """services-sqs-configure: the function's role needs kms:Decrypt for an encrypted queue."""
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    url = queue(aws, unique, let_in=False, key=key)
    done = queue(aws, f"{unique}-done", let_in=False)
    rights = {f"sqs:{action}": arn(unique) for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
    role = make_role({**rights, "sqs:SendMessage": arn(f"{unique}-done")})
    source = """
        import boto3, os
        def handler(event, context):
            for record in event["Records"]:
                boto3.client("sqs").send_message(QueueUrl=os.environ["DONE"], MessageBody=record["body"])
    """
    name = make_function(source, Role=role, Environment={"Variables": {"DONE": done}}, Timeout=5)
    mapping = aws.client("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn(unique))
    aws.client("sqs").send_message(QueueUrl=url, MessageBody="secret")

    def result() -> str:
        found = aws.client("lambda").get_event_source_mapping(UUID=mapping["UUID"])
        return str(found.get("LastProcessingResult", ""))

    deadline = time.monotonic() + 20
    while "kms:Decrypt" not in result():
        assert time.monotonic() < deadline, result()
        time.sleep(0.1)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key}]}
    aws.client("iam").put_role_policy(
        RoleName=role.rsplit("/", 1)[-1], PolicyName="key", PolicyDocument=json.dumps(policy)
    )
    assert [message["Body"] for message in messages(aws, done)] == ["secret"]


@pytest.mark.parametrize("allowed", [False, True])
def test_what_a_function_failed_at_is_sent_by_its_role(
    aws: LocalAws, unique: str, make_function: Make, make_role: Make, allowed: bool
) -> None:
    """invocation-async-retain-records: the role needs sqs:SendMessage; without it what failed is lost."""
    lost = queue(aws, unique, let_in=False)
    name = make_function("def handler(event, context): raise ValueError", Role=make_role({"sqs:*": arn(unique)}))
    if not allowed:
        role = make_role({"logs:*": "*"})
        aws.client("lambda").update_function_configuration(FunctionName=name, Role=role)
    aws.client("lambda").put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": arn(unique)}},
    )
    aws.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert len(messages(aws, lost, seconds=10 if allowed else 3)) == int(allowed)
