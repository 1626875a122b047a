"""A state folder: what one local AWS leaves, the next one with the same folder has."""

from __future__ import annotations

import json
from pathlib import Path

from archives import zipped
from local_aws import LocalAws

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def test_resources_and_data_survive_a_restart(tmp_path: Path) -> None:
    with LocalAws(state=tmp_path) as first:
        port = first.port
        first.client("s3").create_bucket(Bucket="kept")
        first.client("s3").put_object(Bucket="kept", Key="a/b", Body=b"content")
        url = first.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
        first.client("sqs").send_message(QueueUrl=url, MessageBody="waiting")
        first.client("dynamodb").create_table(
            TableName="kept",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        first.client("dynamodb").put_item(TableName="kept", Item={"pk": {"S": "1"}})
        document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        role = first.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        first.client("lambda").create_function(
            FunctionName="kept", Runtime="python3.13", Handler="app.handler", Role=role,
            Code={"ZipFile": zipped({"app.py": "def handler(event, context): return 'alive'"})},
        )  # fmt: skip
    with LocalAws(state=tmp_path) as second:
        assert second.port == port, "queue URLs hold the port"
        assert second.client("s3").get_object(Bucket="kept", Key="a/b")["Body"].read() == b"content"
        assert second.client("sqs").receive_message(QueueUrl=url)["Messages"][0]["Body"] == "waiting"
        assert second.client("dynamodb").get_item(TableName="kept", Key={"pk": {"S": "1"}})["Item"]
        assert json.load(second.client("lambda").invoke(FunctionName="kept")["Payload"]) == "alive"


def test_without_a_state_folder_nothing_survives() -> None:
    with LocalAws() as first:
        first.client("s3").create_bucket(Bucket="gone")
    with LocalAws() as second:
        assert second.client("s3").list_buckets()["Buckets"] == []
