"""Task states: timeouts, retriers, catchers and the names of errors.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lint import integrations
from tests.lint.findings import Finding
from tests.lint.machines import Machine, State, states

STATES_ERRORS = {
    "States.ALL", "States.BranchFailed", "States.DataLimitExceeded", "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout", "States.Http.Socket", "States.IntrinsicFailure", "States.ItemReaderFailed",
    "States.NoChoiceMatched", "States.ParameterPathFailure", "States.Permissions", "States.QueryEvaluationError",
    "States.ResultPathMatchFailure", "States.ResultWriterFailed", "States.TaskFailed", "States.Timeout",
}  # fmt: skip
"""Reserved names that a Retry or Catch can match. States.Runtime is not among them: it always ends the execution."""

LAMBDA_ERRORS = {
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Lambda.ResourceNotReadyException",
    "Sandbox.Timedout",
}
"""Names that the Lambda integration adds to the modelled errors of Invoke, and those that Lambda itself gives to an
environment that dies or takes too long: the page below still says Lambda.Unknown for both, which older runtimes answer
(https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html)."""


def error_classes(path: Path) -> set[str]:
    """Names of the error classes in a module like errors.py, without the base that only groups them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {
        node.name: {ast.unparse(base) for base in node.bases} for node in tree.body if isinstance(node, ast.ClassDef)
    }
    parents = {base for bases in classes.values() for base in bases}
    return classes.keys() - parents


def check(machine: Machine, ours: set[str]) -> Iterator[Finding]:
    """All findings of one machine; `ours` are the error classes of our own."""
    for state in states(machine):
        if state.type == "Task":
            yield from check_timeout(machine, state)
            if not state.body.get("Retry"):
                yield machine.finding(state.name, "task-retry", "a Task needs a Retry")
        for number, retrier in enumerate(state.body.get("Retry", []), 1):
            yield from check_retrier(machine, state.name, number, retrier)
        for field in ("Retry", "Catch"):
            yield from check_names(machine, state, field, ours)


def check_timeout(machine: Machine, state: State) -> Iterator[Finding]:
    """Without a timeout a lost answer is waited for 99,999,999 seconds."""
    body = state.body
    if not {"TimeoutSeconds", "TimeoutSecondsPath"} & body.keys():
        yield machine.finding(state.name, "task-timeout", "a Task needs TimeoutSeconds or TimeoutSecondsPath")
    timeout, heartbeat = body.get("TimeoutSeconds"), body.get("HeartbeatSeconds")
    for field, value in (("TimeoutSeconds", timeout), ("HeartbeatSeconds", heartbeat)):
        if value is not None and not (isinstance(value, int) and 0 < value <= 99_999_999):
            yield machine.finding(state.name, "task-timeout", f"{field} must be from 1 to 99999999, not {value!r}")
    if isinstance(timeout, int) and isinstance(heartbeat, int) and heartbeat >= timeout:
        yield machine.finding(state.name, "task-timeout", "HeartbeatSeconds must be less than TimeoutSeconds")


def check_retrier(machine: Machine, where: str, number: int, retrier: dict[str, Any]) -> Iterator[Finding]:
    """Backoff is spread (JitterStrategy) and bounded (MaxDelaySeconds), and every number is in AWS's range."""
    known = {
        "ErrorEquals",
        "IntervalSeconds",
        "BackoffRate",
        "MaxAttempts",
        "MaxDelaySeconds",
        "JitterStrategy",
        "Comment",
    }

    def finding(message: str) -> Finding:
        return machine.finding(where, "retrier", f"Retry {number}: {message}")

    for field in sorted(retrier.keys() - known):
        yield finding(f"no such field: {field}")
    if retrier.get("JitterStrategy") not in ("FULL", "NONE"):
        yield finding("JitterStrategy must be FULL or NONE")
    interval, delay = retrier.get("IntervalSeconds", 1), retrier.get("MaxDelaySeconds")
    if not (isinstance(delay, int) and 0 < delay < 31_622_401):
        yield finding("MaxDelaySeconds must be given, from 1 to 31622400")
    elif not (isinstance(interval, int) and 0 < interval < delay):
        yield finding("IntervalSeconds must be positive and less than MaxDelaySeconds")
    attempts, rate = retrier.get("MaxAttempts", 3), retrier.get("BackoffRate", 2.0)
    if not (isinstance(attempts, int) and 0 <= attempts <= 99_999_999):
        yield finding("MaxAttempts must be from 0 to 99999999")
    if not (isinstance(rate, int | float) and rate >= 1):
        yield finding("BackoffRate must be at least 1")


def check_names(machine: Machine, state: State, field: str, ours: set[str]) -> Iterator[Finding]:
    """Every error name exists, stands once, and can come from this state."""
    rules = state.body.get(field, [])
    seen: set[str] = set()
    for number, rule in enumerate(rules, 1):
        names = rule.get("ErrorEquals", [])
        if not names:
            yield machine.finding(state.name, "error-name", f"{field} {number}: ErrorEquals is empty")
        if "States.ALL" in names and (len(names) > 1 or number < len(rules)):
            yield machine.finding(state.name, "error-name", f"{field} {number}: States.ALL must stand alone and last")
        for name in names:
            if name in seen:
                yield machine.finding(state.name, "error-name", f"{field} {number}: {name} is matched earlier already")
            seen.add(name)
            problem = name_problem(state, name, ours)
            if problem:
                yield machine.finding(state.name, "error-name", f"{field} {number}: {name} {problem}")


def name_problem(state: State, name: str, ours: set[str]) -> str | None:
    """Why a state can never see this error, or None."""
    if name in STATES_ERRORS:
        return None
    if name.startswith("States."):
        return "is no error that AWS lets a state match"
    resource = integrations.parse(str(state.body.get("Resource", ""))) if state.type == "Task" else None
    if "." not in name:
        if name not in ours:
            return "is no class of lambdas/bulk_inference/core/errors.py"
        if resource and (resource.service, resource.action) != ("lambda", "invoke"):
            return "is raised by functions only, and this state calls none"
        return None
    if resource is None:
        return "cannot be known here: name the errors of a service at its Task"
    if (resource.service, resource.action) == ("lambda", "invoke") and name in LAMBDA_ERRORS:
        return None
    if name in integrations.error_names(resource):
        return None
    return f"is no error of {resource.service}:{resource.action}"


_LEFT_TO_A_REDRIVE = {"AccessDeniedError"}
"""Caught, it would end in a state that a redrive enters again (tests/unit/core/test_errors.py)."""


def check_handled(machines: list[Machine], ours: set[str]) -> Iterator[Finding]:
    """Every error of ours is named by some Retry or Catch: what a machine does about it is decided, not left over."""
    named = {
        name
        for machine in machines
        for state in states(machine)
        for rule in [*state.body.get("Retry", []), *state.body.get("Catch", [])]
        for name in rule.get("ErrorEquals", [])
    }
    for name in sorted(ours - named - _LEFT_TO_A_REDRIVE):
        yield Finding(
            "lambdas/bulk_inference/core/errors.py", name, "error-unhandled", "no Retry or Catch in asl/ names it"
        )
