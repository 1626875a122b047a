# What is made of a run's results: documents of their chunks, Parquet files, one file in order.

locals {
  states   = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}"
  pipeline = "${local.states}:stateMachine:${var.pipeline_name}"

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
  ledger = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.ledger_table}"

  environment = {
    REPROCESS_QUEUE_URL = var.reprocess_queue.url
    EVENT_BUS_NAME      = var.event_bus_name
  }
}
