"""What every Task tries again: the faults of the service that it calls, by the names that Step Functions gives them.

https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html,
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors (functions in a VPC),
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lint import integrations
from tests.lint.findings import Finding
from tests.lint.machines import Machine, State, states

TRANSIENT: Mapping[tuple[str, str], frozenset[str]] = {
    ("lambda", "invoke"): frozenset(
        {
            "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException",
            "Lambda.ClientExecutionTimeoutException", "Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError",
            "Runtime.OutOfMemory", "Lambda.ResourceNotReadyException", "Lambda.TooManyRequestsException",
            "Lambda.EC2ThrottledException", "Lambda.ENILimitReachedException",
            "Lambda.SubnetIPAddressLimitReachedException",
        }
    ),
    # The API has no modelled throttling error: the integration gives what it does not know the service's own name.
    ("states", "startExecution"): frozenset(
        {
            "StepFunctions.ExecutionLimitExceeded", "StepFunctions.ExecutionLimitExceededException",
            "StepFunctions.ThrottlingException", "StepFunctions.SdkClientException",
            "StepFunctions.AWSStepFunctionsException",
        }
    ),
}  # fmt: skip
"""(service, action) → faults that pass by themselves."""

FEWEST = 3
"""Attempts after which a fault that lasts a minute has been waited for."""

CONTRACTS = Path(__file__).with_name("contracts.py")

OF_EVERY_HANDLER = ("ThrottledError", "WorkInProgressError")

Raises = Mapping[str, tuple[str, ...]]


def raised(contracts: Path = CONTRACTS) -> Raises:
    """The table RAISES of contracts.py."""
    for node in ast.parse(contracts.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RAISES" and node.value is not None:
            found: Raises = ast.literal_eval(node.value)
            return found
    raise ValueError(f"{contracts} has no table RAISES")


def check(machine: Machine, raises: Raises) -> Iterator[Finding]:
    """Every Task whose service is known here."""
    for state in states(machine):
        if state.type == "Task":
            yield from check_task(machine, state)
            yield from check_errors(machine, state, raises)


def check_errors(machine: Machine, state: State, raises: Raises) -> Iterator[Finding]:
    """What a handler says by an error is decided by its state; a token that nobody answers is given up."""
    resource = integrations.parse(str(state.body.get("Resource", "")))
    if resource is None or (resource.service, resource.action) != ("lambda", "invoke"):
        return
    rules = [*state.body.get("Retry", []), *state.body.get("Catch", [])]
    named = {name for rule in rules for name in rule.get("ErrorEquals", [])}
    handler = str(state.body.get("Parameters", {}).get("FunctionName", "")).rsplit(":", 1)[-1]
    if handler not in raises:
        yield machine.finding(state.name, "errors", f"RAISES of contracts.py does not say what {handler} raises")
    for name in (*raises.get(handler, ()), *OF_EVERY_HANDLER):
        if name not in named:
            yield machine.finding(state.name, "errors", f"{handler} raises {name}: a Retry or Catch must name it")
    caught = {name for rule in state.body.get("Catch", []) for name in rule.get("ErrorEquals", [])}
    if resource.pattern == ".waitForTaskToken" and not caught & {"States.Timeout", "States.ALL"}:
        yield machine.finding(state.name, "errors", "a token may never be answered: catch States.Timeout")


def check_task(machine: Machine, state: State) -> Iterator[Finding]:
    """Each transient fault is tried again, by the first retrier that matches it, often enough."""
    resource = integrations.parse(str(state.body.get("Resource", "")))
    if resource is None:
        return
    wanted = TRANSIENT.get((resource.service, resource.action))
    if wanted is None:
        called = f"{resource.service}:{resource.action}"
        yield machine.finding(state.name, "transient", f"retries.py knows no faults of {called}")
        return
    for name in sorted(wanted):
        retrier = next((r for r in state.body.get("Retry", []) if name in r.get("ErrorEquals", [])), None)
        if retrier is None:
            yield machine.finding(state.name, "transient", f"{name} passes by itself: a Retry must name it")
        elif retrier.get("MaxAttempts", 3) < FEWEST:
            yield machine.finding(state.name, "transient", f"{name} is tried again fewer than {FEWEST} times")
