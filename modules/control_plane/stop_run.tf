# Told by EventBridge that a run's execution ended badly: stops the run's jobs, marks the run, tells the next stage.

module "stop_run" {
  source = "../function"

  name              = var.name
  account           = var.account
  stores            = var.stores
  handler           = "stop_run"
  description       = "Stops the jobs of a run that failed, timed out or was aborted"
  memory_mb         = 512
  timeout_seconds   = 900
  environment       = local.environment
  lists_buckets     = ["input", "output"]
  run_items         = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy            = data.aws_iam_policy_document.stop_run.json
  undelivered_queue = { arn = var.undelivered_queue_arn }
  closes_runs = {
    pipeline         = local.pipeline
    shard_and_submit = var.shard_and_submit_arn
    fan_out          = var.fan_out_arn
    event_bus        = local.event_bus
  }
  runtime = var.runtime
  tags    = var.tags
}

data "aws_iam_policy_document" "stop_run" {
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
  arn       = module.stop_run.arn

  dead_letter_config {
    arn = var.undelivered_queue_arn
  }
}

resource "aws_lambda_permission" "stop_run" {
  statement_id  = "RunBrokeOff"
  action        = "lambda:InvokeFunction"
  function_name = module.stop_run.name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${aws_cloudwatch_event_rule.run_broke_off.name}"
}
