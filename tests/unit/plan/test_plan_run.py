"""plan_run: one plan for one run, refusals that say what to do, an empty corpus that is no error."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bulk_inference.aws.bedrock_runtime import ModelOutcome
from bulk_inference.core.errors import CanaryFailedError, InvalidRequestError
from bulk_inference.core.reach import Reach
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.plan import sampling
from tests.worlds.inference_world import Killed
from tests.worlds.ingest_world import HAIKU, NOW, SETTINGS, World, ingest_world

LINES = [{"id": f"r{n}", "text": f"text {n}"} for n in range(200)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ingest_world(monkeypatch) as made:
        yield made


def spec(world: World, run: str = "run-1") -> RunSpec:
    return RunSpec.from_json(world.input.get_json(f"default/runs/{run}/plan/run.json") or {})


def test_a_plan(world: World) -> None:
    world.corpus(*LINES)
    plan = world.plan(limits={"cut_bytes": 65536, "job_concurrency": 4})
    size, key = plan["cuts"]["bytes"], plan["cuts"]["key"]
    assert re.fullmatch("default/runs/run-1/plan/cuts-[0-9a-f]{12}.jsonl", key)
    assert plan.pop("report") == world.output.get_json("default/runs/run-1/plan/report.json")
    assert plan == {
        "run": "run-1",
        "tenant": "default",
        "scope": "run:run-1",
        "mode": "batch",
        "next": "cut",
        "assembly": False,
        "cuts": {"key": key, "count": 1, "bytes": size},
        "settings": {
            "cutConcurrency": 1,
            "jobConcurrency": 4,
            "inferConcurrency": 10,
            "itemsPerBatch": 100,
            "bytesPerBatch": 100_000,
            "toleratedFailurePercentage": 10,
            "jobTimeoutSeconds": 25 * 3600,
            "inferenceTimeoutSeconds": 1_209_600,
        },
        "places": {
            "inputBucket": "input",
            "outputBucket": "output",
            "mapRunsPrefix": "default/runs/run-1/map-runs",
        },
    }
    written = spec(world)
    assert (written.quotas.max_jobs_in_flight.value, written.quotas.max_jobs_in_flight.source) == (33, "service-quotas")
    assert (written.quotas.min_records_per_job.value, written.quotas.min_records_per_job.source) == (10, "override")
    assert written.estimate.records == 200
    assert any("published default" in note for note in written.estimate.notes)
    assert written.created_at == "2027-01-15T08:00:00+00:00"
    item = world.runs.get("RUN#run-1", "META")
    assert item is not None
    assert item["expires_at"] == NOW + 90 * 86_400


def test_starting_again_changes_nothing(world: World) -> None:
    world.corpus(*LINES)
    first = world.plan()
    before = world.objects("input")
    world.corpus({"id": "other"})
    calls = len(world.model.bodies)
    assert world.plan() == first
    assert world.objects("input") == before
    assert len(world.model.bodies) == calls


def test_another_request_under_the_same_name_is_refused(world: World) -> None:
    world.corpus(*LINES)
    world.plan()
    with pytest.raises(InvalidRequestError, match="run 'run-1' exists already with another request"):
        world.plan(run={"mode": "sync"})


def test_two_invocations_at_once_agree_on_the_first_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.corpus(*LINES)
    put = world.input.put_if_absent

    def beaten(key: str, body: bytes, content_type: str = "") -> bool:
        put(key, body.replace(b'"mode": "batch"', b'"mode": "sync"'), content_type)
        return put(key, body, content_type)

    monkeypatch.setattr(world.input, "put_if_absent", beaten)
    assert world.plan()["mode"] == "sync"


def test_two_invocations_at_once_while_the_corpus_grows_leave_a_plan_that_fits_its_cuts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plans, another one does so over more objects and dies before its plan is kept: the first one's cuts count."""
    world.corpus(*LINES)
    put, frozen = world.input.put_if_absent, [True]

    def write(key: str, body: bytes, content_type: str = "") -> bool:
        if not frozen[0]:
            raise Killed(key)
        frozen[0] = False
        world.corpus(*LINES, key="default/corpus/b.jsonl")
        with pytest.raises(Killed):
            world.plan(source={"prefix": "default/corpus/"})
        return put(key, body, content_type)

    monkeypatch.setattr(world.input, "put_if_absent", write)
    plan = world.plan(source={"prefix": "default/corpus/"})
    assert [len(cut.parts) for cut in world.cuts(plan)] == [1]
    assert sum(cut.bytes for cut in world.cuts(plan)) == plan["cuts"]["bytes"] == spec(world).cuts.bytes


