# Merges small tails into legal shards, numbers them, names the remainder that goes sync.

module "seal_shards" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "seal_shards"
  description     = "Merges small tails into legal shards, names what goes sync"
  memory_mb       = 1024
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input"]
  run_items       = ["GetItem", "PutItem", "UpdateItem", "Query"]
  policy          = data.aws_iam_policy_document.seal_shards.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "seal_shards" {
  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*"]
  }

  statement {
    sid       = "WriteRunFiles"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*"]
  }
}
