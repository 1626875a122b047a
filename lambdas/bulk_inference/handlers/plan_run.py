"""State `Plan Run`: validates the request, reads quotas, inspects the corpus, runs the canary, writes the plan."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Tracer

from bulk_inference.aws import bedrock_runtime, dynamodb, s3, service_quotas
from bulk_inference.core.environment import Environment
from bulk_inference.plan.plan_run import PlanServices, start_run

logger = Logger()
# boto is not patched: its calls from reader threads have no segment to hang on.
tracer = Tracer(auto_patch=False)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run (execution name), executionArn, request."""
    env, client = Environment.from_env(), s3.connect()
    services = PlanServices(
        input_bucket=s3.Bucket(env.input_bucket, client),
        output_bucket=s3.Bucket(env.output_bucket, client),
        settings_key=env.settings_key,
        source_bucket=lambda name: s3.Bucket(name, client),
        runs=dynamodb.RunsTable(env.runs_table, dynamodb.connect()),
        quotas=service_quotas.ServiceQuotas(service_quotas.connect()),
        model=bedrock_runtime.Runtime(bedrock_runtime.connect()),
        now=time.time(),
    )
    plan = start_run(event["run"], event["executionArn"], event["request"], services)
    logger.info("run planned", run=plan["run"], tenant=plan["tenant"], mode=plan["mode"], next=plan["next"])
    return plan
