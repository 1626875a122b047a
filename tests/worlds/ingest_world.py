"""The world of plan_run, cut_shards and seal_shards: S3 and DynamoDB by moto, Service Quotas and the model as fakes."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto import mock_aws

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.aws.dynamodb import Ledger, RunsTable
from bulk_inference.aws.s3 import Bucket
from bulk_inference.core.leases import Leases, unattended
from bulk_inference.core.reach import Reach
from bulk_inference.core.runs_table import run_pk, unit_sk
from bulk_inference.core.settings import Settings
from bulk_inference.corpus.ranges import Cut
from bulk_inference.cut.cut_run import CutServices, cut_run
from bulk_inference.cut.seal_run import SealServices, seal_run
from bulk_inference.ledger.claims import Claim, claim_key
from bulk_inference.plan.plan_run import PlanServices, start_run
from tests.worlds import inference_world

NOW = 1_800_000_000
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SETTINGS: dict[str, Any] = {
    "name": "tickets",
    "models": {HAIKU: {"invokeId": HAIKU, "overrides": {"minRecordsPerJob": 10, "maxRecordsPerJob": 60}}},
    "tenants": {"default": {"batchRoleArn": "arn:aws:iam::123456789012:role/batch"}},
    "sourceBuckets": {"lake": {}, "nowhere": {}},
    "defaults": {"canaryRecords": 3},
}


class Quotas:
    """Service Quotas that knows one name; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def by_code(self, code: str) -> tuple[str, float] | None:
        self.calls += 1
        return None

    def by_name(self, names: Collection[str]) -> Mapping[str, float]:
        self.calls += 1
        name = "sum of in-progress and submitted batch inference jobs using a base model for claude haiku 4.5"
        return {name: 33.0}


class Model:
    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.outcome = ModelOutcome(output={})

    def infer(self, model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> ModelOutcome:
        if (why := reach.misplaced(body)) is not None:
            return ModelOutcome(error_class="invalid_request", error_code="IllegalMedia", error_message=why)
        self.bodies.append(body)
        return self.outcome


class World:
    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        for name in ("input", "output", "lake"):
            self.s3.create_bucket(Bucket=name)
        self._create_table("runs", "pk", "sk")
        self._create_table("ledger", "pk")
        self.input, self.output = self.bucket("input"), self.bucket("output")
        self.runs = RunsTable("runs", self.dynamodb, lambda: NOW)
        self.ledger = Ledger("ledger", self.dynamodb)
        self.executions = inference_world.FakeExecutions(inference_world.World())
        self.quotas, self.model = Quotas(), Model()
        self.settings(SETTINGS)

    def _create_table(self, name: str, *keys: str) -> None:
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind}  # type: ignore[typeddict-item]
                for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )

    def bucket(self, name: str) -> Bucket:
        return Bucket(name, self.s3)

    def settings(self, value: Any) -> None:
        self.input.put_json("config/settings.json", value)

    def corpus(self, *lines: Any, key: str = "default/corpus/a.jsonl", bucket: str = "input") -> None:
        encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        self.bucket(bucket).put(key, b"".join(line + b"\n" for line in encoded))

    def plan(self, name: str = "run-1", /, **changes: Any) -> dict[str, Any]:
        request = {
            "source": {"key": "default/corpus/a.jsonl"},
            "model": {"id": HAIKU},
            "prompt": {"template": "Say {{text}}"},
        } | changes
        world = PlanServices(
            input_bucket=self.input,
            output_bucket=self.output,
            settings_key="config/settings.json",
            source_bucket=self.bucket,
            runs=self.runs,
            quotas=self.quotas,
            model=self.model,
            now=NOW,
        )
        return start_run(name, f"arn:{name}", request, world)

    def cuts(self, plan: Mapping[str, Any]) -> list[Cut]:
        return [Cut.from_json(json.loads(line)) for line in (self.input.get(plan["cuts"]["key"]) or b"").splitlines()]

    def cut(self, plan: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
        world = CutServices(
            self.input,
            self.output,
            self.bucket,
            self.runs,
            self.ledger,
            self.executions,
            Settings.from_json(self.input.get_json("config/settings.json") or {}),
            NOW,
            self.leases,
        )
        return cut_run(plan["run"], plan["tenant"], cut, world)

    def cut_all(self, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [self.cut(plan, cut) for cut in self.cuts(plan)]

    def seal(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        return seal_run(plan["run"], plan["tenant"], SealServices(self.input, self.runs, NOW, self.leases))

    @property
    def leases(self) -> Leases:
        return Leases(self.runs, lambda: NOW, keeper=unattended)

    def claim(self, scope: str, owner: str, *record_ids: str, settled: bool = True) -> None:
        """Claims of a unit that has landed what it claimed, or (`settled` false) has not come so far."""
        run, _, unit = owner.partition("/")
        if settled:
            self.runs.put({"pk": run_pk(run), "sk": unit_sk(unit), "settled": True})
        # One by one: moto cannot insert by PartiQL.
        for one in record_ids:
            assert self.ledger.take_over(Claim(claim_key("default", scope, one), owner, run, NOW + 1000), NOW)

    def objects(self, bucket: str, prefix: str = "default/") -> dict[str, bytes]:
        found = self.bucket(bucket)
        return {one.key: found.get(one.key) or b"" for one in found.list(prefix) if "/corpus/" not in one.key}

    def jsonl(self, bucket: str, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.bucket(bucket).get(key) or b"").split(b"\n")[:-1]]


@contextmanager
def ingest_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield World()
