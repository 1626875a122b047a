"""Real answers from any server with the OpenAI chat interface, in place of the stand-in model.

On when `LOCAL_AWS_OPENAI_BASE_URL` is set (`http://127.0.0.1:11434/v1`), with `LOCAL_AWS_OPENAI_MODEL` (default
`default`) and `LOCAL_AWS_OPENAI_API_KEY` (default none). Read at every call, so that a started process can be told
apart from its environment only by these three names.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from local_aws.bedrock.bodies import Completion, Prompt
from local_aws.bedrock.wire import AwsError

BASE_URL = "LOCAL_AWS_OPENAI_BASE_URL"
MODEL = "LOCAL_AWS_OPENAI_MODEL"
API_KEY = "LOCAL_AWS_OPENAI_API_KEY"
TIMEOUT_SECONDS = 300

#: finish_reason of the OpenAI interface → stopReason of Bedrock.
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def configured() -> bool:
    """Whether a server is named."""
    return bool(os.environ.get(BASE_URL))


def complete(prompt: Prompt) -> Completion:
    """Ask the server. Raises ThrottlingException, ModelTimeoutException, ServiceUnavailableException,
    InternalServerException or ModelErrorException as the server fails."""
    messages = [{"role": role, "content": text} for role, text in prompt.conversation]
    if prompt.system:
        messages.insert(0, {"role": "system", "content": prompt.system})
    wanted: dict[str, Any] = {"model": os.environ.get(MODEL, "default"), "messages": messages, "stream": False}
    if prompt.max_tokens_given:
        wanted["max_tokens"] = prompt.max_tokens
    if prompt.temperature is not None:
        wanted["temperature"] = prompt.temperature
    if prompt.top_p is not None:
        wanted["top_p"] = prompt.top_p
    if prompt.stop_sequences:
        wanted["stop"] = list(prompt.stop_sequences)
    answer = _post(wanted)
    try:
        choice = answer["choices"][0]
        usage = answer.get("usage") or {}
        text = choice["message"]["content"] or ""
        stop_reason: Any = _STOP_REASONS.get(choice.get("finish_reason"), "end_turn")
    except (KeyError, IndexError, TypeError) as problem:
        raise AwsError("ModelErrorException", f"The model server's answer has no {problem}.") from None
    return Completion(
        text,
        stop_reason,
        int(usage.get("prompt_tokens") or -(-prompt.length // 4)),
        int(usage.get("completion_tokens") or -(-len(text) // 4)),
    )


def _post(wanted: dict[str, Any]) -> Any:
    url = os.environ[BASE_URL].rstrip("/") + "/chat/completions"
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(API_KEY):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data=json.dumps(wanted).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as problem:
        text = problem.read().decode("utf-8", "replace")[:500]
        if problem.code == 429:
            raise AwsError("ThrottlingException", f"The model server is busy: {text}") from None
        if problem.code in (400, 413, 422):
            raise AwsError("ValidationException", f"The model returned the following errors: {text}") from None
        if problem.code in (502, 503, 504):
            raise AwsError("ServiceUnavailableException", f"The model server answered {problem.code}: {text}") from None
        raise AwsError("InternalServerException", f"The model server answered {problem.code}: {text}") from None
    except TimeoutError:
        raise AwsError("ModelTimeoutException", "The model server took too long.") from None
    except (OSError, ValueError) as problem:
        raise AwsError("ModelErrorException", f"The model server cannot be used: {problem}") from None
