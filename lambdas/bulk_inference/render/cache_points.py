"""Cache points of prompts, which on-demand calls may carry and batch jobs may not.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html: batch inference has no prompt caching. One
shard line serves both modes and holds no cache point: a job reads the file as it is, of up to a gigabyte, while an
on-demand call holds its body in hand and adds the points on its way.
"""

from collections.abc import Mapping
from typing import Any, Final

from bulk_inference.core.model_families import CONVERSE
from bulk_inference.core.run_spec import Prompt

SYSTEM: Final = "system"
EXAMPLES: Final = "examples"
PARTS: Final = (SYSTEM, EXAMPLES)

_POINT: Final = {"cachePoint": {"type": "default"}}
_CONTROL: Final = {"type": "ephemeral"}

_MARKS: Final = (b'"cachePoint"', b'"cache_control"')


def add(body: Mapping[str, Any], prompt: Prompt, api: str, native: str | None) -> Mapping[str, Any]:
    """The body of an on-demand call with the run's cache points; `native` is the family's native form.

    A body of another shape than the run's prompt makes, from a line that was a record already, stays as it is.
    """
    if not prompt.cache:
        return body
    messages = body.get("messages")
    turns = 2 * len(prompt.examples)
    if not isinstance(messages, list) or len(messages) != turns + 1:
        return body
    made = dict(body)
    claude = api != CONVERSE and native == "claude"
    if SYSTEM in prompt.cache and body.get("system"):
        made["system"] = _marked(body["system"], claude=claude)
    if EXAMPLES in prompt.cache and turns:
        last = messages[turns - 1]
        marked = {**last, "content": _marked(last["content"], claude=claude)}
        made["messages"] = [*messages[: turns - 1], marked, *messages[turns:]]
    return made


def _marked(content: Any, *, claude: bool) -> list[Any]:
    if not claude:
        return [*content, _POINT]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*blocks[:-1], {**blocks[-1], "cache_control": _CONTROL}]


def may_hold(line: bytes) -> bool:
    """Whether a record line may hold cache points: a quick look for those that do not, which is all of most corpora."""
    return any(mark in line for mark in _MARKS)


def strip(body: Any) -> Any:
    """A request body without its cache points; the same object where it has none."""
    if isinstance(body, list):
        kept = [strip(item) for item in body if not (isinstance(item, dict) and item.keys() == {"cachePoint"})]
        return kept if len(kept) != len(body) or any(a is not b for a, b in zip(kept, body, strict=True)) else body
    if not isinstance(body, dict):
        return body
    made = {key: strip(value) for key, value in body.items() if not _is_control(key, value)}
    return made if len(made) != len(body) or any(made[key] is not body[key] for key in made) else body


def _is_control(key: str, value: Any) -> bool:
    """Claude's own mark of a cache point. Told from a text of that name by its shape."""
    return key == "cache_control" and isinstance(value, dict) and value.get("type") == "ephemeral"
