"""Who may do what: one row for each kind of call that a role of the pipeline makes, with every role that may make it.

The rows come from the code (`lambdas/bulk_inference/aws/`, and what each handler hands its bucket, table or queue) and
from the service integrations of `asl/`. A role that is not named in a row must be denied: the simulation
(`test_simulation.py`) tries all roles on all rows. `tests/end_to_end/test_isolation.py` holds what the roles really do
on the local AWS against the same rows.

In resources `{tenant}`, `{run}`, `{name}` and `{id}` stand for what varies; the rest is literal.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch

from tests.iam import stars

ACCOUNT, REGION = "123456789012", "us-east-1"


def places(name: str, input_bucket: str, output_bucket: str, bus: str) -> dict[str, str]:
    """What the placeholders of resources stand for in a pipeline called `name`."""
    return {
        "input": f"arn:aws:s3:::{input_bucket}",
        "output": f"arn:aws:s3:::{output_bucket}",
        "ledger": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}-ledger",
        "runs": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}-runs",
        "queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
        "jobs": f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job",
        "machine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}",
        "execution": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{name}",
        "map_run": f"arn:aws:states:{REGION}:{ACCOUNT}:mapRun:{name}",
        "function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
        "log": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{name}",
        "bus": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}",
        "default_bus": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        "sync_rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
        "interface": f"arn:aws:ec2:{REGION}:{ACCOUNT}:network-interface",
        "subnet": f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-0a1b2c3d",
        # What stands in source_buckets of tests/iam/stacks/brought.
        "source": "arn:aws:s3:::company-archive",
        "source_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/aaaaabcd-12ab-34cd-56ef-1234567890ab",
        "account": ACCOUNT,
        "prefix": name,
    }


MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.{MODEL}"

BATCH = "batch-{tenant}"
"""The role of the batch jobs of a row's own tenant."""

WAY_IN = "run-{tenant}"
"""The role of the state machine by which a row's own tenant starts its runs."""

# `batch-*` and `run-*` are those of all tenants.


@dataclass(frozen=True)
class Duty:
    """One kind of call: the IAM action, on what, in which context, by whom."""

    action: str
    resource: str
    roles: frozenset[str]
    context: Mapping[str, str] = field(default_factory=dict)

    def is_of(self, role: str, tenant: str) -> bool:
        """Whether it is this role's duty, where the resource is this tenant's."""
        return any(fnmatch(role, each.replace("{tenant}", tenant)) for each in self.roles)


_ASSEMBLE = "close_assembly export_parquet join_documents order_results plan_assembly sort_chunks"

FUNCTIONS_OF: dict[str, str] = {
    "pipeline": "plan_run cut_shards seal_shards finish_run",
    "shard_and_submit": "submit_job collect_results infer_batch",
    "fan_out": "infer_batch",
    "run-*": "redrive_failures",
    "assemble_results": _ASSEMBLE,
    "reconcile_schedule": "reconcile_jobs",
    "follow_schedule": "follow_pools",
    "update_schedule": "update_runs",
}
"""Role → the functions that it invokes."""

CHILDREN: dict[str, str] = {
    "pipeline": "CutCorpus",
    "shard_and_submit": "SubmitShards",
    "fan_out": "InferBatches",
    "assemble_results": "SortParts JoinPartitions ExportParts",
}
"""State machine → the labels of its Distributed Maps."""

ASYNCHRONOUS = "resume_job reconcile_jobs stop_run update_runs"
"""Functions that nobody waits for: Lambda keeps what failed on every try."""

_READ_RUN_FILES = "plan_run cut_shards seal_shards submit_job collect_results infer_batch reprocess_records finish_run"
_READ_PLAN = f"{_READ_RUN_FILES} redrive_failures update_runs reconcile_jobs stop_run pipeline shard_and_submit"
_LAND = "collect_results infer_batch reprocess_records"
_KEEP_RUNS = (
    "plan_run seal_shards submit_job collect_results infer_batch reprocess_records redrive_failures update_runs "
    "reconcile_jobs finish_run stop_run"
)
_MACHINES = "pipeline shard_and_submit fan_out"
_ANSWER_TOKENS = "submit_job resume_job reconcile_jobs"
_WATCH = "reconcile_jobs stop_run"
_SETTLE = "update_runs stop_run reconcile_jobs"
_WAYS_IN = "run-*"
_INFER = "plan_run infer_batch reprocess_records"
_INFER_ALL = f"{_INFER} infer_documents"

