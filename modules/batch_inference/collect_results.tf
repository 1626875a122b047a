# Streams a job's output: claims and lands results, quarantines error lines, finds what was not processed.

resource "aws_lambda_function" "collect_results" {
  function_name                  = local.functions.collect_results.name
  description                    = "Lands the results of one ended job, quarantines its errors, finds what it left over"
  role                           = aws_iam_role.collect_results.arn
  handler                        = "bulk_inference.handlers.collect_results.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.collect_results.memory_mb
  timeout                        = local.functions.collect_results.timeout_seconds
  reserved_concurrent_executions = local.functions.collect_results.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.collect_results.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.collect_results.name
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
  depends_on = [aws_iam_role_policy.collect_results, aws_iam_role_policy.collect_results_key]
}

resource "aws_cloudwatch_log_group" "collect_results" {
  name              = local.functions.collect_results.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "collect_results" {
  name                 = local.functions.collect_results.role_name
  description          = "collect_results of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "collect_results" {
  name   = "permissions"
  role   = aws_iam_role.collect_results.name
  policy = data.aws_iam_policy_document.collect_results.json
}

resource "aws_iam_role_policy" "collect_results_key" {
  name   = "key"
  role   = aws_iam_role.collect_results.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "collect_results" {
  source_policy_documents = [data.aws_iam_policy_document.function["collect_results"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input, local.output]
  }

  statement {
    sid       = "ReadRunFilesAndRawOutput"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*", "${local.output}/*/jobs/*"]
  }

  statement {
    sid       = "WriteResultsAndNextAttempt"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*", "${local.output}/*/runs/*"]
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
      "dynamodb:BatchGetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [local.runs]
  }

  statement {
    sid       = "SendFailures"
    actions   = ["sqs:SendMessage"]
    resources = local.reprocess_queues
  }

  statement {
    sid       = "ReadJobs"
    actions   = ["bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }

  # Whether another run of the same scope is over: then its claims may be taken over.
  statement {
    sid       = "ReadRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.pipeline_executions}:*"]
  }
}
