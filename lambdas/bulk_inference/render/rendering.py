"""Plain objects to request bodies: the run's template, and the bodies of Converse and of native InvokeModel.

The same body serves both modes. It is compiled once a run: per record only the texts of its placeholders are new.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_inference.core.model_families import CONVERSE, Family
from bulk_inference.core.run_spec import Example, Media, Output, Prompt
from bulk_inference.core.tokens import DEFAULT_MAX_TOKENS
from bulk_inference.render.media import DOCUMENT, IMAGE, IllegalMediaError, MediaPlaces, block, values
from bulk_inference.structured.native import native

# A placeholder is {{name}}, blanks allowed inside the braces; every other brace is text. \{{name}} is text, too.
# Any name may be a column's; one that is none of the rows' is refused in planning, and never sent as text.
_PLACEHOLDER: Final = re.compile(r"(\\?)\{\{([^{}]*)\}\}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]+)*")
_SINGLE: Final = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")

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
                self.fields.append(match.group(2).strip())
                self._literals.append("")
            position = match.end()
        self._literals[-1] += text[position:]

    @property
    def unusual(self) -> list[str]:
        """Names that are hardly meant as text, but may be no field's either: `Ticket Text`, `text | upper`."""
        return [name for name in self.fields if not _PLAIN_NAME.fullmatch(name)]

    @property
    def in_single_braces(self) -> list[str]:
        """What stands in `{…}`, which is text."""
        return [name.strip() for literal in self._literals for name in _SINGLE.findall(literal)]

    def empty(self, record: Mapping[str, Any]) -> list[str]:
        """Fields that render to nothing, or to white space."""
        values = ((name, _value(record, name)) for name in self.fields)
        return [name for name, value in values if value is None or (isinstance(value, str) and not value.strip())]

    def render(self, record: Mapping[str, Any]) -> str:
        """Raises MissingFieldError."""
        parts = [self._literals[0]]
        for field, literal in zip(self.fields, self._literals[1:], strict=True):
            value = _value(record, field)
            parts.append(value if isinstance(value, str) else _text(value))
            parts.append(literal)
        return "".join(parts)


def _value(record: Mapping[str, Any], field: str) -> Any:
    """Raises MissingFieldError."""
    return record[field] if field in record else _nested(record, field)


def _nested(record: Mapping[str, Any], field: str) -> Any:
    value: Any = record
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _composed(record, field)
        value = value[name]
    return value


def _composed(record: Mapping[str, Any], field: str) -> Any:
    """The field whose name is the same text in other code points: `ü` may be one or two."""
    if not field.isascii():
        wanted = unicodedata.normalize("NFC", field)
        for name, value in record.items():
            if unicodedata.normalize("NFC", name) == wanted:
                return value
    raise MissingFieldError(field)


def _text(value: Any) -> str:
    return "" if value is None else _ENCODE(value)


