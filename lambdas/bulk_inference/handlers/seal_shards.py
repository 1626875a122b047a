"""State `Seal Shards`: merges small pieces into legal shards and names the remainder that goes sync."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Tracer

from bulk_inference.aws import dynamodb, s3
from bulk_inference.core.environment import Environment
from bulk_inference.core.leases import Leases
from bulk_inference.cut.seal_run import SealServices, seal_run

logger = Logger()
# boto is not patched: its calls from reader threads have no segment to hang on.
tracer = Tracer(auto_patch=False)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant."""
    env = Environment.from_env()
    runs = dynamodb.RunsTable(env.runs_table, dynamodb.connect())
    services = SealServices(
        input_bucket=s3.Bucket(env.input_bucket, s3.connect()),
        runs=runs,
        now=time.time(),
        leases=Leases(runs, time.time),
    )
    sealed = seal_run(event["run"], event["tenant"], services)
    logger.info("run sealed", run=event["run"], tenant=event["tenant"], batch=sealed["batch"], sync=sealed["sync"])
    return sealed
