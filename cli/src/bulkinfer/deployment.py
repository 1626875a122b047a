"""Finding a deployment: its parameter in SSM, or Terraform's outputs.

The parameter `/bulk-inference/{name}` holds JSON, `version` 1: name, region, account, bundle, buckets (input, output),
stateMachines (pipeline), tenants (by name: stateMachineArn, runPrefix), functions, queues, tables, eventBus, intake.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bulkinfer.aws import Aws, told
from bulkinfer.errors import BulkinferError, UsageError

PREFIX: Final = "/bulk-inference/"
VERSION: Final = 1


@dataclass(frozen=True)
class Tenant:
    name: str
    state_machine_arn: str
    """What its runs are started with."""
    run_prefix: str = ""
    """What that puts before the execution's name to make the run's id."""


@dataclass(frozen=True)
class Deployment:
    """Where a deployed pipeline has what."""

    name: str
    input_bucket: str
    output_bucket: str
    pipeline_arn: str
    tenants: Mapping[str, Tenant]
    functions: Mapping[str, str]
    intake_queues: Mapping[str, str]
    document: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises BulkinferError for a version that this tool does not know."""
        if int(value.get("version", 0)) > VERSION:
            raise BulkinferError(
                f"deployment {value.get('name')} is described in version {value['version']}, newer than this tool",
                "pip install --upgrade bulkinfer",
            )
        tenants = {
            name: Tenant(name, one["stateMachineArn"], one.get("runPrefix", ""))
            for name, one in value["tenants"].items()
        }
        return cls(
            name=value["name"],
            input_bucket=value["buckets"]["input"],
            output_bucket=value["buckets"]["output"],
            pipeline_arn=value["stateMachines"]["pipeline"],
            tenants=tenants,
            functions=value.get("functions") or {},
            intake_queues=(value.get("intake") or {}).get("queueUrls") or {},
            document=value,
        )

    def tenant(self, name: str | None) -> Tenant:
        """The tenant of this name; without one the only one, or `default`."""
        if name is None:
            if len(self.tenants) == 1:
                return next(iter(self.tenants.values()))
            name = "default"
            if name not in self.tenants:
                raise UsageError(
                    f"{self.name} has several tenants: {', '.join(sorted(self.tenants))}", "name one with --tenant"
                )
        if name not in self.tenants:
            raise UsageError(f"{self.name} has no tenant {name}", f"there are: {', '.join(sorted(self.tenants))}")
        return self.tenants[name]

    def function(self, handler: str) -> str:
        if handler not in self.functions:
            raise BulkinferError(f"{self.name} has no function {handler}", "apply a newer version of the module")
        return self.functions[handler]


def find(aws: Aws, name: str | None, outputs: str | None) -> Deployment:
    """By name, else by Terraform's outputs, else the only one that there is."""
    if name is not None:
        return _by_name(aws, name)
    if outputs is not None:
        return from_outputs(Path(outputs))
    found = names(aws)
    if len(found) == 1:
        return _by_name(aws, found[0])
    if not found:
        raise UsageError(
            f"no deployment was found below {PREFIX} in Region {aws.region}",
            "name one with --deployment, or pass --outputs FILE (terraform output -json)",
        )
    raise UsageError(
        f"there are several deployments: {', '.join(found)}", "name one: --deployment NAME, or BULKINFER_DEPLOYMENT"
    )


def names(aws: Aws) -> list[str]:
    """Of the deployments in this Region whose parameter may be read."""
    with told("ssm:GetParametersByPath", "looking for deployments"):
        paginator = aws.client("ssm").get_paginator("get_parameters_by_path")
        found = [
            parameter["Name"].removeprefix(PREFIX)
            for page in paginator.paginate(Path=PREFIX.rstrip("/"), Recursive=False)
            for parameter in page["Parameters"]
        ]
    return sorted(found)


def _by_name(aws: Aws, name: str) -> Deployment:
    client = aws.client("ssm")
    with told("ssm:GetParameter", f"reading deployment {name}"):
        try:
            value = client.get_parameter(Name=f"{PREFIX}{name}")["Parameter"]["Value"]
        except client.exceptions.ParameterNotFound:
            raise UsageError(
                f"there is no deployment {name} in Region {aws.region} (parameter {PREFIX}{name})",
                "bulkinfer deployments lists those that there are",
            ) from None
    return Deployment.from_json(json.loads(value))


def from_outputs(path: Path) -> Deployment:
    """From `terraform output -json`: its output `deployment`, wherever the root module calls it so."""
    try:
        shown = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "terraform output -json > outputs.json") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", "terraform output -json > outputs.json") from None
    values = {name: one.get("value") if isinstance(one, dict) else one for name, one in shown.items()}
    candidates = [one for one in values.values() if isinstance(one, dict) and "stateMachines" in one]
    if len(candidates) != 1:
        raise UsageError(
            f"{path} holds {len(candidates)} outputs that describe a deployment",
            'add output "deployment" { value = module.bulk_inference.deployment } to the root module',
        )
    return Deployment.from_json(candidates[0])
