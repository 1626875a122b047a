# Two queues for records that failed, one for events that nobody could be told of.

locals {
  queue_arns          = "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}"
  reprocess_queue     = "${local.queue_arns}:${aws_sqs_queue.reprocess.name}"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  event_bus           = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"
}