_S3 = {
    "s3:GetObject": {
        # cut_shards and plan_run read corpora wherever they lie in the input bucket.
        "{input}/config/settings.json": f"{_INFER} cut_shards submit_job redrive_failures",
        "{input}/{tenant}/corpus/{name}": "plan_run cut_shards submit_job infer_batch reprocess_records fan_out",
        "{input}/{tenant}/runs/{run}/plan/{name}": _READ_PLAN,
        "{input}/{tenant}/runs/{run}/shards/{name}": f"{_READ_RUN_FILES} {BATCH}",
        "{input}/{tenant}/runs/{run}/index/{name}": _READ_RUN_FILES,
        "{input}/{tenant}/runs/{run}/sync/{name}": f"{_READ_RUN_FILES} fan_out",
        "{output}/{tenant}/runs/{run}/results/{name}": f"{_LAND} cut_shards finish_run {_SETTLE}",
        "{output}/{tenant}/runs/{run}/results/part-reprocess-{name}": (
            f"{_LAND} cut_shards finish_run redrive_failures {_SETTLE}"
        ),
        "{output}/{tenant}/runs/{run}/failures/{name}": f"{_LAND} cut_shards finish_run redrive_failures update_runs",
        "{output}/{tenant}/runs/{run}/parked/{name}": f"{_LAND} finish_run",
        "{output}/{tenant}/runs/{run}/manifest.json": f"{_LAND} finish_run {_SETTLE}",
        "{output}/{tenant}/runs/{run}/report.html": f"{_LAND} finish_run {_SETTLE}",
        "{output}/{tenant}/runs/{run}/map-runs/{name}": f"{_LAND} finish_run {_MACHINES}",
        "{output}/{tenant}/jobs/{run}/{name}": f"collect_results finish_run {BATCH}",
    },
    "s3:PutObject": {
        "{input}/config/settings.json": "",
        "{input}/{tenant}/corpus/{name}": "",
        "{input}/{tenant}/runs/{run}/plan/{name}": "plan_run cut_shards seal_shards collect_results",
        "{input}/{tenant}/runs/{run}/plan/ranges.jsonl": (
            "plan_run cut_shards seal_shards collect_results redrive_failures"
        ),
        "{input}/{tenant}/runs/{run}/shards/{name}": "cut_shards seal_shards collect_results submit_job",
        "{input}/{tenant}/runs/{run}/index/{name}": "cut_shards seal_shards collect_results infer_documents",
        "{input}/{tenant}/runs/{run}/sync/{name}": "cut_shards seal_shards collect_results",
        "{output}/{tenant}/runs/{run}/plan/report.json": f"plan_run {_LAND} infer_documents",
        "{output}/{tenant}/runs/{run}/plan/report.txt": f"plan_run {_LAND} infer_documents",
        "{output}/{tenant}/runs/{run}/plan/report.canary.jsonl": f"plan_run {_LAND} infer_documents",
        "{output}/{tenant}/runs/{run}/results/{name}": _LAND,
        # Whoever settles a failed record takes the name of its part from a worker that was frozen.
        "{output}/{tenant}/runs/{run}/results/part-reprocess-{name}": f"{_LAND} redrive_failures update_runs",
        "{output}/{tenant}/runs/{run}/failures/{name}": f"{_LAND} cut_shards",
        "{output}/{tenant}/runs/{run}/parked/{name}": _LAND,
        "{output}/{tenant}/runs/{run}/manifest.json": f"{_LAND} finish_run update_runs {_WATCH}",
        "{output}/{tenant}/runs/{run}/report.html": f"{_LAND} finish_run update_runs {_WATCH}",
        "{output}/{tenant}/runs/{run}/map-runs/{name}": f"{_LAND} {_MACHINES}",
        "{output}/{tenant}/jobs/{run}/{name}": BATCH,
    },
    # Nobody deletes, changes rights or turns encryption off.
    "s3:DeleteObject": {"{input}/{tenant}/corpus/{name}": "", "{output}/{tenant}/runs/{run}/results/{name}": ""},
    "s3:PutBucketPolicy": {"{input}": "", "{output}": ""},
    "s3:PutEncryptionConfiguration": {"{input}": "", "{output}": ""},
}

