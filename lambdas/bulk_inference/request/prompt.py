"""Section `prompt` of a request: what is made of a line that is no record yet."""

from typing import Any

from bulk_inference.core.model_families import CONVERSE, UNKNOWN, Family
from bulk_inference.core.run_spec import Example, Media, Prompt
from bulk_inference.render.cache_points import EXAMPLES, PARTS, SYSTEM
from bulk_inference.render.media import DOCUMENT, FORMATS, IMAGE, NAME, IllegalMediaError, MediaPlaces, block
from bulk_inference.render.rendering import Template
from bulk_inference.request.fields import Fields, listed

_KEYS = ("template", "system", "inference", "examples", "images", "documents", "cache", "additional")
_MEDIA_KEYS = ("uri", "uri_field", "format", "bucket_owner", "name")

_OWN_MEMBERS = {
    "claude": ("anthropic_version", "max_tokens", "messages", "output_config", "stop_sequences", "system"),
    "nova": ("messages", "schemaVersion", "system"),
    "nova_embed": ("schemaVersion", "taskType"),
    "titan_embed": ("dimensions", "inputText", "normalize"),
}
"""Members of a native body that other fields of the request set."""


def parse_prompt(request: Fields, family: Family, api: str, places: MediaPlaces | None = None) -> Prompt:
    """`places`: where images and documents may lie; None where there may be none."""
    given = request.section("prompt", _KEYS)
    inference = given.section("inference", None)
    prompt = Prompt(
        template=given.text("template"),
        system=given.text("system"),
        inference=dict(inference.given),
        examples=_examples(given),
        images=_media(given, IMAGE, family, api, places),
        documents=_media(given, DOCUMENT, family, api, places),
        cache=_cache(given),
        additional=dict(given.section("additional", None).given),
    )
    if family.embeds:
        _embedding(given, inference, family, prompt)
    else:
        _inference_parameters(inference)
        if given.given and prompt.template is None:
            given.problem("template", "missing: what else prompt says applies to lines that a template renders")
    _template(given, family, api, prompt)
    _additional(given, family, api)
    return prompt


def as_request(prompt: Prompt) -> dict[str, Any]:
    """The section that gives this prompt; empty without one."""
    if prompt.template is None and not prompt.media:
        return {}
    section: dict[str, Any] = {"template": prompt.template, "system": prompt.system, "inference": prompt.inference}
    section["examples"] = [{"user": one.user, "assistant": one.assistant} for one in prompt.examples]
    for name, media in (("images", prompt.images), ("documents", prompt.documents)):
        section[name] = [_given({key: getattr(one, key) for key in _MEDIA_KEYS}) for one in media]
    section |= {"cache": prompt.cache, "additional": prompt.additional}
    # An empty inference stays: so has every request of a template had one.
    return {key: value for key, value in section.items() if key == "inference" or value}


def _given(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if value is not None}


def _template(given: Fields, family: Family, api: str, prompt: Prompt) -> None:
    if prompt.template is None and not prompt.media:
        return
    named = [*prompt.images, *prompt.documents]
    differs = bool(prompt.template and Template(prompt.template).fields) or any(one.uri_field for one in named)
    if not differs and not (prompt.system and Template(prompt.system).fields):
        given.problem("template", "names no {{field}}: every record would be the same prompt")
    if api != CONVERSE and family.body is None:
        given.problem(
            "template",
            "native request bodies are known for Claude, Nova, and the embeddings of Nova and Titan (text): use "
            "model.api converse, or a corpus whose lines hold modelInput",
        )


