"""One request, evaluated: the same on demand and for a record of a batch job."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from local_aws import faults, knobs
from local_aws.bedrock import bodies, journal, media, openai, standin
from local_aws.bedrock.bodies import Api
from local_aws.bedrock.models import Model
from local_aws.bedrock.wire import STATUS_OF, AwsError

GARBLED_TEXT = "As a language model I would rather not say {"

#: errorCode of a record fault → the exception that the same fault is on demand.
EXCEPTION_OF = {
    403: "AccessDeniedException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class Evaluated(NamedTuple):
    """The response body, and the tokens it cost."""

    response: dict[str, Any]
    input_tokens: int
    output_tokens: int
    rule: faults.Rule | None


def may_wait() -> bool:
    """Whether an answer may take long, so that nothing else may wait for it."""
    return openai.configured() or faults.active("record", "delay")


def evaluate(
    api: Api, model: Model, body: dict[str, Any], mode: str, reader: media.Reader, **facts: object
) -> Evaluated:
    """Answer a body. Raises AwsError: the body is refused, the model fails, or a fault rule of target `record` says so.

    `mode` is `batch` or `sync`; `reader` reads what the body names in S3; `facts` are further facts for the fault plan
    (recordId, jobName).
    """
    prompt = bodies.read(api, model, body, batch=mode == "batch")
    return answer(api, model, body, prompt, mode, reader, **facts)


def answer(
    api: Api,
    model: Model,
    body: dict[str, Any],
    prompt: bodies.Prompt,
    mode: str,
    reader: media.Reader,
    **facts: object,
) -> Evaluated:
    """As `evaluate`, for a body that is read already."""
    journal.note(mode, api, model.id, body)
    seen = [(reference, reader.read(reference)) for reference in prompt.media]
    rule = None
    if faults.active("record"):
        text = f"{prompt.system}\n{prompt.text}"
        rule = faults.strike("record", text, prompt=text, modelId=model.id, mode=mode, **facts)
        if rule is not None and rule.do == "error":
            code = int(rule.options["errorCode"])
            name = EXCEPTION_OF.get(code, "ValidationException")
            status = None if STATUS_OF[name] == code else code
            raise AwsError(name, str(rule.options["errorMessage"]), status=status)
        if rule is not None and rule.do == "delay":
            time.sleep(float(rule.options["seconds"]))
    marker = knobs.current.poison_marker
    if not model.chats:
        response = standin.embed(model, prompt, body, marker, seen)
        return Evaluated(response, int(response.get("inputTextTokenCount", 0)), 0, rule)
    if rule is not None and rule.do == "garble":
        done = standin.finish(prompt, GARBLED_TEXT)
    elif openai.configured():
        done = openai.complete(prompt)
    else:
        done = standin.complete(prompt, marker, seen)
    if rule is not None and rule.do == "reshape":
        done = standin.reshape(prompt, done, str(rule.options["as"]))
    latency = 40 + done.output_tokens * 8
    return Evaluated(bodies.write(api, model, prompt, done, latency), done.input_tokens, done.output_tokens, rule)
