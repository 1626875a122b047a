# Shape A: one Bedrock batch job per shard.

locals {
  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues            = [for suffix in ["", "-high", "-low"] : "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}:${var.reprocess_queue.name}${suffix}"]
  shard_and_submit            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-shard_and_submit"
  shard_and_submit_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.name}-shard_and_submit"
  pipeline_executions         = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  fan_out_executions          = replace(var.fan_out_arn, ":stateMachine:", ":execution:")
  event_bus                   = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"
  jobs                        = "arn:${var.account.partition}:bedrock:${var.account.region}:${var.account.id}:model-invocation-job/*"
}
