"""Checks of a definition before it is created, and what its role must already be allowed.

Sources: https://states-language.net/, https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html,
input-output-itemreader.html, input-output-itembatcher.html, input-output-resultwriter.html, and
ValidateStateMachineDefinition in the API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws import iam

from . import choices, integrations, paths, roles
from .errors import ApiError

_COMMON = {"Type", "Comment", "QueryLanguage"}
_FLOW = {"Next", "End", "InputPath", "OutputPath"}
_RESULT = {"ResultPath", "ResultSelector", "Parameters"}
_FIELDS: dict[str, set[str]] = {
    "Pass": _COMMON | _FLOW | {"Result", "ResultPath", "Parameters"},
    "Task": _COMMON
    | _FLOW
    | _RESULT
    | {"Resource", "Retry", "Catch", "TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath"}
    | {"Credentials"},
    "Choice": _COMMON | {"InputPath", "OutputPath", "Choices", "Default"},
    "Wait": _COMMON | _FLOW | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": _COMMON | {"InputPath", "OutputPath"},
    "Fail": _COMMON | {"Error", "ErrorPath", "Cause", "CausePath"},
    "Parallel": _COMMON | _FLOW | _RESULT | {"Branches", "Retry", "Catch"},
    "Map": _COMMON
    | _FLOW
    | _RESULT
    | {"ItemProcessor", "Iterator", "ItemsPath", "ItemSelector", "Retry", "Catch", "MaxConcurrency"}
    | {"MaxConcurrencyPath"},
}
_DISTRIBUTED_FIELDS = {
    "Label",
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
}
_NUMBERS = {
    "TimeoutSeconds": (1, 99_999_999),
    "HeartbeatSeconds": (1, 99_999_999),
    "Seconds": (0, 99_999_999),
    "MaxConcurrency": (0, 10**9),
    "ToleratedFailurePercentage": (0, 100),
    "ToleratedFailureCount": (0, 10**9),
    "MaxItemsPerBatch": (1, 10**9),
    "MaxInputBytesPerBatch": (1, 262_144),
    "MaxItems": (1, 100_000_000),
    "IntervalSeconds": (1, 99_999_999),
    "MaxAttempts": (0, 99_999_999),
    "BackoffRate": (1, 10**9),
    "MaxDelaySeconds": (1, 31_622_400),
}
_LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"\x00-\x1f\x7f-\x9f]{1,40}")
_PLANNED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
_LOG_ACTIONS = (
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)


@dataclass(frozen=True)
class Problem:
    """A diagnostic of ValidateStateMachineDefinition."""

    code: str
    message: str
    location: str

    def shape(self) -> dict[str, str]:
        return {"severity": "ERROR", "code": self.code, "message": self.message, "location": self.location}

    def __str__(self) -> str:
        return f"{self.code}: {self.message} at {self.location}"


def require_valid(text: str) -> dict[str, Any]:
    """The parsed definition. Raises ApiError InvalidDefinition with every problem."""
    found = problems(text)
    if found:
        listed = ", ".join(str(each) for each in found)
        raise ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{listed}'")
    definition: dict[str, Any] = json.loads(text)
    return definition


def problems(text: str) -> list[Problem]:
    """Everything wrong with a definition given as JSON text."""
    if len(text.encode()) > 1024 * 1024:
        return [Problem("SCHEMA_VALIDATION_FAILED", "The definition is larger than 1 MB", "/")]
    try:
        definition = json.loads(text)
    except ValueError as error:
        return [Problem("INVALID_JSON_DESCRIPTION", str(error), "/")]
    if not isinstance(definition, dict):
        return [Problem("SCHEMA_VALIDATION_FAILED", "The definition must be a JSON object", "/")]
    checker = _Checker()
    checker.unknown(definition, {"Comment", "StartAt", "States", "TimeoutSeconds", "Version", "QueryLanguage"}, "")
    checker.language(definition, "")
    checker.numbers(definition, "")
    checker.sequence(definition, "")
    return checker.found


class _Checker:
    """Collects the problems of one definition; state names and labels are unique in all of it."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._names: set[str] = set()
        self._labels: set[str] = set()

    def add(self, message: str, location: str, code: str = "SCHEMA_VALIDATION_FAILED") -> None:
        self.found.append(Problem(code, message, location or "/"))

    def unknown(self, value: Mapping[str, Any], known: set[str], location: str) -> None:
        for key in sorted(value.keys() - known):
            self.add(f"Field '{key}' is not supported", f"{location}/{key}")

    def language(self, value: Mapping[str, Any], location: str) -> None:
        if value.get("QueryLanguage", "JSONPath") != "JSONPath":
            self.add("The local AWS runs the query language JSONPath only", f"{location}/QueryLanguage")

    def numbers(self, value: Mapping[str, Any], location: str) -> None:
        for name, (low, high) in _NUMBERS.items():
            if name in value and (not choices.is_number(value[name]) or not low <= value[name] <= high):
                self.add(f"'{name}' must be a number between {low} and {high}", f"{location}/{name}")
            path = f"{name}Path"
            if path not in value:
                continue
            if name in value:
                self.add(f"Only one of '{name}' and '{path}' can be given", f"{location}/{path}")
            if not isinstance(value[path], str) or not _is_path(value[path]):
                self.add(f"'{path}' must be a path", f"{location}/{path}")

    def sequence(self, value: Mapping[str, Any], location: str) -> None:
        """StartAt and States of the machine, a branch or an item processor."""
        states = value.get("States")
        if not isinstance(states, dict) or not states:
            self.add("'States' must be an object with at least one state", f"{location}/States")
            return
        start = value.get("StartAt")
        if start not in states:
            self.add(f"Missing 'StartAt' target: {start}", f"{location}/StartAt", "MISSING_TRANSITION_TARGET")
        targets: dict[str, set[str]] = {}
        for name, state in states.items():
            at = f"{location}/States/{name}"
            if len(name) > 80:
                self.add("A state's name has at most 80 characters", at)
            if name in self._names:
                self.add(f"The state name '{name}' is used twice", at, "DUPLICATE_STATE_NAME")
            self._names.add(name)
            if not isinstance(state, dict):
                self.add("A state must be a JSON object", at)
                continue
            self.state(state, at)
            targets[name] = {target for target, _ in _targets(state)}
            for target, field in _targets(state):
                if target not in states:
                    self.add(f"Missing '{field}' target: {target}", f"{at}/{field}", "MISSING_TRANSITION_TARGET")
        self._reachable(states, start, targets, location)

    def _reachable(self, states: Mapping[str, Any], start: Any, targets: dict[str, set[str]], location: str) -> None:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in states and name not in seen:
                seen.add(name)
                waiting += targets.get(name, set())
        for name in states:
            if name not in seen:
                self.add(f"State '{name}' is not reachable", f"{location}/States/{name}", "UNREACHABLE_STATE")
        ends = any(
            isinstance(state, dict) and (state.get("End") or state.get("Type") in {"Succeed", "Fail"})
            for state in states.values()
        )
        if not ends:
            self.add("No terminal state was found", f"{location}/States", "MISSING_TERMINAL_STATE")

    def state(self, state: Mapping[str, Any], at: str) -> None:
        kind = state.get("Type")
        if kind not in _FIELDS:
            self.add(f"Unknown state type: {kind}", f"{at}/Type")
            return
        distributed = kind == "Map" and _is_distributed(state)
        self.unknown(state, _FIELDS[kind] | (_DISTRIBUTED_FIELDS if distributed else set()), at)
        self.language(state, at)
        self.numbers(state, at)
        if kind not in {"Choice", "Succeed", "Fail"} and ("Next" in state) == bool(state.get("End")):
            self.add("Exactly one of 'Next' and 'End' is required", at)
        for name in ("InputPath", "OutputPath", "ItemsPath"):
            if state.get(name) is not None and not _is_path(state[name]):
                self.add(f"'{name}' is not a path: {state[name]}", f"{at}/{name}")
        if state.get("ResultPath") is not None and not paths.is_reference_path(state["ResultPath"]):
            self.add(f"'ResultPath' is not a reference path: {state['ResultPath']}", f"{at}/ResultPath")
        for name in ("Parameters", "ResultSelector", "ItemSelector"):
            self.template(state.get(name), f"{at}/{name}")
        self.handlers(state, at)
        checks = {"Task": self.task, "Choice": self.choice, "Wait": self.wait, "Fail": self.fail}
        checks |= {"Parallel": self.parallel, "Map": self.map}
        if kind in checks:
            checks[kind](state, at)

    def template(self, value: Any, at: str) -> None:
        """A payload template: what stands at a `.$` must be a path or an intrinsic function."""
        if isinstance(value, list):
            for index, each in enumerate(value):
                self.template(each, f"{at}[{index}]")
        if not isinstance(value, dict):
            return
        for key, each in value.items():
            if not key.endswith(".$"):
                self.template(each, f"{at}/{key}")
            elif not isinstance(each, str) or not _is_expression(each):
                self.add(
                    f"The value for the field '{key}' must be a valid JSONPath or a valid intrinsic function call",
                    f"{at}/{key}",
                )

    def handlers(self, state: Mapping[str, Any], at: str) -> None:
        for kind in ("Retry", "Catch"):
            entries = state.get(kind, [])
            for index, entry in enumerate(entries):
                here = f"{at}/{kind}[{index}]"
                names = entry.get("ErrorEquals")
                if not isinstance(names, list) or not names:
                    self.add("'ErrorEquals' must be a non-empty array", here)
                elif "States.ALL" in names and (len(names) > 1 or index < len(entries) - 1):
                    self.add("'States.ALL' must appear alone and in the last entry", here)
                self.numbers(entry, here)
                if kind == "Retry":
                    known = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"}
                    self.unknown(entry, known | {"JitterStrategy", "Comment"}, here)
                    if entry.get("JitterStrategy", "NONE") not in {"FULL", "NONE"}:
                        self.add("'JitterStrategy' must be FULL or NONE", f"{here}/JitterStrategy")
                    if entry.get("MaxDelaySeconds", 10**9) < entry.get("IntervalSeconds", 1):
                        self.add("'MaxDelaySeconds' must not be less than 'IntervalSeconds'", here)
                else:
                    self.unknown(entry, {"ErrorEquals", "Next", "ResultPath", "Comment"}, here)
                    if "Next" not in entry:
                        self.add("'Next' is required", here)

    def task(self, state: Mapping[str, Any], at: str) -> None:
        try:
            integrations.parse(str(state.get("Resource")))
        except ValueError as error:
            self.add(str(error), f"{at}/Resource")
            return
        timeout, heartbeat = state.get("TimeoutSeconds", 99_999_999), state.get("HeartbeatSeconds", 0)
        if choices.is_number(timeout) and choices.is_number(heartbeat) and heartbeat >= timeout:
            self.add("'HeartbeatSeconds' must be smaller than 'TimeoutSeconds'", f"{at}/HeartbeatSeconds")

    def choice(self, state: Mapping[str, Any], at: str) -> None:
        rules = state.get("Choices")
        if not isinstance(rules, list) or not rules:
            self.add("'Choices' must be a non-empty array", f"{at}/Choices")
            return
        for index, rule in enumerate(rules):
            if "Next" not in rule:
                self.add("'Next' is required", f"{at}/Choices[{index}]")
            self._rule(rule, f"{at}/Choices[{index}]")

    def _rule(self, rule: Mapping[str, Any], at: str) -> None:
        nested = [*rule.get("And", []), *rule.get("Or", []), *([rule["Not"]] if "Not" in rule else [])]
        for each in nested:
            self._rule(each, at)
        if nested:
            return
        if "Variable" not in rule or not _is_path(rule["Variable"]):
            self.add("'Variable' must be a path", at)
        if len(rule.keys() & choices.COMPARISONS) != 1:
            self.add("Exactly one comparison is required", at)

    def wait(self, state: Mapping[str, Any], at: str) -> None:
        if len(state.keys() & {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"}) != 1:
            self.add("Exactly one of 'Seconds', 'SecondsPath', 'Timestamp', 'TimestampPath' is required", at)
        if "Timestamp" in state and choices.timestamp(state["Timestamp"]) is None:
            self.add("'Timestamp' must be in ISO 8601 form", f"{at}/Timestamp")

    def fail(self, state: Mapping[str, Any], at: str) -> None:
        for name in ("Error", "Cause"):
            if name in state and f"{name}Path" in state:
                self.add(f"Only one of '{name}' and '{name}Path' can be given", at)
            if f"{name}Path" in state and not _is_expression(state[f"{name}Path"]):
                self.add(f"'{name}Path' must be a path or an intrinsic function call", f"{at}/{name}Path")

    def parallel(self, state: Mapping[str, Any], at: str) -> None:
        branches = state.get("Branches")
        if not isinstance(branches, list) or not branches:
            self.add("'Branches' must be a non-empty array", f"{at}/Branches")
            return
        for index, branch in enumerate(branches):
            self.sequence(branch, f"{at}/Branches[{index}]")

    def map(self, state: Mapping[str, Any], at: str) -> None:
        processor = state.get("ItemProcessor", state.get("Iterator"))
        if not isinstance(processor, dict):
            self.add("'ItemProcessor' is required", at)
            return
        self.sequence(processor, f"{at}/ItemProcessor")
        config = processor.get("ProcessorConfig", {})
        if config.get("Mode", "INLINE") not in {"INLINE", "DISTRIBUTED"}:
            self.add("'Mode' must be INLINE or DISTRIBUTED", f"{at}/ItemProcessor/ProcessorConfig/Mode")
        if _is_distributed(state):
            self._distributed(state, config, processor, at)

    def _distributed(
        self, state: Mapping[str, Any], config: Mapping[str, Any], processor: Mapping[str, Any], at: str
    ) -> None:
        if config.get("ExecutionType") not in {"STANDARD", "EXPRESS"}:
            self.add("'ExecutionType' must be STANDARD or EXPRESS", f"{at}/ItemProcessor/ProcessorConfig/ExecutionType")
        if config.get("ExecutionType") == "EXPRESS" and re.search(r"\.(waitForTaskToken|sync)", json.dumps(processor)):
            self.add("Express child workflows support the Request Response pattern only", f"{at}/ItemProcessor")
        label = state.get("Label")
        if label is not None:
            if not isinstance(label, str) or not _LABEL.fullmatch(label):
                self.add("'Label' has at most 40 characters, none of them special", f"{at}/Label")
            if label in self._labels:
                self.add(f"The label '{label}' is used twice", f"{at}/Label")
            self._labels.add(label)
        if "ItemReader" in state:
            if "ItemsPath" in state:
                self.add("Only one of 'ItemReader' and 'ItemsPath' can be given", at)
            self._reader(state["ItemReader"], f"{at}/ItemReader")
        if "ItemBatcher" in state:
            batcher, here = state["ItemBatcher"], f"{at}/ItemBatcher"
            limits = {"MaxItemsPerBatch", "MaxItemsPerBatchPath", "MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"}
            self.unknown(batcher, limits | {"BatchInput"}, here)
            self.numbers(batcher, here)
            self.template(batcher.get("BatchInput"), f"{here}/BatchInput")
            if not batcher.keys() & limits:
                self.add("'MaxItemsPerBatch', 'MaxInputBytesPerBatch' or both are required", here)
        if "ResultWriter" in state:
            self._writer(state["ResultWriter"], f"{at}/ResultWriter")

    def _reader(self, reader: Mapping[str, Any], at: str) -> None:
        self.unknown(reader, {"Resource", "ReaderConfig", "Parameters"}, at)
        config = reader.get("ReaderConfig", {})
        here = f"{at}/ReaderConfig"
        self.numbers(config, here)
        self.template(reader.get("Parameters"), f"{at}/Parameters")
        action = str(reader.get("Resource")).rsplit(":", 1)[-1]
        if not re.fullmatch(r"arn:[^:]+:states:::s3:(getObject|listObjectsV2)", str(reader.get("Resource"))):
            self.add("'Resource' must be s3:getObject or s3:listObjectsV2", f"{at}/Resource")
            return
        given = {key.removesuffix(".$") for key in reader.get("Parameters", {})}
        for name in {"getObject": ("Bucket", "Key"), "listObjectsV2": ("Bucket",)}[action]:
            if name not in given:
                self.add(f"The parameter '{name}' is required", f"{at}/Parameters")
        kind, transformation = config.get("InputType"), config.get("Transformation", "NONE")
        if transformation not in {"NONE", "LOAD_AND_FLATTEN"}:
            self.add("'Transformation' must be NONE or LOAD_AND_FLATTEN", here)
        if transformation == "LOAD_AND_FLATTEN" and action != "listObjectsV2":
            self.add("LOAD_AND_FLATTEN needs s3:listObjectsV2", here)
        if action == "getObject" or transformation == "LOAD_AND_FLATTEN":
            if kind in {"MANIFEST", "PARQUET"}:
                self.add(f"The local AWS does not read {kind}", f"{here}/InputType")
            elif kind not in {"CSV", "JSON", "JSONL"}:
                self.add("'InputType' must be CSV, JSON, JSONL, MANIFEST or PARQUET", f"{here}/InputType")
        elif kind is not None:
            self.add("'InputType' is not allowed with s3:listObjectsV2 and Transformation NONE", f"{here}/InputType")
        if kind == "CSV" and config.get("CSVHeaderLocation") not in {"FIRST_ROW", "GIVEN"}:
            self.add("'CSVHeaderLocation' must be FIRST_ROW or GIVEN", here)
        if config.get("CSVHeaderLocation") == "GIVEN" and not isinstance(config.get("CSVHeaders"), list):
            self.add("'CSVHeaders' is required with CSVHeaderLocation GIVEN", here)

    def _writer(self, writer: Mapping[str, Any], at: str) -> None:
        self.unknown(writer, {"Resource", "Parameters", "WriterConfig"}, at)
        self.template(writer.get("Parameters"), f"{at}/Parameters")
        if not writer:
            self.add("'ResultWriter' must not be empty", at)
        if ("Resource" in writer) != ("Parameters" in writer):
            self.add("'Resource' and 'Parameters' must be given together", at)
        if "Resource" in writer:
            if not re.fullmatch(r"arn:[^:]+:states:::s3:putObject", str(writer["Resource"])):
                self.add("'Resource' must be s3:putObject", f"{at}/Resource")
            if "Bucket" not in {key.removesuffix(".$") for key in writer.get("Parameters", {})}:
                self.add("The parameter 'Bucket' is required", f"{at}/Parameters")
        if "WriterConfig" in writer:
            config = writer["WriterConfig"]
            if config.get("Transformation", "NONE") not in {"NONE", "COMPACT", "FLATTEN"}:
                self.add("'Transformation' must be NONE, COMPACT or FLATTEN", f"{at}/WriterConfig")
            if config.get("OutputType", "JSON") not in {"JSON", "JSONL"}:
                self.add("'OutputType' must be JSON or JSONL", f"{at}/WriterConfig")


def _is_distributed(state: Mapping[str, Any]) -> bool:
    processor = state.get("ItemProcessor")
    config = processor.get("ProcessorConfig", {}) if isinstance(processor, dict) else {}
    return bool(config.get("Mode") == "DISTRIBUTED")


def _targets(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the states that may follow, each with the field that says so."""
    for field in ("Next", "Default"):
        if field in state:
            yield state[field], field
    for field in ("Choices", "Catch"):
        for entry in state.get(field) or []:
            if "Next" in entry:
                yield entry["Next"], "Next"


def _is_path(text: Any) -> bool:
    try:
        paths.compile_path(str(text))
    except paths.PathSyntaxError:
        return False
    return True


def _is_expression(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    if not text.startswith("States."):
        return _is_path(text)
    try:
        paths.compile_intrinsic(text)
    except paths.PathSyntaxError:
        return False
    return True


def _states(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        for state in (value.get("States") or {}).values():
            yield state
            for inner in [*state.get("Branches", []), state.get("ItemProcessor"), state.get("Iterator")]:
                yield from _states(inner)


def require_trust(role: str, machine: str) -> None:
    """Refuse a role that Step Functions may not assume for the state machine of this ARN; its trust policy may ask
    for account and machine
    (https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html). Raises ApiError."""
    try:
        iam.assume(role, "states.amazonaws.com", {"aws:SourceAccount": machine.split(":")[4], "aws:SourceArn": machine})
    except iam.AccessDeniedError as error:
        raise ApiError(
            "AccessDeniedException",
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume "
            "the provided role.",
        ) from error


def require_role(definition: Mapping[str, Any], role: str, logging: Mapping[str, Any], machine: str) -> None:
    """Refuse a machine, named by its ARN, whose role could not do what creating it needs.

    AWS makes a managed rule for `.sync` of nested executions, and a log delivery, in the role's name at this time:
    https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html and cw-logs.html.
    Raises ApiError AccessDeniedException.
    """
    require_trust(role, machine)
    region, account = machine.split(":")[3:5]
    resources = [str(state.get("Resource")) for state in _states(definition) if state.get("Type") == "Task"]
    if any(re.search(r"states:startExecution\.sync(:2)?$", each) for each in resources):
        rule = f"arn:aws:events:{region}:{account}:rule/{_PLANNED_RULE}"
        for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
            if roles.denial(role, action, rule):
                raise ApiError("AccessDeniedException", f"'{role}' is not authorized to create managed-rule.")
    if logging.get("level", "OFF") != "OFF" and any(roles.denial(role, action, "*") for action in _LOG_ACTIONS):
        raise ApiError(
            "AccessDeniedException", "The state machine IAM Role is not authorized to access the Log Destination"
        )
