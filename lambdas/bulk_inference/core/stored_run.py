"""A run as it is stored: its plan, and the item that says how it goes."""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.ports import Bucket
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.runs_table import META, Item, run_pk
from bulk_inference.core.times import expiry

CLOSED: Final = frozenset({"succeeded", "empty", "unchanged", "rejected", "nothing_landed"})
"""Statuses of a run whose execution has succeeded: nothing of it can go on."""


def load_spec(input_bucket: Bucket, places: Places) -> RunSpec:
    """Raises InvalidRequestError if the run was never planned."""
    value = input_bucket.get_json(places.spec)
    if value is None:
        raise InvalidRequestError(
            f"s3://{input_bucket.name}/{places.spec} does not exist: start the run by the pipeline, whose "
            "plan_run writes it"
        )
    spec = RunSpec.from_json(value)
    if (spec.tenant, spec.run) != (places.tenant, places.run):
        raise InvalidRequestError(
            f"s3://{input_bucket.name}/{places.spec} is the plan of another run: start the run anew under another name"
        )
    return spec


def run_item(spec: RunSpec, now: float) -> Item:
    """The item META of a run that begins. `now`: epoch seconds."""
    return {
        "pk": run_pk(spec.run),
        "sk": META,
        "expires_at": expiry(spec, now),
        "run": spec.run,
        "tenant": spec.tenant,
        "scope": spec.scope,
        "executionArn": spec.execution_arn,
        "mode": spec.mode,
        "model": spec.model.id,
        "status": "running",
        "createdAt": spec.created_at,
    }


_ELSEWHERE: Final = ("version", "run", "tenant", "scope", "dryRun", "model", "quotas")


def beside(document: Mapping[str, Any]) -> dict[str, Any]:
    """The report as the manifest holds it: without what stands there already. Empty for a plan of an older bundle."""
    return {name: value for name, value in document.items() if name not in _ELSEWHERE}
