"""Submitting a job: token first, job second, nothing twice."""

from dataclasses import replace

import pytest

from bulk_inference.batch.submit_job import SubmitTask, submit
from bulk_inference.batch.task_tokens import tokens_of
from bulk_inference.core.errors import InvalidRequestError, JobRejectedError, JobSlotsFullError
from bulk_inference.core.jobs import JobRequest
from bulk_inference.core.run_spec import Quota
from bulk_inference.core.runs_table import COUNT, JOB, OPEN, job_key, run_pk
from bulk_inference.core.settings import JobVpc
from bulk_inference.watch.reconcile import resume
from tests.worlds.inference_world import RUN, SETTINGS, assert_survives_kills, make_spec, submit_services
from tests.worlds.submit_world import PIECE, go, stage


def test_the_request_names_input_output_role_and_shape() -> None:
    made = stage()
    job = go(made)
    (request,) = made.jobs.requests
    assert request.input_uri == "s3://in-bucket/default/runs/run-1/shards/00001-001.jsonl"
    assert request.output_uri == "s3://out-bucket/default/jobs/run-1/00001-a1/"
    assert request.model_id == "us.vendor.m-v1:0"
    assert request.invocation_type == "Converse"
    assert request.role_arn == SETTINGS.tenants["default"].batch_role_arn
    assert request.name == job["jobName"]
    assert request.name.startswith("tickets-run-1-00001-a1-")
    assert request.token.startswith(request.name.rpartition("-")[2])


def test_tags_and_network_are_the_modules() -> None:
    """A tag of the module's cannot pass for one that tells whose the job is."""
    made = stage(job_vpc=JobVpc(["subnet-1"], ["sg-1"]), job_tags={"team": "search", "bulk-inference:tenant": "other"})
    go(made)
    (request,) = made.jobs.requests
    assert request.vpc == JobVpc(["subnet-1"], ["sg-1"])
    assert request.tags == {
        "team": "search",
        "bulk-inference:name": "tickets",
        "bulk-inference:tenant": "default",
        "bulk-inference:run": "run-1",
    }


def test_native_bodies_go_by_the_other_invocation_type() -> None:
    made = stage(model=replace(make_spec().model, api="invoke_model"))
    go(made)
    assert made.jobs.requests[0].invocation_type == "InvokeModel"


def test_the_token_is_stored_before_the_job_is_created() -> None:
    """The job's event may come before CreateModelInvocationJob answers: it must find whom to wake."""
    made = stage()

    def event_comes_at_once(request: JobRequest) -> None:
        known = made.runs.get(job_key(request.name), JOB)
        assert known is not None
        assert tokens_of(known) == ["token-1"]
        assert made.runs.get(OPEN, job_key(request.name)) is not None
        assert made.runs.get(run_pk(RUN), "JOB#00001-a1") is not None

    made.jobs.on_create = event_comes_at_once
    go(made)
    assert len(made.jobs.requests) == 1


def test_a_second_try_of_the_attempt_waits_for_the_same_job_with_its_own_token() -> None:
    made = stage()
    first = go(made)
    assert go(made, "token-2") == first
    assert len(made.jobs.requests) == 1
    made.jobs.set(first["jobName"], "Completed")
    resume({"detail": {"batchJobName": first["jobName"]}}, "tickets", runs=made.runs, jobs=made.jobs, tasks=made.tasks)
    assert "token-2" in made.tasks.answers


def test_the_next_attempt_is_another_job_over_another_file() -> None:
    made = stage()
    go(made)
    go(made, "token-2", attempt=2)
    first, second = made.jobs.requests
    assert first.name != second.name
    assert first.token != second.token
    assert second.input_uri.endswith("/shards/00001-a2.jsonl")


def test_a_job_that_ended_before_its_token_was_stored_answers_it_at_once() -> None:
    made = stage()
    job = go(made)
    made.jobs.set(job["jobName"], "Expired")
    go(made, "token-2")
    assert made.tasks.answers["token-2"]["status"] == "Expired"
    assert made.runs.get(OPEN, job_key(job["jobName"])) is None


