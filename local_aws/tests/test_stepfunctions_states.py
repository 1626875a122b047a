"""States, paths, retries and limits of the Amazon States Language.

Sources: https://states-language.net/ and pages under https://docs.aws.amazon.com/step-functions/latest/dg/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from local_aws import LocalAws
from local_aws.stepfunctions import choices, engine, errors, paths
from state_machines import StateMachines, output, single


@pytest.fixture
def machines(aws: LocalAws, unique: str, make_role: Callable[..., str]) -> StateMachines:
    return StateMachines(aws, unique, make_role)


DATA = {"a": {"b": [1, {"c": "x"}, 3]}, "odd key": 5, "list": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DATA),
        ("$.a.b[1].c", "x"),
        ("$['odd key']", 5),
        ("$.a.b[-1]", 3),
        ("$.list[*].n", [1, 2]),
        ("$..n", [1, 2]),
        ("$.a.b[0:2]", [1, {"c": "x"}]),
        ("$.a.b[0,2]", [1, 3]),
        ("$.list[*].missing", []),
        ("$$.State.Name", "Here"),
    ],
)
def test_paths(path: str, value: Any) -> None:
    """states-language.net/#path: what a path names; one that can name several nodes gives a list."""
    assert paths.read(path, DATA, {"State": {"Name": "Here"}}) == value


def test_a_path_that_names_nothing_fails_the_state(machines: StateMachines) -> None:
    """concepts-error-handling: States.Runtime, neither retried nor caught; the message names path and state."""
    state: dict[str, Any] = {"Type": "Map", "ItemsPath": "$.l"}
    state["ItemProcessor"] = {"StartAt": "P", "States": {"P": _pass()}}
    state |= {"Parameters": {"x.$": "$.missing"}, "Retry": [{"ErrorEquals": ["States.ALL"]}]}
    described = machines.run(single(state), {"l": [1]})
    assert described["error"] == "States.Runtime"
    assert described["cause"] == (
        "An error occurred while executing the state 'Only' (entered at the event id #2). The JSONPath '$.missing' "
        "specified for the field 'x.$' could not be found in the input '{\"l\":[1]}'"
    )


def _pass(**fields: Any) -> dict[str, Any]:
    return {"Type": "Pass", "End": True, **fields}


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("States.Format('{} of \\{{}\\}', $.n, 'it''s')", None),
        ("States.Format('{}-{}', $.n, $.obj)", '2-{"k":[1,"é"]}'),
        ("States.Format('it\\'s \\{{}\\}', 'x')", "it's {x}"),
        ("States.StringToJson('[1, 2]')", [1, 2]),
        ("States.JsonToString($.obj)", '{"k":[1,"é"]}'),
        ("States.Array($.n, 'b', null, true, -1.5)", [2, "b", None, True, -1.5]),
        ("States.ArrayPartition(States.ArrayRange(1, 5, 2), 2)", [[1, 3], [5]]),
        ("States.ArrayContains($.obj.k, 1)", True),
        ("States.ArrayGetItem($.obj.k, 1)", "é"),
        ("States.ArrayLength($.obj.k)", 2),
        ("States.ArrayUnique(States.Array(1, 1, 2))", [1, 2]),
        ("States.Base64Decode(States.Base64Encode('Data é'))", "Data é"),
        ("States.Hash('input data', 'SHA-1')", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ('States.JsonMerge($.obj, States.StringToJson(\'{"k": 0, "z": 1}\'), false)', {"k": 0, "z": 1}),
        ("States.MathAdd(111, -1)", 110),
        ("States.StringSplit('1,2;;3', ',;')", ["1", "2", "3"]),
    ],
)
def test_intrinsic_functions(call: str, value: Any) -> None:
    """intrinsic-functions: the examples' results, escapes and nesting; text that is no call is refused."""
    data = {"n": 2, "obj": {"k": [1, "é"]}}
    if value is None:
        with pytest.raises(paths.PathSyntaxError):
            paths.evaluate(call, data, {})
    else:
        assert paths.evaluate(call, data, {}) == value


def test_intrinsic_failure() -> None:
    """intrinsic-functions: a call that cannot be done fails with States.IntrinsicFailure."""
    with pytest.raises(errors.StateError) as caught:
        paths.evaluate("States.ArrayGetItem($.l, 9)", {"l": []}, {})
    assert caught.value.error == "States.IntrinsicFailure"


