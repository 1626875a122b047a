# On a schedule: runs whose failed records were settled late get their manifest written anew, and an event.

resource "aws_lambda_function" "update_runs" {
  function_name                  = local.functions.update_runs.name
  description                    = "Writes manifests anew after late landings"
  role                           = aws_iam_role.update_runs.arn
  handler                        = "bulk_inference.handlers.update_runs.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.update_runs.memory_mb
  timeout                        = local.functions.update_runs.timeout_seconds
  reserved_concurrent_executions = local.functions.update_runs.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.update_runs.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.update_runs.name
    log_format            = var.runtime.log_format
    application_log_level = var.runtime.log_format == "JSON" ? var.runtime.log_level : null
  }

  tracing_config {
    mode = var.runtime.tracing ? "Active" : "PassThrough"
  }

  # Invoked asynchronously: an event that fails on every try is kept.
  dead_letter_config {
    target_arn = local.undelivered_queue
  }

  dynamic "vpc_config" {
    for_each = var.runtime.vpc == null ? [] : [var.runtime.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # A function may be called as soon as it is there: by then its role must be complete.
  depends_on = [aws_iam_role_policy.update_runs, aws_iam_role_policy.update_runs_key]
}

resource "aws_cloudwatch_log_group" "update_runs" {
  name              = local.functions.update_runs.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "update_runs" {
  name                 = local.functions.update_runs.role_name
  description          = "update_runs of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "update_runs" {
  name   = "permissions"
  role   = aws_iam_role.update_runs.name
  policy = data.aws_iam_policy_document.update_runs.json
}

resource "aws_iam_role_policy" "update_runs_key" {
  name   = "key"
  role   = aws_iam_role.update_runs.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "update_runs" {
  source_policy_documents = [data.aws_iam_policy_document.function["update_runs"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    # Results: for what a worker has landed that died before it said so.
    sid     = "ReadRunsResultsAndFailures"
    actions = ["s3:GetObject"]
    resources = [
      "${local.input}/*/runs/*/plan/*",
      "${local.output}/*/runs/*/results/*",
      "${local.output}/*/runs/*/failures/*",
    ]
  }

  statement {
    sid       = "WriteManifests"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/manifest.json", "${local.output}/*/runs/*/report.html"]
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

  # What lands late is assembled anew.
  statement {
    sid       = "StartAssemblies"
    actions   = ["states:StartExecution"]
    resources = [local.assembly]
  }

  statement {
    sid       = "SeeWhetherAssembliesGoOn"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.assembly_executions}:*"]
  }

  statement {
    sid       = "AnnounceUpdates"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }

  # Where Lambda puts an event that failed on every try.
  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [local.undelivered_queue]
  }
}

resource "aws_scheduler_schedule" "update_runs" {
  name                = "${var.name}-update_runs"
  description         = "Writes manifests of ${var.name} anew after late landings"
  schedule_expression = var.reprocessing.update_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.update_runs.arn
    role_arn = aws_iam_role.update_schedule.arn

    # The next look comes soon: an old one is worth nothing.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }

    dead_letter_config {
      arn = local.undelivered_queue
    }
  }

  depends_on = [aws_iam_role_policy.update_schedule]
}

resource "aws_iam_role" "update_schedule" {
  name                 = "${var.name}-update_schedule-${var.account.region}"
  description          = "Schedule of update_runs of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.scheduler_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "update_schedule" {
  name   = "permissions"
  role   = aws_iam_role.update_schedule.name
  policy = data.aws_iam_policy_document.update_schedule.json
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

data "aws_iam_policy_document" "update_schedule" {
  statement {
    sid       = "InvokeUpdateRuns"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.functions.update_runs.arn, "${local.functions.update_runs.arn}:*"]
  }

  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [local.undelivered_queue]
  }
}
