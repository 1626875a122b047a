# Reads one cut of the corpus: rendered, validated lines into shard pieces and their index, bad lines into failures.

resource "aws_lambda_function" "cut_shards" {
  function_name                  = local.functions.cut_shards.name
  description                    = "Reads, renders and validates one cut of a corpus into shard files"
  role                           = aws_iam_role.cut_shards.arn
  handler                        = "bulk_inference.handlers.cut_shards.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.cut_shards.memory_mb
  timeout                        = local.functions.cut_shards.timeout_seconds
  reserved_concurrent_executions = local.functions.cut_shards.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = concat(var.runtime.layer_arns, var.parquet_layer_arns)
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.cut_shards.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.cut_shards.name
    log_format            = var.runtime.log_format
    application_log_level = var.runtime.log_format == "JSON" ? var.runtime.log_level : null
  }

  tracing_config {
    mode = var.runtime.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = var.runtime.vpc == null ? [] : [var.runtime.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # A function may be called as soon as it is there: by then its role must be complete.
  depends_on = [aws_iam_role_policy.cut_shards, aws_iam_role_policy.cut_shards_key]
}

resource "aws_cloudwatch_log_group" "cut_shards" {
  name              = local.functions.cut_shards.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "cut_shards" {
  name                 = local.functions.cut_shards.role_name
  description          = "cut_shards of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "cut_shards" {
  name   = "permissions"
  role   = aws_iam_role.cut_shards.name
  policy = data.aws_iam_policy_document.cut_shards.json
}

resource "aws_iam_role_policy" "cut_shards_key" {
  name   = "key"
  role   = aws_iam_role.cut_shards.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "cut_shards" {
  source_policy_documents = [
    data.aws_iam_policy_document.function["cut_shards"].json,
    data.aws_iam_policy_document.read_source_buckets.json,
  ]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadCorpora"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*"]
  }

  # What another run of the same scope has landed.
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.output}/*/runs/*/results/*"]
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

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [local.runs]
  }

  # Whether another run of the same scope is over: then its claims may be taken over.
  statement {
    sid       = "ReadRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }
}
