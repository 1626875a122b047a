"""Schedule, and events of finished runs: closes pools and windows, starts runs, tells documents their end."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.handlers import intake_wiring
from bulk_inference.intake.intake_status import statistics
from bulk_inference.intake.pool_outcomes import follow

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()

_METRICS = {
    "waiting": "DocumentsWaiting",
    "pooled": "DocumentsPooled",
    "inFlight": "DocumentsInFlight",
    "done": "DocumentsDoneToday",
    "failed": "DocumentsFailedToday",
    "deadLetters": "DocumentsDead",
    "oldestSeconds": "OldestDocumentSeconds",
}


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: whatever the schedule or the bus sends: it is a hint to look."""
    try:
        found = follow(intake_wiring.pool_outcome_services(context))
    finally:
        _count(context)
    metrics.add_metric("PoolsStarted", MetricUnit.Count, found.started)
    metrics.add_metric("DocumentsConcluded", MetricUnit.Count, found.concluded)
    logger.info("pools followed", **asdict(found))
    return asdict(found)


def _count(context: Any) -> None:
    """What the alarms watch, whatever has become of the look."""
    for priority, numbers in statistics(intake_wiring.status_services(context)).items():
        for name, metric in _METRICS.items():
            unit = MetricUnit.Seconds if name == "oldestSeconds" else MetricUnit.Count
            with single_metric(name=metric, unit=unit, value=numbers[name]) as one:
                one.add_dimension(name="priority", value=priority)
