# Lays the lines of one group of parts out by where their document belongs.

module "sort_chunks" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "sort_chunks"
  description     = "Lays lines of result parts out by document"
  memory_mb       = 1769
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  policy          = data.aws_iam_policy_document.sort_chunks.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "sort_chunks" {
  statement {
    sid       = "ReadIndexAndResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.input}/*/runs/*/index/*", "${local.output}/*/runs/*/results/*"]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WriteSorted"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/assembly/sorted/*"]
  }
}
