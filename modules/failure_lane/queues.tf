# One message per failed record: ids and places, never a prompt.
resource "aws_sqs_queue" "reprocess" {
  name                      = "${var.name}-reprocess"
  message_retention_seconds = var.reprocessing.retention_days * 86400
  # Six times the function's timeout, so that a message does not come back while a batch is throttled and retried.
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  visibility_timeout_seconds = 6 * local.functions.reprocess_records.timeout_seconds
  kms_master_key_id          = var.stores.kms_key_arn
  policy                     = data.aws_iam_policy_document.failed_records["reprocess"].json
  tags                       = var.tags
}

# Beside the queue, not in it: the two queues can then be made at the same time.
resource "aws_sqs_queue_redrive_policy" "reprocess" {
  queue_url = aws_sqs_queue.reprocess.url

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.reprocessing.max_receive_count
  })
}

# Records that failed on every try. A redrive (StartMessageMoveTask) sends them back.
resource "aws_sqs_queue" "dead_letter" {
  name                      = "${var.name}-reprocess-dead-letter"
  message_retention_seconds = 14 * 86400
  kms_master_key_id         = var.stores.kms_key_arn
  policy                    = data.aws_iam_policy_document.failed_records["reprocess-dead-letter"].json
  tags                      = var.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = ["${local.queue_arns}:${var.name}-reprocess"]
  })
}

data "aws_iam_policy_document" "failed_records" {
  for_each = toset(["reprocess", "reprocess-dead-letter"])

  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = ["${local.queue_arns}:${var.name}-${each.value}"]

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
