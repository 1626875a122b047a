"""EventBridge rule on pipeline executions: stops and closes a run that failed, was aborted or timed out; notes that a
redriven one goes on."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import wiring
from bulk_inference.watch.stop_run import Stopping, go_on, stop

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
    services = wiring.stop_services(context)
    if stopping is None:
        resumed = go_on(event, services)
        logger.info("run goes on", run=event["detail"]["name"], resumed=resumed)
        return {"stopped": 0}
    stopped = stop(stopping, services)
    logger.info(
        "run stopped", run=stopping.run, status=stopping.status, jobs=stopped.jobs, executions=stopped.executions
    )
    return {"stopped": stopped.jobs}
