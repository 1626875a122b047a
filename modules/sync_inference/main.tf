# Shape B: on-demand calls over item batches.

locals {
  reprocess_queue     = "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}:${var.reprocess_queue.name}"
  fan_out             = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-fan_out"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  fan_out_executions  = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.name}-fan_out"
}
