"""An operator's command over records that failed: redrive, resubmit or drop."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.failure_lane.redrive import RedriveServices, carry_out, parse
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: `{"action": "redrive" | "resubmit" | "drop", …}`, see docs/redriving.md."""
    services = RedriveServices(
        input=wiring.input_bucket(),
        output=wiring.output_bucket(),
        runs=wiring.runs_table(),
        letters=wiring.dead_letters(),
        pipeline=wiring.pipeline(),
        clock=wiring.clock(context),
        spec_of=wiring.run_spec,
        settings=wiring.settings,
        leases=wiring.leases(),
    )
    answer = carry_out(parse(event), services)
    metrics.add_metric("RedriveCommands", MetricUnit.Count, 1)
    metrics.add_metric("RecordsDropped", MetricUnit.Count, answer.get("dropped", 0))
    logger.info("command carried out", **answer)
    return answer
