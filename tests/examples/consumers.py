"""Examples as a consumer has them: a stack of its own that names the module by its path."""

import re
import shutil
from pathlib import Path

from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack

WORK = ROOT / ".build" / "examples"

DISPOSABLE = """# So that a try can be destroyed.
module "{module}" {{
  deletion_protection = false
  force_destroy       = true
}}
"""


def names() -> list[str]:
    """Every example that is a stack."""
    return sorted(path.parent.name for path in (ROOT / "examples").glob("*/main.tf"))


def copy(name: str) -> Path:
    """The example in a folder of its own, with an override that lets it be destroyed."""
    source, folder = ROOT / "examples" / name, WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    modules = []
    for path in source.iterdir():
        if path.suffix == ".tf":
            text = path.read_text(encoding="utf-8")
            modules += re.findall(r'^module "(\w+)" \{\n\s*source += "\.\./\.\."$', text, re.MULTILINE)
            text = re.sub(r'(source += )"\.\./\.\.(/[\w/]+)?"', r'\1"../../..\2"', text)
            (folder / path.name).write_text(text, encoding="utf-8")
        elif path.is_file() and not path.name.startswith("."):
            shutil.copy(path, folder)
    text = "\n".join(DISPOSABLE.format(module=module) for module in modules)
    (folder / "disposable_override.tf").write_text(text, encoding="utf-8")
    return folder


def stack(aws: LocalAws, name: str, purpose: str = "applied") -> Stack:
    """`purpose` keeps the states of an example apart."""
    return Stack(aws, WORK / "state" / f"example-{name}-{purpose}", {}, copy(name))


def remains(aws: LocalAws) -> list[str]:
    """What an account holds of the kinds that the module makes. A key that waits for its deletion does not count."""
    s3, kms, iam, logs = (aws.client(service) for service in ("s3", "kms", "iam", "logs"))
    found = [f"bucket {bucket['Name']}" for bucket in s3.list_buckets()["Buckets"]]
    for key in kms.list_keys()["Keys"]:
        described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if described["KeyManager"] == "CUSTOMER" and described["KeyState"] != "PendingDeletion":
            found.append(f"key {key['KeyId']}")
    found += [f"role {role['RoleName']}" for role in iam.list_roles()["Roles"]]
    found += [f"log group {group['logGroupName']}" for group in logs.describe_log_groups()["logGroups"]]
    listings = [
        ("dynamodb", "list_tables", "TableNames", None),
        ("sqs", "list_queues", "QueueUrls", None),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("lambda", "list_layers", "Layers", "LayerName"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        ("stepfunctions", "list_state_machines", "stateMachines", "name"),
        ("events", "list_rules", "Rules", "Name"),
        ("scheduler", "list_schedules", "Schedules", "Name"),
    ]
    for service, operation, member, name in listings:
        answer = getattr(aws.client(service), operation)()
        found += [f"{service} {each[name] if name else each}" for each in answer.get(member, [])]
    buses = aws.client("events").list_event_buses()["EventBuses"]
    return found + [f"bus {bus['Name']}" for bus in buses if bus["Name"] != "default"]
