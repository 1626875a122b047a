# Accounts for every record: conservation, manifest, report, completion event.

resource "aws_lambda_function" "finish_run" {
  function_name                  = local.functions.finish_run.name
  description                    = "Accounts for every record of a run, writes manifest and report, tells the next stage"
  role                           = aws_iam_role.finish_run.arn
  handler                        = "bulk_inference.handlers.finish_run.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.finish_run.memory_mb
  timeout                        = local.functions.finish_run.timeout_seconds
  reserved_concurrent_executions = local.functions.finish_run.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.finish_run.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.finish_run.name
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
  depends_on = [aws_iam_role_policy.finish_run, aws_iam_role_policy.finish_run_key]
}

resource "aws_cloudwatch_log_group" "finish_run" {
  name              = local.functions.finish_run.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "finish_run" {
  name                 = local.functions.finish_run.role_name
  description          = "finish_run of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "finish_run" {
  name   = "permissions"
  role   = aws_iam_role.finish_run.name
  policy = data.aws_iam_policy_document.finish_run.json
}

resource "aws_iam_role_policy" "finish_run_key" {
  name   = "key"
  role   = aws_iam_role.finish_run.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "finish_run" {
  source_policy_documents = [data.aws_iam_policy_document.function["finish_run"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadRunFilesAndJobManifests"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*", "${local.output}/*/jobs/*"]
  }

  statement {
    sid       = "WriteManifestAndReport"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/manifest.json", "${local.output}/*/runs/*/report.html"]
  }

  statement {
    sid = "KeepRunItems"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [local.runs]
  }

  statement {
    sid       = "SendCompletionEvent"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}
