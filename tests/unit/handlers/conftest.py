"""The services that handlers are given, as fakes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from bulk_inference.aws import dynamodb
from bulk_inference.core.environment import Environment
from bulk_inference.handlers import guard, wiring
from tests.worlds.inference_world import SETTINGS, Stage

IDS = [f"r{n}" for n in range(6)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    stage = Stage()
    stage.piece("00001-001", IDS)
    env = Environment("tickets", "in-bucket", "out-bucket", "ledger", "runs", "url", "bus", "config/settings.json")
    fakes: dict[str, Any] = {
        "environment": lambda: env,
        "input_bucket": lambda: stage.input,
        "output_bucket": lambda: stage.output,
        "runs_table": lambda: stage.runs,
        "batch_jobs": lambda: stage.jobs,
        "task_tokens": lambda: stage.tasks,
        "completion_bus": lambda: stage.bus,
        "stop_services": lambda context: stage.stop_world,
        "settings": lambda: SETTINGS,
        "run_spec": lambda tenant, run: stage.spec,
        "unit_context": lambda tenant, run, context, **given: replace(
            stage.unit_context, clock=replace(stage.time.clock, remaining=lambda: context.left / 1000)
        ),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(wiring, name, fake)
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        guard._persistence.cache_clear()
        monkeypatch.setattr(dynamodb, "connect", lambda: client)
        yield stage
        guard._persistence.cache_clear()
