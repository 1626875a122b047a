# Reads one cut of the corpus: rendered, validated lines into shard pieces and their index, bad lines into failures.

module "cut_shards" {
  source = "../function"

  name        = var.name
  account     = var.account
  stores      = var.stores
  handler     = "cut_shards"
  description = "Reads, renders and validates one cut of a corpus into shard files"
  # One whole CPU: it parses and renders a quarter of a gigabyte.
  memory_mb            = 1769
  timeout_seconds      = 900
  environment          = local.environment
  layer_arns           = var.parquet_layer_arns
  source_buckets       = var.source_buckets
  lists_source_buckets = true
  lists_buckets        = ["input", "output"]
  run_items            = ["GetItem", "PutItem", "UpdateItem"]
  policy               = data.aws_iam_policy_document.cut_shards.json
  runtime              = var.runtime
  tags                 = var.tags
}

data "aws_iam_policy_document" "cut_shards" {
  statement {
    sid       = "ReadCorpora"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*"]
  }

  # What another run of the same scope has landed; and whether a failures file that is there already is its own.
  statement {
    sid       = "ReadResultsAndFailures"
    actions   = ["s3:GetObject"]
    resources = ["${local.output}/*/runs/*/results/*", "${local.output}/*/runs/*/failures/*"]
  }

  statement {
    sid       = "WriteShardsAndFailures"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*/failures/*"]
  }

  statement {
    sid       = "ReadClaims"
    actions   = ["dynamodb:BatchGetItem"]
    resources = [local.ledger]
  }

  # Whether another run of the same scope is over: then its claims may be taken over.
  statement {
    sid       = "ReadRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }
}
