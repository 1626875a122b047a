# Counts slots, stores the task token, creates the job.

resource "aws_lambda_function" "submit_job" {
  function_name                  = local.functions.submit_job.name
  description                    = "Creates the batch job of one shard, its task token stored before"
  role                           = aws_iam_role.submit_job.arn
  handler                        = "bulk_inference.handlers.submit_job.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.submit_job.memory_mb
  timeout                        = local.functions.submit_job.timeout_seconds
  reserved_concurrent_executions = local.functions.submit_job.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = var.runtime.layer_arns
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.submit_job.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.submit_job.name
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
  depends_on = [aws_iam_role_policy.submit_job, aws_iam_role_policy.submit_job_key]
}

resource "aws_cloudwatch_log_group" "submit_job" {
  name              = local.functions.submit_job.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "submit_job" {
  name                 = local.functions.submit_job.role_name
  description          = "submit_job of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "submit_job" {
  name   = "permissions"
  role   = aws_iam_role.submit_job.name
  policy = data.aws_iam_policy_document.submit_job.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.submit_job.minified_json) <= 9800
      error_message = "The role of submit_job would have a policy of ${length(data.aws_iam_policy_document.submit_job.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "submit_job_key" {
  name   = "key"
  role   = aws_iam_role.submit_job.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "submit_job" {
  source_policy_documents = [data.aws_iam_policy_document.function["submit_job"].json]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input]
  }

  statement {
    sid       = "ReadRunFiles"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*/runs/*", "${local.input}/*/corpus/*"]
  }

  # Images and documents that records point to must lie beside them, in a folder of the job.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html
  statement {
    sid       = "StageMedia"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/shards/*"]
  }

  dynamic "statement" {
    for_each = length(var.sources.object_arns) > 0 ? [true] : []

    content {
      sid       = "ReadSources"
      actions   = ["s3:GetObject"]
      resources = var.sources.object_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.sources.kms_key_arns) > 0 ? [true] : []

    content {
      sid       = "DecryptSources"
      actions   = ["kms:Decrypt"]
      resources = var.sources.kms_key_arns
    }
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

  # On the models and on the job that comes to be; behind a profile on the profile and on every model that it routes to.
  # https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-permissions.html
  statement {
    sid       = "CreateJobs"
    actions   = ["bedrock:CreateModelInvocationJob"]
    resources = concat([local.jobs], var.models.direct_arns, var.models.profile_arns, var.models.destination_arns)
  }

  statement {
    sid       = "TagAndReadJobs"
    actions   = ["bedrock:TagResource", "bedrock:GetModelInvocationJob"]
    resources = [local.jobs]
  }

  # Listing jobs has no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }

  statement {
    sid       = "PassBatchRoles"
    actions   = ["iam:PassRole"]
    resources = values(local.batch_role_arns)

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["bedrock.amazonaws.com"]
    }
  }

  # Tokens of a Distributed Map's children belong to the labelled machine, name/label.
  statement {
    sid       = "AnswerTaskTokens"
    actions   = ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"]
    resources = [local.shard_and_submit, "${local.shard_and_submit}/*"]
  }
}
