"""Request and response bodies of the two ways to ask a model: Converse, and InvokeModel with the model's own body.

The same code reads a body on demand and in a batch record. What AWS refuses is refused with AWS's text as far as it is
known, else with a text that says the same. Sources: the API reference of Converse (members, ranges), the user guide's
"Inference request parameters" pages for Anthropic Claude Messages, Amazon Nova and Amazon Titan Text Embeddings.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from local_aws.bedrock import media, shapes, structured
from local_aws.bedrock.models import Model
from local_aws.bedrock.wire import AwsError

Api = Literal["Converse", "InvokeModel"]


class Prompt(NamedTuple):
    """What the model is asked, whatever the body's form. `text` is the last user message; `length` counts every
    character of the input (system and all messages); `roles` holds the conversation for a real model."""

    text: str
    system: str
    length: int
    conversation: tuple[tuple[str, str], ...]
    max_tokens: int
    max_tokens_given: bool
    temperature: float | None
    top_p: float | None
    stop_sequences: tuple[str, ...]
    media: tuple[media.Reference, ...] = ()
    schema: dict[str, Any] | None = None


class Completion(NamedTuple):
    """What the model answers."""

    text: str
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence"]
    input_tokens: int
    output_tokens: int
    stop_sequence: str | None = None


def read(api: Api, model: Model, body: Mapping[str, Any], *, batch: bool = False) -> Prompt:
    """The prompt in a body. Raises ValidationException when the API or the model refuses the body."""
    if batch and _holds_cache_point(body):
        # "Prompt caching": batch inference is not among what it works with.
        raise _invalid("Prompt caching is not supported for batch inference. Remove the cache points and try again.")
    structured.check_taken(body, batch=batch)
    if api == "Converse":
        prompt = _read_converse(model, body)
    elif model.family == "claude":
        prompt = _read_claude(model, body)
    elif model.family == "nova":
        prompt = _read_nova(model, body)
    elif model.family == "titan-embed":
        prompt = _read_titan(body)
    elif model.family == "nova-embed":
        prompt = _read_nova_embed(model, body)
    else:
        raise _invalid(f"InvokeModel of {model.id} is not known to the local AWS; use Converse.")
    if model.refuses_both and prompt.temperature is not None and prompt.top_p is not None:
        raise _invalid(
            "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this "
            "model. Please use only one."
        )
    return prompt


def _holds_cache_point(value: Any) -> bool:
    if isinstance(value, dict):
        return "cachePoint" in value or "cache_control" in value or any(map(_holds_cache_point, value.values()))
    return isinstance(value, list) and any(map(_holds_cache_point, value))


def write(api: Api, model: Model, prompt: Prompt, done: Completion, latency_ms: int) -> dict[str, Any]:
    """The response body for a completion."""
    if api == "Converse":
        return _write_converse(done, latency_ms)
    if model.family == "claude":
        return _write_claude(model, done)
    if model.family == "nova":
        return {
            "output": {"message": {"content": [{"text": done.text}], "role": "assistant"}},
            "stopReason": done.stop_reason,
            "usage": {
                "inputTokens": done.input_tokens,
                "outputTokens": done.output_tokens,
                "totalTokens": done.input_tokens + done.output_tokens,
                "cacheReadInputTokenCount": 0,
                "cacheWriteInputTokenCount": 0,
            },
        }
    raise AssertionError(f"embeddings are written by the stand-in, not here: {model.id}")


# Converse


def check_converse(body: Mapping[str, Any]) -> None:
    """Constraints of the Converse shape itself (ranges, required members, enums)."""
    shapes.check("bedrock-runtime", "Converse", {"modelId": "amazon.placeholder", **body})


def _read_converse(model: Model, body: Mapping[str, Any]) -> Prompt:
    if not model.chats:
        raise _invalid(
            "This action doesn't support the model that you provided. Try again with a supported text or chat model."
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
        raise _invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    unusual = _unusual(body)
    if unusual:
        check_converse(body)
        if unknown := sorted(body.keys() - _CONVERSE_MEMBERS):
            raise _malformed([f"#: extraneous key [{name}] is not permitted" for name in unknown])
    _check_turns(messages)
    references = media.of_converse(model, messages) if unusual else ()
    schema = structured.of_converse(model, body.get("outputConfig")) if unusual else None
    conversation = tuple(
        (message["role"], "\n".join(_converse_texts(message.get("content"), number)))
        for number, message in enumerate(messages)
    )
    config = body.get("inferenceConfig") or {}
    limit = config.get("maxTokens")
    if limit is not None and limit > model.max_output_tokens:
        raise _too_many_tokens(model)
    system = "\n".join(block.get("text") or "" for block in body.get("system") or ())
    return _prompt(
        conversation,
        system,
        limit,
        model,
        config.get("temperature"),
        config.get("topP"),
        config.get("stopSequences"),
    )._replace(media=references, schema=schema)


_CONVERSE_MEMBERS = frozenset(
    {
        "messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields",
        "promptVariables", "additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "serviceTier",
        "outputConfig",
    }
)  # fmt: skip

_ORDINARY = {"messages", "system", "inferenceConfig"}


def _unusual(body: Mapping[str, Any]) -> bool:
    """Whether a body needs the full (slow) check of its shape: batch jobs hold 100,000 bodies that do not."""
    config = body.get("inferenceConfig")
    plain_config = config is None or (
        isinstance(config, dict)
        and set(config) <= {"maxTokens", "temperature"}
        and type(config.get("maxTokens", 1)) is int
        and config.get("maxTokens", 1) >= 1
        and type(config.get("temperature", 0)) in (int, float)
        and 0 <= config.get("temperature", 0) <= 1
    )
    system = body.get("system")
    plain_system = system is None or (
        isinstance(system, list)
        and all(type(block) is dict and set(block) == {"text"} and type(block["text"]) is str for block in system)
    )
    plain_messages = all(
        type(message) is dict
        and message.keys() == {"role", "content"}
        and message["role"] in ("user", "assistant")
        and type(message["content"]) is list
        and all(
            type(block) is dict and block.keys() == {"text"} and type(block["text"]) is str
            for block in message["content"]
        )
        for message in body["messages"]
    )
    return not (body.keys() <= _ORDINARY and plain_config and plain_system and plain_messages)


def _check_turns(messages: list[Any]) -> None:
    if messages[0].get("role") != "user":
        raise _invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(one["role"] == other["role"] for one, other in itertools.pairwise(messages)):
        raise _invalid(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )


def _converse_texts(content: Any, number: int) -> Iterator[str]:
    if not content:
        raise _invalid(
            f"The content field in the Message object at messages.{number} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    for position, block in enumerate(content):
        text = block.get("text")
        if text is None:
            continue
        if not text.strip():
            raise _invalid(
                f"The text field in the ContentBlock object at messages.{number}.content.{position} is blank. Add text "
                "to the text field, and try again."
            )
        yield text


def _write_converse(done: Completion, latency_ms: int) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": done.text}]}},
        "stopReason": done.stop_reason,
        "usage": {
            "inputTokens": done.input_tokens,
            "outputTokens": done.output_tokens,
            "totalTokens": done.input_tokens + done.output_tokens,
        },
        "metrics": {"latencyMs": latency_ms},
    }


def with_nulls(response: dict[str, Any]) -> dict[str, Any]:
    """A Converse response as batch output files hold some: the unset members of unions written as explicit nulls."""
    message = response["output"]["message"]
    blocks = [{**dict.fromkeys(_UNSET_CONTENT), **block} for block in message["content"]]
    usage = {**response["usage"], "cacheReadInputTokens": None, "cacheWriteInputTokens": None}
    return {
        **response,
        "output": {"message": {**message, "content": blocks}},
        "usage": usage,
        "additionalModelResponseFields": None,
        "trace": None,
        "performanceConfig": None,
    }


_UNSET_CONTENT = (
    "text", "image", "document", "video", "toolUse", "toolResult", "guardContent", "cachePoint", "reasoningContent",
    "citationsContent",
)  # fmt: skip


# Anthropic Claude, Messages API


def _read_claude(model: Model, body: Mapping[str, Any]) -> Prompt:
    missing = [name for name in ("anthropic_version", "max_tokens", "messages") if name not in body]
    if missing:
        raise _malformed([f"#: required key [{name}] not found" for name in missing])
    if unknown := [name for name in body if name not in _CLAUDE_KEYS]:
        raise _malformed([f"#: extraneous key [{name}] is not permitted" for name in unknown])
    if body["anthropic_version"] != "bedrock-2023-05-31":
        raise _invalid("anthropic_version: Input should be 'bedrock-2023-05-31'")
    limit = body["max_tokens"]
    if type(limit) is not int or limit < 1:
        raise _invalid("max_tokens: Input should be greater than or equal to 1")
    if limit > model.max_output_tokens:
        raise _invalid(
            f"max_tokens: {limit} > {model.max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {model.id.removeprefix('anthropic.')}"
        )
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and (type(value) not in (int, float) or not 0 <= value <= 1):
            raise _invalid(f"{name}: range: 0..1")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages: at least one message is required")
    conversation = tuple(_claude_turn(message, number) for number, message in enumerate(messages))
    if conversation[0][0] != "user":
        raise _invalid('messages: first message must use the "user" role')
    system = _claude_text(body["system"], "system") if body.get("system") else ""
    return _prompt(
        conversation,
        system,
        limit,
        model,
        body.get("temperature"),
        body.get("top_p"),
        body.get("stop_sequences"),
    )._replace(schema=structured.of_claude(model, body.get("output_config")))


_CLAUDE_KEYS = frozenset(
    {
        "anthropic_version", "anthropic_beta", "max_tokens", "messages", "system", "temperature", "top_p", "top_k",
        "stop_sequences", "tools", "tool_choice", "thinking", "metadata", "output_config", "output_format",
    }
)  # fmt: skip


def _claude_turn(message: Any, number: int) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise _invalid(f"messages.{number}: Input should be a valid dictionary")
    if message.get("role") not in ("user", "assistant"):
        raise _invalid(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    if not message.get("content"):
        raise _invalid(f"messages.{number}: all messages must have non-empty content")
    return message["role"], _claude_text(message["content"], f"messages.{number}.content")


def _claude_text(content: Any, place: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _invalid(f"{place}: Input should be a valid list")
    texts = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or "type" not in block:
            raise _invalid(f"{place}.{number}.type: Field required")
        if block["type"] in ("image", "document"):
            source = block.get("source")
            if not isinstance(source, dict) or source.get("type") not in ("base64", "text"):
                raise _invalid(f"{place}.{number}.{block['type']}.source.type: Field required")
        if block["type"] == "text":
            if not isinstance(block.get("text"), str):
                raise _invalid(f"{place}.{number}.text: Field required")
            if not block["text"].strip():
                raise _invalid(f"{place}.{number}: text content blocks must be non-empty")
            texts.append(block["text"])
    return "\n".join(texts)


def _write_claude(model: Model, done: Completion) -> dict[str, Any]:
    return {
        "model": model.id.removeprefix("anthropic.").rsplit("-v", 1)[0],
        "id": "msg_bdrk_" + hashlib.blake2b(done.text.encode("utf-8", "replace"), digest_size=12).hexdigest(),
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": done.text}],
        "stop_reason": done.stop_reason,
        "stop_sequence": done.stop_sequence,
        "usage": {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens},
    }


# Amazon Nova


def _read_nova(model: Model, body: Mapping[str, Any]) -> Prompt:
    if "messages" not in body:
        raise _malformed(["#: required key [messages] not found"])
    if unknown := [name for name in body if name not in _NOVA_KEYS]:
        raise _malformed([f"#: extraneous key [{name}] is not permitted" for name in unknown])
    config = body.get("inferenceConfig") or {}
    converse = {name: body[name] for name in ("messages", "system") if name in body}
    limit = config.get("maxTokens", config.get("max_new_tokens"))
    converse["inferenceConfig"] = {
        name: value
        for name, value in (
            ("maxTokens", limit),
            ("temperature", config.get("temperature")),
            ("topP", config.get("topP", config.get("top_p"))),
            ("stopSequences", config.get("stopSequences")),
        )
        if value is not None
    }
    return _read_converse(model, converse)


_NOVA_KEYS = frozenset(
    {"schemaVersion", "messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields"}
)


# Amazon Titan Text Embeddings V2


def _read_titan(body: Mapping[str, Any]) -> Prompt:
    if "inputText" not in body:
        raise _malformed(["#: required key [inputText] not found"])
    if unknown := [name for name in body if name not in {"inputText", "dimensions", "normalize", "embeddingTypes"}]:
        raise _malformed([f"#: extraneous key [{name}] is not permitted" for name in unknown])
    text = body["inputText"]
    if not isinstance(text, str) or not text:
        raise _malformed(["#/inputText: expected minLength: 1, actual: 0"])
    if body.get("dimensions", 1024) not in (256, 512, 1024):
        raise _malformed([f"#/dimensions: {body['dimensions']} is not a valid enum value"])
    if len(text) > 50_000:
        raise _malformed([f"expected maxLength: 50000, actual: {len(text)}"])
    return Prompt(text, "", len(text), (("user", text),), 0, False, None, None, ())


# Amazon Nova Multimodal Embeddings: page "Complete embeddings request and response schema"


def _read_nova_embed(model: Model, body: Mapping[str, Any]) -> Prompt:
    if unknown := [name for name in body if name not in {"schemaVersion", "taskType", "singleEmbeddingParams"}]:
        raise _malformed([f"#: extraneous key [{name}] is not permitted" for name in unknown])
    if body.get("taskType") != "SINGLE_EMBEDDING":
        raise _malformed(["#/taskType: SINGLE_EMBEDDING is the only synchronous task"])
    wanted = body.get("singleEmbeddingParams")
    if not isinstance(wanted, dict) or "embeddingPurpose" not in wanted:
        raise _malformed(["#/singleEmbeddingParams: required key [embeddingPurpose] not found"])
    if wanted.get("embeddingDimension", 3072) not in (256, 384, 1024, 3072):
        raise _malformed([f"#/singleEmbeddingParams/embeddingDimension: {wanted['embeddingDimension']} is not valid"])
    given = [name for name in ("text", "image") if name in wanted]
    if len(given) != 1:
        raise _malformed(["#/singleEmbeddingParams: exactly one of text, image, audio, video must be given"])
    text = ""
    references: tuple[media.Reference, ...] = ()
    if given == ["text"]:
        text = wanted["text"].get("value") or ""
        if wanted["text"].get("truncationMode") not in ("START", "END", "NONE") or not text:
            raise _malformed(["#/singleEmbeddingParams/text: needs truncationMode and value"])
    else:
        references = media.of_image(model, wanted["image"], "singleEmbeddingParams.image")
    prompt = Prompt(text, "", len(text), (("user", text),), 0, False, None, None, ())
    return prompt._replace(media=references)


def _prompt(
    conversation: tuple[tuple[str, str], ...],
    system: str,
    limit: int | None,
    model: Model,
    temperature: float | None,
    top_p: float | None,
    stop: list[str] | None,
) -> Prompt:
    asked = next((text for role, text in reversed(conversation) if role == "user"), "")
    length = len(system) + sum(len(text) for _, text in conversation)
    return Prompt(
        text=asked,
        system=system,
        length=length,
        conversation=conversation,
        max_tokens=limit or model.max_output_tokens,
        max_tokens_given=limit is not None,
        temperature=temperature,
        top_p=top_p,
        stop_sequences=tuple(stop or ()),
    )


def _too_many_tokens(model: Model) -> AwsError:
    limit = model.max_output_tokens
    return _invalid(
        f"The maximum tokens you requested exceeds the model limit of {limit}. Try again with a maximum tokens value "
        f"that is lower than {limit}."
    )


def _malformed(problems: list[str]) -> AwsError:
    shown = problems[0] if len(problems) == 1 else f"{len(problems)} schema violations found: {', '.join(problems)}"
    return _invalid(f"Malformed input request: {shown}, please reformat your input and try again.")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
