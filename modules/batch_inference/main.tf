# Shape A: one Bedrock batch job per shard.

locals {
  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues = [for suffix in ["", "-high", "-low"] : "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}:${var.reprocess_queue.name}${suffix}"]
  shard_and_submit = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-shard_and_submit"
  pipeline         = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.pipeline_name}"
  event_bus        = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"
  jobs             = "arn:${var.account.partition}:bedrock:${var.account.region}:${var.account.id}:model-invocation-job/*"

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"

  environment = {
    REPROCESS_QUEUE_URL = var.reprocess_queue.url
    EVENT_BUS_NAME      = var.event_bus_name
  }
}
