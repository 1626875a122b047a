# Events are best effort: on a schedule, finds ended jobs with waiting tokens.

resource "aws_lambda_function" "reconcile_jobs" {
  function_name                  = local.functions.reconcile_jobs.name
  description                    = "Finds ended jobs that nobody was told of, and jobs whose run is dead"
  role                           = aws_iam_role.reconcile_jobs.arn
  handler                        = "bulk_inference.handlers.reconcile_jobs.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.reconcile_jobs.memory_mb
  timeout                        = local.functions.reconcile_jobs.timeout_seconds
  reserved_concurrent_executions = local.functions.reconcile_jobs.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.reconcile_jobs.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.reconcile_jobs.name
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
  depends_on = [aws_iam_role_policy.reconcile_jobs, aws_iam_role_policy.reconcile_jobs_key]
}

resource "aws_cloudwatch_log_group" "reconcile_jobs" {
  name              = local.functions.reconcile_jobs.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "reconcile_jobs" {
  name                 = local.functions.reconcile_jobs.role_name
  description          = "reconcile_jobs of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "reconcile_jobs" {
  name   = "permissions"
  role   = aws_iam_role.reconcile_jobs.name
  policy = data.aws_iam_policy_document.reconcile_jobs.json
}

resource "aws_iam_role_policy" "reconcile_jobs_key" {
  name   = "key"
  role   = aws_iam_role.reconcile_jobs.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "reconcile_jobs" {
  source_policy_documents = [data.aws_iam_policy_document.function["reconcile_jobs"].json]

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

  # Jobs are stopped that outlived their run or their own time.
  statement {
    sid       = "ReadAndStopJobs"
    actions   = ["bedrock:GetModelInvocationJob", "bedrock:StopModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
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

  # Of a run that is over: what is said of its end, and of those children that failed.
  statement {
    sid     = "ReadRuns"
    actions = ["states:DescribeExecution", "states:ListMapRuns"]
    resources = [
      "${local.pipeline_executions}:*",
      "${local.shard_and_submit_executions}:*",
      "${local.fan_out_executions}:*",
    ]
  }

  statement {
    sid     = "ReadFailedChildren"
    actions = ["states:DescribeExecution"]
    resources = [
      "${local.pipeline_executions}/CutCorpus:*",
      "${local.shard_and_submit_executions}/SubmitShards:*",
      "${local.fan_out_executions}/InferBatches:*",
    ]
  }

  statement {
    sid     = "ReadMapRuns"
    actions = ["states:DescribeMapRun", "states:ListExecutions"]
    resources = [
      "${replace(local.pipeline_executions, ":execution:", ":mapRun:")}/CutCorpus:*",
      "${replace(local.shard_and_submit_executions, ":execution:", ":mapRun:")}/SubmitShards:*",
      "${replace(local.fan_out_executions, ":execution:", ":mapRun:")}/InferBatches:*",
    ]
  }

  # Step Functions stops nested executions by best effort: here is what makes sure.
  statement {
    sid       = "StopInference"
    actions   = ["states:StopExecution"]
    resources = ["${local.shard_and_submit_executions}:*", "${local.fan_out_executions}:*"]
  }

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    # Results: for what a worker has landed that died before it said so.
    sid       = "ReadPlanAndResults"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/results/*"]
  }

  statement {
    sid       = "WriteManifestAndReport"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/manifest.json", "${local.output}/*/runs/*/report.html"]
  }

  # A run whose end nobody heard of is closed from here.
  statement {
    sid       = "SendCompletionEvent"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}

resource "aws_scheduler_schedule" "reconcile_jobs" {
  name                = "${var.name}-reconcile_jobs"
  description         = "Looks for batch jobs of ${var.name} whose completion event was lost"
  schedule_expression = var.reconcile_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.reconcile_jobs.arn
    role_arn = aws_iam_role.reconcile_schedule.arn

    # The next look comes soon: an old one is worth nothing.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }

    dead_letter_config {
      arn = var.undelivered_queue_arn
    }
  }

  depends_on = [aws_iam_role_policy.reconcile_schedule]
}

resource "aws_iam_role" "reconcile_schedule" {
  name                 = "${var.name}-reconcile_schedule-${var.account.region}"
  description          = "Schedule of reconcile_jobs of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.scheduler_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "reconcile_schedule" {
  name   = "permissions"
  role   = aws_iam_role.reconcile_schedule.name
  policy = data.aws_iam_policy_document.reconcile_schedule.json
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

data "aws_iam_policy_document" "reconcile_schedule" {
  statement {
    sid       = "InvokeReconcileJobs"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.functions.reconcile_jobs.arn, "${local.functions.reconcile_jobs.arn}:*"]
  }

  statement {
    sid       = "KeepUndelivered"
    actions   = ["sqs:SendMessage"]
    resources = [var.undelivered_queue_arn]
  }
}
