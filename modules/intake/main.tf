# Documents that arrive one by one: a queue per priority with its consumer, pools that become runs, a status function.

locals {
  queue_arns = "arn:${var.account.partition}:sqs:${var.account.region}:${var.account.id}"

  queues = { for priority in ["high", "normal", "low"] : priority => {
    name             = "${var.name}-intake-${priority}"
    arn              = "${local.queue_arns}:${var.name}-intake-${priority}"
    dead_letter_name = "${var.name}-intake-${priority}-dead-letter"
    dead_letter_arn  = "${local.queue_arns}:${var.name}-intake-${priority}-dead-letter"
    consumer         = priority == "high" ? "infer_documents" : "pool_documents"
  } }
  all_queues = flatten([for queue in values(local.queues) : [queue.arn, queue.dead_letter_arn]])

  # One per priority: see modules/failure_lane/queues.tf.
  reprocess_queues    = [for suffix in ["", "-high", "-low"] : "${local.queue_arns}:${var.reprocess_queue.name}${suffix}"]
  pipeline            = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.pipeline_name}"
  pipeline_executions = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.pipeline_name}"
  event_bus           = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"

  source_buckets = { for bucket, settings in var.source_buckets : bucket => {
    arn    = "arn:${var.account.partition}:s3:::${bucket}"
    prefix = settings.prefix
  } }
  source_kms_key_arns = distinct([for settings in var.source_buckets : settings.kms_key_arn if settings.kms_key_arn != null])
}

# Shared by the consumers: stored prompts, and what messages may name.
data "aws_iam_policy_document" "read_documents" {
  statement {
    sid       = "ReadPromptsAndDocuments"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/config/settings.json", "${local.input}/*/prompts/*", "${local.input}/*/corpus/*"]
  }

  dynamic "statement" {
    for_each = local.source_buckets

    content {
      sid       = "ListSource${md5(statement.key)}"
      actions   = ["s3:ListBucket"]
      resources = [statement.value.arn]

      dynamic "condition" {
        for_each = statement.value.prefix == "" ? [] : [statement.value.prefix]

        content {
          test     = "StringLike"
          variable = "s3:prefix"
          values   = ["${condition.value}*"]
        }
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.source_buckets) > 0 ? [true] : []

    content {
      sid       = "ReadSources"
      actions   = ["s3:GetObject"]
      resources = [for bucket in values(local.source_buckets) : "${bucket.arn}/${bucket.prefix}*"]
    }
  }

  dynamic "statement" {
    for_each = length(local.source_kms_key_arns) > 0 ? [true] : []

    content {
      sid       = "DecryptSources"
      actions   = ["kms:Decrypt"]
      resources = local.source_kms_key_arns
    }
  }
}
