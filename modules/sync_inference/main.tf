# Shape B: on-demand calls over item batches.

locals {
  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues    = [for suffix in ["", "-high", "-low"] : "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}:${var.reprocess_queue.name}${suffix}"]
  fan_out             = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-fan_out"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  fan_out_executions  = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.name}-fan_out"
}
