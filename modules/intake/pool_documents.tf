# Consumes the queues of priority normal and low: documents go into pools; a full pool becomes a run. Partial batch
# responses.

resource "aws_lambda_function" "pool_documents" {
  function_name                  = local.functions.pool_documents.name
  description                    = "Pools documents of priority normal and low into runs"
  role                           = aws_iam_role.pool_documents.arn
  handler                        = "bulk_inference.handlers.pool_documents.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.pool_documents.memory_mb
  timeout                        = local.functions.pool_documents.timeout_seconds
  reserved_concurrent_executions = local.functions.pool_documents.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.pool_documents.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.pool_documents.name
    log_format            = var.runtime.log_format
    application_log_level = var.runtime.log_format == "JSON" ? var.runtime.log_level : null
  }

  tracing_config {
    mode = var.runtime.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = var.runtime.vpc == null ? [] : [var.runtime.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # A function may be called as soon as it is there: by then its role must be complete.
  depends_on = [aws_iam_role_policy.pool_documents, aws_iam_role_policy.pool_documents_key]
}

resource "aws_cloudwatch_log_group" "pool_documents" {
  name              = local.functions.pool_documents.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "pool_documents" {
  name                 = local.functions.pool_documents.role_name
  description          = "pool_documents of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "pool_documents" {
  name   = "permissions"
  role   = aws_iam_role.pool_documents.name
  policy = data.aws_iam_policy_document.pool_documents.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.pool_documents.minified_json) <= 9800
      error_message = "The role of pool_documents would have a policy of ${length(data.aws_iam_policy_document.pool_documents.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "pool_documents_key" {
  name   = "key"
  role   = aws_iam_role.pool_documents.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "pool_documents" {
  source_policy_documents = [
    data.aws_iam_policy_document.function["pool_documents"].json,
    data.aws_iam_policy_document.read_documents.json,
  ]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input]
  }

  statement {
    sid       = "ReadPools"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/intake/*"]
  }

  statement {
    sid       = "WritePools"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/intake/*"]
  }

  statement {
    sid       = "KeepDocumentsAndPools"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"]
    resources = [local.runs]
  }

  statement {
    sid       = "ConsumeDocuments"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
    resources = [local.queues.normal.arn, local.queues.low.arn]
  }

  statement {
    sid     = "PostponeAndHold"
    actions = ["sqs:SendMessage"]
    resources = [
      local.queues.normal.arn,
      local.queues.normal.dead_letter_arn,
      local.queues.low.arn,
      local.queues.low.dead_letter_arn,
    ]
  }

  statement {
    sid       = "StartRuns"
    actions   = ["states:StartExecution"]
    resources = [local.pipeline]
  }

  statement {
    sid       = "AnnounceDocuments"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}

resource "aws_lambda_event_source_mapping" "pool_documents" {
  for_each = toset(["normal", "low"])

  event_source_arn        = aws_sqs_queue.intake[each.key].arn
  function_name           = aws_lambda_function.pool_documents.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.intake.pooling_concurrency
  }
}
