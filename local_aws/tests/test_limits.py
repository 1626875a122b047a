"""What AWS refuses at once, in its words: sizes, ranges, roles that nobody may take.

Sources: the pages that limits.py names; codes and statuses of botocore's shapes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws

ACCOUNT = "123456789012"
MISSING = "0" * 17
Make = Callable[..., str]


def refused(call: Callable[[], Any], code: str, words: str) -> None:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert words in error["Message"], error


# Lambda


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"Environment": {"Variables": {"A": "x" * 4090}}}, "InvalidParameterValueException", "exceeded the 4KB limit"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "keys used in this"),
        ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
        ({"VpcConfig": {"SubnetIds": [f"subnet-{MISSING}"]}}, "InvalidParameterValueException", "does not exist"),
    ],
)
def test_a_functions_settings(
    aws: LocalAws, make_function: Make, make_role: Make, members: dict[str, Any], code: str, words: str
) -> None:
    """CreateFunction and UpdateFunctionConfiguration alike."""
    refused(lambda: make_function("def handler(event, context): ...", **members), code, words)
    name = make_function("def handler(event, context): ...")
    refused(lambda: aws.client("lambda").update_function_configuration(FunctionName=name, **members), code, words)


def test_an_environment_of_four_kilobytes_is_taken(make_function: Make) -> None:
    make_function("def handler(event, context): ...", Environment={"Variables": {"A": "x" * 4088}})


def test_a_role_that_does_not_trust_lambda(aws: LocalAws, make_function: Make, make_role: Make) -> None:
    role = make_role(service="events.amazonaws.com")
    words = "The role defined for the function cannot be assumed by Lambda."
    refused(lambda: make_function("…", Role=role), "InvalidParameterValueException", words)


def test_a_function_in_a_vpc_makes_network_interfaces(aws: LocalAws, make_function: Make, make_role: Make) -> None:
    """configuration-vpc: the role needs three actions on network interfaces."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="functions", Description="-", VpcId=vpc)["GroupId"]
    network = {"SubnetIds": [subnet], "SecurityGroupIds": [group]}
    words = "The provided execution role does not have permissions to call CreateNetworkInterface on EC2"
    refused(lambda: make_function("…", VpcConfig=network), "InvalidParameterValueException", words)
    allowed = [
        f"ec2:{verb}NetworkInterface{plural}" for verb, plural in (("Create", ""), ("Describe", "s"), ("Delete", ""))
    ]
    role = make_role(dict.fromkeys(allowed, "*"))
    make_function("def handler(event, context): ...", Role=role, VpcConfig=network)


def test_an_invocation_of_seven_megabytes(aws: LocalAws, make_function: Make) -> None:
    name = make_function("def handler(event, context): return len(event['text'])")
    invoke = aws.client("lambda").invoke
    for kind, size in (("RequestResponse", 7_000_000), ("Event", 1_100_000)):
        members = {"FunctionName": name, "InvocationType": kind, "Payload": json.dumps({"text": "x" * size})}
        words = "Request must be smaller than"
        refused(functools.partial(invoke, **members), "RequestTooLargeException", words)
    assert json.load(invoke(FunctionName=name, Payload=json.dumps({"text": "x" * 6_000_000}))["Payload"]) == 6_000_000


def test_a_mapping_reads_by_the_functions_role(
    aws: LocalAws, unique: str, make_function: Make, make_role: Make
) -> None:
    """services-sqs-configure: rights of the role, visibility above the timeout, a window for large batches."""
    sqs, functions = aws.client("sqs"), aws.client("lambda")
    url = sqs.create_queue(QueueName=unique, Attributes={"VisibilityTimeout": "10"})["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    code = "InvalidParameterValueException"
    deaf = make_function("def handler(event, context): ...")
    refused(
        lambda: functions.create_event_source_mapping(FunctionName=deaf, EventSourceArn=arn),
        code, "does not have permissions to call ReceiveMessage on SQS",
    )  # fmt: skip
    rights = {f"sqs:{action}": arn for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
    name = make_function("def handler(event, context): ...", Role=make_role(rights))
    refused(
        lambda: functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn),
        code, "Queue visibility timeout: 10 seconds is less than Function timeout: 20 seconds",
    )  # fmt: skip
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "20"})
    refused(
        lambda: functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, BatchSize=11),
        code, "Maximum batch window in seconds must be greater than 0",
    )  # fmt: skip
    functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)


# EventBridge and Scheduler


def test_events_of_more_than_a_megabyte(aws: LocalAws) -> None:
    put = aws.client("events").put_events
    entry = {"Source": "tests", "DetailType": "large", "Detail": json.dumps({"text": "x" * 600_000})}
    words = "Total size of the entries in the request is over the limit."
    refused(lambda: put(Entries=[entry, entry]), "ValidationException", words)
    assert put(Entries=[entry])["FailedEntryCount"] == 0


