# One group of result parts as a Parquet file, where runs ask for it and there is a layer with pyarrow.

resource "aws_lambda_function" "export_parquet" {
  function_name                  = local.functions.export_parquet.name
  description                    = "Writes results as Parquet"
  role                           = aws_iam_role.export_parquet.arn
  handler                        = "bulk_inference.handlers.export_parquet.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.export_parquet.memory_mb
  timeout                        = local.functions.export_parquet.timeout_seconds
  reserved_concurrent_executions = local.functions.export_parquet.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = concat(var.runtime.layer_arns, var.parquet_layer_arns)
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.export_parquet.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.export_parquet.name
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
  depends_on = [aws_iam_role_policy.export_parquet, aws_iam_role_policy.export_parquet_key]
}

resource "aws_cloudwatch_log_group" "export_parquet" {
  name              = local.functions.export_parquet.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "export_parquet" {
  name                 = local.functions.export_parquet.role_name
  description          = "export_parquet of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "export_parquet" {
  name   = "permissions"
  role   = aws_iam_role.export_parquet.name
  policy = data.aws_iam_policy_document.export_parquet.json
}

resource "aws_iam_role_policy" "export_parquet_key" {
  name   = "key"
  role   = aws_iam_role.export_parquet.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "export_parquet" {
  source_policy_documents = [data.aws_iam_policy_document.function["export_parquet"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/results/*"]
  }

  statement {
    sid       = "WriteParquet"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/parquet/*"]
  }
}