class Renderer:
    """One run's prompt, family and API, compiled: a plain object in, the JSON text of its `modelInput` out."""

    def __init__(
        self,
        prompt: Prompt,
        family: Family,
        api: str,
        *,
        output: Output | None = None,
        places: MediaPlaces | None = None,
    ) -> None:
        """`prompt.template` must be set, or images alone where the family embeds them; the family must have a native
        body if `api` is `invoke_model`; `places` must be given where the prompt names images or documents
        (parse.py sees to all of that); ValueError otherwise."""
        self._slots: list[Callable[[Mapping[str, Any]], str]] = []
        self._templates = [Template(one) for one in (prompt.template, prompt.system) if one]
        self._mark = "\ue000"
        while self._mark in _ENCODE([prompt.to_json(), output.to_json() if output else None]):
            self._mark += "\ue000"
        user = self._text(Template(prompt.template)) if prompt.template is not None else None
        media = [
            self._media(kind, one, number, places, bare=family.body == "nova_embed")
            for kind, named in ((IMAGE, prompt.images), (DOCUMENT, prompt.documents))
            for number, one in enumerate(named, 1)
        ]
        if user is None and not media:
            raise ValueError("no prompt.template to render with")
        native_schema, instruction = asked(output or Output(), family)
        parts = Parts(
            user=user,
            media=media,
            system=self._text(Template(prompt.system)) if prompt.system else None,
            examples=prompt.examples,
            inference=prompt.inference,
            additional=prompt.additional,
            schema=native_schema,
            instruction=instruction,
        )
        # The body's JSON is cut at what differs from record to record, so that a record costs a few string encodings
        # and no object.
        pieces = re.split(f'"{self._mark}([0-9]+){self._mark}"', _ENCODE(_body_of(family, api)(parts)))
        self._order = [self._slots[int(number)] for number in pieces[1::2]]
        self._literals = pieces[::2]

    @property
    def fields(self) -> list[str]:
        """Names of the texts' placeholders."""
        return [name for one in self._templates for name in one.fields]

    @property
    def unusual(self) -> list[str]:
        """As Template's, of all texts."""
        return [name for one in self._templates for name in one.unusual]

    @property
    def in_single_braces(self) -> list[str]:
        return [name for one in self._templates for name in one.in_single_braces]

    def empty(self, record: Mapping[str, Any]) -> list[str]:
        """Named fields of a record that put nothing into its prompt."""
        return [name for one in self._templates for name in one.empty(record)]

    def render(self, record: Mapping[str, Any]) -> str:
        """Compact JSON of the request body. Raises MissingFieldError, EmptyPromptError, IllegalMediaError."""
        body = self._literals[0]
        for slot, literal in zip(self._order, self._literals[1:], strict=True):
            body += slot(record) + literal
        return body

    def _slot(self, render: Callable[[Mapping[str, Any]], str]) -> str:
        self._slots.append(render)
        return f"{self._mark}{len(self._slots) - 1}{self._mark}"

    def _text(self, template: Template) -> str:
        def render(record: Mapping[str, Any]) -> str:
            text = template.render(record)
            if not text or text.isspace():
                raise EmptyPromptError
            return _ENCODE(text)

        return self._slot(render)

    def _media(self, kind: str, media: Media, first: int, places: MediaPlaces | None, *, bare: bool) -> str:
        """Blocks without the brackets of their list: they stand among others. `bare`: what is in a single block."""
        if places is None:
            raise ValueError(f"no places for prompt.{kind}s")

        def render(record: Mapping[str, Any]) -> str:
            try:
                named = [media.uri or ""] if media.uri_field is None else _named(media.uri_field, record)
                if bare and len(named) > 1:
                    raise IllegalMediaError("must name one object: this model embeds one at a time")
                blocks = [
                    # Documents of one request must differ by name: each entry has a hundred numbers of its own.
                    block(kind, media, places.resolve(one), first if at == 0 else 100 * first + at)
                    for at, one in enumerate(named)
                ]
            except IllegalMediaError as error:
                field = f"field {media.uri_field!r}" if media.uri_field else f"prompt.{kind}s[{first - 1}].uri"
                raise IllegalMediaError(f"{field}: {error}") from None
            return _ENCODE(blocks[0][kind]) if bare else _ENCODE(blocks)[1:-1]

        return self._slot(render)


def _named(field: str, record: Mapping[str, Any]) -> list[str]:
    value = record[field] if field in record else _nested(record, field)
    if value is None:
        raise MissingFieldError(field)
    return values(field, value)


def renderer_for(prompt: Prompt, family: Family, api: str, *, output: Output, places: MediaPlaces) -> Renderer | None:
    """None where the prompt renders nothing: every line must then be a record already."""
    if prompt.template is None and not prompt.media:
        return None
    return Renderer(prompt, family, api, output=output, places=places)


def asked(output: Output, family: Family) -> tuple[dict[str, Any] | None, str | None]:
    """How the run's schema is asked for: the schema to put into the body, or the words to add to the prompt."""
    if output.schema is None:
        return None, None
    how = output.asked or output.ask
    if how == "native" or (how == "auto" and family.structured):
        schema = native(output.schema)
        if schema is not None:
            return schema, None
    return None, INSTRUCTION + _ENCODE(output.schema)


