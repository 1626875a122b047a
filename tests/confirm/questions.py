"""The questions of docs/unconfirmed.md by their ids: what each makes, what it costs, and how it is answered."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.confirm.bench import RECORDS, Bench, ask, code_of, image, records, tried

SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["n"], "properties": {"n": {"type": "integer"}},
}  # fmt: skip
OUTPUT = {
    "textFormat": {
        "type": "json_schema",
        "structure": {"jsonSchema": {"name": "n", "schema": json.dumps(SCHEMA)}},
    }
}
CENT = "less than 0.01 USD"


@dataclass(frozen=True)
class Question:
    """`heavy` ones are asked only when they are named."""

    id: str
    text: str
    makes: str
    costs: str
    answer: Callable[[Bench], str]
    heavy: bool = False


def token(bench: Bench) -> str:
    bucket = bench.bucket()
    role, source, same = bench.batch_role(bucket), bench.lines(bucket, records()), bench.name()
    first = bench.job(bucket, role, source, jobName=same, clientRequestToken=same)
    again = bench.job(bucket, role, source, jobName=same, clientRequestToken=same)
    longer = {"jobName": same, "clientRequestToken": same, "timeoutDurationInHours": 48}
    changed = tried(bench.job, bucket, role, source, **longer)
    return f"the repeat answers {'the same' if again == first else 'another'} ARN; with another timeout: {changed}"


def name(bench: Bench) -> str:
    bucket = bench.bucket()
    role, source, same = bench.batch_role(bucket), bench.lines(bucket, records()), bench.name()
    running = bench.job(bucket, role, source, jobName=same)
    while_running = tried(bench.job, bucket, role, source, jobName=same)
    status = bench.ended(running)["status"]
    after = tried(bench.job, bucket, role, source, jobName=same)
    return f"while it runs: {while_running}; after {status}: {after}"


def quota(bench: Bench) -> str:
    quotas = bench.place.client("service-quotas").get_paginator("list_service_quotas")
    slots = [
        each["Value"]
        for page in quotas.paginate(ServiceCode="bedrock")
        for each in page["Quotas"]
        if each["QuotaName"].startswith("Sum of in-progress and submitted batch inference jobs using a base model")
        and "Nova Micro" in each["QuotaName"]
    ]
    bucket = bench.bucket()
    role, source = bench.batch_role(bucket), bench.lines(bucket, records())
    for number in range(int(slots[0] if slots else 100)):
        said = tried(bench.job, bucket, role, source)
        if said != "taken":
            return f"job {number + 1}: {said}"
    above = tried(bench.job, bucket, role, source)
    return f"one above {int(slots[0] if slots else 100)}: {above}"


def events(bench: Bench) -> str:
    url = bench.queue({"source": ["aws.bedrock"], "detail-type": ["Batch Inference Job State Change"]})
    bucket = bench.bucket()
    role, source = bench.batch_role(bucket), bench.lines(bucket, records())
    whole, stopped = bench.job(bucket, role, source), bench.job(bucket, role, source)
    bench.place.client("bedrock").stop_model_invocation_job(jobIdentifier=stopped)
    bench.ended(whole)
    bench.ended(stopped)
    own = {whole, stopped}

    def enough(found: list[dict[str, Any]]) -> bool:
        return own <= {e["detail"]["batchJobArn"] for e in found if e["detail"]["status"] in ("Completed", "Stopped")}

    found = [each for each in bench.heard(url, enough, 300) if each["detail"]["batchJobArn"] in own]
    statuses = sorted({each["detail"]["status"] for each in found})
    return f"seen: {', '.join(statuses)}; time as in {found[0]['time'] if found else 'no event'!r}"


def record_ids(bench: Bench) -> str:
    odd = ["with space", "with.dot", "with/slash", "with:colon", "größe", "x" * 200, "", "twice", "twice"]
    bucket = bench.bucket()
    job = bench.job(bucket, bench.batch_role(bucket), bench.lines(bucket, records(odd)))
    ended = bench.ended(job)
    seen = [line.get("recordId") for line in bench.output(bucket, job)]
    kept = [each for each in dict.fromkeys(odd) if each in seen]
    return (
        f"{ended['status']} ({ended.get('message', '')}); of the odd ids {len(kept)} of {len(set(odd))} came back: "
        f"{json.dumps(kept, ensure_ascii=False)[:200]}; 'twice' came {seen.count('twice')} times"
    )


def partial(bench: Bench) -> str:
    bucket, bedrock = bench.bucket(), bench.place.client("bedrock")
    job = bench.job(bucket, bench.batch_role(bucket), bench.lines(bucket, records()))

    def running() -> bool:
        status = bedrock.get_model_invocation_job(jobIdentifier=job)["status"]
        return status in ("InProgress", "Completed")

    bench.until(running, "the job to run")
    said = tried(bedrock.stop_model_invocation_job, jobIdentifier=job)
    ended = bench.ended(job)
    lines = bench.output(bucket, job)
    errors = sum("error" in line for line in lines)
    return f"stop: {said}; {ended['status']}: {len(lines)} of {RECORDS} lines, {errors} of them errors"


def manifest(bench: Bench) -> str:
    bucket, s3 = bench.bucket(), bench.place.client("s3")
    job = bench.job(bucket, bench.batch_role(bucket), bench.lines(bucket, records()))
    bench.ended(job)
    began, key = time.monotonic(), f"out/{job.rsplit('/', 1)[-1]}/manifest.json.out"
    bench.until(lambda: tried(s3.head_object, Bucket=bucket, Key=key) == "taken", "the manifest", 900)
    seconds = time.monotonic() - began
    return f"there {seconds:.0f} s after the terminal status (looked every {bench.place.poll_seconds} s)"


def task_tokens(bench: Bench) -> str:
    queue = bench.queue({"source": [bench.name()]})
    queue_arn = bench.place.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    role = bench.role(
        "states.amazonaws.com",
        [
            {"Action": "sqs:SendMessage", "Resource": queue_arn["Attributes"]["QueueArn"]},
            {"Action": "states:*", "Resource": "*"},
        ],
    )
    wait = {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True,
        "TimeoutSeconds": 900,
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
    }  # fmt: skip
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Wait", "States": {"Wait": wait},
    }  # fmt: skip
    each = {"Type": "Map", "Label": "Children", "ItemProcessor": processor, "End": True}
    machine = bench.machine({"StartAt": "Each", "States": {"Each": each}}, role)
    states = bench.place.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input="[1]")["executionArn"]
    bench.after(states.stop_execution, executionArn=execution)
    told = bench.heard(queue, bool, 300)
    answers = []
    for resource in (machine, f"{machine}/*", "*"):
        caller = bench.role("lambda.amazonaws.com", [{"Action": "states:SendTask*", "Resource": resource}])
        client = bench.place.client("stepfunctions", credentials=bench.assume(caller))
        said = tried(client.send_task_heartbeat, taskToken=told[0]["token"])
        answers.append(f"{resource.removeprefix(machine) or 'the machine'}: {said}")
    return "; ".join(answers)


def _read_all(bench: Bench, bucket: str, *more: dict[str, Any]) -> str:
    objects = [f"arn:{bench.place.partition}:s3:::{bucket}", f"arn:{bench.place.partition}:s3:::{bucket}/*"]
    return bench.role(
        "states.amazonaws.com",
        [{"Action": "s3:*", "Resource": objects}, {"Action": "states:*", "Resource": "*"}, *more],
    )


def _map(bucket: str, **members: Any) -> dict[str, Any]:
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}},
    }  # fmt: skip
    return {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": processor, "End": True, **members}}}


def _run(bench: Bench, machine: str, given: str = "{}") -> dict[str, Any]:
    states = bench.place.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]

    def closed() -> Any:
        described = states.describe_execution(executionArn=execution)
        return described if described["status"] != "RUNNING" else None

    return dict(bench.until(closed, "the execution", 600))


def empty_listing(bench: Bench) -> str:
    bucket = bench.bucket()
    reader = {
        "Resource": "arn:aws:states:::s3:listObjectsV2",
        "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"},
        "Parameters": {"Bucket": bucket, "Prefix": "nothing/"},
    }
    ended = _run(bench, bench.machine(_map(bucket, ItemReader=reader), _read_all(bench, bucket)))
    return f"{ended['status']} {ended.get('error', '')} {ended.get('output', '')}".strip()


def list_bucket(bench: Bench) -> str:
    bucket = bench.bucket()
    role = bench.batch_role(bucket, prefixed=True)
    try:
        ended = bench.ended(bench.job(bucket, role, bench.lines(bucket, records())))
    except ClientError as error:
        return code_of(error)
    return f"{ended['status']} {ended.get('message', '')}".strip()


def caller_invoke(bench: Bench) -> str:
    bucket = bench.bucket()
    role, source = bench.batch_role(bucket), bench.lines(bucket, records())
    jobs = ["CreateModelInvocationJob", "GetModelInvocationJob", "StopModelInvocationJob"]
    pass_role = {"Action": "iam:PassRole", "Resource": role}
    create = {"Action": [f"bedrock:{each}" for each in jobs], "Resource": "*"}
    caller = bench.role("lambda.amazonaws.com", [create, pass_role])
    credentials = bench.assume(caller)
    return tried(bench.job, bucket, role, source, modelId=bench.place.profile, credentials=credentials)


def redrive_event(bench: Bench) -> str:
    states = bench.place.client("stepfunctions")
    role = bench.role("states.amazonaws.com", [{"Action": "states:*", "Resource": "*"}])
    fail = {"StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "Asked"}}}
    machine = bench.machine(fail, role)
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine]}}
    url = bench.queue(pattern)
    ended = _run(bench, machine)
    states.redrive_execution(executionArn=ended["executionArn"])
    at_once = states.describe_execution(executionArn=ended["executionArn"])
    found = bench.heard(url, lambda found: sum(e["detail"]["status"] == "FAILED" for e in found) > 1, 120)
    shown = [f"{each['detail']['status']} redriveCount={each['detail'].get('redriveCount')}" for each in found]
    return f"DescribeExecution at once: redriveCount={at_once.get('redriveCount')}; events: {', '.join(shown)}"


def schema_batch(bench: Bench) -> str:
    answers = []
    for model in (bench.place.model, bench.place.claude):
        bucket = bench.bucket()
        source = bench.lines(bucket, records(outputConfig=OUTPUT))
        try:
            job = bench.job(bucket, bench.batch_role(bucket), source, modelId=model)
            ended = bench.ended(job)
            first = next((line["error"] for line in bench.output(bucket, job) if "error" in line), "")
            answers.append(f"{model}: {ended['status']}, {ended.get('errorRecordCount')} errors {first}")
        except ClientError as error:
            answers.append(f"{model}: {code_of(error)}")
    return "; ".join(answers)


def schema_models(bench: Bench) -> str:
    runtime = bench.place.client("bedrock-runtime")
    models = [bench.place.model, bench.place.claude]
    return "; ".join(
        f"{model}: {tried(runtime.converse, modelId=model, **ask('Say 1.', outputConfig=OUTPUT))}" for model in models
    )


def _pictured(bucket: str, key: str, text: str) -> dict[str, Any]:
    source = {"s3Location": {"uri": f"s3://{bucket}/{key}"}}
    content = [{"image": {"format": "png", "source": source}}, {"text": text}]
    return {"messages": [{"role": "user", "content": content}], "inferenceConfig": {"maxTokens": 5}}


def missing_image(bench: Bench) -> str:
    bucket = bench.bucket()
    bench.place.client("s3").put_object(Bucket=bucket, Key="in/seen.png", Body=image())
    lines = [
        {"recordId": f"r{n}", "modelInput": _pictured(bucket, "in/none.png" if n == 7 else "in/seen.png", f"Say {n}.")}
        for n in range(RECORDS)
    ]
    bench.lines(bucket, lines)
    members = {"modelId": bench.place.profile.replace("micro", "lite")}
    try:
        job = bench.job(bucket, bench.batch_role(bucket), f"s3://{bucket}/in/", **members)
        ended = bench.ended(job)
    except ClientError as error:
        return code_of(error)
    errors = {line["recordId"]: line["error"] for line in bench.output(bucket, job) if "error" in line}
    return f"{ended['status']} {ended.get('message', '')}; {len(errors)} errors: {json.dumps(errors)[:300]}"


def media_size(bench: Bench) -> str:
    bucket, s3 = bench.bucket(), bench.place.client("s3")
    body = image() + b"\x00" * 4_500_000
    lines = []
    for number in range(1_200):
        s3.put_object(Bucket=bucket, Key=f"in/{number}.png", Body=body)
        lines.append({"recordId": f"r{number}", "modelInput": _pictured(bucket, f"in/{number}.png", "Say 1.")})
    bench.lines(bucket, lines)
    members = {"modelId": bench.place.profile.replace("micro", "lite")}
    job = bench.job(bucket, bench.batch_role(bucket), f"s3://{bucket}/in/", **members)
    bedrock = bench.place.client("bedrock")
    seen: dict[str, Any] = bench.until(
        lambda: (
            (found := bedrock.get_model_invocation_job(jobIdentifier=job))["status"] not in ("Submitted", "Validating")
            and found
        ),
        "the validation",
    )
    return f"5.4 GB of media: {seen['status']} {seen.get('message', '')}"


def s3_location(bench: Bench) -> str:
    bucket = bench.bucket()
    bench.place.client("s3").put_object(Bucket=bucket, Key="in/seen.png", Body=image())
    invoke = {"Action": "bedrock:InvokeModel", "Resource": "*"}
    objects = f"arn:{bench.place.partition}:s3:::{bucket}/*"
    answers = []
    for label, more in (("without s3:GetObject", []), ("with it", [{"Action": "s3:GetObject", "Resource": objects}])):
        credentials = bench.assume(bench.role("lambda.amazonaws.com", [invoke, *more]))
        runtime = bench.place.client("bedrock-runtime", credentials=credentials)
        body = _pictured(bucket, "in/seen.png", "Say 1.")
        model = bench.place.profile.replace("micro", "lite")
        answers.append(f"{label}: {tried(runtime.converse, modelId=model, **body)}")
    return "; ".join(answers)


def cache_control(bench: Bench) -> str:
    bucket = bench.bucket()
    content = [{"type": "text", "text": "Say 1.", "cache_control": {"type": "ephemeral"}}]
    body = {
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "Say 1."}],
    }  # fmt: skip
    lines = [{"recordId": f"r{n}", "modelInput": body} for n in range(RECORDS - 1)]
    lines.append({"recordId": "cached", "modelInput": {**body, "messages": [{"role": "user", "content": content}]}})
    source = bench.lines(bucket, lines)
    members = {"modelId": bench.place.claude, "modelInvocationType": "InvokeModel"}
    try:
        job = bench.job(bucket, bench.batch_role(bucket), source, **members)
        ended = bench.ended(job)
    except ClientError as error:
        return code_of(error)
    errors = {line["recordId"]: line["error"] for line in bench.output(bucket, job) if "error" in line}
    return f"{ended['status']}; errors: {json.dumps(errors)[:300]}"


def kms_via(bench: Bench) -> str:
    key = bench.key()
    bucket = bench.bucket(key)
    condition = {
        "StringEquals": {
            "kms:ViaService": f"s3.{bench.place.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": f"arn:{bench.place.partition}:s3:::{bucket}",
        }
    }
    use = {"Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key, "Condition": condition}
    try:
        ended = bench.ended(bench.job(bucket, bench.batch_role(bucket, use), bench.lines(bucket, records())))
    except ClientError as error:
        return code_of(error)
    return f"{ended['status']} {ended.get('message', '')}".strip()


def network_tags(bench: Bench) -> str:
    if not bench.place.subnets:
        return "not asked: name SUBNETS and SECURITY_GROUPS"
    bucket, ec2 = bench.bucket(), bench.place.client("ec2")
    network = {"Action": "ec2:*", "Resource": "*"}
    vpc = {"subnetIds": list(bench.place.subnets), "securityGroupIds": list(bench.place.security_groups)}
    job = bench.job(bucket, bench.batch_role(bucket, network), bench.lines(bucket, records()), vpcConfig=vpc)
    wanted = [{"Name": "subnet-id", "Values": list(bench.place.subnets)}]
    seen: dict[str, Any] = {}

    def look() -> bool:
        for each in ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]:
            seen.update({tag["Key"]: tag["Value"] for tag in each.get("TagSet", []) if "edrock" in tag["Key"]})
        status = bench.place.client("bedrock").get_model_invocation_job(jobIdentifier=job)["status"]
        return bool(seen) or status not in ("Submitted", "Validating", "Scheduled", "InProgress")

    bench.until(look, "a network interface")
    return json.dumps(seen) if seen else "no interface with such tags was seen"


def map_results_key(bench: Bench) -> str:
    key = bench.key()
    bucket = bench.bucket(key)
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "results"}}
    use = {"Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key}
    machine = bench.machine(_map(bucket, ItemsPath="$", ResultWriter=writer), _read_all(bench, bucket, use))
    ended = _run(bench, machine, "[1, 2]")
    return f"without kms:Encrypt: {ended['status']} {ended.get('error', '')} {ended.get('cause', '')}".strip()


_JOB = "a bucket, a role, a batch job of 100 records"

QUESTIONS = (
    Question("token", "Does a repeated clientRequestToken answer the first jobArn?", _JOB, CENT, token),
    Question("name", "Is a used jobName refused for ever?", _JOB, CENT, name),
    Question(
        "quota", "Are jobs above the quota refused or queued?", "as many jobs of 100 records as the quota has, and one",
        "some 0.50 USD", quota, heavy=True,
    ),
    Question("events", "Which statuses emit events?", f"{_JOB}, a rule and a queue", CENT, events),
    Question("record-ids", "Which characters may a recordId hold?", _JOB, CENT, record_ids),
    Question("partial", "What does the output of a job hold that did not finish?", _JOB, CENT, partial),
    Question("manifest", "When does manifest.json.out appear?", _JOB, CENT, manifest),
    Question(
        "task-tokens", "Can SendTaskSuccess be scoped for children of a Distributed Map?",
        "a machine, a queue, four roles", CENT, task_tokens,
    ),
    Question(
        "empty-listing", "Does an empty listing under LOAD_AND_FLATTEN succeed?", "a machine, a bucket, a role", CENT,
        empty_listing,
    ),
    Question(
        "list-bucket", "Does Bedrock's validation list the input bucket without a prefix?", _JOB, CENT, list_bucket,
    ),
    Question(
        "caller-invoke", "Does CreateModelInvocationJob with a profile ask the caller for bedrock:InvokeModel?", _JOB,
        CENT, caller_invoke,
    ),
    Question(
        "redrive-event", "Does a redrive send a RUNNING event with redriveCount, and does DescribeExecution agree?",
        "a machine, a rule, a queue, a role", CENT, redrive_event,
    ),
    Question(
        "schema-batch", "Do batch jobs of Converse take outputConfig?", f"{_JOB} for each model", "0.05 USD",
        schema_batch,
    ),
    Question("schema-models", "Which models take a schema on demand?", "nothing", CENT, schema_models),
    Question(
        "missing-image", "What does a job do with a record whose image is not there?", _JOB, "0.05 USD", missing_image,
    ),
    Question(
        "media-size", "Do images and documents count for the quota of a job's size?", f"{_JOB} with 5.4 GB of images",
        "0.20 USD, and traffic of 5.4 GB", media_size, heavy=True,
    ),
    Question(
        "s3-location", "Does on-demand inference read an S3 location by the caller's rights?", "a bucket, two roles",
        CENT, s3_location,
    ),
    Question(
        "cache-control", "Does Claude's cache_control in a batch record fail it?", _JOB, "0.05 USD", cache_control,
    ),
    Question(
        "kms-via", "Does Bedrock reach S3 in a way that KMS sees as kms:ViaService S3?", f"{_JOB}, a key (7 days)",
        "1 USD a month for the key, by the day", kms_via,
    ),
    Question(
        "network-tags", "Which tags does Bedrock put on the network interfaces of jobs in a VPC?",
        f"{_JOB} in subnets that you name", CENT, network_tags,
    ),
    Question(
        "map-results-key", "Does ResultWriter use kms:Encrypt?", "a machine, a bucket, a role, a key (7 days)",
        "1 USD a month for the key, by the day", map_results_key,
    ),
)  # fmt: skip