def test_result_path_leaves_the_input_alone() -> None:
    """input-output-resultpath: the result goes into a copy; null discards it; a path through text fails."""
    original = {"a": {"b": 1}, "t": "text"}
    assert paths.write("$.a.c.d", original, 9) == {"a": {"b": 1, "c": {"d": 9}}, "t": "text"}
    assert original == {"a": {"b": 1}, "t": "text"}
    assert paths.write(None, original, 9) == original
    assert paths.write("$", original, 9) == 9
    with pytest.raises(errors.StateError) as caught:
        paths.write("$.t.x", original, 9)
    assert caught.value.error == "States.ResultPathMatchFailure"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"Variable": "$.s", "StringEquals": "abc"}, True),
        ({"Variable": "$.n", "StringEquals": "1"}, False),
        ({"Variable": "$.s", "StringMatches": "a*c"}, True),
        ({"Variable": "$.star", "StringMatches": "a\\*c"}, True),
        ({"Variable": "$.s", "StringMatches": "a\\*c"}, False),
        ({"Variable": "$.n", "NumericGreaterThanPath": "$.m"}, True),
        ({"Variable": "$.b", "NumericEquals": 1}, False),
        ({"Variable": "$.b", "BooleanEquals": True}, True),
        ({"Variable": "$.t", "TimestampLessThan": "2026-01-01T01:00:00+02:00"}, False),
        ({"Variable": "$.t", "IsTimestamp": True}, True),
        ({"Variable": "$.gone", "IsPresent": False}, True),
        ({"Variable": "$.null", "IsPresent": True}, True),
        ({"Variable": "$.null", "IsNull": True}, True),
        ({"And": [{"Variable": "$.n", "IsNumeric": True}, {"Not": {"Variable": "$.n", "NumericEquals": 2}}]}, True),
        ({"Or": [{"Variable": "$.n", "IsString": True}, {"Variable": "$.b", "IsNumeric": True}]}, False),
    ],
)
def test_choice_rules(rule: dict[str, Any], expected: bool) -> None:
    """state-choice: comparisons hold only between values of their type."""
    data = {"s": "abc", "star": "a*c", "n": 1, "m": 0.5, "b": True, "t": "2026-01-01T00:00:00Z", "null": None}
    assert choices.holds(rule, data, {}) is expected


def test_choice_without_a_match(machines: StateMachines) -> None:
    """state-choice: States.NoChoiceMatched without Default; a Variable that is not there is States.Runtime."""
    rule = {"Variable": "$.a", "NumericEquals": 1, "Next": "Yes"}
    definition = {"StartAt": "If", "States": {"If": {"Type": "Choice", "Choices": [rule]}, "Yes": {"Type": "Succeed"}}}
    assert machines.run(definition, {"a": 2})["error"] == "States.NoChoiceMatched"
    described = machines.run(definition, {})
    assert described["error"] == "States.Runtime"
    assert "condition path references an invalid value" in described["cause"]


def test_input_output_processing(machines: StateMachines) -> None:
    """concepts-input-output-filtering: InputPath, Parameters, ResultPath and OutputPath in their order."""
    state = {
        "Type": "Pass",
        "InputPath": "$.in",
        "Parameters": {"v.$": "$.x", "run.$": "$$.Execution.Name", "fixed": {"k": [1]}},
        "ResultPath": "$.out.here",
        "OutputPath": "$.out",
    }
    described = machines.run(single(state), {"in": {"x": 1}, "out": {"kept": 0}})
    assert output(described) == {"kept": 0, "here": {"v": 1, "run": described["name"], "fixed": {"k": [1]}}}


def test_fail_by_paths(machines: StateMachines) -> None:
    """state-fail: ErrorPath and CausePath, also with an intrinsic function."""
    state = {"Type": "Fail", "ErrorPath": "$.e", "CausePath": "States.Format('because {}', $.why)"}
    described = machines.run({"StartAt": "F", "States": {"F": state}}, {"e": "Mine", "why": "so"})
    assert (described["status"], described["error"], described["cause"]) == ("FAILED", "Mine", "because so")


def test_parallel_fails_as_a_whole(machines: StateMachines) -> None:
    """state-parallel: outputs in the branches' order; one branch's failure stops the others and can be caught."""
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}}
    fail = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Mine", "Cause": "c"}}}
    first = {"StartAt": "A", "States": {"A": _pass(Result=1)}}
    second = {"StartAt": "B", "States": {"B": _pass(Result=2)}}
    assert output(machines.run(single({"Type": "Parallel", "Branches": [first, second]}))) == [1, 2]
    catch = [{"ErrorEquals": ["Mine"], "ResultPath": "$.failure", "Next": "Caught"}]
    definition = single({"Type": "Parallel", "Branches": [wait, fail], "Catch": catch})
    definition["States"]["Caught"] = {"Type": "Succeed"}
    described = machines.run(definition, {"kept": 1})
    assert output(described) == {"kept": 1, "failure": {"Error": "Mine", "Cause": "c"}}
    events = machines.events(described["executionArn"])
    assert events.index("WaitStateAborted") < events.index("ParallelStateFailed")


def test_inline_map(machines: StateMachines) -> None:
    """state-map-inline: results in the items' order whatever MaxConcurrency; ItemSelector sees the item."""
    processor = {"StartAt": "P", "States": {"P": _pass()}}
    selector = {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "all.$": "$.k"}
    state = {
        "Type": "Map",
        "ItemsPath": "$.l",
        "ItemSelector": selector,
        "MaxConcurrency": 2,
        "ItemProcessor": processor,
    }
    described = machines.run(single(state), {"l": ["a", "b", "c"], "k": 9})
    assert output(described) == [{"i": i, "v": v, "all": 9} for i, v in enumerate("abc")]


