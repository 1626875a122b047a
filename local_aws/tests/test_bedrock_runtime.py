"""Converse and InvokeModel on demand, models and profiles.

API reference: Converse, InvokeModel (errors with their HTTP statuses), GetInferenceProfile, ListInferenceProfiles,
GetFoundationModel, ListFoundationModels. User guide: "How tokens are counted in Amazon Bedrock", "Inference request
parameters and response fields". Permissions: "Prerequisites for inference profiles".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_jobs import HAIKU, NOVA, OLD_HAIKU, TITAN, Batch, converse_line, settled, unique
from local_aws import LocalAws
from local_aws.bedrock import bodies, models, quotas, standin, throttle, wire

TEXT = "The treasury reported a surplus. Congress debated the tariff and the tariff passed. A third sentence."


@pytest.fixture
def batch(aws: LocalAws) -> Iterator[Batch]:
    with settled(aws) as ready:
        yield ready


@pytest.fixture
def runtime(batch: Batch) -> Any:
    return batch.aws.client("bedrock-runtime")


def converse(runtime: Any, text: str = TEXT, model_id: str = HAIKU, **members: Any) -> Any:
    messages = [{"role": "user", "content": [{"text": text}]}]
    return runtime.converse(**{"modelId": model_id, "messages": messages, **members})


def refusal(call: Any, *arguments: Any, **members: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(*arguments, **members)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_the_stand_in_answers_json_about_the_text(runtime: Any) -> None:
    answer = converse(runtime)
    assert answer["stopReason"] == "end_turn"
    assert answer["output"]["message"]["role"] == "assistant"
    assert json.loads(answer["output"]["message"]["content"][0]["text"]) == {
        "summary": "The treasury reported a surplus. Congress debated the tariff and the tariff passed.",
        "labels": ["tariff", "congress", "debated", "passed", "reported"],
        "chars": len(TEXT),
    }
    usage = answer["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert usage["inputTokens"] == -(-len(TEXT) // 4)
    assert converse(runtime)["output"] == answer["output"]


def test_a_batch_record_gets_the_same_answer_as_on_demand(batch: Batch, runtime: Any) -> None:
    line = converse_line("a", TEXT)
    in_batch = batch.lines(batch.run([line]))[0]["modelOutput"]
    on_demand = runtime.converse(modelId=HAIKU, **line["modelInput"])
    text = in_batch["output"]["message"]["content"][0]["text"]
    assert text == on_demand["output"]["message"]["content"][0]["text"]
    assert in_batch["usage"]["outputTokens"] == on_demand["usage"]["outputTokens"]


def test_a_model_can_be_named_by_every_arn(batch: Batch, runtime: Any) -> None:
    own = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"
    profile = f"arn:aws:bedrock:us-east-1:{batch.aws.account}:inference-profile/{HAIKU}"
    for model_id in (own, profile):
        assert converse(runtime, model_id=model_id)["stopReason"] == "end_turn"


def test_an_answer_takes_the_latency_of_the_knob(batch: Batch, runtime: Any) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"latency_ms": 80})
    assert converse(runtime)["metrics"]["latencyMs"] >= 80


def test_max_tokens_and_stop_sequences_end_the_text(runtime: Any) -> None:
    cut = converse(runtime, inferenceConfig={"maxTokens": 5})
    assert (cut["stopReason"], cut["usage"]["outputTokens"]) == ("max_tokens", 5)
    stopped = converse(runtime, inferenceConfig={"stopSequences": ['"labels"']})
    assert stopped["stopReason"] == "stop_sequence"
    assert "labels" not in stopped["output"]["message"]["content"][0]["text"]


def test_claude_body(runtime: Any) -> None:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": TEXT}],
    }
    answer = runtime.invoke_model(modelId=OLD_HAIKU, body=json.dumps(body))
    out = json.loads(answer["body"].read())
    assert (out["type"], out["role"], out["stop_reason"], out["stop_sequence"]) == (
        "message",
        "assistant",
        "end_turn",
        None,
    )
    assert json.loads(out["content"][0]["text"])["chars"] == len(TEXT)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert int(headers["x-amzn-bedrock-output-token-count"]) == out["usage"]["output_tokens"]


def test_titan_body(runtime: Any) -> None:
    def embedding(text: str) -> list[float]:
        answer = runtime.invoke_model(modelId=TITAN, body=json.dumps({"inputText": text, "dimensions": 256}))
        vector: list[float] = json.loads(answer["body"].read())["embedding"]
        return vector

    one, same, other = embedding("tariff law"), embedding("tariff law"), embedding("naval peace")
    assert len(one) == 256
    assert sum(each * each for each in one) == pytest.approx(1, abs=1e-3)
    assert one == same != other


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "must start with a user message."),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}] * 2}, "must alternate between user and assistant"),
        ({"messages": [{"role": "user", "content": []}]}, "at messages.0 is empty."),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "at messages.0.content.0 is blank."),
        ({"inferenceConfig": {"maxTokens": 64_001}}, "exceeds the model limit of 64000"),
        ({"inferenceConfig": {"temperature": 1.0, "topP": 0.5}}, "cannot both be specified for this model"),
        ({"modelId": TITAN}, "This action doesn't support the model that you provided."),
        ({"modelId": "nobody.knows-v1:0"}, "The provided model identifier is invalid."),
        ({"modelId": "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0"}, "identifier is invalid."),
        ({"modelId": HAIKU.removeprefix("us.")}, "with on-demand throughput isn’t supported."),
    ],
)
def test_converse_refuses_with_aws_words(runtime: Any, members: dict[str, Any], message: str) -> None:
    code, status, text = refusal(converse, runtime, **members)
    assert (code, status) == ("ValidationException", 400)
    assert message in text


@pytest.mark.parametrize(
    ("model_id", "body", "message"),
    [
        (OLD_HAIKU, {"messages": []}, "required key [anthropic_version] not found"),
        (OLD_HAIKU, {"anthropic_version": "x", "max_tokens": 1, "messages": []}, "anthropic_version"),
        (OLD_HAIKU, {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9999, "messages": []}, "maximum allowed"),
        (
            OLD_HAIKU,
            {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1, "messages": [], "inferenceConfig": {}},
            "extraneous key [inferenceConfig] is not permitted",
        ),
        (NOVA, {"inputText": "x"}, "required key [messages] not found"),
        (TITAN, {"inputText": ""}, "minLength"),
    ],
)
def test_invoke_model_refuses_a_wrong_body(runtime: Any, model_id: str, body: Any, message: str) -> None:
    code, status, text = refusal(runtime.invoke_model, modelId=model_id, body=json.dumps(body))
    assert (code, status) == ("ValidationException", 400)
    assert message in text


def test_a_body_that_is_no_json_is_malformed(runtime: Any) -> None:
    _, _, text = refusal(runtime.invoke_model, modelId=NOVA, body=b"{")
    assert "Malformed input request" in text


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        (424, "ModelErrorException", 424),
        (408, "ModelTimeoutException", 408),
        (429, "ThrottlingException", 429),
        (500, "InternalServerException", 500),
        (503, "ServiceUnavailableException", 503),
        (400, "ValidationException", 400),
    ],
)
def test_record_faults_strike_on_demand_too(batch: Batch, runtime: Any, code: int, name: str, status: int) -> None:
    rule = {
        "target": "record",
        "match": {"prompt": "surplus"},
        "do": "error",
        "errorCode": code,
        "errorMessage": "As told.",
    }
    batch.aws.local("PUT", "/_local/faults", [rule])
    assert refusal(converse, runtime) == (name, status, "As told.")
    assert converse(runtime, "Another text.")["stopReason"] == "end_turn"


def test_a_rate_poisons_the_same_texts_in_both_modes(batch: Batch, runtime: Any) -> None:
    batch.aws.local("PUT", "/_local/faults", [{"target": "record", "do": "error", "rate": 0.3}])
    lines = [converse_line(f"r{number}", f"Text number {number}.") for number in range(30)]
    in_batch = {line["recordId"] for line in batch.lines(batch.run(lines)) if "error" in line}
    on_demand = set()
    for line in lines:
        try:
            runtime.converse(modelId=HAIKU, **line["modelInput"])
        except runtime.exceptions.ValidationException:
            on_demand.add(line["recordId"])
    assert in_batch == on_demand
    assert 0 < len(in_batch) < 30


# Tokens per minute


def test_above_the_tokens_per_minute_calls_are_throttled(batch: Batch, runtime: Any) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"tokens_per_minute": 1000, "seconds_per_minute": 3600})
    model_id = "us.amazon.nova-pro-v1:0"
    limit = {"inferenceConfig": {"maxTokens": 1200}}
    # What a call may need at most is reserved, whatever it will use.
    assert refusal(converse, runtime, model_id=model_id, **limit) == (
        "ThrottlingException",
        429,
        "Too many tokens, please wait before trying again.",
    )
    assert converse(runtime, model_id=model_id, inferenceConfig={"maxTokens": 100})["stopReason"] == "end_turn"
    # Other models have tokens of their own.
    assert converse(runtime, model_id="us.amazon.nova-micro-v1:0", inferenceConfig={"maxTokens": 100})


def test_requests_per_minute_are_enforced_only_when_set(batch: Batch, runtime: Any) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"requests_per_minute": 2, "seconds_per_minute": 3600})
    model_id = "us.amazon.nova-2-lite-v1:0"
    for _ in range(2):
        converse(runtime, model_id=model_id)
    assert refusal(converse, runtime, model_id=model_id)[2] == "Too many requests, please wait before trying again."
    batch.aws.local("PUT", "/_local/knobs", {"requests_per_minute": None})
    assert converse(runtime, model_id=model_id)


@pytest.fixture
def thousand(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(quotas, "per_minute", lambda route, unit: 1000.0)
    return 1000.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


SCOPE = ("123456789012", "us-east-1")
ROUTE = models.resolve(HAIKU, "us-east-1", "123456789012")


def test_the_difference_to_what_was_used_is_given_back(thousand: float) -> None:
    limiter = throttle.Limiter(clock=Clock())
    limiter.reserve(SCOPE, ROUTE, 900)
    with pytest.raises(wire.AwsError, match="Too many tokens"):
        limiter.reserve(SCOPE, ROUTE, 900)
    limiter.settle(SCOPE, ROUTE, reserved=900, used=100)
    limiter.reserve(SCOPE, ROUTE, 900)


def test_what_was_used_beyond_the_reserve_is_taken(thousand: float) -> None:
    """Output of Claude 3.7 and later counts five times, which a short max_tokens does not reserve."""
    limiter = throttle.Limiter(clock=Clock())
    limiter.reserve(SCOPE, ROUTE, 200)
    limiter.settle(SCOPE, ROUTE, reserved=200, used=950)
    with pytest.raises(wire.AwsError):
        limiter.reserve(SCOPE, ROUTE, 100)


def test_tokens_come_back_evenly_up_to_the_quota(thousand: float) -> None:
    clock = Clock()
    limiter = throttle.Limiter(clock=clock)
    limiter.reserve(SCOPE, ROUTE, 1000)
    clock.now = 30
    limiter.reserve(SCOPE, ROUTE, 500)
    with pytest.raises(wire.AwsError):
        limiter.reserve(SCOPE, ROUTE, 1)
    clock.now = 6000
    with pytest.raises(wire.AwsError):
        limiter.reserve(SCOPE, ROUTE, 1001)
    limiter.reserve(SCOPE, ROUTE, 1000)


@pytest.mark.parametrize(("model_id", "burndown"), [(HAIKU, 5), (OLD_HAIKU, 1), (NOVA, 1)])
def test_output_counts_by_the_burndown_of_its_model(model_id: str, burndown: int) -> None:
    assert models.resolve(model_id, "us-east-1", "1").model.burndown == burndown


def test_a_call_without_a_limit_reserves_the_largest_output() -> None:
    prompt = bodies.read("Converse", ROUTE.model, {"messages": [{"role": "user", "content": [{"text": "x"}]}]})
    assert (prompt.max_tokens, prompt.max_tokens_given) == (64_000, False)


# Permissions


def _client_with(batch: Batch, resources: list[str], **condition: Any) -> Any:
    name = unique("caller")
    trust = {"Effect": "Allow", "Principal": {"AWS": batch.aws.account}, "Action": "sts:AssumeRole"}
    arn = batch.iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": resources, **condition}
    batch.iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    return batch.aws.client("bedrock-runtime", credentials=batch.aws.assume(arn))


def test_converse_is_authorised_as_invoke_model(batch: Batch) -> None:
    client = _client_with(batch, [f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"])
    assert converse(client, model_id=NOVA)["stopReason"] == "end_turn"
    code, status, message = refusal(converse, client, model_id=OLD_HAIKU)
    assert (code, status) == ("AccessDeniedException", 403)
    assert (
        f"perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/{OLD_HAIKU}" in message
    )


def test_a_profile_needs_itself_and_the_model_in_every_region(batch: Batch) -> None:
    profile = f"arn:aws:bedrock:us-east-1:{batch.aws.account}:inference-profile/{HAIKU}"
    behind = [f"arn:aws:bedrock:{region}::foundation-model/{HAIKU[3:]}" for region in ("us-east-1", "us-east-2")]
    assert "us-west-2" in refusal(converse, _client_with(batch, [profile, *behind]))[2]
    everywhere = f"arn:aws:bedrock:*::foundation-model/{HAIKU[3:]}"
    assert profile in refusal(converse, _client_with(batch, [everywhere]))[2]
    assert converse(_client_with(batch, [profile, everywhere]))["stopReason"] == "end_turn"


# Models and profiles


def test_a_profile_names_its_models(batch: Batch) -> None:
    profile = batch.bedrock.get_inference_profile(inferenceProfileIdentifier=HAIKU)
    assert profile["inferenceProfileArn"] == f"arn:aws:bedrock:us-east-1:{batch.aws.account}:inference-profile/{HAIKU}"
    assert [each["modelArn"].split(":")[3] for each in profile["models"]] == ["us-east-1", "us-east-2", "us-west-2"]
    assert all(each["modelArn"].endswith(f"::foundation-model/{HAIKU[3:]}") for each in profile["models"])
    by_arn = batch.bedrock.get_inference_profile(inferenceProfileIdentifier=profile["inferenceProfileArn"])
    assert by_arn["inferenceProfileId"] == HAIKU
    with pytest.raises(batch.bedrock.exceptions.ResourceNotFoundException):
        batch.bedrock.get_inference_profile(inferenceProfileIdentifier="us.nobody.knows-v1:0")


def test_profiles_are_listed_in_pages(batch: Batch) -> None:
    pages = batch.bedrock.get_paginator("list_inference_profiles").paginate(
        typeEquals="SYSTEM_DEFINED", PaginationConfig={"PageSize": 10}
    )
    found = [[each["inferenceProfileId"] for each in page["inferenceProfileSummaries"]] for page in pages]
    assert max(map(len, found)) == 10
    assert sorted(name for page in found for name in page) == sorted(models.PROFILES)


def test_models_are_shown_and_listed(batch: Batch) -> None:
    shown = batch.bedrock.get_foundation_model(modelIdentifier=NOVA)["modelDetails"]
    assert shown["modelArn"] == f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"
    assert shown["inferenceTypesSupported"] == ["ON_DEMAND"]
    listed = batch.bedrock.list_foundation_models(byOutputModality="EMBEDDING")["modelSummaries"]
    assert {each["modelId"] for each in listed} == {TITAN, "amazon.nova-2-multimodal-embeddings-v1:0"}
    with pytest.raises(batch.bedrock.exceptions.ResourceNotFoundException):
        batch.bedrock.get_foundation_model(modelIdentifier="nobody.knows-v1:0")


# A real model behind the OpenAI interface


class _Server(BaseHTTPRequestHandler):
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append({**wanted, "authorization": self.headers.get("Authorization")})
        status, answer = (
            200,
            {
                "choices": [{"message": {"content": "Real words."}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7},
            },
        )
        if "busy" in wanted["messages"][-1]["content"]:
            status, answer = 429, {"error": {"message": "slow down"}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the test's output."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Server]]:
    _Server.asked = []
    http = HTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("LOCAL_AWS_OPENAI_BASE_URL", f"http://127.0.0.1:{http.server_port}/v1")
    monkeypatch.setenv("LOCAL_AWS_OPENAI_MODEL", "small")
    monkeypatch.setenv("LOCAL_AWS_OPENAI_API_KEY", "secret")
    yield _Server
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_named_server_answers_on_demand_and_in_batch(server: type[_Server]) -> None:
    with LocalAws() as aws, settled(aws) as batch:
        members: dict[str, Any] = {
            "system": [{"text": "Be short."}],
            "inferenceConfig": {"maxTokens": 50, "temperature": 0.0},
        }
        answer = converse(aws.client("bedrock-runtime"), "Hello.", **members)
        assert answer["output"]["message"]["content"][0]["text"] == "Real words."
        assert (answer["stopReason"], answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (
            "max_tokens",
            11,
            7,
        )
        assert server.asked[0] == {
            "model": "small",
            "stream": False,
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello."}],
            "max_tokens": 50,
            "temperature": 0.0,
            "authorization": "Bearer secret",
        }
        lines = {
            line["recordId"]: line
            for line in batch.lines(batch.run([converse_line("a", "Hi."), converse_line("b", "busy")]))
        }
        assert lines["a"]["modelOutput"]["output"]["message"]["content"][0]["text"] == "Real words."
        assert lines["b"]["error"]["errorCode"] == 429


# The stand-in itself


@given(st.text(max_size=600))
def test_a_summary_is_the_beginning_of_the_text(text: str) -> None:
    summary = standin.summary(text)
    assert len(summary) <= standin.SUMMARY_CHARACTERS
    assert " ".join(text.split()).startswith(" ".join(summary.split()))
    assert bool(summary) == bool(text.strip()) or not text.strip()[: standin.SUMMARY_CHARACTERS].split()


@given(st.text(max_size=300))
def test_labels_are_words_of_the_text(text: str) -> None:
    assert all(label in text.lower() for label in standin.labels(text))
