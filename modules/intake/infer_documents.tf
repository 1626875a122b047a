# Consumes the queue of priority high: each document is inferred at once, lands like any record, and goes into the failure
# lane like any record if it does not. Partial batch responses.

module "infer_documents" {
  source = "../function"

  name                 = var.name
  account              = var.account
  stores               = var.stores
  handler              = "infer_documents"
  description          = "Infers documents of priority high at once"
  memory_mb            = 1024
  timeout_seconds      = 300
  environment          = local.environment
  source_buckets       = var.source_buckets
  lists_source_buckets = true
  models               = var.models
  claims_for           = var.pipeline_name
  lists_buckets        = ["input", "output"]
  run_items            = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy               = data.aws_iam_policy_document.infer_documents.json
  runtime              = var.runtime
  tags                 = var.tags
}

data "aws_iam_policy_document" "infer_documents" {
  source_policy_documents = [data.aws_iam_policy_document.read_documents.json]

  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.input}/*/intake/*", "${local.output}/*/runs/*"]
  }

  statement {
    sid     = "WriteRunFiles"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.input}/*/intake/*/documents/*",
      "${local.input}/*/runs/*/plan/*",
      "${local.input}/*/runs/*/shards/*",
      "${local.input}/*/runs/*/index/*",
      "${local.output}/*/runs/*",
    ]
  }

  statement {
    sid       = "ConsumeUrgentDocuments"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
    resources = [local.queues.high.arn]
  }

  statement {
    sid       = "PostponeHoldAndReportFailures"
    actions   = ["sqs:SendMessage"]
    resources = concat([local.queues.high.arn, local.queues.high.dead_letter_arn], local.reprocess_queues)
  }

  statement {
    sid       = "AnnounceDocuments"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}

resource "aws_lambda_event_source_mapping" "infer_documents" {
  event_source_arn        = "${local.queue_arns}:${aws_sqs_queue.intake["high"].name}"
  function_name           = module.infer_documents.arn
  batch_size              = var.intake.high.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.intake.high.maximum_concurrency
  }
}
