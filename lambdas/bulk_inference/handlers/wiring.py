"""The services that handlers of inference hand to the logic, made at the first invocation and kept."""

import time
from functools import cache, lru_cache
from typing import Any

from bulk_inference.assembly.assembly import AssemblyServices
from bulk_inference.aws import bedrock, bedrock_runtime, dynamodb, events, s3, sqs, stepfunctions
from bulk_inference.core import names
from bulk_inference.core.environment import Environment, LaneEnvironment
from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.core.keys import Places
from bulk_inference.core.leases import Leases
from bulk_inference.core.ports import Clock
from bulk_inference.core.priorities import lane
from bulk_inference.core.run_spec import RunSpec
from bulk_inference.core.settings import Settings
from bulk_inference.core.stored_run import load_spec
from bulk_inference.land.scope_landings import ScopeLandings
from bulk_inference.land.unit_context import UnitContext
from bulk_inference.sync.inference import WIDTH
from bulk_inference.watch.stop_run import StopServices


@cache
def environment() -> Environment:
    return Environment.from_env()


@cache
def lane_environment() -> LaneEnvironment:
    return LaneEnvironment.from_env()


def input_bucket() -> s3.Bucket:
    return s3.Bucket(environment().input_bucket, s3.connect())


def output_bucket() -> s3.Bucket:
    return s3.Bucket(environment().output_bucket, s3.connect())


def runs_table() -> dynamodb.RunsTable:
    return dynamodb.RunsTable(environment().runs_table, dynamodb.connect())


def leases() -> Leases:
    return Leases(runs_table(), time.time)


def batch_jobs() -> bedrock.ModelInvocationJobs:
    return bedrock.ModelInvocationJobs(bedrock.connect())


def task_tokens() -> stepfunctions.TaskTokens:
    return stepfunctions.TaskTokens(stepfunctions.connect())


def executions() -> stepfunctions.Executions:
    return stepfunctions.Executions(stepfunctions.connect())


def ledger() -> dynamodb.Ledger:
    return dynamodb.Ledger(environment().ledger_table, dynamodb.connect())


def message_lane(queue_arn: str) -> sqs.MessageLane:
    """The reprocess queue of this ARN."""
    url = sqs.sibling_url(environment().reprocess_queue_url, queue_arn)
    return sqs.MessageLane(url, lane_environment().dead_letter_queue_url, sqs.connect())


def dead_letters() -> sqs.DeadLetterQueue:
    return sqs.DeadLetterQueue(
        lane_environment().dead_letter_queue_url, environment().reprocess_queue_url, sqs.connect()
    )


def pipeline() -> stepfunctions.Pipeline:
    return stepfunctions.Pipeline(lane_environment().pipeline_arn, stepfunctions.connect())


def assemblies() -> stepfunctions.Pipeline:
    return stepfunctions.Pipeline(lane_environment().assembly_arn, stepfunctions.connect())


def settings() -> Settings:
    """The module's settings, as Terraform wrote them."""
    value = input_bucket().get_json(environment().settings_key)
    if value is None:
        raise InvalidRequestError(
            f"s3://{environment().input_bucket}/{environment().settings_key} does not exist: apply the module"
        )
    return Settings.from_json(value)


def completion_bus() -> events.CompletionBus:
    return events.CompletionBus(environment().event_bus_name, events.connect())


@lru_cache(maxsize=64)
def run_spec(tenant: str, run: str) -> RunSpec:
    """The run as planned. It is written once, so that it may be kept."""
    return load_spec(input_bucket(), Places(tenant, run))


def clock(context: Any) -> Clock:
    """Time of one invocation; `context` is Lambda's."""
    return Clock(time.time, lambda: context.get_remaining_time_in_millis() / 1000, time.sleep)


def stop_services(context: Any) -> StopServices:
    return StopServices(
        name=environment().name,
        output=output_bucket(),
        runs=runs_table(),
        jobs=batch_jobs(),
        executions=executions(),
        bus=completion_bus(),
        clock=clock(context),
        spec_of=run_spec,
        leases=leases(),
    )


def assembly_services(tenant: str, run: str) -> AssemblyServices:
    spec, output, runs, now = run_spec(tenant, run), output_bucket(), runs_table(), time.time()
    shared = spec.scope != names.own_scope(run)
    elsewhere = ScopeLandings(tenant, spec.scope, output, runs, ledger(), now) if shared else None
    return AssemblyServices(spec, input_bucket(), output, runs, now, leases(), elsewhere)


def unit_context(tenant: str, run: str, context: Any, *, longest_call: int | None = None) -> UnitContext:
    """`longest_call`: seconds after which a call of the model is given up, and not tried again; None: the defaults."""
    env, spec = environment(), run_spec(tenant, run)
    calls = {} if longest_call is None else {"sdk_attempts": 1, "read_timeout": longest_call}
    return UnitContext(
        spec=spec,
        input=input_bucket(),
        output=output_bucket(),
        runs=runs_table(),
        ledger=ledger(),
        queue=sqs.ReprocessQueue(lane(env.reprocess_queue_url, spec.priority), sqs.connect()),
        jobs=batch_jobs(),
        model=bedrock_runtime.Runtime(bedrock_runtime.connect(max_connections=2 * WIDTH, **calls)),
        clock=clock(context),
        executions=executions(),
        leases=leases(),
        settings=settings,
    )
