# Consumes the reprocess queues: one record a message, partial batch responses. What fails again comes back until the
# dead-letter queue takes it; what no other try can change is put there at once.

module "reprocess_records" {
  source = "../function"

  name        = var.name
  account     = var.account
  stores      = var.stores
  handler     = "reprocess_records"
  description = "Infers single failed records again, from the reprocess queues"
  # One call of a model takes 300 s at most, and its answer is landed in the rest.
  memory_mb       = 1024
  timeout_seconds = 420
  environment     = local.environment
  source_buckets  = var.source_buckets
  models          = var.models
  claims_for      = var.pipeline_name
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.reprocess_records.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "reprocess_records" {
  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.input}/*/corpus/*", "${local.input}/config/settings.json", "${local.output}/*/runs/*"]
  }

  statement {
    sid       = "WriteResults"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*"]
  }

  statement {
    sid       = "PostponeAndHold"
    actions   = ["sqs:SendMessage"]
    resources = concat(local.reprocess_queues, [local.dead_letter_queue])
  }

  statement {
    sid       = "ConsumeFailures"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
    resources = local.reprocess_queues
  }
}

resource "aws_lambda_event_source_mapping" "reprocess_records" {
  for_each = local.lanes

  event_source_arn        = "${local.queue_arns}:${aws_sqs_queue.reprocess[each.key].name}"
  function_name           = module.reprocess_records.arn
  batch_size              = var.reprocessing.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = each.value.maximum_concurrency
  }
}