@pytest.mark.parametrize(
    ("names", "error", "expected"),
    [
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.ALL"], "States.Runtime", False),
        (["States.Runtime"], "States.Runtime", False),
        (["States.DataLimitExceeded"], "States.DataLimitExceeded", True),
        (["States.TaskFailed"], "Lambda.Unknown", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.TaskFailed"], "States.DataLimitExceeded", False),
        (["A", "B"], "B", True),
        (["A"], "a", False),
    ],
)
def test_error_names(names: list[str], error: str, expected: bool) -> None:
    """concepts-error-handling: what the wildcards of Retry and Catch cover."""
    assert errors.matches(names, error) is expected


def test_retry_delays() -> None:
    """concepts-error-handling: interval × rate^n, capped by MaxDelaySeconds, anywhere below it with FULL jitter."""
    retrier: dict[str, Any] = {"IntervalSeconds": 3, "BackoffRate": 2}
    assert [engine.retry_delay(retrier, n) for n in range(4)] == [3, 6, 12, 24]
    assert engine.retry_delay({}, 2) == 4
    capped = {**retrier, "MaxDelaySeconds": 10}
    assert [engine.retry_delay(capped, n) for n in (1, 2, 5000)] == [6, 10, 10]
    drawn = [engine.retry_delay({**capped, "JitterStrategy": "FULL"}, 3) for _ in range(200)]
    assert all(0 <= delay <= 10 for delay in drawn)
    assert min(drawn) < 4 < 6 < max(drawn)


def test_payload_limit_of_a_state(machines: StateMachines) -> None:
    """service-quotas: 256 KiB of a state's output, in UTF-8 bytes."""
    state = {"Type": "Pass", "Parameters": {"a.$": "$.t", "b.$": "$.t"}}
    assert machines.run(single(state), {"t": "x" * 131_000})["status"] == "SUCCEEDED"
    assert machines.run(single(state), {"t": "x" * 131_073})["error"] == "States.DataLimitExceeded"
    # 160,000 letters of two bytes each.
    four = {"Type": "Pass", "Parameters": {f"{n}.$": "$.t" for n in range(4)}}
    assert machines.run(single(four), {"t": "é" * 40_000})["error"] == "States.DataLimitExceeded"


def test_execution_timeout(machines: StateMachines) -> None:
    """statemachine-structure: TimeoutSeconds of the machine ends the execution as TIMED_OUT with States.Timeout."""
    described = machines.run({**single({"Type": "Wait", "Seconds": 600}), "TimeoutSeconds": 1})
    assert (described["status"], described["error"]) == ("TIMED_OUT", "States.Timeout")
    assert machines.events(described["executionArn"])[-1] == "ExecutionTimedOut"


def test_history_names_its_predecessors(machines: StateMachines) -> None:
    """API_HistoryEvent: ids count from 1, previousEventId leads back, branches lead to where they split."""
    branch = {"StartAt": "A", "States": {"A": _pass()}}
    described = machines.run(
        single({"Type": "Parallel", "Branches": [branch, {**branch, "States": {"A2": _pass()}, "StartAt": "A2"}]})
    )
    events = machines.history(described["executionArn"])
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    kinds = {event["id"]: event["type"] for event in events}
    entered = [event for event in events if event["type"] == "PassStateEntered"]
    assert [kinds[event["previousEventId"]] for event in entered] == ["ParallelStateStarted"] * 2
    assert all(event["previousEventId"] < event["id"] for event in events)
    page = machines.client.get_execution_history(
        executionArn=described["executionArn"], reverseOrder=True, maxResults=1
    )
    assert page["events"][0]["type"] == "ExecutionSucceeded"


def test_time_scale(machines: StateMachines, aws: LocalAws) -> None:
    """The knob `time_scale` is the length of a second of Wait states and of retry intervals."""
    retry = [{"ErrorEquals": ["Mine"], "IntervalSeconds": 3000, "MaxAttempts": 1}]
    branch = {
        "StartAt": "W",
        "States": {"W": {"Type": "Wait", "Seconds": 3000, "Next": "F"}, "F": {"Type": "Fail", "Error": "Mine"}},
    }
    aws.local("PUT", "/_local/knobs", {"time_scale": 0.0001})
    started = time.monotonic()
    try:
        described = machines.run(single({"Type": "Parallel", "Branches": [branch], "Retry": retry}))
    finally:
        aws.local("PUT", "/_local/knobs", {"time_scale": 1.0})
    # Two waits and an interval of 3,000 s each.
    assert (described["stopDate"] - described["startDate"]).total_seconds() >= 0.9
    assert time.monotonic() - started < 3000
    assert machines.events(described["executionArn"]).count("WaitStateExited") == 2
