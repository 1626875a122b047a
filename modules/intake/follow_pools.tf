# By schedule, and when a run ends: closes old pools and starts their runs, closes the windows of urgent documents, tells
# every document its end, counts.

module "follow_pools" {
  source = "../function"

  name              = var.name
  account           = var.account
  stores            = var.stores
  handler           = "follow_pools"
  description       = "Closes pools, starts their runs, tells documents their end"
  memory_mb         = 1769
  timeout_seconds   = 900
  environment       = local.environment
  lists_buckets     = ["input", "output"]
  run_items         = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy            = data.aws_iam_policy_document.follow_pools.json
  undelivered_queue = { arn = var.undelivered_queue_arn }
  runtime           = var.runtime
  tags              = var.tags

  schedule = {
    expression  = var.intake.schedule
    description = "Closes pools of ${var.name} and follows their runs"
    role        = "follow_schedule"
  }
}

data "aws_iam_policy_document" "follow_pools" {
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
  arn            = module.follow_pools.arn
}

resource "aws_lambda_permission" "follow_pools" {
  statement_id  = "RunEnded"
  action        = "lambda:InvokeFunction"
  function_name = module.follow_pools.name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${var.event_bus_name}/${aws_cloudwatch_event_rule.run_ended.name}"
}