def test_a_canary_tries_others_before_it_condemns_a_run_for_what_its_records_may_have_brought_about(
    world: World,
) -> None:
    """Three that the model refuses say nothing of the two hundred; twenty do, and are no cost."""
    world.corpus(*LINES)
    poison = ModelOutcome(error_class="invalid_request", error_code="V", error_message="input is too long")
    real, refused = world.model.infer, [3]

    def infer(model_id: str, api: str, body: Mapping[str, Any], reach: Reach) -> ModelOutcome:
        if refused[0]:
            refused[0] -= 1
            world.model.bodies.append(dict(body))
            return poison
        return real(model_id, api, body, reach)

    world.model.infer = infer  # type: ignore[method-assign]
    assert world.plan()["next"] == "cut"
    assert len(world.model.bodies) == 4
    world.model.bodies.clear()
    refused[0] = 1000
    with pytest.raises(CanaryFailedError, match="all 20 canary records"):
        world.plan("other")
    texts = [body["messages"][0]["content"][0]["text"] for body in world.model.bodies]
    assert texts[:3] == ["Say text 0", "Say text 66", "Say text 133"]
    assert len(set(texts)) == 20


def test_the_canary_gets_the_body_that_jobs_will_get(world: World) -> None:
    world.corpus(*LINES)
    world.plan()
    texts = [body["messages"][0]["content"][0]["text"] for body in world.model.bodies]
    assert texts == ["Say text 0", "Say text 66", "Say text 133"]


def test_a_failed_canary_leaves_no_plan(world: World) -> None:
    world.corpus(*LINES)
    world.model.outcome = ModelOutcome(error_class="invalid_request", error_code="V", error_message="no such parameter")
    with pytest.raises(CanaryFailedError, match=r"× V.*s3://output/default/runs/run-1/plan/report\.canary\.jsonl"):
        world.plan()
    said = world.jsonl("output", "default/runs/run-1/plan/report.canary.jsonl")
    assert {one["errorMessage"] for one in said} == {"no such parameter"}
    assert world.input.get("default/runs/run-1/plan/run.json") is None


def test_quotas_are_read_once_a_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.corpus(*LINES)
    world.plan("a")
    calls = world.quotas.calls
    world.plan("b")
    assert (world.quotas.calls, spec(world, "b").quotas) == (calls, spec(world, "a").quotas)
    item = world.runs.get(f"QUOTA#{HAIKU}", "QUOTA")
    assert item is not None
    # DynamoDB deletes expired items days later: the age in the item decides.
    world.runs.put({**item, "readAt": NOW - 90_000})
    world.plan("c")
    assert world.quotas.calls > calls


def test_other_labels_are_not_answered_from_the_cache(world: World) -> None:
    world.corpus(*LINES)
    world.plan("a")
    calls = world.quotas.calls
    world.settings({**SETTINGS, "models": {HAIKU: {"invokeId": HAIKU, "quotaLabel": "Other"}}})
    world.plan("b")
    assert world.quotas.calls > calls


@pytest.mark.parametrize("lines", [[], [b"", b"  \r"]])
def test_an_empty_corpus(world: World, lines: list[bytes]) -> None:
    world.corpus(*lines)
    plan = world.plan()
    assert (plan["next"], world.model.bodies) == ("cut" if lines else "finish", [])
    assert ("the corpus is empty" in spec(world).estimate.notes) is not bool(lines)