_TABLES = {
    "dynamodb:PartiQLInsert": {"{ledger}": _LAND, "{runs}": ""},
    "dynamodb:BatchGetItem": {
        "{ledger}": f"{_LAND} cut_shards update_runs",
        "{runs}": "submit_job collect_results infer_batch reprocess_records reconcile_jobs finish_run stop_run",
    },
    "dynamodb:GetItem": {"{ledger}": _LAND, "{runs}": f"{_KEEP_RUNS} cut_shards resume_job"},
    "dynamodb:PutItem": {"{ledger}": _LAND, "{runs}": f"{_KEEP_RUNS} cut_shards resume_job"},
    "dynamodb:UpdateItem": {"{ledger}": _LAND, "{runs}": f"{_KEEP_RUNS} cut_shards resume_job"},
    "dynamodb:DeleteItem": {
        "{ledger}": _LAND,
        "{runs}": (
            "submit_job resume_job collect_results infer_batch reprocess_records redrive_failures update_runs "
            "reconcile_jobs finish_run stop_run"
        ),
    },
    "dynamodb:Query": {"{ledger}": "", "{runs}": _KEEP_RUNS},
    "dynamodb:Scan": {"{ledger}": "", "{runs}": ""},
    "dynamodb:DeleteTable": {"{ledger}": "", "{runs}": ""},
}

_QUEUES = {
    "sqs:SendMessage": {
        "{queue}-reprocess": f"{_LAND} redrive_failures",
        "{queue}-reprocess-high": f"{_LAND} redrive_failures",
        "{queue}-reprocess-low": f"{_LAND} redrive_failures",
        "{queue}-reprocess-dead-letter": "reprocess_records",
        "{queue}-undelivered": f"{ASYNCHRONOUS} reconcile_schedule update_schedule",
    },
    "sqs:ReceiveMessage": {
        "{queue}-reprocess": "reprocess_records",
        "{queue}-reprocess-high": "reprocess_records",
        "{queue}-reprocess-low": "reprocess_records",
        "{queue}-reprocess-dead-letter": "redrive_failures",
        "{queue}-undelivered": "",
    },
    "sqs:DeleteMessage": {
        "{queue}-reprocess": "reprocess_records",
        "{queue}-reprocess-high": "reprocess_records",
        "{queue}-reprocess-low": "reprocess_records",
        "{queue}-reprocess-dead-letter": "redrive_failures",
        "{queue}-undelivered": "",
    },
    "sqs:ChangeMessageVisibility": {
        "{queue}-reprocess": "reprocess_records",
        "{queue}-reprocess-high": "reprocess_records",
        "{queue}-reprocess-low": "reprocess_records",
        "{queue}-reprocess-dead-letter": "redrive_failures",
    },
    "sqs:GetQueueAttributes": {
        "{queue}-reprocess": "reprocess_records redrive_failures",
        "{queue}-reprocess-high": "reprocess_records redrive_failures",
        "{queue}-reprocess-low": "reprocess_records redrive_failures",
        "{queue}-reprocess-dead-letter": "redrive_failures",
    },
    "sqs:StartMessageMoveTask": {"{queue}-reprocess-dead-letter": "redrive_failures", "{queue}-undelivered": ""},
    "sqs:ListMessageMoveTasks": {"{queue}-reprocess-dead-letter": "redrive_failures"},
    "sqs:PurgeQueue": {"{queue}-reprocess": "", "{queue}-reprocess-dead-letter": ""},
}

_BEDROCK = {
    "bedrock:CreateModelInvocationJob": {
        PROFILE: "submit_job",
        f"arn:aws:bedrock:{{destination}}::foundation-model/{MODEL}": "submit_job",
        f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-lite-v1:0": "submit_job",
        "{jobs}/{id}": "submit_job",
        # Not one of the pipeline's models.
        f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-pro-v1:0": "",
    },
    "bedrock:TagResource": {"{jobs}/{id}": "submit_job"},
    "bedrock:GetModelInvocationJob": {"{jobs}/{id}": f"submit_job resume_job collect_results {_WATCH}"},
    "bedrock:StopModelInvocationJob": {"{jobs}/{id}": _WATCH},
    "bedrock:ListModelInvocationJobs": {"*": f"submit_job collect_results {_WATCH}"},
    "bedrock:InvokeModel": {
        PROFILE: f"{_INFER} batch-*",
        f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-lite-v1:0": f"{_INFER} batch-*",
        # Only through the profile, but for the role of batch jobs (see docs/accepted-risks.md).
        f"arn:aws:bedrock:{{destination}}::foundation-model/{MODEL}": "batch-*",
        f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-pro-v1:0": "",
    },
    "servicequotas:GetServiceQuota": {
        f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:bedrock/{{id}}": "plan_run",
        f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:ec2/L-1216C47A": "",
    },
    "servicequotas:ListServiceQuotas": {"*": "plan_run"},
    "servicequotas:ListAWSDefaultServiceQuotas": {"*": "plan_run"},
    "servicequotas:GetAWSDefaultServiceQuota": {"*": "plan_run"},
}

