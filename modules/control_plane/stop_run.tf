# Told by EventBridge that a run's execution ended badly: stops the run's jobs, marks the run, tells the next stage.

resource "aws_lambda_function" "stop_run" {
  function_name                  = local.functions.stop_run.name
  description                    = "Stops the jobs of a run that failed, timed out or was aborted"
  role                           = aws_iam_role.stop_run.arn
  handler                        = "bulk_inference.handlers.stop_run.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.stop_run.memory_mb
  timeout                        = local.functions.stop_run.timeout_seconds
  reserved_concurrent_executions = local.functions.stop_run.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.stop_run.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.stop_run.name
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
  depends_on = [aws_iam_role_policy.stop_run, aws_iam_role_policy.stop_run_key]
}

resource "aws_cloudwatch_log_group" "stop_run" {
  name              = local.functions.stop_run.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "stop_run" {
  name                 = local.functions.stop_run.role_name
  description          = "stop_run of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "stop_run" {
  name   = "permissions"
  role   = aws_iam_role.stop_run.name
  policy = data.aws_iam_policy_document.stop_run.json
}

resource "aws_iam_role_policy" "stop_run_key" {
  name   = "key"
  role   = aws_iam_role.stop_run.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "stop_run" {
  source_policy_documents = [data.aws_iam_policy_document.function["stop_run"].json]

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
    sid       = "StopJobs"
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

  statement {
    sid       = "SendCompletionEvent"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
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
}

# https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
resource "aws_cloudwatch_event_rule" "run_broke_off" {
  name        = "${var.name}-run-broke-off"
  description = "Runs of ${var.name} that failed, timed out or were aborted, or go on after that"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.states"]
    "detail-type" = ["Step Functions Execution Status Change"]
    detail = {
      status          = ["FAILED", "TIMED_OUT", "ABORTED", "RUNNING"]
      stateMachineArn = [local.pipeline]
    }
  })
}

resource "aws_cloudwatch_event_target" "stop_run" {
  rule      = aws_cloudwatch_event_rule.run_broke_off.name
  target_id = "stop_run"
  arn       = aws_lambda_function.stop_run.arn

  dead_letter_config {
    arn = var.undelivered_queue_arn
  }
}

resource "aws_lambda_permission" "stop_run" {
  statement_id  = "RunBrokeOff"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.stop_run.function_name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${aws_cloudwatch_event_rule.run_broke_off.name}"
}
