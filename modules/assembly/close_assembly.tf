# Sums one pass up, and names the reduction that is due.

module "close_assembly" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "close_assembly"
  description     = "Sums a pass over a run's results up"
  memory_mb       = 512
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "PutItem", "UpdateItem", "Query"]
  policy          = data.aws_iam_policy_document.close_assembly.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "close_assembly" {
  statement {
    sid       = "ReadPartialLists"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/assembly/*"]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WritePartialList"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/documents/partial.jsonl"]
  }
}
