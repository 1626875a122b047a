# Checks the request, reads quotas, lists the corpus, chooses the mode, plans the cuts, runs the canary.

resource "aws_lambda_function" "plan_run" {
  function_name                  = local.functions.plan_run.name
  description                    = "Checks a run request, reads quotas, plans the cuts, tries a few records"
  role                           = aws_iam_role.plan_run.arn
  handler                        = "bulk_inference.handlers.plan_run.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.functions.plan_run.memory_mb
  timeout                        = local.functions.plan_run.timeout_seconds
  reserved_concurrent_executions = local.functions.plan_run.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  layers                         = concat(var.runtime.layer_arns, var.parquet_layer_arns)
  tags                           = var.tags

  environment {
    variables = merge(local.environment, { POWERTOOLS_SERVICE_NAME = local.functions.plan_run.name })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.plan_run.name
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
  depends_on = [aws_iam_role_policy.plan_run, aws_iam_role_policy.plan_run_key]
}

resource "aws_cloudwatch_log_group" "plan_run" {
  name              = local.functions.plan_run.log_group
  retention_in_days = var.runtime.log_retention_days
  kms_key_id        = var.runtime.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "plan_run" {
  name                 = local.functions.plan_run.role_name
  description          = "plan_run of ${var.name}"
  path                 = var.runtime.role_path
  permissions_boundary = var.runtime.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  tags                 = var.tags
}

resource "aws_iam_role_policy" "plan_run" {
  name   = "permissions"
  role   = aws_iam_role.plan_run.name
  policy = data.aws_iam_policy_document.plan_run.json

  lifecycle {
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 characters with the key's policy.
    precondition {
      condition     = length(data.aws_iam_policy_document.plan_run.minified_json) <= 9800
      error_message = "The role of plan_run would have a policy of ${length(data.aws_iam_policy_document.plan_run.minified_json)} characters, more than IAM takes: name fewer models, and apply the module once more for the others."
    }
  }
}

resource "aws_iam_role_policy" "plan_run_key" {
  name   = "key"
  role   = aws_iam_role.plan_run.name
  policy = data.aws_iam_policy_document.use_key.json
}

data "aws_iam_policy_document" "plan_run" {
  source_policy_documents = [
    data.aws_iam_policy_document.function["plan_run"].json,
    data.aws_iam_policy_document.read_source_buckets.json,
  ]

  # Also what makes S3 answer 404 instead of 403 for an object that is not there.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.input]
  }

  statement {
    sid       = "ReadCorporaAndSettings"
    actions   = ["s3:GetObject"]
    resources = ["${local.input}/*"]
  }

  statement {
    sid       = "WritePlan"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.input}/*/runs/*/plan/*"]
  }

  statement {
    sid       = "WriteReport"
    actions   = ["s3:PutObject"]
    resources = ["${local.output}/*/runs/*/plan/report.*"]
  }

  statement {
    sid       = "KeepRunItems"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:Query"]
    resources = [local.runs]
  }

  statement {
    sid       = "ReadQuotas"
    actions   = ["servicequotas:GetServiceQuota"]
    resources = [local.quotas]
  }

  # These have no resource type.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_servicequotas.html
  statement {
    sid = "LookUpQuotas"
    actions = [
      "servicequotas:GetAWSDefaultServiceQuota",
      "servicequotas:ListAWSDefaultServiceQuotas",
      "servicequotas:ListServiceQuotas",
    ]
    resources = ["*"]
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
}
