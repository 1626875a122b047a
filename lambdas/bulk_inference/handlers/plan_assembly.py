"""State `Plan Assembly`: looks at what a run has landed, and plans one pass over what is new."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

from bulk_inference.assembly.assembly import plan
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, execution, previous."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    return plan(services, event["execution"], int(event["previous"]))
