# One queue per priority, so that the failures of a low run delay none of a high one. One message per failed record: ids
# and places, never a prompt.

locals {
  # Priority normal has no suffix: the functions make the other names from its.
  lanes = {
    high   = { queue = "${var.name}-reprocess-high", maximum_concurrency = var.reprocessing.maximum_concurrency }
    normal = { queue = "${var.name}-reprocess", maximum_concurrency = var.reprocessing.maximum_concurrency }
    low    = { queue = "${var.name}-reprocess-low", maximum_concurrency = 2 }
  }

  # Six times the function's timeout, so that a message does not come back while a batch is throttled and retried.
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  visibility_seconds = 6 * module.reprocess_records.size.timeout_seconds
  retention_seconds  = var.reprocessing.retention_days * 86400
  # How long a dead letter may wait before the alarm: see alarms.tf.
  dead_letter_days = max(14 - var.reprocessing.retention_days - 2, 0)
}

resource "aws_sqs_queue" "reprocess" {
  for_each = local.lanes

  name                       = each.value.queue
  message_retention_seconds  = local.retention_seconds
  visibility_timeout_seconds = local.visibility_seconds
  kms_master_key_id          = var.stores.kms_key_arn
  policy                     = data.aws_iam_policy_document.failed_records[each.value.queue].json
  tags                       = var.tags

  lifecycle {
    # Workers that die without a word let a message come back after the whole visibility timeout, each time.
    precondition {
      condition     = var.reprocessing.max_receive_count * local.visibility_seconds <= local.retention_seconds / 2
      error_message = "reprocessing.max_receive_count × 6 × the timeout of reprocess_records (${var.reprocessing.max_receive_count} × ${local.visibility_seconds} s) must fit into half of reprocessing.retention_days, or a message expires before the dead-letter queue gets it: lower max_receive_count or raise retention_days."
    }

    precondition {
      condition     = coalesce(module.reprocess_records.size.reserved_concurrency, 10000) >= sum([for lane in values(local.lanes) : lane.maximum_concurrency])
      error_message = "functions.reprocess_records.reserved_concurrency must be at least ${sum([for lane in values(local.lanes) : lane.maximum_concurrency])}, what the three queues may invoke at once: throttled invocations would use up receives of their messages."
    }
  }
}

# Beside the queues, not in them: all can then be made at the same time.
resource "aws_sqs_queue_redrive_policy" "reprocess" {
  for_each = local.lanes

  queue_url = aws_sqs_queue.reprocess[each.key].url

  redrive_policy = jsonencode({
    deadLetterTargetArn = "${local.queue_arns}:${aws_sqs_queue.dead_letter.name}"
    maxReceiveCount     = var.reprocessing.max_receive_count
  })
}

# Records that failed on every try, or in a way that no other try changes. redrive_failures sends them back.
resource "aws_sqs_queue" "dead_letter" {
  name                      = "${var.name}-reprocess-dead-letter"
  message_retention_seconds = 14 * 86400
  kms_master_key_id         = var.stores.kms_key_arn
  policy                    = data.aws_iam_policy_document.failed_records["${var.name}-reprocess-dead-letter"].json
  tags                      = var.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [for lane in ["high", "low", "normal"] : "${local.queue_arns}:${local.lanes[lane].queue}"]
  })
}

data "aws_iam_policy_document" "failed_records" {
  for_each = toset(concat([for lane in values(local.lanes) : lane.queue], ["${var.name}-reprocess-dead-letter"]))

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
