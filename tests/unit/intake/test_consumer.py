"""What becomes of messages that cannot be followed; what documents of a pool learn from the end of their run."""

import json
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.runs_table import ASSEMBLY, run_pk
from bulk_inference.intake.intake_status import answer
from bulk_inference.intake.pool_outcomes import follow
from tests.worlds.intake_world import Intake, message, refusal


def status(intake: Intake, document: str, **more: Any) -> dict[str, Any]:
    return answer({"id": document, **(more or {"prompt": "sum"})}, intake.status)


def test_a_non_retryable_message_is_held_at_once_with_its_reason_and_its_status_is_failed() -> None:
    intake = Intake()
    queue = intake.queues["normal"]
    queue.send("no json")
    queue.send(message("a", promt=1, notify=True))
    queue.send(message("b"))
    assert intake.work("normal") == {"m1": "held", "m2": "held", "m3": "pooled"}
    assert [attributes["errorClass"] for _, attributes in queue.dead] == ["bad_message", "bad_message"]
    assert "promt: unknown key" in queue.dead[1][1]["errorMessage"]
    told = status(intake, "a")
    assert (told["status"], told["errorClass"]) == ("failed", "bad_message")
    assert queue.messages == {}


def test_a_document_that_is_not_there_yet_is_waited_for_then_held_and_a_redrive_tries_anew() -> None:
    intake = Intake(max_receives=3)
    queue = intake.queues["low"]
    queue.send(message("a", record=None, document={"key": "default/corpus/a.txt"}))
    for _ in range(2):
        assert intake.work("low") == {"m1": "RefusedDocumentError"}
        told = status(intake, "a")
        assert (told["status"], told["errorClass"]) == ("waiting", "bad_document")
    assert intake.work("low") == {"m1": "held"}
    assert status(intake, "a")["status"] == "failed"
    queue.redrive()
    intake.input.objects["default/corpus/a.txt"] = b"Dear sir"
    assert intake.work("low") == {"m2": "pooled"}
    assert status(intake, "a")["status"] == "pooled"


def test_a_message_that_was_redriven_and_is_held_again_is_not_found_by_the_same_move() -> None:
    intake = Intake(max_receives=1)
    queue = intake.queues["normal"]
    queue.send(message("a", promt=1))
    intake.work("normal")
    queue.redrive()
    intake.work("normal")
    assert queue.delays == [0, 900]


def test_a_missing_or_broken_prompt_is_waited_for() -> None:
    intake = Intake(max_receives=2)
    queue = intake.queues["normal"]
    queue.send(message("a", prompt="later"))
    assert intake.work("normal") == {"m1": "RefusedDocumentError"}
    assert status(intake, "a", scope="intake.later")["errorClass"] == "bad_prompt"
    intake.store("later", model={"id": "unknown"})
    assert intake.work("normal") == {"m1": "held"}
    assert "model.id" in queue.dead[0][1]["errorMessage"]
    queue.redrive()
    intake.store("later")
    assert intake.work("normal") == {"m2": "pooled"}


def test_an_unknown_tenant_is_refused() -> None:
    intake = Intake()
    intake.queues["normal"].send(message("a", tenant="acme"))
    assert intake.work("normal") == {"m1": "held"}


def started(intake: Intake, *ids: str, **more: Any) -> str:
    for one in ids:
        intake.queues["normal"].send(message(one, **more))
    intake.work("normal")
    (run,) = intake.pipeline.started
    return run


def test_documents_of_a_pool_learn_where_they_landed_or_why_not() -> None:
    intake = Intake()
    run = started(intake, "a", "b", "c", notify=True)
    assert status(intake, "a")["status"] == "in_flight"
    intake.finish(run, failed=["b"])
    assert follow(intake.following).concluded == 3
    assert follow(intake.following).settled == 0
    told = status(intake, "a")
    place = told["result"]
    body = intake.output.objects[place["key"]][place["offset"] : place["offset"] + place["length"]]
    assert (told["status"], told["run"], json.loads(body)["recordId"]) == ("done", run, "a")
    told = status(intake, "b")
    assert (told["status"], told["errorClass"]) == ("failed", "model")
    assert "the model's words" not in json.dumps(told)
    assert sorted((detail["id"], detail["status"]) for _, detail in intake.bus.events) == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    # The failure lane lands it later: its run says so by other counts.
    intake.finish(run)
    assert follow(intake.following).concluded == 1
    assert status(intake, "b")["status"] == "done"
    assert len(intake.bus.events) == 4