def _inference_parameters(inference: Fields) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html"""
    inference.only(("maxTokens", "temperature", "topP", "stopSequences"))
    inference.whole("maxTokens", 1, 1_000_000)
    inference.number("temperature", 0, 1)
    inference.number("topP", 0, 1)
    inference.texts("stopSequences")


def _embedding(given: Fields, inference: Fields, family: Family, prompt: Prompt) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
    https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html"""
    for name in ("system", "examples", "cache"):
        if getattr(prompt, name):
            given.problem(name, "an embedding model takes a text or an image, nothing else")
    titan = family.body == "titan_embed"
    inference.only(("dimensions", "normalize") if titan else ("dimensions", "purpose"))
    sizes = (256, 512, 1024) if titan else (256, 384, 1024, 3072)
    if inference.given.get("dimensions", 256) not in sizes:
        inference.problem("dimensions", f"must be {', '.join(map(str, sizes[:-1]))} or {sizes[-1]}")
    inference.flag("normalize") if titan else inference.text("purpose")
    if given.given and (prompt.template is not None) + len(prompt.images) != 1:
        given.problem("template" if titan else "", "an embedding is of one thing: one template, or one image")


def _examples(given: Fields) -> list[Example]:
    found = []
    for one in given.sections("examples", ("user", "assistant")):
        user, assistant = one.text("user"), one.text("assistant")
        for name, said in (("user", user), ("assistant", assistant)):
            if said is None and name not in one:
                one.problem(name, "missing: an example is what the user says and what the assistant answers")
        if user and assistant:
            found.append(Example(user, assistant))
    return found


def _media(given: Fields, kind: str, family: Family, api: str, places: MediaPlaces | None) -> list[Media]:
    name = f"{kind}s"
    if places is None:
        if name in given:
            given.problem(name, "not in this prompt, which is of texts alone")
        return []
    found = [_medium(one, kind, places) for one in given.sections(name, _MEDIA_KEYS)]
    readable = kind in family.media or (family is UNKNOWN and api == CONVERSE)
    if found and not readable:
        given.problem(
            name,
            f"this model reads no {kind} by its place in S3 (of the models known here, Amazon Nova's do): put its "
            "bytes into lines that hold modelInput",
        )
    return found


def _medium(one: Fields, kind: str, places: MediaPlaces) -> Media:
    uri, field = one.text("uri"), one.text("uri_field")
    if ("uri" in one) == ("uri_field" in one):
        one.problem("", "needs either uri (the same object for every record) or uri_field (a field that names it)")
    form = one.choice("format", FORMATS[kind])
    owner, name = one.text("bucket_owner"), one.text("name")
    if owner is not None and not (len(owner) == 12 and owner.isascii() and owner.isdigit()):
        one.problem("bucket_owner", "must be an account id, 12 digits")
    if name is not None and kind == IMAGE:
        one.problem("name", "images have no name")
    elif name is not None and not NAME.fullmatch(name):
        one.problem("name", "may hold letters, digits, single spaces, `-`, `(`, `)`, `[` and `]`, at most 200")
    medium = Media(uri, field, form, owner, name)
    if uri is not None:
        try:
            block(kind, medium, places.resolve(uri), 1)
        except IllegalMediaError as error:
            one.problem("uri", str(error))
    return medium


def _cache(given: Fields) -> list[str]:
    parts = given.texts("cache") or []
    for part in parts:
        if part not in PARTS:
            given.problem("cache", f"must be a list of {listed(PARTS)}, not {part!r}")
    system = given.given.get("system")
    if SYSTEM in parts and not isinstance(system, str):
        given.problem("cache", "names system, and there is none")
    elif SYSTEM in parts and Template(str(system)).fields:
        given.problem("cache", "names system, which differs from record to record by its {{field}}: nothing to cache")
    if EXAMPLES in parts and not given.given.get("examples"):
        given.problem("cache", "names examples, and there are none")
    return [part for part in PARTS if part in parts]


def _additional(given: Fields, family: Family, api: str) -> None:
    if api == CONVERSE:
        return
    for name in given.section("additional", None).given:
        if name in _OWN_MEMBERS.get(family.body or "", ()):
            given.problem(f"additional.{name}", "is set by the other fields of the request")
