"""Shows that a change of the HCL changes nothing that it makes: `python -m tests.iam.same_plan REVISION`.

Every stack that the work tree has (examples, the demo, the stacks of this folder) is planned by the real provider, as
REVISION had it and as it is now. Addresses do not count: resources are paired by their type and name. All else does, to
the byte: arguments, policies, definitions, outputs. Status 1 if anything differs.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws import LocalAws
from tests.harness.stack import ROOT, Stack
from tests.iam.rendered import many

WORK = ROOT / ".build" / "same_plan"
NAMES = ("name", "function_name", "alarm_name", "statement_id", "target_id", "bucket", "key", "role", "rule",
         "description", "redrive_policy", "event_source_arn")  # fmt: skip
"""Arguments that tell resources of one type apart."""

OF_THE_CODE = {"source_code_hash", "source_hash"}
"""Arguments that follow the bundle and not the HCL."""

NOW = "now"
Plan = Mapping[str, Any]


def folders(tree: Path) -> dict[str, Path]:
    """Every stack of a work tree, by a name that both trees give it."""
    found = {path.parent.name: path.parent for path in tree.glob("examples/*/main.tf")}
    found |= {f"stack-{path.parent.name}": path.parent for path in tree.glob("tests/iam/stacks/*/main.tf")}
    demo = found.pop("local", None) or tree / "demo"
    return found | ({"demo": demo} if (demo / "main.tf").exists() else {})


def checkout(revision: str) -> tuple[str, Path]:
    """The commit that a revision names, and its tree in .build."""
    commit = subprocess.run(
        ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    tree = WORK / f"{commit}-tree"
    if not tree.exists():
        tree.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    return commit, tree


def plan(aws: LocalAws, side: str, name: str, folder: Path) -> Plan:
    """`terraform show -json` of a fresh plan; a revision's is kept."""
    kept = WORK / side / f"{name}.json"
    if side != NOW and kept.exists():
        return _plan(kept.read_text(encoding="utf-8"))
    stack = Stack(aws, WORK / f"{side}-{name}", {}, folder)
    out = stack.workdir / "plan"
    stack.terraform("init", "-input=false", "-no-color")
    stack.terraform(
        "plan", "-input=false", "-no-color", "-lock=false", "-refresh=false",
        f"-state={stack.workdir / 'terraform.tfstate'}", f"-out={out}",
    )  # fmt: skip
    text = stack.terraform("show", "-json", str(out))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text, encoding="utf-8")
    return _plan(text)


def _plan(text: str) -> Plan:
    found: Plan = json.loads(text)
    return found


def resources(found: Plan) -> dict[str, list[dict[str, Any]]]:
    """By type and name: the arguments of each resource, `"(unknown)"` where they are not known before the apply."""
    made: dict[str, list[dict[str, Any]]] = {}
    for change in found["resource_changes"]:
        if change["mode"] == "managed":
            after, unknown = change["change"]["after"], change["change"]["after_unknown"]
            told = " ".join(f"{name}={after[name]}" for name in NAMES if isinstance(after.get(name), str))
            arguments = {**after, **{name: "(unknown)" for name, value in unknown.items() if value is True}}
            made.setdefault(f"{change['type']} {told}", []).append(arguments)
    return {name: sorted(each, key=lambda one: json.dumps(one, sort_keys=True)) for name, each in made.items()}


@dataclass
class Differences:
    """What two plans do not have in common, and policies that give the same rights in other words; a line each."""

    found: list[str] = field(default_factory=list)
    same_rights: list[str] = field(default_factory=list)


def compare(before: Plan, after: Plan) -> Differences:
    told, old, new = Differences(), resources(before), resources(after)
    for name in sorted(old.keys() | new.keys()):
        ours, theirs = old.get(name, []), new.get(name, [])
        if len(ours) != len(theirs):
            told.found.append(f"{name}: {len(ours)} before, {len(theirs)} now")
        for one, other in zip(ours, theirs, strict=False):
            for argument in sorted(one.keys() | other.keys()):
                was, now = one.get(argument), other.get(argument)
                if was == now or argument in OF_THE_CODE:
                    continue
                if argument in ("policy", "assume_role_policy") and rights(was) == rights(now) is not None:
                    told.same_rights.append(f"{name}: {argument}")
                else:
                    told.found.append(f"{name}: {argument} was {was!r}, is {now!r}")
    outputs = [each["planned_values"].get("outputs", {}) for each in (before, after)]
    for name in sorted(outputs[0].keys() | outputs[1].keys()):
        was, now = (each.get(name, {}).get("value") for each in outputs)
        if was != now and not (rights(was) == rights(now) is not None):
            told.found.append(f"output {name}: was {was!r}, is {now!r}")
    return told


def rights(policy: Any) -> set[str] | None:
    """What a policy gives or denies, one text per action, resource, principal and conditions. None: it is no policy."""
    try:
        statements = json.loads(policy)["Statement"]
    except (TypeError, ValueError, KeyError):
        return None
    found = set()
    for statement in [statements] if isinstance(statements, dict) else statements:
        said = (statement["Effect"], statement.get("Principal"), statement.get("Condition"))
        rest = json.dumps([_sorted(each) for each in said], sort_keys=True)
        for action in many(statement["Action"]):
            found |= {f"{rest} {action} {resource}" for resource in many(statement.get("Resource", []))}
            found |= set() if "Resource" in statement else {f"{rest} {action}"}
    return found


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    return sorted(value) if isinstance(value, list) else value


def main(revision: str) -> int:
    commit, tree = checkout(revision)
    old, new = folders(tree), folders(ROOT)
    names = sorted(old.keys() & new.keys())
    jobs = [(side, name, found[name]) for side, found in ((commit, old), (NOW, new)) for name in names]
    with LocalAws() as aws, ThreadPoolExecutor(2) as pool:
        plans = dict(zip([job[:2] for job in jobs], pool.map(lambda job: plan(aws, *job), jobs), strict=True))
    different = 0
    for name in names:
        told = compare(plans[commit, name], plans[NOW, name])
        different += len(told.found)
        number = sum(len(each) for each in resources(plans[NOW, name]).values())
        print(f"{name}: {number} resources, {len(told.found) or 'no'} differences, "
              f"{len(told.same_rights)} policies with the same rights in other words")  # fmt: skip
        for line in told.found:
            print(f"  {line}")
        if name.startswith("stack-"):
            for line in told.same_rights:
                print(f"  the same rights: {line}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["main"])))
