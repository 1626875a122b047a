# Events and schedules that reached no function, and asynchronous invocations that failed on every try: job and execution
# ids, kept for a look. Encrypted with a key of SQS, because EventBridge could not use a customer's key that was brought
# without a statement for it.
resource "aws_sqs_queue" "undelivered" {
  name                      = "${var.name}-undelivered"
  message_retention_seconds = 14 * 86400
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.undelivered.json
  tags                      = var.tags
}

data "aws_iam_policy_document" "undelivered" {
  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
  statement {
    sid       = "RulesOfThisPipeline"
    actions   = ["sqs:SendMessage"]
    resources = ["${local.queue_arns}:${var.name}-undelivered"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:rule/${var.name}-*"]
    }
  }

  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = ["${local.queue_arns}:${var.name}-undelivered"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
