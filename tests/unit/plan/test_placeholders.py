"""What stands in double braces is filled, or refused by name; it never goes to the model as text."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_inference.core.errors import InvalidRequestError
from tests import cases
from tests.worlds.ingest_world import World, ingest_world

PREFIX = "default/corpus/c/"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def prompts(world: World, plan: dict[str, Any]) -> list[str]:
    world.cut_all(plan)
    shards = [body for key, body in world.objects("input").items() if "/shards/" in key]
    lines = [json.loads(line) for body in shards for line in body.splitlines()]
    return [line["modelInput"]["messages"][0]["content"][0]["text"] for line in lines]


def test_columns_of_any_name_are_put_in(world: World) -> None:
    for name, body in cases.corpus("unfilled-placeholder").items():
        world.input.put(PREFIX + name, body)
    found = prompts(world, world.plan(**cases.request("unfilled-placeholder")))
    assert len(found) == 30
    assert found[1] == "Ticket t1. Which product is this about?\n\nThe pump number 1 is loud (1)"


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("2024_text", "{{2024_text}}"),
        ("Ticket #", "{{ Ticket # }}"),
        ("größe", "{{gro\u0308\u00dfe}}"),
        ("a|b", "{{a|b}}"),
        ("messages[0].content", "{{messages[0].content}}"),
    ],
)
def test_a_column_is_what_it_is_called(world: World, name: str, template: str) -> None:
    world.corpus({"id": "x", name: "the text"})
    assert prompts(world, world.plan(run={"mode": "sync"}, prompt={"template": template})) == ["the text"]


@pytest.mark.parametrize(
    "placeholder",
    [
        "{{Ticket Text}}",
        "{{größe}}",
        "{{2024_text}}",
        "{{Ticket #}}",
        "{{ text | upper }}",
        "{{text.strip()}}",
        "{{messages[0].content}}",
        "{{#if text}}",
        "{{}}",
        '{{"label": "pump"}}',
    ],
)
def test_what_no_row_has_is_refused_by_name(world: World, placeholder: str) -> None:
    world.corpus({"id": "x", "text": "a"}, {"id": "y", "text": "b"})
    with pytest.raises(InvalidRequestError) as told:
        world.plan(prompt={"template": f"About {{{{text}}}}: {placeholder}"})
    name = placeholder[2:-2].strip()
    assert str(told.value).startswith(f"prompt: {{{{{name}}}}}: a placeholder is the name of a field")
    assert "(they have id, text). Write \\{{…}} for braces that are text" in str(told.value)
    assert not world.model.bodies, "nothing was sent"


def test_braces_that_are_escaped_are_text(world: World) -> None:
    world.corpus({"id": "x", "text": "a"})
    plan = world.plan(run={"mode": "sync"}, prompt={"template": 'Say {{text}} as \\{{"label": …}} or {"x": {"y": 1}}.'})
    assert prompts(world, plan) == ['Say a as {{"label": …}} or {"x": {"y": 1}}.']


def test_the_system_prompt_is_looked_at_too(world: World) -> None:
    world.corpus({"id": "x", "text": "a"})
    with pytest.raises(InvalidRequestError, match=r"prompt: \{\{der Kunde\}\}"):
        world.plan(prompt={"template": "{{text}}", "system": "For {{der Kunde}}"})


def test_a_field_in_single_braces_is_noted(world: World) -> None:
    world.corpus({"id": "x", "text": "a"})
    notes = world.plan(prompt={"template": "{text} of {{id}}, as {json}"})["report"]["notes"]
    assert [note for note in notes if "as text" in note] == [
        "the prompt holds {text} as text, and the rows have a field of that name: write {{text}} if it is meant"
    ]


def test_fields_that_are_empty_are_counted(world: World) -> None:
    world.corpus(*({"id": f"r{n}", "text": "x", "note": note} for n, note in enumerate(("", None, 0))))
    plan = world.plan(run={"mode": "sync"}, prompt={"template": "{{text}} {{note}}"})
    assert "of 3 records looked at, 2 have nothing in field 'note', which the prompt names" in plan["report"]["notes"]
    world.cut_all(plan)
    assert (world.runs.get("RUN#run-1", "CUT#00001") or {})["emptyFields"] == {"note": 2}
