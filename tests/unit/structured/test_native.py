"""What of a schema is asked for natively: nothing that models are known to refuse."""

from typing import Any

from bulk_inference.structured.native import MAX_OPTIONAL, MAX_UNIONS, native

TEXT = {"type": "string"}


def one(**more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": TEXT}, "required": ["a"], **more}


def test_an_all_of_with_references_becomes_one_object() -> None:
    schema = {
        "type": "object",
        "allOf": [
            {"$ref": "#/$defs/named"},
            {"properties": {"size": {"type": "integer"}}, "required": ["size"]},
        ],
        "$defs": {"named": one(description="a thing")},
    }
    made = native(schema) or {}
    assert "allOf" not in made
    assert made["properties"] == {"a": TEXT, "size": {"type": "integer"}}
    assert (made["required"], made["additionalProperties"]) == (["a", "size"], False)


def test_inside_lists_and_properties_too() -> None:
    inner = {"allOf": [{"$ref": "#/$defs/named"}, {"type": "object", "properties": {"b": TEXT}}]}
    schema = one(properties={"a": TEXT, "all": {"type": "array", "items": inner}}, **{"$defs": {"named": one()}})
    made = native(schema) or {}
    assert set(made["properties"]["all"]["items"]["properties"]) == {"a", "b"}


def test_parts_that_cannot_be_told_as_one_are_asked_in_words() -> None:
    defs = {"named": one(), "either": {"anyOf": [one(), one()]}, "other": one(properties={"a": {"type": "integer"}})}
    for parts in (
        [{"$ref": "#/$defs/named"}, {"$ref": "#/$defs/other"}],
        [{"$ref": "#/$defs/either"}],
        [{"$ref": "#/$defs/named"}, {"type": "string"}],
        [{"$ref": "#/$defs/named"}, {"minProperties": 2}],
    ):
        assert native({"type": "object", "properties": {}, "allOf": parts, "$defs": defs}) is None


def test_too_many_optional_properties_are_asked_in_words() -> None:
    def wide(number: int) -> dict[str, Any]:
        return {"type": "object", "properties": {f"p{n}": TEXT for n in range(number)}}

    assert native(wide(MAX_OPTIONAL)) is not None
    assert native(wide(MAX_OPTIONAL + 1)) is None
    assert native({**wide(40), "required": [f"p{n}" for n in range(40)]}) is not None
    halves = {"type": "object", "properties": {"a": wide(13), "b": wide(12)}, "required": ["a", "b"]}
    assert native(halves) is None


def test_too_many_unions_are_asked_in_words() -> None:
    def unions(number: int) -> dict[str, Any]:
        properties = {f"p{n}": {"type": ["string", "null"]} for n in range(number)}
        return {"type": "object", "properties": properties, "required": list(properties)}

    assert native(unions(MAX_UNIONS)) is not None
    assert native(unions(MAX_UNIONS + 1)) is None
