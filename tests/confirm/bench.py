"""A workbench on an account: it makes what a question needs, under one name, and takes all of it away again."""

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

PREFIX = "bulk-inference-confirm"
TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")
RECORDS = 100
"""The least that a batch job takes."""


class LateError(Exception):
    """Something did not come about in the time given; the text names it."""


@dataclass(frozen=True)
class Place:
    """Where and as what the questions are asked. `client(service, credentials=None)` gives boto3's client."""

    client: Callable[..., Any]
    account: str
    region: str
    partition: str = "aws"
    model: str = "amazon.nova-micro-v1:0"
    profile: str = "us.amazon.nova-micro-v1:0"
    claude: str = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    poll_seconds: float = 20
    job_seconds: float = 6 * 3600
    settle_seconds: float = 15
    """How long new policies take to hold."""


@dataclass
class Bench:
    """Makes things whose names begin with PREFIX and takes them away in reverse order, also when a question fails."""

    place: Place
    run: str
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _number: int = 0

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def name(self) -> str:
        """A new name: of buckets, roles, queues and jobs alike."""
        self._number += 1
        return f"{PREFIX}-{self.run}-{self._number}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.place.partition}:{service}:{self.place.region}:{self.place.account}:{resource}"

    def after(self, call: Callable[..., Any], **members: Any) -> None:
        """Call this when the bench is cleared; what is gone already is no error."""

        def quietly() -> None:
            with contextlib.suppress(ClientError):
                call(**members)

        self._undo.callback(quietly)

    def until(self, found: Callable[[], Any], what: str, seconds: float | None = None) -> Any:
        """Ask until something true comes. Raises LateError."""
        deadline = time.monotonic() + (self.place.job_seconds if seconds is None else seconds)
        while not (value := found()):
            if time.monotonic() > deadline:
                raise LateError(f"waited in vain for {what}")
            time.sleep(self.place.poll_seconds)
        return value

    # What is made

    def bucket(self, key: str | None = None) -> str:
        s3, name = self.place.client("s3"), self.name()
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self.place.region}}
        s3.create_bucket(Bucket=name, **({} if self.place.region == "us-east-1" else elsewhere))
        self._undo.callback(self._remove_bucket, name)
        if key:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
            s3.put_bucket_encryption(
                Bucket=name, ServerSideEncryptionConfiguration={"Rules": [{**rule, "BucketKeyEnabled": True}]}
            )
        return name

    def _remove_bucket(self, name: str) -> None:
        s3 = self.place.client("s3")
        with contextlib.suppress(ClientError):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                for entry in page.get("Contents", []):
                    s3.delete_object(Bucket=name, Key=entry["Key"])
            s3.delete_bucket(Bucket=name)

    def key(self) -> str:
        kms = self.place.client("kms")
        arn = str(kms.create_key(Description=self.name())["KeyMetadata"]["Arn"])
        self.after(kms.schedule_key_deletion, KeyId=arn, PendingWindowInDays=7)
        return arn

    def role(self, service: str, statements: Iterable[Mapping[str, Any]]) -> str:
        """A role for a service and for this account's own identities."""
        iam, name = self.place.client("iam"), self.name()
        principal = {"Service": service, "AWS": f"arn:{self.place.partition}:iam::{self.place.account}:root"}
        trust = [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]
        arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"])
        self.after(iam.delete_role, RoleName=name)
        self.policy(arn, statements)
        time.sleep(self.place.settle_seconds)
        return arn

    def policy(self, role: str, statements: Iterable[Mapping[str, Any]]) -> None:
        """What the role may do from now on."""
        iam, name = self.place.client("iam"), role.rsplit("/", 1)[-1]
        full = [{"Effect": "Allow", **statement} for statement in statements]
        iam.put_role_policy(RoleName=name, PolicyName="asked", PolicyDocument=_document(full))
        self.after(iam.delete_role_policy, RoleName=name, PolicyName="asked")

    def assume(self, role: str) -> dict[str, str]:
        answer = self.place.client("sts").assume_role(RoleArn=role, RoleSessionName="confirm")
        credentials: dict[str, str] = answer["Credentials"]
        return credentials

    def batch_role(self, bucket: str, *more: Mapping[str, Any], prefixed: bool = False) -> str:
        """The role of a batch job: the bucket, the model and its profile; `prefixed` lets it list `in/` alone."""
        listing: dict[str, Any] = {"Action": "s3:ListBucket", "Resource": f"arn:{self.place.partition}:s3:::{bucket}"}
        if prefixed:
            listing["Condition"] = {"StringLike": {"s3:prefix": ["in/*", "out/*"]}}
        objects = f"arn:{self.place.partition}:s3:::{bucket}/*"
        return self.role(
            "bedrock.amazonaws.com",
            [
                listing,
                {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": objects},
                {"Action": "bedrock:InvokeModel", "Resource": "*"},
                *more,
            ],
        )

    def queue(self, rule_pattern: Mapping[str, Any]) -> str:
        """URL of a queue that hears what fits a pattern on the default bus."""
        sqs, events, name = self.place.client("sqs"), self.place.client("events"), self.name()
        rule = events.put_rule(Name=name, EventPattern=json.dumps(rule_pattern))["RuleArn"]
        self.after(events.delete_rule, Name=name)
        arn = self.arn("sqs", name)
        send = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        told = {**send, "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule}}}
        url = str(sqs.create_queue(QueueName=name, Attributes={"Policy": _document([told])})["QueueUrl"])
        self.after(sqs.delete_queue, QueueUrl=url)
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        self.after(events.remove_targets, Rule=name, Ids=["queue"])
        return url

    def heard(self, url: str, enough: Callable[[list[dict[str, Any]]], bool], seconds: float) -> list[dict[str, Any]]:
        """Bodies of messages as they come, until there are enough or time is over."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while not enough(found) and time.monotonic() < deadline:
            answer = self.place.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
            found += [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return found

    def machine(self, definition: Mapping[str, Any], role: str) -> str:
        states = self.place.client("stepfunctions")
        answer = states.create_state_machine(name=self.name(), definition=json.dumps(definition), roleArn=role)
        self.after(states.delete_state_machine, stateMachineArn=answer["stateMachineArn"])
        return str(answer["stateMachineArn"])

    # Batch jobs

    def lines(self, bucket: str, records: Iterable[Mapping[str, Any]]) -> str:
        """URI of a file of records."""
        key = f"in/{self.name()}.jsonl"
        body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        self.place.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    def job(self, bucket: str, role: str, source: str, **members: Any) -> str:
        """Create a batch job; it is stopped when the bench is cleared. The ARN."""
        bedrock, name = self.place.client("bedrock"), self.name()
        request = {
            "jobName": name,
            "roleArn": role,
            "modelId": self.place.model,
            "modelInvocationType": "Converse",
            "clientRequestToken": name,
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": source}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}/out/"}},
            **members,
        }
        credentials = request.pop("credentials", None)
        caller = self.place.client("bedrock", credentials=credentials) if credentials else bedrock
        arn = str(caller.create_model_invocation_job(**request)["jobArn"])
        self.after(bedrock.stop_model_invocation_job, jobIdentifier=arn)
        return arn

    def ended(self, arn: str) -> dict[str, Any]:
        """The job when it has ended."""
        bedrock = self.place.client("bedrock")

        def terminal() -> Any:
            job = bedrock.get_model_invocation_job(jobIdentifier=arn)
            return job if job["status"] in TERMINAL else None

        return dict(self.until(terminal, f"the end of {arn}"))

    def output(self, bucket: str, arn: str) -> list[dict[str, Any]]:
        """Lines of a job's output."""
        s3, prefix = self.place.client("s3"), f"out/{arn.rsplit('/', 1)[-1]}/"
        found = []
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            if entry["Key"].endswith(".jsonl.out"):
                body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                found += [json.loads(line) for line in body.split(b"\n") if line]
        return found


def ask(text: str, **more: Any) -> dict[str, Any]:
    """A body of Converse that costs next to nothing."""
    message = {"role": "user", "content": [{"text": text}]}
    return {"messages": [message], "inferenceConfig": {"maxTokens": 5}, **more}


def records(ids: Iterable[str] | None = None, **more: Any) -> list[dict[str, Any]]:
    """As many records as a job needs at least; `ids` begin them."""
    given = list(ids or [])
    filled = given + [f"r{number:05d}" for number in range(RECORDS - len(given))]
    return [{"recordId": each, "modelInput": ask(f"Say {number}.", **more)} for number, each in enumerate(filled)]


def image(side: int = 64) -> bytes:
    """A white PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress((b"\x00" + b"\xff" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def code_of(error: ClientError) -> str:
    """Code and beginning of the message of a refusal."""
    said = error.response["Error"]
    return f"{said.get('Code')}: {said.get('Message', '')[:300]}"


def tried(call: Callable[..., Any], *arguments: Any, **members: Any) -> str:
    """`taken`, or what refused the call."""
    try:
        call(*arguments, **members)
    except ClientError as error:
        return code_of(error)
    return "taken"


def _document(statements: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
