"""State `Infer Batch`: infers an item batch on demand, lands it, hands back what it had no time for."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import wiring
from bulk_inference.sync.infer_batch import Batch, infer_batch

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: BatchInput, Items."""
    batch = Batch.from_event(event)
    unit_context = wiring.unit_context(batch.tenant, batch.run, context)
    progress = infer_batch(batch, unit_context)
    metrics.add_metric("RecordsLanded", MetricUnit.Count, progress["done"]["landed"])
    metrics.add_metric("RecordsFailed", MetricUnit.Count, progress["done"]["failed"])
    logger.info("batch inferred", run=batch.run, unit=batch.unit, open=len(progress["rest"]), **progress["counts"])
    return batch.following(progress["rest"], progress["counts"])
