"""The failure lane end to end: priorities, and the three ways of an operator's command, each given twice."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.end_to_end.conftest import MODEL, assert_conserves, command, jsonl, request, run, tickets
from tests.harness.stack import Stack


def updated(stack: Stack, name: str, **counts: int) -> dict[str, Any]:
    """The run's manifest once it says these numbers; the schedule is not waited for."""

    def says() -> bool:
        stack.aws.client("lambda").invoke(FunctionName=stack.outputs["function_names"]["update_runs"])
        found: dict[str, int] = (stack.manifest(name) or {"counts": {}})["counts"]
        return counts.items() <= found.items()

    stack.until(says, f"{counts} in the manifest of {name}")
    manifest = stack.manifest(name)
    assert manifest is not None
    assert_conserves(manifest)
    return manifest


def dead(stack: Stack, name: str) -> dict[str, dict[str, Any]]:
    """Messages of a run in the dead-letter queue by recordId, all of them left where they are."""
    sqs, url = stack.aws.client("sqs"), stack.outputs["reprocess_dead_letter_queue_url"]
    found: dict[str, dict[str, Any]] = {}
    receipts = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30).get("Messages"):
        for message in messages:
            body = json.loads(message["Body"])
            receipts.append(message["ReceiptHandle"])
            if body["run"] == name:
                found[body["recordId"]] = body
    for receipt in receipts:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
    return found


def rule(numbers: list[int], corpus: str, code: int = 400, message: str = "refused") -> dict[str, Any]:
    """The model refuses these tickets of a corpus at every try, in both modes."""
    match = {"prompt": [f"Ticket {corpus}{number}:" for number in numbers]}
    return {"target": "record", "match": match, "do": "error", "errorCode": code, "errorMessage": message}


TOO_LONG = "Input is too long for requested model."


def records(corpus: str, count: int) -> list[dict[str, Any]]:
    """Tickets that no other corpus has, so that rules strike these alone."""
    return [{**one, "text": one["text"].replace("Ticket ", f"Ticket {corpus}")} for one in tickets(count)]


def failing_run(stack: Stack, name: str, rules: list[dict[str, Any]], count: int = 60, **sections: Any) -> set[str]:
    """A run whose failures have all come to the dead-letter queue; ids of all its records."""
    stack.aws.local("PUT", "/_local/faults", rules)
    made = records(name, count)
    stack.upload(f"default/corpus/{name}/tickets.jsonl", jsonl(made))
    manifest = run(stack, name, request(name, "sync", limits={"tolerated_failure_percentage": 50}, **sections))
    assert_conserves(manifest)
    failed = {line["recordId"] for line in stack.lines(name, "failures")}
    assert manifest["counts"]["failed"] == len(failed) > 0
    stack.until(lambda: dead(stack, name).keys() == failed, f"the failures of {name} among the dead letters", 180)
    return {one["id"] for one in made}


def landed(stack: Stack, *names: str) -> Counter[str]:
    return Counter(line["recordId"] for name in names for line in stack.lines(name, "results"))


def test_hopeless_records_are_held_at_once_and_others_after_their_tries(stack: Stack) -> None:
    """A refused request meets the model once; a failing model is asked again until the queue gives up."""
    failing_run(stack, "classes", [rule([3], "classes"), rule([7], "classes", 500)])
    letters = dead(stack, "classes")
    assert {one: letter["errorClass"] for one, letter in letters.items()} == {
        "t-00003": "validation",
        "t-00007": "model",
    }
    assert (letters["t-00003"].get("held"), letters["t-00007"].get("held")) == (True, None)
    assert "Ticket" not in json.dumps(list(letters.values()))


