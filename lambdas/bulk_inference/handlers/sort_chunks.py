"""State `Sort Chunks`: lays lines of one group of parts out by where their document belongs."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

from bulk_inference.assembly.assembly import sort_chunks
from bulk_inference.assembly.part_groups import group_of
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, partitions, group (a line of sort.jsonl)."""
    services = wiring.assembly_services(event["tenant"], event["run"])
    return sort_chunks(services, group_of(event), int(event["partitions"]))
