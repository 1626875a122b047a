"""The services that handlers of the intake hand to the logic."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSEvent, SQSRecord

from bulk_inference.aws import dynamodb, intake_queues, s3, sqs, stepfunctions
from bulk_inference.core.environment import IntakeEnvironment
from bulk_inference.core.ports import Depth
from bulk_inference.cut.cut_run import CutServices
from bulk_inference.handlers import wiring
from bulk_inference.handlers.guard import guarded
from bulk_inference.intake.consumer import ConsumerServices, DocumentDelivery
from bulk_inference.intake.document_outcomes import OutcomeServices
from bulk_inference.intake.intake_status import StatusServices
from bulk_inference.intake.pool_outcomes import PoolOutcomeServices
from bulk_inference.intake.pooling import PoolLimits, PoolServices, limits_of
from bulk_inference.intake.stored_prompts import prompt_key, read
from bulk_inference.intake.urgent_documents import WindowServices


@cache
def environment() -> IntakeEnvironment:
    return IntakeEnvironment.from_env()


def bucket(name: str) -> s3.Bucket:
    return s3.Bucket(name, s3.connect())


def table() -> dynamodb.RunsTable:
    return wiring.runs_table()


def queue(priority: str) -> intake_queues.IntakeQueue:
    return intake_queues.IntakeQueue(environment().intake_queues_url, priority, sqs.connect())


def outcomes(context: Any) -> OutcomeServices:
    return OutcomeServices(table(), wiring.completion_bus(), wiring.clock(context))


def consumer_services(priority: str, context: Any) -> ConsumerServices:
    return ConsumerServices(
        priority=priority,
        lane=queue(priority),
        input=wiring.input_bucket(),
        bucket=bucket,
        runs=table(),
        outcomes=outcomes(context),
        settings=wiring.settings(),
        clock=wiring.clock(context),
        max_receives=int(environment().intake_max_receives),
    )


def pool_services(context: Any) -> PoolServices:
    limits: dict[str, PoolLimits] = {
        priority: limits_of(given) for priority, given in json.loads(environment().intake_pools).items()
    }
    return PoolServices(
        input=wiring.input_bucket(),
        runs=table(),
        pipeline=stepfunctions.Pipeline(environment().pipeline_arn, stepfunctions.connect()),
        clock=wiring.clock(context),
        limits=limits.__getitem__,
        claim_ttl_days=wiring.settings().defaults.claim_ttl_days,
    )


def window_services(context: Any) -> WindowServices:
    clock = wiring.clock(context)

    def once(run: str, unit: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return guarded(
            work,
            table=wiring.environment().ledger_table,
            function="infer_documents",
            key={"run": run, "unit": unit},
            context=context,
        )

    return WindowServices(
        input=wiring.input_bucket(),
        output=wiring.output_bucket(),
        runs=table(),
        bus=wiring.completion_bus(),
        clock=clock,
        settings=wiring.settings(),
        cuts=CutServices(
            input_bucket=wiring.input_bucket(),
            output_bucket=wiring.output_bucket(),
            source_bucket=bucket,
            runs=table(),
            ledger=wiring.ledger(),
            executions=wiring.executions(),
            settings=wiring.settings(),
            now=clock.now(),
            leases=wiring.leases(),
        ),
        unit_context_of=lambda tenant, run: wiring.unit_context(tenant, run, context),
        once=once,
    )


def pool_outcome_services(context: Any) -> PoolOutcomeServices:
    executions = environment().pipeline_arn.replace(":stateMachine:", ":execution:")
    return PoolOutcomeServices(
        pools=pool_services(context),
        output=wiring.output_bucket(),
        ledger=wiring.ledger(),
        executions=wiring.executions(),
        bus=wiring.completion_bus(),
        execution_arn=lambda run: f"{executions}:{run}",
        spec_of=wiring.run_spec,
        settings=wiring.settings,
    )


def status_services(context: Any) -> StatusServices:
    def scope_of(tenant: str, prompt: str) -> str:
        source = wiring.input_bucket()
        return read(tenant, prompt, source.get(prompt_key(tenant, prompt)), source.name).scope

    return StatusServices(table(), wiring.clock(context), depth, scope_of)


def depth(priority: str) -> Depth:
    return queue(priority).depth()


def priority_of(event: dict[str, Any]) -> str:
    """Of the queue that the event's messages came from: its name ends so."""
    return str(event["Records"][0]["eventSourceARN"]).rpartition("-")[2]


def deliveries(event: dict[str, Any]) -> list[DocumentDelivery]:
    return [
        DocumentDelivery(
            message_id=record.message_id,
            body=record.body,
            receipt=record.receipt_handle,
            receives=int(record.attributes.approximate_receive_count),
            sent_at=int(record.attributes.sent_timestamp) // 1000,
            attributes={
                name: str(value["stringValue"])
                for name, value in (record.raw_event.get("messageAttributes") or {}).items()
                if value.get("stringValue")
            },
        )
        for record in SQSEvent(event).records
    ]


def side_by_side(work: Callable[[DocumentDelivery], None], messages: list[DocumentDelivery]) -> None:
    with ThreadPoolExecutor(max(1, len(messages)), "document") as threads:
        list(threads.map(work, messages))


def answer(event: dict[str, Any], context: Any, settle: Callable[[str], str]) -> PartialItemFailureResponse:
    """Partial batch response. `settle` says what became of a message, by its id; it raises for one to come again."""

    def one(record: SQSRecord) -> str:
        return settle(record.message_id)

    # A batch in which every message failed is a normal answer too: an error would slow the poller down.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