def test_a_redrive_of_one_class_and_then_of_all_lands_each_record_once(stack: Stack) -> None:
    ids = failing_run(stack, "redriven", [rule([3, 4], "redriven"), rule([7, 8, 9], "redriven", 400, TOO_LONG)])
    stack.aws.local("DELETE", "/_local/faults")
    chosen = {"run": "redriven", "error_classes": ["too_large"]}
    assert command(stack, "redrive", **chosen)["sentBack"] == 3
    assert command(stack, "redrive", **chosen)["sentBack"] == 0
    updated(stack, "redriven", landed=58, failed=2)
    assert dead(stack, "redriven").keys() == {"t-00003", "t-00004"}

    assert command(stack, "redrive")["move"] == "begun"
    assert command(stack, "redrive")["move"] in ("begun", "under way")
    manifest = updated(stack, "redriven", landed=60, failed=0)
    assert manifest["late"] == 5
    assert landed(stack, "redriven") == Counter(ids)
    assert dead(stack, "redriven") == {}


def test_a_redriven_message_of_a_landed_record_changes_nothing(stack: Stack) -> None:
    """A message twice on its way, as SQS may deliver it: the second finds its record settled."""
    failing_run(stack, "doubled", [rule([3], "doubled")], 20)
    (letter,) = dead(stack, "doubled").values()
    stack.aws.local("DELETE", "/_local/faults")
    for _ in range(2):
        stack.aws.client("sqs").send_message(
            QueueUrl=stack.outputs["reprocess_queue_url"], MessageBody=json.dumps(letter)
        )
    command(stack, "redrive", run="doubled")
    updated(stack, "doubled", landed=20, failed=0)
    stack.until(lambda: waiting(stack, "reprocess_queue_url") == 0, "the queue is empty")
    updated(stack, "doubled", landed=20, failed=0)
    assert landed(stack, "doubled") == Counter({one["id"]: 1 for one in tickets(20)})


def waiting(stack: Stack, output: str) -> int:
    """Messages of a queue, hidden and delayed ones included."""
    names = ["", "NotVisible", "Delayed"]
    attributes = stack.aws.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs[output],
        AttributeNames=[f"ApproximateNumberOfMessages{name}" for name in names],
    )["Attributes"]
    return sum(int(value) for value in attributes.values())


@pytest.mark.parametrize("mode", ["sync", "batch"])
def test_a_resubmission_lands_what_failed_once_and_settles_the_first_run(stack: Stack, mode: str) -> None:
    """With another template and model; batch if that is enough. The first run's results are not touched."""
    name, count = f"resub-{mode}", 60 if mode == "sync" else 300
    numbers = list(range(5, 15) if mode == "sync" else range(100, 220))
    ids = failing_run(stack, name, [rule(numbers, name)], count)
    before = landed(stack, name)
    change = {
        "prompt": {"template": "Say what this is about: {{text}}", "inference": {"maxTokens": 50}},
        "model": {"id": "amazon.nova-lite-v1:0"},
        "mode": mode,
    }
    stack.aws.local("DELETE", "/_local/faults")
    first = command(stack, "resubmit", run=name, **change)
    assert (first["state"], first["resubmitted"]) == ("started", len(numbers))
    assert command(stack, "resubmit", run=name, **change) == {**first, "state": "goes on"}
    execution = stack.outputs["pipeline_arn"].replace(":stateMachine:", ":execution:") + f":{first['as']}"
    ended = stack.wait(execution, timeout=120)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")

    again = stack.manifest(first["as"])
    assert again is not None
    assert_conserves(again)
    assert (again["counts"]["read"], again["counts"]["landed"], again["mode"]) == (len(numbers), len(numbers), mode)
    assert again["model"]["id"] == "amazon.nova-lite-v1:0"
    manifest = updated(stack, name, landed=count - len(numbers), failed=0, resubmitted=len(numbers))
    assert manifest["status"] == "succeeded"
    assert landed(stack, name) == before
    assert landed(stack, name, first["as"]) == Counter(ids)

    # Nothing is left to resubmit, and the messages of settled records vanish without a call.
    assert command(stack, "resubmit", run=name, **change)["resubmitted"] == 0
    command(stack, "redrive", run=name)
    stack.until(lambda: dead(stack, name) == {} and waiting(stack, "reprocess_queue_url") == 0, "the queues are empty")
    assert landed(stack, name, first["as"]) == Counter(ids)


