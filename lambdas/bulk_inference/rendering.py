"""Plain objects to request bodies: the run's template, and the bodies of Converse and of native InvokeModel.

The same body serves both modes. It is compiled once a run: per record only the texts of its placeholders are new.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from bulk_inference.models import CONVERSE, Family
from bulk_inference.spec import Prompt
from bulk_inference.tokens import DEFAULT_MAX_TOKENS

# A placeholder is {{name}}, blanks allowed inside the braces; every other brace is text. \{{name}} is text, too.
_PLACEHOLDER: Final = re.compile(r"(\\?)\{\{\s*([A-Za-z_][A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]+)*)\s*\}\}")

_ENCODE: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Compact JSON. An encoder made once: json.dumps would make one for each record."""

ANTHROPIC_VERSION: Final = "bedrock-2023-05-31"
"""Fixed by https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html."""


class MissingFieldError(Exception):
    """A record lacks a field that the template names; `field` is that name."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class EmptyPromptError(Exception):
    """The rendered prompt or system text holds nothing but white space, which no model takes."""


class Template:
    """Text with `{{field}}` placeholders; `{{a.b}}` is field `a.b`, else field `b` of the object in field `a`.

    Strings are put in as they are, null as nothing, everything else as its JSON text. What a value holds is never read
    as a placeholder.
    """

    def __init__(self, text: str) -> None:
        self.fields: list[str] = []
        self._literals = [""]
        position = 0
        for match in _PLACEHOLDER.finditer(text):
            self._literals[-1] += text[position : match.start()]
            if match.group(1):
                self._literals[-1] += match.group(0)[1:]
            else:
                self.fields.append(match.group(2))
                self._literals.append("")
            position = match.end()
        self._literals[-1] += text[position:]

    def render(self, record: Mapping[str, Any]) -> str:
        """Raises MissingFieldError."""
        parts = [self._literals[0]]
        for field, literal in zip(self.fields, self._literals[1:], strict=True):
            value = record[field] if field in record else _nested(record, field)
            parts.append(value if isinstance(value, str) else _text(value))
            parts.append(literal)
        return "".join(parts)


def _nested(record: Mapping[str, Any], field: str) -> Any:
    value: Any = record
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise MissingFieldError(field)
        value = value[name]
    return value


def _text(value: Any) -> str:
    return "" if value is None else _ENCODE(value)


class Renderer:
    """One run's prompt, family and API, compiled: a plain object in, the JSON text of its `modelInput` out."""

    def __init__(self, prompt: Prompt, family: Family, api: str) -> None:
        """`prompt.template` must be set, and the family must have a native body if `api` is `invoke_model`
        (requests.py sees to both); ValueError otherwise."""
        if prompt.template is None:
            raise ValueError("no prompt.template to render with")
        template = Template(prompt.template)
        system = Template(prompt.system) if prompt.system else None
        body = _body_of(family, api)(_USER, _SYSTEM if system else None, prompt.inference)
        # The body's JSON is cut at its two texts, so that a record costs two string encodings and no object.
        parts = re.split(f'"({_USER}|{_SYSTEM})"', _ENCODE(body))
        self._templates = [template if mark == _USER else cast(Template, system) for mark in parts[1::2]]
        self._literals = parts[::2]

    def render(self, record: Mapping[str, Any]) -> str:
        """Compact JSON of the request body. Raises MissingFieldError, EmptyPromptError."""
        body = self._literals[0]
        for template, literal in zip(self._templates, self._literals[1:], strict=True):
            text = template.render(record)
            if not text or text.isspace():
                raise EmptyPromptError
            body += _ENCODE(text) + literal
        return body


_USER: Final = "\ue000user\ue000"
_SYSTEM: Final = "\ue000system\ue000"
"""Marks of the two texts inside a body: private-use characters, which no inference parameter holds."""

_Body = Callable[[str, str | None, Mapping[str, Any]], dict[str, Any]]


def _converse(user: str, system: str | None, inference: Mapping[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, without modelId."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": user}]}]}
    if system is not None:
        body["system"] = [{"text": system}]
    if inference:
        body["inferenceConfig"] = dict(inference)
    return body


def _claude(user: str, system: str | None, inference: Mapping[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html"""
    names = {"temperature": "temperature", "topP": "top_p", "stopSequences": "stop_sequences"}
    return {
        "anthropic_version": ANTHROPIC_VERSION,
        "max_tokens": inference.get("maxTokens", DEFAULT_MAX_TOKENS),
        **({"system": system} if system is not None else {}),
        "messages": [{"role": "user", "content": [{"type": "text", "text": user}]}],
        **{native: inference[name] for name, native in names.items() if name in inference},
    }


def _nova(user: str, system: str | None, inference: Mapping[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html"""
    return {"schemaVersion": "messages-v1", **_converse(user, system, inference)}


def _titan_embed(user: str, system: str | None, inference: Mapping[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""
    return {"inputText": user, **inference}


_NATIVE_BODIES: Final[Mapping[str, _Body]] = {"claude": _claude, "nova": _nova, "titan_embed": _titan_embed}


def _body_of(family: Family, api: str) -> _Body:
    if api == CONVERSE:
        return _converse
    if family.body is None:
        raise ValueError(f"native request bodies of {family.key} are not known")
    return _NATIVE_BODIES[family.body]