_STATES = {
    "states:SendTaskSuccess": {
        "{machine}-shard_and_submit": _ANSWER_TOKENS,
        # A child of its map.
        "{machine}-shard_and_submit/{id}": _ANSWER_TOKENS,
        "{machine}-pipeline": "",
        "{machine}-fan_out": "",
    },
    "states:SendTaskFailure": {"{machine}-shard_and_submit": _ANSWER_TOKENS, "{machine}-pipeline": ""},
    "states:StartExecution": {
        "{machine}-pipeline": f"pipeline redrive_failures {_WAYS_IN}",
        "{machine}-shard_and_submit": "pipeline shard_and_submit",
        "{machine}-fan_out": "pipeline fan_out",
    },
    "states:DescribeExecution": {
        "{execution}-pipeline:{id}": f"pipeline cut_shards {_LAND} {_WATCH}",
        "{execution}-pipeline:{tenant}_{id}": f"pipeline cut_shards {_LAND} {_WATCH} {WAY_IN}",
        "{execution}-shard_and_submit:{id}": f"pipeline shard_and_submit {_WATCH}",
        "{execution}-fan_out:{id}": f"pipeline fan_out {_WATCH}",
    },
    "states:StopExecution": {
        # An operator ends a run; the pipeline's own right is for the children of its map.
        "{execution}-pipeline:{id}": "pipeline",
        "{execution}-pipeline:{tenant}_{id}": f"pipeline {WAY_IN}",
        "{execution}-shard_and_submit:{id}": f"pipeline shard_and_submit {_WATCH}",
        "{execution}-fan_out:{id}": f"pipeline fan_out {_WATCH}",
    },
    "states:ListMapRuns": {
        "{execution}-pipeline:{id}": _WATCH,
        "{execution}-shard_and_submit:{id}": _WATCH,
        "{execution}-fan_out:{id}": _WATCH,
    },
    "events:PutEvents": {"{bus}": f"finish_run update_runs {_WATCH}", "{default_bus}": ""},
    "events:PutRule": {
        "{sync_rule}": f"pipeline {_WAYS_IN}",
        f"arn:aws:events:{REGION}:{ACCOUNT}:rule/tickets-resume_job": "",
    },
    "events:PutTargets": {"{sync_rule}": f"pipeline {_WAYS_IN}"},
    "events:DescribeRule": {"{sync_rule}": f"pipeline {_WAYS_IN}"},
    "iam:CreateRole": {f"arn:aws:iam::{ACCOUNT}:role/another": ""},
    "sts:AssumeRole": {f"arn:aws:iam::{ACCOUNT}:role/tickets-batch-acme-{REGION}": ""},
}

