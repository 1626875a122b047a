# All result lines of a small run as one object in the corpus's order.

module "order_results" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "order_results"
  description     = "Writes results in the corpus's order"
  memory_mb       = 3008
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["UpdateItem"]
  policy          = data.aws_iam_policy_document.order_results.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "order_results" {
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/results/*"]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WriteOrdered"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/results-ordered.jsonl"]
  }
}
