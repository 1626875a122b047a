"""State `Cut Shards`: one cut of the corpus to shard pieces, their index and the failures of its lines."""

import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from bulk_inference.aws import dynamodb, s3, stepfunctions
from bulk_inference.core.environment import Environment
from bulk_inference.core.leases import Leases
from bulk_inference.corpus.ranges import Cut
from bulk_inference.cut.cut_run import CutServices, cut_run
from bulk_inference.handlers import wiring

logger = Logger()
# boto is not patched: its calls from reader threads have no segment to hang on.
tracer = Tracer(auto_patch=False)
metrics = Metrics()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Event: run, tenant, cut (a line of cuts.jsonl)."""
    env, client = Environment.from_env(), s3.connect()
    runs = dynamodb.RunsTable(env.runs_table, dynamodb.connect())
    services = CutServices(
        input_bucket=s3.Bucket(env.input_bucket, client),
        output_bucket=s3.Bucket(env.output_bucket, client),
        source_bucket=lambda name: s3.Bucket(name, client),
        runs=runs,
        ledger=dynamodb.Ledger(env.ledger_table, dynamodb.connect()),
        executions=stepfunctions.Executions(stepfunctions.connect()),
        settings=wiring.settings(),
        now=time.time(),
        leases=Leases(runs, time.time),
    )
    counts = cut_run(event["run"], event["tenant"], Cut.from_json(event["cut"]), services)
    for metric, count in (("RecordsRead", "read"), ("RecordsRejected", "rejected"), ("RecordsDuplicate", "duplicate")):
        metrics.add_metric(metric, MetricUnit.Count, counts[count])
    return counts
