# An operator's command: sends dead letters back, makes a run of a run's failures, or drops them.
# aws lambda invoke --function-name <name>-redrive_failures --cli-binary-format raw-in-base64-out \
#   --payload '{"action": "redrive"}' /dev/stdout

module "redrive_failures" {
  source = "../function"

  name            = var.name
  account         = var.account
  stores          = var.stores
  handler         = "redrive_failures"
  description     = "Operator's command: redrives, resubmits or drops records that failed"
  memory_mb       = 2048
  timeout_seconds = 900
  environment     = local.environment
  lists_buckets   = ["input", "output"]
  run_items       = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"]
  policy          = data.aws_iam_policy_document.redrive_failures.json
  runtime         = var.runtime
  tags            = var.tags
}

data "aws_iam_policy_document" "redrive_failures" {
  statement {
    sid     = "ReadRunsAndFailures"
    actions = ["s3:GetObject"]
    resources = [
      "${local.input}/config/settings.json",
      "${local.input}/*/runs/*/plan/*",
      "${local.output}/*/runs/*/failures/*",
      "${local.output}/*/runs/*/results/part-reprocess-*",
    ]
  }

  statement {
    sid       = "PlanResubmissions"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/plan/ranges.jsonl", "${local.output}/*/runs/*/results/part-reprocess-*"]
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
