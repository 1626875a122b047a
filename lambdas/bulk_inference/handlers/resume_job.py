"""EventBridge rule on batch job state changes: wakes the child that waits for a job that has ended."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import wiring
from bulk_inference.watch.reconcile import resume

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: "Batch Inference Job State Change". An error makes EventBridge deliver it again."""
    woken = resume(
        event,
        wiring.environment().name,
        runs=wiring.runs_table(),
        jobs=wiring.batch_jobs(),
        tasks=wiring.task_tokens(),
    )
    metrics.add_metric("JobsResumed", MetricUnit.Count, int(woken))
    logger.info("event followed", woken=woken, jobs=event.get("resources"))
    return {"woken": woken}
