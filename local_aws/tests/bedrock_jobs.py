"""What the tests of Bedrock batch jobs share: a bucket, a service role, a job, and the way to its end."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from local_aws import LocalAws

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
OLD_HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
NO_BATCH = "cohere.command-r-v1:0"

TERMINAL = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}

FAST = {
    "seconds_submitted": 0,
    "seconds_validating": 0,
    "seconds_scheduled": 0,
    "seconds_stopping": 0,
    "min_records_per_job": 1,
}

_number = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other test of this session uses."""
    return f"{prefix}-{next(_number)}-{time.monotonic_ns() % 10**9}"


def converse_line(record_id: str | None, text: str, **model_input: Any) -> dict[str, Any]:
    """A Converse-shaped record of a batch input file."""
    body = {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 200}}
    return {**({"recordId": record_id} if record_id else {}), "modelInput": {**body, **model_input}}


def claude_line(record_id: str, text: str) -> dict[str, Any]:
    """A record with the native body of Claude."""
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
    }
    return {"recordId": record_id, "modelInput": body}


class Batch:
    """A bucket and a service role in a local AWS, and jobs on them."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.bedrock = aws.client("bedrock")
        self.s3 = aws.client("s3")
        self.iam = aws.client("iam")
        self.bucket = unique("batch")
        self.s3.create_bucket(Bucket=self.bucket)
        self.role_arn = self.role()

    def role(self, *, statements: list[dict[str, Any]] | None = None, trust: dict[str, Any] | None = None) -> str:
        """A service role as the user guide's page on batch inference roles has it, or a broken one."""
        name = unique("batch-role")
        arn: str = self.iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [trust or self.trust("bedrock.amazonaws.com")]}
            ),
        )["Role"]["Arn"]
        self.iam.put_role_policy(
            RoleName=name,
            PolicyName="batch",
            PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": self.statements() if statements is None else statements}
            ),
        )
        return arn

    def trust(self, service: str, source: str = "model-invocation-job/*") -> dict[str, Any]:
        return {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": self.aws.account},
                "ArnEquals": {"aws:SourceArn": f"arn:aws:bedrock:{self.aws.region}:{self.aws.account}:{source}"},
            },
        }

    def statements(self, *without: str) -> list[dict[str, Any]]:
        """What the role needs, except for the actions named."""
        objects = [f"arn:aws:s3:::{self.bucket}/*"]
        needed = {
            "s3:ListBucket": [f"arn:aws:s3:::{self.bucket}"],
            "s3:GetObject": objects,
            "s3:PutObject": objects,
            "bedrock:InvokeModel": ["*"],
        }
        return [
            {"Effect": "Allow", "Action": action, "Resource": resources}
            for action, resources in needed.items()
            if action not in without
        ]

    def upload(self, key: str, lines: Iterable[dict[str, Any] | str]) -> None:
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())

    def request(self, **changes: Any) -> dict[str, Any]:
        """A CreateModelInvocationJob request that is accepted, with changes; None takes a member away."""
        request = {
            "jobName": unique("job"),
            "roleArn": self.role_arn,
            "modelId": HAIKU,
            "modelInvocationType": "Converse",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{self.bucket}/in/a.jsonl"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{self.bucket}/out/"}},
        }
        return {name: value for name, value in {**request, **changes}.items() if value is not None}

    def source(self, key: str) -> dict[str, Any]:
        return {"s3InputDataConfig": {"s3Uri": f"s3://{self.bucket}/{key}"}}

    def create(self, **changes: Any) -> str:
        arn: str = self.bedrock.create_model_invocation_job(**self.request(**changes))["jobArn"]
        return arn

    def get(self, arn: str) -> dict[str, Any]:
        job: dict[str, Any] = self.bedrock.get_model_invocation_job(jobIdentifier=arn)
        return job

    def until(self, arn: str, *statuses: str) -> dict[str, Any]:
        """The job as soon as it has one of the statuses; fails when it ends otherwise."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            job = self.get(arn)
            if job["status"] in statuses:
                return job
            assert job["status"] not in TERMINAL, f"{job['status']}: {job.get('message')}"
            time.sleep(0.02)
        raise AssertionError(f"{arn} is {self.get(arn)['status']} after 60 s, wanted {statuses}")

    def ended(self, arn: str) -> dict[str, Any]:
        return self.until(arn, *TERMINAL)

    def run(self, lines: Iterable[dict[str, Any] | str], **changes: Any) -> dict[str, Any]:
        """Upload the lines, create a job on them, and wait for its end."""
        key = f"in/{unique('records')}.jsonl"
        self.upload(key, lines)
        return self.ended(self.create(**{"inputDataConfig": self.source(key), **changes}))

    def output_keys(self, job: dict[str, Any]) -> list[str]:
        prefix = f"out/{job['jobArn'].rsplit('/', 1)[-1]}/"
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [each["Key"].removeprefix(prefix) for each in listed]

    def output(self, job: dict[str, Any], name: str) -> bytes:
        key = f"out/{job['jobArn'].rsplit('/', 1)[-1]}/{name}"
        data: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def lines(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Every line of the job's output files."""
        names = [name for name in self.output_keys(job) if name != "manifest.json.out"]
        return [json.loads(line) for name in names for line in self.output(job, name).split(b"\n") if line]

    def manifest(self, job: dict[str, Any]) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.output(job, "manifest.json.out"))
        return manifest


@functools.cache
def _batch(aws: LocalAws) -> Batch:
    # boto3 takes longer to make its clients than most tests take.
    return Batch(aws)


@contextmanager
def settled(aws: LocalAws, **knobs: object) -> Iterator[Batch]:
    """The session's `Batch` with the fast knobs and those given; knobs, faults and quotas are as new afterwards."""
    aws.local("PUT", "/_local/knobs", {**FAST, **knobs})
    try:
        yield _batch(aws)
    finally:
        for what in ("knobs", "faults", "quotas"):
            aws.local("DELETE", f"/_local/{what}")
