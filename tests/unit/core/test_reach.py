"""The one check of a request body: what it may point to, however it was spelt and wherever it stands."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.reach import Reach, locations
from bulk_inference.core.settings import Settings, SourceBucket

OPEN = {"archive": SourceBucket(prefix="team"), "theirs": SourceBucket(tenants=["globex"])}
REACH = Reach(Settings("tickets", {}, {}, source_buckets=OPEN), "acme", "in-bucket")

OWN = ["s3://in-bucket/acme/corpus/a.png", "s3://archive/team/a.png"]
FOREIGN = [
    "s3://in-bucket/acme-eu/corpus/a.png",
    "s3://in-bucket/globex/corpus/a.png",
    "s3://in-bucket/acme/runs/r/plan/run.json",
    "s3://in-bucket/acme/prompts/sum.json",
    "s3://in-bucket/config/settings.json",
    "s3://in-bucket/acme/corpus/../../globex/corpus/a.png",
    "s3://in-bucket/ACME/corpus/a.png",
    "s3://in-bucket//acme/corpus/a.png",
    "s3://in-bucket/acme/corpus",
    "s3://out-bucket/acme/runs/r/results/part-1.jsonl",
    "s3://archive/team-secret/a.png",
    "s3://archive/team",
    "s3://theirs/a.png",
    "s3://unknown/a.png",
    "S3://in-bucket/acme/corpus/a.png",
    "https://example.com/a.png",
    "arn:aws:s3:::in-bucket/globex/corpus/a.png",
    " s3://in-bucket/acme/corpus/a.png",
    "s3://in-bucket/acme/corpus/a\n.png",
    "s3://in-bucket/acme/corpus/" + "a" * 1024,
    "",
]


def shapes(location: Any) -> list[Any]:
    """Where bodies of Converse, Nova, its embeddings and TwelveLabs hold a place, and where none does."""
    image = {"image": {"format": "png", "source": {"s3Location": location}}}
    return [
        {"messages": [{"role": "user", "content": [image]}]},
        {"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [image]}}]}]},
        {"system": [image]},
        {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": image},
        {"inputType": "video", "mediaSource": {"s3Location": location}},
        {"additionalModelRequestFields": {"deep": [[[{"x": {"s3Location": location}}]]]}},
        {"messages": [], "s3location": location},
        {"messages": [], "S3LOCATION": location},
    ]


@pytest.mark.parametrize("uri", OWN)
def test_what_is_its_own_passes_wherever_it_stands(uri: str) -> None:
    for body in shapes({"uri": uri, "bucketOwner": "123456789012"}):
        assert REACH.misplaced(body) is None, body


@pytest.mark.parametrize("uri", FOREIGN)
def test_what_is_anothers_is_refused_wherever_it_stands(uri: str) -> None:
    for body in shapes({"uri": uri}):
        why = REACH.misplaced(body)
        assert why is not None, body
        assert "globex" not in why


@pytest.mark.parametrize("location", [None, "s3://in-bucket/globex/corpus/a", [], {}, {"uri": 7}, {"URI": OWN[0]}, 3])
def test_a_place_in_another_form_than_the_documented_is_refused(location: Any) -> None:
    for body in shapes(location):
        assert REACH.misplaced(body) is not None, body


@pytest.mark.parametrize("name", ["uri", "s3Uri", "image_url", "url"])
def test_a_place_under_another_name_is_held_to_the_same(name: str) -> None:
    assert REACH.misplaced({"input": {name: FOREIGN[1]}}) is not None
    assert REACH.misplaced({"input": {name: f" {FOREIGN[1]}"}}) is not None
    assert REACH.misplaced({"input": {name: OWN[0]}}) is None
    assert REACH.misplaced({"input": {name: "https://example.com/a.png"}}) is None


def test_a_text_may_speak_of_any_place() -> None:
    assert REACH.misplaced({"messages": [{"role": "user", "content": [{"text": FOREIGN[1]}]}]}) is None


def test_how_the_json_was_spelt_makes_no_difference() -> None:
    line = '{"messages": [{"content": [{"image": {"source": {"\\u0073\\u0033Location": {"\\u0075ri": "%s"}}}}]}]}'
    assert REACH.misplaced(json.loads(line % FOREIGN[1])) is not None


def test_no_depth_is_too_deep_to_look_into() -> None:
    body: Any = {"s3Location": {"uri": FOREIGN[1]}}
    for _ in range(50_000):
        body = [body]
    assert REACH.misplaced({"messages": body}) is not None


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["s3Location", "uri"]), inner),
    max_leaves=20,
)


@given(BODIES, st.sampled_from(FOREIGN))
def test_any_body_is_judged_and_one_foreign_place_condemns_it(body: Any, uri: str) -> None:
    REACH.misplaced(body)
    assert REACH.misplaced([body, {"s3Location": {"uri": uri}}, body]) is not None


def test_places_are_found_to_be_changed() -> None:
    body = shapes({"uri": OWN[0]})[1]
    for location in locations(body):
        location["uri"] = "s3://x/y"
    assert OWN[0] not in json.dumps(body)
