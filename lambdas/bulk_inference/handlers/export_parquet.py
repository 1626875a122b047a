"""State `Export Parquet`: one group of result parts as a Parquet file."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

from bulk_inference.assembly.exports import export_parquet
from bulk_inference.assembly.part_groups import group_of
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, group (a line of parquet.jsonl)."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    return export_parquet(services, group_of(event))
