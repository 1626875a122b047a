# What happens to a run before and after its inference.

locals {
  pipeline                    = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:stateMachine:${var.name}-pipeline"
  pipeline_executions         = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}:execution:${var.name}-pipeline"
  shard_and_submit_executions = replace(var.shard_and_submit_arn, ":stateMachine:", ":execution:")
  fan_out_executions          = replace(var.fan_out_arn, ":stateMachine:", ":execution:")
  event_bus                   = "arn:${var.account.partition}:events:${var.account.region}:${var.account.id}:event-bus/${var.event_bus_name}"
  jobs                        = "arn:${var.account.partition}:bedrock:${var.account.region}:${var.account.id}:model-invocation-job/*"
  quotas                      = "arn:${var.account.partition}:servicequotas:${var.account.region}:${var.account.id}:bedrock/*"

  source_buckets = { for bucket, settings in var.source_buckets : bucket => {
    arn    = "arn:${var.account.partition}:s3:::${bucket}"
    prefix = settings.prefix
  } }
  source_kms_key_arns = distinct([for settings in var.source_buckets : settings.kms_key_arn if settings.kms_key_arn != null])
}

# Shared by the functions that read corpora.
data "aws_iam_policy_document" "read_source_buckets" {
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