def test_a_prefix_without_objects_may_be_an_empty_corpus(world: World) -> None:
    assert world.plan(source={"prefix": "default/corpus/2027/", "allow_empty": True})["next"] == "finish"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"prefix": "default/corpus/tikets/"}, r"there is no object at .*did you mean default/corpus/tickets\?"),
        ({"glob": "default/corpus/tickets/*.csv"}, r"source\.glob: there is no object at"),
        ({"prefix": "default/corpus/tickets/2027"}, r"source\.prefix: there is no object at"),
        ({"prefix": "default/corpus/drafts/"}, r"all of 2 objects are hidden .*ipynb_checkpoints/1\.jsonl"),
    ],
)
def test_a_misspelt_place_is_refused(world: World, source: dict[str, str], words: str) -> None:
    world.corpus(*LINES, key="default/corpus/tickets/1.jsonl")
    for name in (".ipynb_checkpoints", "_tmp"):
        world.corpus(*LINES, key=f"default/corpus/drafts/{name}/1.jsonl")
    with pytest.raises(InvalidRequestError, match=words):
        world.plan(source=source)


def test_a_prefix_takes_jsonl_and_says_what_it_leaves_out(world: World) -> None:
    world.corpus(*LINES[:100], key="default/corpus/d/1.jsonl")
    world.corpus(*LINES[100:], key="default/corpus/d/2.jsonl")
    world.corpus(b"x", key="default/corpus/d/readme.txt")
    world.corpus(b"", key="default/corpus/d/")
    plan = world.plan(source={"prefix": "default/corpus/d/"})
    assert [part.key[-7:] for cut in world.cuts(plan) for part in cut.parts] == ["1.jsonl", "2.jsonl"]
    assert "1 object is not jsonl by name" in " ".join(spec(world).estimate.notes)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"key": "default/corpus/none.jsonl"}, r"source\.key: s3://input/default/corpus/none\.jsonl does not exist"),
        ({"bucket": "nowhere", "key": "a.jsonl"}, "bucket nowhere does not exist"),
        ({"key": "default/corpus/a.jsonl.bz2"}, r"a\.jsonl\.bz2 is packed in a way that is not read"),
        ({"key": "default/corpus/texts/readme.txt"}, r"readme\.txt: its name does not tell its format"),
        ({"glob": "default/corpus/*/*.p?rquet.gz"}, "none of 1 objects"),
        ({"prefix": "default/corpus/texts/"}, r"source\.prefix: none of 1 objects"),
    ],
)
def test_a_corpus_that_cannot_be_read(world: World, source: dict[str, Any], words: str) -> None:
    world.corpus(b"x", key="default/corpus/texts/readme.txt")
    world.corpus(b"x", key="default/corpus/a.jsonl.bz2")
    world.corpus(b"x", key="default/corpus/p/a.parquet.gz")
    with pytest.raises(InvalidRequestError, match=words):
        world.plan(source=source)


def test_a_corpus_without_any_record_is_the_requests_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.corpus(*LINES)
    with pytest.raises(
        InvalidRequestError, match=r"none of 200 lines of the corpus .* missing_field: line 1 of .*: field 'body'"
    ):
        world.plan(prompt={"template": "Say {{body}}"})
    monkeypatch.setattr(sampling, "UNREADABLE_LINES", 201)
    with pytest.raises(InvalidRequestError, match=r"all of it was read.* 200 of 200 rows \(100.0 %\)"):
        world.plan(prompt={"template": "Say {{body}}"})


def test_a_corpus_in_another_bucket(world: World) -> None:
    world.corpus(*LINES, key="x.jsonl", bucket="lake")
    plan = world.plan(source={"bucket": "lake", "key": "x.jsonl"})
    assert world.cut_all(plan)[0]["accepted"] == 200


@pytest.mark.parametrize(
    ("settings", "words"), [(None, "apply the module"), ({"name": "x", "models": []}, "models: expected dict")]
)
def test_settings_that_cannot_be_used(world: World, settings: Any, words: str) -> None:
    if settings is None:
        world.s3.delete_object(Bucket="input", Key="config/settings.json")
    else:
        world.settings(settings)
    with pytest.raises(InvalidRequestError, match=words):
        world.plan()


