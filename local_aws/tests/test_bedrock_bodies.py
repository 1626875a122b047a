"""Bodies beyond plain text: media by their place in S3, structured output, cache points, embeddings of images."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_jobs import HAIKU, NOVA, OLD_HAIKU, Batch, settled, unique
from local_aws import LocalAws

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOVA_EMBED = "amazon.nova-2-multimodal-embeddings-v1:0"
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["topic", "size"],
    "additionalProperties": False,
}


@pytest.fixture
def batch(aws: LocalAws) -> Iterator[Batch]:
    with settled(aws) as made:
        made.s3.put_object(Bucket=made.bucket, Key="in/media/pixel.png", Body=PIXEL)
        made.s3.put_object(Bucket=made.bucket, Key="elsewhere/pixel.png", Body=PIXEL)
        yield made


def image(batch: Batch, key: str, **location: Any) -> dict[str, Any]:
    source = {"s3Location": {"uri": f"s3://{batch.bucket}/{key}", **location}}
    return {"image": {"format": "png", "source": source}}


def messages(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*blocks, {"text": "What do you see here?"}]}]


def asked(schema: dict[str, Any]) -> dict[str, Any]:
    structure = {"jsonSchema": {"schema": json.dumps(schema), "name": "answer"}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}


def refusal(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return str(caught.value)


def said(answer: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer["output"]["message"]["content"][0]["text"])
    return value


def test_an_image_is_read_from_its_place(batch: Batch) -> None:
    runtime = batch.aws.client("bedrock-runtime")
    answer = runtime.converse(modelId=NOVA, messages=messages(image(batch, "in/media/pixel.png")))
    assert [(one["format"], one["bytes"]) for one in said(answer)["seen"]] == [("png", len(PIXEL))]


@pytest.mark.parametrize(
    ("model", "key", "location", "said"),
    [
        (NOVA, "in/media/none.png", {}, "Provided S3Location not found"),
        (NOVA, "in/media/pixel.png", {"bucketOwner": "210987654321"}, "is not owned by 210987654321"),
        (NOVA, "in/media/pixel.png", {"bucketOwner": "me"}, "regular expression pattern: [0-9]{12}"),
        (HAIKU, "in/media/pixel.png", {}, "doesn't support the s3Uri field"),
        ("amazon.nova-micro-v1:0", "in/media/pixel.png", {}, "doesn't support the image content block"),
    ],
)
def test_an_image_that_cannot_be_had_is_refused(
    batch: Batch, model: str, key: str, location: dict[str, Any], said: str
) -> None:
    converse = batch.aws.client("bedrock-runtime").converse
    assert said in refusal(converse, modelId=model, messages=messages(image(batch, key, **location)))


def test_documents_of_a_message_differ_by_name(batch: Batch) -> None:
    source = {"s3Location": {"uri": f"s3://{batch.bucket}/in/media/pixel.png"}}
    one = {"document": {"format": "txt", "name": "same", "source": source}}
    converse = batch.aws.client("bedrock-runtime").converse
    assert "different names" in refusal(converse, modelId=NOVA, messages=messages(one, one))


def test_a_job_reads_what_lies_in_its_input_folder_and_nothing_else(batch: Batch) -> None:
    lines: list[dict[str, Any]] = [
        {"recordId": name, "modelInput": {"messages": messages(image(batch, key))}}
        for name, key in (("inside", "in/media/pixel.png"), ("outside", "elsewhere/pixel.png"))
    ]
    folder = f"in/{unique('folder')}/"
    batch.s3.put_object(Bucket=batch.bucket, Key=f"{folder}media/pixel.png", Body=PIXEL)
    lines[0]["modelInput"]["messages"] = messages(image(batch, f"{folder}media/pixel.png"))
    batch.upload(f"{folder}records.jsonl", lines)
    job = batch.ended(batch.create(modelId=NOVA, inputDataConfig=batch.source(folder)))
    found = {one["recordId"]: one for one in batch.lines(job)}
    assert said(found["inside"]["modelOutput"])["seen"][0]["bytes"] == len(PIXEL)
    assert "is not in the input folder" in found["outside"]["error"]["errorMessage"]
    alone = {one["recordId"]: one for one in batch.lines(batch.run(lines, modelId=NOVA))}
    assert "is not in the input folder" in alone["inside"]["error"]["errorMessage"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": messages(), "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]},
        {"messages": [{"role": "user", "content": [{"text": "x"}, {"cachePoint": {"type": "default"}}]}]},
    ],
)
def test_cache_points_are_for_on_demand_calls(batch: Batch, body: dict[str, Any]) -> None:
    assert batch.aws.client("bedrock-runtime").converse(modelId=HAIKU, **body)["stopReason"] == "end_turn"
    (line,) = batch.lines(batch.run([{"recordId": "a", "modelInput": body}]))
    assert "not supported for batch inference" in line["error"]["errorMessage"]


def test_members_that_converse_does_not_know_are_refused_in_batch(batch: Batch) -> None:
    (line,) = batch.lines(batch.run([{"recordId": "a", "modelInput": {"messages": messages(), "max_tokens": 9}}]))
    assert "extraneous key [max_tokens]" in line["error"]["errorMessage"]


def test_a_schema_is_kept_to_natively(batch: Batch) -> None:
    runtime = batch.aws.client("bedrock-runtime")
    answer = said(runtime.converse(modelId=HAIKU, messages=messages(), outputConfig=asked(SCHEMA)))
    assert (set(answer), type(answer["size"])) == ({"topic", "size"}, int)
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    native = json.loads(runtime.invoke_model(modelId=HAIKU, body=json.dumps(body))["body"].read())
    assert set(json.loads(native["content"][0]["text"])) == {"topic", "size"}


def test_a_schema_in_words_is_kept_to(batch: Batch) -> None:
    runtime = batch.aws.client("bedrock-runtime")
    told = messages({"text": f"Answer by this schema: {json.dumps(SCHEMA)}"})
    # The last text is the question; the schema stands before it.
    assert set(said(runtime.converse(modelId=NOVA, messages=told))) == {"topic", "size"}


@pytest.mark.parametrize(
    ("model", "schema", "message"),
    [
        (NOVA, SCHEMA, "doesn't support the outputConfig.textFormat field"),
        (OLD_HAIKU, SCHEMA, "doesn't support the outputConfig.textFormat field"),
        (HAIKU, {"type": "object", "properties": {}}, "'additionalProperties' must be explicitly set to false"),
        (HAIKU, {"type": "array", "items": {"type": "string"}, "maxItems": 3}, "property 'maxItems' is not supported"),
        (HAIKU, {"type": "integer", "minimum": 0}, "property 'minimum' is not supported"),
        (HAIKU, {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "Recursive schemas"),
    ],
)
def test_schemas_beyond_what_aws_takes_are_refused(
    batch: Batch, model: str, schema: dict[str, Any], message: str
) -> None:
    converse = batch.aws.client("bedrock-runtime").converse
    assert message in refusal(converse, modelId=model, messages=messages(), outputConfig=asked(schema))


def test_an_image_can_be_embedded(batch: Batch) -> None:
    runtime = batch.aws.client("bedrock-runtime")

    def vector(**of: Any) -> Any:
        wanted = {"embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 256, **of}
        body = {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": wanted}
        answer = json.loads(runtime.invoke_model(modelId=NOVA_EMBED, body=json.dumps(body))["body"].read())
        (one,) = answer["embeddings"]
        assert len(one["embedding"]) == 256
        return one

    pixel = image(batch, "in/media/pixel.png")["image"]
    assert vector(image=pixel)["embeddingType"] == "IMAGE"
    text = vector(text={"truncationMode": "END", "value": "naval treaty"})
    assert (text["embeddingType"], text["embedding"] == vector(image=pixel)["embedding"]) == ("TEXT", False)


def test_answers_can_be_given_in_the_shapes_that_models_give_them(batch: Batch) -> None:
    runtime = batch.aws.client("bedrock-runtime")
    shapes = ("fenced", "chatty", "twice", "truncated", "wrong")
    marker = unique("marker")
    batch.aws.local(
        "POST",
        "/_local/faults",
        [
            {"target": "record", "match": {"prompt": f"{marker}-{one}"}, "do": "reshape", "as": one, "name": marker}
            for one in shapes
        ],
    )
    answers = {}
    for shape in shapes:
        block = [{"role": "user", "content": [{"text": f"{marker}-{shape} and some words"}]}]
        answer = runtime.converse(modelId=NOVA, messages=block)
        answers[shape] = (answer["output"]["message"]["content"][0]["text"], answer["stopReason"])
    batch.aws.local("DELETE", f"/_local/faults?name={marker}")
    assert answers["fenced"][0].startswith("```json\n{")
    assert answers["chatty"][0].startswith("Certainly!")
    assert answers["twice"][0].count('"summary"') == 2
    assert answers["truncated"][1] == "max_tokens"
    assert json.loads(answers["wrong"][0]) == {"unasked": True}


def test_both_modes_can_be_seen_to_send_the_same_body(batch: Batch) -> None:
    batch.aws.local("GET", "/_local/bodies")
    body = {"messages": messages({"text": unique("same")})}
    batch.run([{"recordId": "a", "modelInput": body}], modelId=NOVA)
    batch.aws.client("bedrock-runtime").converse(modelId=NOVA, **body)
    notes = batch.aws.local("GET", f"/_local/bodies?modelId={NOVA}")
    assert [one["mode"] for one in notes[-2:]] == ["batch", "sync"]
    assert notes[-1]["digest"] == notes[-2]["digest"]


@pytest.mark.parametrize(
    ("wording", "words"),
    [
        ("extra_inputs", "output_config.format: Extra inputs are not permitted"),
        ("extraneous_key", "extraneous key [outputConfig] is not permitted"),
    ],
)
def test_an_account_may_refuse_schemas_in_either_wording(aws: LocalAws, wording: str, words: str) -> None:
    """MattJColes/lgtmaybe pull request 536 has both; vercel/ai 20128: it depends on the account, not on the model."""
    converse = aws.client("bedrock-runtime").converse
    with settled(aws, structured_output="refused", structured_output_refusal=wording):
        assert words in refusal(converse, modelId=HAIKU, messages=messages(), outputConfig=asked(SCHEMA))
        converse(modelId=HAIKU, messages=messages())
    converse(modelId=HAIKU, messages=messages(), outputConfig=asked(SCHEMA))


def test_an_account_may_refuse_schemas_in_batch_only(aws: LocalAws) -> None:
    with settled(aws, structured_output="refused_in_batch") as batch:
        body = {"messages": messages(), "outputConfig": asked(SCHEMA)}
        aws.client("bedrock-runtime").converse(modelId=HAIKU, **body)
        job = batch.run([{"recordId": f"r{number:03d}", "modelInput": body} for number in range(100)])
        assert (job["status"], job["errorRecordCount"]) == ("Completed", 100)
        assert "Extra inputs are not permitted" in batch.lines(job)[0]["error"]["errorMessage"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({**SCHEMA, "allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": SCHEMA}}, "'allOf' with '$ref' is not supported"),
        (
            {
                "type": "object", "additionalProperties": False,
                "properties": {f"p{number}": {"type": "string"} for number in range(25)},
            },
            "too many optional parameters (25)",
        ),
        (
            {
                "type": "object", "additionalProperties": False, "required": [f"p{number}" for number in range(17)],
                "properties": {
                    f"p{number}": {"anyOf": [{"type": "string"}, {"type": "null"}]} for number in range(17)
                },
            },
            "too many parameters with union types (17)",
        ),
    ],
)  # fmt: skip
def test_schemas_beyond_the_limits_of_strict_ones(aws: LocalAws, schema: dict[str, Any], message: str) -> None:
    """Anthropic's page on structured outputs: complexity limits."""
    converse = aws.client("bedrock-runtime").converse
    assert message in refusal(converse, modelId=HAIKU, messages=messages(), outputConfig=asked(schema))
