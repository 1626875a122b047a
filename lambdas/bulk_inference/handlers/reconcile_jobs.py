"""Schedule: wakes the children of jobs whose event was lost."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import services
from bulk_inference.reconciliation import reconcile

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: whatever the schedule sends."""
    found = reconcile(
        services.environment().name,
        runs=services.runs_table(),
        jobs=services.batch_jobs(),
        tasks=services.task_tokens(),
    )
    metrics.add_metric("JobsAwaited", MetricUnit.Count, found.open)
    metrics.add_metric("JobsReconciled", MetricUnit.Count, found.answered)
    logger.info("jobs reconciled", **asdict(found))
    return asdict(found)
