"""Environment variables of the functions, as Terraform sets them on each."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from bulk_inference.core.errors import InvalidRequestError


class _Variables:
    """One field per variable: `input_bucket` is `INPUT_BUCKET`."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Raises RuntimeError that names every variable that is missing or empty."""
        names = [one.name for one in fields(cls)]  # type: ignore[arg-type]
        missing = [name.upper() for name in names if not environ.get(name.upper())]
        if missing:
            raise RuntimeError(f"environment variables not set on this function: {', '.join(missing)}")
        return cls(**{name: environ[name.upper()] for name in names})


@dataclass(frozen=True)
class Environment(_Variables):
    """Of every function."""

    name: str
    input_bucket: str
    output_bucket: str
    ledger_table: str
    runs_table: str
    reprocess_queue_url: str
    event_bus_name: str
    settings_key: str


@dataclass(frozen=True)
class LaneEnvironment(_Variables):
    """Of the failure lane's functions, beside the others."""

    dead_letter_queue_url: str
    pipeline_arn: str
    assembly_arn: str


@dataclass(frozen=True)
class IntakeEnvironment(_Variables):
    """Of the intake's functions, beside the others."""

    intake_queues_url: str
    """URL of the queues without `-{priority}`, which ends each of their names."""
    intake_pools: str
    """JSON: `{priority: {"documents", "minutes", "megabytes"}}`, when a pool is closed."""
    intake_max_receives: str
    pipeline_arn: str


def require_layer() -> None:
    """Raises InvalidRequestError where pyarrow is not there, which plan_run and export_parquet have together or not."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InvalidRequestError(
            "output.parquet: needs pyarrow, which is in a layer of its own: apply the module with parquet = { … }, or "
            "leave it out"
        )
