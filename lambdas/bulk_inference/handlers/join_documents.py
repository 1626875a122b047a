"""State `Join Documents`: tells what the documents of one partition have come to."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.assembly.assembly import join_documents
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, revision, partition."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    joined = join_documents(services, int(event["revision"]), int(event["partition"]))
    metrics.add_metric("DocumentsComplete", MetricUnit.Count, joined["counts"].get("complete", 0))
    return joined
