"""Intake queues of priority normal and low: documents into pools, each settled for itself (ReportBatchItemFailures)."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from bulk_inference.core.errors import ThrottledError
from bulk_inference.handlers import intake_wiring
from bulk_inference.intake.consumer import DocumentConsumer, arrivals
from bulk_inference.intake.pooling import pool

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Event: SQS messages of one queue. Those that are to come again are named in the answer."""
    priority = intake_wiring.priority_of(event)
    consumer = DocumentConsumer(intake_wiring.consumer_services(priority, context))
    messages = {one.message_id: one for one in intake_wiring.deliveries(event)}
    found, outcomes = arrivals(consumer, list(messages.values()))
    try:
        pooled = pool(list(found.values()), priority, intake_wiring.pool_services(context))
    except ThrottledError as error:
        outcomes.update(dict.fromkeys(found, error))
    else:
        outcomes.update(zip(found, pooled, strict=True))

    def settle(message_id: str) -> str:
        outcome = consumer.settle(messages[message_id], outcomes[message_id])
        metrics.add_metric(f"Documents{outcome.capitalize()}", MetricUnit.Count, 1)
        return outcome

    return intake_wiring.answer(event, context, settle)
