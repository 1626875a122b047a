"""State `Submit Job`: stores the task token, then makes sure that the shard's batch job exists."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.batch.submit_job import SubmitServices, SubmitTask, submit
from bulk_inference.handlers import wiring

logger = Logger()
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, attempt, shard, taskToken. The state waits for its token, whatever is returned here."""
    env, task = wiring.environment(), SubmitTask.from_event(event)
    services = SubmitServices(
        settings=wiring.settings(),
        input_bucket=wiring.input_bucket(),
        output_bucket=env.output_bucket,
        runs=wiring.runs_table(),
        jobs=wiring.batch_jobs(),
        tasks=wiring.task_tokens(),
        now=time.time(),
    )
    job = submit(task, wiring.run_spec(task.tenant, task.run), services)
    metrics.add_metric("JobsSubmitted", MetricUnit.Count, 1)
    logger.info("job awaited", run=task.run, shard=task.shard, attempt=task.attempt, **job)
    return job