# Of runs whose results are assembled: documents joined of their chunks, Parquet, ordered results.
_ASSEMBLY = {
    "s3:GetObject": {
        "{input}/{tenant}/runs/{run}/plan/{name}": _ASSEMBLE,
        "{input}/{tenant}/runs/{run}/reductions/{name}": f"{_READ_RUN_FILES} join_documents",
        "{input}/{tenant}/runs/{run}/index/{name}": "sort_chunks",
        "{output}/{tenant}/runs/{run}/results/{name}": "export_parquet order_results sort_chunks join_documents",
        "{output}/{tenant}/runs/{run}/results/part-reprocess-{name}": (
            "export_parquet order_results sort_chunks join_documents"
        ),
        "{output}/{tenant}/runs/{run}/map-runs/{name}": "assemble_results",
        "{output}/{tenant}/runs/{run}/assembly/{name}": (
            f"assemble_results plan_assembly join_documents close_assembly {_LAND} finish_run"
        ),
        # What is written on condition of what is there: that needs the right to read it.
        "{output}/{tenant}/runs/{run}/assembly/sorted/{name}": (
            f"sort_chunks assemble_results plan_assembly join_documents close_assembly {_LAND} finish_run"
        ),
        "{output}/{tenant}/runs/{run}/documents/part-{name}": f"join_documents {_LAND} finish_run",
        "{output}/{tenant}/runs/{run}/documents/partial.jsonl": f"join_documents close_assembly {_LAND} finish_run",
        "{output}/{tenant}/runs/{run}/parquet/{name}": f"export_parquet {_LAND} finish_run",
        "{output}/{tenant}/runs/{run}/results-ordered.jsonl": f"order_results {_LAND} finish_run",
    },
    "dynamodb:BatchGetItem": {"{ledger}": "join_documents"},
    "s3:PutObject": {
        "{input}/{tenant}/runs/{run}/reductions/{name}": "join_documents cut_shards seal_shards collect_results",
        "{output}/{tenant}/runs/{run}/map-runs/{name}": "assemble_results",
        "{output}/{tenant}/runs/{run}/assembly/{name}": f"plan_assembly {_LAND}",
        "{output}/{tenant}/runs/{run}/assembly/plan-{name}": f"plan_assembly {_LAND}",
        "{output}/{tenant}/runs/{run}/assembly/sorted/{name}": f"sort_chunks plan_assembly {_LAND}",
        "{output}/{tenant}/runs/{run}/assembly/partial/{name}": f"join_documents plan_assembly {_LAND}",
        "{output}/{tenant}/runs/{run}/documents/part-{name}": f"join_documents {_LAND}",
        "{output}/{tenant}/runs/{run}/documents/partial.jsonl": f"join_documents close_assembly {_LAND}",
        "{output}/{tenant}/runs/{run}/parquet/{name}": f"export_parquet {_LAND}",
        "{output}/{tenant}/runs/{run}/results-ordered.jsonl": f"order_results {_LAND}",
    },
    "dynamodb:GetItem": {"{runs}": "close_assembly join_documents plan_assembly"},
    "dynamodb:PutItem": {"{runs}": "close_assembly join_documents plan_assembly"},
    "dynamodb:UpdateItem": {"{runs}": "close_assembly order_results"},
    "dynamodb:Query": {"{runs}": "close_assembly plan_assembly"},
    "states:StartExecution": {
        "{machine}-pipeline": "assemble_results",
        "{machine}-assemble_results": "pipeline assemble_results update_runs",
    },
    "states:DescribeExecution": {
        "{execution}-pipeline:{id}": "assemble_results",
        "{execution}-pipeline:{tenant}_{id}": "assemble_results",
        "{execution}-assemble_results:{id}": "pipeline assemble_results update_runs",
    },
    "states:StopExecution": {
        "{execution}-pipeline:{id}": "assemble_results",
        "{execution}-pipeline:{tenant}_{id}": "assemble_results",
        "{execution}-assemble_results:{id}": "pipeline assemble_results",
    },
    "events:PutRule": {"{sync_rule}": "assemble_results"},
    "events:PutTargets": {"{sync_rule}": "assemble_results"},
    "events:DescribeRule": {"{sync_rule}": "assemble_results"},
}

# Of documents that come one by one.
_TAKE = "infer_documents pool_documents"

