# Consumes the queue of priority high: each document is inferred at once, lands like any record, and goes into the failure
# lane like any record if it does not. Partial batch responses.

resource "aws_lambda_function" "infer_documents" {
  function_name                  = local.functions.infer_documents.name
  description                    = "Infers documents of priority high at once"
  role                           = aws_iam_role.infer_documents.arn
  handler                        = "bulk_inference.handlers.infer_documents.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.infer_documents.memory_mb
  timeout                        = local.functions.infer_documents.timeout_seconds
  reserved_concurrent_executions = local.functions.infer_documents.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.infer_documents.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.infer_documents.name
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
  depends_on = [aws_iam_role_policy.infer_documents, aws_iam_role_policy.infer_documents_key]
}

resource "aws_cloudwatch_log_group" "infer_documents" {
  name              = local.functions.infer_documents.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "infer_documents" {
  name                 = local.functions.infer_documents.role_name
  description          = "infer_documents of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "infer_documents" {
  name   = "permissions"
  role   = aws_iam_role.infer_documents.name
  policy = data.aws_iam_policy_document.infer_documents.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.infer_documents.minified_json) <= 9800
      error_message = "The role of infer_documents would have a policy of ${length(data.aws_iam_policy_document.infer_documents.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "infer_documents_key" {
  name   = "key"
  role   = aws_iam_role.infer_documents.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "infer_documents" {
  source_policy_documents = [
    data.aws_iam_policy_document.function["infer_documents"].json,
    data.aws_iam_policy_document.read_documents.json,
  ]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.input}/*/intake/*", "${local.output}/*/runs/*"]
  }

  statement {
    sid     = "WriteRunFiles"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.input}/*/intake/*/documents/*",
      "${local.input}/*/runs/*/plan/*",
      "${local.input}/*/runs/*/shards/*",
      "${local.input}/*/runs/*/index/*",
      "${local.output}/*/runs/*",
    ]
  }

  # Claims are PartiQL inserts; the rest is read-back of lost claims and Powertools Idempotency.
  statement {
    sid = "ClaimRecords"
    actions = [
      "dynamodb:PartiQLInsert",
      "dynamodb:BatchGetItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
    ]
    resources = [local.ledger]
  }

  statement {
    sid = "KeepRunItems"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [local.runs]
  }

  statement {
    sid       = "ConsumeUrgentDocuments"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
    resources = [local.queues.high.arn]
  }

  statement {
    sid       = "PostponeHoldAndReportFailures"
    actions   = ["sqs:SendMessage"]
    resources = concat([local.queues.high.arn, local.queues.high.dead_letter_arn], local.reprocess_queues)
  }

  # Converse has no action of its own: it is authorised as InvokeModel.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  dynamic "statement" {
    for_each = length(var.models.direct_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeModels"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.direct_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.models.profile_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeProfiles"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.profile_arns
    }
  }

  # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html
  dynamic "statement" {
    for_each = length(var.models.profile_arns) > 0 ? [true] : []

    content {
      sid       = "InvokeModelsThroughProfiles"
      actions   = ["bedrock:InvokeModel"]
      resources = var.models.destination_arns

      condition {
        test     = "StringEquals"
        variable = "bedrock:InferenceProfileArn"
        values   = var.models.profile_arns
      }
    }
  }

  # Whether another run of the same scope is over: then its claims may be taken over.
  statement {
    sid       = "ReadRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }

  statement {
    sid       = "AnnounceDocuments"
    actions   = ["events:PutEvents"]
    resources = [local.event_bus]
  }
}

resource "aws_lambda_event_source_mapping" "infer_documents" {
  event_source_arn        = aws_sqs_queue.intake["high"].arn
  function_name           = aws_lambda_function.infer_documents.arn
  batch_size              = var.intake.high.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.intake.high.maximum_concurrency
  }
}
