"""A reader's chain: a state in asl/ leads to the handler or the state machine of the same name."""

import re
from collections.abc import Iterator

from tests.lint.findings import Finding
from tests.lint.machines import PLACEHOLDER, PLAIN, Machine, State, states, strings


def check(machines: list[Machine], handlers: set[str]) -> Iterator[Finding]:
    """`handlers` are the modules in lambdas/bulk_inference/handlers, without `.py`."""
    names = {machine.name for machine in machines}
    namesakes = {state.name for machine in machines for state in states(machine)}
    for machine in machines:
        for text in strings(machine.template):
            for placeholder in PLACEHOLDER.findall(text):
                if placeholder not in PLAIN and placeholder.removesuffix("_arn") not in handlers | names:
                    yield machine.finding(
                        "whole file", "placeholder", f"${{{placeholder}}} names no handler and no state machine"
                    )
        for state in states(machine):
            yield from check_state(machine, state, handlers | names, namesakes)


def check_state(machine: Machine, state: State, known: set[str], namesakes: set[str]) -> Iterator[Finding]:
    """What a Task calls has its name, or has a state of its name elsewhere."""
    called = called_name(state)
    if called is None:
        return
    own = state.name.lower().replace(" ", "_")
    expected = called.replace("_", " ").title()
    if own != called and (own in known or expected not in namesakes):
        yield machine.finding(state.name, "state-name", f"calls {called}: the state's name should be {expected!r}")


def called_name(state: State) -> str | None:
    """The handler or state machine that a Task calls, from its placeholder; None if it calls neither."""
    if state.type != "Task":
        return None
    parameters = state.template.get("Parameters", {})
    for key in ("FunctionName", "StateMachineArn"):
        match = re.fullmatch(r"\$\{([a-z0-9_]+)_arn\}", str(parameters.get(key, "")))
        if match:
            return match.group(1)
    return None