def test_a_canary_is_held_against_the_runs_schema(world: World) -> None:
    """The model answers as nobody asked: no job is submitted, and no plan written."""
    world.corpus(*LINES)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    with pytest.raises(CanaryFailedError, match=r"none of the 3 answers .* fits output\.schema"):
        world.plan(output={"schema": schema})
    assert world.input.get("default/runs/run-1/plan/run.json") is None
    world.plan(output={"schema": schema}, limits={"canary_records": 0})


@pytest.mark.parametrize("status", ["succeeded", "empty"])
def test_a_name_that_is_used_again_gets_no_plan_of_then(world: World, status: str) -> None:
    """Step Functions takes a name again 90 days after its execution ended."""
    world.corpus(*LINES)
    world.plan()
    world.plan()
    world.runs.update("RUN#run-1", "META", {"status": status})
    with pytest.raises(InvalidRequestError, match=r"has had its time .* under another execution name"):
        world.plan()


def test_a_name_whose_items_have_expired_gets_no_plan_of_then(world: World) -> None:
    world.corpus(*LINES)
    world.plan()
    world.runs.update("RUN#run-1", "META", {"expires_at": NOW})
    world.plan()
    assert world.runs.get("RUN#run-1", "META") is not None, "its first worker died before it wrote that"
    world.runs.update("RUN#run-1", "META", {"expires_at": NOW})
    plan = world.input.get_json("default/runs/run-1/plan/run.json") or {}
    world.input.put_json("default/runs/run-1/plan/run.json", {**plan, "createdAt": "2026-10-01T00:00:00+00:00"})
    with pytest.raises(InvalidRequestError, match="has had its time"):
        world.plan()


def pointing(uri: str) -> bytes:
    """A line in record form that points to an object, spelt so that no search of its bytes finds it."""
    image = {"image": {"format": "png", "source": {"s3Location": {"uri": uri}}}}
    line = json.dumps({"recordId": "x", "modelInput": {"messages": [{"role": "user", "content": [image]}]}})
    return line.replace("s3Location", "\\u00733Location").encode()


FOREIGN = ["s3://input/other/corpus/a.png", "s3://input/config/settings.json", "s3://elsewhere/a.png"]


@pytest.mark.parametrize("uri", FOREIGN)
@pytest.mark.parametrize("prompt", [None, {"template": "Say {{text}}"}])
@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_no_record_of_another_places_reaches_the_canary_or_a_shard(
    world: World, uri: str, prompt: dict[str, Any] | None, mode: str
) -> None:
    good = {"recordId": "r", "modelInput": {"messages": []}, "text": "x"}
    world.corpus(*({**good, "recordId": f"r{n}"} for n in range(12)), pointing(uri))
    source = {"key": "default/corpus/a.jsonl", "record_form": True}
    plan = world.plan(prompt=prompt or {}, source=source, limits={"canary_records": 50}, run={"mode": mode})
    assert world.model.bodies
    assert uri not in json.dumps(world.model.bodies)
    (counts,) = world.cut_all(plan)
    assert (counts["accepted"], counts["rejected"]) == (12, 1)
    (failure,) = world.jsonl("output", "default/runs/run-1/failures/part-cut-00001.jsonl")
    assert (failure["errorClass"], uri in failure["errorMessage"]) == ("illegal_media", False)


@pytest.mark.parametrize("family", ["amazon.nova-2-multimodal-embeddings-v1:0"])
def test_parameters_of_the_models_own_cannot_replace_a_checked_place(world: World, family: str) -> None:
    """`prompt.additional` is joined into the native body after the image was checked."""
    world.settings({**SETTINGS, "models": {family: {"invokeId": family}}})
    world.corpus({"id": "a", "photo": "default/corpus/a.png"})
    image = {"format": "png", "source": {"s3Location": {"uri": FOREIGN[0]}}}
    with pytest.raises(InvalidRequestError, match=r"illegal_media: line 1 of default/corpus/a\.jsonl"):
        world.plan(
            model={"id": family},
            prompt={"images": [{"uri_field": "photo"}], "additional": {"singleEmbeddingParams": {"image": image}}},
            limits={"canary_records": 5},
        )
    assert world.model.bodies == []
