"""`make demo` with a real model's manners: fenced JSON, prose, slow answers. It shows what came, never breaks.

A server with the OpenAI chat interface plays the model; one stack takes all of its moods.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import demo.__main__ as demo
from local_aws import LocalAws
from tests.examples.conftest import KNOBS
from tests.harness.stack import ROOT, Stack

SIZE = demo.Size(batch=100, sync=12, seconds=240, real=True)
ANSWER = json.dumps({"summary": "The address, in a sentence.", "labels": ["union", "state"]})


class Model(BaseHTTPRequestHandler):
    """Answers by its mood."""

    mood = "bare"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = self._answer()
        answer = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> str:
        if self.mood == "slow":
            time.sleep(0.3)
        if self.mood == "fenced":
            return f"Sure! Here it is:\n\n```json\n{ANSWER}\n```\nAnything else?"
        if self.mood == "prose":
            return "This passage speaks of the union, and at length."
        return ANSWER

    def log_message(self, *_: Any) -> None:
        """Nothing on the test's output."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCAL_AWS_OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        with LocalAws(knobs=KNOBS, faults=demo.fault_plan()) as aws:
            yield Stack(aws, ROOT / ".build" / "examples" / "state" / "demo").apply()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("mood", "landed", "words"),
    [
        ("bare", 98, "union, state\n    The address, in a sentence."),
        ("fenced", 98, "union, state\n    The address, in a sentence."),
        ("slow", 98, "union, state"),
        ("prose", 0, r"did not fit the form \(NotJson 98\)"),
    ],
)
def test_the_demo_shows_what_a_model_said(
    stack: Stack, capsys: pytest.CaptureFixture[str], mood: str, landed: int, words: str
) -> None:
    Model.mood = mood
    poison = sum(line["id"] in demo.POISON for line in _passages(SIZE.batch))
    demo.play(stack, SIZE, time.monotonic(), mood)
    shown = capsys.readouterr().out
    assert re.search(words, shown), shown
    manifest = stack.manifest(f"{mood}-batch")
    assert manifest is not None
    assert manifest["counts"]["landed"] == (SIZE.batch - poison if landed else 0)
    assert f"{SIZE.batch} passages in batch mode" in shown


def _passages(count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in demo.CORPUS.read_bytes().splitlines()[:count]]


def test_a_real_model_gets_few_passages_unless_more_are_asked_for() -> None:
    base = {"LOCAL_AWS_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    assert demo.Size.of({}) == demo.Size(1969, 150, 240)
    assert (demo.Size.of(base).batch, demo.Size.of(base).real) == (120, True)
    assert demo.Size.of({**base, "RECORDS": "600"}).sync == 100
    assert demo.Size.of({**base, "RECORDS": "7"}).batch == 100
