"""Reprocess queues: one failed record a message, each settled for itself (ReportBatchItemFailures)."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from bulk_inference.failure_lane.reprocess import LaneConsumer, LaneDelivery, longest_call
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Event: SQS messages of one queue. Those that are to come again are named in the answer."""

    def settle(record: SQSRecord) -> str:
        delivery = LaneDelivery(record.body, record.receipt_handle, int(record.attributes.approximate_receive_count))
        outcome = consumer.settle(delivery)
        metrics.add_metric(f"Reprocessed{outcome.capitalize()}", MetricUnit.Count, 1)
        return outcome

    clock = wiring.clock(context)
    longest = longest_call(clock.remaining())
    consumer = LaneConsumer(
        wiring.message_lane(event["Records"][0]["eventSourceARN"]),
        clock,
        lambda message: wiring.unit_context(message.tenant, message.run, context, longest_call=longest),
    )
    # A batch in which every message failed is a normal answer too: an error would slow the poller down.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event=event, record_handler=settle, processor=processor, context=context)
