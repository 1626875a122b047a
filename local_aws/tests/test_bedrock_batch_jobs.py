"""The life of a batch job: statuses, validation, output, manifest, events, stop, timeout, faults.

User guide: "Format and upload your batch inference data", "Monitor batch inference jobs", "View the results of a batch
inference job", "Monitor Amazon Bedrock job state changes using Amazon EventBridge", "Quotas for Amazon Bedrock".
Members and enums: botocore model `bedrock`.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_jobs import (
    HAIKU,
    NOVA,
    OLD_HAIKU,
    TITAN,
    Batch,
    claude_line,
    converse_line,
    settled,
    unique,
)
from local_aws import LocalAws
from local_aws.bedrock import objects, shapes, wire


@pytest.fixture
def batch(aws: LocalAws) -> Iterator[Batch]:
    with settled(aws) as ready:
        yield ready


def some(count: int) -> list[dict[str, Any]]:
    return [converse_line(f"r{number:04d}", f"The council met on day {number}. It voted.") for number in range(count)]


# Results


def test_every_record_has_one_line_and_the_counters_agree(batch: Batch) -> None:
    lines = some(40)
    lines[7]["modelInput"]["messages"] = []
    job = batch.run(lines)
    assert job["status"] == "Completed"
    counters = [job[f"{name}RecordCount"] for name in ("total", "processed", "success", "error")]
    assert counters == [40, 40, 39, 1]
    answered = batch.lines(job)
    assert sorted(line["recordId"] for line in answered) == sorted(line["recordId"] for line in lines)
    sent = {line["recordId"]: line["modelInput"] for line in lines}
    assert all(line["modelInput"] == sent[line["recordId"]] for line in answered)


def test_output_and_manifest_lie_below_the_job_id(batch: Batch) -> None:
    batch.upload("in/names.jsonl", some(3))
    job = batch.ended(batch.create(inputDataConfig=batch.source("in/names.jsonl")))
    assert sorted(batch.output_keys(job)) == ["manifest.json.out", "names.jsonl.out"]
    manifest = batch.manifest(job)
    usages = [line["modelOutput"]["usage"] for line in batch.lines(job)]
    assert manifest == {
        "totalRecordCount": 3,
        "processedRecordCount": 3,
        "successRecordCount": 3,
        "errorRecordCount": 0,
        "inputTokenCount": sum(usage["inputTokens"] for usage in usages),
        "outputTokenCount": sum(usage["outputTokens"] for usage in usages),
    }


def test_output_is_not_in_input_order(batch: Batch) -> None:
    lines = some(60)
    answered = [line["recordId"] for line in batch.lines(batch.run(lines))]
    sent = [line["recordId"] for line in lines]
    assert answered != sent
    assert sorted(answered) == sent


def test_lines_have_the_documented_members(batch: Batch) -> None:
    job = batch.run([*some(4), converse_line("bad", "Fine.", inferenceConfig={"temperature": 3})])
    by_id = {line["recordId"]: line for line in batch.lines(job)}
    bad = by_id.pop("bad")
    assert set(bad) == {"recordId", "modelInput", "error"}
    assert bad["error"]["errorCode"] == 400
    assert "'inferenceConfig.temperature' failed to satisfy constraint" in bad["error"]["errorMessage"]
    for line in by_id.values():
        assert set(line) == {"recordId", "modelInput", "modelOutput"}
        output = line["modelOutput"]
        assert output["stopReason"] == "end_turn"
        answer = json.loads(output["output"]["message"]["content"][0]["text"])
        assert answer["summary"].startswith("The council met on day")
        assert answer["labels"] == ["council", "voted"]


def test_some_converse_lines_carry_unset_union_members_as_null(batch: Batch) -> None:
    lines = batch.lines(batch.run(some(6)))
    blocks = [line["modelOutput"]["output"]["message"]["content"][0] for line in lines]
    assert {"toolUse" in block for block in blocks} == {True, False}
    assert all(block.get("toolUse") is None for block in blocks)


def test_a_record_without_an_id_gets_one(batch: Batch) -> None:
    lines = batch.lines(batch.run([converse_line(None, "One."), converse_line(None, "Two.")]))
    ids = {line["recordId"] for line in lines}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[A-Z0-9]{11}", record_id) for record_id in ids)


def test_separators_of_unicode_stand_unescaped_in_the_output(batch: Batch) -> None:
    text = "A line\u2028separator and a next\u0085line."
    job = batch.run([converse_line("u", text)])
    name = next(name for name in batch.output_keys(job) if name.endswith(".jsonl.out"))
    raw = batch.output(job, name)
    assert "\u2028".encode() in raw
    assert raw.count(b"\n") == 1
    assert json.loads(raw)["modelInput"]["messages"][0]["content"][0]["text"] == text


def test_a_lone_surrogate_does_not_break_the_file(batch: Batch) -> None:
    job = batch.run(
        ['{"recordId":"s","modelInput":{"messages":[{"role":"user","content":[{"text":"x \\ud800 y."}]}]}}']
    )
    assert job["successRecordCount"] == 1
    assert batch.lines(job)[0]["recordId"] == "s"


def test_a_folder_means_every_jsonl_below_it(batch: Batch) -> None:
    folder = f"in/{unique('folder')}"
    batch.upload(f"{folder}/one.jsonl", some(3))
    batch.upload(f"{folder}/deeper/two.jsonl", some(2))
    batch.upload(f"{folder}/readme.txt", ["no record"])
    job = batch.ended(batch.create(inputDataConfig=batch.source(f"{folder}/")))
    assert job["totalRecordCount"] == 5
    assert sorted(batch.output_keys(job)) == ["deeper/two.jsonl.out", "manifest.json.out", "one.jsonl.out"]


# Which invocation type


def test_converse_lines_need_the_invocation_type(batch: Batch) -> None:
    job = batch.run(some(5), modelInvocationType=None, modelId=OLD_HAIKU)
    assert (job["status"], job["successRecordCount"], job["errorRecordCount"]) == ("Completed", 0, 5)
    assert job["modelInvocationType"] == "InvokeModel"
    assert "required key [anthropic_version] not found" in batch.lines(job)[0]["error"]["errorMessage"]


def test_native_lines_do_not_go_with_converse(batch: Batch) -> None:
    text, blocks = claude_line("text", "A word."), claude_line("blocks", "A word.")
    blocks["modelInput"]["messages"][0]["content"] = [{"type": "text", "text": "A word."}]
    job = batch.run([text, blocks], modelId=OLD_HAIKU)
    assert (job["status"], job["successRecordCount"], job["errorRecordCount"]) == ("Completed", 0, 2)
    errors = {line["recordId"]: line["error"]["errorMessage"] for line in batch.lines(job)}
    assert "Member must be a list" in errors["text"]
    assert "exactly one member of the union set" in errors["blocks"]


@pytest.mark.parametrize(
    ("model_id", "line", "read"),
    [
        (OLD_HAIKU, claude_line("x", "A word."), lambda out: out["content"][0]["text"]),
        (
            NOVA,
            {
                "recordId": "x",
                "modelInput": {**converse_line("x", "A word.")["modelInput"], "schemaVersion": "messages-v1"},
            },
            lambda out: out["output"]["message"]["content"][0]["text"],
        ),
        (TITAN, {"recordId": "x", "modelInput": {"inputText": "A word."}}, lambda out: len(out["embedding"]) == 1024),
    ],
)
def test_native_bodies_answer_in_their_own_form(batch: Batch, model_id: str, line: Any, read: Any) -> None:
    job = batch.run([line], modelInvocationType="InvokeModel", modelId=model_id)
    assert job["successRecordCount"] == 1
    assert read(batch.lines(job)[0]["modelOutput"])


def test_parameters_that_the_model_refuses_fail_their_records_only(batch: Batch) -> None:
    both = converse_line("both", "x.", inferenceConfig={"temperature": 0.1, "topP": 0.9})
    much = converse_line("much", "x.", inferenceConfig={"maxTokens": 64_001})
    tool = converse_line("tool", "x.", toolConfig={"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}]})
    job = batch.run([*some(2), both, much, tool])
    errors = {line["recordId"]: line["error"]["errorMessage"] for line in batch.lines(job) if "error" in line}
    assert set(errors) == {"both", "much", "tool"}
    assert "`temperature` and `top_p` cannot both be specified" in errors["both"]
    assert "exceeds the model limit of 64000" in errors["much"]


# Validating


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json", "line 2 is not a JSON object"),
        ("[1]", "line 2 is not a JSON object"),
        ("", "line 2 is not a JSON object"),
        ('{"recordId": "a"}', "line 2 has no object modelInput"),
        ('{"recordId": 5, "modelInput": {}}', "line 2 has a recordId that is not a string"),
    ],
)
def test_a_line_of_the_wrong_outer_shape_fails_the_job(batch: Batch, line: str, problem: str) -> None:
    first, last = some(2)
    job = batch.run([first, line, last])
    assert job["status"] == "Failed"
    assert problem in job["message"]
    assert batch.output_keys(job) == []


def test_the_inside_of_model_input_is_not_validated(batch: Batch) -> None:
    job = batch.run([{"recordId": "a", "modelInput": {"anything": 1}}])
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 1)


@pytest.mark.parametrize(
    ("quota", "limits", "problem"),
    [
        ("min_records_per_job", 4, "contains less records (3) than the required minimum of: 4"),
        ("max_records_per_job", 2, "contains more records (3) than the allowed maximum of: 2"),
        ("max_records_per_file", 2, "contains more records (3) than the allowed maximum of: 2"),
        ("max_file_gb", 0.0000001, "is larger than the allowed maximum of: 1e-07 GB"),
        ("max_job_gb", 0.0000001, "is larger than the allowed maximum of: 1e-07 GB"),
    ],
)
def test_quotas_of_jobs_and_files_are_enforced(batch: Batch, quota: str, limits: float, problem: str) -> None:
    batch.aws.local("PUT", "/_local/knobs", {quota: limits})
    job = batch.run(some(3))
    assert job["status"] == "Failed"
    assert problem in job["message"]


def test_the_default_minimum_is_a_hundred_records(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"min_records_per_job": None})
    assert batch.run(some(99))["status"] == "Failed"
    assert batch.run(some(100))["status"] == "Completed"


def test_input_without_a_jsonl_fails_the_job(batch: Batch) -> None:
    batch.upload("text/records.json", some(3))
    for key in ("text/records.json", "text/", "text/missing.jsonl"):
        job = batch.ended(batch.create(inputDataConfig=batch.source(key)))
        assert job["status"] == "Failed"
        assert "no file with the extension .jsonl" in job["message"]


def test_a_profile_job_needs_invoke_model_of_the_role(batch: Batch) -> None:
    role_arn = batch.role(statements=batch.statements("bedrock:InvokeModel"))
    job = batch.run(some(3), roleArn=role_arn)
    assert job["status"] == "Failed"
    assert "is not authorized to perform: bedrock:InvokeModel" in job["message"]
    assert batch.run(some(3), roleArn=role_arn, modelId=NOVA)["status"] == "Completed"


def test_output_is_encrypted_with_the_key_that_the_role_may_use(batch: Batch) -> None:
    key_arn = batch.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    output = {"s3OutputDataConfig": {"s3Uri": f"s3://{batch.bucket}/out/", "s3EncryptionKeyId": key_arn}}
    job = batch.run(some(3), outputDataConfig=output)
    assert job["status"] == "Failed"
    assert f"kms:GenerateDataKey on resource: {key_arn}" in job["message"]
    may = {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key_arn}
    role_arn = batch.role(statements=[*batch.statements(), may])
    job = batch.run(some(3), outputDataConfig=output, roleArn=role_arn)
    assert job["status"] == "Completed"
    head = batch.s3.head_object(Bucket=batch.bucket, Key=f"out/{job['jobArn'].rsplit('/', 1)[-1]}/manifest.json.out")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key_arn)


def test_encrypted_input_needs_decrypt_of_the_role(batch: Batch) -> None:
    key_arn = batch.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    body = "".join(json.dumps(line) + "\n" for line in some(3)).encode()
    batch.s3.put_object(
        Bucket=batch.bucket, Key="secret/a.jsonl", Body=body, ServerSideEncryption="aws:kms", SSEKMSKeyId=key_arn
    )
    job = batch.ended(batch.create(inputDataConfig=batch.source("secret/a.jsonl")))
    assert job["status"] == "Failed"
    assert f"kms:Decrypt on resource: {key_arn}" in job["message"]


# Statuses and time


def test_a_job_passes_the_documented_statuses(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    job = batch.run(some(3))
    assert queue.statuses(job["jobArn"], 5) == ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]


def test_a_queued_job_is_expired_when_its_hours_are_over(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"seconds_per_hour": 0.01, "seconds_scheduled": 60})
    job = batch.run(some(3), timeoutDurationInHours=24)
    assert job["status"] == "Expired"
    assert "processedRecordCount" not in job
    assert batch.output_keys(job) == []


def test_a_running_job_is_partially_completed_when_its_hours_are_over(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"seconds_per_hour": 0.05, "records_per_second": 20})
    job = batch.run(some(200), timeoutDurationInHours=24)
    assert job["status"] == "PartiallyCompleted"
    lines = batch.lines(job)
    assert 0 < len(lines) < 200
    assert job["processedRecordCount"] == len(lines) == batch.manifest(job)["processedRecordCount"]
    assert job["totalRecordCount"] == 200


def test_a_running_job_can_be_stopped_and_keeps_what_it_has(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"records_per_second": 50, "seconds_stopping": 0.5})
    batch.upload("in/long.jsonl", some(2000))
    arn = batch.create(inputDataConfig=batch.source("in/long.jsonl"))
    batch.until(arn, "InProgress")
    while not batch.get(arn)["processedRecordCount"]:
        time.sleep(0.02)
    assert batch.bedrock.stop_model_invocation_job(jobIdentifier=arn.rsplit("/", 1)[-1])["ResponseMetadata"]
    assert batch.get(arn)["status"] == "Stopping"
    job = batch.until(arn, "Stopped")
    assert 0 < len(batch.lines(job)) == job["processedRecordCount"] < 2000
    with pytest.raises(batch.bedrock.exceptions.ConflictException):
        batch.bedrock.stop_model_invocation_job(jobIdentifier=arn)


def test_jobs_above_the_slots_wait_as_submitted_in_order(batch: Batch) -> None:
    batch.aws.local("PUT", "/_local/knobs", {"job_slots": 1, "seconds_scheduled": 60})
    batch.upload("in/a.jsonl", some(3))
    first, second = batch.create(), batch.create()
    batch.until(first, "Scheduled")
    assert batch.get(second)["status"] == "Submitted"
    batch.bedrock.stop_model_invocation_job(jobIdentifier=first)
    batch.until(second, "Scheduled")
    batch.bedrock.stop_model_invocation_job(jobIdentifier=second)
    batch.until(second, "Stopped")


# Get and List


def test_a_job_that_does_not_exist_is_not_found(batch: Batch) -> None:
    with pytest.raises(batch.bedrock.exceptions.ResourceNotFoundException):
        batch.get("abcdefghijkl")


def test_a_job_name_is_no_identifier(batch: Batch) -> None:
    with pytest.raises(batch.bedrock.exceptions.ValidationException, match="jobIdentifier"):
        batch.get("my-job-name")


def test_list_filters_sorts_and_pages(batch: Batch) -> None:
    prefix = unique("list")
    batch.upload("in/a.jsonl", some(3))
    names = [f"{prefix}-{number}" for number in range(5)]
    arns = [batch.create(jobName=name) for name in names]
    for arn in arns:
        batch.ended(arn)
    failed = batch.create(jobName=f"{prefix}-failed", inputDataConfig=batch.source("in/none.jsonl"))
    batch.ended(failed)

    def listed(**filters: Any) -> list[str]:
        pages = batch.bedrock.get_paginator("list_model_invocation_jobs").paginate(
            nameContains=prefix, PaginationConfig={"PageSize": 2}, **filters
        )
        found = [page["invocationJobSummaries"] for page in pages]
        assert max(map(len, found)) <= 2
        return [summary["jobName"] for page in found for summary in page]

    assert listed() == [f"{prefix}-failed", *reversed(names)]
    assert listed(sortBy="CreationTime", sortOrder="Ascending") == [*names, f"{prefix}-failed"]
    assert listed(statusEquals="Failed") == [f"{prefix}-failed"]
    third = batch.get(arns[2])["submitTime"]
    assert listed(submitTimeAfter=third, sortOrder="Ascending") == [*names[3:], f"{prefix}-failed"]
    assert listed(submitTimeBefore=third, sortOrder="Ascending") == names[:2]


def test_a_page_stays_when_jobs_are_created_meanwhile(batch: Batch) -> None:
    prefix = unique("steady")
    batch.upload("in/a.jsonl", some(3))
    for number in range(3):
        batch.create(jobName=f"{prefix}-{number}")
    first = batch.bedrock.list_model_invocation_jobs(nameContains=prefix, maxResults=2)
    batch.create(jobName=f"{prefix}-late")
    rest = batch.bedrock.list_model_invocation_jobs(nameContains=prefix, maxResults=2, nextToken=first["nextToken"])
    names = [job["jobName"] for page in (first, rest) for job in page["invocationJobSummaries"]]
    assert names == [f"{prefix}-2", f"{prefix}-1", f"{prefix}-0"]


def test_a_summary_holds_what_get_answers(batch: Batch) -> None:
    job = batch.run(some(3), clientRequestToken=unique("token"))
    summary = batch.bedrock.list_model_invocation_jobs(nameContains=job["jobName"])["invocationJobSummaries"][0]
    job.pop("ResponseMetadata")
    assert summary == job
    assert summary["successRecordCount"] == 3


# Events


class _Events:
    """A queue behind a rule on the default bus that takes every event of batch jobs."""

    def __init__(self, aws: LocalAws) -> None:
        self.sqs = aws.client("sqs")
        name = unique("events")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = f"arn:aws:sqs:{aws.region}:{aws.account}:{name}"
        allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        events = aws.client("events")
        pattern = {"source": ["aws.bedrock"], "detail-type": ["Batch Inference Job State Change"]}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        self.received: list[dict[str, Any]] = []

    def of(self, job_arn: str, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        """The first `count` events of a job, in the order in which they came; fewer when the time is over."""
        until = time.monotonic() + seconds
        while len(found := self._known(job_arn)) < count and time.monotonic() < until:
            answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self.received.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _known(self, job_arn: str) -> list[dict[str, Any]]:
        return [event for event in self.received if event["detail"]["batchJobArn"] == job_arn]

    def statuses(self, job_arn: str, count: int, seconds: float = 20) -> list[str]:
        order = ["Submitted", "Validating", "Scheduled", "InProgress", "Stopping", "Completed", "Failed", "Stopped"]
        # A standard queue does not keep the order; the statuses of one way through a job do.
        return sorted((event["detail"]["status"] for event in self.of(job_arn, count, seconds)), key=order.index)


@functools.cache
def _events_queue(aws: LocalAws) -> _Events:
    return _Events(aws)


def test_an_event_has_the_documented_form(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    job = batch.run(["{broken"])
    event = next(each for each in queue.of(job["jobArn"], 3) if each["detail"]["status"] == "Failed")
    assert event["source"] == "aws.bedrock"
    assert event["detail-type"] == "Batch Inference Job State Change"
    assert event["resources"] == [job["jobArn"]]
    assert (event["account"], event["region"]) == (aws.account, aws.region)
    detail = event["detail"]
    assert detail["batchJobName"] == job["jobName"]
    assert detail["batchModelId"].endswith(f"inference-profile/{HAIKU}")
    assert detail["failureMessage"] == job["message"]
    # Neither is ISO 8601.
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d UTC \d{4}", event["time"])
    assert re.fullmatch(r"[A-Z][a-z]{2} \d{1,2}, \d{4}, \d{1,2}:\d\d:\d\d [AP]M", detail["creationTime"])


def test_an_event_can_be_lost_and_the_job_does_not_care(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    aws.local("PUT", "/_local/faults", [{"target": "event", "match": {"status": "Completed"}, "do": "drop"}])
    job = batch.run(some(3))
    assert job["status"] == "Completed"
    assert aws.local("GET", "/_local/faults")["rules"][0]["fired"] == 1
    assert queue.statuses(job["jobArn"], 5, seconds=2) == ["Submitted", "Validating", "Scheduled", "InProgress"]


def test_an_event_can_come_twice_with_the_same_id(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    rule = {"target": "event", "match": {"status": "Completed"}, "do": "duplicate", "copies": 3}
    aws.local("PUT", "/_local/faults", [rule])
    job = batch.run(some(3))
    ids = Counter(event["id"] for event in queue.of(job["jobArn"], 7))
    assert sorted(ids.values()) == [1, 1, 1, 1, 3]


def test_a_delayed_event_comes_after_the_job_is_over(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    aws.local(
        "PUT", "/_local/faults", [{"target": "event", "match": {"status": "Submitted"}, "do": "delay", "seconds": 1}]
    )
    job = batch.run(some(3))
    assert len(queue.of(job["jobArn"], 5)) == 5
    came = [event["detail"]["status"] for event in queue._known(job["jobArn"])]
    assert came[-1] == "Submitted"


def test_knobs_lose_and_double_events_by_share(batch: Batch, aws: LocalAws) -> None:
    queue = _events_queue(aws)
    aws.local("PUT", "/_local/knobs", {"event_drop": 1})
    silent = batch.run(some(3))
    aws.local("PUT", "/_local/knobs", {"event_drop": 0, "event_duplicate": 1})
    doubled = batch.run(some(3))
    assert len(queue.of(doubled["jobArn"], 10)) == 10
    assert queue.of(silent["jobArn"], 0) == []


# Faults


def faulty(batch: Batch, *rules: dict[str, Any]) -> None:
    batch.aws.local("PUT", "/_local/faults", list(rules))


def test_poison_by_record_id_fails_that_record_only(batch: Batch) -> None:
    rule = {"target": "record", "match": {"recordId": "r0003"}, "do": "error"}
    faulty(batch, {**rule, "errorCode": 424, "errorMessage": "The model choked."})
    job = batch.run(some(6))
    errors = {line["recordId"]: line["error"] for line in batch.lines(job) if "error" in line}
    assert errors == {"r0003": {"errorCode": 424, "errorMessage": "The model choked."}}
    assert (job["successRecordCount"], job["errorRecordCount"]) == (5, 1)


def test_the_poison_marker_fails_its_record(batch: Batch) -> None:
    job = batch.run([*some(2), converse_line("p", "Something [[POISON]] in the middle.")])
    assert [line["recordId"] for line in batch.lines(job) if "error" in line] == ["p"]


@pytest.mark.parametrize(
    ("do", "seen", "broken"), [("lose", 0, 0), ("duplicate", 2, 0), ("truncate", 0, 1), ("garble", 1, 0)]
)
def test_lines_can_be_lost_doubled_cut_or_garbled(batch: Batch, do: str, seen: int, broken: int) -> None:
    faulty(batch, {"target": "record", "match": {"recordId": "r0001"}, "do": do})
    job = batch.run(some(4))
    assert (job["status"], job["successRecordCount"]) == ("Completed", 4)
    name = next(name for name in batch.output_keys(job) if name.endswith(".jsonl.out"))
    ids, unreadable = [], 0
    for line in batch.output(job, name).split(b"\n")[:-1]:
        try:
            ids.append(json.loads(line)["recordId"])
        except ValueError:
            unreadable += 1
    assert (ids.count("r0001"), unreadable) == (seen, broken)
    assert {"r0000", "r0002", "r0003"} <= set(ids)


@pytest.mark.parametrize(("status", "manifest"), [("PartiallyCompleted", True), ("Stopped", True), ("Failed", False)])
def test_a_job_can_be_made_to_end_early(batch: Batch, status: str, manifest: bool) -> None:
    faulty(batch, {"target": "job", "do": "end", "as": status, "fraction": 0.25, "message": "As planned."})
    job = batch.run(some(40))
    assert (job["status"], job["message"], job["processedRecordCount"]) == (status, "As planned.", 10)
    assert len(batch.lines(job)) == 10
    assert ("manifest.json.out" in batch.output_keys(job)) is manifest


def test_a_slow_record_does_not_hold_up_another_job(batch: Batch) -> None:
    faulty(batch, {"target": "record", "match": {"recordId": "slow"}, "do": "delay", "seconds": 3})
    batch.upload("in/slow.jsonl", [converse_line("slow", "Slow.")])
    slow = batch.create(inputDataConfig=batch.source("in/slow.jsonl"))
    batch.until(slow, "InProgress")
    assert batch.run(some(3))["status"] == "Completed"
    assert batch.get(slow)["status"] == "InProgress"
    assert batch.ended(slow)["status"] == "Completed"


def test_a_job_can_be_made_to_expire(batch: Batch) -> None:
    faulty(batch, {"target": "job", "match": {"jobName": "*-doomed"}, "do": "end", "as": "Expired"})
    job = batch.run(some(3), jobName=f"{unique('x')}-doomed")
    assert (job["status"], batch.output_keys(job)) == ("Expired", [])
    assert batch.run(some(3))["status"] == "Completed"


def test_the_manifest_can_be_missing_or_late(batch: Batch) -> None:
    faulty(batch, {"target": "job", "do": "no_manifest"})
    assert "manifest.json.out" not in batch.output_keys(batch.run(some(3)))
    faulty(batch, {"target": "job", "do": "late_manifest", "seconds": 1})
    job = batch.run(some(3))
    assert "manifest.json.out" not in batch.output_keys(job)
    until = time.monotonic() + 20
    while "manifest.json.out" not in batch.output_keys(job):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_share_of_the_lines_can_be_lost_and_doubled(batch: Batch) -> None:
    faulty(
        batch,
        {"target": "job", "do": "lose", "fraction": 0.2},
        {"target": "job", "do": "duplicate", "fraction": 0.2},
        {"target": "job", "do": "truncate"},
    )
    job = batch.run(some(200))
    name = next(name for name in batch.output_keys(job) if name.endswith(".jsonl.out"))
    data = batch.output(job, name)
    assert not data.endswith(b"\n")
    counts = Counter(json.loads(line)["recordId"] for line in data.split(b"\n")[:-1])
    assert 120 < len(counts) < 190
    assert 10 < sum(count == 2 for count in counts.values()) < 70


def test_a_call_can_fail_a_number_of_times(batch: Batch) -> None:
    batch.upload("in/a.jsonl", some(3))
    create = {"target": "call", "match": {"service": "bedrock", "operation": "CreateModelInvocationJob"}}
    faulty(batch, {**create, "do": "throttle", "times": 1}, {**create, "do": "lose_reply", "times": 1})
    request = batch.request(clientRequestToken=unique("token"))
    with pytest.raises(ClientError) as throttled:
        batch.bedrock.create_model_invocation_job(**request)
    assert throttled.value.response["Error"]["Code"] == "ThrottlingException"
    assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    with pytest.raises(ClientError) as lost:
        batch.bedrock.create_model_invocation_job(**request)
    assert lost.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    # The lost one was carried out: the repeat finds its job.
    summaries = batch.bedrock.list_model_invocation_jobs(nameContains=request["jobName"])["invocationJobSummaries"]
    assert [summary["jobArn"] for summary in summaries] == [
        batch.bedrock.create_model_invocation_job(**request)["jobArn"]
    ]


@pytest.mark.parametrize(
    ("service", "operation", "call", "code", "status"),
    [
        ("dynamodb", "ListTables", "list_tables", "ThrottlingException", 400),
        ("s3", "ListAllMyBuckets", "list_buckets", "SlowDown", 503),
        ("sqs", "ListQueues", "list_queues", "RequestThrottled", 403),
        ("stepfunctions", "ListStateMachines", "list_state_machines", "ThrottlingException", 400),
    ],
)
def test_calls_to_every_service_can_fail(
    batch: Batch, service: str, operation: str, call: str, code: str, status: int
) -> None:
    client = batch.aws.client(service)
    faulty(batch, {"target": "call", "match": {"operation": operation}, "do": "throttle", "times": 1})
    with pytest.raises(ClientError) as raised:
        getattr(client, call)()
    answer = raised.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert getattr(client, call)()["ResponseMetadata"]["HTTPStatusCode"] == 200


# Inside


@given(st.binary(max_size=200))
def test_lines_cover_every_byte_but_the_newlines(data: bytes) -> None:
    parts = [data[begin:end] for begin, end in objects.lines(data)]
    assert b"\n".join(parts) + (b"\n" if data.endswith(b"\n") else b"") == data
    assert not any(b"\n" in part for part in parts)


@given(st.text(alphabet="ab-+._", max_size=70))
def test_the_pattern_of_job_names_is_aws_own(name: str) -> None:
    """Our pattern without backtracking takes what AWS's pattern and length take together."""
    hyphens = max(map(len, re.findall("-+", name)), default=0)
    if hyphens > 8:
        return
    request = {
        "jobName": name,
        "roleArn": "arn:aws:iam::123456789012:role/r",
        "modelId": NOVA,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://bucket/a"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/a"}},
    }
    awss = re.fullmatch(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}", name) is not None and len(name) <= 63
    try:
        shapes.check("bedrock", "CreateModelInvocationJob", request)
        taken = True
    except wire.AwsError:
        taken = False
    assert taken is awss
