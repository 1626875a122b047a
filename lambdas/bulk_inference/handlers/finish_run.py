"""State `Finish Run`: accounts for every record, writes manifest and report, announces the end."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.core.errors import ConservationError, IncompleteRunError
from bulk_inference.finish.finishing import FinishServices, finish
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()

_METRICS = {ConservationError: "RunsInconsistent", IncompleteRunError: "RunsIncomplete"}


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, executionArn; from the pipeline also redrives, and inferred (in which redrive, last)."""
    try:
        finished = _finish(event, context)
    except (ConservationError, IncompleteRunError) as error:
        metrics.add_metric(_METRICS[type(error)], MetricUnit.Count, 1)
        raise
    metrics.add_metric("RunsFinished", MetricUnit.Count, int(finished["status"] != "running"))
    logger.info("run finished", **finished)
    return finished


def _finish(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return finish(
        wiring.run_spec(event["tenant"], event["run"]),
        FinishServices(
            output=wiring.output_bucket(),
            runs=wiring.runs_table(),
            bus=wiring.completion_bus(),
            clock=wiring.clock(context),
            leases=wiring.leases(),
        ),
        more=int(event.get("redrives", 0)) > int(event.get("inferred", {}).get("redrives", 0)),
    )
