"""Images and documents of a job, laid beside its records."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bulk_inference.batch.staging import name_of, stage
from bulk_inference.core.errors import JobRejectedError
from bulk_inference.core.run_spec import Media, Prompt, Quota
from tests.worlds.inference_world import REACH, Stage, assert_survives_kills, make_spec

PIECE, ATTEMPT = "00001-001", "00001-a1"
FOLDER = "default/runs/run-1/shards/00001-a1/"
PHOTO, SCAN = "s3://in-bucket/default/corpus/p/1.png", "s3://archive/a b.PDF"


def record(record_id: str, *uris: str, **location: Any) -> dict[str, Any]:
    blocks = [{"image": {"format": "png", "source": {"s3Location": {"uri": uri, **location}}}} for uri in uris]
    return {"recordId": record_id, "modelInput": {"messages": [{"role": "user", "content": [*blocks, {"text": "ü"}]}]}}


def made_of(*records: dict[str, Any], most: int = 10**9) -> Stage:
    spec = make_spec(prompt=Prompt("{{q}}", images=[Media(uri_field="photo")]))
    made = Stage(replace(spec, quotas=replace(spec.quotas, max_job_bytes=Quota(most, "default"))))
    body = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in records)
    made.input.objects[made.places.shard(PIECE)] = body
    made.input.objects["default/corpus/p/1.png"] = b"photo"
    made.input.elsewhere["archive/a b.PDF"] = b"scan"
    return made


def staged(made: Stage) -> str:
    return stage(made.spec, PIECE, ATTEMPT, made.input, REACH)


def uris(made: Stage) -> list[list[str]]:
    lines = made.input.lines(f"{FOLDER}{PIECE}.jsonl")
    blocks = [line["modelInput"]["messages"][0]["content"][:-1] for line in lines]
    return [[block["image"]["source"]["s3Location"]["uri"] for block in line] for line in blocks]


def test_each_object_is_copied_once_and_the_records_name_the_copies() -> None:
    made = made_of(record("a", PHOTO, SCAN, bucketOwner="123456789012"), record("b", PHOTO), record("c"))
    assert staged(made) == FOLDER
    photo, scan = (f"{FOLDER}media/{name_of(uri)}" for uri in (PHOTO, SCAN))
    assert uris(made) == [[f"s3://in-bucket/{photo}", f"s3://in-bucket/{scan}"], [f"s3://in-bucket/{photo}"], []]
    assert (made.input.objects[photo], made.input.objects[scan]) == (b"photo", b"scan")
    assert scan.endswith(".pdf")
    lines = made.input.objects[f"{FOLDER}{PIECE}.jsonl"]
    assert b"bucketOwner" not in lines
    # A record without objects is the same, byte for byte.
    assert lines.split(b"\n")[2] == made.input.objects[made.places.shard(PIECE)].split(b"\n")[2]
    assert [one.key for one in made.input.list(FOLDER) if one.key.endswith(".jsonl")] == [f"{FOLDER}{PIECE}.jsonl"]


def test_an_object_that_is_not_there_is_its_records_fault_alone() -> None:
    gone = "s3://in-bucket/default/corpus/p/gone.png"
    made = made_of(record("a", gone), record("b", PHOTO))
    staged(made)
    assert uris(made) == [[gone], [f"s3://in-bucket/{FOLDER}media/{name_of(PHOTO)}"]]


def test_records_that_point_nowhere_need_no_folder() -> None:
    made = made_of(record("a"))
    assert staged(made) == made.places.shard(PIECE)
    assert list(made.input.list(FOLDER)) == []


def test_a_folder_larger_than_a_job_may_be_is_refused_with_what_to_set() -> None:
    with pytest.raises(JobRejectedError, match=r"limits\.max_records_per_shard"):
        staged(made_of(record("a", PHOTO), most=100))


def test_a_worker_may_die_anywhere() -> None:
    assert_survives_kills(lambda: made_of(record("a", PHOTO, SCAN), record("b", PHOTO)), staged, at_least=3)


# Copies are made with rights that reach every tenant.

FOREIGN = [
    "s3://in-bucket/other/corpus/p/1.png",
    "s3://in-bucket/default/runs/run-0/plan/run.json",
    "s3://in-bucket/config/settings.json",
    "s3://unknown/1.png",
]


@pytest.mark.parametrize("uri", FOREIGN)
@pytest.mark.parametrize("there", [True, False])
def test_what_is_anothers_is_not_copied_and_looks_the_same_whether_it_is_there(uri: str, there: bool) -> None:
    made = made_of(record("a", uri), record("b", PHOTO))
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if there:
        (made.input.objects if bucket == "in-bucket" else made.input.elsewhere)[
            key if bucket == "in-bucket" else f"{bucket}/{key}"
        ] = b"secret"
    staged(made)
    assert uris(made) == [[uri], [f"s3://in-bucket/{FOLDER}media/{name_of(PHOTO)}"]]
    assert b"secret" not in [made.input.objects[one.key] for one in made.input.list(FOLDER)]


def test_what_a_run_is_expected_to_hold_is_no_reason_to_look_away() -> None:
    """A run of texts by a model that reads no images; the place is spelt so that no search of bytes finds it."""
    made = made_of(record("b"))
    line = json.dumps(record("a", PHOTO)).replace("s3Location", "\\u00733Location")
    made.input.objects[made.places.shard(PIECE)] += line.encode() + b"\n"
    made.spec = replace(made.spec, prompt=Prompt("{{text}}"))
    assert staged(made) == FOLDER
    assert uris(made)[1] == [f"s3://in-bucket/{FOLDER}media/{name_of(PHOTO)}"]
