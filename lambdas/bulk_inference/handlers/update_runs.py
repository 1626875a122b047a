"""Schedule: writes the manifests of runs anew whose failed records were settled late, and says so."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.finish.updating import UpdateServices, update_runs
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: whatever the schedule sends."""
    services = UpdateServices(
        output=wiring.output_bucket(),
        runs=wiring.runs_table(),
        ledger=wiring.ledger(),
        bus=wiring.completion_bus(),
        clock=wiring.clock(context),
        spec_of=wiring.run_spec,
        executions=wiring.executions(),
        assemblies=wiring.assemblies(),
        leases=wiring.leases(),
    )
    found = update_runs(services)
    metrics.add_metric("RunsUpdated", MetricUnit.Count, found.updated)
    metrics.add_metric("RunsStale", MetricUnit.Count, found.waiting)
    logger.info("runs updated", **asdict(found))
    return asdict(found)
