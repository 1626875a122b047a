"""Documents: camelCase JSON and back, errors that name the path."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from bulk_inference.core.environment import Environment
from bulk_inference.core.json_document import Document
from bulk_inference.core.run_spec import Quota
from bulk_inference.core.settings import Settings

SETTINGS: dict[str, Any] = {
    "name": "tickets",
    "models": {"m": {"invokeId": "m", "quotaLabel": None, "batch": True, "overrides": {"maxFileBytes": 5}}},
    "tenants": {"default": {"batchRoleArn": "arn"}},
    "defaults": {"mode": "sync", "jobTimeoutHours": 24.0, "itemsPerBatch": None, "unknownOfANewerBundle": 1},
    "outputKmsKeyArn": None,
}


def test_settings_as_terraform_writes_them() -> None:
    found = Settings.from_json(SETTINGS)
    assert found.models["m"].overrides.max_file_bytes == 5
    assert found.defaults.job_timeout_hours == 24
    assert isinstance(found.defaults.job_timeout_hours, int)
    assert (found.defaults.mode, found.defaults.items_per_batch) == ("sync", 100)


def test_to_json_and_back() -> None:
    found = Settings.from_json(SETTINGS)
    assert Settings.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.to_json()["models"]["m"]["invokeId"] == "m"


@dataclass(frozen=True)
class Holder(Document):
    quotas: dict[str, Quota]
    names: list[str]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"names": []}, "quotas: missing"),
        ({"quotas": {}, "names": ["a", 1]}, "names[1]: expected str, found int"),
        ({"quotas": {"a": {"value": "1", "source": "x"}}, "names": []}, "quotas.a.value: expected int, found str"),
        ({"quotas": {"a": {"value": True, "source": "x"}}, "names": []}, "quotas.a.value: expected int, found bool"),
        ({"quotas": [], "names": []}, "quotas: expected dict, found list"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(value: dict[str, Any], path: str) -> None:
    with pytest.raises(ValueError) as caught:
        Holder.from_json(value)
    assert str(caught.value) == path


def test_environment_names_every_missing_variable() -> None:
    names = ["NAME", "INPUT_BUCKET", "OUTPUT_BUCKET", "LEDGER_TABLE", "RUNS_TABLE"]
    names += ["REPROCESS_QUEUE_URL", "EVENT_BUS_NAME", "SETTINGS_KEY"]
    assert Environment.from_env(dict.fromkeys(names, "x")).settings_key == "x"
    with pytest.raises(RuntimeError, match="NAME, SETTINGS_KEY"):
        Environment.from_env(dict.fromkeys(names[1:-1], "x") | {"NAME": ""})
