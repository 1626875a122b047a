# Consumes the queues of priority normal and low: documents go into pools; a full pool becomes a run. Partial batch
# responses.

module "pool_documents" {
  source = "../function"

  name                 = var.name
  account              = var.account
  stores               = var.stores
  handler              = "pool_documents"
  description          = "Pools documents of priority normal and low into runs"
  memory_mb            = 1024
  timeout_seconds      = 120
  environment          = local.environment
  source_buckets       = var.source_buckets
  lists_source_buckets = true
  lists_buckets        = ["input"]
  policy               = data.aws_iam_policy_document.pool_documents.json
  runtime              = var.runtime
  tags                 = var.tags
}

data "aws_iam_policy_document" "pool_documents" {
  source_policy_documents = [data.aws_iam_policy_document.read_documents.json]

  statement {
    sid       = "ReadPools"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/intake/*"]
  }

  statement {
    sid       = "WritePools"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/intake/*"]
  }

  statement {
    sid       = "KeepDocumentsAndPools"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"]
    resources = [local.runs]
  }

  statement {
    sid       = "ConsumeDocuments"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
    resources = [local.queues.normal.arn, local.queues.low.arn]
  }

  statement {
    sid     = "PostponeAndHold"
    actions = ["sqs:SendMessage"]
    resources = [
      local.queues.normal.arn,
      local.queues.normal.dead_letter_arn,
      local.queues.low.arn,
      local.queues.low.dead_letter_arn,
    ]
  }

  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }

  statement {
    sid       = "AnnounceDocuments"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}

resource "aws_lambda_event_source_mapping" "pool_documents" {
  for_each = toset(["normal", "low"])

  event_source_arn        = "${local.queue_arns}:${aws_sqs_queue.intake[each.key].name}"
  function_name           = module.pool_documents.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.intake.pooling_concurrency
  }
}
