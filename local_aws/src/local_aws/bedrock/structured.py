"""Structured outputs: the schema in a request, and an answer that fits it.

Page "Get validated JSON results from models": `outputConfig.textFormat` of Converse, `output_config.format` of Claude's
body; the models that take it; the part of JSON Schema draft 2020-12 that it knows (types, enum, const, anyOf, allOf,
local $ref, required, formats, minItems of 0 or 1, objects closed by additionalProperties: false; no recursion, no
bounds of numbers, lengths and lists). Refusals are worded as reported by callers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws import knobs
from local_aws.bedrock.models import Model
from local_aws.bedrock.wire import AwsError

_COMMON = {"type", "description", "title", "default", "enum", "const", "$ref", "anyOf", "allOf", "$defs", "definitions"}
_OF_TYPE: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems"},
    "string": {"format", "pattern"},
    "integer": set(),
    "number": set(),
    "boolean": set(),
    "null": set(),
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}


def check_taken(body: Mapping[str, Any], *, batch: bool) -> None:
    """The account may refuse schemas, altogether or in batch jobs alone: the knob `structured_output`. The words are
    those of public reports (MattJColes/lgtmaybe pull request 536, vercel/ai 20128). Raises ValidationException."""
    asked = next((name for name in ("outputConfig", "output_config") if name in body), None)
    mode = knobs.current.structured_output
    if asked is None or mode == "taken" or (mode == "refused_in_batch" and not batch):
        return
    if knobs.current.structured_output_refusal == "extraneous_key":
        problem = f"#: extraneous key [{asked}] is not permitted"
        raise _invalid(f"Malformed input request: {problem}, please reformat your input and try again.")
    raise _invalid("The model returned the following errors: output_config.format: Extra inputs are not permitted")


def of_converse(model: Model, config: Any) -> dict[str, Any] | None:
    """The schema in `outputConfig`. Raises ValidationException."""
    if config is None or config.get("textFormat") is None:
        return None
    _supported(model)
    text = config["textFormat"]["structure"]["jsonSchema"]["schema"]
    try:
        schema = json.loads(text)
    except ValueError:
        raise _invalid("outputConfig.textFormat.structure.jsonSchema.schema: is not valid JSON") from None
    return _checked(schema)


def of_claude(model: Model, config: Any) -> dict[str, Any] | None:
    """The schema in `output_config`. Raises ValidationException."""
    if config is None or "format" not in config:
        return None
    _supported(model)
    form = config["format"]
    if not isinstance(form, dict) or form.get("type") != "json_schema" or "schema" not in form:
        raise _invalid("output_config.format: Input should have type 'json_schema' and a schema")
    return _checked(form["schema"])


def _supported(model: Model) -> None:
    if not model.structured:
        raise _invalid("This model doesn't support the outputConfig.textFormat field. Remove it and try again.")


def _checked(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise _invalid("output_config.format.schema: Input should be a valid dictionary")
    problem = next(_problems(schema, schema, ()), None) or next(_too_many(schema), None)
    if problem is not None:
        raise _invalid(f"output_config.format.schema: {problem}")
    return schema


def _problems(schema: Any, root: dict[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield "Schemas must be objects"
        return
    kind = schema.get("type")
    if isinstance(kind, list):
        yield "'type' must name one type"
        return
    if "$ref" in schema:
        ref = schema["$ref"]
        if ref in above:
            yield "Recursive schemas are not supported"
        elif not str(ref).startswith("#/") or _resolve(ref, root) is None:
            yield f"$ref {ref!r} cannot be resolved"
        else:
            yield from _problems(_resolve(ref, root), root, (*above, ref))
    known = _COMMON | _OF_TYPE.get(kind or "", set())
    for name in schema:
        if name not in known:
            yield f"For '{kind}' type, property '{name}' is not supported"
    if any(isinstance(part, dict) and "$ref" in part for part in schema.get("allOf", [])):
        yield "'allOf' with '$ref' is not supported"
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if kind == "array" and schema.get("minItems", 0) not in (0, 1):
        yield "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if kind == "string" and schema.get("format", "date") not in _FORMATS:
        yield f"For 'string' type, format '{schema['format']}' is not supported"
    for choice in schema.get("enum", []):
        if isinstance(choice, (dict, list)):
            yield "Complex types in enums are not supported"
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("allOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    for one in inner:
        yield from _problems(one, root, above)


#: Limits of strict schemas, from Anthropic's page "Structured outputs", section "Schema complexity limits".
MOST_OPTIONAL = 24
MOST_UNIONS = 16


def _too_many(schema: dict[str, Any]) -> Iterator[str]:
    optional, unions = _counted(schema)
    if optional > MOST_OPTIONAL:
        yield f"Schemas contains too many optional parameters ({optional}). The limit is {MOST_OPTIONAL}"
    if unions > MOST_UNIONS:
        yield f"Schemas contains too many parameters with union types ({unions}). The limit is {MOST_UNIONS}"


def _counted(schema: Any) -> tuple[int, int]:
    """Optional properties and unions of a schema, definitions included."""
    if isinstance(schema, list):
        pairs = [_counted(each) for each in schema]
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        missing = set(properties) - set(schema.get("required", [])) if isinstance(properties, dict) else set()
        pairs = [(len(missing), int("anyOf" in schema)), *map(_counted, schema.values())]
    else:
        pairs = []
    return sum(first for first, _ in pairs), sum(second for _, second in pairs)


def _resolve(ref: str, root: Any) -> Any:
    for step in ref.removeprefix("#/").split("/"):
        root = root.get(step) if isinstance(root, dict) else None
    return root


def stated(text: str) -> dict[str, Any] | None:
    """The last JSON object of a prompt that looks like a JSON Schema: a model that is told one in words obeys it."""
    if '"type"' not in text or ('"properties"' not in text and '"items"' not in text):
        return None
    decoder, found, position = json.JSONDecoder(), None, 0
    while (start := text.find("{", position)) >= 0:
        position = start + 1
        try:
            value, position = decoder.raw_decode(text, start)
        except ValueError:
            continue
        if isinstance(value, dict) and "type" in value:
            found = value
    return found


def example(schema: Any, root: Mapping[str, Any], words: list[str], size: int, depth: int = 0) -> Any:
    """A value that fits the schema, made of a prompt's words and length: the same for the same prompt."""
    if not isinstance(schema, dict) or depth > 12:
        return None
    if "$ref" in schema:
        target = root if schema["$ref"] == "#" else _resolve(schema["$ref"], root)
        return example(target, root, words, size, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][size % len(schema["enum"])]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return example(schema[keyword][0], root, words, size, depth + 1)
    if "allOf" in schema:
        joined = {key: value for part in [schema, *schema["allOf"]] for key, value in part.items() if key != "allOf"}
        return example(joined, root, words, size, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        # Of what may be left out, nothing deep: a schema may hold itself.
        wanted = [name for name in properties if name in schema.get("required", []) or depth < 3]
        return {name: example(properties[name], root, words, size, depth + 1) for name in wanted}
    if kind == "array":
        number = max(1, schema.get("minItems", 0)) if depth < 6 else schema.get("minItems", 0)
        return [example(schema.get("items", {}), root, words, size, depth + 1) for _ in range(number)]
    if kind in ("integer", "number"):
        # A bound may have been told in words only, or nowhere: small numbers fit most.
        small = 1 + size % 4
        return min(max(small, schema.get("minimum", small)), schema.get("maximum", small))
    if kind == "string":
        text = (words[depth % len(words)] if words else "nothing").ljust(schema.get("minLength", 0), "x")
        return text[: schema.get("maxLength", len(text))]
    return {"boolean": True, "null": None}.get(kind)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