def test_a_pool_that_cannot_be_read_keeps_no_other_waiting() -> None:
    intake = Intake(documents=1)
    for one in ("a", "b", "c"):
        intake.work("normal", intake.queues["normal"].send(message(one)))
    first, second, third = sorted(intake.pipeline.started)
    for run in (first, second, third):
        intake.finish(run)
    del intake.input.objects[Places("default", second).pool_corpus]
    with pytest.raises(ExceptionGroup) as told:
        follow(intake.following)
    assert [error.__notes__ for error in told.value.exceptions] == [[f"pool {second}"]]
    states = {run: status(intake, intake.members(run)[0])["status"] for run in (first, third)}
    assert states == {first: "done", third: "done"}


def test_a_run_that_failed_fails_its_documents_until_it_goes_on() -> None:
    intake = Intake()
    run = started(intake, "a", "b", "c")
    intake.finish(run, lost=["a", "b"], status="aborted")
    follow(intake.following)
    assert [status(intake, one)["status"] for one in ("a", "b", "c")] == ["failed", "failed", "done"]
    assert status(intake, "a")["errorClass"] == "run_failed"
    intake.finish(run)
    follow(intake.following)
    assert {status(intake, one)["status"] for one in ("a", "b", "c")} == {"done"}


def test_a_run_that_was_refused_fails_its_documents() -> None:
    intake = Intake()
    run = started(intake, "a", "b", "c")
    intake.executions.end(f"arn:{run}", "FAILED")
    follow(intake.following)
    assert status(intake, "a")["status"] == "in_flight"
    intake.time.now += 400
    follow(intake.following)
    assert status(intake, "a")["errorClass"] == "run_failed"
    intake.queues["normal"].send(message("a"))
    assert intake.work("normal") == {"m4": "pooled"}


def test_a_document_of_chunks_is_done_when_all_have_landed_and_lies_where_it_was_put_together() -> None:
    intake = Intake()
    run = started(intake, "a", "b", "c")
    intake.finish(run, lost=["a", "b", "c"])
    places = Places("default", run)
    landed = [("a", 1, 2), ("a", 2, 2), ("b", 1, 2), ("c", 1, 1)]
    chunks = [{"recordId": f"{one}-{n}", "document": {"id": one, "chunk": n, "chunks": of}} for one, n, of in landed]
    intake.output.objects[places.results("1")] = "".join(json.dumps(one) + "\n" for one in chunks).encode()
    follow(intake.following)
    assert [status(intake, one)["status"] for one in ("a", "b", "c")] == ["done", "failed", "done"]
    assert status(intake, "b")["errorClass"] == "partial"
    assert status(intake, "a")["result"] == {"bucket": "output", "prefix": places.results_prefix}

    # The other chunk lands later, and the run puts the documents together.
    chunks.append({"recordId": "b-2", "document": {"id": "b", "chunk": 2, "chunks": 2}})
    intake.output.objects[places.results("1")] = "".join(json.dumps(one) + "\n" for one in chunks).encode()
    whole = json.dumps({"documentId": "b", "status": "complete", "text": "…"}).encode() + b"\n"
    intake.output.objects[places.documents(1)] = whole
    intake.runs.put({"pk": run_pk(run), "sk": ASSEMBLY, "revision": 2, "state": "done"})
    follow(intake.following)
    told = status(intake, "b")
    assert (told["status"], told["result"]["key"]) == ("done", places.documents(1))
    assert told["result"]["length"] == len(whole)


def test_a_changed_prompt_opens_a_pool_of_its_own_and_the_old_one_keeps_its_words() -> None:
    intake = Intake(documents=2)
    intake.queues["normal"].send(message("a"))
    intake.work("normal")
    intake.store(prompt={"template": "Other {{text}}"})
    for one in ("b", "c"):
        intake.queues["normal"].send(message(one))
    intake.work("normal")
    intake.time.now += 601
    follow(intake.following)
    started = intake.pipeline.started.items()
    asked = {tuple(intake.members(run)): request["prompt"]["template"] for run, request in started}
    assert asked == {("b", "c"): "Other {{text}}", ("a",): "Say {{text}}"}