def test_a_name_that_is_taken_leads_to_the_job_that_has_it() -> None:
    made = stage()
    job = go(made)
    made.runs.items.clear()
    assert go(made)["jobArn"] == job["jobArn"]
    assert len(made.jobs.requests) == 1


def test_a_full_account_is_waited_for_and_nothing_is_stored() -> None:
    made = stage()
    for number in range(3):
        made.jobs.add(f"foreign-{number}", "InProgress", model="vendor.m-v1:0")
    with pytest.raises(JobSlotsFullError):
        go(made)
    assert [key for key in made.runs.items if key[1] != COUNT] == []
    made.jobs.set("foreign-0", "Completed")
    made.time.now += 60
    go(made)
    assert len(made.jobs.requests) == 1


@pytest.mark.parametrize(("priority", "busy"), [("high", 9), ("normal", 8), ("low", 5)])
def test_a_run_leaves_the_slots_that_are_for_those_above_it(priority: str, busy: int) -> None:
    ten = replace(make_spec().quotas, max_jobs_in_flight=Quota(10, "override"))
    made = stage(priority=priority, quotas=ten)
    for number in range(busy + 1):
        made.jobs.add(f"foreign-{number}", "InProgress", model="vendor.m-v1:0")
    with pytest.raises(JobSlotsFullError):
        go(made)
    made.jobs.set("foreign-0", "Completed")
    made.time.now += 60
    go(made)


def test_an_own_job_is_found_again_even_when_it_took_the_last_slot() -> None:
    made = stage()
    for number in range(2):
        made.jobs.add(f"foreign-{number}", "InProgress", model="vendor.m-v1:0")
    made.world.kill_at = 6
    with pytest.raises(BaseException, match="create job"):
        go(made)
    made.world.revive()
    assert go(made)["jobName"].startswith("tickets-run-1-00001-a1-")


def test_a_shard_that_is_written_again_under_a_key_makes_no_second_job() -> None:
    """Under SSE-KMS an ETag is no digest of the bytes: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html"""
    made = stage()
    first = go(made)
    real = made.input.find
    made.input.find = lambda key: replace(real(key), etag="another")  # type: ignore[method-assign, type-var]
    assert go(made, "token-2")["jobArn"] == first["jobArn"]
    assert len(made.jobs.requests) == 1
    assert go(made, attempt=2)["jobArn"] != first["jobArn"]


def test_what_bedrock_would_refuse_is_not_sent() -> None:
    made = stage(limits=replace(make_spec().limits, job_timeout_hours=1))
    with pytest.raises(JobRejectedError, match="timeoutDurationInHours"):
        go(made)
    assert made.jobs.requests == []


def test_a_missing_shard_file_is_named() -> None:
    made = stage()
    made.input.objects.clear()
    with pytest.raises(InvalidRequestError, match=r"s3://in-bucket/default/runs/run-1/shards/00001-001\.jsonl"):
        go(made)


def test_a_worker_that_dies_anywhere_and_a_retry_make_one_job() -> None:
    assert_survives_kills(stage, go, at_least=7)


def test_the_role_is_the_tenants_by_the_settings_whatever_a_plan_says() -> None:
    """A plan lies where other functions may write; settings are Terraform's."""
    made = stage()
    services = replace(submit_services(made), settings=replace(SETTINGS, tenants={}))
    task = SubmitTask("run-1", "default", 1, "00001", PIECE, "token-1")
    with pytest.raises(InvalidRequestError, match="'default' is no tenant"):
        submit(task, made.spec, services)
    assert made.jobs.requests == []


def test_what_bedrock_says_when_it_refuses_a_job_is_kept_in_s3_and_its_place_is_told() -> None:
    made = stage()

    def refuse(request: JobRequest) -> None:
        raise JobRejectedError("ValidationException: SECRET")

    made.jobs.on_create = refuse
    with pytest.raises(JobRejectedError) as told:
        go(made)
    assert "SECRET" not in str(told.value)
    key = "default/runs/run-1/shards/00001-a1.refusal.txt"
    assert f"s3://in-bucket/{key}" in str(told.value)
    assert made.input.objects[key] == b"ValidationException: SECRET"
