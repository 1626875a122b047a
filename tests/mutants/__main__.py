"""Plays every mutant: `python -m tests.mutants`. Status 1 if one is neither found by a check nor explained.

The HCL's mutants are made of plans of the stacks `brought`, `keyed` and `made` of tests/iam, which the real provider
makes against the local AWS; those of the machines, of asl/ as it stands.
"""

import sys
from collections.abc import Callable

from local_aws import LocalAws
from tests.iam.rendered import Rendered, plan
from tests.mutants import machines, plans

STACKS = ("brought", "keyed", "made")


def told(what: str, count: int, left: list[str], reason: Callable[[str], str | None]) -> int:
    """Print what came of some mutants; the number of those that nothing found and nobody explains."""
    reasons: dict[str, list[str]] = {}
    for name in left:
        reasons.setdefault(reason(name) or "", []).append(name)
    open_ = reasons.pop("", [])
    found, explained = count - len(left), len(left) - len(open_)
    print(f"{what}: {count} mutants, {found} found, {explained} explained, {len(open_)} survive")
    for why, names in reasons.items():
        print(f"  {len(names)} explained: {why}")
        print("".join(f"    {name}\n" for name in names), end="")
    for name in open_:
        print(f"  SURVIVES {name}")
    return len(open_)


def main() -> int:
    survive = told("asl/", *machines.survivors(), machines.reason)
    with LocalAws() as aws:
        stacks: dict[str, Rendered] = {name: plan(aws, name) for name in STACKS}
    for name, rendered in stacks.items():
        survive += told(f"plan of {name}", *plans.survivors(rendered.plan), plans.reason)
    survive += told("policies of brought", *plans.policy_survivors(stacks["brought"]), plans.reason)
    return 1 if survive else 0


if __name__ == "__main__":
    sys.exit(main())
