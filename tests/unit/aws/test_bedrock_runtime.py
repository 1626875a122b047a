"""On-demand inference as data: outputs, usage, refusals, and no prompt in a message of ours."""

import io
import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from bulk_inference.aws.bedrock_runtime import Runtime
from bulk_inference.core.index_line import Pointer
from bulk_inference.core.result_line import INVOCATION_METRICS, result_line, usage_of
from tests.cases import CASES
from tests.worlds.inference_world import REACH

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
ANSWER: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "ho"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
    "metrics": {"latencyMs": 5},
}


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "bedrock-runtime", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


def test_converse(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_response("converse", ANSWER, {"modelId": "m", **BODY})
        outcome = Runtime(client).infer("m", "converse", BODY, REACH)
    assert outcome.output == ANSWER
    assert (outcome.input_tokens, outcome.output_tokens, outcome.error_class) == (3, 4, None)


def test_converse_takes_the_json_of_a_batch_record(client: Any) -> None:
    """Base64 becomes bytes, nulls and a modelId go; a document's nulls are its own."""
    image = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    body = {
        "modelId": "other",
        "system": None,
        "messages": [{"role": "user", "content": [image]}],
        "additionalModelRequestFields": {"top_k": None},
    }
    sent = {
        "modelId": "m",
        "messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": b"hi"}}}]}],
        "additionalModelRequestFields": {"top_k": None},
    }
    with Stubber(client) as stub:
        stub.add_response("converse", ANSWER, sent)
        assert Runtime(client).infer("m", "converse", body, REACH).output is not None


def test_tokens_in_headers_are_the_answers_where_its_body_has_none(client: Any) -> None:
    case = CASES / "tokens-in-headers"
    headers = json.loads((case / "headers.json").read_text())
    with Stubber(client) as stub:
        own = b'{"prompt_token_count": 1, "generation": "a"}'
        for body in ((case / "answer.json").read_bytes(), own, b'{"text": ""}'):
            answer = {
                "body": StreamingBody(io.BytesIO(body), len(body)),
                "contentType": "application/json",
                "ResponseMetadata": {"HTTPHeaders": headers, "HTTPStatusCode": 200},
            }
            stub.add_response("invoke_model", answer)
        mistral, llama, cohere = (Runtime(client).infer("m", "invoke_model", {"prompt": "x"}, REACH) for _ in range(3))
    line, usage = result_line(Pointer("r"), mistral.output, "b")
    assert json.loads(line)["usage"] == {"inputTokens": 5, "outputTokens": 7}
    assert (usage.unknown, json.loads(line)["text"]) == (0, "hello")
    assert usage_of(cohere.output).output_tokens == 7
    # What the body says itself stays as it is.
    assert llama.output == {"prompt_token_count": 1, "generation": "a"}


def test_invoke_model(client: Any) -> None:
    def answer(text: bytes) -> dict[str, Any]:
        return {
            "body": StreamingBody(io.BytesIO(text), len(text)),
            "contentType": "application/json",
            "ResponseMetadata": {"HTTPHeaders": {"x-amzn-bedrock-input-token-count": "6"}, "HTTPStatusCode": 200},
        }

    sent = {
        "modelId": "m",
        "body": json.dumps({"inputText": "ü"}, ensure_ascii=False, separators=(",", ":")).encode(),
        "contentType": "application/json",
        "accept": "application/json",
    }
    with Stubber(client) as stub:
        stub.add_response("invoke_model", answer(b'{"embedding": [1]}'), sent)
        stub.add_response("invoke_model", answer(b"oops"), sent)
        good = Runtime(client).infer("m", "invoke_model", {"inputText": "ü"}, REACH)
        bad = Runtime(client).infer("m", "invoke_model", {"inputText": "ü"}, REACH)
    assert (good.output, good.input_tokens, good.output_tokens) == (
        {"embedding": [1], INVOCATION_METRICS: {"inputTokenCount": 6, "outputTokenCount": 0}},
        6,
        0,
    )
    assert (bad.output, bad.error_class) == (None, "model_error")


@pytest.mark.parametrize(
    ("code", "status", "error_class", "retryable"),
    [
        ("ThrottlingException", 429, "throttled", True),
        ("ValidationException", 429, "throttled", True),
        ("AccessDeniedException", 503, "unavailable", True),
        ("ModelTimeoutException", 408, "model_timeout", True),
        ("ModelErrorException", 424, "model_error", True),
        ("ModelNotReadyException", 429, "unavailable", True),
        ("ServiceUnavailableException", 503, "unavailable", True),
        ("ValidationException", 400, "invalid_request", False),
        ("AccessDeniedException", 403, "access_denied", False),
        ("ResourceNotFoundException", 404, "model_not_found", False),
        ("NeverHeardOfException", 500, "unavailable", True),
        ("NeverHeardOfException", 400, "invalid_request", False),
    ],
)
def test_a_refusal_is_data(client: Any, code: str, status: int, error_class: str, retryable: bool) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("converse", code, "the words", status)
        outcome = Runtime(client).infer("m", "converse", BODY, REACH)
    assert (outcome.error_class, outcome.error_code, outcome.error_message) == (error_class, code, "the words")
    assert (outcome.output, outcome.retryable) == (None, retryable)


def test_a_dead_connection_is_data(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="https://…")

    monkeypatch.setattr(client, "converse", hang)
    assert Runtime(client).infer("m", "converse", BODY, REACH).error_class == "model_timeout"


def test_a_body_that_the_sdk_refuses_is_data_without_its_text(client: Any) -> None:
    body = {"messages": [{"role": "user", "content": [{"text": {"SECRET": "SECRET, type: x"}}]}], "system": "SECRET\nS"}
    outcome = Runtime(client).infer("m", "converse", body, REACH)
    assert outcome.error_class == "invalid_request"
    assert "messages[0].content[0].text" in (outcome.error_message or "")
    assert "SECRET" not in (outcome.error_message or "")
