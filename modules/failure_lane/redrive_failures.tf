# An operator's command: sends dead letters back, makes a run of a run's failures, or drops them.
# aws lambda invoke --function-name <name>-redrive_failures --cli-binary-format raw-in-base64-out \
#   --payload '{"action": "redrive"}' /dev/stdout

resource "aws_lambda_function" "redrive_failures" {
  function_name                  = local.functions.redrive_failures.name
  description                    = "Operator's command: redrives, resubmits or drops records that failed"
  role                           = aws_iam_role.redrive_failures.arn
  handler                        = "bulk_inference.handlers.redrive_failures.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.redrive_failures.memory_mb
  timeout                        = local.functions.redrive_failures.timeout_seconds
  reserved_concurrent_executions = local.functions.redrive_failures.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.redrive_failures.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.redrive_failures.name
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
  depends_on = [aws_iam_role_policy.redrive_failures, aws_iam_role_policy.redrive_failures_key]
}

resource "aws_cloudwatch_log_group" "redrive_failures" {
  name              = local.functions.redrive_failures.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "redrive_failures" {
  name                 = local.functions.redrive_failures.role_name
  description          = "redrive_failures of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "redrive_failures" {
  name   = "permissions"
  role   = aws_iam_role.redrive_failures.name
  policy = data.aws_iam_policy_document.redrive_failures.json
}

resource "aws_iam_role_policy" "redrive_failures_key" {
  name   = "key"
  role   = aws_iam_role.redrive_failures.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "redrive_failures" {
  source_policy_documents = [data.aws_iam_policy_document.function["redrive_failures"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadRunsAndFailures"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/config/settings.json", "${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/failures/*"]
  }

  statement {
    sid       = "PlanResubmissions"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/plan/ranges.jsonl"]
  }

  statement {
    sid = "KeepRunItems"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [local.runs]
  }

  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
  statement {
    sid = "EmptyDeadLetters"
    actions = [
      "sqs:StartMessageMoveTask",
      "sqs:ListMessageMoveTasks",
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
    ]
    resources = [local.dead_letter_queue]
  }

  statement {
    sid       = "SendBack"
    actions   = ["sqs:SendMessage", "sqs:GetQueueAttributes"]
    resources = local.reprocess_queues
  }

  statement {
    sid       = "StartResubmissions"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }
}
