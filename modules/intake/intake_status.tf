# A question of a user: what has become of a document, of a pool; numbers by priority.
# aws lambda invoke --function-name <name>-intake_status --cli-binary-format raw-in-base64-out --payload '{}' /dev/stdout

resource "aws_lambda_function" "intake_status" {
  function_name                  = local.functions.intake_status.name
  description                    = "Tells what has become of documents that came one by one"
  role                           = aws_iam_role.intake_status.arn
  handler                        = "bulk_inference.handlers.intake_status.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.intake_status.memory_mb
  timeout                        = local.functions.intake_status.timeout_seconds
  reserved_concurrent_executions = local.functions.intake_status.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.intake_status.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.intake_status.name
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
  depends_on = [aws_iam_role_policy.intake_status, aws_iam_role_policy.intake_status_key]
}

resource "aws_cloudwatch_log_group" "intake_status" {
  name              = local.functions.intake_status.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "intake_status" {
  name                 = local.functions.intake_status.role_name
  description          = "intake_status of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "intake_status" {
  name   = "permissions"
  role   = aws_iam_role.intake_status.name
  policy = data.aws_iam_policy_document.intake_status.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.intake_status.minified_json) <= 9800
      error_message = "The role of intake_status would have a policy of ${length(data.aws_iam_policy_document.intake_status.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "intake_status_key" {
  name   = "key"
  role   = aws_iam_role.intake_status.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "intake_status" {
  source_policy_documents = [data.aws_iam_policy_document.function["intake_status"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input]
  }

  statement {
    sid       = "ReadPrompts"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/prompts/*"]
  }

  statement {
    sid       = "ReadDocumentsAndPools"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.runs]
  }

  statement {
    sid       = "CountMessages"
    actions   = ["sqs:GetQueueAttributes"]
    resources = local.all_queues
  }
}
