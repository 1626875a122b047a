"""The knobs and the fault plan themselves: what they accept, what they refuse and how a rule is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_aws import LocalAws, LocalAwsError, faults, knobs


@pytest.fixture(autouse=True)
def as_new() -> Iterator[None]:
    yield
    knobs.reset()
    faults.clear()


def test_knobs_are_read_as_their_type_from_the_command_line() -> None:
    knobs.update(knobs.parse_assignment("job_slots=3"))
    knobs.update(knobs.parse_assignment("event_drop=0.25"))
    knobs.update(knobs.parse_assignment("job_slots_full=refuse"))
    assert (knobs.current.job_slots, knobs.current.event_drop, knobs.current.job_slots_full) == (3, 0.25, "refuse")
    knobs.update({"job_slots": "none"})
    assert knobs.current.job_slots is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"event_dorp": 1}, "'event_dorp' does not exist"),
        ({"event_drop": 1.5}, "'event_drop': must be between 0 and 1"),
        ({"job_slots": 2.5}, "'job_slots': must be a whole number"),
        ({"job_slots": True}, "'job_slots': must be a whole number"),
        ({"seconds_validating": None}, "'seconds_validating': must be a number"),
        ({"job_slots_full": "wait"}, "'job_slots_full': must be one of"),
        ({"poison_marker": 5}, "'poison_marker': must be text"),
    ],
)
def test_a_wrong_knob_is_refused_by_name_and_changes_nothing(values: dict[str, Any], says: str) -> None:
    with pytest.raises(knobs.KnobError, match=says):
        knobs.update({"latency_ms": 7, **values})
    assert knobs.current.latency_ms == 0


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ([], "must be an object"),
        ({"do": "error"}, "field 'target': must be one of record, call, job, event, worker"),
        ({"target": "record", "do": "explode"}, "field 'do': must be one of error, lose"),
        (
            {"target": "event", "do": "drop", "match": {"jobname": "x"}},
            "field 'match.jobname': is not a fact of target",
        ),
        (
            {"target": "event", "do": "drop", "match": {"status": {"like": "x"}}},
            "field 'match.status': must hold exactly",
        ),
        ({"target": "event", "do": "drop", "match": {"status": {"regex": "("}}}, "does not compile"),
        ({"target": "event", "do": "drop", "rate": 2}, "field 'rate': must be a number between 0 and 1, not 2"),
        ({"target": "event", "do": "drop", "times": -1}, "field 'times': must be a whole number of 0 or more"),
        ({"target": "event", "do": "drop", "seconds": 2}, "field 'seconds': is not a field of event/drop"),
        ({"target": "event", "do": "delay"}, "field 'seconds': is required for event/delay"),
        ({"target": "job", "do": "end", "as": "Done"}, "field 'as': must be one of Completed"),
        ({"target": "record", "do": "error", "errorCode": "400"}, "field 'errorCode': must be an HTTP status"),
    ],
)
def test_a_malformed_plan_is_refused_naming_rule_and_field(rule: Any, says: str) -> None:
    kept = {"target": "event", "do": "drop"}
    faults.load([kept])
    with pytest.raises(faults.FaultPlanError, match="rule 2: ") as refused:
        faults.load([kept, rule])
    assert says in str(refused.value)
    assert len(faults.described()["rules"]) == 1  # type: ignore[arg-type]


def test_the_first_rule_that_fires_is_taken_and_counted() -> None:
    faults.load(
        [
            {"target": "call", "match": {"operation": "Get*"}, "do": "throttle", "times": 1},
            {"target": "call", "match": {"operation": ["GetItem", "PutItem"]}, "do": "error", "code": "Boom"},
        ]
    )
    struck = [faults.strike("call", operation=name) for name in ("GetItem", "GetItem", "PutItem", "Query")]
    assert [rule and rule.do for rule in struck] == ["throttle", "error", "error", None]
    shown: Any = faults.described()["rules"]
    assert [(rule["matched"], rule["fired"]) for rule in shown] == [(2, 1), (2, 2)]


def test_after_leaves_the_first_fits_alone() -> None:
    faults.load([{"target": "event", "do": "drop", "after": 2, "times": 1}])
    assert [bool(faults.strike("event", status="x")) for _ in range(4)] == [False, False, True, False]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("job-*", True),
        ("job-?", False),
        ({"prefix": "job-1"}, True),
        ({"suffix": "-a1"}, True),
        ({"contains": "10"}, False),
        ({"regex": r"-a\d$"}, True),
        ({"not": {"suffix": "-a1"}}, False),
        (["other", "job-17-a1"], True),
    ],
)
def test_forms_of_a_match(wanted: object, fits: bool) -> None:
    faults.load([{"target": "job", "match": {"jobName": wanted}, "do": "no_manifest"}])
    assert bool(faults.strike("job", jobName="job-17-a1")) is fits


def test_a_fact_that_is_not_known_never_fits() -> None:
    faults.load([{"target": "record", "match": {"recordId": {"not": "a"}}, "do": "error"}])
    assert faults.strike("record", prompt="text") is None


def test_a_rate_strikes_the_same_identities_every_time() -> None:
    faults.load([{"target": "record", "do": "error", "rate": 0.2}])
    first = [bool(faults.strike("record", f"record {number}")) for number in range(1000)]
    again = [bool(faults.strike("record", f"record {number}")) for number in range(1000)]
    assert first == again
    assert 150 < sum(first) < 250
    knobs.update({"seed": 1})
    assert [bool(faults.strike("record", f"record {number}")) for number in range(1000)] != first


def test_a_rate_without_identity_is_drawn_per_fit() -> None:
    faults.load([{"target": "call", "do": "throttle", "rate": 0.5}])
    struck = [bool(faults.strike("call", operation="GetItem")) for _ in range(200)]
    assert 60 < sum(struck) < 140


def test_routes_change_and_show_both(aws: LocalAws) -> None:
    try:
        shown = aws.local("PUT", "/_local/knobs", {"latency_ms": 3})
        assert shown["latency_ms"]["value"] == 3
        with pytest.raises(LocalAwsError, match="'latency_ms': must be a number"):
            aws.local("PUT", "/_local/knobs", {"latency_ms": "slow"})
        aws.local("PUT", "/_local/faults", [{"target": "event", "do": "drop"}])
        aws.local("POST", "/_local/faults", {"target": "event", "do": "duplicate"})
        assert [rule["do"] for rule in aws.local("GET", "/_local/faults")["rules"]] == ["drop", "duplicate"]
        with pytest.raises(LocalAwsError, match="rule 1: field 'target'"):
            aws.local("PUT", "/_local/faults", [{}])
        aws.local("POST", "/_local/faults", {"target": "event", "do": "drop", "name": "mine"})
        kept = aws.local("DELETE", "/_local/faults?name=mine")["rules"]
        assert [rule["do"] for rule in kept] == ["drop", "duplicate"]
    finally:
        aws.local("DELETE", "/_local/faults")
        aws.local("DELETE", "/_local/knobs")
    assert aws.local("GET", "/_local/faults") == {"rules": []}
    assert aws.local("GET", "/_local/knobs")["latency_ms"]["value"] == 0
