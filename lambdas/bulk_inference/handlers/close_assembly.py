"""State `Close Assembly`: sums what one pass has come to, and names the reduction that is due."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

from bulk_inference.assembly.assembly import close
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, revision."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    return close(services, int(event["revision"]))
