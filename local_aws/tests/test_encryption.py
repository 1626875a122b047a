"""KMS behind S3, SQS, DynamoDB and log groups: rights of the caller, the key's policy, the key's state, ETags.

Sources: the pages that encryption.py names; codes of S3's and SQS's API models; denials as callers report them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws

ACCOUNT = "123456789012"


@pytest.fixture
def key(aws: LocalAws) -> str:
    """A customer's key with the policy that AWS gives by default: the account's policies decide."""
    arn: str = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def bucket(aws: LocalAws, unique: str, key: str) -> str:
    """A bucket whose default is the key, with a key of its own in between."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=unique)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    configuration = {"Rules": [{**rule, "BucketKeyEnabled": True}]}
    s3.put_bucket_encryption(Bucket=unique, ServerSideEncryptionConfiguration=configuration)
    return unique


def denied(call: Callable[[], Any], code: str, *words: str) -> None:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error


Role = Callable[..., str]


def as_role(aws: LocalAws, service: str, role: str) -> Any:
    return aws.client(service, credentials=aws.assume(role))


def test_writing_an_object_needs_generate_data_key(aws: LocalAws, bucket: str, key: str, make_role: Role) -> None:
    may_write = make_role({"s3:PutObject": f"arn:aws:s3:::{bucket}/*"})
    denied(
        lambda: as_role(aws, "s3", may_write).put_object(Bucket=bucket, Key="a", Body=b"a"),
        "AccessDenied", "not authorized to perform: kms:GenerateDataKey", key,
    )  # fmt: skip
    with_key = make_role({"s3:PutObject": f"arn:aws:s3:::{bucket}/*", "kms:GenerateDataKey": key})
    assert as_role(aws, "s3", with_key).put_object(Bucket=bucket, Key="a", Body=b"a")["SSEKMSKeyId"] == key


def test_reading_an_object_needs_decrypt_and_a_look_at_it_does_not(
    aws: LocalAws, bucket: str, key: str, make_role: Role
) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    may_read = as_role(aws, "s3", make_role({"s3:GetObject": f"arn:aws:s3:::{bucket}/*"}))
    denied(lambda: may_read.get_object(Bucket=bucket, Key="a"), "AccessDenied", "kms:Decrypt")
    denied(lambda: may_read.get_object(Bucket=bucket, Key="a", Range="bytes=0-0"), "AccessDenied", "kms:Decrypt")
    assert may_read.head_object(Bucket=bucket, Key="a")["ContentLength"] == 1
    with_key = as_role(aws, "s3", make_role({"s3:GetObject": f"arn:aws:s3:::{bucket}/*", "kms:Decrypt": key}))
    assert with_key.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_writing_in_parts_needs_both(aws: LocalAws, bucket: str, key: str, make_role: Role) -> None:
    """mpuoverview: GenerateDataKey to begin, Decrypt for the parts."""
    may = {"s3:PutObject": f"arn:aws:s3:::{bucket}/*", "kms:GenerateDataKey": key}
    half = as_role(aws, "s3", make_role(may))
    upload = half.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "Body": b"x"}
    denied(lambda: half.upload_part(**part), "AccessDenied", "kms:Decrypt")
    whole = as_role(aws, "s3", make_role({**may, "kms:Decrypt": key}))
    etag = whole.upload_part(**part)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    whole.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)


def test_a_copy_reads_its_source(aws: LocalAws, bucket: str, key: str, make_role: Role) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    role = make_role({"s3:*": f"arn:aws:s3:::{bucket}/*", "kms:GenerateDataKey": key})
    source = {"Bucket": bucket, "Key": "a"}
    denied(
        lambda: as_role(aws, "s3", role).copy_object(Bucket=bucket, Key="b", CopySource=source),
        "AccessDenied", "kms:Decrypt",
    )  # fmt: skip


