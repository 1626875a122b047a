# Tells what the documents of one partition have come to.

resource "aws_lambda_function" "join_documents" {
  function_name                  = local.functions.join_documents.name
  description                    = "Makes documents of the answers to their chunks"
  role                           = aws_iam_role.join_documents.arn
  handler                        = "bulk_inference.handlers.join_documents.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.join_documents.memory_mb
  timeout                        = local.functions.join_documents.timeout_seconds
  reserved_concurrent_executions = local.functions.join_documents.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.join_documents.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.join_documents.name
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
  depends_on = [aws_iam_role_policy.join_documents, aws_iam_role_policy.join_documents_key]
}

resource "aws_cloudwatch_log_group" "join_documents" {
  name              = local.functions.join_documents.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "join_documents" {
  name                 = local.functions.join_documents.role_name
  description          = "join_documents of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "join_documents" {
  name   = "permissions"
  role   = aws_iam_role.join_documents.name
  policy = data.aws_iam_policy_document.join_documents.json
}

resource "aws_iam_role_policy" "join_documents_key" {
  name   = "key"
  role   = aws_iam_role.join_documents.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "join_documents" {
  source_policy_documents = [data.aws_iam_policy_document.function["join_documents"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadSorted"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*/plan/*", "${local.output}/*/runs/*/assembly/*"]
  }

  statement {
    sid       = "WriteDocuments"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.output}/*/runs/*/documents/*", "${local.output}/*/runs/*/assembly/partial/*"]
  }

  statement {
    sid       = "WriteReductions"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/reductions/*"]
  }

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [local.runs]
  }
}
