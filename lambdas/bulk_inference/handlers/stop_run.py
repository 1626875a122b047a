"""EventBridge rule on pipeline executions that failed, were aborted or timed out: stops the run's jobs."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.finishing import announce_stop
from bulk_inference.handlers import services
from bulk_inference.stopping import Stopping, stop

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: "Step Functions Execution Status Change"."""
    stopping = Stopping.from_event(event)
    metrics.add_metric("RunsStopped", MetricUnit.Count, int(stopping is not None))
    if stopping is None:
        return {"stopped": 0}
    runs = services.runs_table()
    stopped = stop(stopping, runs=runs, jobs=services.batch_jobs(), now=time.time())
    if stopped.meta is not None:
        announce_stop(stopped.meta, services.environment().output_bucket, runs=runs, bus=services.completion_bus())
    logger.info("run stopped", run=stopping.run, status=stopping.status, jobs=stopped.jobs)
    return {"stopped": stopped.jobs}
