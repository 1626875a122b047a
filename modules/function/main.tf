# One Lambda function with all that is its own: log group, role and, where it runs by the clock, schedule.

locals {
  name = "${var.name}-${var.handler}"
  # From its name, which is known at plan: so are the policies and definitions that hold it.
  planned_arn = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${local.name}"
  # Of the resources' names, which are known at plan, too: what holds them waits for the resources, and a plan shows them.
  arn      = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${aws_lambda_function.this.function_name}"
  role_arn = "arn:${var.account.partition}:iam::${var.account.id}:role${aws_iam_role.this.path}${aws_iam_role.this.name}"

  size = {
    memory_mb            = coalesce(try(var.runtime.functions[var.handler].memory_mb, null), var.memory_mb)
    timeout_seconds      = coalesce(try(var.runtime.functions[var.handler].timeout_seconds, null), var.timeout_seconds)
    reserved_concurrency = try(var.runtime.functions[var.handler].reserved_concurrency, null)
  }
}

resource "aws_lambda_function" "this" {
  function_name                  = local.name
  description                    = var.description
  role                           = local.role_arn
  handler                        = "bulk_inference.handlers.${var.handler}.handler"
  runtime                        = var.runtime.python
  architectures                  = [var.runtime.architecture]
  memory_size                    = local.size.memory_mb
  timeout                        = local.size.timeout_seconds
  reserved_concurrent_executions = local.size.reserved_concurrency
  s3_bucket                      = var.runtime.package.s3_bucket
  s3_key                         = var.runtime.package.s3_key
  s3_object_version              = var.runtime.package.s3_object_version
  source_code_hash               = var.runtime.package.source_code_hash
  code_signing_config_arn        = var.runtime.code_signing_config_arn
  layers                         = concat(var.runtime.layer_arns, var.layer_arns)
  tags                           = var.tags

  environment {
    variables = merge(
      {
        NAME                         = var.name
        INPUT_BUCKET                 = var.stores.input_bucket
        OUTPUT_BUCKET                = var.stores.output_bucket
        LEDGER_TABLE                 = var.stores.ledger_table
        RUNS_TABLE                   = var.stores.runs_table
        SETTINGS_KEY                 = "config/settings.json"
        POWERTOOLS_METRICS_NAMESPACE = "BulkInference"
        POWERTOOLS_LOG_LEVEL         = var.runtime.logs.level
        POWERTOOLS_SERVICE_NAME      = local.name
      },
      var.runtime.tracing ? {} : { POWERTOOLS_TRACE_DISABLED = "true" },
      var.environment,
    )
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.this.name
    log_format            = var.runtime.logs.format
    application_log_level = var.runtime.logs.format == "JSON" ? var.runtime.logs.level : null
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

  dynamic "dead_letter_config" {
    for_each = var.undelivered_queue == null ? [] : [var.undelivered_queue]

    content {
      target_arn = dead_letter_config.value.arn
    }
  }

  # A function may be called as soon as it is there: by then its role must be complete.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy.key]
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.runtime.logs.retention_days
  kms_key_id        = var.runtime.logs.kms_key_arn
  tags              = var.tags
}