_INTAKE = {
    "s3:GetObject": {
        "{input}/config/settings.json": f"{_TAKE} follow_pools",
        "{input}/{tenant}/corpus/{name}": _TAKE,
        "{input}/{tenant}/prompts/{name}": f"{_TAKE} intake_status follow_pools plan_run cut_shards",
        "{input}/{tenant}/intake/{name}": f"{_TAKE} follow_pools plan_run cut_shards",
        "{input}/{tenant}/runs/{run}/plan/{name}": "infer_documents follow_pools",
        "{input}/{tenant}/runs/{run}/shards/{name}": "infer_documents",
        "{input}/{tenant}/runs/{run}/index/{name}": "infer_documents",
        "{input}/{tenant}/runs/{run}/sync/{name}": "infer_documents",
        "{input}/{tenant}/runs/{run}/reductions/{name}": "infer_documents",
        **{
            f"{{output}}/{{tenant}}/runs/{{run}}/{part}": "infer_documents follow_pools"
            for part in (
                "results/{name}",
                "results/part-reprocess-{name}",
                "assembly/sorted/{name}",
                "documents/part-{name}",
                "documents/partial.jsonl",
                "parquet/{name}",
                "results-ordered.jsonl",
                "report.html",
                "failures/{name}",
                "parked/{name}",
                "manifest.json",
                "map-runs/{name}",
                "assembly/{name}",
            )
        },
    },
    "s3:PutObject": {
        "{input}/{tenant}/prompts/{name}": "",
        "{input}/{tenant}/intake/pool/{name}": "pool_documents follow_pools",
        "{input}/{tenant}/intake/{run}/documents/{name}": "infer_documents pool_documents follow_pools",
        "{input}/{tenant}/intake/{run}/chunks/{name}": "pool_documents follow_pools",
        "{input}/{tenant}/intake/{run}/corpus.jsonl": "pool_documents follow_pools",
        "{input}/{tenant}/intake/{run}/request.json": "pool_documents follow_pools",
        "{input}/{tenant}/runs/{run}/plan/{name}": "infer_documents",
        "{input}/{tenant}/runs/{run}/plan/ranges.jsonl": "infer_documents",
        "{input}/{tenant}/runs/{run}/shards/{name}": "infer_documents",
        **{
            f"{{output}}/{{tenant}}/runs/{{run}}/{part}": "infer_documents"
            for part in (
                "results/{name}",
                "results/part-reprocess-{name}",
                "parked/{name}",
                "failures/{name}",
                "map-runs/{name}",
                "assembly/{name}",
                "assembly/plan-{name}",
                "assembly/sorted/{name}",
                "assembly/partial/{name}",
                "documents/part-{name}",
                "documents/partial.jsonl",
                "parquet/{name}",
                "results-ordered.jsonl",
            )
        },
        "{output}/{tenant}/runs/{run}/manifest.json": "infer_documents follow_pools",
        "{output}/{tenant}/runs/{run}/report.html": "infer_documents follow_pools",
    },
    "dynamodb:PartiQLInsert": {"{ledger}": "infer_documents"},
    "dynamodb:BatchGetItem": {"{ledger}": "infer_documents follow_pools"},
    "dynamodb:GetItem": {"{ledger}": "infer_documents", "{runs}": f"{_TAKE} follow_pools intake_status"},
    "dynamodb:PutItem": {"{ledger}": "infer_documents", "{runs}": f"{_TAKE} follow_pools"},
    "dynamodb:UpdateItem": {"{ledger}": "infer_documents", "{runs}": "infer_documents follow_pools"},
    "dynamodb:DeleteItem": {"{ledger}": "infer_documents", "{runs}": f"{_TAKE} follow_pools"},
    "dynamodb:Query": {"{runs}": f"{_TAKE} follow_pools intake_status"},
    "sqs:SendMessage": {
        "{queue}-intake-high": "infer_documents",
        "{queue}-intake-high-dead-letter": "infer_documents",
        "{queue}-intake-normal": "pool_documents",
        "{queue}-intake-normal-dead-letter": "pool_documents",
        "{queue}-reprocess": "infer_documents",
        "{queue}-reprocess-high": "infer_documents",
        "{queue}-reprocess-low": "infer_documents",
        "{queue}-undelivered": "follow_pools follow_schedule",
    },
    "sqs:ReceiveMessage": {
        "{queue}-intake-high": "infer_documents",
        "{queue}-intake-normal": "pool_documents",
        "{queue}-intake-low": "pool_documents",
    },
    "sqs:DeleteMessage": {
        "{queue}-intake-high": "infer_documents",
        "{queue}-intake-normal": "pool_documents",
        "{queue}-intake-low": "pool_documents",
    },
    "sqs:GetQueueAttributes": {
        "{queue}-intake-high": "infer_documents follow_pools intake_status",
        "{queue}-intake-normal": "pool_documents follow_pools intake_status",
        "{queue}-intake-low": "pool_documents follow_pools intake_status",
        "{queue}-intake-high-dead-letter": "follow_pools intake_status",
        "{queue}-intake-normal-dead-letter": "follow_pools intake_status",
        "{queue}-intake-low-dead-letter": "follow_pools intake_status",
    },
    "sqs:ChangeMessageVisibility": {
        "{queue}-intake-high": "infer_documents",
        "{queue}-intake-normal": "pool_documents",
        "{queue}-intake-low": "pool_documents",
    },
    "bedrock:InvokeModel": {
        PROFILE: "infer_documents",
        f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-lite-v1:0": "infer_documents",
    },
    "states:StartExecution": {"{machine}-pipeline": "pool_documents follow_pools"},
    "states:DescribeExecution": {
        "{execution}-pipeline:{id}": "infer_documents follow_pools",
        "{execution}-pipeline:{tenant}_{id}": "infer_documents follow_pools",
    },
    "events:PutEvents": {"{bus}": f"{_TAKE} follow_pools"},
}

