# Queues for records that failed, one for events that nobody could be told of, and who works on them: reprocess_records,
# redrive_failures (an operator's command), update_runs.

locals {
  queue_arns          = "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}"
  reprocess_queues    = [for lane in ["high", "normal", "low"] : "${local.queue_arns}:${local.lanes[lane].queue}"]
  dead_letter_queue   = "${local.queue_arns}:${var.name}-reprocess-dead-letter"
  undelivered_queue   = "${local.queue_arns}:${var.name}-undelivered"
  pipeline            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.pipeline_name}"
  assembly            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.assembly_name}"
  assembly_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.assembly_name}"
  event_bus           = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
  ledger = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.ledger_table}"

  environment = {
    REPROCESS_QUEUE_URL   = aws_sqs_queue.reprocess["normal"].url
    DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letter.url
    EVENT_BUS_NAME        = var.event_bus_name
    PIPELINE_ARN          = local.pipeline
    ASSEMBLY_ARN          = local.assembly
  }
}
