resource "aws_kms_key" "this" {
  count = var.kms_key == null ? 1 : 0

  description             = "Buckets, tables, queues and logs of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key[0].json
  tags                    = var.tags
}

resource "aws_kms_alias" "this" {
  count = var.kms_key == null ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:In a key policy * is this key, and the account root means the account's IAM policies
  #checkov:skip=CKV_AWS_111:In a key policy * is this key, and the account root means the account's IAM policies
  #checkov:skip=CKV_AWS_356:In a key policy * is this key, and the account root means the account's IAM policies

  count = var.kms_key == null ? 1 : 0

  # In a key policy "*" is this key alone. The account's IAM policies then say who may use it.
  # https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.account.partition}:iam::${var.account.id}:root"]
    }
  }

  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
  statement {
    sid       = "CloudWatchLogsForLogGroupsOfThisPipeline"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.account.region}.${var.account.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${var.account.partition}:logs:${var.account.region}:${var.account.id}:log-group:/aws/lambda/${var.name}-*",
        "arn:${var.account.partition}:logs:${var.account.region}:${var.account.id}:log-group:/aws/vendedlogs/states/${var.name}-*",
      ]
    }
  }
}
