# All result lines of a small run as one object in the corpus's order.

resource "aws_lambda_function" "order_results" {
  function_name                  = local.functions.order_results.name
  description                    = "Writes results in the corpus's order"
  role                           = aws_iam_role.order_results.arn
  handler                        = "bulk_inference.handlers.order_results.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.order_results.memory_mb
  timeout                        = local.functions.order_results.timeout_seconds
  reserved_concurrent_executions = local.functions.order_results.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.order_results.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.order_results.name
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
  depends_on = [aws_iam_role_policy.order_results, aws_iam_role_policy.order_results_key]
}

resource "aws_cloudwatch_log_group" "order_results" {
  name              = local.functions.order_results.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "order_results" {
  name                 = local.functions.order_results.role_name
  description          = "order_results of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "order_results" {
  name   = "permissions"
  role   = aws_iam_role.order_results.name
  policy = data.aws_iam_policy_document.order_results.json
}

resource "aws_iam_role_policy" "order_results_key" {
  name   = "key"
  role   = aws_iam_role.order_results.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "order_results" {
  source_policy_documents = [data.aws_iam_policy_document.function["order_results"].json]

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
    sid       = "WriteOrdered"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/results-ordered.jsonl"]
  }

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:UpdateItem"]
    resources = [local.runs]
  }
}
