"""State `Order Results`: all result lines as one object in the corpus's order."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

from bulk_inference.assembly.exports import order_results
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    return order_results(services)
