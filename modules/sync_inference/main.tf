# Shape B: on-demand calls over item batches.

locals {
  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues = [for suffix in ["", "-high", "-low"] : "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}:${var.reprocess_queue.name}${suffix}"]

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"

  environment = {
    REPROCESS_QUEUE_URL = var.reprocess_queue.url
    EVENT_BUS_NAME      = var.event_bus_name
  }
}
