"""Rules of target `worker`: execution environments that die, stall or run an event twice.

On AWS an environment that dies answers `Runtime.ExitError` ("Troubleshoot execution issues in Lambda"); what it had
called by then has happened. At-least-once delivery may run one event in two environments at once ("Understanding the
Lambda retry behavior").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_aws import LocalAws

Make = Callable[..., str]
Invoke = Callable[..., tuple[Any, str | None]]

WRITES = """
    import boto3, os

    def handler(event, context):
        s3 = boto3.client("s3")
        s3.put_object(Bucket=event["bucket"], Key=event["key"], Body=b"1")
        s3.put_object(Bucket=event["bucket"], Key=event["key"] + "-then", Body=b"1")
        return os.getpid()
"""


@pytest.fixture(autouse=True)
def no_faults_left(aws: LocalAws) -> Iterator[None]:
    yield
    aws.local("DELETE", "/_local/faults")


@pytest.fixture
def bucket(aws: LocalAws, unique: str) -> str:
    aws.client("s3").create_bucket(Bucket=unique)
    return unique


@pytest.fixture
def keys(aws: LocalAws, bucket: str) -> Callable[[], list[str]]:
    return lambda: [one["Key"] for one in aws.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture
def writer(make_function: Make, make_role: Callable[..., str]) -> str:
    return make_function(WRITES, Role=make_role({"logs:*": "*", "s3:*": "*"}))


def killed(function: str, at: str, **match: str) -> dict[str, Any]:
    return {"target": "worker", "match": {"function": function, **match}, "do": "kill", "at": at, "times": 1}


@pytest.mark.parametrize(("at", "done"), [("before", []), ("after", ["a"])])
def test_a_call_is_carried_out_or_not_when_its_caller_dies(
    aws: LocalAws, invoke: Invoke, keys: Callable[[], list[str]], bucket: str, writer: str, at: str, done: list[str]
) -> None:
    aws.local("PUT", "/_local/faults", [killed(writer, at, call="PutObject")])
    answer, mark = invoke(writer, {"bucket": bucket, "key": "a"})
    assert (answer["errorType"], mark) == ("Runtime.ExitError", "Unhandled")
    assert "signal: killed" in answer["errorMessage"]
    assert keys() == done
    _, mark = invoke(writer, {"bucket": bucket, "key": "a"})
    assert mark is None, "the next invocation finds a new environment"
    assert keys() == ["a", "a-then"]


def test_the_call_is_chosen_by_what_it_asks_for(
    aws: LocalAws, invoke: Invoke, keys: Callable[[], list[str]], bucket: str, writer: str
) -> None:
    aws.local("PUT", "/_local/faults", [killed(writer, "before", service="s3", request=f"/{bucket}/b-then")])
    assert invoke(writer, {"bucket": bucket, "key": "a"})[1] is None
    assert invoke(writer, {"bucket": bucket, "key": "b"})[1] == "Unhandled"
    assert keys() == ["a", "a-then", "b"]


def test_other_environments_of_the_function_live_on(
    aws: LocalAws, invoke: Invoke, bucket: str, make_function: Make, make_role: Callable[..., str]
) -> None:
    """One of two callers at a barrier is killed; the other one ends as ever."""
    function = make_function(
        """
        import boto3, time

        def handler(event, context):
            s3 = boto3.client("s3")
            s3.put_object(Bucket=event["bucket"], Key=event["me"], Body=b"")
            while len(s3.list_objects_v2(Bucket=event["bucket"]).get("Contents", [])) < 2:
                time.sleep(0.05)
            s3.delete_object(Bucket=event["bucket"], Key="done-" + event["me"])
            return event["me"]
        """,
        Role=make_role({"logs:*": "*", "s3:*": "*"}),
    )
    aws.local("PUT", "/_local/faults", [killed(function, "before", call="DeleteObject", request="/done-one")])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda me: invoke(function, {"bucket": bucket, "me": me}), ("one", "two"))
    assert one[1] == "Unhandled"
    assert two == ("two", None)


@pytest.mark.parametrize(("at", "done"), [("before", []), ("after", ["a", "a-then"])])
def test_an_invocation_dies_before_it_begins_or_after_it_has_done_all(
    aws: LocalAws, invoke: Invoke, keys: Callable[[], list[str]], bucket: str, writer: str, at: str, done: list[str]
) -> None:
    aws.local("PUT", "/_local/faults", [killed(writer, at, call="Invoke", request='"key": "a"')])
    answer, _ = invoke(writer, {"bucket": bucket, "key": "a"})
    assert answer["errorType"] == "Runtime.ExitError"
    assert keys() == done


def test_one_event_runs_in_two_environments_at_once(
    aws: LocalAws, invoke: Invoke, keys: Callable[[], list[str]], bucket: str, make_function: Make,
    make_role: Callable[..., str],
) -> None:  # fmt: skip
    function = make_function(
        """
        import boto3, os, time

        def handler(event, context):
            s3 = boto3.client("s3")
            s3.put_object(Bucket=event["bucket"], Key=f"{context.aws_request_id}/{os.getpid()}", Body=b"")
            while len(s3.list_objects_v2(Bucket=event["bucket"]).get("Contents", [])) < 2:
                time.sleep(0.05)
            return "both"
        """,
        Role=make_role({"logs:*": "*", "s3:*": "*"}),
    )
    rule = {"target": "worker", "match": {"function": function, "call": "Invoke"}, "do": "repeat", "times": 1}
    aws.local("PUT", "/_local/faults", [rule])
    assert invoke(function, {"bucket": bucket}) == ("both", None), "each waits for the other"
    requests, processes = zip(*(key.split("/") for key in keys()), strict=True)
    assert len(set(requests)) == 1, "the same event under the same request id"
    assert len(set(processes)) == 2
    assert aws.local("GET", "/_local/faults")["rules"][0]["fired"] == 1


def test_a_paused_caller_goes_on(
    aws: LocalAws, invoke: Invoke, keys: Callable[[], list[str]], bucket: str, writer: str
) -> None:
    rule = {"target": "worker", "match": {"function": writer, "call": "PutObject"}, "do": "pause", "seconds": 0.2}
    aws.local("PUT", "/_local/faults", [rule])
    assert invoke(writer, {"bucket": bucket, "key": "a"})[1] is None
    assert keys() == ["a", "a-then"]
    assert aws.local("GET", "/_local/faults")["rules"][0]["fired"] == 2


def test_calls_of_others_are_no_calls_of_a_worker(
    aws: LocalAws, keys: Callable[[], list[str]], bucket: str, writer: str
) -> None:
    aws.local("PUT", "/_local/faults", [killed("*", "before", call="PutObject")])
    aws.client("s3").put_object(Bucket=bucket, Key="mine", Body=b"")
    assert keys() == ["mine"]
    assert aws.local("GET", "/_local/faults")["rules"][0]["fired"] == 0
