# What happens to a run before and after its inference.

locals {
  pipeline            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-pipeline"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.name}-pipeline"
  event_bus           = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"
  jobs                = "arn:${var.account.partition}:bedrock:${var.account.region}:${var.account.id}:model-invocation-job/*"
  quotas              = "arn:${var.account.partition}:servicequotas:${var.account.region}:${var.account.id}:bedrock/*"

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
  ledger = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.ledger_table}"

  environment = {
    REPROCESS_QUEUE_URL = var.reprocess_queue.url
    EVENT_BUS_NAME      = var.event_bus_name
  }
}
