# By schedule, and when a run ends: closes old pools and starts their runs, closes the windows of urgent documents, tells
# every document its end, counts.

resource "aws_lambda_function" "follow_pools" {
  function_name                  = local.functions.follow_pools.name
  description                    = "Closes pools, starts their runs, tells documents their end"
  role                           = aws_iam_role.follow_pools.arn
  handler                        = "bulk_inference.handlers.follow_pools.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.follow_pools.memory_mb
  timeout                        = local.functions.follow_pools.timeout_seconds
  reserved_concurrent_executions = local.functions.follow_pools.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.follow_pools.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.follow_pools.name
    log_format            = var.runtime.log_format
    application_log_level = var.runtime.log_format == "JSON" ? var.runtime.log_level : null
  }

  dead_letter_config {
    target_arn = var.undelivered_queue_arn
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
  depends_on = [aws_iam_role_policy.follow_pools, aws_iam_role_policy.follow_pools_key]
}

resource "aws_cloudwatch_log_group" "follow_pools" {
  name              = local.functions.follow_pools.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "follow_pools" {
  name                 = local.functions.follow_pools.role_name
  description          = "follow_pools of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "follow_pools" {
  name   = "permissions"
  role   = aws_iam_role.follow_pools.name
  policy = data.aws_iam_policy_document.follow_pools.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.follow_pools.minified_json) <= 9800
      error_message = "The role of follow_pools would have a policy of ${length(data.aws_iam_policy_document.follow_pools.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "follow_pools_key" {
  name   = "key"
  role   = aws_iam_role.follow_pools.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "follow_pools" {
  source_policy_documents = [data.aws_iam_policy_document.function["follow_pools"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid     = "ReadRunsAndOutcomes"
    actions = ["s3:GetObject"]
    resources = [
      "${local.input}/config/settings.json",
      "${local.input}/*/intake/*",
      "${local.input}/*/prompts/*",
      "${local.input}/*/runs/*/plan/*",
      "${local.output}/*/runs/*",
    ]
  }

  statement {
    sid     = "WritePoolsAndManifests"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.input}/*/intake/*",
      "${local.output}/*/runs/*/manifest.json",
      "${local.output}/*/runs/*/report.html",
    ]
  }

  statement {
    sid       = "ReadClaims"
    actions   = ["dynamodb:BatchGetItem"]
    resources = [local.ledger]
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

  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }

  statement {
    sid       = "ReadRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }

  statement {
    sid       = "AnnounceDocuments"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }

  statement {
    sid       = "CountMessages"
    actions   = ["sqs:GetQueueAttributes"]
    resources = local.all_queues
  }

  # Where Lambda puts an event that failed on every try.
  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [var.undelivered_queue_arn]
  }
}

resource "aws_scheduler_schedule" "follow_pools" {
  name                = "${var.name}-follow_pools"
  description         = "Closes pools of ${var.name} and follows their runs"
  schedule_expression = var.intake.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.follow_pools.arn
    role_arn = aws_iam_role.follow_schedule.arn

    # The next look comes soon: an old one is worth nothing.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }

    dead_letter_config {
      arn = var.undelivered_queue_arn
    }
  }

  depends_on = [aws_iam_role_policy.follow_schedule]
}

resource "aws_iam_role" "follow_schedule" {
  name                 = "${var.name}-follow_schedule-${var.account.region}"
  description          = "Schedule of follow_pools of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.scheduler_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "follow_schedule" {
  name   = "permissions"
  role   = aws_iam_role.follow_schedule.name
  policy = data.aws_iam_policy_document.follow_schedule.json
}

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
data "aws_iam_policy_document" "scheduler_trust" {
  statement {
    sid     = "SchedulerAssumesForThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }
  }
}

data "aws_iam_policy_document" "follow_schedule" {
  statement {
    sid       = "InvokeFollowPools"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.functions.follow_pools.arn, "${local.functions.follow_pools.arn}:*"]
  }

  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [var.undelivered_queue_arn]
  }
}

# A run's end is worth a look at once; the schedule finds what events missed.
resource "aws_cloudwatch_event_rule" "run_ended" {
  name           = "${var.name}-intake-run-ended"
  description    = "Ends and updates of runs of ${var.name}, for the documents in them"
  event_bus_name = var.event_bus_name
  tags           = var.tags

  event_pattern = jsonencode({
    source        = ["bulk-inference"]
    "detail-type" = ["Bulk Inference Run Finished", "Bulk Inference Run Updated"]
    detail        = { run = [{ prefix = "in-" }] }
  })
}

resource "aws_cloudwatch_event_target" "follow_pools" {
  rule           = aws_cloudwatch_event_rule.run_ended.name
  event_bus_name = var.event_bus_name
  arn            = aws_lambda_function.follow_pools.arn
}

resource "aws_lambda_permission" "follow_pools" {
  statement_id  = "RunEnded"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.follow_pools.function_name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${var.event_bus_name}/${aws_cloudwatch_event_rule.run_ended.name}"
}
