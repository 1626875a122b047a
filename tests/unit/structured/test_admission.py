"""Schemas of answers: which are admitted, what they refuse, what a model can be asked for natively."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.structured.admission import problems
from bulk_inference.structured.checker import Broken, checker
from bulk_inference.structured.native import native

TICKET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 5},
        "labels": {"type": "array", "items": {"$ref": "#/$defs/label"}, "maxItems": 2},
        "score": {"type": ["number", "null"], "minimum": 0},
    },
    "required": ["product"],
    "additionalProperties": False,
    "$defs": {"label": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}}},
}


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        ({"product": "x"}, None),
        ({"product": "x", "labels": [{"kind": "a"}], "score": None}, None),
        ({"product": "longer"}, Broken("$.product", "maxLength")),
        ({"product": "x", "labels": [{"kind": "a"}, {"kind": "c"}]}, Broken("$.labels[1].kind", "enum")),
        ({"product": "x", "score": -1}, Broken("$.score", "minimum")),
        ({"product": "x", "more": 1}, Broken("$", "additionalProperties")),
        ({}, Broken("$", "required")),
        ([], Broken("$", "type")),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_path_and_rule(value: Any, broken: Broken | None) -> None:
    assert checker(TICKET).broken(value) == broken


@pytest.mark.parametrize(("schema", "value"), [({"enum": [1]}, True), ({"const": True}, 1), ({"const": 0}, False)])
def test_true_is_not_one(schema: dict[str, Any], value: Any) -> None:
    assert checker(schema).broken(value) is not None


def test_defaults_are_not_written_into_what_the_model_said() -> None:
    value: dict[str, Any] = {}
    assert checker({"type": "object", "properties": {"a": {"default": 1}}}).broken(value) is None
    assert value == {}


def test_a_value_that_nests_deeper_than_can_be_followed_does_not_fit() -> None:
    value: dict[str, Any] = {}
    inner = value
    for _ in range(3000):
        inner["kid"] = {}
        inner = inner["kid"]
    schema = {"type": "object", "properties": {"kid": {"$ref": "#"}}}
    assert checker(schema).broken(value) == Broken("$", "depth")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], ": must be an object"),
        ({"type": "objekt"}, ".type: must be one of array"),
        ({"properties": {"a": {"minLength": -1}}}, ".properties.a.minLength: must be a whole number"),
        ({"propertys": {}}, ".propertys: unknown keyword"),
        ({"type": "array", "prefixItems": [{}]}, ".prefixItems: this keyword of JSON Schema is not supported"),
        ({"items": {"$ref": "https://example.com/s.json"}}, ".items.$ref: must point into the schema itself"),
        ({"items": {"$ref": "#/$defs/none"}}, ".items.$ref: '#/$defs/none' leads nowhere"),
        ({"$defs": {"a": {}}, "items": {"$ref": "#/$defs/a", "type": "string"}}, ".items.$ref: must stand alone"),
        ({"pattern": "("}, ".pattern: is no regular expression"),
        ({"format": "colour"}, ".format: must be one of"),
        ({"multipleOf": 0}, ".multipleOf: must be a number greater than 0"),
        ({"anyOf": []}, ".anyOf: must be a list of schemas"),
        ({"enum": []}, ".enum: must be a list that is not empty"),
        ({"required": ["a", "a"]}, ".required: must be a list of different names"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, ": cannot be compiled"),
        ({"const": "\ud800"}, ": holds half a surrogate pair"),
        ({"const": "\x00"}, ": holds a NUL character"),
        ({"description": "x" * 60_000}, ": has 6"),
        (
            {"$defs": {"Foo": {}, "foo": {}}, "anyOf": [{"$ref": "#/$defs/Foo"}, {"$ref": "#/$defs/foo"}]},
            "differ too little to be told apart",
        ),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused_with_its_place(schema: Any, said: str) -> None:
    assert any(said in problem for problem in problems(schema)), problems(schema)


def test_every_problem_of_a_schema_is_told() -> None:
    assert len(problems({"type": "x", "properties": {"a": {"type": "y"}, "b": {"foo": 1}}})) == 3


_NASTY = st.text(alphabet="\\\"'{}$ab\n\x0c\x85\u2028%#é;)", max_size=6)


@given(
    st.dictionaries(_NASTY, st.fixed_dictionaries({"type": st.just("integer")}), max_size=3),
    st.lists(_NASTY, max_size=2, unique=True),
    _NASTY,
)
def test_no_name_or_text_of_a_schema_becomes_code(properties: dict[str, Any], required: list[str], text: str) -> None:
    """fastjsonschema writes Python source: a name that ends a string literal in it would be run."""
    schema = {
        "type": "object",
        "title": text,
        "properties": {**properties, "c": {"const": text}, "e": {"enum": [text, 1]}},
        "required": required,
    }
    if any(set(name) & set('\\"{}\n\x0c') for name in properties):
        assert any("which is not supported" in one for one in problems(schema))
        return
    assert problems(schema) == []
    fitting = dict.fromkeys([*required, *properties], 1) | {"c": text, "e": text}
    assert checker(schema).broken(fitting) is None
    assert checker(schema).broken({**fitting, "c": text + "x"}) == Broken("$.c", "enum")
    for name in properties:
        assert checker(schema).broken({**fitting, name: "x"}) is not None


def test_the_native_form_leaves_out_what_only_narrows_and_closes_objects() -> None:
    assert native(TICKET) == {
        "type": "object",
        "properties": {
            "product": {"type": "string"},
            "labels": {"type": "array", "items": {"$ref": "#/$defs/label"}},
            "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["product"],
        "additionalProperties": False,
        "$defs": {
            "label": {
                "type": "object",
                "properties": {"kind": {"enum": ["a", "b"]}},
                "additionalProperties": False,
            }
        },
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "properties": {"kid": {"$ref": "#"}}},
        {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"enum": [{"b": 1}]}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": [{"type": "string"}]}}},
        {"type": "object", "properties": {"a": True}},
    ],
)
def test_what_the_native_form_cannot_say_is_not_asked_for_natively(schema: dict[str, Any]) -> None:
    assert problems(schema) == []
    assert native(schema) is None


# Schemas are a tenant's, answers anybody's: both together must not take long.

FAN_OUT = {f"d{n}": {"oneOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(25)}
DEEP = {"a": {"properties": {"x": {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#/$defs/d0", "$defs": {**FAN_OUT, "d25": {"type": "integer"}}}, 1),
        ({"$ref": "#/$defs/a", "$defs": DEEP}, nested(60)),
        ({"patternProperties": {f"^{n}+x": True for n in range(1_000)}}, {str(n): 1 for n in range(20_000)}),
    ],
)
def test_a_value_that_costs_too_much_does_not_fit_and_says_so(schema: dict[str, Any], value: Any) -> None:
    assert problems(schema) == []
    assert checker(schema).broken(value) == ("$", "cost")


def test_the_next_value_has_the_whole_budget_again() -> None:
    costly = checker({"patternProperties": {f"^{n}+x": False for n in range(1_000)}})
    assert costly.broken({str(n): 1 for n in range(20_000)}) == ("$", "cost")
    assert costly.broken({"a": 1}) is None


def test_a_large_answer_under_many_references_is_well_within_it() -> None:
    schema = {"items": {"$ref": "#/$defs/p"}, "$defs": {"p": {"properties": {"n": {"pattern": "^[A-Z][a-z]+$"}}}}}
    assert checker(schema).broken([{"n": "Alpha"}] * 20_000) is None


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)b", "(?i)a", "a{3000}"])
def test_a_pattern_that_cannot_be_bounded_is_refused_with_its_place(pattern: str) -> None:
    (found,) = problems({"properties": {"code": {"pattern": pattern}}})
    assert found.startswith(".properties.code.pattern: ")
    (found,) = problems({"patternProperties": {pattern: {}}})
    assert found.startswith(f".patternProperties.{pattern}: ")


def test_the_pattern_that_took_forever_is_matched() -> None:
    schema = {"pattern": "^((a+)+b|[b-z]+)$"}
    assert problems(schema) == []
    assert checker(schema).broken("a" * 5_000 + "!") == ("$", "pattern")
    assert checker(schema).broken("aab") is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("keyword", ["minimum", "maximum", "multipleOf", "const", "default"])
def test_a_schema_holds_json_numbers_alone(number: float, keyword: str) -> None:
    assert problems({keyword: number}) == [": holds NaN or an infinity, which are no JSON"]


@pytest.mark.parametrize("form", ["email", "hostname", "uri", "json-pointer", "date-time"])
def test_a_format_is_no_long_text(form: str) -> None:
    assert checker({"format": form}).broken("a@" + "." * 200_000) == ("$", "format")


def test_references_are_looked_into_once_each_when_a_native_schema_is_sought() -> None:
    """Of 2^25 ways to the last of them, and of a chain that is longer than Python's stack."""
    fanned = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**FAN_OUT, "d25": {}}}
    assert native(fanned) is None  # more unions than services take: asked for in words
    chain = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(1_000)}
    assert native({**fanned, "$defs": {**chain, "d1000": {}}}) is None


def test_a_path_holds_no_word_that_the_schema_does_not_name() -> None:
    """Keys of an answer are the model's words."""
    schema = {
        "properties": {"prices": {"additionalProperties": {"type": "number"}}, "a.b": {"type": "string"}},
        "patternProperties": {"^x": {"items": {"type": "integer"}}},
        "required": ["prices"],
    }
    found = checker(schema).broken
    assert found({"prices": {"SECRET": "x"}}) == ("$.prices.*", "type")
    assert found({"prices": {"SECRET.more": "x"}}) == ("$.prices.*", "type")
    assert found({"prices": {}, "xSECRET": [1, "y"]}) == ("$.*[1]", "type")
    assert found({"prices": {"4111": "x"}}) == ("$.prices.*", "type")
    assert found({}) == ("$", "required")
