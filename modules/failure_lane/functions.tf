# What every function of this module has in common.

locals {
  default_sizes = {
    # One call of a model takes 300 s at most, and its answer is landed in the rest.
    reprocess_records = { memory_mb = 1024, timeout_seconds = 420 }
    redrive_failures  = { memory_mb = 2048, timeout_seconds = 900 }
    # It adds a whole run up, which for ten million records is a hundred thousand items.
    update_runs = { memory_mb = 1769, timeout_seconds = 900 }
  }

  functions = {
    for function, size in local.default_sizes : function => {
      name      = "${var.name}-${function}"
      arn       = "arn:${var.account.partition}:lambda:${var.account.region}:${var.account.id}:function:${var.name}-${function}"
      log_group = "/aws/lambda/${var.name}-${function}"
      # Roles are global: the Region keeps pipelines of one name apart.
      role_name            = "${var.name}-${function}-${var.account.region}"
      memory_mb            = coalesce(try(var.functions[function].memory_mb, null), size.memory_mb)
      timeout_seconds      = coalesce(try(var.functions[function].timeout_seconds, null), size.timeout_seconds)
      reserved_concurrency = try(var.functions[function].reserved_concurrency, null)
    }
  }

  environment = merge(
    {
      NAME                         = var.name
      INPUT_BUCKET                 = var.stores.input_bucket
      OUTPUT_BUCKET                = var.stores.output_bucket
      LEDGER_TABLE                 = var.stores.ledger_table
      RUNS_TABLE                   = var.stores.runs_table
      REPROCESS_QUEUE_URL          = aws_sqs_queue.reprocess["normal"].url
      EVENT_BUS_NAME               = var.event_bus_name
      SETTINGS_KEY                 = "config/settings.json"
      DEAD_LETTER_QUEUE_URL        = aws_sqs_queue.dead_letter.url
      PIPELINE_ARN                 = local.pipeline
      ASSEMBLY_ARN                 = local.assembly
      POWERTOOLS_METRICS_NAMESPACE = "BulkInference"
      POWERTOOLS_LOG_LEVEL         = var.runtime.log_level
    },
    var.runtime.tracing ? {} : { POWERTOOLS_TRACE_DISABLED = "true" },
  )

  # ARNs from names, which are known at plan: so are the policies.
  input  = "arn:${var.account.partition}:s3:::${var.stores.input_bucket}"
  output = "arn:${var.account.partition}:s3:::${var.stores.output_bucket}"
  ledger = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.ledger_table}"
  runs   = "arn:${var.account.partition}:dynamodb:${var.account.region}:${var.account.id}:table/${var.stores.runs_table}"
}

data "aws_iam_policy_document" "lambda_trust" {
  statement {
    sid     = "LambdaAssumes"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "function" {
  for_each = local.functions

  statement {
    sid       = "WriteOwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${var.account.partition}:logs:${var.account.region}:${var.account.id}:log-group:${each.value.log_group}:*"]
  }

  # X-Ray's write actions have no resource types.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
  dynamic "statement" {
    for_each = var.runtime.tracing ? [true] : []

    content {
      sid       = "SendTraces"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }
  }

  # Describe actions have no resource types; Lambda asks for the others on interfaces that it names itself.
  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
  dynamic "statement" {
    for_each = var.runtime.vpc == null ? [] : [true]

    content {
      sid = "AttachToVpc"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]
    }
  }

  # The rights above are Lambda's: the function's own code may not use them.
  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-best-practice-permissions
  dynamic "statement" {
    for_each = var.runtime.vpc == null ? [] : [true]

    content {
      sid    = "KeepCodeFromNetworkInterfaces"
      effect = "Deny"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = [each.value.arn]
      }
    }
  }
}

# A policy of its own: the key's ARN may be unknown at plan, and would hide everything that stands beside it.
data "aws_iam_policy_document" "use_key" {
  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.stores.kms_key_arn]
  }
}
