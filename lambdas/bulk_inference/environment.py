"""Environment variables of the functions, as Terraform sets them on each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Environment:
    """One field per variable: `input_bucket` is `INPUT_BUCKET`."""

    name: str
    input_bucket: str
    output_bucket: str
    ledger_table: str
    runs_table: str
    reprocess_queue_url: str
    event_bus_name: str
    settings_key: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Raises RuntimeError that names every variable that is missing or empty."""
        missing = [f.name.upper() for f in fields(cls) if not environ.get(f.name.upper())]
        if missing:
            raise RuntimeError(f"environment variables not set on this function: {', '.join(missing)}")
        return cls(**{f.name: environ[f.name.upper()] for f in fields(cls)})