def test_dropped_records_are_said_to_be_dropped_and_the_sums_hold(stack: Stack) -> None:
    failing_run(stack, "dropped", [rule([1, 2, 3], "dropped"), rule([9], "dropped", 400, TOO_LONG)])
    chosen = {"run": "dropped", "error_classes": ["validation"], "reason": "these tickets were test data"}
    assert command(stack, "drop", **chosen)["dropped"] == 3
    assert command(stack, "drop", **chosen)["dropped"] == 0
    manifest = updated(stack, "dropped", landed=56, failed=1, dropped=3)
    assert manifest["status"] == "succeeded"
    assert dead(stack, "dropped").keys() == {"t-00009"}
    stack.aws.local("DELETE", "/_local/faults")
    command(stack, "redrive", run="dropped")
    updated(stack, "dropped", landed=57, failed=0, dropped=3)


def test_late_landings_are_announced_together(stack: Stack) -> None:
    """One event for many landings, with the run's new counts."""
    sqs = stack.aws.client("sqs")
    pattern = {"detail-type": ["Bulk Inference Run Updated"], "detail": {"run": ["announced-late"]}}
    queue = stack.listen("late", pattern)
    failing_run(stack, "announced-late", [rule(list(range(12)), "announced-late")])
    command(stack, "drop", run="announced-late", reason="no longer wanted")
    updated(stack, "announced-late", failed=0, dropped=12)
    found: list[dict[str, Any]] = []

    def told() -> bool:
        found.extend(json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=queue).get("Messages", []))
        return bool(found)

    stack.until(told, "the event of the update")
    assert [one["detail"]["counts"]["dropped"] for one in found] == [12]
    assert found[0]["detail"]["manifest"]["key"] == "default/runs/announced-late/manifest.json"


def test_failures_of_a_high_run_do_not_wait_behind_those_of_a_low_one(stack: Stack) -> None:
    """The low lane is full of work that goes nowhere; the high lane is empty and at once at work."""
    slow = rule(list(range(40)), "lowly", 500)
    failing = rule([5], "highly", 500)
    stack.aws.local("PUT", "/_local/faults", [slow, failing])
    for name, priority, count in (("lowly", "low", 40), ("highly", "high", 20)):
        stack.upload(f"default/corpus/{name}/tickets.jsonl", jsonl(records(name, count)))
        limits = {"tolerated_failure_percentage": 100, "canary_records": 0}
        run(stack, name, request(name, "sync", run={"priority": priority}, limits=limits))
    stack.aws.local("PUT", "/_local/faults", [slow])
    stack.until(lambda: landed(stack, "highly")["t-00005"] == 1, "the high record is reprocessed")
    assert landed(stack, "lowly") == Counter()
    urls = stack.aws.client("sqs")
    queues = {url.rsplit("/", 1)[1] for url in urls.list_queues(QueueNamePrefix="demo-reprocess")["QueueUrls"]}
    assert queues >= {"demo-reprocess", "demo-reprocess-high", "demo-reprocess-low", "demo-reprocess-dead-letter"}


def test_a_command_that_is_wrong_changes_nothing_and_names_every_problem(stack: Stack) -> None:
    answer = stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"]["redrive_failures"],
        Payload=json.dumps({"action": "drop", "runn": "x", "reason": "y"}).encode(),
    )
    assert answer["FunctionError"] == "Unhandled"
    told = json.loads(answer["Payload"].read())
    assert told["errorType"] == "InvalidRequestError"
    for words in ("runn: unknown key", "run: missing", "reason: must say"):
        assert words in told["errorMessage"]


