# Tells what the documents of one partition have come to.

module "join_documents" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "join_documents"
  description     = "Makes documents of the answers to their chunks"
  memory_mb       = 1769
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "PutItem"]
  policy          = data.aws_iam_policy_document.join_documents.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "join_documents" {
  statement {
    sid       = "ReadSorted"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/assembly/*"]
  }

  # Chunks that another run of the scope has landed.
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.output}/*/runs/*/results/*"]
  }

  statement {
    sid       = "FindClaims"
    actions   = ["dynamodb:BatchGetItem"]
    resources = [local.ledger]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WriteDocuments"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/documents/*", "${local.output}/*/runs/*/assembly/partial/*"]
  }

  # A write on condition of what is there needs the right to read it.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  statement {
    sid       = "WriteReductions"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/reductions/*"]
  }
}