def test_numbers_by_priority() -> None:
    intake = Intake(documents=2)
    for one in ("a", "b", "c"):
        intake.queues["normal"].send(message(one))
    intake.work("normal", "m1", "m2")
    intake.work("normal", "m3")
    intake.queues["low"].send(message("d"))
    intake.queues["high"].send("no json")
    intake.queues["high"].send(message("e"))
    intake.work("high")
    intake.time.now += 60
    told = answer({}, intake.status)["priorities"]
    assert told["normal"] == {
        "waiting": 0,
        "pooled": 1,
        "inFlight": 2,
        "done": 0,
        "failed": 0,
        "deadLetters": 0,
        "oldestSeconds": 60,
    }
    assert (told["low"]["waiting"], told["high"]["done"], told["high"]["deadLetters"]) == (1, 1, 1)
    (run,) = intake.pipeline.started
    intake.finish(run, failed=["b"])
    follow(intake.following)
    told = answer({}, intake.status)["priorities"]["normal"]
    assert (told["inFlight"], told["done"], told["failed"], told["pooled"]) == (0, 1, 1, 1)
    assert answer({"run": run}, intake.status)["done"] == 1


def test_an_id_that_nobody_has_seen_is_unknown_and_a_wrong_question_is_named() -> None:
    intake = Intake()
    intake.queues["normal"].send(message("a"))
    told = status(intake, "a")
    assert (told["status"], told["messagesWaiting"]["normal"]) == ("unknown", 1)
    for wrong, problem in (
        ({"id": "a"}, "either scope or prompt"),
        ({"run": "nope"}, "no pool of the intake"),
        ({"ids": ["a"]}, "unknown key"),
        ({"id": "a", "prompt": "none"}, "does not exist"),
    ):
        with pytest.raises(InvalidRequestError, match=problem):
            answer(wrong, intake.status)


def test_rubbish_under_the_id_of_a_document_that_is_on_its_way_tells_nothing_of_it() -> None:
    """Whoever sends it: the document is somebody else's, and in flight, waiting, failed in a run, or done."""
    intake = Intake(documents=9, max_receives=3)
    intake.model.answers["Say text of flying"] = refusal("throttled")
    intake.model.answers["Say text of failed"] = refusal()
    high = intake.queues["high"]
    for one in ("flying", "failed", "done"):
        high.send(message(one))
    intake.work("high")
    intake.queues["normal"].send(message("waiting", record=None, document={"key": "default/corpus/late.txt"}))
    intake.work("normal")
    ids = ("flying", "failed", "done", "waiting")
    before = {one: status(intake, one) for one in ids}
    assert [before[one]["status"] for one in ids] == ["in_flight", "failed", "done", "waiting"]
    for one in ids:
        intake.work("normal", intake.queues["normal"].send(message(one, promt=1, notify=True)))
    assert len(intake.queues["normal"].dead) == 4
    assert {one: status(intake, one) for one in ids} == before
    assert intake.bus.events == []
    # The same for one that could be followed if its prompt were there: the document is another message's.
    intake.work("normal", intake.queues["normal"].send(message("waiting", prompt="none", scope="intake.sum")))
    assert status(intake, "waiting") == before["waiting"]


def test_a_document_that_is_pooled_while_rubbish_comes_is_not_failed_by_it() -> None:
    """Between the look at the document's item and the end that is written there."""
    intake = Intake(documents=9)
    queue = intake.queues["normal"]
    bad, good = queue.send(message("a", promt=1)), queue.send(message("a"))
    intake.world.meddle = lambda: intake.work("normal", good)
    for at in range(1, 4):
        intake = Intake(documents=9)
        queue = intake.queues["normal"]
        bad, good = queue.send(message("a", promt=1)), queue.send(message("a"))

        def meddle(intake: Intake = intake, good: str = good) -> None:
            intake.work("normal", good)

        intake.world.meddle, intake.world.meddle_at = meddle, at
        intake.work("normal", bad)
        if good in queue.messages:
            intake.work("normal", good)
        assert status(intake, "a")["status"] == "pooled", at


def test_attributes_of_a_sender_that_are_named_like_ours_mean_nothing() -> None:
    intake = Intake(max_receives=1)
    queue = intake.queues["normal"]
    queue.send(message("a", promt=1), {"errorClass": "none", "postponed": "x"})
    assert intake.work("normal") == {"m1": "held"}
    assert queue.delays == [0]
    assert queue.dead[0][1]["errorClass"] == "bad_message"
