"""Intake queue of priority high: each document inferred at once and settled for itself (ReportBatchItemFailures)."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from bulk_inference.handlers import intake_wiring
from bulk_inference.intake.consumer import DocumentConsumer, DocumentDelivery, arrivals, refused
from bulk_inference.intake.urgent_documents import infer_now

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Event: SQS messages. Those that are to come again are named in the answer."""
    consumer = DocumentConsumer(intake_wiring.consumer_services(intake_wiring.priority_of(event), context))
    messages = {one.message_id: one for one in intake_wiring.deliveries(event)}
    found, outcomes = arrivals(consumer, list(messages.values()))
    services = intake_wiring.window_services(context)

    def infer(one: DocumentDelivery) -> None:
        outcomes[one.message_id] = refused(lambda: infer_now(found[one.message_id], services))

    intake_wiring.side_by_side(infer, [one for one in messages.values() if one.message_id in found])

    def settle(message_id: str) -> str:
        outcome = consumer.settle(messages[message_id], outcomes[message_id])
        metrics.add_metric(f"Documents{outcome.capitalize()}", MetricUnit.Count, 1)
        return outcome

    return intake_wiring.answer(event, context, settle)
