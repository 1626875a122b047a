# What a function reads besides the pipeline's own buckets: corpora, and images and documents that records point to, which
# Bedrock reads by the caller's rights.
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_S3Location.html

locals {
  source_kms_key_arns = distinct([for bucket in values(var.source_buckets) : bucket.kms_key_arn if bucket.kms_key_arn != null])
}

data "aws_iam_policy_document" "sources" {
  dynamic "statement" {
    for_each = var.lists_source_buckets ? var.source_buckets : {}

    content {
      sid       = "ListSource${md5(statement.key)}"
      actions   = ["s3:ListBucket"]
      resources = ["arn:${var.account.partition}:s3:::${statement.key}"]

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
    for_each = length(var.source_buckets) > 0 ? [true] : []

    content {
      sid       = "ReadSources"
      actions   = ["s3:GetObject"]
      resources = [for name, bucket in var.source_buckets : "arn:${var.account.partition}:s3:::${name}/${bucket.prefix}*"]
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
