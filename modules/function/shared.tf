# Rights over buckets, tables and runs that several functions need alike.

locals {
  buckets  = { input = local.input, output = local.output }
  dynamodb = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table"
  states   = "arn:${var.account.partition}:states:${var.account.region}:${var.account.id}"
}

data "aws_iam_policy_document" "shared" {
  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  dynamic "statement" {
    for_each = length(var.lists_buckets) > 0 ? [true] : []

    content {
      sid       = "ListBuckets"
      actions   = ["s3:ListBucket"]
      resources = [for bucket in var.lists_buckets : local.buckets[bucket]]
    }
  }

  dynamic "statement" {
    for_each = length(var.run_items) > 0 ? [true] : []

    content {
      sid       = "KeepRunItems"
      actions   = [for action in var.run_items : "dynamodb:${action}"]
      resources = ["${local.dynamodb}/${var.stores.runs_table}"]
    }
  }

  # Claims are PartiQL inserts; the rest is read-back of lost claims and Powertools Idempotency.
  dynamic "statement" {
    for_each = var.claims_for == null ? [] : [true]

    content {
      sid = "ClaimRecords"
      actions = [
        "dynamodb:PartiQLInsert",
        "dynamodb:BatchGetItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
      ]
      resources = ["${local.dynamodb}/${var.stores.ledger_table}"]
    }
  }

  # Whether another run of the same scope is over: then its claims may be taken over.
  dynamic "statement" {
    for_each = var.claims_for == null ? [] : [var.claims_for]

    content {
      sid       = "ReadRuns"
      actions   = ["states:DescribeExecution"]
      resources = ["${local.states}:execution:${statement.value}:*"]
    }
  }
}