def test_a_resubmission_of_a_model_that_is_not_there_is_refused_before_it_starts(stack: Stack) -> None:
    failing_run(stack, "no-model", [rule([1], "no-model")], 20)
    answer = stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"]["redrive_failures"],
        Payload=json.dumps({"action": "resubmit", "run": "no-model", "model": {"id": "nobody's"}}).encode(),
    )
    assert MODEL in json.loads(answer["Payload"].read())["errorMessage"]


@pytest.mark.parametrize(
    ("action", "call", "at"),
    [
        ("redrive", "SendMessageBatch", "after"),
        ("resubmit", "StartExecution", "before"),
        ("resubmit", "StartExecution", "after"),
        ("drop", "DeleteMessageBatch", "before"),
    ],
)
def test_a_command_whose_worker_is_killed_is_given_again(stack: Stack, action: str, call: str, at: str) -> None:
    name = f"killed-{action}-{at}"
    ids = failing_run(stack, name, [rule([3, 4], name)], 20)
    given: dict[str, dict[str, Any]] = {
        "drop": {"reason": "no longer wanted"},
        "redrive": {"error_classes": ["validation"]},
        "resubmit": {},
    }
    more = given[action]
    function = stack.outputs["function_names"]["redrive_failures"]
    kill = {"target": "worker", "match": {"function": function, "call": call}, "do": "kill", "at": at, "times": 1}
    stack.aws.local("PUT", "/_local/faults", [kill])
    payload = json.dumps({"action": action, "run": name, **more}).encode()
    killed = stack.aws.client("lambda").invoke(FunctionName=function, Payload=payload)
    assert "FunctionError" in killed, killed["Payload"].read()
    answer = command(stack, action, run=name, **more)
    if action == "redrive":
        updated(stack, name, landed=20, failed=0)
        assert landed(stack, name) == Counter(ids)
    elif action == "resubmit":
        started = [one for one in executions(stack) if one.startswith(f"{name}-")]
        assert started == [answer["as"]]
        updated(stack, name, landed=18, failed=0, resubmitted=2)
        assert landed(stack, name, answer["as"]) == Counter(ids)
    else:
        updated(stack, name, landed=18, failed=0, dropped=2)


def executions(stack: Stack) -> list[str]:
    listed = stack.aws.client("stepfunctions").list_executions(stateMachineArn=stack.outputs["pipeline_arn"])
    return [str(one["name"]) for one in listed["executions"]]


def test_a_tenant_resubmits_and_drops_its_own_failures_and_no_others(stack: Stack) -> None:
    """By its own state machine, which pins the tenant whatever the command says."""
    states, arn = stack.aws.client("stepfunctions"), stack.outputs["tenants"]["other"]["state_machine_arn"]

    def ask(name: str, command: dict[str, Any]) -> dict[str, Any]:
        started = states.start_execution(stateMachineArn=arn, name=name, input=json.dumps(command))["executionArn"]
        return stack.wait(started, timeout=120)

    stack.upload("other/corpus/own/t.jsonl", jsonl(tickets(20)))
    faults = [{"target": "record", "match": {"prompt": ["Ticket 3: "]}, "do": "error", "errorCode": 400}]
    stack.aws.local("PUT", "/_local/faults", faults)
    body = request("own", "sync", run={"tenant": "other"}, source={"prefix": "other/corpus/own/"})
    assert ask("lane", body)["status"] == "SUCCEEDED"
    stack.aws.local("DELETE", "/_local/faults")
    foreign = ask("lane-foreign", {"drop": {"run": "other_lane", "tenant": "default", "reason": "not wanted"}})
    assert json.loads(foreign["output"])["dropped"] == 1, "the tenant is pinned: it is the run of this one that counts"
    squat = ask("lane-squat", {"resubmit": {"run": "other_lane", "as": "default_x"}})
    assert (squat["status"], "as: must begin with other_" in squat["cause"]) == ("FAILED", True)
    theirs = ask("lane-theirs", {"drop": {"run": "no-run-of-ours", "tenant": "default", "reason": "not wanted"}})
    assert theirs["status"] == "FAILED"
