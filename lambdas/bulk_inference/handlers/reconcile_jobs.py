"""Schedule: wakes children whose event was lost, stops what outlived its run, closes runs whose execution is over."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import wiring
from bulk_inference.watch.reconcile import reconcile

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: whatever the schedule sends."""
    found = reconcile(wiring.stop_services(context), wiring.task_tokens())
    for metric, count in (
        ("JobsAwaited", found.open),
        ("JobsReconciled", found.answered),
        ("TokensExpired", found.expired),
        ("JobsStopped", found.stopped),
        ("RunsAbandoned", found.abandoned),
        ("ReconciliationThrottled", len(found.throttled)),
    ):
        metrics.add_metric(metric, MetricUnit.Count, count)
    logger.info("reconciled", **asdict(found))
    return asdict(found)
