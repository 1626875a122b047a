# Told by EventBridge that a job has ended: re-reads the job, answers its task token.

resource "aws_lambda_function" "resume_job" {
  function_name                  = local.functions.resume_job.name
  description                    = "Wakes the shard whose job has ended"
  role                           = aws_iam_role.resume_job.arn
  handler                        = "bulk_inference.handlers.resume_job.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.resume_job.memory_mb
  timeout                        = local.functions.resume_job.timeout_seconds
  reserved_concurrent_executions = local.functions.resume_job.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.resume_job.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.resume_job.name
    log_format            = var.runtime.log_format
    application_log_level = var.runtime.log_format == "JSON" ? var.runtime.log_level : null
  }

  tracing_config {
    mode = var.runtime.tracing ? "Active" : "PassThrough"
  }

  # Invoked asynchronously: an event that fails on every try is kept.
  dead_letter_config {
    target_arn = var.undelivered_queue_arn
  }

  dynamic "vpc_config" {
    for_each = var.runtime.vpc == null ? [] : [var.runtime.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # A function may be called as soon as it is there: by then its role must be complete.
  depends_on = [aws_iam_role_policy.resume_job, aws_iam_role_policy.resume_job_key]
}

resource "aws_cloudwatch_log_group" "resume_job" {
  name              = local.functions.resume_job.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "resume_job" {
  name                 = local.functions.resume_job.role_name
  description          = "resume_job of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "resume_job" {
  name   = "permissions"
  role   = aws_iam_role.resume_job.name
  policy = data.aws_iam_policy_document.resume_job.json
}

resource "aws_iam_role_policy" "resume_job_key" {
  name   = "key"
  role   = aws_iam_role.resume_job.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "resume_job" {
  source_policy_documents = [data.aws_iam_policy_document.function["resume_job"].json]

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
    resources = [local.runs]
  }

  statement {
    sid       = "ReadJobs"
    actions   = ["bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Tokens of a Distributed Map's children belong to the labelled machine, name/label.
  statement {
    sid       = "AnswerTaskTokens"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"]
    resources = [local.shard_and_submit, "${local.shard_and_submit}/*"]
  }

  # Where Lambda puts an event that failed on every try.
  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [var.undelivered_queue_arn]
  }
}

# Every status that ends a job: a pattern without PartiallyCompleted and Expired would strand those jobs.
# https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge-how-it-works.html
resource "aws_cloudwatch_event_rule" "job_ended" {
  name        = "${var.name}-job-ended"
  description = "Batch jobs of ${var.name} that have ended"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.bedrock"]
    "detail-type" = ["Batch Inference Job State Change"]
    detail = {
      status       = ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]
      batchJobName = [{ prefix = "${var.name}-" }]
    }
  })
}

resource "aws_cloudwatch_event_target" "resume_job" {
  rule      = aws_cloudwatch_event_rule.job_ended.name
  target_id = "resume_job"
  arn       = aws_lambda_function.resume_job.arn

  dead_letter_config {
    arn = var.undelivered_queue_arn
  }
}

resource "aws_lambda_permission" "resume_job" {
  statement_id  = "JobEnded"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.resume_job.function_name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${aws_cloudwatch_event_rule.job_ended.name}"
}