def test_a_rule_has_a_pattern_or_a_schedule(aws: LocalAws, unique: str) -> None:
    refused(lambda: aws.client("events").put_rule(Name=unique), "ValidationException", "must be specified")


@pytest.mark.parametrize("condition", [None, {"StringEquals": {"aws:SourceAccount": "999999999999"}}])
def test_a_schedules_role_lets_scheduler_in(
    aws: LocalAws, unique: str, make_role: Make, condition: dict[str, Any] | None
) -> None:
    """setting-up: the trust policy of the execution role; a condition on another account does not fit."""
    scheduler, iam = aws.client("scheduler"), aws.client("iam")
    role = make_role(service="events.amazonaws.com")
    if condition:
        principal = {"Service": "scheduler.amazonaws.com"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.update_assume_role_policy(RoleName=role.rsplit("/", 1)[-1], PolicyDocument=document)

    def create(name: str, role: str, expression: str = "rate(1 hour)") -> Any:
        target = {"Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none", "RoleArn": role}
        return scheduler.create_schedule(
            Name=name, ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"}, Target=target
        )

    words = "must allow AWS EventBridge Scheduler to assume the role"
    refused(lambda: create(unique, role), "ValidationException", words)
    trusting = make_role(service="scheduler.amazonaws.com")
    refused(lambda: create(unique, trusting, "cron(nonsense)"), "ValidationException", "Invalid Schedule Expression")
    create(unique, trusting)


# SQS


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"DelaySeconds": 901}, "DelaySeconds must be >= 0 and <= 900"),
        ({"MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}}, "must contain a non-empty value"),
        (
            {"MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}},
            "exceeds the allowed maximum [10]",
        ),
    ],
)
def test_messages(aws: LocalAws, unique: str, members: dict[str, Any], words: str) -> None:
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique)["QueueUrl"]
    refused(lambda: sqs.send_message(QueueUrl=queue, MessageBody="a", **members), "InvalidParameterValue", words)
    entries = [{"Id": "a", "MessageBody": "a", **members}]
    refused(lambda: sqs.send_message_batch(QueueUrl=queue, Entries=entries), "InvalidParameterValue", words)


def test_a_long_poll_lasts_twenty_seconds(aws: LocalAws, unique: str) -> None:
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique)["QueueUrl"]
    refused(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=21), "InvalidParameterValue", "WaitTimeSeconds")


# S3


@pytest.fixture
def bucket(aws: LocalAws, unique: str) -> str:
    aws.client("s3").create_bucket(Bucket=unique)
    return unique


def test_a_key_has_1024_bytes(aws: LocalAws, bucket: str) -> None:
    put = aws.client("s3").put_object
    put(Bucket=bucket, Key="ü" * 512, Body=b"")
    refused(lambda: put(Bucket=bucket, Key="ü" * 513, Body=b""), "KeyTooLongError", "Your key is too long")


def test_every_part_but_the_last_has_five_megabytes(aws: LocalAws, bucket: str) -> None:
    s3 = aws.client("s3")

    def write(*sizes: int) -> Any:
        upload = {
            "Bucket": bucket,
            "Key": "m",
            "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"],
        }
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=b"x" * size)["ETag"]}
            for number, size in enumerate(sizes, 1)
        ]
        return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    refused(lambda: write(5_242_880, 1_000, 5_242_880), "EntityTooSmall", "smaller than the minimum")
    write(5_242_880, 1_000)


def test_metadata_has_two_kilobytes(aws: LocalAws, bucket: str) -> None:
    put = aws.client("s3").put_object
    put(Bucket=bucket, Key="a", Body=b"", Metadata={"a": "x" * 2_047})
    metadata = {"a": "x" * 2_048}
    refused(lambda: put(Bucket=bucket, Key="a", Body=b"", Metadata=metadata), "MetadataTooLarge", "maximum allowed")


def test_a_thousand_objects_are_deleted_at_once(aws: LocalAws, bucket: str) -> None:
    s3 = aws.client("s3")
    keys = [{"Key": str(number)} for number in range(1_001)]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[:1_000]})
    refused(lambda: s3.delete_objects(Bucket=bucket, Delete={"Objects": keys}), "MalformedXML", "not well-formed")


def test_a_standard_parameter_has_four_kilobytes(aws: LocalAws, unique: str) -> None:
    put = aws.client("ssm").put_parameter
    put(Name=f"/{unique}", Value="x" * 4_096, Type="String")
    refused(lambda: put(Name=f"/{unique}-b", Value="x" * 4_097, Type="String"), "ValidationException", "Standard tier")
