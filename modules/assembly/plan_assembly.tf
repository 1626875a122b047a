# Looks at what a run has landed: what is new is shared out into groups, each small enough for one function.

resource "aws_lambda_function" "plan_assembly" {
  function_name                  = local.functions.plan_assembly.name
  description                    = "Plans one pass over a run's results"
  role                           = aws_iam_role.plan_assembly.arn
  handler                        = "bulk_inference.handlers.plan_assembly.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.plan_assembly.memory_mb
  timeout                        = local.functions.plan_assembly.timeout_seconds
  reserved_concurrent_executions = local.functions.plan_assembly.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.plan_assembly.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.plan_assembly.name
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
  depends_on = [aws_iam_role_policy.plan_assembly, aws_iam_role_policy.plan_assembly_key]
}

resource "aws_cloudwatch_log_group" "plan_assembly" {
  name              = local.functions.plan_assembly.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "plan_assembly" {
  name                 = local.functions.plan_assembly.role_name
  description          = "plan_assembly of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "plan_assembly" {
  name   = "permissions"
  role   = aws_iam_role.plan_assembly.name
  policy = data.aws_iam_policy_document.plan_assembly.json
}

resource "aws_iam_role_policy" "plan_assembly_key" {
  name   = "key"
  role   = aws_iam_role.plan_assembly.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "plan_assembly" {
  source_policy_documents = [data.aws_iam_policy_document.function["plan_assembly"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadPlans"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/assembly/*"]
  }

  statement {
    sid       = "WritePlans"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/assembly/*"]
  }

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"]
    resources = [local.runs]
  }
}
