"""Documents that arrive one by one, through the queues as a sender does it."""

import json
from collections import Counter
from typing import Any

from tests.end_to_end.conftest import MODEL
from tests.harness.stack import Stack

PROMPT = {
    "run": {"mode": "sync"},
    "model": {"id": MODEL},
    "prompt": {"template": "What is this about?\n\n{{text}}", "inference": {"maxTokens": 60}},
    "limits": {"canary_records": 0},
}


def send(stack: Stack, priority: str, document: str, /, **more: Any) -> None:
    text = f"Letter {document}: the pump is loud."
    body = {"version": 1, "id": document, "prompt": "letters", "record": {"text": text}, "notify": True} | more
    url = stack.outputs["intake"]["queue_urls"][priority]
    told = {name: value for name, value in body.items() if value is not None}
    stack.aws.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(told))


def invoke(stack: Stack, function: str, **payload: Any) -> dict[str, Any]:
    answer = stack.aws.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"][function], Payload=json.dumps(payload).encode()
    )
    told: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, told
    return told


def status(stack: Stack, document: str) -> dict[str, Any]:
    return invoke(stack, "intake_status", id=document, prompt="letters")


def until_all(stack: Stack, documents: list[str], state: str) -> None:
    """The schedule is not waited for: its function is invoked."""

    def are() -> bool:
        invoke(stack, "follow_pools")
        return all(status(stack, one)["status"] == state for one in documents)

    stack.until(are, f"{documents} are {state}", 120)


def result(stack: Stack, document: str) -> dict[str, Any]:
    """The document's own line, at the place that its status names."""
    place = status(stack, document)["result"]
    until = place["offset"] + place["length"] - 1
    body = stack.aws.client("s3").get_object(
        Bucket=place["bucket"], Key=place["key"], Range=f"bytes={place['offset']}-{until}"
    )["Body"]
    line: dict[str, Any] = json.loads(body.read())
    return line


def listen(stack: Stack) -> str:
    """A queue that hears the events about documents."""
    pattern = {"source": ["bulk-inference"], "detail-type": ["Bulk Inference Document Finished"]}
    return stack.listen("documents", pattern)


def heard(stack: Stack, queue: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    sqs = stack.aws.client("sqs")
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for one in messages:
            detail = json.loads(one["Body"])["detail"]
            found[(detail["id"], detail["status"])] += 1
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
    return found


def nothing_under_way(stack: Stack) -> bool:
    told = invoke(stack, "intake_status")["priorities"]
    return all(told[one][state] == 0 for one in told for state in ("waiting", "pooled", "inFlight"))


def test_documents_of_every_priority_land_once_and_their_status_says_where(stack: Stack) -> None:
    """High at once, normal by count, low by age; a message twice; a document in S3; a bad message, mended and redriven;
    numbers by priority; one event per document."""
    sqs, queues = stack.aws.client("sqs"), stack.outputs["intake"]
    stack.upload("default/prompts/letters.json", json.dumps(PROMPT).encode())
    stack.upload("default/corpus/letters/n-0.txt", b"Letter n-0: the pump is loud.")
    listening = listen(stack)
    high = [f"h-{n}" for n in range(4)]
    normal = [f"n-{n}" for n in range(6)]
    low = [f"l-{n}" for n in range(3)]
    send(stack, "high", "h-late", record=None, document={"key": "default/corpus/letters/late.txt"})
    send(stack, "high", "h-wrong", promt="letters")
    send(stack, "normal", "n-0", record=None, document={"key": "default/corpus/letters/n-0.txt"})
    for priority, ids in (("high", [*high, "h-0"]), ("normal", [*normal[1:], "n-1"]), ("low", low)):
        for one in ids:
            send(stack, priority, one)

    # High: without any schedule.
    stack.until(lambda: {status(stack, one)["status"] for one in high} == {"done"}, "urgent documents land")
    assert result(stack, "h-0")["recordId"] == "h-0"
    until_all(stack, [*normal, *low], "done")
    for one in (normal[0], normal[1], low[0]):
        assert (result(stack, one)["recordId"], bool(result(stack, one)["text"])) == (one, True)
    runs = {one: status(stack, one)["run"] for one in [*high, *normal, *low]}
    assert len({runs[one] for one in normal}) == 1
    landed = Counter(line["recordId"] for run in set(runs.values()) for line in stack.lines(run, "results"))
    assert landed == Counter([*high, *normal, *low])
    manifest = stack.manifest(runs["n-0"])
    assert manifest is not None
    assert (manifest["counts"]["read"], manifest["counts"]["landed"], manifest["scope"]) == (6, 6, "intake.letters")

    # The bad message says what is wrong; the other one's document was not there.
    assert (status(stack, "h-wrong")["status"], status(stack, "h-wrong")["errorClass"]) == ("failed", "bad_message")
    assert status(stack, "nobody")["status"] == "unknown"
    dead = queues["dead_letter_queue_urls"]["high"]
    stack.until(lambda: status(stack, "h-late")["status"] == "failed", "the missing document is given up")
    told = invoke(stack, "intake_status")["priorities"]
    assert told["high"]["deadLetters"] == 2
    assert (told["normal"]["done"], told["low"]["done"]) == (6, 3)
    stack.until(lambda: nothing_under_way(stack), "the numbers of the queues, which SQS tells when it likes")

    # Mended, and moved back by SQS's own move.
    stack.upload("default/corpus/letters/late.txt", b"Letter late: the pump is loud.")
    arns = [
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for url in (dead, queues["queue_urls"]["high"])
    ]
    sqs.start_message_move_task(SourceArn=arns[0], DestinationArn=arns[1])
    stack.until(lambda: status(stack, "h-late")["status"] == "done", "the mended document lands")

    found: Counter[tuple[str, str]] = Counter()

    def all_told() -> bool:
        found.update(heard(stack, listening))
        return {(one, "done") for one in [*runs, "h-late"]} | {("h-late", "failed")} <= found.keys()

    stack.until(all_told, "an event for each document")
    assert not found.keys() & {("h-0", "failed"), ("n-1", "failed")}