@pytest.mark.parametrize(("bucket_key", "context"), [(True, ""), (False, "/a")])
def test_s3_tells_kms_who_asks_and_for_what(
    aws: LocalAws, bucket: str, key: str, make_role: Role, bucket_key: bool, context: str
) -> None:
    """bucket-key: with it the encryption context is the bucket's ARN, without it the object's."""
    s3 = aws.client("s3")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    configuration = {"Rules": [{**rule, "BucketKeyEnabled": bucket_key}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
    condition = {
        "StringEquals": {
            "kms:ViaService": "s3.us-east-1.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}{context}",
        }
    }
    use = {"Effect": "Allow", "Action": "kms:*", "Resource": key, "Condition": condition}
    role = as_role(aws, "s3", make_role({"s3:*": f"arn:aws:s3:::{bucket}/*"}, use))
    role.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert role.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    if not bucket_key:
        denied(lambda: role.put_object(Bucket=bucket, Key="b", Body=b"b"), "AccessDenied", "kms:GenerateDataKey")


def test_the_keys_policy_decides_too(aws: LocalAws, bucket: str, key: str, make_role: Role) -> None:
    """key-policy-overview: without the statement for the account, a policy of the role gives nothing."""
    role = make_role({"s3:*": f"arn:aws:s3:::{bucket}/*", "kms:*": key})
    other = make_role({"s3:*": f"arn:aws:s3:::{bucket}/*"})
    statement = {"Effect": "Allow", "Principal": {"AWS": other}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
    denied(
        lambda: as_role(aws, "s3", role).put_object(Bucket=bucket, Key="a", Body=b"a"),
        "AccessDenied", "kms:GenerateDataKey",
    )  # fmt: skip
    as_role(aws, "s3", other).put_object(Bucket=bucket, Key="a", Body=b"a")


@pytest.mark.parametrize("state", ["missing", "disabled", "deleted"])
def test_a_key_that_cannot_be_used_refuses_all(aws: LocalAws, bucket: str, key: str, state: str) -> None:
    s3, kms = aws.client("s3"), aws.client("kms")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    code = "KMS.NotFoundException"
    if state == "disabled":
        kms.disable_key(KeyId=key)
        code = "KMS.DisabledException"
    elif state == "deleted":
        kms.schedule_key_deletion(KeyId=key)
        code = "KMS.KMSInvalidStateException"
    else:
        named = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": f"{key[:-12]}000000000000"}
        denied(lambda: s3.put_object(Bucket=bucket, Key="a", Body=b"a", **named), code)
        return
    denied(lambda: s3.put_object(Bucket=bucket, Key="b", Body=b"a"), code)
    denied(lambda: s3.get_object(Bucket=bucket, Key="a"), code)


def test_equal_bytes_have_another_etag_at_each_write_under_a_key(aws: LocalAws, bucket: str) -> None:
    """API_Object: under SSE-KMS an ETag is no digest (aws/aws-sdk-java-v2 issue 7082)."""
    s3 = aws.client("s3")
    written = [s3.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"] for _ in range(2)]
    assert len(set(written)) == 2
    assert s3.head_object(Bucket=bucket, Key="a")["ETag"] == written[1]
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == written[1]
    s3.put_object(Bucket=bucket, Key="a", Body=b"c", IfMatch=written[1])
    denied(lambda: s3.put_object(Bucket=bucket, Key="a", Body=b"c", IfMatch=written[1]), "PreconditionFailed")


def test_an_etag_of_parts_names_their_number_and_is_what_the_object_has(aws: LocalAws, bucket: str) -> None:
    s3 = aws.client("s3")
    etags = []
    for _ in range(2):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
        done = s3.complete_multipart_upload(
            Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
        )
        etags.append(done["ETag"])
        assert s3.head_object(Bucket=bucket, Key="m")["ETag"] == done["ETag"]
    assert etags[0] != etags[1]
    assert all(etag.strip('"').endswith("-1") for etag in etags)


def test_an_event_names_the_etag_that_the_object_has(aws: LocalAws, bucket: str, unique: str) -> None:
    s3, sqs = aws.client("s3"), aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    etag = s3.put_object(Bucket=bucket, Key="seen", Body=b"a")["ETag"].strip('"')
    for _ in range(20):
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            for record in json.loads(message["Body"]).get("Records", []):
                if record["s3"]["object"]["key"] == "seen":
                    assert record["s3"]["object"]["eTag"] == etag
                    return
    raise AssertionError("no event of the object came")


def test_sending_and_receiving_under_a_key(aws: LocalAws, unique: str, key: str, make_role: Role) -> None:
    """sqs-key-management: a producer needs GenerateDataKey and Decrypt, a consumer Decrypt."""
    queue = aws.client("sqs").create_queue(QueueName=unique, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    plain = as_role(aws, "sqs", make_role({"sqs:*": arn}))
    half = as_role(aws, "sqs", make_role({"sqs:*": arn, "kms:GenerateDataKey": key}))
    whole = as_role(aws, "sqs", make_role({"sqs:*": arn, "kms:GenerateDataKey": key, "kms:Decrypt": key}))
    code = "KMS.AccessDeniedException"
    denied(lambda: plain.send_message(QueueUrl=queue, MessageBody="a"), code, "kms:GenerateDataKey")
    denied(lambda: half.send_message(QueueUrl=queue, MessageBody="a"), code, "kms:Decrypt")
    denied(
        lambda: plain.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "a"}]), code, "kms:Gener"
    )
    whole.send_message(QueueUrl=queue, MessageBody="a")
    denied(lambda: plain.receive_message(QueueUrl=queue), code, "kms:Decrypt")
    (message,) = whole.receive_message(QueueUrl=queue)["Messages"]
    plain.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    aws.client("kms").disable_key(KeyId=key)
    denied(lambda: whole.send_message(QueueUrl=queue, MessageBody="a"), "KMS.DisabledException")


def test_items_of_a_table_under_a_key(aws: LocalAws, unique: str, key: str, make_role: Role) -> None:
    """aws/aws-cdk issue 10010: writing needs kms:Decrypt as reading does."""
    aws.client("dynamodb").create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    table = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{unique}"
    plain = as_role(aws, "dynamodb", make_role({"dynamodb:*": table}))
    item = {"p": {"S": "a"}}
    words = ("KMS key access denied error", "kms:Decrypt")
    code = "AccessDeniedException"
    denied(lambda: plain.put_item(TableName=unique, Item=item), code, *words)
    denied(lambda: plain.get_item(TableName=unique, Key=item), code, *words)
    denied(lambda: plain.batch_write_item(RequestItems={unique: [{"PutRequest": {"Item": item}}]}), code, *words)
    denied(
        lambda: plain.transact_write_items(TransactItems=[{"Put": {"TableName": unique, "Item": item}}]), code, *words
    )
    insert = f"""INSERT INTO "{unique}" VALUE {{'p': 'b'}}"""
    denied(lambda: plain.batch_execute_statement(Statements=[{"Statement": insert}]), code, *words)
    assert plain.describe_table(TableName=unique)["Table"]["SSEDescription"]["KMSMasterKeyArn"] == key
    with_key = as_role(aws, "dynamodb", make_role({"dynamodb:*": table, "kms:Decrypt": key}))
    with_key.put_item(TableName=unique, Item=item)
    assert with_key.get_item(TableName=unique, Key=item)["Item"] == item
    aws.client("kms").disable_key(KeyId=key)
    denied(lambda: aws.client("dynamodb").get_item(TableName=unique, Key=item), code, "is disabled")


def let_in(aws: LocalAws, key: str, service: str, condition: dict[str, Any] | None = None) -> None:
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    actions = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": actions, "Resource": "*"}
    statements = [own, {**statement, "Condition": condition} if condition else statement]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)


def test_a_log_group_needs_the_key_to_let_logs_in_for_it(aws: LocalAws, unique: str, key: str) -> None:
    """encrypt-log-data-kms: the service, by region, with the group's ARN as encryption context."""
    logs = aws.client("logs")
    words = "The specified KMS key does not exist or is not allowed to be used with Arn"
    denied(lambda: logs.create_log_group(logGroupName=unique, kmsKeyId=key), "AccessDeniedException", words, unique)
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{unique}"
    for arn in (f"{group}-other", group):
        if arn == group:
            denied(lambda: logs.create_log_group(logGroupName=unique, kmsKeyId=key), "AccessDeniedException", words)
        let_in(aws, key, "logs.us-east-1.amazonaws.com", {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": arn}})
    logs.create_log_group(logGroupName=unique, kmsKeyId=key)
    missing = f"{key[:-12]}000000000000"
    denied(
        lambda: logs.create_log_group(logGroupName=f"{unique}-b", kmsKeyId=missing),
        "InvalidParameterException", "could not be found",
    )  # fmt: skip
    other = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    denied(lambda: logs.associate_kms_key(logGroupName=unique, kmsKeyId=other), "AccessDeniedException", words)
