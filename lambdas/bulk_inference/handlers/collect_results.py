"""State `Collect Results`: lands what a shard's job left, and says where its other records go."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.batch.collect_results import ShardTask, collect, next_state
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: the child's state, with `job`."""
    task = ShardTask.from_event(event)
    unit_context = wiring.unit_context(task.tenant, task.run, context)
    outcome = collect(task, unit_context)
    for metric, count in (
        ("RecordsLanded", "landed"),
        ("RecordsFailed", "failed"),
        ("RecordsUnprocessed", "unprocessed"),
    ):
        metrics.add_metric(metric, MetricUnit.Count, outcome["counts"][count])
    logger.info("results collected", run=task.run, unit=task.unit, **outcome)
    return next_state(task, unit_context, outcome)