_TO_BEDROCK = {"iam:PassedToService": "bedrock.amazonaws.com"}


def duties(functions: list[str]) -> Iterator[Duty]:
    """Every row; `functions` are the handlers that there are."""
    rows: dict[tuple[str, str], set[str]] = {}
    for table in (_S3, _TABLES, _QUEUES, _BEDROCK, _STATES, _ASSEMBLY, _INTAKE):
        for action, resources in table.items():
            for resource, roles in resources.items():
                rows.setdefault((action, resource), set()).update(roles.split())
    for (action, resource), holders in rows.items():
        yield Duty(action, resource, frozenset(holders))
    for function in functions:
        callers = frozenset(role for role, invoked in FUNCTIONS_OF.items() if function in invoked.split())
        yield Duty("lambda:InvokeFunction", f"{{function}}-{function}", callers)
        # Whoever delivers logs of Step Functions needs it on everything (tests/iam/stars.py).
        machines = f"{_MACHINES} assemble_results {_WAYS_IN}".split()
        yield Duty("logs:PutLogEvents", f"{{log}}-{function}:log-stream:{{id}}", frozenset({function, *machines}))
    for machine, labels in CHILDREN.items():
        watchers = frozenset(_WATCH.split()) if machine != "assemble_results" else frozenset()
        for label in labels.split():
            child, map_run = f"{{execution}}-{machine}/{label}:{{id}}", f"{{map_run}}-{machine}/{label}:{{id}}"
            yield Duty("states:RedriveExecution", child, frozenset({machine}))
            yield Duty("states:DescribeExecution", child, watchers | {machine})
            yield Duty("states:ListExecutions", map_run, watchers)
            yield Duty("states:DescribeMapRun", map_run, watchers)
    yield from _interfaces(frozenset(functions))
    yield from _sources()
    inside = "arn:aws:iam::{account}:role{path}{prefix}-batch-{tenant}-" + REGION
    yield Duty("iam:PassRole", inside, frozenset({"submit_job"}), _TO_BEDROCK)
    yield Duty("iam:PassRole", inside, frozenset(), {"iam:PassedToService": "lambda.amazonaws.com"})
    yield Duty("iam:PassRole", "arn:aws:iam::{account}:role{path}admin", frozenset(), _TO_BEDROCK)
    through = {"bedrock:InferenceProfileArn": PROFILE}
    behind = f"arn:aws:bedrock:{{destination}}::foundation-model/{MODEL}"
    yield Duty("bedrock:InvokeModel", behind, frozenset(f"{_INFER_ALL} batch-*".split()), through)


def key_duties(functions: Iterable[str]) -> dict[str, frozenset[str]]:
    """Who does what with the pipeline's key, by action: everything lies encrypted in buckets, tables and queues.

    A service asks in the name of who calls it: Decrypt for what is read, GenerateDataKey for what is written.
    ResultWriter writes in parts and asks for Encrypt, too. Bedrock looks at the key before it takes a job. The batch
    roles' Decrypt and GenerateDataKey hold only inside a call of S3
    (test_a_batch_role_uses_the_key_through_s3_for_its_tenant).
    """
    machines = frozenset(CHILDREN)
    return {
        "kms:Decrypt": machines | frozenset(functions),
        "kms:GenerateDataKey": machines | frozenset(functions),
        "kms:Encrypt": machines,
        "kms:DescribeKey": frozenset({"batch-*"}),
        "kms:ReEncryptFrom": frozenset(),
        "kms:CreateGrant": frozenset(),
        "kms:PutKeyPolicy": frozenset(),
        "kms:ScheduleKeyDeletion": frozenset(),
    }