INSTRUCTION: Final = (
    "Answer with exactly one JSON value that fits the following JSON Schema, and with nothing else: no explanation "
    "before or after it, no code fence.\n"
)


@dataclass(frozen=True)
class Parts:
    """What a body is made of. `user`, `system` and `media` are marks of what is rendered for each record."""

    user: str | None
    media: list[str]
    system: str | None
    examples: list[Example]
    inference: Mapping[str, Any]
    additional: Mapping[str, Any]
    schema: dict[str, Any] | None
    instruction: str | None


_Body = Callable[[Parts], dict[str, Any]]


def _messages(parts: Parts, text: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    shown = [
        {"role": role, "content": [text(said)]}
        for one in parts.examples
        for role, said in (("user", one.user), ("assistant", one.assistant))
    ]
    asked_for = [text(one) for one in (parts.user, parts.instruction) if one is not None]
    return [*shown, {"role": "user", "content": [*parts.media, *asked_for]}]


def _conversation(parts: Parts) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": _messages(parts, lambda said: {"text": said})}
    if parts.system is not None:
        body["system"] = [{"text": parts.system}]
    if parts.inference:
        body["inferenceConfig"] = dict(parts.inference)
    return body


def _converse(parts: Parts) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, without modelId."""
    body = _conversation(parts)
    if parts.schema is not None:
        wanted = {"schema": _ENCODE(parts.schema), "name": "answer"}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": wanted}}}
    if parts.additional:
        body["additionalModelRequestFields"] = dict(parts.additional)
    return body


def _claude(parts: Parts) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html"""
    names = {"temperature": "temperature", "topP": "top_p", "stopSequences": "stop_sequences"}
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": parts.schema}}} if parts.schema else {}
    body = {
        "anthropic_version": ANTHROPIC_VERSION,
        "max_tokens": parts.inference.get("maxTokens", DEFAULT_MAX_TOKENS),
        **({"system": parts.system} if parts.system is not None else {}),
        "messages": _messages(parts, lambda said: {"type": "text", "text": said}),
        **{native: parts.inference[name] for name, native in names.items() if name in parts.inference},
        **wanted,
    }
    return merged(body, parts.additional)


def _nova(parts: Parts) -> dict[str, Any]:
    """https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html"""
    return merged({"schemaVersion": "messages-v1", **_conversation(parts)}, parts.additional)


def _titan_embed(parts: Parts) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""
    return merged({"inputText": parts.user, **parts.inference}, parts.additional)


def _nova_embed(parts: Parts) -> dict[str, Any]:
    """https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html: one text or one image."""
    wanted: dict[str, Any] = {
        "embeddingPurpose": parts.inference.get("purpose", "GENERIC_INDEX"),
        "embeddingDimension": parts.inference.get("dimensions", 1024),
    }
    if parts.user is not None:
        wanted["text"] = {"truncationMode": "END", "value": parts.user}
    for image in parts.media:
        wanted["image"] = image
    body = {"schemaVersion": "nova-multimodal-embed-v1", "taskType": "SINGLE_EMBEDDING"}
    return merged({**body, "singleEmbeddingParams": wanted}, parts.additional)


def merged(body: Mapping[str, Any], additional: Mapping[str, Any]) -> dict[str, Any]:
    """A native body with further members. Objects are joined, so that `{"inferenceConfig": {"topK": 20}}` means what it
    means in Converse's additionalModelRequestFields."""
    made = dict(body)
    for name, value in additional.items():
        own = made.get(name)
        made[name] = merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return made


_NATIVE_BODIES: Final[Mapping[str, _Body]] = {
    "claude": _claude,
    "nova": _nova,
    "nova_embed": _nova_embed,
    "titan_embed": _titan_embed,
}


def _body_of(family: Family, api: str) -> _Body:
    if api == CONVERSE:
        return _converse
    if family.body is None:
        raise ValueError(f"native request bodies of {family.key} are not known")
    return _NATIVE_BODIES[family.body]
