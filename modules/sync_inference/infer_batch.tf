# Infers one item batch: rate-limited concurrent calls, results landed in chunks, the rest handed back before the deadline.

module "infer_batch" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "infer_batch"
  description     = "Infers one item batch on demand, claims and lands it"
  memory_mb       = 1024
  timeout_seconds = 900
  environment     = local.environment
  source_buckets  = var.source_buckets
  models          = var.models
  claims_for      = var.pipeline_name
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.infer_batch.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "infer_batch" {
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
    sid       = "SendFailures"
    actions   = ["sqs:SendMessage"]
    resources = local.reprocess_queues
  }
}