READS = {"s3:GetObject", "sqs:ReceiveMessage", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:BatchGetItem"}
WRITES = {"s3:PutObject", "sqs:SendMessage", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:PartiQLInsert"}
"""Calls on what is encrypted with the key, for which a service asks for Decrypt or GenerateDataKey."""


BESIDE = frozenset(
    {
        # Listing a bucket and completing an upload go with reading and writing it, the key with all of them.
        "s3:ListBucket",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "kms:Decrypt",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:DescribeKey",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
)
"""Actions that have no row of their own."""


def strangers(used: Iterable[tuple[str, str, str]], functions: list[str], places: Mapping[str, str]) -> list[str]:
    """What roles did that is nobody's row: `used` holds (role, action, resource), `places` what the literal
    placeholders stand for.
    """
    rows: dict[str, list[tuple[re.Pattern[str], Duty]]] = {}
    for duty in duties(functions):
        rows.setdefault(duty.action, []).append((_pattern(duty.resource, places), duty))
    return sorted(
        f"{role} {action} {resource}"
        for role, action, resource in used
        if action not in BESIDE
        and action not in stars.ALLOWED
        and not any(_holds(role, row, resource) for row in rows.get(action, []))
    )


def _holds(role: str, row: tuple[re.Pattern[str], Duty], resource: str) -> bool:
    pattern, duty = row
    match = pattern.fullmatch(resource)
    return match is not None and duty.is_of(role, match.groupdict().get("tenant") or "")


def _pattern(resource: str, places: Mapping[str, str]) -> re.Pattern[str]:
    varying = {
        "tenant": "(?P<tenant>[a-z0-9-]+)",
        "run": "[^/]+",
        "name": ".+",
        "id": ".+",
        "path": "/",
        "destination": "us-[a-z]+-[0-9]",
    }
    parts = re.split(r"\{(\w+)\}", resource)
    return re.compile(
        "".join(
            (varying.get(part) or re.escape(places[part])) if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


def _sources() -> Iterator[Duty]:
    """Other buckets: corpora, and images and documents that records point to."""
    listers = frozenset(["plan_run", "cut_shards", "pool_documents", "infer_documents"])
    readers = listers | frozenset(["submit_job", "infer_batch", "reprocess_records"])
    yield Duty("s3:GetObject", "{source}/mail/{name}", readers)
    yield Duty("s3:GetObject", "{source}/other/{name}", frozenset())
    yield Duty("s3:PutObject", "{source}/mail/{name}", frozenset())
    yield Duty("s3:ListBucket", "{source}", listers, {"s3:prefix": "mail/2026/"})
    yield Duty("s3:ListBucket", "{source}", frozenset(), {"s3:prefix": "other/"})
    yield Duty("kms:Decrypt", "{source_key}", readers)
    yield Duty("kms:GenerateDataKey", "{source_key}", frozenset())


def _interfaces(functions: frozenset[str]) -> Iterator[Duty]:
    """Lambda and Bedrock work on network interfaces under the roles of functions and batch jobs."""
    jobs = frozenset({"batch-*"})
    job = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/abcdefghijkl"
    tagged = {"aws:RequestTag/BedrockManaged": "true", "aws:RequestTag/BedrockModelInvocationJobArn": job}
    of_job = {"ec2:Subnet": "{subnet}", "ec2:ResourceTag/BedrockModelInvocationJobArn": job}
    yield Duty("ec2:CreateNetworkInterface", "{interface}/{id}", functions | jobs, tagged)
    yield Duty("ec2:CreateNetworkInterface", "{interface}/{id}", functions)
    yield Duty("ec2:CreateNetworkInterface", "{subnet}", functions | jobs)
    yield Duty("ec2:CreateNetworkInterface", "{subnet}0", functions)
    yield Duty("ec2:DeleteNetworkInterface", "{interface}/{id}", functions | jobs, of_job)
    yield Duty("ec2:DeleteNetworkInterface", "{interface}/{id}", functions)
    yield Duty("ec2:AssignPrivateIpAddresses", "{interface}/{id}", functions)
    yield Duty("ec2:UnassignPrivateIpAddresses", "{interface}/{id}", functions)
    for action in ("CreateNetworkInterfacePermission", "DeleteNetworkInterfacePermission"):
        yield Duty(f"ec2:{action}", "{interface}/{id}", jobs, of_job)
        yield Duty(f"ec2:{action}", "{interface}/{id}", frozenset())
    made = {"ec2:CreateAction": "CreateNetworkInterface", "aws:TagKeys": "BedrockManaged"}
    yield Duty("ec2:CreateTags", "{interface}/{id}", jobs, made)
    yield Duty("ec2:CreateTags", "{interface}/{id}", frozenset(), {**made, "ec2:CreateAction": "RunInstances"})
