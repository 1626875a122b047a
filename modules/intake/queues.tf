# One queue per priority, each with its own consumer and its own dead letters. A message names a document; it may hold a
# small record, if the sender wants that.

resource "aws_sqs_queue" "intake" {
  for_each = local.queues

  name                      = each.value.name
  message_retention_seconds = var.intake.retention_days * 86400
  # Six times the function's timeout, so that a message does not come back while a batch is throttled and retried.
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  visibility_timeout_seconds = 6 * local.consumer_timeouts[each.value.consumer]
  kms_master_key_id          = var.stores.kms_key_arn
  policy                     = data.aws_iam_policy_document.queue[each.value.name].json
  tags                       = var.tags

  lifecycle {
    # Workers that die without a word let a message come back after the whole visibility timeout, each time.
    precondition {
      condition     = var.intake.max_receive_count * 6 * local.consumer_timeouts[each.value.consumer] <= var.intake.retention_days * 86400 / 2
      error_message = "intake.max_receive_count × 6 × the timeout of ${each.value.consumer} must fit into half of intake.retention_days, or a message expires before the dead-letter queue gets it: lower max_receive_count or raise retention_days."
    }
  }
}

# Beside the queues, not in them: all can then be made at the same time.
resource "aws_sqs_queue_redrive_policy" "intake" {
  for_each = local.queues

  queue_url = aws_sqs_queue.intake[each.key].url

  redrive_policy = jsonencode({
    deadLetterTargetArn = "${local.queue_arns}:${aws_sqs_queue.dead_letter[each.key].name}"
    maxReceiveCount     = var.intake.max_receive_count
  })
}

# Messages that could not be processed. Sent back by SQS's own move, to the queue that is named.
resource "aws_sqs_queue" "dead_letter" {
  for_each = local.queues

  name                      = each.value.dead_letter_name
  message_retention_seconds = 14 * 86400
  kms_master_key_id         = var.stores.kms_key_arn
  policy                    = data.aws_iam_policy_document.queue[each.value.dead_letter_name].json
  tags                      = var.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [each.value.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = toset(flatten([for queue in values(local.queues) : [queue.name, queue.dead_letter_name]]))

  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = ["${local.queue_arns}:${each.value}"]

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
